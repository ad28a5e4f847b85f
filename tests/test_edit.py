"""X10: editing real files by the command line, and how it answers what it can't do."""

from __future__ import annotations

import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from safelight import (
    ImageToImage,
    Inpaint,
    Interpolate,
    Invert,
    Sampling,
    SuperResolution,
    UserError,
    edit,
    prepare,
)
from safelight.cli import main
from safelight.config import Config, Data, Diffusion, Net, Optimiser, Watch
from safelight.data.cache import Cache
from safelight.nets.unet import UNet
from safelight.training.run import Run
from safelight.training.source import DiffusionSource
from safelight.training.train import train

SMALL = Config(
    budget="30steps",
    net=Net(widths=(8, 16), blocks=1, attention=()),
    diffusion=Diffusion(sigma_data=0.7),
    optimiser=Optimiser(batch=8, lr=1e-2, warmup=2),
    watch=Watch(checkpoint_every=30, validate_every=30, preview_every=30, tensorboard=False),
    precision="float32",
)
FAST = Sampling(steps=4)


def rebuilt(config: Config, **changes: object) -> Config:
    return config.model_copy(update=changes)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs with classes, without, and in colour; held-out digits as files; masks."""
    folder = tmp_path_factory.mktemp("desk")
    digits = prepare("digits", out=folder / "digits", split="70/5/25")
    train(digits, SMALL, folder / "run")
    train(digits, rebuilt(SMALL, data=Data(conditional=False)), folder / "plain")
    always = SMALL.diffusion.model_copy(update={"label_dropout": 0.0})
    train(digits, rebuilt(SMALL, budget="2steps", diffusion=always), folder / "always")
    (folder / "colours").mkdir()
    drawn = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), np.uint8)
    for i, pixels in enumerate(drawn):
        Image.fromarray(pixels).save(folder / f"colours/{i}.png")
    colours = prepare(folder / "colours", out=folder / "colour-cache", split="80/10/10")
    train(colours, rebuilt(SMALL, budget="2steps"), folder / "colour")
    held_out = digits.subset("test")
    for i, (pixels, label) in enumerate(
        zip(held_out.read(np.arange(4)), held_out.labels(range(4)), strict=True)
    ):
        for place in ("pictures", f"named/{label}"):
            (folder / place).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels[0]).save(folder / place / f"{i}.png")
    mask = np.zeros((8, 8), np.uint8)
    mask[:, 5:] = 255
    Image.fromarray(mask).save(folder / "mask.png")
    Image.fromarray(mask[:4, :4]).save(folder / "small-mask.png")
    Image.fromarray(mask * 0).save(folder / "black.png")
    return folder


def pixels(path: Path) -> NDArray[np.uint8]:
    return np.asarray(Image.open(path))


def record(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / "edit.json").read_text())
    return found


@pytest.mark.parametrize("run", ["run", "plain"])
def test_inpainting_leaves_the_known_region_as_it_is(desk: Path, run: str) -> None:
    """X10: bit for bit in the files; the same seed, the same picture."""
    words = ["edit", "inpaint", str(desk / run), str(desk / "pictures"), "--steps", "4"]
    words += ["--mask", str(desk / "mask.png"), "--repeats", "3", "--out"]
    for out, seed in (("a", "0"), ("b", "0"), ("c", "7")):
        main([*words, str(desk / f"{run}-{out}"), "--seed", seed])
    a, b, c = (desk / f"{run}-{out}" for out in "abc")
    assert sorted(p.name for p in a.iterdir()) == [
        *(f"{i}.png" for i in range(4)),
        "edit.json",
        "sheet.png",
    ]
    for i in range(4):
        given, drawn = pixels(desk / f"pictures/{i}.png"), pixels(a / f"{i}.png")
        assert np.array_equal(drawn[:, :5], given[:, :5])
        assert not np.array_equal(drawn[:, 5:], given[:, 5:])
        assert np.array_equal(drawn, pixels(b / f"{i}.png"))
    assert any(not np.array_equal(pixels(a / f"{i}.png"), pixels(c / f"{i}.png")) for i in range(4))
    assert record(a)["evaluations"] == 3 * 4  # without a class there is nothing to guide to
    main([*words, str(a)])  # the very same again


def test_a_picture_is_edited_alike_in_any_company(desk: Path) -> None:
    """B7: picture 2 has seed 2 in a folder, and comes out so by itself."""
    task = Inpaint(mask=desk / "mask.png", repeats=2)
    all_four = edit(desk / "run", desk / "pictures", task, sampling=FAST, out=desk / "four")
    alone = edit(
        desk / "run", desk / "pictures/2.png", task, seed=2, sampling=FAST, out=desk / "alone"
    )
    apart = pixels(all_four / "2.png").astype(int) - pixels(alone / "2.png")
    assert abs(apart).max() <= 1


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


def test_strength_goes_from_the_picture_to_another(desk: Path) -> None:
    """X10: 0 gives the file back, more leaves less of it; a level is the same in other units."""

    def moved(**how: float) -> float:
        out = edit(desk / "run", desk / "pictures", ImageToImage(**how), sampling=FAST)
        apart = [
            pixels(out / f"{i}.png").astype(float) - pixels(desk / f"pictures/{i}.png")
            for i in range(4)
        ]
        return float(np.abs(apart).mean())

    assert moved(strength=0.0) == 0
    assert 0 < moved(strength=0.2) < moved(strength=0.6) < moved(strength=1.0)
    assert moved(level=1.5) == moved(strength=0.6)


@pytest.mark.parametrize("side", [2, 4])
def test_super_resolution_pools_back_to_what_was_given(desk: Path, side: int) -> None:
    """X10: the mean of each block is the given pixel, to rounding."""
    small = desk / f"small-{side}"
    small.mkdir()
    for i in range(4):
        given = pixels(desk / f"pictures/{i}.png").astype(float)
        blocks = given.reshape(side, 8 // side, side, 8 // side).mean((1, 3))
        Image.fromarray(blocks.round().astype(np.uint8)).save(small / f"{i}.png")
    out = edit(desk / "run", small, SuperResolution(), sampling=FAST)
    for i in range(4):
        drawn = pixels(out / f"{i}.png").astype(float)
        means = drawn.reshape(side, 8 // side, side, 8 // side).mean((1, 3))
        assert abs(means - pixels(small / f"{i}.png")).max() <= 0.5


def test_inversion_gives_the_noise_and_the_picture_back(desk: Path) -> None:
    """X10: PSNR of 35 dB at 100 steps; the noise is kept."""
    out = desk / "inverted"
    words = ["edit", "invert", str(desk / "run"), str(desk / "pictures"), "--steps", "100"]
    main([*words, "--class", "3", "--out", str(out)])
    found = record(out)
    assert found["lowest_psnr"] == min(found["psnr"]) > 35  # type: ignore[call-overload]
    assert found["classes"] == ["3"] * 4
    assert found["evaluations"] == 2 * 99 + 199
    kept = np.load(out / "noise.npz")
    assert kept["x_t"].shape == (4, 1, 8, 8)
    for i in range(4):
        error = pixels(out / f"{i}.png").astype(float) - pixels(desk / f"pictures/{i}.png")
        assert 10 * math.log10(255**2 / max(np.square(error).mean(), 1e-9)) > 35


def test_interpolation_of_seeds_ends_in_their_samples(desk: Path) -> None:
    """X10: with a sampler that draws noise on its way too; smaller steps on a longer way."""
    run, how = str(desk / "run"), ["--sampler", "ddpm", "--grid", "karras", "--steps", "6"]
    largest = []
    for frames in (5, 17):
        out = desk / f"seeds-{frames}"
        words = ["edit", "interpolate", run, "--seeds", "3,17", "--frames", str(frames)]
        main([*words, *how, "--out", str(out)])
        assert sorted(p.stem for p in out.glob("0*.png")) == [f"{i:03d}" for i in range(frames)]
        assert len(record(out)["steps"]) == frames - 1  # type: ignore[arg-type]
        largest.append(record(out)["largest_step"])
    assert largest[1] < largest[0]  # type: ignore[operator]
    for seed, frame in ((3, "000"), (17, "016")):
        drawn = ["sample", run, "-n", "1", "--classes", str(seed % 10), "--seed", str(seed)]
        main([*drawn, *how, "--out", str(desk / f"seed-{seed}")])
        sample = pixels(desk / f"seed-{seed}/{seed % 10}/{seed:06d}.png").astype(int)
        assert abs(pixels(out / f"{frame}.png") - sample).max() <= 1


def test_interpolation_of_pictures_ends_in_them(desk: Path) -> None:
    """X10: each with the class of its folder; in between, both classes have a say."""
    files = sorted((desk / "named").rglob("*.png"))[:2]
    out = edit(desk / "run", files, Interpolate(frames=4), out=desk / "between")
    assert record(out)["classes"] == [file.parent.name for file in files]
    for file, frame in zip(files, ("000", "003"), strict=True):
        assert abs(pixels(out / f"{frame}.png").astype(int) - pixels(file)).max() <= 1
    # 2 pictures up, 4 frames down, these with two classes: in all for each frame drawn
    up, down = 2 * 49 - 0, 2 * 49 + 1
    assert record(out)["evaluations"] == pytest.approx((2 * up + 4 * 2 * down) / 4, abs=0.01)


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
    sources = Run.sources

    def small(*arguments: Any) -> list[DiffusionSource]:
        found = sources(*arguments)
        for source in found:
            source.micro_batch = 1
        return found

    files = sorted((desk / "named").rglob("*.png"))[:2]
    many = edit(desk / "run", files, Interpolate(frames=3), sampling=FAST, out=desk / "many")
    assert max(seen) == 3
    monkeypatch.setattr(Run, "sources", small)
    seen.clear()
    one = edit(desk / "run", files, Interpolate(frames=3), sampling=FAST, out=desk / "one")
    assert max(seen) == 1
    for i in range(3):
        apart = pixels(one / f"00{i}.png").astype(int) - pixels(many / f"00{i}.png")
        assert abs(apart).max() <= 1


def test_guidance_costs_what_it_says(desk: Path) -> None:
    """X9: twice, and only within its interval."""
    cost = {}
    for name, how in (("all", {}), ("some", {"guidance_interval": (0.3, 5.0)})):
        sampling = Sampling(steps=10, guidance=2.0, **how)
        task = Inpaint(mask=desk / "mask.png", repeats=1)
        out = edit(desk / "run", desk / "named", task, sampling=sampling)
        cost[name] = record(out)["evaluations"]
    assert cost["all"] == 20
    assert 10 < cost["some"] < 20  # type: ignore[operator]


def test_colour_pictures(desk: Path) -> None:
    task = Inpaint(mask=desk / "mask.png")
    out = edit(desk / "colour", desk / "colours", task, n=2, sampling=FAST)
    for i in range(2):
        given, drawn = pixels(desk / f"colours/{i}.png"), pixels(out / f"{i}.png")
        assert drawn.shape == (8, 8, 3)
        assert np.array_equal(drawn[:, :5], given[:, :5])


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
        ("inpaint", run, files, "--mask", mask, "--repeats", 0): "--repeats: Input should be grea",
        ("inpaint", run, desk / "colours", "--mask", mask): f"8x8 colour and.*grey.*{prepare_it}",
        ("inpaint", desk / "colour", files, "--mask", mask): "8x8 grey and.*8x8 colour.*rgb",
        ("inpaint", run, f"{desk / 'colour-cache'}:test", "--mask", mask): "8x8 colour and",
        ("inpaint", run, tmp_path / "wide.png", "--mask", mask): f"12x8 grey and.*{prepare_it}",
        ("inpaint", run, tmp_path / "broken.png", "--mask", mask): "gives no picture: not a pict",
        ("inpaint", run, tmp_path / "notes.txt", "--mask", mask): "is no picture; name",
        ("inpaint", run, tmp_path / "empty", "--mask", mask): "there are no pictures in",
        ("inpaint", run, tmp_path / "none", "--mask", mask): "there is no folder or zip",
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
        ("image-to-image", run, files, "--strength", 1.2): "--strength: Input should be less",
        ("image-to-image", run, files, "--level", -1): "--level: Input should be greater",
        ("image-to-image", run, files, "--level", 1, "--strength", 0.5): "give one of them",
        ("super-resolution", run, files): "from pictures of a side that divides 8.*--size 4",
        ("super-resolution", run, tmp_path / "three.png"): "3x3 grey.*a side that divides 8",
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
        ("interpolate", run, "--seeds", "1,2", "--frames", 1): "--frames: Input should be greater",
        ("interpolate", desk / "plain", "--seeds", "1,2", "--class", 3): "leave --class out",
        ("dance", run): "Available subcommands: inpaint, image-to-image",
        (): "Expected one of .inpaint",
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


@pytest.mark.slow
def test_held_out_digits_come_back_from_their_noise(tmp_path: Path) -> None:
    """X10: a model that has learnt digits, 100 steps there and back: 35 dB for each picture."""
    digits = prepare("digits", out=tmp_path / "digits", split="70/5/25")
    net = Net(widths=(32, 64), blocks=1)
    config = Config(budget="400steps", net=net, watch=Watch(tensorboard=False))
    train(digits, config, tmp_path / "run")
    held_out, how = f"{digits.path}:test", Sampling(steps=100)
    out = edit(tmp_path / "run", held_out, Invert(), n=64, sampling=how)
    assert record(out)["lowest_psnr"] > 35  # type: ignore[operator]
