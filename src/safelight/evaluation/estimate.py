"""The only form in which a number leaves this package: with interval, floor and protocol."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from safelight.errors import DamagedFile
from safelight.evaluation.finding import Finding
from safelight.evaluation.protocol import Protocol

Z = 1.959963984540054  # the normal distribution's quantile at 0.975: every interval is 95 %

# NAME[CLASS] (NETWORK), as `by_class` writes it.
OF_CLASS = re.compile(r"([^\[]*)\[(.*)\](.*)", re.DOTALL)
COVERS = (
    "Intervals are 95 % and cover the sampling of images only: a second training of the "
    "same model would move the values further than they say."
)
COVERS_RETRAINING = (
    "Intervals of several trainings are 95 % and cover retraining with another seed, and the "
    "sampling of images."
)
COVERS_SINGLE = (
    "Those of a single training, or of images alone, cover the sampling of images only; set "
    "against several trainings it is taken to vary as those do."
)


Curve = tuple[tuple[int, float], ...]  # a number at several counts of images: (n, value), n rising


@dataclass(frozen=True)
class Interval:
    """A value and its 95 % interval. Not finite, or not in order: ValueError (a fault of ours).

    curve: what the value was extrapolated from, if it was.
    """

    value: float
    low: float
    high: float
    curve: Curve = ()

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (self.value, self.low, self.high))):
            raise ValueError(f"an interval that is not finite: {self}")
        if not self.low <= self.value <= self.high:
            raise ValueError(f"an interval that does not hold its value: {self}")

    def through(self, increasing: Callable[[float], float]) -> Interval:
        """The interval of an increasing function of the value; it covers as often."""
        return Interval(increasing(self.value), increasing(self.low), increasing(self.high))


def normal_interval(value: float, variance: float, at_least: float = -math.inf) -> Interval:
    """value ± 1.96 standard errors, cut off at `at_least` (a distance is never negative)."""
    reach = Z * math.sqrt(variance)
    return Interval(value, max(value - reach, at_least), value + reach)


def _number(value: float) -> str:
    return f"{value:.1f}" if 100 <= abs(value) < 1e6 else f"{value:.3g}"


def _percent(value: float) -> str:
    return f"{value:.1%}".replace("%", " %")


def _points(value: float) -> str:
    return f"{100 * value:.1f}"


@dataclass(frozen=True)
class Reading:
    """How people read the values of a metric: as what, and whether higher is better.

    apart: how the difference of two is read, and its unit.
    """

    show: Callable[[float], str] = _number
    higher: bool = False

    @property
    def apart(self) -> tuple[Callable[[float], str], str]:
        return (_points, " points") if self.show is _percent else (self.show, "")


# Of the metrics that are not read as most are: numbers of three digits, the lower the better.
READINGS: Mapping[str, Reading] = {
    **{
        name + per_class: Reading(_percent, higher=True)
        for name in ("accuracy", "svc", "cas")
        for per_class in ("", "-per-class")
    },
    **{name: Reading(_percent, higher=True) for name in ("precision", "recall", "coverage")},
    "density": Reading(higher=True),
    "psnr": Reading(higher=True),
    "is": Reading(higher=True),
    "vendi": Reading(higher=True),
    "lpips": Reading(higher=True),
    "memorisation": Reading(_percent),
    "near-copies": Reading(_percent),
    "bpd": Reading(lambda value: f"{value:.3f}"),
}


def by_class(name: str, of_class: str) -> str:
    """The name of a metric's number of one class; of all classes where `of_class` is empty."""
    return f"{name}[{of_class}]" if of_class else name


