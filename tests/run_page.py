"""Run a page of documentation, its commands and its snippets, in their order:

    python tests/run_page.py docs/guide.md

One process runs all of them, so that torch is loaded once and not for each. A snippet begins with
no names of those before it; what it adds to the tables of the package stays.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

from safelight.cli import main

FENCE = re.compile(r"^```(bash|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def run_commands(text: str) -> None:
    """Each line as the shell would split it; a command that is refused ends the process."""
    for line in text.replace("\\\n", " ").splitlines():
        program, *words = shlex.split(line)
        assert program == "safelight", f"only commands of safelight can be run: {line}"
        main(words)


def run_snippet(text: str) -> None:
    exec(compile(text, "snippet", "exec"), {"__name__": "__main__"})


RUN: dict[str, Callable[[str], None]] = {"bash": run_commands, "python": run_snippet}


def run_page(page: Path) -> None:
    blocks = FENCE.findall(page.read_text(encoding="utf-8"))
    assert blocks, f"{page} has nothing to run"
    for language, text in blocks:
        start = perf_counter()
        sys.stderr.write(text)
        RUN[language](text)
        sys.stderr.write(f"# {perf_counter() - start:.1f} s\n\n")


if __name__ == "__main__":
    run_page(Path(sys.argv[1]))
