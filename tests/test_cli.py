"""The command line: what it does, and how it says that something is wrong."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from safelight import UserError, evaluate, sample, train
from safelight.cli import base_config, main, one_line, parse
from safelight.config import Config, Net, Sampling
from safelight.presets import PRESETS, RECIPES
from safelight.training.options import settled
from safelight.training.run import Run
from tests.refusals import refused

QUICK = (
    *("--budget", "6steps", "--precision", "float32", "--watch.no-tensorboard"),
    *("--net.widths", "8", "16", "--net.blocks", "1", "--optimiser.batch", "8"),
)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache and two runs of it, conditional and not."""
    folder = tmp_path_factory.mktemp("desk")
    main(["prepare", "digits", "--split", "70/5/25", "--out", str(folder / "digits")])
    main(["train", str(folder / "digits"), "--out", str(folder / "run"), *QUICK])
    plain = ["--data.no-conditional", "--out", str(folder / "plain")]
    main(["train", str(folder / "digits"), *plain, *QUICK])
    return folder


def test_options_reach_the_run(desk: Path) -> None:
    """F7: every hyperparameter on the command line; the rest from the preset."""
    config = Run.open(desk / "run").config
    assert config.net.widths == (8, 16)
    assert config.optimiser.batch == 8
    assert config.optimiser.lr == PRESETS["tiny"].optimiser.lr  # auto: these pictures are 8x8
    assert Run.open(desk / "run").classes == tuple("0123456789")
    assert Run.open(desk / "plain").classes == ()


def test_a_recipe_is_where_options_start(desk: Path) -> None:
    """K3, B3, B8, X12: --recipe names the mathematics, on any preset, and options change it."""
    words = ["train", "digits", "--recipe", "smld", "--preset=tiny", "--diffusion.T", "100"]
    options = parse(words, base_config(words)).keywords
    assert options["config"] == PRESETS["tiny"].model_copy(
        update={"diffusion": RECIPES["smld"].model_copy(update={"T": 100})}
    )
    assert options["recipe"] == "smld"
    assert RECIPES["flow"] == Config().diffusion


