"""The command line of training: where options come from, and where they go."""

from __future__ import annotations

import gzip
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from safelight import UserError, train
from safelight.cli import base_config, main, parse
from safelight.config import Config, Net
from safelight.presets import PRESETS, RECIPES
from safelight.training.further import further_config
from safelight.training.options import settled
from safelight.training.run import Run
from tests.cli.conftest import QUICK
from tests.refusals import refused


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


@pytest.mark.parametrize(
    ("words", "flip"),
    [
        ((), None),
        (("--data.flip",), True),
        (("--data.no-flip",), False),
        (("--data.no_flip", "--data.shift", "1"), False),
        (("--data.flip", "--data.shift", "1"), True),
        (("--data.flip", "True"), True),
        (("--data.flip", "False"), False),
        (("--data.no-flip", "--data.flip", "None"), None),
    ],
)
def test_mirroring_is_a_switch_that_may_be_left_open(
    words: tuple[str, ...], flip: bool | None
) -> None:
    """F2, F7"""
    line = ["train", *words, "digits"]
    assert parse(line, base_config(line)).keywords["config"].data.flip is flip


def test_a_crop_decides_the_preset_and_is_refused_in_a_line(
    desk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """F2: the network is the one for the pictures that it sees."""
    data, out = desk / "digits", tmp_path / "run"
    few = ("--budget", "1steps", "--optimiser.batch", "4", "--watch.no-tensorboard")
    main(["train", str(data), "--out", str(out), "--data.crop", "7x5", *few])
    run = Run.open(out)
    assert run.file.shape == (1, 5, 7)
    assert len(run.config.net.widths) == 1  # 5 pixels can't be halved
    new = ("train", data, "--out", tmp_path / "new")
    cases = {
        ("--data.crop", "9"): "are 8x8 and have no part of 9x9",
        ("--data.crop", "wide"): "--data.crop: 'wide' is no size: give the side in pixels",
        ("--data.crop", "8"): "is all of each picture",
        ("--data.crop", "8x6", "--data.turn"): "--data.turn needs square pictures",
        ("--data.cutout", "8"): "would hide most of a picture",
        ("--data.jitter", "2"): "--data.jitter",
        ("--data.augment", "0.1", "--preset", "gan"): "leave it out (a GAN has --gan.augment)",
        ("--data.augment", "0.1", "--net.kind", "reference"): "cannot be told how pictures were",
        ("--data.upside-down",): "add that, such as --data.augment 0.12",
    }
    for words, message in cases.items():
        assert message in refused(capsys, *new, *words), words
    assert not (tmp_path / "new").exists()


def test_a_finished_run_is_trained_on_by_the_command_that_is_told(
    desk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """C5: another budget is refused with a command that works: a new run from these weights."""
    run = tmp_path / "run"
    shutil.copytree(desk / "run", run)
    words = ["train", str(desk / "digits"), "--resume", "--out", str(run)]
    line = refused(capsys, *words, "--budget", "9steps")
    told = shlex.split(line.split("train on from its weights: ")[1])
    assert told[0] == "safelight"
    main(told[1:])
    further = Run.open(f"{run}-further")
    old = Run.open(run)
    assert further.plan.steps == 9
    assert further.plan.sigma_data == old.plan.sigma_data
    same = {"budget": old.config.budget, "start": None, "diffusion": old.config.diffusion}
    assert further.config.model_copy(update=same) == old.config
    main(told[1:])  # the same again
    assert "nothing to do; to train on from its weights: safelight train" in capsys.readouterr().err


def test_a_run_begins_with_the_averaged_weights_of_another(desk: Path, tmp_path: Path) -> None:
    """C5: a step of no length leaves them as they were, and pictures without classes don't fit."""
    old = Run.open(desk / "run")
    still = further_config(old.path)
    optimiser = still.optimiser.model_copy(update={"lr": 1e-30, "weight_decay": 0.0})
    still = still.model_copy(update={"optimiser": optimiser, "budget": "1steps"})
    new = train(desk / "digits", config=still, out=tmp_path / "new")
    wanted = old.checkpoint().weights("ema")
    for kind in ("raw", "ema"):
        for name, weights in new.checkpoint().weights(kind).items():
            torch.testing.assert_close(weights, wanted[name], rtol=0, atol=1e-7)
    unlike = still.model_copy(update={"data": still.data.model_copy(update={"conditional": False})})
    with pytest.raises(UserError, match="belongs to another network"):
        train(desk / "digits", config=unlike, out=tmp_path / "unlike")
    assert not (tmp_path / "unlike").exists()


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (["--out", "x", "--resume"], "give one of them"),
        ([], "name its folder with --out"),
        (["--out", "x", "--preset", "small"], "leave these two out"),
    ],
)
def test_what_begins_with_another_run_is_described_once(
    desk: Path, words: list[str], remedy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    start = ["train", str(desk / "digits"), "--start", str(desk / "run")]
    assert remedy in refused(capsys, *start, *words)


def test_where_a_step_goes_is_written_and_told(
    desk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--profile: a summary, a trace and a picture in the run's folder, and a table."""
    run, words = tmp_path / "run", ["train", str(desk / "digits"), *QUICK]
    main([*words, "--out", str(run), "--profile"])
    told = capsys.readouterr().err
    assert re.search(r"^convolutions backwards +\d+\.\d % +\d+\.\d\d$", told, re.MULTILINE)
    assert re.search(r"^all +100\.0 % +\d+\.\d\d$", told, re.MULTILINE)
    assert "means of the steps 4 to 6, time of the processor" in told
    folder = run / "step-times"
    assert told.rstrip().endswith(f": {folder}")
    assert "profiler_start" not in told
    assert sorted(file.name for file in folder.iterdir()) == [
        *("shares.png", "summary.json", "trace.json.gz")
    ]
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["steps"] == [4, 6]
    assert (summary["precision"], summary["batch"]) == ("float32", 8)
    kinds = summary["kinds"].values()
    assert sum(kind["share"] for kind in kinds) == pytest.approx(1)
    assert sum(kind["seconds"] for kind in kinds) == pytest.approx(summary["step_seconds"])
    with gzip.open(folder / "trace.json.gz") as trace:
        names = {each.get("name") for each in json.load(trace)["traceEvents"]}
    labels = {"safelight::step", "safelight::batches", "safelight::averages"}
    assert labels | {"aten::convolution_backward"} <= names
    with Image.open(folder / "shares.png") as picture:
        assert picture.format == "PNG"
    assert Run.open(run).config == Run.open(desk / "run").config  # no word of it
    again = ["train", str(desk / "digits"), "--resume", "--out", str(run), "--profile"]
    line = refused(capsys, *again)
    further = shlex.split(line.split("train on from its weights: ")[1])
    main(further[1:])
    assert (tmp_path / "run-further" / "step-times" / "summary.json").is_file()
