from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from safelight.errors import UserError
from safelight.evaluation.evaluate import evaluate
from safelight.evaluation.features import Material, pixels
from safelight.evaluation.frechet import frechet
from tests.evaluation.sources import stored

TRAIN, TEST = stored("real:train", 80, 1), stored("real:test", 80, 2)


def test_the_features_of_a_picture_may_be_its_values(tmp_path: Path) -> None:
    """X1: and the protocol says so."""
    found = evaluate(
        TRAIN, TEST, pool=None, features="pixels", metrics=("fd",), store=tmp_path
    ).estimates[0]
    ours, theirs = (
        (side.pixels.double().numpy() / 127.5 - 1).reshape(80, 64) for side in (TRAIN, TEST)
    )
    wanted = frechet(ours.astype(np.float32), theirs.astype(np.float32))
    assert found.value == pytest.approx(wanted.value, rel=1e-5)
    assert (found.name, found.protocol.dimension) == ("FD (pixels)", 64)


def test_large_pictures_are_no_features(tmp_path: Path) -> None:
    pixels(Material((3, 64, 64), None, tmp_path))
    with pytest.raises(UserError, match="at most 3x64x64 = 12,288 values, and these have 12,675"):
        pixels(Material((3, 65, 65), None, tmp_path))
