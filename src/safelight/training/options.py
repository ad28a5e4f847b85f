"""Which options of the mathematics go together, and which would change nothing."""

from __future__ import annotations

from collections.abc import Callable

from safelight.config import Diffusion
from safelight.diffusion.bound import VARIANCES
from safelight.diffusion.path import PATHS
from safelight.errors import UserError, lookup

VARIATIONAL = ("bound", "hybrid")
COMPARING = ("mmd", "denoising+mmd")
NORMAL = ("lognormal", "logit-normal")


def compares(options: Diffusion) -> bool:
    """Whether the loss of an image depends on the others of its process's share of a batch.

    Then all of them have to go through the network together, or the result would depend on how
    much memory was free.
    """
    return options.objective in COMPARING or options.pairing != "none"


Rule = tuple[Callable[[Diffusion], bool], str]


def _has_steps(options: Diffusion) -> bool:
    return not {"T", "betas"}.isdisjoint(lookup(PATHS, options.path, "path").heeds)


# What does not go together, and what to do about it.
CONFLICTS: tuple[Rule, ...] = (
    (
        lambda o: o.path == "learned" and o.objective != "bound",
        "a learned path would make other objectives small by leaving the hard noise levels out; "
        "add --diffusion.objective bound --diffusion.times uniform, or choose another path",
    ),
    (
        lambda o: o.objective == "hybrid" and o.variance != "learned",
        "the hybrid objective learns the variance; add --diffusion.variance learned",
    ),
    (
        lambda o: o.objective == "hybrid" and not _has_steps(o),
        "the hybrid objective counts the bound by a path's steps, and this path has none; choose a "
        "path with steps, such as cosine, or --diffusion.objective bound",
    ),
    (
        lambda o: o.objective not in VARIATIONAL and o.variance != "small",
        "only the objectives hybrid and bound look at the variance; leave --diffusion.variance "
        "at small, or choose one of them with --diffusion.objective",
    ),
    (
        lambda o: o.objective in VARIATIONAL and o.times not in ("uniform", "importance"),
        "the objectives hybrid and bound are sums over all times; use --diffusion.times uniform "
        "or importance",
    ),
    (
        lambda o: o.objective in VARIATIONAL and o.pairing != "none",
        "the objectives hybrid and bound are about noise that knows nothing of the image; leave "
        "--diffusion.pairing at none",
    ),
    (
        lambda o: o.objective in COMPARING and o.times == "importance",
        "the objectives with mmd compare pairs of images, and importance weighs single ones; use "
        "other --diffusion.times",
    ),
    (
        lambda o: o.objective != "denoising" and o.uncertainty,
        "a learned uncertainty weighs the noise levels of the denoising objective; leave "
        "--diffusion.uncertainty out with others",
    ),
)


USUAL = Diffusion()
# What would change nothing. Runs of before it was refused go on.
UNHEEDED: tuple[Rule, ...] = (
    (
        lambda o: o.objective in ("bound", "mmd") and o.weight != USUAL.weight,
        "the objectives bound and mmd weigh the noise levels in their own way; give "
        f"--diffusion.weight {USUAL.weight}, the usual, or choose another --diffusion.objective",
    ),
    (
        lambda o: o.weight != "min-snr" and o.min_snr != USUAL.min_snr,
        "--diffusion.min-snr is the cap of the weight min-snr; leave it out, or add "
        "--diffusion.weight min-snr",
    ),
    (
        lambda o: o.times not in NORMAL and (o.log_mean, o.log_std) != (None, None),
        "--diffusion.log-mean and --diffusion.log-std are those of normal distributions; leave "
        "them out, or choose --diffusion.times lognormal or logit-normal",
    ),
)


def check_objective(options: Diffusion) -> None:
    """Raises UserError where the objective can't be had with the other options."""
    lookup(VARIANCES, options.variance, "variance")
    _require(CONFLICTS, options)


def require_heeded(options: Diffusion) -> None:
    """Raises UserError where an option would change nothing."""
    _require(UNHEEDED, options)


def _require(rules: tuple[Rule, ...], options: Diffusion) -> None:
    for broken, remedy in rules:
        if broken(options):
            raise UserError(remedy)
