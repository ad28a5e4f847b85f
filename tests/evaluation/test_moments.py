from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safelight.errors import UserError
from safelight.evaluation.moments import FeatureFile, Moments, blocks, moments
from tests.evaluation.sources import rows


def relative(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def test_moments_equal_numpys() -> None:
    features = rows(5000, 40, seed=1)
    held, exact = moments(features), features.astype(np.float64)
    assert held.count == 5000
    assert relative(held.mean, exact.mean(axis=0)) < 1e-12
    assert relative(held.covariance, np.cov(exact, rowvar=False)) < 1e-12


def test_moments_stay_exact_far_from_zero() -> None:
    """Uncentred sums of squares would lose every digit here."""
    features = rows(3000, 8, seed=2).astype(np.float64) + 1e7
    held = Moments(8)
    for start in range(0, 3000, 100):
        held.update(features[start : start + 100])
    assert relative(held.covariance, np.cov(features, rowvar=False)) < 1e-7


@given(st.lists(st.integers(0, 60), min_size=1, max_size=8), st.integers(1, 50))
@settings(max_examples=40, deadline=None)
def test_merged_shards_equal_one_pass(sizes: list[int], seed: int) -> None:
    """Whatever the shards, empty ones and single rows included."""
    features = rows(sum(sizes) + 2, 5, seed)
    shards = np.split(features, np.cumsum(sizes))
    merged = Moments(5)
    for shard in shards:
        merged = merged.merge(moments(shard))
    whole = moments(features)
    assert merged.count == whole.count
    np.testing.assert_allclose(merged.mean, whole.mean, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(merged.covariance, whole.covariance, rtol=1e-10, atol=1e-13)


def test_merging_changes_neither_part() -> None:
    a, b = moments(rows(20, 3, 1)), moments(rows(30, 3, 2))
    before = a.squares.copy()
    a.merge(b)
    assert a.count == 20
    np.testing.assert_array_equal(a.squares, before)


def test_one_row_has_no_covariance() -> None:
    with pytest.raises(ValueError, match="at least 2 rows"):
        _ = moments(rows(1, 3, 1)).covariance


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_features_that_are_not_finite_are_refused(bad: float) -> None:
    features = rows(2000, 3, 1)
    features[1500, 1] = bad
    with pytest.raises(UserError, match="image 1500 are not finite"):
        moments(features)


def test_a_feature_file_reads_as_the_array_does(tmp_path: Path) -> None:
    features = rows(2500, 7, 3)
    np.save(tmp_path / "f.npy", features)
    file = FeatureFile(tmp_path / "f.npy")
    assert file.shape == (2500, 7)
    np.testing.assert_array_equal(file[100:300], features[100:300])
    np.testing.assert_array_equal(file[2400:9999], features[2400:])
    for ours, theirs in zip(blocks(file, 700, 1500), blocks(features, 700, 1500), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_file_that_was_cut_short_is_no_feature_file(tmp_path: Path) -> None:
    path = tmp_path / "f.npy"
    np.save(path, rows(50, 7, 3))
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ValueError, match="cut short"):
        FeatureFile(path)
    np.save(path, np.zeros((5, 2)))
    with pytest.raises(ValueError, match="float32"):
        FeatureFile(path)
