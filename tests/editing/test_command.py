"""Editing as a command: files, folders and classes, and how it answers what it can't do."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch import Tensor

from safelight import (
    ImageToImage,
    Inpaint,
    Interpolate,
    Invert,
    UserError,
    edit,
)
from safelight.cli import main
from safelight.data.cache import Cache
from safelight.nets.unet import UNet
from safelight.training.run import Run
from safelight.training.source import DiffusionSource
from tests.editing.conftest import FAST, pixels, record


def test_nothing_is_overwritten(desk: Path) -> None:
    """A folder of other edits, of something else, or a file."""
    task = ImageToImage(strength=0.3)
    out = edit(desk / "run", desk / "pictures", task, sampling=FAST, out=desk / "first")
    before = sorted((p.name, p.read_bytes()) for p in out.iterdir())
    for other in (ImageToImage(strength=0.4), Invert()):
        with pytest.raises(UserError, match="holds other edits; choose another folder"):
            edit(desk / "run", desk / "pictures", other, sampling=FAST, out=out)
    assert before == sorted((p.name, p.read_bytes()) for p in out.iterdir())
    with pytest.raises(UserError, match="is not empty and holds no edits"):
        edit(desk / "run", desk / "pictures", task, sampling=FAST, out=desk / "digits")


def test_classes_come_from_the_option_the_folder_or_the_cache(desk: Path) -> None:
    """L2: what is known is used; what is not is left open."""
    task = ImageToImage(strength=0.8)

    def classes(places: object, **how: object) -> object:
        out = edit(desk / "run", places, task, sampling=FAST, **how)  # type: ignore[arg-type]
        return record(out)["classes"]

    held_out = Cache.open(desk / "digits", "test")
    cached = [str(k) for k in held_out.labels(range(4)).tolist()]
    assert classes(desk / "pictures") is None
    assert classes(desk / "named") == sorted(cached)
    assert classes(f"{desk / 'digits'}:test", n=4) == cached
    assert classes(desk / "pictures", class_name="3") == ["3"] * 4
    assert classes(f"{desk / 'digits'}:test", n=2, class_name="3") == ["3"] * 2
    assert len(classes(f"{desk / 'digits'}:test")) == 16  # type: ignore[arg-type]


def test_a_picture_called_like_the_sheet_is_not_overwritten_by_it(desk: Path) -> None:
    (desk / "sheets").mkdir()
    for i, name in enumerate(("Sheet.png", "b.png")):
        shutil.copy(desk / f"pictures/{i}.png", desk / "sheets" / name)
    out = edit(desk / "run", desk / "sheets", ImageToImage(strength=0.0), sampling=FAST)
    assert sorted(p.name for p in out.glob("*.png")) == ["000.png", "001.png", "sheet.png"]
    assert record(out)["pictures"] == ["Sheet.png", "b.png"]
    for i in range(2):
        assert np.array_equal(pixels(out / f"00{i}.png"), pixels(desk / f"pictures/{i}.png"))


def test_a_mask_in_the_home_folder(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And where it lies plays no part: the same pixels, the same folder of results."""
    monkeypatch.setenv("HOME", str(desk))
    found = [
        edit(desk / "run", desk / "pictures", Inpaint(mask=mask, repeats=1), sampling=FAST)
        for mask in (Path("~/mask.png"), desk / "mask.png")
    ]
    assert found[0] == found[1]


