"""A page of documentation is a program: its commands and snippets are executed, in their order."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r"^```(bash|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PAGES = ("docs/guide.md", "docs/files.md", "docs/mathematics.md", "README.md")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which a reader tries things; pages may build on the ones before."""
    return tmp_path_factory.mktemp("desk")


@pytest.mark.parametrize("page", PAGES)
def test_pages_run(page: str, desk: Path) -> None:
    """L5, L9, F2, F4, F7, X9, X10, X14: every command of the guide, and every snippet."""
    blocks = FENCE.findall((ROOT / page).read_text(encoding="utf-8"))
    assert blocks
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": tools, "SAFELIGHT_CACHE": str(desk / "kept")}
    for language, text in blocks:
        command = ["bash", "-e", "-c", text] if language == "bash" else [sys.executable, "-c", text]
        done = subprocess.run(command, cwd=desk, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"


def test_links_and_pictures_exist() -> None:
    for page in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert target.startswith("http") or (page.parent / target).exists(), (page, target)


def test_rows_of_tables_are_documented() -> None:
    """The guide names all samplers and edits, and the numbers all metrics and feature networks."""
    from safelight.editing.tasks import EDITS
    from safelight.evaluation.features import FEATURES
    from safelight.evaluation.metrics import METRICS
    from safelight.samplers.steps import SAMPLERS

    guide, numbers = ((ROOT / "docs" / name).read_text() for name in ("guide.md", "metrics.md"))
    assert all(f"`{name}`" in guide for name in SAMPLERS)
    assert all(f"**`{name}" in guide for name in EDITS)
    assert all(f"`{name}`" in numbers for name in FEATURES)
    assert all(name in numbers.lower() for name in METRICS)
