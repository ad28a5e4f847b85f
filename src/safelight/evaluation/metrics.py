"""The table of metrics. A new one that looks at features is a module and a row here."""

from __future__ import annotations

from safelight.evaluation import accuracy, extrapolate, frechet, kernel, training_score
from safelight.evaluation.classifier import Classifier, classifier, labelled
from safelight.evaluation.features import Material
from safelight.evaluation.kinds import BitsPerDimension, Distance, Fidelity, Score, Share
from safelight.evaluation.support import support_vectors
from safelight.evaluation.training_score import learner, require_taught
from safelight.images import ImageSource

Metric = Distance | Score | Share | Fidelity | BitsPerDimension


def learnt_classifier(material: Material) -> Classifier:
    return classifier(material.train, material.store)


def require_learnable(source: ImageSource, against: ImageSource, train: ImageSource | None) -> None:
    """Raise UserError where no classifier can learn from `train` to judge `source`."""
    accuracy.require_judgeable(source, against, train)
    accuracy.require_classes(source, train)
    labelled(train)


JUDGED = (
    Share("accuracy", "accuracy", learnt_classifier, require_learnable),
    Share("svc", "SVC accuracy", support_vectors, require_learnable),
    Share("cas", "CAS", learner, require_taught, training_score.METHOD),
)
ROWS: tuple[Metric, ...] = (
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
        "fd-infinity",
        "FD at infinity",
        extrapolate.PARAMETERS,
        extrapolate.METHOD,
        extrapolate.frechet_at_infinity,
        extrapolate.require_three_quarters,
        published_name="FID at infinity",
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
    *JUDGED,
    *(row.of_each_class() for row in JUDGED),
    Fidelity("psnr"),
    BitsPerDimension("bpd"),
)
METRICS = {row.metric: row for row in ROWS}
USUAL = ("fd", "kid", "accuracy")  # what is measured unless named, where the images allow it


def of_the_network_asked(metric: str) -> bool:
    """Whether --features decides its value."""
    row = METRICS[metric]
    return isinstance(row, Distance | Score) and not row.network
