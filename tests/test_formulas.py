"""The site: its formulas, its pictures, and the names that its pages mention."""

from __future__ import annotations

import importlib
import importlib.util
import re
import subprocess
import sys
from functools import reduce
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest
from PIL import Image

from safelight.diffusion.path import PATHS
from safelight.diffusion.precond import MIXTURES
from safelight.diffusion.weights import WEIGHTS
from safelight.presets import RECIPES
from safelight.samplers.grids import GRIDS
from safelight.training.options import chosen

ROOT = Path(__file__).parents[1]
TEXTS = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md")}
PAGE = TEXTS["mathematics"]
CODE = re.compile(r"^```.*?^```|`[^`\n]+`", re.MULTILINE | re.DOTALL)
FORMULA = re.compile(r"\$\$(.+?)\$\$|\$([^$\n]+)\$", re.DOTALL)
NAME = re.compile(r"`((?:diffusion|samplers|nets|training|evaluation)\.[\w.]+)`")
PICTURE = re.compile(r"!\[.+?\]\(images/(\w+)\.png\)")
LOADED = re.compile(
    r"""<(?:script|img|iframe)[^>]* src=["']?(\w+:)?//|<link[^>]* href=["']?(\w+:)?//"""
)


def load(name: str) -> ModuleType:
    """A module of the folder docs, which is no package."""
    found = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def formulas(page: str) -> list[tuple[str, bool]]:
    """LaTeX, and whether it stands in a block of its own."""
    text = CODE.sub("", page)
    return [(found[1] or found[2], bool(found[1])) for found in FORMULA.finditer(text)]


def test_formulas_convert() -> None:
    hooks = load("hooks")
    assert len(formulas(PAGE)) > 200
    for latex, block in (formula for text in TEXTS.values() for formula in formulas(text)):
        tree = ElementTree.fromstring(hooks.mathml(latex, block))
        assert tree.tag.endswith("math")
        assert not any("\\" in text for text in tree.itertext()), latex
        assert "merror" not in {element.tag.rpartition("}")[2] for element in tree.iter()}


def test_unknown_commands_are_refused() -> None:
    with pytest.raises(ValueError, match=r"foo"):
        load("hooks").mathml(r"\foo x", block=False)


def test_names_and_signs_are_spaced() -> None:
    mathml = load("hooks").mathml
    assert '<mo form="prefix" lspace="0" rspace="0.167em">log</mo>' in mathml(r"\log x", False)
    assert '<mo form="prefix" lspace="0.167em" rspace="0">log</mo>' in mathml(r"a\log(x)", False)
    assert '<mo form="prefix">&#x02212;</mo><mi>&#x003BB;</mi>' in mathml(r"S(-\lambda)", False)
    assert "<mo>&#x02212;</mo>" in mathml("(a)-b", False)


def test_site_builds_and_needs_no_network(tmp_path: Path) -> None:
    """Every page loads what lies beside it, and formulas are MathML without a script."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name, text in TEXTS.items():
        html = (tmp_path / f"{name}.html").read_text(encoding="utf-8")
        assert html.count("<math") == len(formulas(text))
        assert "arithmatex" not in html
        assert not re.search(r"mathjax|katex", html, re.IGNORECASE)
        assert not LOADED.search(html)
    assert (tmp_path / "search" / "search_index.js").exists()
    assert not list(tmp_path.rglob("*.py"))


@pytest.mark.parametrize("name", sorted(set(NAME.findall("".join(TEXTS.values())))))
def test_names_exist(name: str) -> None:
    """What the pages say where it stands, stands there."""
    folder, file, *members = name.split(".")
    module = importlib.import_module(f"safelight.{folder}.{file}")
    reduce(getattr, members, module)


def test_rows_are_derived() -> None:
    """Each path, parameterisation, weight, grid and recipe has its line."""
    for table in (PATHS, MIXTURES, WEIGHTS, GRIDS, RECIPES):
        assert all(f"`{name.removesuffix('-continuous')}`" in PAGE for name in table)


def test_table_of_recipes() -> None:
    """Its lines say what the recipes are."""
    table = PAGE[PAGE.index("| recipe |") :]
    for name, recipe in RECIPES.items():
        line = re.search(rf"^\| `{name}` .*$", table, re.MULTILINE)
        assert line is not None
        prediction, times, weight = chosen(recipe)
        assert all(f"`{part}`" in line[0] for part in (recipe.path, prediction, weight))
        assert times.replace("lognormal", "log-normal") in line[0]


def test_pictures_are_drawn_by_the_script() -> None:
    assert set(PICTURE.findall(PAGE)) == set(load("draw").FIGURES)
    for name in PICTURE.findall(PAGE):
        path = ROOT / "docs" / "images" / f"{name}.png"
        assert path.stat().st_size < 300_000
        with Image.open(path) as image:
            assert image.width > 1000


@pytest.mark.slow
def test_pictures_can_be_drawn_again(tmp_path: Path) -> None:
    draw = load("draw")
    for path in draw.draw(list(draw.FIGURES), tmp_path):
        with Image.open(path) as new, Image.open(ROOT / "docs" / "images" / path.name) as old:
            assert new.size == old.size