def test_no_more_pictures_at_once_than_a_micro_batch(
    desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X5: the ends of a way as well as the pictures on it."""
    seen: list[int] = []
    forward = UNet.forward

    def counted(self: UNet, x: Tensor, *rest: Tensor) -> Tensor:
        seen.append(len(x))
        return forward(self, x, *rest)

    monkeypatch.setattr(UNet, "forward", counted)
    whole = Run.diffusion_source

    def small(*arguments: Any, **named: Any) -> DiffusionSource:
        source = whole(*arguments, **named)
        source.micro_batch = 1
        return source

    files = sorted((desk / "named").rglob("*.png"))[:2]
    many = edit(desk / "run", files, Interpolate(frames=3), sampling=FAST, out=desk / "many")
    assert max(seen) == 3
    monkeypatch.setattr(Run, "diffusion_source", small)
    seen.clear()
    one = edit(desk / "run", files, Interpolate(frames=3), sampling=FAST, out=desk / "one")
    assert max(seen) == 1
    for i in range(3):
        apart = pixels(one / f"00{i}.png").astype(int) - pixels(many / f"00{i}.png")
        assert abs(apart).max() <= 1


def test_mistakes_are_answered_in_one_line(
    desk: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Each says what, where and what to do instead, and exits with status 2."""
    run, files, mask = desk / "run", desk / "pictures", desk / "mask.png"
    two = [files / "0.png", files / "1.png"]
    prepare_it = "safelight prepare FOLDER --size 8 --channels grey --out CACHE"
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    (tmp_path / "empty").mkdir()
    Image.new("L", (12, 8)).save(tmp_path / "wide.png")
    Image.new("L", (3, 3)).save(tmp_path / "three.png")
    (tmp_path / "closed.png").symlink_to("/proc/self/mem")  # which gives an error of the disk
    cases = {
        ("inpaint", run, files): "--mask",
        ("inpaint", run, files, "--mask", tmp_path / "none.png"): "there is no picture",
        ("inpaint", run, files, "--mask", desk / "small-mask.png"): "is 4x4 and the pictures are 8",
        ("inpaint", run, files, "--mask", desk / "black.png"): "is black: paint white",
        ("inpaint", run, files, "--mask", tmp_path / "broken.png"): "gives no picture: not a",
        ("inpaint", run, files, "--mask", mask, "--repeats", 0): "--repeats: should be grea",
        ("inpaint", run, desk / "colours", "--mask", mask): f"8x8 colour and.*grey.*{prepare_it}",
        ("inpaint", desk / "colour", files, "--mask", mask): "8x8 grey and.*8x8 colour.*rgb",
        ("inpaint", run, f"{desk / 'colour-cache'}:test", "--mask", mask): "8x8 colour and",
        ("inpaint", run, tmp_path / "wide.png", "--mask", mask): f"12x8 grey and.*{prepare_it}",
        ("inpaint", run, tmp_path / "broken.png", "--mask", mask): "gives no picture: not a pict",
        ("inpaint", run, tmp_path / "notes.txt", "--mask", mask): "is no picture; name",
        ("inpaint", run, tmp_path / "empty", "--mask", mask): "there are no pictures in",
        ("inpaint", run, tmp_path / "none", "--mask", mask): "no folder or file",
        ("inpaint", run, run, "--mask", mask): "is a run; name pictures",
        ("inpaint", run, "--mask", mask): "name a picture, a folder",
        ("inpaint", files, files, "--mask", mask): "not a run",
        ("inpaint", run, files, "--mask", mask, "-n", 0): "give 1 or more",
        ("inpaint", run, files, "--mask", mask, "--class", "eleven"): "unknown class 'eleven'",
        ("inpaint", desk / "plain", files, "--mask", mask, "--class", 3): "leave --class out",
        ("inpaint", desk / "plain", files, "--mask", mask, "--guidance", 3): "without classes",
        ("inpaint", desk / "always", files, "--mask", mask): "name it with --class",
        ("inpaint", run, files, "--mask", mask, "--guidance", 3): "name it with --class",
        ("inpaint", run, files, "--mask", mask, "--guidance-rescale", 1): "name it with --class",
        ("inpaint", run, desk / "named", "--mask", mask, "--guidance", "1,2"): "a sweep",
        ("inpaint", run, files, "--mask", mask, "--sampler", "heum"): "did you mean 'heun'",
        ("inpaint", run, files, "--mask", mask, "--checkpoint", 7): "choose one of",
        ("image-to-image", run, files, "--strength", 1.2): "--strength: should be less",
        ("image-to-image", run, files, "--level", -1): "--level: should be greater",
        ("image-to-image", run, files, "--level", 1, "--strength", 0.5): "give one of them",
        ("super-resolution", run, files): "with both sides divided by 2 or 4 or 8; .*--size 4",
        (
            "super-resolution",
            run,
            tmp_path / "three.png",
        ): "3x3 grey.*divided by 2 or 4 or 8",
        ("invert", run, files, "--sampler", "ddim"): "by heun; leave out --sampler",
        ("invert", run, files, "--sampler", "dpm++"): "by heun; leave out --sampler",
        ("invert", run, files, "--guidance-interval", "1,2", "--class", 3): "at --guidance 1 there",
        (
            "inpaint",
            run,
            tmp_path / "closed.png",
            "--mask",
            mask,
        ): "closed.png can't be read .Input",
        ("image-to-image", run, desk / "named", files): "class of 0.png is not known, and those",
        ("invert", run, files, "--eta", 0.5): "by heun; leave out --sampler and its options",
        ("interpolate", run): "two pictures, not 0; name two files",
        ("interpolate", run, files): "two pictures, not 4; name two files",
        ("interpolate", run, *two, "--seeds", "1,2"): "leave these out",
        ("interpolate", run, "--seeds", "a,2"): "'a' is no whole number",
        ("interpolate", run, "--seeds", "2"): "'2' is not two seeds",
        ("interpolate", run, "--seeds", "1,2", "--seed", 3): "leave these out",
        ("interpolate", run, "--seeds", "1,2", "-n", 2): "leave these out",
        ("interpolate", run, "--seeds", "1,2", "--frames", 1): "--frames: should be greater",
        ("interpolate", run, "--seeds", "1,2", "--part", "0.5"): "'0.5' is not two shares",
        ("interpolate", run, "--seeds", "1,2", "--part", "0.6,0.5"): "--part: .* goes nowhere",
        ("interpolate", run, "--seeds", "1,2", "--part", "0.5,2"): "--part.*less than or equal",
        ("interpolate", desk / "plain", "--seeds", "1,2", "--class", 3): "leave --class out",
        ("dance", run): "is not understood; choose one of: inpaint, image-to-image",
        (): "no command is given; choose one of: inpaint",
    }
    for words, message in cases.items():
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main(["edit", *map(str, words)])
        assert stop.value.code == 2
        lines = capsys.readouterr().err.splitlines()
        assert re.search(message, lines[-1]), (words, lines)
        assert len(lines) == 1, (words, lines)


def test_every_edit_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    for words, option in ((["inpaint"], "--mask"), (["interpolate"], "--seeds"), ([], "invert")):
        with pytest.raises(SystemExit) as stop:
            main(["edit", *words, "--help"])
        assert stop.value.code == 0
        assert option in capsys.readouterr().out
