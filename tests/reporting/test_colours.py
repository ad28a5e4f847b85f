"""The colours of classes: told apart by all eyes, and given to the largest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from safelight.profiling.profile import Profile
from safelight.reporting.profile.colours import CLASS_COLOURS, OTHERS, coloured


def seen(rgb: np.ndarray, sight: np.ndarray) -> np.ndarray:
    """Colours (n, 3) in [0, 1] as OKLab (Ottosson 2020) sees them through `sight`, linear RGB."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_lms = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    )
    to_lab = np.array(
        [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ]
    )
    found: np.ndarray = np.cbrt(np.clip(linear @ sight.T, 0, 1) @ to_lms.T) @ to_lab.T
    return found


SIGHTS = {  # Machado, Oliveira and Fernandes (2009), severity 1
    "usual": [1, 0, 0, 0, 1, 0, 0, 0, 1],
    "protan": [
        *(0.152286, 1.052583, -0.204868),
        *(0.114503, 0.786281, 0.099216),
        *(-0.003882, -0.048116, 1.051998),
    ],
    "deutan": [
        *(0.367322, 0.860646, -0.227968),
        *(0.280085, 0.672501, 0.047413),
        *(-0.011820, 0.042940, 0.968881),
    ],
    "tritan": [
        *(1.255528, -0.076749, -0.178779),
        *(-0.078411, 0.930809, 0.147602),
        *(0.004733, 0.691367, 0.303900),
    ],
}


@pytest.mark.parametrize("sight", SIGHTS)
@pytest.mark.parametrize(("first", "least"), [(2, 0.35), (4, 0.2), (10, 0.13)])
def test_every_eye_tells_the_classes_colours_apart(sight: str, first: int, least: float) -> None:
    codes = [[int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)] for colour in CLASS_COLOURS]
    lab = seen(np.array(codes[:first]), np.array(SIGHTS[sight]).reshape(3, 3))
    apart = np.linalg.norm(lab[:, None] - lab, axis=2)[~np.eye(first, dtype=bool)]
    assert apart.min() > least


def test_the_largest_of_many_classes_have_a_colour(base: Profile) -> None:
    sizes = np.arange(12)[:, None] * np.array([[30, 0, 0]])
    groups = replace(
        base.groups,
        classes=tuple(f"class {i}" for i in range(12)),
        counts=sizes,
        shown=tuple(range(1, 12)),
    )
    found = coloured(groups)
    assert [row for row, _, _ in found] == list(range(3, 12))
    assert len({colour for _, _, colour in found} | {OTHERS}) == 10
    assert coloured(replace(groups, classes=("one",), counts=sizes[1:2], shown=(0,))) == []
