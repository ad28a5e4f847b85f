"""What sees what: real images of which a share was replaced, judged by every distance and guard.

    python benchmarks/power.py CACHE [--n 2000] [--features efficientnet-lite0,classifier,pixels]
                               [--out power.json]

CACHE: CIFAR-10 or another set with classes and the splits train and test. n test images are the
reference, n others are judged after 0, 1, 2, 5 and 10 % of them gave way to noise, to their own
blurred selves, to images of one class, to training pictures, to one picture again and again. A
distance sees a share where the interval of its difference from the floor (n training pictures
against the same reference) lies on the worse side of zero. Each image is looked at once by each
network. Prints a table with the least share that each distance and guard sees, and writes JSON.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from safelight.console import progress
from safelight.data.cache import Cache
from safelight.data.places import user_cache
from safelight.errors import UserError
from safelight.evaluation.estimate import READINGS, Interval, Reading
from safelight.evaluation.evidence import Evidence, Looks
from safelight.evaluation.features import FEATURES, Material
from safelight.evaluation.guards import findings
from safelight.evaluation.kinds import Distance
from safelight.evaluation.metrics import METRICS
from safelight.evaluation.network import Network
from safelight.evaluation.plan import Side
from safelight.evaluation.signature import Signatures, signature
from safelight.evaluation.store import features_of
from safelight.files import write_json
from safelight.seeding import generator

SHARES = (0.0, 0.01, 0.02, 0.05, 0.10)
FAULTS = ("noise", "blur", "one class", "training pictures", "one picture")
BATCH = 64


@dataclass(frozen=True)
class Held:
    """Pictures in memory; a side of them has a fingerprint of its own."""

    name: str
    pixels: Tensor
    targets: Tensor
    classes: tuple[str, ...]

    @property
    def fingerprint(self) -> str:
        return f"{self.name} {hashlib.sha256(self.pixels.numpy().tobytes()).hexdigest()}"

    @property
    def shape(self) -> tuple[int, int, int]:
        c, h, w = self.pixels.shape[1:]
        return c, h, w

    @property
    def count(self) -> int:
        return len(self.pixels)

    def images(self, seeds: Sequence[int], labels: Tensor | None = None) -> Tensor:
        return self.pixels[torch.tensor(seeds)]

    def labels(self, seeds: Sequence[int]) -> Tensor:
        return self.targets[torch.tensor(seeds)]


@dataclass(frozen=True)
class Pictures:
    """All that is looked at, and where it stands: rows of `held`."""

    held: Held
    reference: np.ndarray
    floor: np.ndarray
    judged: np.ndarray
    faults: dict[str, np.ndarray]

    def with_fault(self, fault: str, share: float) -> np.ndarray:
        """The judged images, the first of which gave way."""
        k = round(share * len(self.judged))
        return np.concatenate([self.faults[fault][:k], self.judged[k:]])


def pictures(train: Cache, test: Cache, n: int) -> Pictures:
    """The same for every call: the draws come of one seed."""
    rng, most = generator(0, "power"), round(max(SHARES) * n)
    tested = torch.randperm(test.count, generator=rng).tolist()
    trained = torch.randperm(train.count, generator=rng).tolist()
    spare, labels = tested[2 * n :], test.labels(range(test.count))
    of_class = [i for i in spare if labels[i] == 0][:most]
    if len(of_class) < most:
        raise UserError(f"{test.name} has too few images of {test.classes[0]}; give a smaller --n")
    judged = test.images(tested[n : 2 * n])
    replaced = test.labels(tested[n : n + most])
    noise = torch.randint(0, 256, (most, *test.shape), generator=rng, dtype=torch.uint8)
    blurred = F.avg_pool2d(judged[:most].float(), 3, 1, 1, count_include_pad=False).round().byte()
    parts = [
        (test.images(tested[:n]), test.labels(tested[:n])),
        (train.images(trained[:n]), train.labels(trained[:n])),
        (judged, test.labels(tested[n : 2 * n])),
        (noise, replaced),
        (blurred, replaced),
        (test.images(of_class), test.labels(of_class)),
        (train.images(trained[n : n + most]), train.labels(trained[n : n + most])),
    ]
    ends = np.cumsum([0, *(len(images) for images, _ in parts)])
    rows = [np.arange(a, b) for a, b in itertools.pairwise(ends)]
    again = np.full(most, rows[2][-1])  # the last judged picture, which stays
    return Pictures(
        Held(
            "power",
            torch.cat([images for images, _ in parts]),
            torch.cat([targets for _, targets in parts]),
            test.classes,
        ),
        rows[0],
        rows[1],
        rows[2],
        dict(zip(FAULTS, [*rows[3:], again], strict=True)),
    )


def features(held: Held, network: Network) -> np.ndarray:
    (found,) = features_of(held, range(held.count), [network], user_cache(), BATCH)
    return found[: held.count]


def worse(metric: str, fault: Interval, floor: Interval) -> bool:
    """Whether the interval of fault - floor, as of two samples, lies on the worse side of zero."""
    if READINGS.get(metric, Reading()).higher:
        return floor.value - fault.value > math.hypot(
            floor.value - floor.low, fault.high - fault.value
        )
    return fault.value - floor.value > math.hypot(fault.value - fault.low, floor.high - floor.value)


def measured(chosen: Pictures, network: Network, rows: Sequence[Distance]) -> list[dict[str, Any]]:
    """Every distance on one network: its value at each share of each fault, and whether it sees."""
    held, found = features(chosen.held, network), []
    for row in rows:
        try:
            row.require(len(chosen.judged), len(chosen.reference), network.dimension)
        except UserError:
            continue
        reference = held[chosen.reference]
        floor = row.measure(held[chosen.floor], reference)
        clean = row.measure(held[chosen.judged], reference)
        with progress(f"{row.metric} ({network.name})", len(FAULTS) * len(SHARES)) as advance:
            for fault in FAULTS:
                for share in SHARES:
                    images = held[chosen.with_fault(fault, share)]
                    value = row.measure(images, reference) if share else clean
                    found.append(
                        {
                            "sees": f"{row.metric} ({network.name})",
                            "fault": fault,
                            "share": share,
                            "value": [value.value, value.low, value.high],
                            "floor": [floor.value, floor.low, floor.high],
                            "seen": worse(row.metric, value, floor),
                        }
                    )
                    advance()
    return found


def guarded(chosen: Pictures, train: Cache) -> list[dict[str, Any]]:
    """What the guards say of each share of each fault."""
    held = features(chosen.held, signature())
    (kept,) = features_of(train, range(train.count), [signature()], user_cache(), BATCH)
    training = Looks(Side(train, range(train.count)), Signatures(kept))

    def looks(name: str, rows: np.ndarray) -> Looks:
        source = Held(name, chosen.held.pixels, chosen.held.targets, chosen.held.classes)
        return Looks(Side(source, rows.tolist()), Signatures(held[rows]))

    found = []
    for fault in FAULTS:
        for share in SHARES:
            judged = looks("judged", chosen.with_fault(fault, share))
            evidence = Evidence(judged, looks("reference", chosen.reference), training)
            said = {each.guard: each.text for each in findings(evidence)}
            found.append({"sees": "guards", "fault": fault, "share": share, "said": said})
    return found


def table(found: Sequence[dict[str, Any]]) -> str:
    """Markdown: the least share that is seen, by fault."""
    lines = ["| | " + " | ".join(FAULTS) + " | nothing |", "| --- |" + " --- |" * (len(FAULTS) + 1)]
    for name in dict.fromkeys(each["sees"] for each in found if "seen" in each):
        mine = [each for each in found if each["sees"] == name]
        seen = [(e["fault"], e["share"]) for e in mine if e["seen"]]
        clear = "seen" if any(share == 0 for _, share in seen) else "no"
        lines.append(f"| {name} | " + " | ".join(least(seen, f) for f in FAULTS) + f" | {clear} |")
    guards = [each for each in found if each["sees"] == "guards"]
    for name in dict.fromkeys(guard for each in guards for guard in each["said"]):
        seen = [(e["fault"], e["share"]) for e in guards if name in e["said"]]
        clear = "seen" if any(share == 0 for _, share in seen) else "no"
        lines.append(
            f"| guard: {name} | " + " | ".join(least(seen, f) for f in FAULTS) + f" | {clear} |"
        )
    return "\n".join(lines)


def least(seen: Sequence[tuple[str, float]], fault: str) -> str:
    """From which share on each one is seen, in words."""
    shares = {share for name, share in seen if name == fault}
    for i, share in enumerate(SHARES[1:], 1):
        if set(SHARES[i:]) <= shares:
            return f"{share:.0%}"
    return "–"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--n", type=int, default=2_000)
    parser.add_argument("--features", default="efficientnet-lite0,classifier,pixels")
    parser.add_argument("--out", type=Path, default=Path("power.json"))
    options = parser.parse_args()
    train, test = (Cache.open(options.cache, split) for split in ("train", "test"))
    chosen = pictures(train, test, options.n)
    found = guarded(chosen, train)
    distances = [row for row in METRICS.values() if isinstance(row, Distance)]
    asked = options.features.split(",")
    for name in dict.fromkeys([*asked, *(row.network for row in distances if row.network)]):
        network = FEATURES[name](Material(test.shape, train, user_cache()))
        rows = [r for r in distances if r.network == name or (not r.network and name in asked)]
        found += measured(chosen, network, rows)
        write_json(options.out, found)
    print(table(found))
    print(json.dumps({"n": options.n, "rows": len(found), "file": str(options.out)}))


if __name__ == "__main__":
    main()