@dataclass(frozen=True)
class Estimate:
    """A number that can be stood behind.

    n: images behind it, generated ones or, of a likelihood, real ones. interval: the method behind
    low and high, in words. floor: the same number for real images against real images at the same
    counts; None where there were too few, or it has no meaning: protocol.floor_images says which.
    curve: of an extrapolated number, what it comes from. Records of older versions have none.
    """

    name: str
    value: float
    low: float
    high: float
    n: int
    interval: str
    floor: Interval | None
    protocol: Protocol
    curve: Curve = ()

    @property
    def of_class(self) -> str:
        """The class whose images it is of; empty: of all."""
        found = OF_CLASS.fullmatch(self.name)
        return found[2] if found else ""

    @property
    def overall(self) -> str:
        """The name of the same number of all classes."""
        return OF_CLASS.sub(r"\1\3", self.name)

    def show(self, value: float) -> str:
        """A value of this metric as people read it."""
        return self._reading.show(value)

    def show_apart(self, apart: Interval) -> str:
        """A difference of two values of this metric, with its interval."""
        show, unit = self._reading.apart
        return f"{show(apart.value)}{unit} [{show(apart.low)}, {show(apart.high)}]"

    @property
    def higher_is_better(self) -> bool:
        return self._reading.higher

    @property
    def span(self) -> tuple[float, float]:
        """Between which values it can lie: a share between 0 and 1."""
        return (0.0, 1.0) if self._reading.show is _percent else (-math.inf, math.inf)

    @property
    def _reading(self) -> Reading:
        return READINGS.get(self.protocol.metric, Reading())

    def __str__(self) -> str:
        floor = (
            f"real images: {self.show(self.floor.value)} "
            f"[{self.show(self.floor.low)}, {self.show(self.floor.high)}]"
            if self.floor
            else f"real images: {self.protocol.floor_images}"
        )
        return (
            f"{self.name} {self.show(self.value)} [{self.show(self.low)}, {self.show(self.high)}]; "
            f"{floor}; n = {self.n:,}; protocol {self.protocol.hash}"
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "n": self.n,
            "interval": self.interval,
            "floor": asdict(self.floor) if self.floor else None,
            "protocol": self.protocol.to_json(),
            "curve": self.curve,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Estimate:
        held = _with_curve(value)
        floor, protocol = held.pop("floor"), held.pop("protocol")
        return cls(
            **held,
            floor=Interval(**_with_curve(floor)) if floor else None,
            protocol=Protocol.from_json(protocol),
        )


def _with_curve(value: Mapping[str, Any]) -> dict[str, Any]:
    """The same, its curve as it was before JSON made lists of it."""
    return {**value, "curve": tuple((int(n), float(held)) for n, held in value.get("curve", ()))}


@dataclass(frozen=True)
class Evaluation:
    """All that one `evaluate` found. source, against: names; created: ISO 8601, UTC.

    fingerprint: of the source. drawn: how its images were drawn, in words, and sampling: the
    options that say so; both empty where none were. likelihood: the options of bits per dimension,
    empty where they were not measured. trained: the options that name a run's weights. findings:
    what is wrong with the images. Records of older versions may have none of these.
    """

    source: str
    against: str
    created: str
    estimates: tuple[Estimate, ...]
    fingerprint: str = ""
    drawn: str = ""
    sampling: Mapping[str, Any] = field(default_factory=dict)
    likelihood: Mapping[str, Any] = field(default_factory=dict)
    trained: Mapping[str, str] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "against": self.against,
            "created": self.created,
            "fingerprint": self.fingerprint,
            "drawn": self.drawn,
            "sampling": dict(self.sampling),
            "likelihood": dict(self.likelihood),
            "trained": dict(self.trained),
            "findings": [finding.to_json() for finding in self.findings],
            "estimates": [estimate.to_json() for estimate in self.estimates],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Evaluation:
        """The evaluation that `to_json` wrote; raises DamagedFile where it can't be that.

        The message goes on from the name of what holds it.
        """
        try:
            estimates = tuple(Estimate.from_json(held) for held in value["estimates"])
            return cls(
                value["source"],
                value["against"],
                value["created"],
                estimates,
                value.get("fingerprint", ""),
                value.get("drawn", ""),
                value.get("sampling", {}),
                value.get("likelihood", {}),
                value.get("trained", {}),
                tuple(Finding.from_json(held) for held in value.get("findings", ())),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DamagedFile("is incomplete or was edited") from error


def parsed(records: Sequence[Mapping[str, Any]], file: Path) -> tuple[Evaluation, ...]:
    """The evaluations that `file` holds; raises DamagedFile naming it and the first bad one."""
    found = []
    for number, record in enumerate(records, 1):
        try:
            found.append(Evaluation.from_json(record))
        except DamagedFile as error:
            raise DamagedFile(
                f"{file}: evaluation {number} of {len(records)} {error}; move the file away, and "
                "run `safelight evaluate` again"
            ) from error
    return tuple(found)


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
