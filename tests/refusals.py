"""How a mistake on the command line is answered."""

from __future__ import annotations

import pytest

from safelight.cli import main


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """The one line on standard error of a command that exits with status 2."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    assert stop.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("safelight: ")
    assert not any("Traceback" in line for line in lines)
    return lines[-1]
