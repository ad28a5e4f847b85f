"""The table of metrics. A new one that looks at features is a module and a row here."""

from __future__ import annotations

from safelight.evaluation import accuracy, frechet, kernel
from safelight.evaluation.kinds import BitsPerDimension, Distance, Fidelity, Score, Share

Metric = Distance | Score | Share | Fidelity | BitsPerDimension

METRICS: dict[str, Metric] = {
    row.metric: row
    for row in (
        Distance(
            "fd",
            "FD",
            "means and covariances (n - 1) in float64",
            frechet.METHOD,
            frechet.frechet,
            frechet.require_full_rank,
            published_name="FID",
        ),
        Distance(
            "kid",
            "KID",
            kernel.PARAMETERS,
            kernel.METHOD,
            kernel.kernel_distance,
            kernel.require_enough,
            published_name="KID",
        ),
        Share("accuracy", accuracy.overall),
        Share("accuracy-per-class", accuracy.per_class),
        Fidelity("psnr"),
        BitsPerDimension("bpd"),
    )
}
USUAL = ("fd", "kid", "accuracy")  # what is measured unless named, where the images allow it


def of_the_network_asked(metric: str) -> bool:
    """Whether --features decides its value."""
    row = METRICS[metric]
    return isinstance(row, Distance | Score) and not row.network
