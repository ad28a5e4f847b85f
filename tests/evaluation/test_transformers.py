from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from safelight.errors import DamagedFile, MissingLibrary, MissingWeights
from safelight.evaluation.transformers import (
    CLIP,
    DINOV2,
    Transformer,
    float_bicubic,
    pillow_bicubic,
)
from safelight.files import sha256
from safelight.machine import full_precision

HEADS = 2
SMALL_DINO = replace(
    DINOV2, options={**DINOV2.options, "embed_dim": 32, "depth": 2, "num_heads": HEADS}
)
SMALL_CLIP = replace(
    CLIP, options={"img_size": 336, "embed_dim": 128, "depth": 2, "num_heads": 2, "num_classes": 24}
)


def noise(*shape: int) -> Tensor:
    drawn = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(1))
    return drawn.to(torch.uint8)


def dino_weights(d: int = 32, depth: int = 2) -> dict[str, Tensor]:
    """By the names, and of the shapes but for d and depth, of dinov2_vitl14_pretrain.pth."""
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, d),
        "pos_embed": (1, 1 + 37 * 37, d),
        "mask_token": (1, d),
        "patch_embed.proj.weight": (d, 3, 14, 14),
        "patch_embed.proj.bias": (d,),
        "norm.weight": (d,),
        "norm.bias": (d,),
    }
    for i in range(depth):
        linear = {"attn.qkv": (3 * d, d), "attn.proj": (d, d)}
        linear |= {"mlp.fc1": (4 * d, d), "mlp.fc2": (d, 4 * d)}
        for name, shape in linear.items():
            shapes |= {f"blocks.{i}.{name}.weight": shape, f"blocks.{i}.{name}.bias": shape[:1]}
        for name in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"):
            shapes[f"blocks.{i}.{name}"] = (d,)
        shapes |= {f"blocks.{i}.ls1.gamma": (d,), f"blocks.{i}.ls2.gamma": (d,)}
    generator = torch.Generator().manual_seed(0)
    return {name: 0.2 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def published_dino(w: dict[str, Tensor], x: Tensor) -> Tensor:
    """The forward pass of facebookresearch/dinov2, written out: x (b, 3, 224, 224) -> (b, d)."""

    def linear(x: Tensor, name: str) -> Tensor:
        return F.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])

    def norm(x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"], 1e-6)

    def attend(x: Tensor, name: str) -> Tensor:
        b, n, d = x.shape
        qkv = linear(x, f"{name}.qkv").reshape(b, n, 3, HEADS, d // HEADS)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        shares = (q @ k.transpose(-2, -1) * (d // HEADS) ** -0.5).softmax(dim=-1)
        return linear((shares @ v).transpose(1, 2).reshape(b, n, d), f"{name}.proj")

    patches = F.conv2d(x, w["patch_embed.proj.weight"], w["patch_embed.proj.bias"], stride=14)
    x = patches.flatten(2).transpose(1, 2)
    d = x.shape[2]
    x = torch.cat([w["cls_token"].expand(len(x), -1, -1), x], dim=1)
    held = w["pos_embed"]
    grid = F.interpolate(
        held[:, 1:].reshape(1, 37, 37, d).permute(0, 3, 1, 2),
        scale_factor=((16 + 0.1) / 37, (16 + 0.1) / 37),
        mode="bicubic",
    )
    x = x + torch.cat([held[:, :1], grid.permute(0, 2, 3, 1).reshape(1, -1, d)], dim=1)
    for i in range(2):
        b = f"blocks.{i}"
        x = x + w[f"{b}.ls1.gamma"] * attend(norm(x, f"{b}.norm1"), f"{b}.attn")
        hidden = F.gelu(linear(norm(x, f"{b}.norm2"), f"{b}.mlp.fc1"))
        x = x + w[f"{b}.ls2.gamma"] * linear(hidden, f"{b}.mlp.fc2")
    return norm(x, "norm")[:, 0]


def test_dinov2_is_the_published_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """F10, X1: from uint8, by dgm-eval's own resize, to the class token."""
    from torchvision import transforms as T

    weights = dino_weights()
    torch.save(weights, tmp_path / "w.pth")
    monkeypatch.setenv(DINOV2.weights.place, str(tmp_path / "w.pth"))
    prepare = T.Compose(
        [
            T.Resize((224, 224), T.InterpolationMode.BICUBIC),
            T.ToTensor(),
            T.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    images = noise(2, 3, 32, 48)
    x = torch.stack([prepare(Image.fromarray(i.permute(1, 2, 0).numpy())) for i in images])
    network = SMALL_DINO.network()
    with torch.inference_mode(), full_precision():
        features, grey = network.extract(images), network.extract(images[:, :1])
        repeated = network.extract(images[:, :1].repeat(1, 3, 1, 1))
    torch.testing.assert_close(features, published_dino(weights, x), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(grey, repeated)
    assert (network.name, network.dimension, network.published) == ("dinov2", 32, False)
    assert network.weights == sha256(tmp_path / "w.pth")


def test_clip_is_openais(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """F10, X1: OpenAI's code as torch-fidelity has it, with CMMD's resize and length."""
    from torch_fidelity.feature_extractor_clip import VisionTransformer

    with torch.random.fork_rng():
        torch.manual_seed(0)
        library = VisionTransformer(336, 14, 128, 2, 2, 24).eval()
        for tensor in library.parameters():
            nn.init.normal_(tensor, std=0.2)
    weights = {f"visual.{name}": tensor for name, tensor in library.state_dict().items()}
    weights["token_embedding.weight"] = torch.zeros(1)  # the texts' half of such a file
    save_file(weights, tmp_path / "w.safetensors")
    monkeypatch.setenv(CLIP.weights.place, str(tmp_path / "w.safetensors"))
    images, network = noise(2, 3, 32, 48), SMALL_CLIP.network()
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None]
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None]
    with torch.inference_mode(), full_precision():
        features = network.extract(images)
        theirs = library((float_bicubic(images) - mean) / std)
    torch.testing.assert_close(
        features, theirs / theirs.norm(dim=1, keepdim=True), rtol=1e-4, atol=1e-5
    )
    assert (network.name, network.dimension) == ("clip", 24)


@pytest.mark.parametrize("shape", [(32, 48), (500, 341)])
def test_clips_resize_is_pillows_for_floats(shape: tuple[int, int]) -> None:
    """The kernel of jax.image.resize's bicubic: Keys's with a = -1/2, widened where it shrinks."""
    image = noise(1, 3, *shape)
    channels = [Image.fromarray(c.float().numpy()) for c in image[0]]
    theirs = np.stack(
        [np.asarray(c.resize((336, 336), Image.Resampling.BICUBIC)) for c in channels]
    )
    np.testing.assert_allclose(float_bicubic(image)[0].numpy(), theirs / 255, atol=5e-5)


def test_dinov2s_resize_has_256_levels() -> None:
    levels = pillow_bicubic(noise(1, 3, 32, 32)) * 255
    torch.testing.assert_close(levels, levels.round())


@pytest.mark.parametrize("row", [DINOV2, CLIP], ids=lambda row: row.name)
def test_the_whole_network_has_the_published_size(row: Transformer) -> None:
    """X1: both are ViT-L/14; CLIP's is projected to 768 numbers."""
    import timm

    with torch.device("meta"):
        model = timm.create_model(row.architecture, **row.options)
    positions, projected = {"dinov2": (16**2, 0), "clip": (24**2, 768)}[row.name]
    assert model.pos_embed.shape == (1, 1 + positions, 1024)
    assert model.num_classes == projected
    assert len(model.blocks) == 24
    assert model.blocks[0].attn.num_heads == 16
    assert model.blocks[0].mlp.fc1.out_features == 4096


@pytest.mark.parametrize("row", [DINOV2, CLIP], ids=lambda row: row.name)
def test_missing_weights_say_which_file_to_put_where(
    row: Transformer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(url: str, path: str, prefix: str | None, progress: bool) -> None:
        raise OSError("no route to host")

    monkeypatch.delenv(row.weights.place, raising=False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(MissingWeights) as caught:
        row.network()
    message = str(caught.value)
    assert "\n" not in message
    for part in (row.weights.url, str(tmp_path / "checkpoints" / row.weights.file)):
        assert part in message
    assert f"name the file in {row.weights.place}" in message


def test_weights_of_another_network_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CLIP at 224 pixels has fewer positions: no others are made up for it."""
    state = dino_weights()
    save_file(state, tmp_path / "w.safetensors")
    for row in (SMALL_CLIP, DINOV2):
        monkeypatch.setenv(row.weights.place, str(tmp_path / "w.safetensors"))
        with pytest.raises(DamagedFile, match=f"does not hold the {row.weights.of} weights"):
            row.network()
    (tmp_path / "w.safetensors").write_bytes(b"not tensors")
    with pytest.raises(DamagedFile, match="does not hold the DINOv2 weights"):
        SMALL_DINO.network()


def test_without_timm_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingLibrary, match=r"pip install 'safelight\[timm\]'"):
        DINOV2.network()
