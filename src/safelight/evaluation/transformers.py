"""Vision transformers as feature networks: DINOv2 and CLIP, built by timm, from published weights.

dinov2: FD-DINOv2 of Stein et al. 2023 (arXiv:2306.04675, their package dgm-eval).
clip: CMMD of Jayasumana et al. 2024 (arXiv:2401.09603, google-research/cmmd).
Memory: their weights, 1.2 GB each in float32, once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from safelight.errors import MissingLibrary
from safelight.evaluation.network import Network, three_channels
from safelight.evaluation.weights import Weights
from safelight.files import sha256
from safelight.machine import device

State = dict[str, Tensor]
Numbers = tuple[float, float, float]  # of red, green and blue


@dataclass(frozen=True)
class Transformer:
    """A network of timm's, the weights that were published for it, and how it sees pictures.

    architecture, options: timm's name of it, and what it is built with; num_classes are the numbers
    that its last layer projects the class token to, 0 of a network without.
    fit: uint8 (b, 3, h, w) -> float32 (b, 3, side, side) in [0, 1]; then (x - mean) / std.
    adapt: what the weights need to be those of this size. unit: features of length 1.
    """

    name: str
    architecture: str
    options: Mapping[str, Any]
    weights: Weights
    resize: str
    fit: Callable[[Tensor], Tensor]
    mean: Numbers
    std: Numbers
    adapt: Callable[[State], State] = lambda state: state
    unit: bool = False

    def network(self) -> Network:
        """Raises MissingLibrary without timm, MissingWeights, DamagedFile."""
        _timm()  # before a download
        path = self.weights.path()
        model = self._load(path).to(device())
        mean, std = (torch.tensor(c, device=device())[:, None, None] for c in (self.mean, self.std))

        def extract(images: Tensor) -> Tensor:
            x = self.fit(three_channels(images)).to(device())
            features: Tensor = model((x - mean) / std)
            return (F.normalize(features, dim=1) if self.unit else features).cpu()

        return Network(
            name=self.name,
            dimension=self.options["num_classes"] or model.num_features,
            resize=self.resize,
            weights=sha256(path),
            published=False,
            extract=extract,
        )

    def _load(self, path: Path) -> Any:
        """The network with the file's weights, in whose names timm knows its way."""
        timm = _timm()
        with torch.device("meta"):  # all weights come from the file
            model = timm.create_model(self.architecture, **self.options)
        try:
            state = self.adapt(self.weights.read(path))
            state = timm.models.vision_transformer.checkpoint_filter_fn(state, model)
            state = {name: tensor.float() for name, tensor in state.items()}
            model.load_state_dict(state, assign=True)
        except (RuntimeError, KeyError, ValueError) as error:
            raise self.weights.damaged(path) from error
        return model.eval().requires_grad_(False)


def _timm() -> Any:
    try:
        import timm
    except ImportError as error:
        raise MissingLibrary(
            "the feature networks dinov2 and clip are built by timm, which is not installed; "
            "run: pip install 'safelight[timm]', or use --features efficientnet-lite0"
        ) from error
    return timm


# ---- dinov2

PATCH = 14  # pixels a side


def pillow_bicubic(images: Tensor) -> Tensor:
    """224x224 by Pillow, antialiased, rounded to 256 levels, as torchvision resizes an Image."""
    pictures = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images]
    resized = [np.asarray(p.resize((224, 224), Image.Resampling.BICUBIC)) for p in pictures]
    return torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).float() / 255


def positions(state: State) -> State:
    """The weights, made for 518 pixels a side, with the patches' positions for 224.

    pos_embed (1, 1 + n², d) becomes (1, 1 + 16², d) as DINOv2's own code has it: bicubic, without
    antialiasing, by the factor (16 + 0.1) / n. timm's own way would give other features.
    """
    wanted, held = 224 // PATCH, state["pos_embed"]
    n, d = math.isqrt(held.shape[1] - 1), held.shape[2]
    grid = held[:, 1:].float().reshape(1, n, n, d).permute(0, 3, 1, 2)
    factor = (wanted + 0.1) / n
    grid = F.interpolate(grid, scale_factor=(factor, factor), mode="bicubic")
    patches = grid.permute(0, 2, 3, 1).reshape(1, wanted**2, d)
    return {**state, "pos_embed": torch.cat([held[:, :1].float(), patches], dim=1)}


DINOV2 = Transformer(
    name="dinov2",
    architecture="vit_large_patch14_dinov2",
    options={"img_size": 224, "num_classes": 0},
    weights=Weights(
        of="DINOv2",
        place="SAFELIGHT_DINOV2_WEIGHTS",
        url="https://dl.fbaipublicfiles.com/dinov2/dinov2_vitl14/dinov2_vitl14_pretrain.pth",
        file="dinov2_vitl14_pretrain.pth",
        megabytes=1_217,
    ),
    resize="224x224, bicubic, antialiased, rounded to 256 levels (Pillow), ImageNet's mean and "
    "deviation, class token; grey repeated to 3 channels",
    fit=pillow_bicubic,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    adapt=positions,
)


# ---- clip


def float_bicubic(images: Tensor) -> Tensor:
    """336x336, antialiased, not rounded: jax.image.resize's bicubic, which torch's is here too."""
    return F.interpolate(images.float() / 255, size=(336, 336), mode="bicubic", antialias=True)


CLIP = Transformer(
    name="clip",
    architecture="vit_large_patch14_clip_quickgelu_336",
    options={"img_size": 336, "num_classes": 768},
    weights=Weights(
        of="CLIP",
        place="SAFELIGHT_CLIP_WEIGHTS",
        url="https://huggingface.co/timm/vit_large_patch14_clip_336.openai/resolve/main/"
        "model.safetensors",
        file="vit_large_patch14_clip_336.openai.safetensors",
        megabytes=1_218,
    ),
    resize="336x336, bicubic, antialiased, not rounded, CLIP's mean and deviation, projected, "
    "length 1; grey repeated to 3 channels",
    fit=float_bicubic,
    mean=(0.48145466, 0.4578275, 0.40821073),
    std=(0.26862954, 0.26130258, 0.27577711),
    unit=True,
)