def test_resuming_goes_on_with_the_run_and_its_options(
    desk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """X6: --resume --out RUN needs no other option, whatever the run was trained with."""
    run, again = tmp_path / "run", ["train", str(desk / "digits"), "--resume", "--out"]
    options = ("--recipe", "v", "--preset", "small", "--seed", "3", "--out", str(run), *QUICK)
    main(["train", str(desk / "digits"), *options])
    before = Run.open(run).config
    newest = Run.open(run).checkpoint().path
    whole = (newest / "model.safetensors").read_bytes()
    shutil.rmtree(newest)
    main([*again, str(run)])
    assert (newest / "model.safetensors").read_bytes() == whole
    assert Run.open(run).config == before
    assert "going on with" in capsys.readouterr().err
    assert "holds another run (seed is 3 there and 4 here)" in refused(
        capsys, *again, run, "--seed", 4
    )


def test_a_run_without_a_place_is_called_by_its_data_preset_and_recipe(
    desk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    quick = [*QUICK, "--budget", "1steps"]
    main(["train", str(desk / "digits"), *quick])
    main(["train", str(desk / "digits"), *quick, "--preset", "small", "--recipe", "v"])
    assert sorted(p.name for p in Path("runs").iterdir()) == ["digits-small-v", "digits-tiny"]


def test_a_run_is_described_once(desk: Path, tmp_path: Path) -> None:
    """In Python too: nothing that is said is passed over."""
    cache, out = desk / "digits", tmp_path / "q"
    for twice in ({"preset": "small"}, {"recipe": "v"}):
        with pytest.raises(UserError, match="a configuration is given, .*leave these two out"):
            train(cache, config=Config(), out=out, **twice)
        with pytest.raises(UserError, match="--resume takes the run's own .*leave these two out"):
            train(cache, resume=True, out=desk / "run", **twice)
    with pytest.raises(UserError, match="--resume goes on with the run in --out"):
        train(cache, resume=True)
    assert not out.exists()


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_trains_and_samples(recipe: str, desk: Path, tmp_path: Path) -> None:
    """K3, B2, B3, B8, X12"""
    run = tmp_path / "run"
    words = ["train", str(desk / "digits"), "--recipe", recipe, "--out", str(run)]
    main([*words, *QUICK, "--net.widths", "8", "16", "--net.blocks", "1"])
    main(["sample", str(run), "-n", "1", "--steps", "3"])
    config = Run.open(run).config
    assert config.diffusion == settled(RECIPES[recipe])
    (images,) = run.glob("samples/*/images.npz")
    assert np.load(images)["images"].shape == (10, 1, 8, 8)


def test_the_reference_trains_and_samples(
    desk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """F5, B2, F7: diffusers' network with DDPM by the same commands; what it has not is refused."""
    options = {
        "block_out_channels": [8, 16],
        "down_block_types": ["DownBlock2D", "DownBlock2D"],
        "up_block_types": ["UpBlock2D", "UpBlock2D"],
        "norm_num_groups": 4,
    }
    run, asked = tmp_path / "run", ("--net.kind", "reference", "--net.options", json.dumps(options))
    main(["train", str(desk / "digits"), "--recipe", "ddpm", "--out", str(run), *QUICK[:5], *asked])
    net = Run.open(run).config.net
    assert (net.kind, net.options["norm_num_groups"], net.widths) == ("reference", 4, Net().widths)
    main(["train", str(desk / "digits"), "--resume", "--out", str(run)])
    assert "nothing to do" in capsys.readouterr().err
    main(["sample", str(run), "-n", "1", "--sampler", "ddpm", "--steps", "3"])
    words = ("train", desk / "digits", "--out", tmp_path / "no", *asked)
    assert "reference has no --net.widths" in refused(capsys, *words, "--net.widths", 8)
    assert "choose one of: center_input_sample" in refused(
        capsys, *words[:-1], json.dumps({"widths": [8]})
    )
    assert not (tmp_path / "no").exists()


def test_presets_and_recipes_are_named_in_full(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """In 80 columns, as anybody would have to type them; with what they cost."""
    main(["presets", "--json", str(tmp_path / "presets.json")])
    shown = capsys.readouterr().out
    assert max(len(line.rstrip()) for line in shown.splitlines()) <= 80
    for recipe, options in RECIPES.items():
        assert re.search(rf"^{recipe} +{options.path} ", shown, re.MULTILINE)
    assert {line.split()[0] for line in shown.splitlines() if line} >= {*PRESETS, *RECIPES}
    kept = json.loads((tmp_path / "presets.json").read_text())["rows"]
    assert list(kept) == list(PRESETS)
    for name, row in kept.items():
        assert row["speed"] is None  # nobody asked
        numbers = (
            f"{row['parameters']:,} +{row['flops'] / 1e9:.2f} +{row['memory'] / 2**20:,.0f} MB"
        )
        assert re.search(rf"^{name} +{'x'.join(map(str, row['shape']))} +{numbers}", shown, re.M)


def test_help_may_be_left_unread() -> None:
    """Whoever pages through the options and has seen enough is shown no traceback."""
    command = [sys.executable, "-m", "safelight", "evaluate", "--help"]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_option_has_a_word_of_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["train", "--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    for section, field in Config.model_fields.items():
        inner = getattr(field.annotation, "model_fields", {"": None})
        for name in inner:
            option = "-".join(f"{section}.{name}".rstrip(".").split("_"))
            assert f"--{option}" in shown


def test_images_of_each_class_in_its_folder(desk: Path) -> None:
    """L5, K2: n of each class, as PNG and as one array; the same again, the same files."""
    out = desk / "samples"
    words = ["sample", str(desk / "run"), "-n", "3", "--steps", "4", "--classes", "2,7"]
    main([*words, "--out", str(out)])
    found = sorted(str(p.relative_to(out)) for p in out.rglob("0*.png"))
    assert found == [f"{k}/{k + 10 * i:06d}.png" for k in (2, 7) for i in range(3)]
    arrays = np.load(out / "images.npz")
    assert arrays["labels"].tolist() == [2, 2, 2, 7, 7, 7]
    for image, seed, label in zip(*(arrays[k] for k in ("images", "seeds", "labels")), strict=True):
        assert np.array_equal(np.asarray(Image.open(out / f"{label}/{seed:06d}.png")), image[0])
    before = (out / "2/000012.png").read_bytes()
    main(
        [
            "sample",
            str(desk / "run"),
            "-n",
            "1",
            "--steps",
            "4",
            "--classes",
            "2",
            "--seed",
            "12",
            "--out",
            str(desk / "again"),
        ]
    )
    again = np.asarray(Image.open(desk / "again/2/000012.png")).astype(int)
    (desk / "before.png").write_bytes(before)
    assert abs(again - np.asarray(Image.open(desk / "before.png"))).max() <= 1


def test_two_samples_at_once_leave_each_other_alone(desk: Path) -> None:
    """Real processes: the second begins, and ends, while the first is drawing."""
    run, places = str(desk / "run"), desk / "run" / "samples"
    words = ["sample", run, "-n", "16", "--steps", "150", "--classes", "0", "--out"]
    with subprocess.Popen(
        [sys.executable, "-m", "safelight", *words, str(places / "long")]
    ) as process:
        while process.poll() is None and not any(places.glob(".tmp-*")):
            time.sleep(0.005)
        main(["sample", run, "-n", "1", "--steps", "1", "--out", str(places / "short")])
        assert process.poll() is None
        assert process.wait() == 0
    for name, count in (("long", 16), ("short", 10)):
        assert len(list((places / name).glob("?/*.png"))) == count
    assert not list(places.glob(".tmp-*"))


def test_unconditional_samples(desk: Path) -> None:
    """L1, C4: no classes, no class folders; and the strip from noise to image."""
    out = desk / "plain-samples"
    main(["sample", str(desk / "plain"), "-n", "5", "--steps", "4", "--out", str(out)])
    assert sorted(p.name for p in out.glob("0*.png")) == [f"{i:06d}.png" for i in range(5)]
    strip = np.asarray(Image.open(out / "develop.png"))
    assert strip.shape == (5 * 9 - 1, 5 * 9 - 1)  # five images, five states, gaps between


def test_a_sweep_draws_the_same_seeds_with_each_guidance(desk: Path) -> None:
    """X9: a folder of each, equal to that guidance alone, and one sheet."""
    out, words = desk / "sweep", ["sample", str(desk / "run"), "-n", "2", "--steps", "3"]
    main([*words, "--guidance", "1,2.5,1", "--out", str(out)])
    assert sorted(p.name for p in out.iterdir() if p.is_dir()) == ["guidance-1", "guidance-2.5"]
    main([*words, "--guidance", "2.5", "--out", str(desk / "alone")])
    swept, alone = (np.load(p / "images.npz") for p in (out / "guidance-2.5", desk / "alone"))
    assert np.array_equal(swept["images"], alone["images"])
    assert not np.array_equal(swept["images"], np.load(out / "guidance-1/images.npz")["images"])
    sheet = np.asarray(Image.open(out / "sweep.png"))
    assert sheet.shape[0] == 2 + 2 * (8 * 8 + 2)  # two rows of 8x8 pictures, eight times as large
    calls = [
        json.loads((out / f"guidance-{weight}" / "sample.json").read_text())["evaluations"]
        for weight in ("1", "2.5")
    ]
    assert calls == [3, 6]
    main([*words, "--guidance", "1,2.5", "--out", str(out)])  # the same samples


def test_guidance_away_from_a_weaker_checkpoint(desk: Path) -> None:
    """X9: with and without classes; from the same run, it is as if there were no guidance."""
    for run, other in (("run", "run-weak"), ("plain", "plain-weak")):
        kind = [] if run == "run" else ["--data.no-conditional"]
        weak = ["train", str(desk / "digits"), "--out", str(desk / other), *kind, *QUICK]
        main([*weak, "--budget", "2steps", "--net.widths", "4", "8"])
        words = ["sample", str(desk / run), "-n", "2", "--steps", "2", "--out"]
        main([*words, str(desk / f"{run}-plain"), "--guidance", "1"])
        main([*words, str(desk / f"{run}-same"), "--guidance", "3", "--weaker", "6"])
        main([*words, str(desk / f"{run}-led"), "--weaker", f"{desk / other}:2"])
        plain, same, led = (
            np.load(desk / f"{run}-{how}" / "images.npz")["images"].astype(int)
            for how in ("plain", "same", "led")
        )
        assert abs(plain - same).max() <= 1
        assert abs(plain - led).max() > 1
    path = [*weak, "--out", str(desk / "linear"), "--diffusion.path", "linear"]
    main([*path, "--budget", "2steps"])
    with pytest.raises(UserError, match="another path"):
        sample(desk / "plain", sampling=Sampling(weaker=f"{desk / 'linear'}:2"))


def test_evaluating_leaves_a_record(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """X1, X2: and says what it left out, where no metric was asked for."""
    words = ["--features", "classifier", "-n", "100", "--steps", "2", "--json", desk / "found.json"]
    main([str(word) for word in ("evaluate", desk / "plain", *words)])
    printed = capsys.readouterr()
    assert "KID" in printed.out
    assert "left out: accuracy needs images of classes" in printed.err
    kept = json.loads((desk / "plain/metrics.json").read_text())
    assert kept == [json.loads((desk / "found.json").read_text())]
    estimates = {e["name"]: e for e in kept[0]["estimates"]}
    assert estimates["KID (classifier)"]["low"] > estimates["KID (classifier)"]["floor"]["high"]


def test_any_state_of_a_run_is_evaluated(desk: Path, tmp_path: Path) -> None:
    """L9: an earlier checkpoint, and raw weights; the record says which, and the name too."""
    shutil.copytree(desk / "run", tmp_path / "run")
    options = {"features": "classifier", "metrics": ("kid",), "n": 50}
    how = {"sampling": Sampling(steps=2), "checkpoint": "4", "weights": "raw"}
    found = evaluate(tmp_path / "run", **options, **how)  # type: ignore[arg-type]
    assert found.trained == {"checkpoint": "4", "weights": "raw"}
    assert found.source == "run (step 4, raw)"
    kept = json.loads((tmp_path / "run/metrics.json").read_text())[-1]
    assert kept["trained"] == {"checkpoint": "4", "weights": "raw"}


def test_a_damaged_record_is_found_before_the_work(
    desk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And again by all that read it; what helps is said."""
    run = tmp_path / "run"
    shutil.copytree(desk / "plain", run)
    (run / "metrics.json").write_text('[{"source": "run"}]')
    for words in (("evaluate", run), ("compare", run, run), ("report", run)):
        line = refused(capsys, *words)
        assert re.search(r"metrics\.json: evaluation 1 of 1 is incomplete.*move the file", line)


def test_bits_per_dimension_of_a_run(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """X11, X1: both numbers are kept and shown; nothing else is measured."""
    run = desk / "edm"  # which soon learns the low noise that bits are about; flow matching last
    main(["train", str(desk / "digits"), "--recipe", "edm", "--out", str(run), *QUICK])
    options = ("-n", "4", "--likelihood.terms", "3", "--likelihood.tolerance", "0.1")
    main(["evaluate", str(run), "--metric", "bpd", *options])
    kept = json.loads((run / "metrics.json").read_text())[-1]
    names = [estimate["name"] for estimate in kept["estimates"]]
    assert names == ["bits per dimension (bound)", "bits per dimension (ODE)"]
    assert kept["likelihood"]["terms"] == 3
    assert all(2 < estimate["value"] < 12 for estimate in kept["estimates"])
    assert "none: real images are" in capsys.readouterr().out


def test_mistakes_are_answered_in_one_line(
    desk: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run, cache = desk / "run", desk / "digits"
    singular = ("--diffusion.path", "flow", "--diffusion.prediction", "noise")
    cases = {
        ("prepare", tmp_path / "nowhere"): "there is no folder or zip",
        ("prepare", tmp_path): "holds no pictures|no picture|is empty",
        ("train", cache, "--siz", 3): "did you mean --size",
        ("train", cache, "--preset", "smal"): "did you mean 'small'",
        ("train", cache, "--optimiser.lr", "-1"): "--optimiser.lr: Input should be greater than 0",
        ("train", cache, "--ema", 7): "--ema: Input should be less than 0.25",
        ("train", cache, "--budget", "0s", "--out", tmp_path / "q"): "trains nothing",
        ("train", cache, "--budget", "1s", "--out", tmp_path / "q"): "too short.*give at least",
        ("train", cache, "--out", run): "holds another run",
        ("train", cache, "--resume"): "--resume goes on with the run in --out; name its folder",
        ("train", cache, "--resume", "--out", run, "--preset", "tiny"): "leave these two out",
        ("train", cache, "--resume", "--out", run, "--recipe", "v"): "leave these two out",
        ("train", cache, "--resume", "--out", tmp_path / "q"): "there is no run at",
        ("train", f"{cache}:test", "--out", tmp_path / "q"): "is a split; give the cache",
        ("train", cache, "--diffusion.path", "linar", "--out", tmp_path / "q"): "'linear'",
        ("train", cache, "--diffusion.T", 9, "--out", tmp_path / "q"): "leave --diffusion.T out",
        ("train", cache, "--diffusion.path", "table", "--out", tmp_path / "q"): "diffusion.betas",
        ("train", cache, *singular, "--out", tmp_path / "q"): "alpha is 0.*prediction edm, .* flow",
        ("train", cache, "--net.widths", 8, 8, 8, 8, 8, "--out", tmp_path / "q"): "give 4 widths",
        ("sample", tmp_path): "not a run",
        ("sample", cache): "not a run",
        ("sample", run, "--sampler", "eular"): "did you mean 'euler'",
        (
            "sample",
            run,
            "--sampler",
            "heun",
            "--churn",
            0.9,
        ): "churn is 0.9; it has to lie between 0 and 0.414",
        (
            "sample",
            run,
            "--solver-order",
            2,
        ): "dpm\\+\\+ has no solver-order; leave --solver-order out",
        ("sample", run, "--grid", "leading"): "use --grid uniform, karras or logsnr",
        ("sample", run, "--sampler", "ddpm", "--variance", "learned"): "has learned no variance",
        ("sample", run, "--classes", "eleven"): "unknown class 'eleven'",
        ("sample", run, "--checkpoint", 5): "choose one of",
        ("sample", run, "-n", 0): "give 1 or more",
        ("sample", run, "--steps", 0): "--steps: Input should be greater than or equal to 1",
        ("sample", run, "--sampler", "ddim", "--eta", 2): "between 0 and 1",
        ("sample", run, "-n", 1, "--out", cache): "holds no samples; choose another folder",
        ("sample", desk / "plain", "--classes", "3"): "trained without classes",
        ("sample", desk / "plain", "--guidance", 2): "leave --guidance at 1, or name a --weaker",
        ("sample", run, "--guidance", "1,x"): "'x' is no number",
        ("sample", run, "--guidance-interval", 2): "'2' is not a low and a high noise level",
        ("sample", run, "--guidance-interval", "2,1"): "is 2,1; give a low and a higher",
        ("sample", run, "--guidance-rescale", 2): "--guidance-rescale: Input should be less",
        ("sample", run, "--weaker", 7): "no checkpoint .7.; choose one of: 2, 4, 6",
        ("sample", run, "--weaker", f"{desk / 'plain'}:6"): "has other classes",
        ("sample", run, "--weaker", f"{cache}:6"): "not a run",
        ("evaluate", run, "--guidance", "1,2"): "a sweep, which only .safelight sample. draws",
        ("evaluate", run, "--metrics", "fud"): "choose one of: fd, kid, accuracy",
        ("evaluate", run, "--features", "incepton"): "did you mean 'inception'",
        ("evaluate", run, "--metrics", "fd", "-n", 100): r"1,281.*--metrics kid",
        ("evaluate", run, "-n", 1): "at least 2 images",
        ("evaluate", f"{cache}:test", "--metric", "bpd", "--against", f"{cache}:train"): (
            "bits per dimension need a model's density, and digits:test"
        ),
        ("evaluate", run, "--metrics", "bpd", "--likelihood.dequantisation", "x"): (
            "choose one of: normal, uniform"
        ),
        ("evaluate", run, "--metrics", "bpd", "--likelihood.tolerance", 0): (
            "--likelihood.tolerance: Input should be greater than or equal to"
        ),
        ("evaluate", cache): "--against",
        ("evaluate", run, "--checkpoint", 5): "no checkpoint '5'; choose one of: 2, 4, 6",
        ("evaluate", f"{cache}:test", "--steps", 5, "--weights", "raw", "--checkpoint", 5): (
            "--steps, --checkpoint, --weights is of a run, and digits:test is none"
        ),
        ("evaluate", run, "--metrics", "bpd", "--sampler", "heun"): "--sampler says .*bpd draws no",
        ("evaluate", run, "--likelihood.terms", 3): "--likelihood.terms says .*add bpd",
        ("evaluate", run, "--guidance-interval", "1,2", "--guidance", 1): "at --guidance 1 there",
        ("evaluate", run, "--against", desk / "plain"): "--against takes real images",
        ("compare", run, desk / "plain"): "run: safelight evaluate",
        ("report", tmp_path): "not a run",
        ("dance",): "Available subcommands: prepare, train",
        (): "Expected one of .prepare",
    }
    for words, message in cases.items():
        line = refused(capsys, *words)
        assert re.search(message, line), (words, line)
    assert not (tmp_path / "q").exists()


def test_one_line_unfolds_a_frame() -> None:
    boxed = "╭─ Error ──╮\n│ No such  │\n│ ──────── │\n│ thing    │\n╰──────────╯\n"
    plain = " Error    \n -------- \n  No such \n  --------\n  thing   \n"
    for framed in (boxed, plain):
        assert one_line(framed).startswith("No such thing;")
