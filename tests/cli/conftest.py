"""What the tests of the command line share."""

from __future__ import annotations

from pathlib import Path

import pytest

from safelight.cli import main

QUICK = (
    *("--budget", "6steps", "--precision", "float32", "--watch.no-tensorboard"),
    *("--net.widths", "8", "16", "--net.blocks", "1", "--optimiser.batch", "8"),
)


@pytest.fixture(scope="package")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache and two runs of it, conditional and not."""
    folder = tmp_path_factory.mktemp("desk")
    main(["prepare", "digits", "--split", "70/5/25", "--out", str(folder / "digits")])
    main(["train", str(folder / "digits"), "--out", str(folder / "run"), *QUICK])
    plain = ["--data.no-conditional", "--out", str(folder / "plain")]
    main(["train", str(folder / "digits"), *plain, *QUICK])
    return folder
