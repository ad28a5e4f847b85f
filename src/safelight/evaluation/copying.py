"""The kind of metric that asks whether a generator copies what it learnt from."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from safelight.errors import UserError
from safelight.evaluation import memorisation
from safelight.evaluation.estimate import Estimate, Interval
from safelight.evaluation.features import MOST_VALUES
from safelight.evaluation.kinds import OnFeatures
from safelight.evaluation.memorisation import Beside
from safelight.evaluation.moments import SideFeatures
from safelight.evaluation.network import Network
from safelight.evaluation.plan import Plan


@dataclass(frozen=True)
class Copying(OnFeatures):
    """A row for a share of images by their nearest training and held-out pictures.

    On the network that was asked for and on the pixels, unless they are too many. Its floor is the
    same of the held-out pictures, each beside the others.
    """

    share: Callable[[Beside], Interval]

    def networks(self, asked: str, shape: tuple[int, int, int]) -> tuple[str, ...]:
        """Not the classifier: it was trained on these very pictures, and tells them from others.

        Raises UserError where nothing is left.
        """
        names = [name for name in (asked, "pixels") if name != "classifier"]
        if math.prod(shape) > MOST_VALUES and asked != "pixels":
            names.remove("pixels")
        if not names:
            raise UserError(
                f"{self.metric} can't be told by a classifier that was trained on these pictures, "
                "nor by the pixels of such large ones; use --features efficientnet-lite0"
            )
        return tuple(dict.fromkeys(names))

    def check(self, plan: Plan, network: Network) -> None:
        """Raises UserError, before any image is made."""
        if plan.learnt is None:
            raise UserError(
                f"{self.metric} needs the pictures that a generator learnt from, and "
                f"{plan.generated.source.name} does not say which; name them with --train "
                "CACHE:train"
            )
        memorisation.require_enough(len(plan.learnt.held_out))

    def estimate(self, plan: Plan, network: Network, features: SideFeatures) -> Estimate:
        training, held_out, learnt = features.training, features.held_out, plan.learnt
        if training is None or held_out is None or learnt is None:  # a fault of ours: see `check`
            raise ValueError("no training pictures were looked at")
        found = memorisation.beside(features.generated, training, held_out)
        floor = memorisation.held_out_beside(training, held_out)
        real = f"the {len(learnt.held_out):,} held-out pictures, each beside the others"
        told = replace(self, parameters=f"{self.parameters}; {learnt.describe()}")
        sides = replace(plan, reference=learnt.held_out)
        return told._estimate(sides, network, self.share(found), self.share(floor), real)
