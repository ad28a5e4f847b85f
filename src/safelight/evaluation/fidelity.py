"""How well pictures come back of an autoencoder, one by one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from safelight.console import progress
from safelight.errors import UserError
from safelight.evaluation.moments import Floats
from safelight.images import ImageSource, Restoring, dequantise, pieces, psnr

BATCH = 64
METHOD = "Student's t over the pictures; covers the choice of pictures, not retraining"


def require_restoring(source: ImageSource) -> Restoring:
    """Raises UserError for a source whose images are not pictures that came back."""
    if isinstance(source, Restoring):
        return source
    raise UserError(
        f"psnr compares pictures with what came back of them, and {source.name} gives none back; "
        "take the run of an autoencoder, or use --metrics fd,kid"
    )


def compared_with_itself(source: ImageSource, against: ImageSource) -> str:
    """Why a distance would be none, where pictures came back of these very ones; else nothing.

    An unbiased distance of a set from itself is too small, even below nothing.
    """
    if not isinstance(source, Restoring) or source.pictures.fingerprint != against.fingerprint:
        return ""
    return (
        f"{source.name} gives the pictures of {against.name} back, and a distance from these would "
        "be too small; name others with --against, or use --metrics psnr"
    )


def restored(source: Restoring, seeds: Sequence[int]) -> Floats:
    """The PSNR of each picture that came back, (n,)."""
    ratios = []
    with progress("restoring", len(seeds)) as advance:
        for part in pieces(len(seeds), BATCH):
            images, pictures = source.images(seeds[part]), source.pictures.images(seeds[part])
            ratios.append(psnr(dequantise(images), dequantise(pictures)).double().numpy())
            advance(part.stop - part.start)
    return np.concatenate(ratios)
