from __future__ import annotations

import builtins
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from safelight.errors import DamagedFile, MissingWeights, UserError
from safelight.evaluation import pretrained
from safelight.evaluation.features import FEATURES, Material
from safelight.evaluation.network import three_channels
from safelight.evaluation.pretrained import INCEPTION, efficientnet, inception
from safelight.files import sha256
from safelight.machine import device, full_precision

MATERIAL = Material((3, 32, 32), None, Path("nowhere"))


def test_inception_equals_torch_fidelity(
    inception_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F10: the same weights in our code and in the library, from uint8, its resize included."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    monkeypatch.setenv(INCEPTION.place, str(inception_file))
    library = FeatureExtractorInceptionV3(
        "inception", ["2048"], feature_extractor_weights_path=str(inception_file)
    ).to(device())
    images = torch.randint(0, 256, (3, 3, 32, 32), generator=torch.Generator().manual_seed(1))
    images = images.to(torch.uint8)
    network = inception()
    with torch.inference_mode(), full_precision():
        features = network.extract(images)
        grey = network.extract(images[:, :1])
        images = images.to(device())
        theirs, theirs_grey = (
            library(x)[0].cpu() for x in (images, images[:, :1].repeat(1, 3, 1, 1))
        )
    torch.testing.assert_close(features, theirs, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(grey, theirs_grey)
    assert features.shape == (3, network.dimension)
    assert network.weights == sha256(inception_file)


def test_other_weights_are_not_called_fid(
    inception_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X1: the network alone does not make a distance FID; the published weights do."""
    monkeypatch.setenv(INCEPTION.place, str(inception_file))
    assert not inception().published


def test_missing_inception_weights_say_where_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(url: str, path: str, prefix: str, progress: bool) -> None:
        raise OSError("no route to host")

    monkeypatch.delenv(INCEPTION.place, raising=False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(MissingWeights) as caught:
        inception()
    message = str(caught.value)
    name = "weights-inception-2015-12-05-6726825d.pth"
    assert f"releases/download/v0.2.0/{name}" in message
    assert str(tmp_path / "checkpoints" / name) in message
    assert "--features efficientnet-lite0" in message
    assert "\n" not in message
    assert not list((tmp_path / "checkpoints").iterdir())
    monkeypatch.setenv(INCEPTION.place, str(tmp_path / "nowhere.pth"))
    with pytest.raises(MissingWeights, match=r"nowhere\.pth, which is no file"):
        inception()


class Attack:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return builtins.exec, ("raise SystemExit('code ran')",)


@pytest.mark.parametrize("content", [Attack(), {"a": torch.zeros(1)}, 17])
def test_a_weights_file_that_is_something_else_is_refused(
    content: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing in it runs."""
    torch.save(content, tmp_path / "w.pth")
    monkeypatch.setenv(INCEPTION.place, str(tmp_path / "w.pth"))
    with pytest.raises(DamagedFile, match="does not hold the Inception weights"):
        inception()


def test_efficientnet_equals_its_package() -> None:
    """F10: the package's own forward pass, to the pooled features and to the scores of classes.

    224x224 needs no resize.
    """
    network = efficientnet()
    model_class, path = pretrained._efficientnet_packages()
    library = model_class.from_name("efficientnet-lite0").eval().to(device())
    library.load_state_dict(torch.load(path, weights_only=True))
    pooled: list[torch.Tensor] = []
    library._avg_pooling.register_forward_hook(lambda m, i, out: pooled.append(out.flatten(1)))
    images = torch.randint(0, 256, (2, 3, 224, 224), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode(), full_precision():
        features = network.extract(images.to(torch.uint8))
        logits = library((images.to(device()).float() - 127) / 128).cpu().numpy()
    torch.testing.assert_close(features, pooled[0].cpu(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        network.head.scores(features.numpy()), logits, rtol=1e-4, atol=1e-4 * np.abs(logits).max()
    )
    assert features.shape[1] == network.dimension
    assert not network.published


def test_bfloat16_is_a_network_of_its_own() -> None:
    """X1: near float32's features, and never mixed up with them."""
    network, halved = efficientnet(), FEATURES["efficientnet-lite0-bf16"](MATERIAL)
    images = torch.randint(0, 256, (4, 3, 32, 32), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode(), full_precision():
        full, half = (each.extract(images.to(torch.uint8)) for each in (network, halved))
    assert half.dtype == torch.float32
    assert 0 < (full - half).norm() / full.norm() < 0.05
    assert halved.key != network.key
    assert halved.called != network.called


def test_efficientnet_does_not_depend_on_the_batch() -> None:
    network = efficientnet()
    images = torch.randint(0, 256, (5, 1, 28, 28), generator=torch.Generator().manual_seed(1))
    images = images.to(torch.uint8)
    with torch.inference_mode(), full_precision():
        together = network.extract(images)
        alone = torch.cat([network.extract(image[None]) for image in images])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_without_the_packages_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(UserError, match=r"pip install 'safelight\[offline\]'"):
        efficientnet()


def test_grey_is_repeated() -> None:
    grey = torch.randint(0, 256, (2, 1, 4, 4)).to(torch.uint8)
    assert torch.equal(three_channels(grey), torch.cat([grey] * 3, dim=1))
    colour = torch.randint(0, 256, (2, 3, 4, 4)).to(torch.uint8)
    assert three_channels(colour) is colour
