"""X10: what each edit gives, of real files and trained models."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from safelight import (
    ImageToImage,
    Inpaint,
    Interpolate,
    Invert,
    Sampling,
    SuperResolution,
    edit,
    prepare,
)
from safelight.cli import main
from safelight.config import Config, Net, Watch
from safelight.editing import work
from safelight.editing.tasks import Edit
from safelight.training.train import train
from tests.editing.conftest import FAST, pixels, record


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
    assert found["sampling"]["lowest"] == 0.002  # type: ignore[index]  # below what can be seen, and not where training ended
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


def test_a_closer_look_at_the_largest_step_finds_no_jump(desk: Path) -> None:
    """X10: the way is continuous. Between the neighbours that differ most lie smaller steps, in
    proportion once they are small."""
    part, largest, closer = (0.0, 1.0), [], Sampling(steps=18)
    ends = []
    for look in range(4):
        task = Interpolate(seeds=(3, 17), frames=9, part=part)
        found = record(out := edit(desk / "run", [], task, sampling=closer, out=desk / f"{look}"))
        assert found["largest_step"] == max(found["steps"])  # type: ignore[call-overload]
        first, last = (pixels(out / f"{name}.png").astype(int) for name in ("000", "008"))
        if ends:
            assert abs(first - ends[0]).max() <= 1
            assert abs(last - ends[1]).max() <= 1
        low, high = part = tuple(found["largest_at"])  # type: ignore[arg-type]
        assert high - low == pytest.approx(8 ** -(look + 1), rel=1e-6)
        at = found["steps"].index(found["largest_step"])  # type: ignore[attr-defined]
        ends = [pixels(out / f"{k:03d}.png").astype(int) for k in (at, at + 1)]
        largest.append(found["largest_step"])
    assert all(b < a / 2 for a, b in pairwise(largest[:3]))  # type: ignore[operator]
    assert largest[-1] < 1  # type: ignore[operator]


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


@pytest.mark.parametrize(
    "task",
    [
        lambda desk: Inpaint(mask=desk / "mask.png", repeats=3),
        lambda desk: ImageToImage(strength=0.6),
        lambda desk: Invert(),
        lambda desk: Interpolate(seeds=(3, 17), frames=4),
    ],
    ids=["inpaint", "image-to-image", "invert", "interpolate"],
)
def test_each_guess_moves_the_bar_alike(
    desk: Path, task: Callable[[Path], Edit], monkeypatch: pytest.MonkeyPatch
) -> None:
    """X5: up, down and back again; the last one comes to the end."""
    told: list[float] = []
    shown = contextlib.nullcontext(told.append)
    monkeypatch.setattr(work, "progress", lambda what, total: shown)
    asked = task(desk)
    pictures = [] if isinstance(asked, Interpolate) else desk / "pictures"
    found = record(edit(desk / "run", pictures, asked, sampling=Sampling(steps=7)))
    assert sum(told) == pytest.approx(4)
    assert max(told) == pytest.approx(min(told))
    guided = 2 if isinstance(asked, Interpolate) else 1  # where there are classes: two calls each
    assert len(told) * guided == found["evaluations"]


def test_colour_pictures(desk: Path) -> None:
    task = Inpaint(mask=desk / "mask.png")
    out = edit(desk / "colour", desk / "colours", task, n=2, sampling=FAST)
    for i in range(2):
        given, drawn = pixels(desk / f"colours/{i}.png"), pixels(out / f"{i}.png")
        assert drawn.shape == (8, 8, 3)
        assert np.array_equal(drawn[:, :5], given[:, :5])


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
