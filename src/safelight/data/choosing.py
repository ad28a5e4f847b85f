"""Which pictures of a source are taken, and what their classes are called."""

from __future__ import annotations

import shlex
import unicodedata
from dataclasses import replace

import numpy as np

from safelight.data.classes import in_order, natural
from safelight.data.listing import Listing
from safelight.data.options import Options
from safelight.data.source import Origin
from safelight.errors import UserError, lookup

# Options that only some sources heed, and what they are of.
ONLY = {
    "label_by": "--label-by names a column, an attribute or labels, of which {where} has none; "
    "leave it out",
    "every": "--every is of the frames of a video, and {where} is none; leave it out",
}


def pictures_of(origin: Origin, options: Options) -> Listing:
    """All that is asked for of a source. Raises UserError for what would change nothing."""
    for name, refusal in ONLY.items():
        if getattr(options, name) and name not in origin.takes:
            raise UserError(refusal.format(where=origin.where))
    if options.labels == "sources" and "sources" not in origin.takes:
        raise UserError(
            f"--labels sources makes each of several sources a class, and {origin.where} is one; "
            "give more, or leave it out"
        )
    pictures = origin.listing(options)
    if not pictures.names:
        first = pictures.rejected[0]
        raise UserError(f"no pictures in {origin.where}, such as {first.file}: {first.reason}")
    pictures = renamed(pictures, options)
    refuse_twins(pictures, origin.where)
    return chosen(pictures, options, origin.where)


def renamed(pictures: Listing, options: Options) -> Listing:
    """With new names of classes; those that get one name are united."""
    if not options.rename:
        return pictures
    if not pictures.classes:
        raise UserError("there are no classes here to rename; leave out --rename")
    position = {name: i for i, name in enumerate(pictures.classes)}
    names = list(pictures.classes)
    for old, new in options.rename.items():
        at = lookup(position, unicodedata.normalize("NFC", old), "class")
        names[at] = unicodedata.normalize("NFC", new)
    classes = tuple(dict.fromkeys(names))
    if in_order(pictures.classes):
        classes = tuple(sorted(classes, key=lambda name: natural((name,))))
    new_of = np.array([classes.index(name) for name in names])
    return replace(pictures, labels=new_of[pictures.labels], classes=classes)


def refuse_twins(pictures: Listing, where: str) -> None:
    """Raise UserError for classes that are one on most disks, and by mistake two on this one."""
    seen: dict[str, str] = {}
    for name in pictures.classes:
        twin = seen.setdefault(name.casefold(), name)
        if twin != name:
            raise UserError(
                f"the classes {twin!r} and {name!r} in {where} differ only in case; unite them by "
                f"--rename {shlex.quote(f'{name}={twin}')}, or give one another name"
            )


def chosen(pictures: Listing, options: Options, where: str) -> Listing:
    """Only the classes that are asked for; without labels where these are not wanted."""
    if options.classes:
        if not pictures.classes:
            raise UserError("there are no class folders here to choose from; leave out --classes")
        position = {name: i for i, name in enumerate(pictures.classes)}
        for old, new in options.rename.items():
            if old in options.classes and old not in position:
                raise UserError(f"the class {old!r} is called {new!r} by --rename; choose that")
        wanted = sorted(lookup(position, name, "class") for name in options.classes)
        counts = np.bincount(pictures.labels, minlength=len(pictures.classes))
        empty = [pictures.classes[i] for i in wanted if not counts[i]]
        if empty:
            raise UserError(f"the class {empty[0]!r} has no pictures in {where}; leave it out")
        pictures = pictures.taken(np.isin(pictures.labels, wanted))
        pictures = pictures.renumbered(wanted)
    if options.labels == "none":
        pictures = replace(pictures, labels=np.zeros_like(pictures.labels), classes=())
    return pictures
