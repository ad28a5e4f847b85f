"""The report of a run that was really trained: thirty steps on the real digits."""

from __future__ import annotations

from pathlib import Path

import pytest

from safelight.config import Config, Net, Watch
from safelight.data.prepare import prepare
from safelight.errors import UserError
from safelight.report.collect import collect
from safelight.report.page import page, report
from safelight.report.recipes import commands
from safelight.training.run import Run
from safelight.training.train import train
from tests.report import stand_in
from tests.report.reading import Page, pixels

CONFIG = Config(
    net=Net(widths=(16, 32), blocks=1),
    watch=Watch(validate_every=10, preview_every=10, checkpoint_every=15, tensorboard=False),
    budget="30steps",
    precision="float32",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("real")
    cache = prepare("digits", out=folder / "digits")
    trained = train(cache, CONFIG, folder / "run")
    trained.add_evaluation(stand_in.EVALUATION.to_json())
    return trained


@pytest.fixture(scope="module")
def read(run: Run) -> Page:
    return Page(report(run).read_text("utf-8"))


def test_the_page_tells_what_the_run_has(run: Run, read: Page) -> None:
    """X14, C3: the summary's figures, the data's counts, every kind of record drawn."""
    summary, meta = run.summary, run.cache().meta
    train_count = sum(counts["train"] for counts in meta.counts.values())
    assert f"trained on {train_count:,} images of digits (8×8, grey, 10 classes)" in read.text
    assert f"{summary.images_per_second:,.0f} images a second on {summary.device}" in read.text
    assert len(read.all("svg", role="img")) == 5
    cells = [text for _, text in read.all("td", **{"class": "n"})]
    totals = [f"{train_count:,}", "179", "182", "1,797"]
    assert cells[-4:] == totals


def test_pictures_can_be_made_again_from_their_seeds(run: Run, read: Page) -> None:
    """B7: alone, in another batch, to within the one level that the source promises."""
    source = run.source()
    for seed in (0, 17, 59, 60, 151):
        (attributes, _), *_ = read.all("img", title=f"seed {seed}, class {seed % 10}")
        alone = source.images([seed], source.labels([seed]))[0].numpy()
        shown = pixels(attributes["src"] or "")
        assert abs(shown.astype(int) - alone.astype(int)).max() <= 1


def test_the_command_trains_the_same_model(run: Run) -> None:
    again = commands(collect(run))["again"].splitlines()
    assert again[0] == "safelight prepare digits --out digits"
    assert again[1].startswith("safelight train digits --preset ")
    for part in ("--budget 30steps", "--precision float32", "--net.widths 16 32"):
        assert part in again[1]


def test_the_page_names_no_folder_of_this_machine(run: Run) -> None:
    assert str(run.path.parent) not in page(collect(run))


def test_a_run_without_a_checkpoint_is_refused(run: Run, tmp_path: Path) -> None:
    begun = Run.create(tmp_path / "begun", run.file)
    with pytest.raises(UserError, match="no checkpoint yet"):
        report(begun)
    assert not (tmp_path / "begun" / "report.html").exists()
