"""What is looked at closely, and by what."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from safelight.evaluation.features import FEATURES, Material
from safelight.evaluation.store import extract
from safelight.profiling import looked
from safelight.profiling.groups import groups_of
from safelight.profiling.looked import NETWORK, look
from safelight.profiling.profile import LOOKED_AT, _without_copies
from safelight.profiling.twins import twins_of
from safelight.profiling.view import Visible, thumbnails
from tests.profiling.caches import write_cache


def pictures(n: int, c: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, c, 12, 12), dtype=np.uint8)


def test_features_are_the_networks_and_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F11, P5: of length 1; looked at again, nothing is computed."""
    pytest.importorskip("efficientnet_lite_pytorch")
    cache = write_cache(tmp_path / "c", pictures(6))
    positions = np.array([0, 2, 5])
    found = look(Visible(cache), positions, tmp_path / "store")
    network = FEATURES[NETWORK](Material(cache.shape, None, tmp_path))
    features = extract(network, cache.images(positions.tolist()), cache).double()
    wanted = features / features.norm(dim=1, keepdim=True)
    assert_allclose(found.vectors, wanted.numpy(), atol=1e-6)
    assert (found.network, found.missing) == (NETWORK, "")

    def fail(*given: object) -> None:
        raise AssertionError("looked at twice")

    monkeypatch.setattr("safelight.evaluation.store.extract", fail)
    again = look(Visible(cache), positions, tmp_path / "store")
    assert (again.vectors == found.vectors).all()


@pytest.mark.usefixtures("no_network")
def test_without_the_network_thumbnails_are_compared(tmp_path: Path) -> None:
    cache = write_cache(tmp_path / "c", pictures(9, 2))
    found = look(Visible(cache), np.arange(9), tmp_path / "store")
    shown = torch.from_numpy(pictures(9, 2)[:, [0, 1, 0]])  # magenta and green
    assert_allclose(found.vectors, thumbnails(shown, looked.SIDE).numpy(), atol=1e-6)
    assert found.missing == "efficientnet-lite0 is not installed"


def test_thumbnails_do_not_see_light() -> None:
    images = torch.from_numpy(pictures(5)) // 2
    assert_allclose(thumbnails(images + 60, 8).numpy(), thumbnails(images, 8).numpy(), atol=1e-5)
    plain = thumbnails(torch.full((1, 3, 12, 12), 90, dtype=torch.uint8), 8)
    assert (plain == 0).all()
    assert_allclose(thumbnails(images, 8).square().mean(1).numpy(), 1, rtol=1e-5)


def test_of_copies_the_first_is_looked_at(tmp_path: Path) -> None:
    cache = write_cache(tmp_path / "c", pictures(8), duplicates=[(3, 0, 1), (5, 0, 0), (7, 6, 1)])
    groups = groups_of(cache)
    assert _without_copies(groups, twins_of(cache, groups)).tolist() == [0, 1, 2, 4, 6]
    assert len(groups.of) <= LOOKED_AT


def test_principal_directions_keep_what_there_is() -> None:
    """Distances between few pictures are those of their vectors."""
    vectors = np.random.default_rng(1).normal(0, 1, (20, 64))
    points = looked.Looked(np.arange(20), vectors, "x", "").principal()
    assert_allclose(
        np.linalg.norm(points[:, None] - points, axis=2),
        np.linalg.norm(vectors[:, None] - vectors, axis=2),
        atol=1e-9,
    )
