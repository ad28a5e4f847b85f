"""The protocol of a number: everything that decides its value besides the images it judges.

Two numbers may stand in one column only if their protocols have the same hash.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
import torch

from safelight.errors import DamagedFile

ROUNDED = "uint8, rounded to the nearest level"
HASH_LENGTH = 12  # hexadecimal digits; enough to tell protocols apart by eye


def _record(default: str) -> Any:
    """A field that is kept for the reader but decides no number, so it is left out of the hash."""
    return field(default=default, metadata={"record": True})


@dataclass(frozen=True)
class Protocol:
    """How a number was made. Flat on purpose: it goes to JSON and to a two-column table as it is.

    metric, parameters: what was computed ("kid", "polynomial kernel of degree 3 ...").
    network, dimension, weights, resize: the feature network; `weights` is the sha256 of them.
    quantisation, image: what entered it ("uint8, rounded to the nearest level", "1x28x28").
    generated, reference: how many images on each side; none are generated for a likelihood.
    reference_fingerprint: the hash of the reference images' source, its split included.
    seed: chooses the generated images and, where a part was taken, the reference images.
    """

    metric: str
    parameters: str
    network: str
    dimension: int
    weights: str
    resize: str
    image: str
    generated: int
    reference: int
    reference_fingerprint: str
    seed: int
    quantisation: str = ROUNDED
    reference_name: str = _record("")
    floor_images: str = _record("")  # which real images played the generated set, or why none did
    software: str = _record("")

    @property
    def hash(self) -> str:
        """The first 12 hexadecimal digits of the sha256 of every field that decides the number."""
        text = json.dumps(self._deciding(), sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()[:HASH_LENGTH]

    def differences(self, other: Protocol) -> list[str]:
        """Why the two can't be compared, one line a field; empty where they can."""
        theirs = other._deciding()
        return [
            f"{name.replace('_', ' ')}: {mine} against {theirs[name]}"
            for name, mine in self._deciding().items()
            if mine != theirs[name]
        ]

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "hash": self.hash}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Protocol:
        """The protocol that `to_json` wrote; raises DamagedFile where it was edited or is newer.

        The message goes on from the name of what holds it.
        """
        try:
            protocol = cls(**{name: held for name, held in value.items() if name != "hash"})
        except TypeError as error:
            raise DamagedFile(
                "has a protocol with unknown or missing fields, of another version of safelight"
            ) from error
        if value.get("hash") != protocol.hash:
            raise DamagedFile(
                f"has a protocol that was edited (its hash is {protocol.hash}, "
                f"not {value.get('hash')})"
            )
        return protocol

    def _deciding(self) -> dict[str, Any]:
        return {
            held.name: getattr(self, held.name)
            for held in fields(self)
            if not held.metadata.get("record")
        }


def software() -> str:
    """What computes the numbers here, with versions."""
    ours = importlib.metadata.version("safelight")
    python = platform.python_version()
    return f"safelight {ours}, torch {torch.__version__}, numpy {np.__version__}, Python {python}"
