from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks.equality import clean_fid_features, pytorch_fid_features
from PIL import Image
from torch import Tensor

from safelight.errors import UserError
from safelight.evaluation import pretrained
from safelight.evaluation.estimate import Estimate
from safelight.evaluation.evaluate import evaluate
from safelight.evaluation.metrics import METRICS
from safelight.evaluation.pretrained import INCEPTION, inception
from safelight.evaluation.resizes import RESIZES
from safelight.files import sha256
from safelight.machine import device, full_precision
from tests.evaluation.sources import stored

TRAIN, TEST = stored("real:train", 4, 1), stored("real:test", 4, 2)


def noise(*shape: int, seed: int = 0) -> Tensor:
    drawn = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed))
    return drawn.to(torch.uint8)


@pytest.fixture
def weights(inception_file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(INCEPTION.place, str(inception_file))
    return inception_file


@pytest.fixture
def published(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if these weights were the published ones."""
    monkeypatch.setattr(pretrained, "INCEPTION", replace(INCEPTION, begins=sha256(weights)[:8]))


@pytest.mark.parametrize("shape", [(8, 8), (32, 32), (45, 64), (299, 299), (300, 517)])
@pytest.mark.parametrize("resize", ["clean", "pytorch"])
def test_each_resize_is_that_of_its_package(shape: tuple[int, int], resize: str) -> None:
    """X1: clean-fid's resizers for both, up and down, to a hundredth of a level of 256."""
    from cleanfid.resize import build_resizer

    images = noise(1, 3, *shape)
    theirs = build_resizer({"clean": "clean", "pytorch": "legacy_pytorch"}[resize])(
        images[0].permute(1, 2, 0).numpy()
    )
    scale, middle = {"clean": (128, 128), "pytorch": (127.5, 127.5)}[resize]
    ours = RESIZES[resize].fit(images)[0].permute(1, 2, 0).numpy() * scale + middle
    np.testing.assert_allclose(ours, theirs, atol=0.01)


@pytest.mark.parametrize(
    ("resize", "library", "apart"),
    [("clean", clean_fid_features, 2e-4), ("pytorch", pytorch_fid_features, 1e-6)],
)
def test_features_by_another_protocol_equal_its_package(
    weights: Path,
    tmp_path: Path,
    resize: str,
    library: Callable[..., list[np.ndarray]],
    apart: float,
) -> None:
    """X1, F10: pytorch-fid's own network is torch-fidelity's. Of clean-fid it is the resize.

    Its kernel has the weights in float64, which the network turns into the difference that is left.
    """
    images = noise(2, 3, 32, 32, seed=1)
    for i, image in enumerate(images):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(tmp_path / f"{i}.png")
    theirs = library((tmp_path,), weights)[0]
    with torch.inference_mode(), full_precision():
        ours = inception(resize).extract(images).numpy()
        usual = inception().extract(images).numpy()
    largest = np.abs(theirs).max()
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=apart * largest)
    assert np.abs(usual - theirs).max() > 0.01 * largest


def test_the_head_gives_the_scores_that_the_inception_score_takes(weights: Path) -> None:
    """F10: torch-fidelity's logits_unbiased, from its own forward pass."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    library = FeatureExtractorInceptionV3(
        "inception", ["logits_unbiased"], feature_extractor_weights_path=str(weights)
    ).to(device())
    network, images = inception(), noise(2, 3, 32, 32)
    with torch.inference_mode(), full_precision():
        scores = network.head.scores(network.extract(images).numpy())
        theirs = library(images.to(device()))[0].cpu().numpy()
    np.testing.assert_allclose(scores, theirs, rtol=1e-4, atol=1e-4)


def kid(tmp_path: Path, resize: str | None) -> Estimate:
    return evaluate(
        TRAIN,
        TEST,
        pool=None,
        features="inception",
        resize=resize,
        metrics=("kid",),
        store=tmp_path,
    ).estimates[0]


def test_a_resize_is_of_the_name_and_the_protocol(weights: Path, tmp_path: Path) -> None:
    """X1: and features of one are not taken for those of another, though both are kept."""
    usual, clean = kid(tmp_path, None), kid(tmp_path, "clean")
    assert (usual.name, clean.name) == ("KID (inception)", "KID (inception, clean)")
    assert clean.value != usual.value
    assert clean.protocol.hash != usual.protocol.hash
    assert usual.protocol.differences(clean.protocol) == [
        f"resize: {RESIZES['tensorflow'].text} against {RESIZES['clean'].text}"
    ]
    assert kid(tmp_path, "tensorflow") == usual


@pytest.mark.usefixtures("published")
def test_only_the_published_resize_gives_the_published_name() -> None:
    """X1: FID and KID alone mean TensorFlow's; the others say which they are."""
    usual, clean = inception(), inception("clean")
    assert METRICS["fd"].called(usual, "") == "FID"
    assert METRICS["fd"].called(clean, "") == "FID (clean)"
    assert METRICS["kid"].called(clean, "cat") == "KID[cat] (clean)"


def test_a_resize_that_would_change_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--resize clean says .* add --features inception"):
        evaluate(TRAIN, TEST, pool=None, resize="clean", metrics=("kid",), store=tmp_path)
    with pytest.raises(UserError, match="choose one of: tensorflow, clean, pytorch"):
        evaluate(TRAIN, TEST, pool=None, resize="cubic", store=tmp_path)
