from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from safelight.errors import DamagedFile, MissingLibrary, MissingWeights, TooFewImages
from safelight.evaluation import lpips as module
from safelight.evaluation.diversity import pairwise
from safelight.evaluation.lpips import ALEXNET, lpips
from safelight.evaluation.network import three_channels
from safelight.images import dequantise
from safelight.machine import full_precision
from tests.evaluation.sources import rows


@pytest.fixture(scope="module")
def library() -> torch.nn.Module:
    """The package's LPIPS: its weights of channels, and a random AlexNet."""
    from lpips import LPIPS

    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LPIPS(net="alex", pnet_rand=True, verbose=False)


@pytest.fixture
def weights(library: torch.nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That AlexNet in a file as torchvision's is: `slice3.6.weight` is `features.6.weight`."""
    held = library.net.state_dict()
    named = {f"features.{name.split('.', 1)[1]}": held[name] for name in held}
    path = tmp_path / "alexnet.pth"
    torch.save(named | {"classifier.6.bias": torch.zeros(1000)}, path)
    monkeypatch.setenv(ALEXNET.place, str(path))
    return path


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 32, 32), (3, 8, 8), (3, 96, 96)])
def test_the_squared_distance_equals_the_package(
    shape: tuple[int, int, int], library: torch.nn.Module, weights: Path
) -> None:
    """F10: from uint8; small pictures and large ones at the size that the protocol says."""
    rng = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (6, *shape), generator=rng).to(torch.uint8)
    side = min(max(shape[1], 32), 64)
    x = dequantise(three_channels(images))
    if side != shape[1]:
        x = F.interpolate(x, size=(side, side), mode="bilinear", antialias=True)
    network = lpips(shape)
    with torch.inference_mode(), full_precision():
        features = network.extract(images).double()
        theirs = library(x[:3], x[3:]).flatten().double()
    ours = (features[:3] - features[3:]).square().sum(1)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=0)
    assert features.shape == (6, network.dimension)


def test_its_weights_are_both_files(weights: Path) -> None:
    """X1: other weights in either make another protocol."""
    first = lpips((3, 32, 32)).weights
    held = torch.load(weights, weights_only=True)
    held["features.0.bias"] += 1
    torch.save(held, weights)
    assert lpips((3, 32, 32)).weights != first


def refused(*args: object, **kwargs: object) -> None:
    raise OSError("no network")


def test_missing_weights_say_where_to_put_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(ALEXNET.place, raising=False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", refused)
    with pytest.raises(MissingWeights) as caught:
        lpips((3, 32, 32))
    message = str(caught.value)
    assert "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth" in message
    assert str(tmp_path / "checkpoints" / "alexnet-owt-7be5be79.pth") in message
    assert ALEXNET.place in message
    assert "\n" not in message


def test_without_the_package_the_error_says_what_to_install(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingLibrary, match=r"pip install 'safelight\[lpips\]'"):
        lpips((3, 32, 32))


@pytest.mark.parametrize("content", [{"a": torch.zeros(1)}, 17])
def test_a_weights_file_that_is_something_else_is_refused(content: object, weights: Path) -> None:
    torch.save(content, weights)
    with pytest.raises(DamagedFile, match="does not hold the AlexNet weights"):
        lpips((3, 32, 32))


def test_the_mean_of_all_pairs() -> None:
    """F10: from the covariance, without looking at a pair."""
    x = rows(37, 6, 1)
    pairs = [((a.astype(float) - b) ** 2).sum() for i, a in enumerate(x) for b in x[:i]]
    assert pairwise(x).value == pytest.approx(np.mean(pairs), rel=1e-9)
    assert pairwise(np.ones((20, 3), np.float32)).high == 0


@pytest.mark.parametrize(("n", "d"), [(60, 200), (200, 8)])
def test_its_interval_covers_the_truth(n: int, d: int) -> None:
    """X2: unbiased at any count, so against the distribution's own value."""
    truth = pairwise(rows(20_000, d, 10**6)).value
    found = [pairwise(rows(n, d, i)) for i in range(200)]
    assert np.mean([each.low <= truth <= each.high for each in found]) >= 0.9
    values = [each.value for each in found]
    assert np.mean(values) == pytest.approx(truth, abs=4 * np.std(values) / 200**0.5)


def test_too_few_images_are_refused() -> None:
    """X2."""
    with pytest.raises(TooFewImages, match="at least 10 images, got 9"):
        pairwise(rows(9, 6, 1))


def test_the_size_is_bounded() -> None:
    assert module._size((3, 8, 300)) == (32, 64)
