"""Writing files so that a kill or a full disk never leaves a half-written one behind.

Everything is written under a temporary name beside its destination, flushed to the disk, and
renamed when it is complete. A temporary name starts with `.tmp-safelight-`, and its lock is held
while it is written (see `locks`), so that what a killed process left can be told apart and removed.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import json
import os
import re
import shutil
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safelight.errors import DamagedFile, UserError
from safelight.locks import Lock, locked
from safelight.paths import place

if TYPE_CHECKING:
    from torch import Tensor

TEMPORARY = ".tmp-safelight-"
ONE_BY_ONE = 200  # files of a folder that are flushed each by itself
ASIDE = f"{TEMPORARY}old-"  # before the name of a folder that is being replaced
PART = f"{TEMPORARY}part-"  # before that of one whose filling may go on after a kill
ABANDONED = 7 * 24 * 3600  # seconds after which nobody is expected to go on

_FULL = (
    "the disk is full while writing {path}; free some space and run the same command again "
    "(what was complete before is kept)"
)
_DENIED = "no permission to write {path}; choose another place with --out"
_NOTHING = "nothing can be made in the folder of {path}; choose another place with --out"
_IN_THE_WAY = (
    "cannot create {path}: a file stands where a folder is needed; choose another place with --out"
)
REFUSALS = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EACCES: _DENIED,
    errno.EPERM: _DENIED,
    errno.EROFS: _DENIED,
    errno.ENOTDIR: _IN_THE_WAY,
    errno.EEXIST: _IN_THE_WAY,
    errno.EISDIR: "cannot write {path}: a folder stands in its place; choose another place",
    errno.ENOENT: "the folder of {path} is not there; make it, or choose another place",
    errno.ENAMETOOLONG: "{path} is too long a name for this disk; choose a shorter one with --out",
}


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals to write `path` into a UserError."""
    try:
        yield
    except OSError as error:
        words = REFUSALS.get(error.errno or 0)
        if error.errno == errno.ENOENT and path.parent.is_dir():
            # Either nothing can be made in that folder, or another file is missing that is read.
            ours = Path(error.filename or "").name.startswith(TEMPORARY)
            words = _NOTHING if ours else None
        if words is None:
            raise
        raise UserError(words.format(path=path)) from error


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Give a temporary path to write; rename it to `path` when the block ends well.

    A link stays one, and what it leads to is written.
    """
    path = followed(path)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with _temporary(_file_beside, path) as temporary:
            # mkstemp makes private files; results are as readable as any other file of the user's.
            temporary.chmod(0o666 & ~_umask())
            yield temporary
            flush(temporary)
            temporary.replace(path)
            flush(path.parent)


@contextlib.contextmanager
def writing_folder(path: Path, keep: bool = False) -> Iterator[Path]:
    """Give a temporary folder to fill; it takes `path`'s place when the block ends well.

    An existing folder at `path` is replaced; a link to one stays, and what it leads to is replaced.
    keep: files there that the new one does not have stay.
    """
    path = followed(path)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with _temporary(_folder_beside, path) as temporary:
            temporary.chmod(0o777 & ~_umask())
            yield temporary
            if keep and path.is_dir():
                _add_missing(path, temporary)
            settle_in(temporary, path)


def _add_missing(old: Path, new: Path) -> None:
    """Copy what `old` has into `new` where that has it not."""
    for file in old.rglob("*"):
        there = new / file.relative_to(old)
        if not there.exists() and there.parent.is_dir():
            if file.is_dir() and not file.is_symlink():
                there.mkdir()
            else:
                shutil.copy2(file, there, follow_symlinks=False)


@contextlib.contextmanager
def resumable_folder(path: Path, told: Callable[[], None]) -> Iterator[Path]:
    """Give a folder to fill, which `settle_in` puts into `path`'s place; by one process at a time.

    What a kill, Ctrl-C or an error leaves in it is there again in the next call for the same path.
    told: called before waiting for another process that fills it.
    """
    path = followed(path)
    with disk_errors(path), _held(_part_of, path, told) as part:
        try:
            yield part
        finally:
            with contextlib.suppress(OSError):  # gone to its place, or there is something in it
                part.rmdir()


def settle_in(folder: Path, path: Path, without: Sequence[str] = ()) -> None:
    """Put the folder onto the disk and into `path`'s place.

    without: files of it that served to fill it only. They go once all else is on the disk: until
    then the filling may go on.
    """
    path = followed(path)
    _flush_within(folder)
    if without:
        for name in without:
            (folder / name).unlink(missing_ok=True)
        flush(folder)
    _exchange(folder, path)
    flush(path.parent)


def followed(path: Path) -> Path:
    """What a link leads to, be it there or not."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


@contextlib.contextmanager
def _temporary(make: Callable[[Path], Path], path: Path) -> Iterator[Path]:
    """What `make` makes beside `path`, held while it is written and gone afterwards."""
    with _held(make, path) as temporary:
        try:
            yield temporary
        finally:
            _remove(temporary)


