"""Autoencoders of diffusers behind our interface: they are what they are there."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from torch import Tensor

from safelight.errors import MissingLibrary, UserError
from safelight.nets.reference_autoencoder import KINDS, ReferenceAutoencoder, options_in
from tests.nets.stirring import stirred

KL: dict[str, Any] = {
    "block_out_channels": [8, 16],
    "down_block_types": ["DownEncoderBlock2D"] * 2,
    "up_block_types": ["UpDecoderBlock2D"] * 2,
    "norm_num_groups": 4,
    "latent_channels": 5,
}
TINY: dict[str, Any] = {
    "encoder_block_out_channels": [8, 8, 8],
    "decoder_block_out_channels": [8, 8, 8],
    "num_encoder_blocks": [1, 1, 1],
    "num_decoder_blocks": [1, 1, 1],
}


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def pair(kind: str, shape: tuple[int, int, int]) -> tuple[ReferenceAutoencoder, Any]:
    """Ours and diffusers', of the same weights."""
    make, options = {
        "AutoencoderKL": (AutoencoderKL, KL),
        "AutoencoderTiny": (AutoencoderTiny, TINY),
    }[kind]
    theirs = stirred(lambda: make(**options))
    net = ReferenceAutoencoder(kind, options, shape)
    net.net.load_state_dict(theirs.state_dict())
    return net, theirs


def test_it_is_the_autoencoder_of_stable_diffusion() -> None:
    """K12, B8: the mean, deviation and pictures of AutoencoderKL, exactly; of other sizes too."""
    net, theirs = pair("AutoencoderKL", (3, 16, 8))
    assert (net.factor, net.latent) == (2, (5, 8, 4))
    for x in (drawn(2, 3, 16, 8), drawn(1, 3, 6, 10)):
        mean, std = net.encode(x)
        expected = theirs.encode(x).latent_dist
        assert torch.equal(mean, expected.mean)
        assert torch.equal(std, expected.std)
        assert torch.equal(net.decode(mean), theirs.decode(expected.mean).sample)
        assert net.decode(mean).shape == x.shape


def test_it_is_the_tiny_one() -> None:
    """K12, B8: AutoencoderTiny's latents and pictures, exactly; it has no deviation."""
    net, theirs = pair("AutoencoderTiny", (3, 16, 8))
    assert (net.factor, net.latent) == (4, (4, 4, 2))
    x = drawn(2, 3, 16, 8)
    mean, std = net.encode(x)
    assert torch.equal(mean, theirs.encode(x).latents)
    assert torch.equal(std, torch.zeros(2, *net.latent))
    assert torch.equal(net.decode(mean), theirs.decode(mean).sample)


@pytest.mark.parametrize("kind", KINDS)
def test_grey_pictures_are_all_three_channels(kind: str) -> None:
    """K12."""
    net, theirs = pair(kind, (1, 8, 8))
    x = drawn(2, 1, 8, 8)
    z, _ = net.encode(x)
    expected = theirs.encode(torch.cat([x, x, x], dim=1))
    assert torch.equal(z, expected.latents if kind.endswith("Tiny") else expected.latent_dist.mean)
    assert torch.equal(net.decode(z), theirs.decode(z).sample.mean(1, keepdim=True))


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_made_again_from_what_a_run_keeps(kind: str) -> None:
    """K12: its kind and options as JSON, and its weights; no folder of diffusers'."""
    net, _ = pair(kind, (3, 8, 8))
    kept = json.loads(json.dumps(net.options))
    assert kept == net.options
    again = ReferenceAutoencoder(net.kind, kept, net.shape)
    again.load_state_dict(net.state_dict())
    x = drawn(1, 3, 8, 8)
    assert torch.equal(again.encode(x)[0], net.encode(x)[0])


@pytest.mark.parametrize("kind", KINDS)
def test_its_own_config_is_what_it_is_made_with(kind: str) -> None:
    net, theirs = pair(kind, (3, 8, 8))
    config = {"_class_name": kind, "_diffusers_version": "0.42", **theirs.config}
    again = ReferenceAutoencoder(kind, options_in(kind, config), (3, 8, 8))
    assert again.state_dict().keys() == net.state_dict().keys()


