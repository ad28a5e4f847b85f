"""A run's records: what happens to them when two commands write at once."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from safelight.config import Config, RunFile
from safelight.errors import DamagedFile
from safelight.training.run import Run
from tests.training.conftest import plan


def begun(path: Path) -> Run:
    cache = {"cache": "c", "fingerprint": "f", "shape": (1, 8, 8), "classes": ()}
    return Run.create(path, RunFile(config=Config(), plan=plan(), **cache))


def test_no_evaluation_is_lost_where_several_end_at_once(out: Path) -> None:
    run = begun(out)

    def evaluate(who: int) -> None:
        for number in range(5):
            Run.open(out).add_evaluation({"of": [who, number]})

    threads = [threading.Thread(target=evaluate, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = sorted(record["of"] for record in run.evaluations())
    assert found == [[who, number] for who in range(4) for number in range(5)]


def test_a_metrics_file_that_is_none_says_what_to_do(out: Path) -> None:
    run = begun(out)
    for text in ("{}", "[1, 2", '"numbers"'):
        run.metrics_file.write_text(text)
        with pytest.raises(DamagedFile, match=r"run.metrics\.json .*; move it away, and run"):
            run.add_evaluation({})
        assert run.metrics_file.read_text() == text
