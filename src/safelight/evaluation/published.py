"""Figures that papers publish, and whether one's own may be set beside them.

All are Fréchet distances on the Inception of 2015-12-05 with its own resize, as computed by the
papers' own code. None comes with an interval. Counts are None where no source for them was found:
nothing is comparable then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from rich.table import Table
from rich.text import Text

from safelight.errors import UserError, lookup
from safelight.evaluation.compare import Comparison
from safelight.evaluation.estimate import Estimate
from safelight.evaluation.pretrained import INCEPTION
from safelight.evaluation.resizes import RESIZES, USUAL

METRIC, NETWORK = "fd", "inception"


@dataclass(frozen=True)
class Published:
    """An FID of a paper.

    conditional: whether the model was told classes. generated, reference: images on each side;
    split: of `data`, which the reference was. image: channels x width x height.
    """

    data: str
    image: str
    split: str
    model: str
    value: float
    source: str
    conditional: bool
    generated: int | None = None
    reference: int | None = None
    note: str = ""

    @property
    def called(self) -> str:
        return f"{self.model}, {'conditional' if self.conditional else 'unconditional'}"

    def differences(self, own: Estimate) -> list[str]:
        """How one's own number was measured otherwise; empty where the two can be compared.

        Which pictures the reference are is told by their name, their number and their size.
        """
        how = own.protocol
        checks = (
            (how.metric != METRIC, f"{own.name} instead of FID"),
            (how.network != NETWORK, f"{how.network} instead of {NETWORK}"),
            (
                how.network == NETWORK and not how.weights.startswith(INCEPTION.begins),
                f"other weights of {NETWORK} than the published ones",
            ),
            (
                how.network == NETWORK and how.resize != RESIZES[USUAL].text,
                f"resize {how.resize} instead of {RESIZES[USUAL].text}",
            ),
            (how.image != self.image, f"images of {how.image} instead of {self.image}"),
            (how.generated != self.generated, _counts("generated", how.generated, self.generated)),
            (how.reference != self.reference, _counts("reference", how.reference, self.reference)),
            (not self._is_reference(how.reference_name), self._instead(how.reference_name)),
            (bool(own.of_class), f"the class {own.of_class} alone"),
        )
        return [said for differs, said in checks if differs]

    def _is_reference(self, name: str) -> bool:
        """Not without its split: pictures of all splits are other ones."""
        return _plain(name) == _plain(self.data + self.split)

    def _instead(self, name: str) -> str:
        return f"{name or 'pictures without a name'} instead of {self.data}:{self.split}"


def _counts(side: str, own: int, theirs: int | None) -> str:
    if theirs is None:
        return f"how many {side} images they took is not known"
    return f"{own:,} {side} images instead of {theirs:,}"


def _plain(name: str) -> str:
    """Cifar-10_train -> cifar10train."""
    return "".join(letter for letter in name.lower() if letter.isalnum())


_cifar10 = partial(Published, "cifar10", "3x32x32", "train")
_bedroom = partial(Published, "lsun-bedroom", "3x256x256", "train")
ALL = 50_000  # pictures of CIFAR-10's training split, and the usual number of generated images

PUBLISHED: dict[str, tuple[Published, ...]] = {
    "cifar10": (
        _cifar10("EDM", 1.79, "arXiv:2206.00364, table 2", True, ALL, ALL, "least of three"),
        _cifar10("EDM", 1.97, "arXiv:2206.00364, table 2", False, ALL, ALL, "least of three"),
        _cifar10(
            "score SDE (NCSN++ cont. deep, VE)",
            2.20,
            "arXiv:2011.13456, table 3",
            False,
            ALL,
            ALL,
            "best checkpoint",
        ),
        _cifar10("StyleGAN2-ADA", 2.42, "arXiv:2006.06676, figure 11", True, ALL, ALL),
        _cifar10("StyleGAN2-ADA", 2.92, "arXiv:2006.06676, figure 11", False, ALL, ALL),
        _cifar10("DDPM", 3.17, "arXiv:2006.11239, table 1", False, ALL, ALL),
        _cifar10("improved DDPM (hybrid, cosine)", 3.19, "arXiv:2102.09672, table 2", False),
        _cifar10("NCSNv2", 10.87, "arXiv:2006.09011, table 1", False),
        _cifar10("BigGAN", 14.73, "arXiv:1809.11096, appendix C.2", True),
        _cifar10("SNGAN", 21.7, "arXiv:1802.05957, table 2", False),
        _cifar10("NCSN", 25.32, "arXiv:1907.05600, table 1", False),
    ),
    "lsun-bedroom": (
        _bedroom("StyleGAN", 2.65, "arXiv:1812.04948, figure 10", False),
        _bedroom("DDPM (large)", 4.90, "arXiv:2006.11239, table 3", False),
        _bedroom("progressive GAN", 8.34, "arXiv:1710.10196", False),
    ),
}


@dataclass(frozen=True)
class Beside:
    """Published figures beside one's own number: each with how that was measured otherwise."""

    sources: tuple[str, ...]
    own: Estimate
    figures: tuple[tuple[Published, tuple[str, ...]], ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "beside": self.own.name,
            "of": list(self.sources),
            "protocol": self.own.protocol.hash,
            "figures": [
                {**asdict(figure), "interval": None, "comparable": not reasons, "why": [*reasons]}
                for figure, reasons in self.figures
            ],
        }


def rows(name: str) -> tuple[Published, ...]:
    """Raises UserError for a set of which there are no figures."""
    return lookup(PUBLISHED, name, "set of published figures")


def beside(comparisons: Sequence[Comparison], figures: Sequence[Published]) -> list[Beside]:
    """Each Fréchet distance with the figures; raises UserError where there is none."""
    found = [
        Beside(
            tuple(source for source, _ in each.estimates),
            own := each.estimates[0][1],
            tuple((figure, tuple(figure.differences(own))) for figure in figures),
        )
        for each in comparisons
        if each.estimates[0][1].protocol.metric == METRIC and not each.of_class
    ]
    if not found:
        raise UserError(
            "published figures are FIDs, and these have no Fréchet distance in common; evaluate "
            "them with --metrics fd --features inception"
        )
    return found


def table(found: Beside) -> Table:
    """The figures, each comparable or not; the reasons are numbered and stand below."""
    reasons = list(dict.fromkeys("; ".join(why) for _, why in found.figures if why))
    said = [f"[{i}] {reason}" for i, reason in enumerate(reasons, 1)]
    shown = Table(
        title=Text(f"published FIDs, beside {found.own.name} of {', '.join(found.sources)}"),
        caption=Text("\n".join(("Published without intervals.", *said))),
        caption_justify="left",
        box=None,
        padding=(0, 2),
    )
    for column in ("", "FID", "interval", "comparable"):
        shown.add_column(Text(column), justify="right" if column == "FID" else "left")
    for figure, why in found.figures:
        number = reasons.index("; ".join(why)) + 1 if why else 0
        comparable = f"not comparable [{number}]" if why else "comparable"
        below = ", ".join(filter(None, (figure.source, figure.note)))
        cells = (f"{figure.called}\n{below}", f"{figure.value:.2f}", "none given", comparable)
        shown.add_row(*map(Text, cells))
    return shown


def documented(name: str) -> list[str]:
    """The rows of the table in the documentation."""
    lines = []
    for each in rows(name):
        counts = [f"{n:,}" if n else "not known" for n in (each.generated, each.reference)]
        cells = (each.called, f"{each.value:.2f}", *counts, each.source, each.note)
        lines.append(f"| {' | '.join(cells)} |".replace("|  |", "| |"))
    return lines