@contextlib.contextmanager
def _held(
    make: Callable[[Path], Path], path: Path, told: Callable[[], None] | None = None
) -> Iterator[Path]:
    """What `make` makes beside `path`, locked. told: called before waiting for the lock."""
    while True:
        made = make(path)
        with contextlib.ExitStack() as held:
            if held.enter_context(locked(made, wait=False)) is Lock.THEIRS:
                if told is not None:
                    told()
                    told = None
                held.enter_context(locked(made))
            # It is not there where it was taken for a leftover in the moment before it was held,
            # and where who held it has put it into its place.
            if made.exists():
                yield made
                return


def _part_of(path: Path) -> Path:
    part = path.with_name(PART + hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16])
    part.mkdir(parents=True, exist_ok=True)
    return part


def _file_beside(path: Path) -> Path:
    handle, name = tempfile.mkstemp(prefix=TEMPORARY, suffix=path.suffix, dir=path.parent)
    os.close(handle)
    return Path(name)


def _folder_beside(path: Path) -> Path:
    return Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=path.parent))


def _exchange(new: Path, path: Path) -> None:
    """Rename the folder `new` to `path`, in place of what is there."""
    old = path.with_name(f"{ASIDE}{path.name}")
    with locked(path):  # held while it is aside, so that nobody puts it back
        if path.exists():
            # A folder can't be renamed over a full one: the old one steps aside first.
            _remove(old)
            path.replace(old)
        try:
            new.replace(path)
        finally:
            _settle(old)


def _settle(old: Path) -> None:
    """Remove what stepped aside, or put it back where nothing took its place."""
    path = old.with_name(old.name.removeprefix(ASIDE))
    if path.exists():
        _remove(old)
    elif old.exists():
        old.replace(path)


def require_file(path: Path | str | None) -> None:
    """Raise UserError where a file can't be written because a folder is there; before long work."""
    if path is not None and place(path).is_dir():
        raise UserError(f"{path} is a folder; name a file to write, such as {path}/found.json")


def write_text(path: Path, text: str) -> None:
    with writing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: Path, data: bytes) -> None:
    with writing(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path, remedy: str) -> Any:
    """The JSON at `path`; raises DamagedFile, with the remedy, where it is missing or cut short."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DamagedFile(f"{path} is missing; {remedy}") from error
    except OSError as error:
        raise DamagedFile(f"{path} can't be read ({error.strerror}); {remedy}") from error
    except ValueError as error:  # no JSON, or no UTF-8
        raise DamagedFile(f"{path} is damaged; {remedy}") from error


def save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write a safetensors file; raises OSError where the system refuses (see `disk_errors`)."""
    from safetensors import SafetensorError  # with torch: processes that decode do without
    from safetensors.torch import save_file

    try:
        save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, path)
    except SafetensorError as error:
        # It tells the system's number in words only; a full disk has to be known as one.
        if (found := re.search(r"os error (\d+)", str(error))) is None:
            raise
        raise OSError(int(found[1]), str(error)) from error


def require_free(out: Path, record: str, identity: str, what: str) -> None:
    """Raise UserError where `out` holds anything but the very results called `identity`.

    out: a folder, or a zip. record: the results' file that says what they are, as JSON with
    "identity". what: such results in a word, such as samples.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    remedy = f"choose another {'folder' if out.is_dir() else 'place'} with --out"
    found = _record(out, record, remedy)
    if found is None:
        raise UserError(f"{out} is not empty and holds no {what}; {remedy}")
    if not isinstance(found, dict) or found.get("identity") != identity:
        raise UserError(f"{out} holds other {what}; {remedy}")


def _record(out: Path, record: str, remedy: str) -> Any:
    """The JSON of that name in a folder or a zip; None where there is none."""
    if out.is_dir():
        return read_json(out / record, remedy) if (out / record).is_file() else None
    try:
        with zipfile.ZipFile(out) as archive:
            return json.loads(archive.read(record))
    except (zipfile.BadZipFile, OSError, KeyError, ValueError):
        return None


def clear_leftovers(folder: Path) -> None:
    """Remove what killed processes left half-written directly in `folder`.

    What they had moved aside and not replaced yet is put back, and what may go on stays for a week.
    What another process holds stays as it is, and where there are no locks all that could be
    somebody's does.
    """
    for left in sorted(folder.glob(f"{TEMPORARY}*")):
        if left.name.startswith(PART) and _age(left) < ABANDONED:
            continue
        with locked(left, wait=False) as lock:
            if left.name.startswith(ASIDE) and lock is not Lock.THEIRS:
                _settle(left)
            elif lock is Lock.OURS:
                _remove(left)


def _age(folder: Path) -> float:
    """Seconds since anything in it was written."""
    try:
        times = [path.stat().st_mtime for path in (folder, *folder.iterdir())]
    except OSError:  # somebody is at work in it
        return 0
    return time.time() - max(times)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Ask the operating system to put `path` on the disk (a rename alone survives a kill only)."""
    if os.name == "nt":  # Windows cannot open a folder, and flushes on close
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _flush_within(folder: Path) -> None:
    """The same of a folder and all that is in it."""
    found = list(itertools.islice(folder.rglob("*"), ONE_BY_ONE + 1))
    if len(found) > ONE_BY_ONE and hasattr(os, "sync"):
        os.sync()  # each by itself would take a millisecond: 10,000 take seconds, and this a tenth
        return
    for path in (*found, folder):
        flush(path)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
