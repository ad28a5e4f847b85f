"""How many images each metric needs: what its own check says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits

from safelight.errors import TooFewImages, UserError
from safelight.evaluation.features import FEATURES, Material
from safelight.evaluation.kernel import kernel_distance
from safelight.evaluation.kinds import Distance
from safelight.evaluation.metrics import METRICS
from safelight.evaluation.needs import DIMENSIONS, TELLING, fewest_images


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


def test_kid_says_something_from_so_many_images_on(tmp_path: Path) -> None:
    """Half of its interval is a quarter of what a blur does to digits; not so of ten of them."""
    levels = np.rint(load_digits().images[:, None] * (255 / 16)).astype(np.uint8)
    images = torch.from_numpy(levels)
    network = FEATURES["pixels"](Material((1, 8, 8), None, tmp_path))
    blurred = F.avg_pool2d(images.float(), 3, 1, 1, count_include_pad=False).round().byte()
    plain, worse = (network.extract(each).numpy() for each in (images[:900], blurred[900:]))
    whole, rng = kernel_distance(worse, plain).value, np.random.default_rng(0)

    def half(n: int) -> float:
        draws = [rng.choice(897, n, replace=False) for _ in range(20)]
        found = [kernel_distance(worse[a], plain[a]) for a in draws]
        return float(np.mean([(each.high - each.low) / 2 for each in found])) / whole

    assert half(TELLING["kid"]) < 0.25
    assert half(10) > 0.5
