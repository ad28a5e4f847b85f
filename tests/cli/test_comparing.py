"""`compare` on the command line: runs, trainings of one recipe, files, published figures, plots."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from safelight import Sampling, compare, evaluate
from safelight.cli import main
from safelight.presets import RECIPES
from safelight.training.run import Run
from tests.refusals import refused

METRICS = ("kid", "fd")
CHANGES: dict[str, dict[str, object]] = {
    **{f"flow-{seed}": {"seed": seed} for seed in range(3)},
    "v": {"diffusion": RECIPES["v"]},
}


@pytest.fixture(scope="module")
def runs(desk: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three trainings of one recipe, one of another, and real images judged into a file.

    They are one run whose seed or recipe, and whose numbers, are written anew.
    """
    folder, made = tmp_path_factory.mktemp("runs"), tmp_path_factory.mktemp("made") / "run"
    shutil.copytree(desk / "run", made)
    first = evaluate(made, sampling=Sampling(steps=2), features="pixels", metrics=METRICS, n=100)
    file = Run.open(made).file
    for i, (name, change) in enumerate(CHANGES.items()):
        config = file.config.model_copy(update=change)
        run = Run.create(folder / name, file.model_copy(update={"config": config}))
        moved = (
            replace(e, **{end: getattr(e, end) * (1 + i / 50) for end in ("low", "value", "high")})
            for e in first.estimates
        )
        run.add_evaluation(
            replace(first, fingerprint=f"images {i}", estimates=tuple(moved)).to_json()
        )
    against = ["--against", f"{desk / 'digits'}:test", "--json", str(folder / "real.json")]
    how = ["--features", "pixels", "--metrics", ",".join(METRICS), "-n", "100"]
    main(["evaluate", f"{desk / 'digits'}:train", *against, *how])
    return folder


def test_runs_that_differ_by_seed_are_trainings_of_one_recipe(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """X3: found without being told, and said; other recipes, and files of images, are not."""
    places = [str(path) for path in (*sorted(runs.glob("flow-*")), runs / "v", runs / "real.json")]
    capsys.readouterr()
    kid, fd = compare(*places)
    said = capsys.readouterr()
    flow = str(runs / "flow")
    assert kid.estimates[0][0] == str(runs / "real.json")
    assert list(kid.trainings) == [flow]
    assert list(fd.trainings[flow]) == places[:3]
    values = [each.value for each in kid.trainings[flow].values()]
    assert dict(kid.estimates)[flow].value == pytest.approx(sum(values) / 3)
    assert f"taken together as {flow}" in said.err
    assert "mean of 3 trainings" in said.out
    assert "cover retraining" in said.out


def test_an_evaluation_of_before_an_option_was_drawn_as_is_usual(
    runs: Path, tmp_path: Path
) -> None:
    """X3: one of before --precision is of the same recipe as a newer one."""
    copies = [shutil.copytree(path, tmp_path / path.name) for path in sorted(runs.glob("flow-*"))]
    file = Run.open(copies[0]).metrics_file
    before = file.read_text()
    file.write_text(re.sub(r',\s*"precision": "float32"', "", before))
    assert file.read_text() != before
    together = compare(*copies, runs / "v")[0].trainings[str(tmp_path / "flow")]
    assert list(together) == list(map(str, copies))


def test_names_decide(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """X3: NAME=PLACE keeps trainings apart, or takes any runs and files together."""
    flow = [str(path) for path in sorted(runs.glob("flow-*"))]
    apart = compare(f"a={flow[0]}", f"b={flow[1]}")[0]
    assert sorted(name for name, _ in apart.estimates) == ["a", "b"]
    assert not apart.trainings
    together = compare(f"a={flow[0]}", f"a={runs / 'v'}", f"b={flow[1]}")[0]
    assert list(together.trainings) == ["a"]
    assert list(together.trainings["a"]) == [flow[0], str(runs / "v")]
    line = refused(capsys, "compare", f"{runs / 'v'}={flow[0]}", runs / "v")
    assert "is the name of one and the place of another" in line


def test_the_same_seed_is_no_other_training(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """X3: a copy of a run would make the interval too narrow."""
    shutil.copytree(runs / "flow-0", tmp_path / "copy")
    assert not compare(runs / "flow-0", tmp_path / "copy")[0].trainings
    assert "the same seed is no other training" in capsys.readouterr().err
    line = refused(
        capsys, "compare", f"x={runs / 'flow-0'}", f"x={tmp_path / 'copy'}", runs / "flow-1"
    )
    assert re.search("flow-0 and .*copy are the same images, and no two trainings", line)


def test_a_comparison_is_written_and_drawn(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """C9, B9, X1: JSON and PNG; published figures stand apart, each with why."""
    files = ["--json", str(tmp_path / "all.json"), "--plot", str(tmp_path / "all.png")]
    main(["compare", str(runs / "v"), str(runs / "real.json"), *files])
    kept = json.loads((tmp_path / "all.json").read_text())
    assert [each["name"] for each in kept["comparisons"]] == ["KID (pixels)", "FD (pixels)"]
    assert all(s["estimate"]["protocol"]["hash"] for s in kept["comparisons"][0]["sources"])
    assert kept["comparisons"][0]["differences"][0]["told_apart"]
    assert kept["published"] == []
    with Image.open(tmp_path / "all.png") as image:
        assert image.format == "PNG"
    capsys.readouterr()
    main(["compare", str(runs / "v"), "--published", "cifar10", *files[:2]])
    shown = " ".join(capsys.readouterr().out.split())
    assert "100 generated images instead of 50,000" in shown
    assert "pixels instead of inception" in shown
    (beside,) = json.loads((tmp_path / "all.json").read_text())["published"]
    assert not any(figure["comparable"] for figure in beside["figures"])


def test_what_compare_is_given_wrongly(
    runs: Path, desk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """X5: one line, with what to do instead."""
    (tmp_path / "list.json").write_text("[1, 2]")
    (tmp_path / "cut.json").write_text('{"source": ')
    (tmp_path / "other.json").write_text('{"source": "x"}')
    run = runs / "v"
    cases = {
        ("compare", run): "at least two runs",
        ("compare", run, run): "is named twice",
        ("compare", run, tmp_path / "no.json"): "no file .*no.json; write it: .*--json",
        ("compare", run, tmp_path / "list.json"): "holds no evaluation; write one",
        ("compare", run, tmp_path / "cut.json"): "is damaged; write it again",
        ("compare", run, tmp_path / "other.json"): "evaluation 1 of 1 is incomplete",
        ("compare", run, desk / "digits"): "digits is no run .*evaluate .*--against REAL --json",
        ("compare", run, tmp_path / "nothing"): "no run at .*nothing; train one",
        ("compare", run, runs / "flow-0", "--plot", tmp_path / "a.pdf"): r"end its name, a\.pdf",
        ("compare", run, "--published", "cifar"): "did you mean 'cifar10'",
        ("compare", run, runs / "flow-0", "--per-class"): "evaluate them all with --per-class",
    }
    for words, message in cases.items():
        assert re.search(message, refused(capsys, *words)), words
