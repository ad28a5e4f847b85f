"""Names of classes as names of folders, which any disk takes and no two classes share."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Sequence

LONGEST = 120  # bytes of a name: disks take 255, encrypted ones 143, and paths are long enough
# What Windows forbids in a name, what ends one elsewhere, and what is no text.
FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f\ud800-\udfff]+')
# A dot in front hides a folder; one at the end, or a space, is dropped by Windows.
EDGES = re.compile(r"^[.\s]+|[.\s]+$")
# What systems scatter, which `prepare` doesn't look into; and what lies beside exported classes.
SCATTERED = ("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini")
BESIDE = ("export.json", "report.html", "metrics.json")  # see `exporting`
# Windows' names of devices, with any ending; and those.
RESERVED = re.compile(
    r"^((?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(?=\.|$)"
    rf"|(?:{'|'.join(map(re.escape, SCATTERED + BESIDE))})$)",
    re.IGNORECASE,
)


def folder_names(names: Sequence[str]) -> dict[str, str]:
    """The folder of each of these names, which differ: the name itself where a disk takes it.

    Else "_" stands for what it does not take. No two folders differ by their case alone, since
    some disks do not tell "Coast" from "coast": the second is "coast-2".
    """
    safe = {name: _safe(name) for name in names}
    folders: dict[str, str] = {}
    taken: set[str] = set()
    for name in sorted(names, key=lambda name: safe[name] != name):  # first those that may stay
        folder, number = safe[name], 1
        while _key(folder) in taken:
            number += 1
            folder = f"{safe[name]}-{number}"
        taken.add(_key(folder))
        folders[name] = folder
    return {name: folders[name] for name in names}


def _safe(name: str) -> str:
    plain = EDGES.sub("_", FORBIDDEN.sub("_", unicodedata.normalize("NFC", name))) or "_"
    return shortened(RESERVED.sub(r"\1_", plain))


def shortened(name: str) -> str:
    """A name that is too long ends in a hash of the whole."""
    data = os.fsencode(name)
    if len(data) <= LONGEST:
        return name
    begins = data[:LONGEST].decode(errors="ignore").rstrip(". ")
    return f"{begins}-{hashlib.sha256(data).hexdigest()[:8]}"


def _key(name: str) -> str:
    """The same for names that some disk takes for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())
