"""Numbers and facts in words, as a person would write them."""

from __future__ import annotations

import math
from datetime import datetime
from pathlib import Path

from safelight.data.places import user_cache
from safelight.images import COLOURS

UNITS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def count(n: float) -> str:
    """1258 -> "1,258"."""
    return f"{n:,.0f}"


def large(n: float) -> str:
    """Three significant digits and a unit: 1_123_456 -> "1.12 M"; below 10,000 in full."""
    if n < 10_000:
        return count(n)
    size, unit = next(row for row in UNITS if n >= 0.9995 * row[0])  # 999,950 is 1.00 M
    return f"{significant(n / size, 3)} {unit}"


def plural(n: int, one: str, many: str | None = None) -> str:
    """ "1 class", "10 classes"."""
    return f"{count(n)} {one if n == 1 else many or one + 's'}"


def duration(seconds: float) -> str:
    """Seconds in its two largest units: 151 -> "2 min 31 s"."""
    if round(seconds) < 60:
        return f"{significant(seconds, 2)} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, s = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (s, "s")]
    first = next(i for i, (value, _) in enumerate(parts) if value)
    return " ".join(f"{value} {unit}" for value, unit in parts[first : first + 2] if value)


def significant(x: float, digits: int) -> str:
    """`x` to so many significant digits, without an exponent: (0.01234, 2) -> "0.012"."""
    if not math.isfinite(x):
        return "∞" if x > 0 else "−∞" if x < 0 else "not a number"
    if x == 0:
        return "0"
    # the exponent after rounding: 0.0996 to two digits is 0.10, not 0.100
    decimals = digits - 1 - int(f"{x:.{digits - 1}e}".partition("e")[2])
    return f"{round(x, decimals):,.{max(0, decimals)}f}".replace("-", "−")


def day(moment: str) -> str:
    """The day of an ISO 8601 moment: "2025-11-02T03:04:05+00:00" -> "2 November 2025"."""
    then = datetime.fromisoformat(moment)
    return f"{then.day} {then:%B %Y}"


def look(shape: tuple[int, int, int]) -> str:
    """(c, h, w) -> "64×48, colour": width and height, as picture files are described."""
    c, h, w = shape
    return f"{w}×{h}, {COLOURS.get(c, f'{c} channels')}"


def shown(channels: int) -> str:
    """Which channels a picture on the page shows; nothing where it shows them all."""
    if channels in COLOURS:
        return ""
    which = "the two as magenta and green" if channels == 2 else "the first three as colours"
    return f" (the pictures here show {which})"


def place(path: Path) -> str:
    """`path` from the current folder where it lies inside it, else its name alone.

    The page is for sending: it must not tell where its maker keeps their files. The folder of
    caches is in the same place of everybody's home, and may be told.
    """
    resolved, here, home = path.resolve(), Path.cwd(), Path.home().resolve()
    if resolved.is_relative_to(here):
        return no_option(str(resolved.relative_to(here)))
    usual = user_cache().resolve()
    if usual.is_relative_to(home) and resolved.is_relative_to(usual):
        return str("~" / resolved.relative_to(home))
    return no_option(resolved.name)


def no_option(path: str) -> str:
    """A path that a command does not take for one of its options."""
    return f"./{path}" if path.startswith("-") else path
