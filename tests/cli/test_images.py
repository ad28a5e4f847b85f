"""The command line of what a run is for: drawing images, and judging them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from safelight import (
    ImageToImage,
    UserError,
    edit,
    evaluate,
    export_images,
    machine,
    report,
    sample,
)
from safelight.cli import main
from safelight.config import Sampling
from safelight.training.run import Run
from tests.cli.conftest import QUICK
from tests.refusals import refused


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


def test_memory_is_kept_while_images_are_drawn_and_looked_at(
    desk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the commands that do, before the first network is read."""
    asked: list[str] = []

    monkeypatch.setattr(machine, "keep_memory", lambda: asked.append("kept"))
    monkeypatch.setattr(Run, "model", lambda *_: asked.append("a network") or 1 / 0)
    run = desk / "run"
    for draw in (
        lambda: sample(run, n=1),
        lambda: export_images(run, n=1, out=tmp_path / "out.zip"),
        lambda: edit(run, f"{desk / 'digits'}:test", ImageToImage(), n=1),
        lambda: evaluate(run, n=50, features="pixels"),
        lambda: report(run),
    ):
        asked.clear()
        with pytest.raises(ZeroDivisionError):
            draw()
        assert asked == ["kept", "a network"]


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


def test_diffusion_and_a_gan_are_set_side_by_side_class_by_class(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """K10: one table; each class against its own test images, and the report has them too."""
    cache, runs = str(tmp_path / "digits"), [str(tmp_path / kind) for kind in ("diffusion", "gan")]
    main(["prepare", "digits", "--classes", "3,8", "--split", "60/5/35", "--out", cache])
    main(["train", cache, "--out", runs[0], *QUICK])
    main(["train", cache, "--preset", "dcgan", "--out", runs[1], *QUICK[:5]])
    for run in runs:
        words = ["--features", "classifier", "--metrics", "kid,accuracy", "-n", "40"]
        main(["evaluate", run, "--per-class", *words])
    capsys.readouterr()
    main(["compare", *runs, "--per-class"])
    shown = capsys.readouterr().out
    assert len(re.findall(r"^ +all +3 +8 *$", shown, re.MULTILINE)) == 2  # KID and accuracy
    kept = {
        estimate["name"]: estimate
        for estimate in json.loads(Path(runs[0], "metrics.json").read_text())[0]["estimates"]
    }
    assert list(kept)[:3] == ["KID (classifier)", "KID[3] (classifier)", "KID[8] (classifier)"]
    assert list(kept)[3:] == ["accuracy", "accuracy[3]", "accuracy[8]"]
    protocol = kept["KID[3] (classifier)"]["protocol"]
    assert (protocol["generated"], protocol["reference"]) == (20, 20)
    assert protocol["reference_name"] == "digits:test, class 3"
    assert kept["KID[3] (classifier)"]["floor"]
    main(["report", runs[1]])
    assert "KID[8]" in Path(runs[1], "report.html").read_text("utf-8")


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


def test_a_metric_of_every_checkpoint_is_kept_and_drawn(
    desk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """X4, C3: one command, oldest first, images and training pictures known of themselves."""
    run = tmp_path / "run"
    shutil.copytree(desk / "run", run)
    options = ("--features", "pixels", "-n", 40, "--steps", 2, "--json", tmp_path / "all.json")
    words = ("evaluate", run, "--metrics", "memorisation,kid", "--checkpoint", "all", *options)
    main([str(word) for word in words])
    kept = json.loads((run / "metrics.json").read_text())
    assert [each["trained"]["checkpoint"] for each in kept] == ["2", "4", "6"]
    assert json.loads((tmp_path / "all.json").read_text()) == kept
    names = ["nearer to training (pixels)", "near copies (pixels)", "KID (pixels)"]
    for each in kept:
        assert [estimate["name"] for estimate in each["estimates"]] == names
        assert "40 of the 1,257 training" in each["estimates"][0]["protocol"]["parameters"]
    main(["evaluate", str(run), "--metrics", "kid", "--checkpoint", "6,2", *map(str, options[:6])])
    again = json.loads((run / "metrics.json").read_text())[3:]
    assert [each["trained"]["checkpoint"] for each in again] == ["2", "6"]
    values = [each["estimates"][0]["value"] for each in again]
    assert values == [kept[0]["estimates"][2]["value"], kept[2]["estimates"][2]["value"]]
    main(["report", str(run)])
    page = (run / "report.html").read_text("utf-8")
    for name in names:
        assert re.search(rf"<title>{re.escape(name)} from .* at step 2 to .* at step 6<", page)


def test_a_damaged_record_is_found_before_the_work(
    desk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And again by all that read it; what helps is said."""
    run = tmp_path / "run"
    shutil.copytree(desk / "plain", run)
    (run / "metrics.json").write_text('[{"source": "run"}]')
    for words in (("evaluate", run), ("compare", run, desk / "plain"), ("report", run)):
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
