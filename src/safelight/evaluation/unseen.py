"""The kinds of metric that no feature network is asked for: of pictures that came back, and of a
model's own density."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from safelight.config import Likelihood
from safelight.errors import TooFewImages
from safelight.evaluation import fidelity, likelihood
from safelight.evaluation.estimate import Estimate, by_class
from safelight.evaluation.fidelity import require_restoring, restored
from safelight.evaluation.likelihood import labels_for, mean_interval, require_likelihood
from safelight.evaluation.moments import Floats
from safelight.evaluation.plan import Side
from safelight.evaluation.protocol import Protocol, software
from safelight.images import ImageSource, spelled


@dataclass(frozen=True)
class Fidelity:
    """The row for how well pictures come back, picture by picture."""

    metric: str = "psnr"

    def check(self, side: Side) -> None:
        """Raises UserError, before any image is made."""
        require_restoring(side.source)
        if len(side) < 2:
            raise TooFewImages(f"psnr needs at least 2 images, got {len(side)}; give a larger -n")

    def estimate(self, side: Side, seed: int) -> Estimate:
        source = require_restoring(side.source)
        mean = mean_interval(restored(source, side.seeds))
        how = Protocol(
            metric=self.metric,
            parameters="10 log10(255² / mean square error) of 256 levels, at most 100; mean over "
            "pictures",
            network="none",
            dimension=math.prod(source.shape),
            weights="",
            resize="none",
            image=spelled(source.shape),
            generated=len(side),
            reference=len(side),
            reference_fingerprint=source.pictures.fingerprint,
            seed=seed,
            reference_name=source.pictures.name,
            floor_images="none: each picture is compared with itself",
            software=software(),
        )
        ends = mean.low, mean.high
        return Estimate(
            "PSNR (dB)",
            mean.value,
            *ends,
            n=len(side),
            interval=fidelity.METHOD,
            floor=None,
            protocol=how,
        )


@dataclass(frozen=True)
class BitsPerDimension:
    """The row for a model's likelihood of real images, by every method that it has."""

    metric: str = "bpd"

    def check(
        self, source: ImageSource, side: Side, parts: Sequence[Side], options: Likelihood
    ) -> None:
        """Raises UserError, before anything is computed."""
        require_likelihood(source).likelihoods(options)
        labels_for(source, side)
        for part in parts:
            if len(part) < 2:
                raise TooFewImages(
                    f"the class {part.of_class}: bits per dimension need at least 2 images, got "
                    f"{len(part)}; give a larger -n, or leave --per-class out"
                )

    def estimates(
        self,
        source: ImageSource,
        side: Side,
        parts: Sequence[Side],
        options: Likelihood,
        seed: int,
    ) -> list[Estimate]:
        """parts: of the side's images those of a class, which get a number of their own."""
        measures = require_likelihood(source).likelihoods(options)
        found = likelihood.bits(measures, side, labels_for(source, side), seed)
        return [
            self._estimate(name, measures[name].parameters, values, part, seed)
            for name, every in found.items()
            for part, values in [(p, every[np.isin(side.seeds, p.seeds)]) for p in (side, *parts)]
        ]

    def _estimate(
        self, name: str, parameters: str, values: Floats, side: Side, seed: int
    ) -> Estimate:
        mean = mean_interval(values)
        how = Protocol(
            metric=self.metric,
            parameters=parameters,
            network="the model's own density",
            dimension=math.prod(side.source.shape),
            weights="",
            resize="none",
            image=spelled(side.source.shape),
            generated=0,
            reference=len(side),
            reference_fingerprint=side.fingerprint,
            seed=seed,
            reference_name=side.name,
            floor_images="none: real images are what is judged",
            software=software(),
        )
        ends = mean.low, mean.high
        return Estimate(
            f"{by_class('bits per dimension', side.of_class)} ({name})",
            mean.value,
            *ends,
            n=len(side),
            interval=likelihood.METHOD,
            floor=None,
            protocol=how,
        )
