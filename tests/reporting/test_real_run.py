"""The report of a run that was really trained: thirty steps on the real digits."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from safelight.cli import base_config, named, parse
from safelight.config import (
    Config,
    Data,
    Diffusion,
    Likelihood,
    Net,
    Optimiser,
    Sampling,
    Watch,
)
from safelight.data.prepare import prepare
from safelight.errors import UserError
from safelight.presets import PRESETS
from safelight.reporting.collect import collect
from safelight.reporting.page import page, report
from safelight.reporting.recipes import commands, recipes
from safelight.training.networks import settled_net
from safelight.training.run import Run
from safelight.training.train import train
from tests.reporting import stand_in
from tests.reporting.reading import Page, pixels

CONFIG = Config(
    net=Net(widths=(16, 32), blocks=1),
    watch=Watch(validate_every=10, preview_every=10, checkpoint_every=15, tensorboard=False),
    budget="30steps",
    precision="float32",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # such a small network waits for its second thread, and no more
    folder = tmp_path_factory.mktemp("real")
    cache = prepare("digits", out=folder / "digits")
    trained = train(cache, CONFIG, folder / "run")
    trained.add_evaluation(stand_in.EVALUATION.to_json())
    yield trained
    torch.set_num_threads(threads)


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
    decided = CONFIG.data.model_copy(update={"flip": False})
    changes = {"budget": "30steps", "precision": "float32", "data": decided}
    assert configured(again[1]) == CONFIG.model_copy(update=changes)


def configured(line: str) -> Config:
    words = shlex.split(line)[1:]
    return parse(words, base_config(words)).keywords["config"]


def test_every_option_can_be_given_on_the_command_line(run: Run) -> None:
    """F7: switches, lists, nothing and texts come through the command as they were."""
    data = collect(run)
    odd = PRESETS["large"].model_copy(
        update={
            "data": Data(conditional=False, flip=False, shift=2, crop="7x6", jitter=0.1, turn=True),
            "net": Net(widths=(8,), attention=(), norm="none", dropout=0.25),
            "diffusion": Diffusion(sigma_data=0.31),
            "optimiser": Optimiser(lr=1e-05, warmup=0),
            "seed": 7,
        }
    )
    settled = odd.model_copy(update={"budget": "30steps", "precision": "float32"})
    line = commands(replace(data, config=odd))["again"].splitlines()[1]
    assert configured(line) == settled


def test_options_of_another_library_come_through_the_command(run: Run) -> None:
    """F5, F7: those that differ from the usual ones there, as JSON."""
    said = {**PRESETS["reference"].net.options, "dropout": 0.2, "attention_head_dim": None}
    odd = PRESETS["reference"].model_copy(update={"net": Net(kind="reference", options=said)})
    settled = odd.model_copy(update={"budget": "30steps", "precision": "float32"})
    written = settled.model_copy(update={"net": settled_net(settled.net)})
    line = commands(replace(collect(run), config=written))["again"].splitlines()[1]
    assert configured(line) == settled
    assert json.loads(named(shlex.split(line), "--net.options") or "") == {
        "dropout": 0.2,
        "attention_head_dim": None,
    }
    # A preset's own option set back to the usual one has to be said.
    usual = {**PRESETS["reference-ddpm"].net.options, "dropout": 0.0}
    back = settled.model_copy(update={"net": Net(kind="reference", options=usual)})
    written = back.model_copy(update={"net": settled_net(back.net)})
    line = commands(replace(collect(run), config=written))["again"].splitlines()[1]
    assert settled_net(configured(line).net) == written.net


def test_the_command_finds_the_same_numbers(run: Run) -> None:
    """The recipe's options are those that the protocols record."""
    (recipe,) = [recipe for recipe in recipes(collect(run)) if recipe.title == "Numbers"]
    words = shlex.split(recipe.command)[1:]
    options = parse(words, base_config(words)).keywords
    assert options["features"] == "efficientnet-lite0"
    assert options["metrics"] == ("kid", "accuracy", "accuracy-per-class")
    assert (options["n"], options["seed"], options["against"]) == (450, 0, None)


