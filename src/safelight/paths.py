"""Paths as people write them."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from safelight.errors import UserError

SHOWN = 60  # letters of a name that is too long
EFFECTIVE = os.access in os.supports_effective_ids


def expanded(text: str | os.PathLike[str]) -> Path:
    """With the home folder for "~". Raises UserError where there is no such user."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise UserError(
            f"{text} begins with a user's home folder, and there is no such user; write ./{text} "
            "for what is called so"
        ) from None


def is_there(path: Path) -> bool:
    """Whether anything is at `path`; nothing is where no disk could have such a name.

    Raises UserError where that may not be seen.
    """
    try:
        path.stat()
    except PermissionError:
        raise UserError(
            f"no permission to look into {path.parent}; ask whoever owns it, or choose another "
            "place"
        ) from None
    except (OSError, ValueError):
        return False
    return True


def place(text: str | os.PathLike[str]) -> Path:
    """A place to read or write. Raises UserError for what can be none."""
    path = expanded(text)
    try:
        path.stat()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise UserError(
                f"{str(path)[:SHOWN]}... is a name too long for this disk; choose a shorter one"
            ) from None
    except ValueError:
        raise UserError(f"{str(path)!r} has a zero byte, which no name has; leave it out") from None
    return path


def require_readable(path: Path) -> None:
    """Raise UserError where the file or folder may not be read."""
    if not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0), effective_ids=EFFECTIVE):
        raise UserError(
            f"no permission to read {path}; ask whoever owns it, or give what you may read"
        )
