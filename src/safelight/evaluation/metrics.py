"""The table of metrics. A new one that looks at features is a module and a row here."""

from __future__ import annotations

from functools import partial

from safelight.evaluation import (
    accuracy,
    balls,
    diversity,
    extrapolate,
    frechet,
    inception_score,
    kernel,
    manifold,
    memorisation,
    sliced,
    training_score,
    vendi,
)
from safelight.evaluation.classifier import Classifier, classifier, labelled
from safelight.evaluation.copying import Copying
from safelight.evaluation.features import Material
from safelight.evaluation.kernels import CUBIC, ENERGY, GAUSSIAN
from safelight.evaluation.kinds import Distance, Score, Share
from safelight.evaluation.plan import Plan
from safelight.evaluation.support import support_vectors
from safelight.evaluation.training_score import learner, require_taught
from safelight.evaluation.unseen import BitsPerDimension, Fidelity
from safelight.images import ImageSource

Metric = Distance | Score | Copying | Share | Fidelity | BitsPerDimension


def learnt_classifier(material: Material) -> Classifier:
    return classifier(material.train, material.store)


def require_learnable(plan: Plan, train: ImageSource | None) -> None:
    """Raise UserError where no classifier can learn from `train` to judge the generated images."""
    source = plan.generated.source
    accuracy.require_judgeable(source, plan.reference.source, train)
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
        kernel.parameters(CUBIC),
        kernel.METHOD,
        kernel.kernel_distance,
        kernel.require_enough,
        published_name="KID",
        at_most=kernel.AT_MOST,
        scaled=True,
    ),
    Distance(
        "mmd",
        "MMD",
        kernel.parameters(GAUSSIAN),
        kernel.METHOD,
        partial(kernel.kernel_distance, kernel=GAUSSIAN),
        kernel.require_enough,
        at_most=kernel.AT_MOST,
    ),
    Distance(
        "swd",
        "SWD",
        sliced.PARAMETERS,
        sliced.METHOD,
        sliced.sliced_wasserstein,
        sliced.require_quantiles,
        network="pixels",
        at_most=sliced.AT_MOST,
    ),
    *(
        Distance(
            network,
            "energy distance",
            kernel.parameters(ENERGY),
            kernel.METHOD,
            partial(kernel.kernel_distance, kernel=ENERGY),
            kernel.require_enough,
            network=network,
            at_most=kernel.AT_MOST,
        )
        for network in ("colour", "spectrum")
    ),
    Score(
        "is",
        "IS",
        inception_score.PARAMETERS,
        inception_score.METHOD,
        inception_score.inception_score,
        inception_score.require_as_many_as_classes,
        needs_head=True,
        published_name="IS",
    ),
    Score(
        "vendi",
        "Vendi score",
        vendi.PARAMETERS,
        vendi.METHOD,
        vendi.vendi,
        vendi.require_few_eigenvalues,
    ),
    Score(
        "lpips",
        "mean distance of pairs",
        diversity.PARAMETERS,
        diversity.METHOD,
        diversity.pairwise,
        diversity.require_pairs,
        network="lpips",
    ),
    *(
        Distance(
            name,
            name,
            parameters,
            method,
            measure,
            manifold.require_enough,
            at_most=balls.AT_MOST,
        )
        for name, parameters, method, measure in manifold.ROWS
    ),
    *JUDGED,
    *(row.of_each_class() for row in JUDGED),
    Copying(
        "memorisation",
        "nearer to training",
        f"{memorisation.PARAMETERS}; ties as a half",
        memorisation.METHOD,
        memorisation.share_nearer,
    ),
    Copying(
        "near-copies",
        "near copies",
        f"{memorisation.PARAMETERS}; under {memorisation.COPY:.4f} of the other distance",
        memorisation.METHOD,
        memorisation.share_copied,
    ),
    Fidelity("psnr"),
    BitsPerDimension("bpd"),
)
METRICS = {row.metric: row for row in ROWS}
TOGETHER = {"memorisation": ("near-copies",)}  # what the first is given with
USUAL = ("fd", "kid", "accuracy")  # what is measured unless named, where the images allow it


def of_the_network_asked(metric: str) -> bool:
    """Whether --features decides its value."""
    row = METRICS[metric]
    return isinstance(row, Distance | Score | Copying) and not row.network