def test_the_command_finds_the_numbers_of_each_class(run: Run) -> None:
    """K10: whose images are among those of the whole."""
    kid = next(e for e in stand_in.EVALUATION.estimates if e.protocol.metric == "kid")
    few = replace(kid.protocol, generated=45, reference=45)
    part = replace(kid, name="KID[3] (efficientnet-lite0)", protocol=few)
    judged = replace(stand_in.EVALUATION, estimates=(kid, part))
    data = replace(collect(run), evaluations=(judged,))
    (recipe,) = [recipe for recipe in recipes(data) if recipe.title == "Numbers"]
    words = shlex.split(recipe.command)[1:]
    options = parse(words, base_config(words)).keywords
    assert (options["metrics"], options["n"], options["per_class"]) == (("kid",), 450, True)
    assert "Class by class" in page(data)
    assert "KID[3]" in page(data)


@pytest.mark.parametrize(
    ("against", "said"),
    [("digits:train", "my digits:train"), ("digits", "my digits"), ("mine:test", "PICTURES")],
)
def test_the_command_says_where_the_reference_is_and_how_images_were_drawn(
    run: Run, against: str, said: str
) -> None:
    """X1: other pictures than the run's own have a place that the page must not tell."""
    asked = Sampling(sampler="ddim", steps=20, guidance=1.5, guidance_interval=(0.3, 5.0))
    other = replace(stand_in.EVALUATION, against=against, sampling=asked.model_dump())
    data = collect(run)
    spaced = replace(data.pictures, path=data.pictures.path.with_name("my digits"))
    found = recipes(replace(data, evaluations=(other,), pictures=spaced))
    (recipe,) = [recipe for recipe in found if recipe.title == "Numbers"]
    words = shlex.split(recipe.command)[1:]
    options = parse(words, base_config(words)).keywords
    assert options["against"] == said
    assert options["sampling"] == asked
    assert (f"PICTURES stands for the place of {against}" in recipe.about) == (said == "PICTURES")


def test_a_likelihood_has_a_command_of_its_own(run: Run) -> None:
    """X11: of the real images that were judged; how pictures are drawn plays no part."""
    drawn, asked = Sampling(sampler="ddim", steps=20), Likelihood(terms=9, tolerance=1e-2)
    (kid, *_) = stand_in.EVALUATION.estimates
    how = replace(kid.protocol, metric="bpd", network="its own", generated=0, reference=200)
    bits = replace(kid, name="bits per dimension (ODE)", floor=None, protocol=how, n=200)
    found = replace(
        stand_in.EVALUATION,
        estimates=(kid, bits, replace(bits, name="bits per dimension (bound)")),
        sampling=drawn.model_dump(),
        likelihood=asked.model_dump(),
    )
    data = replace(collect(run), evaluations=(found,))
    (recipe,) = [recipe for recipe in recipes(data) if recipe.title == "Numbers"]
    first, second = (
        parse(words, base_config(words)).keywords
        for words in (shlex.split(line)[1:] for line in recipe.command.splitlines())
    )
    assert (first["metrics"], first["n"], first["sampling"]) == (("kid",), 450, drawn)
    assert (second["metrics"], second["n"], second["likelihood"]) == (("bpd",), 200, asked)
    assert second["sampling"] == Sampling()
    assert "bits per dimension (ODE)" in page(data)


def test_the_page_names_no_folder_of_this_machine(run: Run) -> None:
    assert str(run.path.parent) not in page(collect(run))


def test_a_run_without_a_checkpoint_is_refused(run: Run, tmp_path: Path) -> None:
    begun = Run.create(tmp_path / "begun", run.file)
    with pytest.raises(UserError, match="no checkpoint yet"):
        report(begun)
    assert not (tmp_path / "begun" / "report.html").exists()
