"""What an evaluation's images are looked at with: every image once, by every network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from safelight.console import inform
from safelight.errors import TooFewImages, UserError
from safelight.evaluation.accuracy import Judge
from safelight.evaluation.copying import Copying
from safelight.evaluation.cost import announce
from safelight.evaluation.estimate import Estimate
from safelight.evaluation.features import FEATURES, Material
from safelight.evaluation.kinds import Distance, Score, Share
from safelight.evaluation.moments import SideFeatures
from safelight.evaluation.network import Network
from safelight.evaluation.plan import Plan, Side
from safelight.evaluation.signature import signature
from safelight.evaluation.store import Looked, ahead, looked_at

Key = tuple[str, str, str]  # of a network: see `Network.key`


@dataclass(frozen=True)
class _Measured:
    """A metric of the images of one plan, which these allow, and the network that it asks."""

    row: Distance | Score | Copying
    network: Network
    sides: Plan


@dataclass(frozen=True)
class Bench:
    """What images are looked at with. strict: what is asked for must be had, or it is an error."""

    sides: Plan
    parts: Sequence[Plan]  # of a class each
    material: Material
    features: str  # the row of FEATURES that was asked for
    batch: int
    strict: bool

    def estimates(self, rows: Sequence[Distance | Score | Copying | Share]) -> list[Estimate]:
        """Those that these images allow; raises UserError where that is none."""
        shares = [row for row in rows if isinstance(row, Share) and self._judgeable(row)]
        measured = self._measured([row for row in rows if not isinstance(row, Share)])
        if not shares and not measured:
            raise UserError(
                f"no metric can be had of {self.sides.generated.source.name} with these images, "
                "for the reasons above; give more images, or a larger -n"
            )
        judges = {row.judge: row.judge(self.material) for row in shares}
        looked = self._look(measured, list(judges.values()))
        found = [m.row.estimate(m.sides, m.network, looked(m.sides, m.network)) for m in measured]
        for kind, judge in judges.items():
            said = judge.verdict(self.sides, looked(self.sides, judge.network))
            rows_of = [row for row in shares if row.judge == kind]
            found += [held for row in rows_of for held in row.estimates(self.sides, judge, said)]
        return found

    def _measured(self, rows: Sequence[Distance | Score | Copying]) -> list[_Measured]:
        """Those that these images allow, of all and of each class."""
        named = [(r, name) for r in rows for name in r.networks(self.features, self.material.shape)]
        networks = {name: FEATURES[name](self.material) for _, name in named}
        asked = [(row, networks[name]) for row, name in named]
        return [
            _Measured(row, network, sides)
            for row, network in asked
            if self._allows(partial(row.check, self.sides, network))
            for sides in (self.sides, *self._allowed_parts(row, network))
        ]

    def _allowed_parts(self, row: Distance | Score | Copying, network: Network) -> list[Plan]:
        """The classes that have images enough; what is left out is said once for all of them."""
        refused: dict[str, list[str]] = {}
        for part in self.parts:
            try:
                row.check(part, network)
            except TooFewImages as refusal:
                if self.strict:
                    raise TooFewImages(f"the class {part.of_class}: {refusal}") from None
                refused.setdefault(str(refusal), []).append(part.of_class)
        for reason, names in refused.items():
            inform(f"left out of {', '.join(names)}: {reason}")
        without = {name for names in refused.values() for name in names}
        return [part for part in self.parts if part.of_class not in without]

    def _judgeable(self, row: Share) -> bool:
        return self._allows(partial(row.require, self.sides, self.material.train))

    def _allows(self, check: Callable[[], None]) -> bool:
        """Whether a metric can be had of these images."""
        try:
            check()
        except UserError as refusal:
            if self.strict:
                raise
            inform(f"left out: {refusal}")
            return False
        return True

    def _look(
        self, measured: Sequence[_Measured], judges: Sequence[Judge]
    ) -> Callable[[Plan, Network], SideFeatures]:
        """Look at every image once with every network; the result gives a network's features."""
        # Several may ask the same network: one entry then.
        wanted = {each.network.key: each.network for each in measured}
        seen = [signature(), *(judge.network for judge in judges)]  # the former for the guards
        wanted |= {network.key: network for network in seen}
        within = [each.sides for each in measured]
        plans = [self.sides, *(part for part in self.parts if part in within)]
        # Of those who learnt from other real images the floor is the reference, of copying the
        # held-out pictures.
        copying = {m.network.key: m.network for m in measured if isinstance(m.row, Copying)}
        others = {m.network.key: m.network for m in measured if not isinstance(m.row, Copying)}
        others |= {judge.network.key: judge.network for judge in judges if judge.needs_stand_in}
        passes = (
            ([p.generated for p in plans], wanted),
            ([p.reference for p in plans], wanted),
            ([p.stand_in for p in plans if p.stand_in], others),
            ([p.learnt.training for p in plans if p.learnt], copying),
        )
        announce(
            [part for each, by in passes for part in ahead(each, [*by.values()], *self._where)]
        )
        generated, reference, stand_in, training = (self._looked_at(*each) for each in passes)

        def features(sides: Plan, held: Network) -> SideFeatures:
            pool = sides.stand_in if held.key in stand_in else None
            learnt = sides.learnt if held.key in training else None
            return SideFeatures(
                generated[held.key].of(sides.generated),
                reference[held.key].of(sides.reference),
                None if pool is None else stand_in[held.key].of(pool),
                None if learnt is None else training[held.key].of(learnt.training),
                None if learnt is None else reference[held.key].of(learnt.held_out),
            )

        return features

    @property
    def _where(self) -> tuple[Path, int]:
        """Where features are kept, and of how many images at once."""
        return self.material.store, self.batch

    def _looked_at(
        self, sides: Sequence[Side], networks: Mapping[Key, Network]
    ) -> dict[Key, Looked]:
        """By network; nothing where there is none."""
        if not networks:
            return {}
        found = looked_at(sides, list(networks.values()), *self._where)
        return dict(zip(networks, found, strict=True))
