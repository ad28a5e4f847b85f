"""Autoencoders that others have trained, read from a folder as diffusers saves it.

FOLDER/config.json                           what it is; or FOLDER/vae of a whole Stable Diffusion
FOLDER/diffusion_pytorch_model.safetensors   its weights

Nothing is downloaded, and nothing is read that could run code.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from safelight.errors import DamagedFile, UserError
from safelight.files import read_json
from safelight.nets.reference_autoencoder import KINDS, ReferenceAutoencoder, options_in

CONFIG, PART = "config.json", "vae"
WEIGHTS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.fp16.safetensors")
# What attention was called in before diffusers 0.16, as the weights of Stable Diffusion 1 still do.
RENAMED = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
WANTED = f"the folder of an {' or '.join(KINDS)} that diffusers saved"


def open_reference(folder: Path, shape: tuple[int, int, int]) -> ReferenceAutoencoder:
    """The autoencoder in FOLDER or FOLDER/vae, with its weights, for pictures of (c, h, w).

    Raises UserError where there is none, or it does not fit the pictures.
    """
    place = _place(folder)
    kind, options = _described(place / CONFIG)
    file = _weights(place)
    with torch.random.fork_rng(devices=[]):
        net = ReferenceAutoencoder(kind, options, shape)
    try:
        net.net.load_state_dict(_read(file))
    except RuntimeError as error:
        said = " ".join(str(error).split())
        raise UserError(
            f"{file} is not of the autoencoder that its {CONFIG} describes; take both from one "
            f"({said[:300]})"
        ) from error
    return net


def _place(folder: Path) -> Path:
    if not folder.is_dir():
        raise UserError(
            f"there is no folder {folder}, and none is downloaded; choose {WANTED}, or a run of "
            "the family autoencoder"
        )
    for place in (folder, folder / PART):
        if (place / CONFIG).is_file():
            return place
    raise UserError(
        f"{folder} has no {CONFIG}, nor has a folder {PART} in it; choose {WANTED}, or a run of "
        "the family autoencoder"
    )


def _described(file: Path) -> tuple[str, dict[str, Any]]:
    """Its kind and options."""
    config = read_json(file, f"choose {WANTED}")
    kind = config.get("_class_name") if isinstance(config, dict) else None
    if not isinstance(kind, str):
        raise UserError(f"{file} does not say of which class of diffusers it is; choose {WANTED}")
    if kind not in KINDS:
        raise UserError(f"{file.parent} is {kind} of diffusers; choose {WANTED}")
    return kind, options_in(kind, config)


def _weights(place: Path) -> Path:
    for name in WEIGHTS:
        if (place / name).is_file():
            return place / name
    if pickled := sorted(place.glob("*.bin")):
        raise UserError(
            f"{place} has its weights only as {pickled[0].name}, and reading that may run code; "
            "where it is trusted, save them anew by diffusers' "
            "from_pretrained(FOLDER).save_pretrained(FOLDER)"
        )
    raise UserError(f"{place} has no {WEIGHTS[0]}; copy it beside its {CONFIG}")


def _read(file: Path) -> dict[str, Tensor]:
    try:
        weights = load_file(file)
    except (SafetensorError, OSError) as error:
        raise DamagedFile(f"{file} can't be read ({error}); copy it anew") from error
    return {".".join(RENAMED.get(p, p) for p in name.split(".")): w for name, w in weights.items()}
