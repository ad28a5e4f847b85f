"""What was found wrong with the images that a number was taken of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Finding:
    """guard: the row of GUARDS that found it. text: a line in plain words."""

    guard: str
    text: str

    def to_json(self) -> dict[str, Any]:
        return {"guard": self.guard, "text": self.text}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Finding:
        return cls(**value)
