"""How many images each metric needs: what its own check says."""

from __future__ import annotations

import pytest

from safelight.errors import TooFewImages, UserError
from safelight.evaluation.features import FEATURES, Material
from safelight.evaluation.kinds import Distance
from safelight.evaluation.metrics import METRICS
from safelight.evaluation.needs import DIMENSIONS, fewest_images


@pytest.mark.parametrize("metric", [m for m, row in METRICS.items() if isinstance(row, Distance)])
@pytest.mark.parametrize("dimension", [16, 1280])
def test_one_less_is_refused(metric: str, dimension: int) -> None:
    """F11: the number that is advised is the fewest that is taken."""
    row = METRICS[metric]
    assert isinstance(row, Distance)
    fewest = fewest_images(metric, dimension)
    row.require(fewest, fewest, dimension)
    with pytest.raises(TooFewImages):
        row.require(fewest - 1, fewest - 1, dimension)


def test_known_numbers() -> None:
    """A covariance of full rank; three quarters of the images with one; ten of each."""
    assert fewest_images("fd", 1280) == 1281
    assert fewest_images("fd-infinity", 2048) == 2732
    assert fewest_images("memorisation", 0) == 10
    assert fewest_images("is", 1000) == 1000
    assert fewest_images("vendi", 20_000) == fewest_images("vendi", 10)


def test_metrics_without_such_a_number_say_so() -> None:
    with pytest.raises(UserError, match="bpd asks for no number of images"):
        fewest_images("bpd", 10)
    with pytest.raises(UserError, match="unknown metric 'fid'"):
        fewest_images("fid", 10)


def test_dimensions_are_the_networks(tmp_path: object) -> None:
    pytest.importorskip("efficientnet_lite_pytorch")
    network = FEATURES["efficientnet-lite0"](Material((3, 32, 32), None, tmp_path))  # type: ignore[arg-type]
    assert network.dimension == DIMENSIONS["efficientnet-lite0"]
