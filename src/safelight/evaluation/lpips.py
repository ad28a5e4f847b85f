"""LPIPS (Zhang et al. 2018, arXiv:1801.03924), as features whose squared distance it is.

With y_l the activations of AlexNet's layer l, at each place scaled to length 1 over its channels,
and w_l ≥ 0 the published weights of channels,
    LPIPS(a, b) = sum_l 1/(h_l w_l) sum_places sum_channels w_l (y_l(a) - y_l(b))²
is |φ(a) - φ(b)|² with φ = (sqrt(w_l / h_l w_l) y_l for each l), one after another.
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from safelight.errors import MissingLibrary
from safelight.evaluation.network import Network, three_channels
from safelight.evaluation.weights import Weights
from safelight.files import sha256
from safelight.images import dequantise
from safelight.machine import device

ALEXNET = Weights(
    of="AlexNet",
    place="SAFELIGHT_ALEXNET_WEIGHTS",
    url="https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
    file="alexnet-owt-7be5be79.pth",
    megabytes=233,
    begins="7be5be79",
    instead="--metrics vendi",
)

LAYERS = (1, 4, 7, 9, 11)  # the ReLUs of torchvision's AlexNet whose output is compared
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of channels in [-1, 1]
SMALLEST = 32  # pixels a side: below, AlexNet has no last layer
LARGEST = 64  # pixels a side: 130 kB of features; of 256 they would be 2.5 MB a picture


def lpips(shape: tuple[int, int, int]) -> Network:
    """φ of pictures (c, h, w). Raises MissingLibrary and MissingWeights, which say what to do."""
    backbone, linear = ALEXNET.path(), linear_weights()
    layers, weights = _load_backbone(backbone), _load_linear(linear)
    size = _size(shape)
    with torch.inference_mode():
        dimension = embed(torch.zeros(1, 3, *size, device=device()), layers, weights).shape[1]

    def extract(images: Tensor) -> Tensor:
        x = dequantise(three_channels(images)).to(device())
        if tuple(x.shape[2:]) != size:
            x = F.interpolate(x, size=size, mode="bilinear", antialias=True)
        return embed(x, layers, weights).cpu()

    both = hashlib.sha256((sha256(backbone) + sha256(linear)).encode()).hexdigest()
    return Network(
        name="lpips",
        dimension=dimension,
        resize=f"none from {SMALLEST} to {LARGEST} pixels a side, others to the nearer, bilinear, "
        "antialiased; grey repeated to 3 channels",
        weights=both,
        published=False,
        extract=extract,
    )


def embed(x: Tensor, layers: nn.Sequential, weights: list[Tensor]) -> Tensor:
    """φ of images in [-1, 1], (b, 3, h, w) -> (b, d). weights: w_l of each layer, (channels,)."""
    shift, scale = (x.new_tensor(held)[:, None, None] for held in (SHIFT, SCALE))
    x, parts = (x - shift) / scale, []
    for number, layer in enumerate(layers):
        x = layer(x)
        if number in LAYERS:
            w = weights[LAYERS.index(number)]
            directions = x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10)
            places = x.shape[2] * x.shape[3]
            parts.append((directions * (w / places).sqrt()[:, None, None]).flatten(1))
    return torch.cat(parts, 1)


def linear_weights() -> Path:
    """The file of w_l that the package lpips brings. Raises MissingLibrary."""
    found = importlib.util.find_spec("lpips")
    if found is None or found.origin is None:
        raise MissingLibrary(
            "LPIPS needs the weights of channels that the package lpips brings; "
            "run: pip install 'safelight[lpips]'"
        )
    return Path(found.origin).parent / "weights" / "v0.1" / "alex.pth"


def _load_backbone(path: Path) -> nn.Sequential:
    from torchvision.models import alexnet  # slow to import

    with torch.device("meta"):  # 61 million random numbers need not be drawn to be replaced
        layers: nn.Sequential = alexnet().features[: LAYERS[-1] + 1]
    held = ALEXNET.read(path)
    try:
        wanted = {name: held[f"features.{name}"] for name in layers.state_dict()}
        layers.load_state_dict(wanted, assign=True)
    except (RuntimeError, KeyError) as error:
        raise ALEXNET.damaged(path) from error
    for layer in layers:
        if isinstance(layer, nn.ReLU):
            layer.inplace = False
    return layers.eval().to(device())


def _load_linear(path: Path) -> list[Tensor]:
    held = torch.load(path, map_location="cpu", weights_only=True)
    found = [held[f"lin{i}.model.1.weight"].flatten() for i in range(len(LAYERS))]
    return [w.to(device()) for w in found]


def _size(shape: tuple[int, int, int]) -> tuple[int, int]:
    h, w = (min(max(side, SMALLEST), LARGEST) for side in shape[1:])
    return h, w