@pytest.mark.parametrize(
    ("kind", "options", "count"),
    [
        (
            "AutoencoderKL",
            {
                "block_out_channels": [128, 256, 512, 512],
                "down_block_types": ["DownEncoderBlock2D"] * 4,
                "up_block_types": ["UpDecoderBlock2D"] * 4,
                "layers_per_block": 2,
            },
            83_653_863,
        ),
        ("AutoencoderTiny", {}, 2_445_063),
    ],
)
def test_stable_diffusions_own_fit(kind: str, options: dict[str, Any], count: int) -> None:
    """B8: of the size that they are known by, and 4 channels of an eighth of the pictures."""
    with torch.device("meta"):
        net = ReferenceAutoencoder(kind, options, (3, 64, 64))
    assert sum(p.numel() for p in net.parameters()) == count
    assert (net.factor, net.latent) == (8, (4, 8, 8))
    assert net.encode(torch.zeros(1, 3, 64, 64, device="meta"))[0].shape[1:] == net.latent


def test_latents_are_float32_under_autocast() -> None:
    for kind in KINDS:
        net, _ = pair(kind, (3, 8, 8))
        with torch.autocast("cpu", torch.bfloat16):
            assert {part.dtype for part in net.encode(drawn(1, 3, 8, 8))} == {torch.float32}


def test_one_of_a_single_channel() -> None:
    grey = {**KL, "in_channels": 1, "out_channels": 1}
    net = ReferenceAutoencoder("AutoencoderKL", grey, (1, 8, 8))
    assert net.decode(net.encode(drawn(1, 1, 8, 8))[0]).shape == (1, 1, 8, 8)
    with pytest.raises(UserError, match="takes pictures of 1 channels and gives 1, and these have"):
        ReferenceAutoencoder("AutoencoderKL", grey, (3, 8, 8))


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("AutoencoderKL", {"act_fn": "no"}, "AutoencoderKL refuses what is in its config.json: "),
        ("AutoencoderKL", {"norm_num_groups": 3}, "must be divisible by num_groups"),
        ("AutoencoderKL", {"block_out_channels": 8}, "list of whole numbers, .* and not 8"),
        ("AutoencoderKL", {"block_out_channels": []}, "list of whole numbers, .* and not "),
        ("AutoencoderKL", {"latent_channels": "a"}, "refuses what is in its config.json: "),
        ("AutoencoderKL", {"latent_chanels": 4}, "did you mean 'latent_channels'"),
        (
            "AutoencoderKL",
            {"out_channels": 1},
            "3 channels and gives 1, and these have 3; .* for 3",
        ),
        ("AutoencoderKL", {"in_channels": "a"}, "takes pictures of a channels"),
        ("AutoencoderKL", {"in_channels": {}}, "takes pictures of {} channels"),
        ("AutoencoderTiny", {"upsampling_scaling_factor": 1}, "makes pictures of 3x3 of those of"),
        ("AutoencoderTiny", {"num_encoder_blocks": [1]}, "should have the same length as"),
        ("VQModel", {}, "unknown autoencoder of diffusers 'VQModel'; .* AutoencoderKL, Autoencod"),
    ],
    ids=str,
)
def test_what_cannot_be_built_is_refused(kind: str, changes: dict[str, Any], message: str) -> None:
    options = {**(TINY if kind == "AutoencoderTiny" else KL), **changes}
    with pytest.raises(UserError, match=message) as refusal:
        ReferenceAutoencoder(kind, options, (3, 12, 12))
    assert "\n" not in str(refusal.value)


def test_sides_that_do_not_divide_are_refused() -> None:
    with pytest.raises(UserError, match="10x10 .* 4x4 .* --size 8 or 12; or choose another autoen"):
        ReferenceAutoencoder("AutoencoderTiny", TINY, (3, 10, 10))


def test_a_library_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    row = KINDS["AutoencoderKL"]
    absent = row._replace(foreign=row.foreign._replace(library="no_such_library"))
    monkeypatch.setitem(KINDS, "AutoencoderKL", absent)
    with pytest.raises(MissingLibrary, match=r"AutoencoderKL .* pip install 'safelight\[reference"):
        ReferenceAutoencoder("AutoencoderKL", KL, (3, 8, 8))
