"""Several sources as one."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from safelight import console
from safelight.data.classes import Labels, in_order, natural
from safelight.data.layout import Splits
from safelight.data.listing import Listing
from safelight.data.options import Options
from safelight.data.source import Origin
from safelight.data.splits import FREE
from safelight.errors import UserError

PLUS = " + "  # between sources that are named in one word


@dataclass(frozen=True)
class Several:
    """The pictures of one source after those of another."""

    origins: tuple[Origin, ...]

    @property
    def name(self) -> str:
        return "+".join(origin.name for origin in self.origins)

    @property
    def where(self) -> str:
        return PLUS.join(origin.where for origin in self.origins)

    @property
    def divided(self) -> bool:
        return all(origin.divided for origin in self.origins)

    @property
    def takes(self) -> tuple[str, ...]:
        return ("sources", *{option for origin in self.origins for option in origin.takes})

    def signature(self) -> str:
        signs = "\n".join(origin.signature() for origin in self.origins)
        return hashlib.sha256(signs.encode()).hexdigest()

    def listing(self, options: Options) -> Listing:
        twice = _twice([origin.name for origin in self.origins])
        if options.labels == "sources" and twice is not None:
            raise UserError(
                f"two sources are called {twice}, which can't be two classes; rename or link one"
            )
        parts = [_listed(origin, options) for origin in self.origins]
        if options.labels == "sources":
            parts = [
                replace(part, classes=(origin.name,), labels=np.zeros_like(part.labels))
                for origin, part in zip(self.origins, parts, strict=True)
            ]
        elif options.labelled:
            self._refuse_some_without(parts)
            if not any(part.classes for part in parts):
                console.inform(
                    "none of these sources has classes; --labels sources makes each of them one"
                )
        self._tell_of_splits(parts, options)
        return joined(parts)

    def _refuse_some_without(self, parts: Sequence[Listing]) -> None:
        flat = [o for o, part in zip(self.origins, parts, strict=True) if not part.classes]
        if flat and len(flat) < len(parts):
            raise UserError(
                f"{flat[0].where} has no classes and others have; give it class folders, make each "
                "source a class with --labels sources, or do without with --labels none"
            )

    def _tell_of_splits(self, parts: Sequence[Listing], options: Options) -> None:
        lacking = [o for o, part in zip(self.origins, parts, strict=True) if part.splits is None]
        own = [part for part in parts if part.splits is not None and part.settled is None]
        if options.split is None and lacking and own:
            console.inform(
                f"{lacking[0].where} has no splits, so those of the others are given up, and all "
                "is divided anew"
            )


def _listed(origin: Origin, options: Options) -> Listing:
    """Its pictures, by the options that it heeds; each is called by its source too."""
    unheeded = {"label_by": (), "every": None}
    given_up = {name: usual for name, usual in unheeded.items() if name not in origin.takes}
    found = origin.listing(options.model_copy(update=given_up))
    return replace(
        found,
        names=[f"{origin.name}/{name}" for name in found.names],
        left_aside=tuple(f"{origin.name}/{name}" for name in found.left_aside),
        rejected=tuple(replace(r, file=f"{origin.name}/{r.file}") for r in found.rejected),
    )


def several(origins: Sequence[Origin]) -> Origin:
    """Raises UserError where two are the same."""
    if len(origins) == 1:
        return origins[0]
    twice = _twice([origin.where for origin in origins])
    if twice is not None:
        raise UserError(f"{twice} is given twice; give each source once")
    return Several(tuple(origins))


def _twice(names: Sequence[str]) -> str | None:
    return next((name for name in names if names.count(name) > 1), None)


def joined(parts: Sequence[Listing]) -> Listing:
    """One listing after the other; classes of one name are one, and splits are kept if all have
    them."""
    labels, classes = _united(parts)
    splits: Splits = None
    if all(part.splits is not None for part in parts):
        splits = np.concatenate([part.splits for part in parts if part.splits is not None])
    return Listing(
        names=[name for part in parts for name in part.names],
        labels=labels,
        splits=splits,
        classes=classes,
        parts=tuple(each for part in parts for each in part.parts),
        ignored=dict(sum((Counter(part.ignored) for part in parts), Counter[str]())),
        left_aside=tuple(name for part in parts for name in part.left_aside),
        rejected=tuple(rejection for part in parts for rejection in part.rejected),
        settled=_settled(parts),
    )


def _settled(parts: Sequence[Listing]) -> Splits:
    if all(part.settled is None for part in parts):
        return None
    free = [np.full(len(part.labels), FREE, np.uint8) for part in parts]
    pairs = zip(parts, free, strict=True)
    return np.concatenate([own if part.settled is None else part.settled for part, own in pairs])


def _united(parts: Sequence[Listing]) -> tuple[Labels, tuple[str, ...]]:
    """In natural order where each has its classes so, else as they come."""
    names = dict.fromkeys(name for part in parts for name in part.classes)
    classes = tuple(names)
    if all(in_order(part.classes) for part in parts):
        classes = tuple(sorted(names, key=lambda name: natural((name,))))
    position = {name: i for i, name in enumerate(classes)}
    new = [np.array([position[name] for name in part.classes], np.int64) for part in parts]
    pairs = zip(new, parts, strict=True)
    labels = [to[part.labels] if len(to) else part.labels for to, part in pairs]
    return np.concatenate(labels), classes
