"""What every source of pictures can do."""

from __future__ import annotations

from typing import Protocol

from safelight.data.listing import Listing
from safelight.data.options import Options


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

    @property
    def takes(self) -> tuple[str, ...]:
        """Which options it heeds that not every source does; see `choosing`."""
        ...

    def signature(self) -> str:
        """Equal as long as no picture is added, removed or changed."""
        ...

    def listing(self, options: Options) -> Listing:
        """All its pictures. Raises UserError where there are none."""
        ...
