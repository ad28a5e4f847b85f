"""Where pictures come from: a folder, a zip or a named set."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

from safelight import console
from safelight.data.layout import listing
from safelight.data.listing import Listing
from safelight.data.named import NAMED, recognised, roots_of
from safelight.data.options import Options
from safelight.data.walk import WALKS, Found, signature
from safelight.errors import UserError


class Origin(Protocol):
    """A source of pictures."""

    @property
    def name(self) -> str:
        """How the cache is called."""
        ...

    @property
    def where(self) -> str:
        """A path, or the name of a set: what `prepare` takes to find it again."""
        ...

    @property
    def divided(self) -> bool:
        """Whether it has splits of its own, known before it is looked into."""
        ...

    def signature(self) -> str:
        """Equal as long as no picture is added, removed or changed."""
        ...

    def listing(self, options: Options) -> Listing:
        """All its pictures. Raises UserError where there are none."""
        ...


@dataclass(frozen=True)
class FilesIn:
    """A folder or an archive of files. kind: a row of WALKS and READERS."""

    kind: str
    name: str
    where: str
    divided: bool = False

    @cached_property
    def found(self) -> Found:
        return WALKS[self.kind](Path(self.where))

    def signature(self) -> str:
        return signature(self.found)

    def listing(self, options: Options) -> Listing:
        by_folder = options.labels == "folders" or bool(options.classes)
        return listing(self.found, self.kind, self.where, by_folder)


@dataclass(frozen=True)
class Named:
    """A well-known set. place: of a copy that was pointed at."""

    name: str
    where: str
    place: Path | None = None
    divided: bool = True

    def signature(self) -> str:
        return self.name  # it never changes

    def listing(self, options: Options) -> Listing:
        return NAMED[self.name].load(roots_of(self.name, self.place))


def find(source: str | Path) -> Origin:
    """Raises UserError where there is nothing of the kind."""
    if isinstance(source, str) and source in NAMED:
        if Path(source).exists():
            console.inform(f"{source!r} is the named set; say ./{source} for the folder here")
        return Named(source, source)
    path = Path(source).expanduser()
    if path.is_dir():
        name = recognised(path)
        whole = path.resolve()
        if name is not None:
            return Named(name, str(whole), whole)
        return FilesIn("folder", whole.name, str(whole))
    if path.is_file():
        return FilesIn("zip", path.stem, str(path.resolve()))
    raise UserError(
        f"there is no folder or zip {str(source)!r}; give one that exists, or a named set "
        f"({', '.join(NAMED)})"
    )
