"""The import direction of the house: what each part may know of the others."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "safelight"

PURE = {"diffusion", "samplers", "nets"}  # these need only torch
COMMON = {"seeding", "paths", "files", "console", "images"}
ALONE = (
    *("errors", "seeding", "locks", "paths", "console", "machine", "naming", "sizes"),
    *("diffusion", "nets"),
)
# What each part may import from safelight, besides itself and `errors`, which is below everything.
MAY_IMPORT: dict[str, set[str]] = {
    **{part: set() for part in ALONE},
    "files": {"locks", "paths"},
    "images": {"files"},
    "filing": {"files", "images", "naming"},
    "sections": {"sizes"},
    "config": {"sections"},
    "presets": {"config"},
    "configfile": {"config", "files"},
    "data": {*COMMON, "naming", "sizes"},
    "samplers": {"diffusion", "seeding"},
    "training": {*COMMON, *PURE, "machine", "locks", "config", "configfile", "data"},
    "evaluation": {*COMMON, "machine", "locks", "config", "data"},
    "profiling": {*COMMON - {"files", "paths"}, "data", "evaluation"},
    "reporting": {
        *COMMON - {"seeding"},
        *("naming", "config", "presets", "data", "training", "evaluation", "profiling"),
    },
}
PURE_LIBRARIES = {
    "torch",
    "torchdiffeq",  # itself only torch
    "itertools",
    "math",
    "collections",
    "dataclasses",
    "typing",
    "functools",
    "__future__",
}
# Networks of other libraries, imported when one is made.
BESIDES = {"nets/reference.py": {"inspect", "importlib"}}


def part_of(path: Path) -> str:
    relative = path.relative_to(SOURCE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imported_modules(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            assert node.module is not None
            names.add(node.module)
            if node.module == "safelight":
                names |= {f"safelight.{alias.name}" for alias in node.names}
    return names


FILES = sorted(SOURCE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_run_one_way(path: Path) -> None:
    part = part_of(path)
    if part not in MAY_IMPORT:  # the verbs and the command line are on top
        return
    allowed = MAY_IMPORT[part] | {part, "errors"}
    for name in imported_modules(path):
        parts = name.split(".")
        if parts[0] == "safelight" and len(parts) > 1:
            assert parts[1] in allowed, f"{path} imports {name}"


@pytest.mark.parametrize(
    "path", [p for p in FILES if part_of(p) in PURE], ids=lambda p: str(p.relative_to(SOURCE))
)
def test_mathematics_needs_only_torch(path: Path) -> None:
    libraries = {name.split(".")[0] for name in imported_modules(path)} - {"safelight"}
    allowed = PURE_LIBRARIES | BESIDES.get(path.relative_to(SOURCE).as_posix(), set())
    assert libraries <= allowed, f"{path} imports {libraries - allowed}"


def test_every_part_of_the_house_is_ruled() -> None:
    on_top = {
        "__init__",
        "__main__",
        "cli",
        "verbs",
        "sources",
        "sampling",
        "exporting",
        "judged",
        "judging",
        "editing",
        "options",
        "listing",
        "starting",
        "commands",
    }
    assert {part_of(path) for path in FILES} <= set(MAY_IMPORT) | on_top


ALL_IMPORTED = """
import importlib, pkgutil, safelight

before = {name: getattr(safelight, name) for name in safelight.__all__}
for module in pkgutil.walk_packages(safelight.__path__, "safelight."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
changed = [name for name, value in before.items() if getattr(safelight, name) is not value]
assert not changed, changed
"""


def test_no_part_takes_the_name_of_a_verb() -> None:
    """A module that is imported late would replace the function, which would work only once."""
    done = subprocess.run([sys.executable, "-c", ALL_IMPORTED], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
