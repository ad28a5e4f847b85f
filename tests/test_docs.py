"""A page of documentation is a program: its commands and snippets are executed, in their order."""

from __future__ import annotations

import ast
import inspect
import itertools
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path

import pytest

from safelight import __version__
from safelight.commands import train_command
from safelight.config import Autoencoder, Config, Data, Diffusion, Gan, Net, Sampling
from safelight.diffusion.bound import VARIANCES
from safelight.diffusion.objective import OBJECTIVES
from safelight.diffusion.path import PATHS
from safelight.diffusion.precond import MIXTURES
from safelight.diffusion.times import TIMES
from safelight.diffusion.weights import WEIGHTS
from safelight.editing.tasks import EDITS
from safelight.evaluation.features import FEATURES
from safelight.evaluation.metrics import METRICS
from safelight.evaluation.resizes import RESIZES
from safelight.nets.augmentation import AUGMENTATIONS
from safelight.nets.blocks import ACTIVATIONS, BLOCKS, NORMS
from safelight.nets.embedding import EMBEDDINGS
from safelight.nets.resampling import DOWNS, UPS
from safelight.nets.unet import SKIPS
from safelight.presets import PRESETS, RECIPES
from safelight.samplers.grids import GRIDS
from safelight.samplers.steps import SAMPLERS
from safelight.training.autoencoder import LOSSES
from safelight.training.families import FAMILIES
from safelight.training.gan import GAMES
from safelight.training.networks import NETS
from safelight.training.pairing import PAIRINGS

ROOT = Path(__file__).parents[1]
PAGES = (
    "docs/guide.md",
    "docs/networks.md",
    "docs/files.md",
    "docs/gans.md",
    "docs/latent.md",
    "docs/extending.md",
    "docs/mathematics.md",
    "README.md",
)
GUIDE, GANS, LATENT, NUMBERS, README = (
    (ROOT / name).read_text(encoding="utf-8")
    for name in ("docs/guide.md", "docs/gans.md", "docs/latent.md", "docs/metrics.md", "README.md")
)
OPTIONS_OF = {
    Data: GUIDE,
    Diffusion: GUIDE,
    Net: GUIDE,
    Gan: GANS,
    Autoencoder: LATENT,
}  # the page with the table of a section
CHOICES = {  # fields of the configuration, and the tables that their values are rows of
    (Net, "kind"): NETS,
    (Net, "block"): BLOCKS,
    (Net, "norm"): NORMS,
    (Net, "activation"): ACTIVATIONS,
    (Net, "down"): DOWNS,
    (Net, "up"): UPS,
    (Net, "skip"): SKIPS,
    (Net, "embedding"): EMBEDDINGS,
    (Diffusion, "path"): PATHS,
    (Diffusion, "prediction"): MIXTURES,
    (Diffusion, "objective"): OBJECTIVES,
    (Diffusion, "times"): TIMES,
    (Diffusion, "weight"): WEIGHTS,
    (Diffusion, "variance"): VARIANCES,
    (Diffusion, "pairing"): PAIRINGS,
    (Gan, "loss"): GAMES,
    (Gan, "augment"): AUGMENTATIONS,
    (Autoencoder, "loss"): LOSSES,
    (Config, "family"): FAMILIES,
    (Sampling, "sampler"): SAMPLERS,
    (Sampling, "grid"): GRIDS,
}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which a reader tries things; pages may build on the ones before."""
    return tmp_path_factory.mktemp("desk")


@pytest.mark.parametrize("page", PAGES)
def test_pages_run(page: str, desk: Path) -> None:
    """L5, L9, F2, F4, F7, X9, X10, X14: every command of the guide, and every snippet."""
    # One thread: a second costs more than it gives with networks of this size.
    kept = {"SAFELIGHT_CACHE": str(desk / "kept"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-P", ROOT / "tests" / "run_page.py", ROOT / page]
    environment = {**os.environ, **kept}
    done = subprocess.run(command, cwd=desk, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def test_the_command_is_installed() -> None:
    command = [Path(sys.executable).parent / "safelight", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"safelight {__version__}"


def test_links_and_pictures_exist() -> None:
    for page in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
            assert target.startswith("http") or (page.parent / target).exists(), (page, target)


def test_rows_of_tables_are_documented() -> None:
    """The guide names all samplers, grids and edits, the numbers all metrics and networks."""
    assert all(f"| `{name}` |" in GUIDE for name in (*SAMPLERS, *GRIDS))
    assert all(f"**`{name}" in GUIDE for name in EDITS)
    assert all(f"`{name}`" in NUMBERS for name in (*FEATURES, *RESIZES))
    assert all(name in NUMBERS.lower() for name in METRICS)


def test_recipes_are_named() -> None:
    """Wherever a reader would look for them."""
    for text in (GUIDE, README, train_command(Config()).__doc__ or ""):
        assert set(RECIPES) <= words(text)


@pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: choice[1])
def test_choices_are_named(choice: tuple[type, str]) -> None:
    """By the help of the option, and by the guide beside it."""
    names = {name.removesuffix("-continuous") for name in CHOICES[choice]}
    section, field = choice
    assert names <= words(helps(section)[field])
    if section in OPTIONS_OF:
        prefix = section.__name__.lower()
        rows = re.findall(rf"^\| .*--{prefix}\.{field}\b.*$", OPTIONS_OF[section], re.MULTILINE)
        assert names - {"none"} <= words("\n".join(rows))


def test_every_option_of_mathematics_and_networks_is_explained() -> None:
    """But sigma_data, which is measured, and what is there to be left out."""
    for section, page in OPTIONS_OF.items():
        for field in set(section.model_fields) - {"sigma_data", "conditional"}:
            assert f"--{section.__name__.lower()}.{field.replace('_', '-')}" in page


@pytest.mark.parametrize(("family", "page"), [("gan", GANS), ("autoencoder", LATENT)])
def test_presets_are_explained(family: str, page: str) -> None:
    assert all(f"| `{n}` |" in page for n, preset in PRESETS.items() if preset.family == family)


def words(text: str) -> set[str]:
    """What stands between spaces, brackets and marks, such as dpm++ and logit-normal."""
    return {word.rstrip(".") for word in re.split(r"[\s,;:|()`]+", text)}


def helps(section: type) -> dict[str, str]:
    """The words of help below each field."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(section))).body
    assert isinstance(body, ast.ClassDef)
    return dict(_fields_and_help(body.body))


def _fields_and_help(lines: Iterable[ast.stmt]) -> Iterable[tuple[str, str]]:
    for field, text in itertools.pairwise(lines):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
            yield ast.unparse(field.target), ast.literal_eval(text.value)
