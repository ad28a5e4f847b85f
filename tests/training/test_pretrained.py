"""Folders of diffusers' autoencoders: read as they are, or a line that says what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DModel
from safetensors.torch import load_file, save_file

from safelight.errors import UserError
from safelight.training.pretrained import RENAMED, WEIGHTS, open_reference
from tests.nets.stirring import stirred
from tests.nets.test_reference_autoencoder import KL, TINY, drawn

SHAPE = (3, 8, 8)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder kl and a folder tiny as diffusers writes them."""
    folder = tmp_path_factory.mktemp("saved")
    stirred(lambda: AutoencoderKL(**KL)).save_pretrained(folder / "kl")
    stirred(lambda: AutoencoderTiny(**TINY)).save_pretrained(folder / "tiny")
    return folder


@pytest.fixture
def copied(saved: Path, tmp_path: Path) -> Path:
    """One that a test may spoil."""
    for file in (saved / "kl").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def test_a_folder_of_diffusers_is_read(saved: Path) -> None:
    """K12, B8: what diffusers reads there answers the same."""
    x = drawn(2, *SHAPE)
    before = torch.random.get_rng_state()
    kl, tiny = open_reference(saved / "kl", SHAPE), open_reference(saved / "tiny", SHAPE)
    assert torch.equal(torch.random.get_rng_state(), before)
    theirs = AutoencoderKL.from_pretrained(saved / "kl", local_files_only=True)
    assert torch.equal(kl.encode(x)[0], theirs.encode(x).latent_dist.mean)
    assert torch.equal(kl.encode(x)[1], theirs.encode(x).latent_dist.std)
    theirs = AutoencoderTiny.from_pretrained(saved / "tiny", local_files_only=True)
    z = theirs.encode(x).latents
    assert torch.equal(tiny.encode(x)[0], z)
    assert torch.equal(tiny.decode(z), theirs.decode(z).sample)
    assert (kl.kind, tiny.kind) == ("AutoencoderKL", "AutoencoderTiny")
    assert kl.options.items() >= KL.items()
    assert tiny.options.items() >= TINY.items()


def test_a_whole_stable_diffusion_has_it_in_vae(saved: Path, tmp_path: Path) -> None:
    """B8."""
    (tmp_path / "vae").symlink_to(saved / "kl")
    (tmp_path / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    x = drawn(1, *SHAPE)
    expected, _ = open_reference(saved / "kl", SHAPE).encode(x)
    assert torch.equal(open_reference(tmp_path, SHAPE).encode(x)[0], expected)


def test_old_names_and_half_precision_are_read(copied: Path) -> None:
    """B8: as the first Stable Diffusion was saved, and as its variant fp16; float32 here."""
    file, x = copied / WEIGHTS[0], drawn(1, *SHAPE)
    back = {new: old for old, new in RENAMED.items()}
    weights = {}
    for name, tensor in load_file(file).items():
        for new, old in back.items():
            name = name.replace(f".{new}.", f".{old}.")
        weights[name] = tensor.half()
    assert sum(".query." in name for name in weights) == 4
    save_file(weights, file)
    theirs = AutoencoderKL.from_pretrained(copied, local_files_only=True)
    expected = theirs.encode(x).latent_dist.mean
    file.rename(copied / WEIGHTS[1])
    mean, _ = open_reference(copied, SHAPE).encode(x)
    assert mean.dtype == torch.float32
    assert torch.equal(mean, expected)


def rewritten(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], Any]:
    """The same folder with other weights."""

    def spoil(folder: Path) -> None:
        weights = load_file(folder / WEIGHTS[0])
        change(weights)
        save_file(weights, folder / WEIGHTS[0])

    return spoil


def configured(text: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / "config.json").write_text(text)


def only_pickled(folder: Path) -> None:
    (folder / WEIGHTS[0]).rename(folder / "diffusion_pytorch_model.bin")


CHOOSE = "choose the folder of an AutoencoderKL or AutoencoderTiny that diffusers saved"
NAME = "decoder.conv_in.bias"
CASES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no config": (lambda f: (f / "config.json").unlink(), f"has no config.json, nor .*; {CHOOSE}"),
    "no JSON": (configured("no"), f"config.json is damaged; {CHOOSE}"),
    "no names": (configured("[1]"), f"does not say of which class of diffusers it is; {CHOOSE}"),
    "no class": (configured("{}"), f"does not say of which class of diffusers it is; {CHOOSE}"),
    "no text": (configured('{"_class_name": 1}'), f"does not say of which class .*; {CHOOSE}"),
    "another": (configured('{"_class_name": "VQModel"}'), f"is VQModel of diffusers; {CHOOSE}"),
    "option": (configured('{"_class_name": "AutoencoderKL", "a": 1}'), "unknown option of Autoenc"),
    "no weights": (
        lambda f: (f / WEIGHTS[0]).unlink(),
        "has no diffusion_pytorch_model.safetensors; copy it beside its config.json",
    ),
    "pickled": (only_pickled, "only as diffusion_pytorch_model.bin, .* may run code; .* save them"),
    "cut short": (
        lambda f: (f / WEIGHTS[0]).write_bytes((f / WEIGHTS[0]).read_bytes()[:999]),
        "can't be read .*; copy it anew",
    ),
    "missing": (rewritten(lambda w: w.pop(NAME)), f"is not of the .* Missing key.*{NAME}"),
    "more": (
        rewritten(lambda w: w.update(more=torch.zeros(1))),
        "is not of the .* Unexpected.*mor",
    ),
    "size": (
        rewritten(lambda w: w.update({NAME: torch.zeros(3)})),
        f"is not of the .* mismatch for {NAME}",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_folders_that_cannot_be_read_are_refused(case: str, copied: Path) -> None:
    """K12, B8: one line each."""
    spoil, message = CASES[case]
    spoil(copied)
    with pytest.raises(UserError, match=message) as refusal:
        open_reference(copied, SHAPE)
    assert "\n" not in str(refusal.value)


def test_what_is_no_autoencoder_is_refused(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"no folder .*nobody, and none is downloaded; {CHOOSE}"):
        open_reference(tmp_path / "nobody", SHAPE)
    with pytest.raises(UserError, match="no folder"):
        open_reference(saved / "kl" / "config.json", SHAPE)
    UNet2DModel(
        block_out_channels=(8,),
        down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",),
        norm_num_groups=4,
    ).save_config(tmp_path)
    with pytest.raises(UserError, match=f"is UNet2DModel of diffusers; {CHOOSE}"):
        open_reference(tmp_path, SHAPE)
    with pytest.raises(UserError, match="7x7 .* --size 6 or 8; or choose another autoencoder"):
        open_reference(saved / "kl", (3, 7, 7))
