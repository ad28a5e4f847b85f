from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safelight.errors import TooFewImages, UserError
from safelight.evaluation import vendi as module
from safelight.evaluation.vendi import require_few_eigenvalues, vendi
from tests.evaluation.sources import rows


def dense(x: np.ndarray) -> float:
    """The definition, as the authors' package has it: the entropy of the eigenvalues of K / n."""
    u = x.astype(np.float64) / np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True)
    eigenvalues = np.linalg.eigvalsh(u @ u.T / len(u))
    held = eigenvalues[eigenvalues > 0]
    return math.exp(-float(np.sum(held * np.log(held))))


@given(st.integers(20, 60), st.integers(1, 80), st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_equals_the_definition(n: int, d: int, seed: int) -> None:
    """F10: from the smaller matrix, whichever that is."""
    x = rows(n, d, seed) + 0.01
    assert vendi(x).value == pytest.approx(dense(x), rel=1e-6)


def test_tiles_and_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for x in (rows(150, 200, 1), rows(150, 20, 1)):
        monkeypatch.setattr(module, "BLOCK", 10**6)
        whole = vendi(x)
        monkeypatch.setattr(module, "BLOCK", 32 * x.shape[1])
        tiled = vendi(x)
        assert (tiled.value, tiled.high) == pytest.approx((whole.value, whole.high), rel=1e-9)


def test_its_ends_are_one_and_the_number_of_images() -> None:
    assert vendi(np.ones((30, 5), np.float32)).value == pytest.approx(1.0)
    assert vendi(np.eye(30, 64, dtype=np.float32)).value == pytest.approx(30.0)
    # Kinds of images, however many of each and however long their features are.
    kinds = np.repeat(np.eye(5, dtype=np.float32), 10, axis=0) * np.arange(1, 51)[:, None]
    assert vendi(kinds.astype(np.float32)).value == pytest.approx(5.0)


@pytest.mark.parametrize(("n", "d"), [(60, 8), (80, 80), (60, 240)])
def test_the_interval_covers_its_mean(n: int, d: int) -> None:
    """X2: the mean at this count, with more images than features, as many and fewer."""
    found = [vendi(rows(n, d, i)) for i in range(120)]
    values = np.array([each.value for each in found])
    covered = np.mean([each.low <= values.mean() <= each.high for each in found])
    assert covered >= 0.9
    # Student's t of 9 degrees of freedom, and groups of images: somewhat wider than need be.
    widths = [math.log(each.high / each.low) / 2 / 2.262 for each in found]
    assert 0.85 < np.mean(widths) / np.log(values).std() < 1.35


def test_what_can_not_be_had_is_refused() -> None:
    """X2."""
    with pytest.raises(TooFewImages, match="at least 20 images, got 19"):
        vendi(rows(19, 4, 1))
    require_few_eigenvalues(50_000, 2048)
    require_few_eigenvalues(2_000, 12_288)
    with pytest.raises(UserError, match="at most 4,096 images with -n"):
        require_few_eigenvalues(10_000, 12_288)
    with pytest.raises(UserError, match="no direction"):
        vendi(np.zeros((30, 4), np.float32))
