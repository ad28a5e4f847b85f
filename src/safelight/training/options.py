"""The options of the mathematics: what is usual, what goes together, what would change nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from safelight.config import Config, Diffusion, Gan
from safelight.diffusion.bound import VARIANCES
from safelight.diffusion.path import PATHS
from safelight.errors import UserError, lookup
from safelight.training.networks import require_acting

VARIATIONAL = ("bound", "hybrid")
COMPARING = ("mmd", "denoising+mmd")
NORMAL = ("lognormal", "logit-normal")
# What a path was published with: what the network predicts and how times are drawn. Of those that
# are not here, DDPM's.
PUBLISHED = {
    "flow": ("flow", "logit-normal"),  # arXiv:2209.03003, arXiv:2403.03206
    "edm": ("edm", "lognormal"),  # arXiv:2206.00364
    "exploding": ("score", "uniform"),  # arXiv:1907.05600
    "exploding-continuous": ("score", "uniform"),  # arXiv:2011.13456
}
DDPM = ("noise", "uniform")  # arXiv:2006.11239


class Choice(NamedTuple):
    """Rows of `PREDICTIONS`, `TIMES` and `WEIGHTS`."""

    prediction: str
    times: str
    weight: str


def chosen(options: Diffusion) -> Choice:
    """What the options say, and what is usual where they say nothing."""
    usual, times = PUBLISHED.get(options.path, DDPM)
    if options.zero_terminal_snr:
        usual = "v"  # section 3.2 of arXiv:2305.08891: noise is nothing to predict in pure noise
    if options.objective in VARIATIONAL:
        times = "uniform"
    prediction = options.prediction or usual
    weight = options.weight or usual_weight(prediction)
    return Choice(prediction, options.times or times, weight)


def settled(options: Diffusion) -> Diffusion:
    """The same with nothing left open: what a run writes down."""
    return options.model_copy(update=chosen(options)._asdict())


def unsettled(options: Diffusion) -> Diffusion:
    """The same without a word of what is usual: what a command has to say."""
    for name in Choice._fields:
        without = options.model_copy(update={name: None})
        if chosen(without) == chosen(options):
            options = without
    return options


def usual_weight(prediction: str) -> str:
    """The row of `WEIGHTS` that is the error of what is predicted."""
    return "simple" if prediction in ("noise", "score") else prediction


def compares(config: Config) -> bool:
    """Whether the loss of an image depends on the others of its process's share of a batch.

    In a GAN it does by batch normalisation, and by spectral norms, which each call brings closer.

    Then all of them have to go through the network together, or the result would depend on how
    much memory was free.
    """
    options = config.diffusion
    together = options.objective in COMPARING or options.pairing != "none"
    return together or config.net.norm == "batch" or config.family == "gan"


def with_other_processes(config: Config) -> str:
    """What another number of processes makes of the weights."""
    diffusion = config.diffusion
    parts = {
        "dropout": bool(config.net.dropout or config.net.options.get("dropout")),
        "the pairing": diffusion.pairing != "none",
        "the discrepancy": diffusion.objective in COMPARING,
        "batch normalisation": config.net.norm == "batch" or config.family == "gan",
    }
    acting = ", ".join(part for part, acts in parts.items() if acts)
    if not acting:
        return "the last bits of the weights will differ"
    return f"the weights will be others, as good: {acting} go by what one process has at once"


Rule = tuple[Callable[[Diffusion], bool], str]


def _has_steps(options: Diffusion) -> bool:
    return not {"T", "betas"}.isdisjoint(lookup(PATHS, options.path, "path").heeds)


# What does not go together, and what to do about it.
CONFLICTS: tuple[Rule, ...] = (
    (
        lambda o: o.path == "learned" and o.objective != "bound",
        "a learned path would make other objectives small by leaving the hard noise levels out; "
        "add --diffusion.objective bound, or choose another path",
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


# What would change nothing. Runs of before it was refused go on.
UNHEEDED: tuple[Rule, ...] = (
    (
        lambda o: (
            o.objective in ("bound", "mmd") and o.weight != usual_weight(chosen(o).prediction)
        ),
        "the objectives bound and mmd weigh the noise levels in their own way; leave "
        "--diffusion.weight out, or choose another --diffusion.objective",
    ),
    (
        lambda o: o.weight != "min-snr" and o.min_snr != Diffusion().min_snr,
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


# The sections of a configuration that are of one family alone.
SECTIONS = {
    "diffusion": ("net", "diffusion"),
    "gan": ("gan",),
    "autoencoder": ("autoencoder",),
}


def deciding(config: Config) -> dict[str, Any]:
    """All but what is of other families: what is usual there may change."""
    others = {name for family in SECTIONS if family != config.family for name in SECTIONS[family]}
    return config.model_dump(exclude=others)


UNHEEDED_OF_GANS: tuple[tuple[Callable[[Gan], bool], str], ...] = (
    (
        lambda o: o.loss == "hinge" and o.smoothing > 0,
        "--gan.smoothing changes the labels of the cross-entropy, and the hinge loss has none; "
        "leave it out, or choose --gan.loss cross-entropy",
    ),
    (
        lambda o: o.noise_until is not None and o.noise == 0,
        "--gan.noise-until says when the noise of --gan.noise is gone, and there is none; leave it "
        "out, or give --gan.noise",
    ),
)


# What would change nothing, or goes wrong, in latents and where they are learnt.
OF_LATENTS: tuple[tuple[Callable[[Config], bool], str], ...] = (
    (
        lambda c: c.diffusion.objective in VARIATIONAL,
        "the objectives hybrid and bound are about pictures of 256 levels, and latents have none; "
        "choose another --diffusion.objective",
    ),
)


# How pictures are varied.
OF_DATA: tuple[tuple[Callable[[Config], bool], str], ...] = (
    (
        lambda c: c.data.augment > 0 and c.family != "diffusion",
        "--data.augment is told to a network by its embedding of the noise level, which diffusion "
        "models have alone; leave it out (a GAN has --gan.augment)",
    ),
    (
        lambda c: c.data.augment > 0 and c.diffusion.pairing != "none",
        "--data.augment would make the noise of pictures that were left alone another than that "
        "of all, with which images are drawn; leave --diffusion.pairing at none",
    ),
    (
        lambda c: c.data.upside_down and not c.data.augment,
        "--data.upside-down is a part of --data.augment; add that, such as --data.augment 0.12, or "
        "leave it out",
    ),
)
VARYING = ("crop", "shift", "turn", "jitter", "cutout", "augment")  # pixels


# How it is trained.
OF_TRAINING: tuple[tuple[Callable[[Config], bool], str], ...] = (
    (
        lambda c: c.compile and c.family == "gan",
        "--compile is for a network that is taught alone, and a GAN's two are taught in turns; "
        "leave it out",
    ),
    (
        lambda c: c.low_memory and c.family == "gan",
        "--low-memory computes the blocks of a network again, and a GAN's two have none; leave it "
        "out, or choose smaller --gan.widths or a smaller --optimiser.batch",
    ),
    (  # torch leaves it to the compiler to draw dropout's masks again, and not every one does
        lambda c: c.low_memory and c.compile,
        "--compile settles by itself what is computed again, so that --low-memory would change "
        "nothing that can be relied on; leave one of the two out",
    ),
)


# What is measured on the way.
OF_WATCHING: tuple[tuple[Callable[[Config], bool], str], ...] = (
    (
        lambda c: (
            not c.watch.evaluate_every
            and {"evaluate_images", "evaluate_features"} & c.watch.changes().keys() != set()
        ),
        "--watch.evaluate-images and --watch.evaluate-features say how images are measured every "
        "--watch.evaluate-every steps; give that too, or leave them out",
    ),
    (
        lambda c: c.watch.evaluate_every > 0 and c.family == "autoencoder",
        "an autoencoder draws no images of its own; leave --watch.evaluate-every out: each "
        "validation has the PSNR of held-out pictures that come back",
    ),
)


def require_heeded(config: Config) -> None:
    """Raises UserError where an option would change nothing."""
    lookup(SECTIONS, config.family, "family")
    for family, sections in SECTIONS.items():
        for section in sections if family != config.family else ():
            for name in getattr(config, section).changes():
                raise UserError(
                    f"--{section}.{name.replace('_', '-')} is of the family {family}, and this is "
                    f"{config.family}; leave it out, or choose another preset or --family"
                )
    if config.family == "diffusion":
        require_acting(config.net)
        _require(UNHEEDED, config.diffusion)
    for broken, remedy in UNHEEDED_OF_GANS:
        if broken(config.gan):
            raise UserError(remedy)
    if config.diffusion.autoencoder:
        _require_whole(config)
    latents = OF_LATENTS if config.diffusion.autoencoder else ()
    for unfit, remedy in (*latents, *OF_DATA, *OF_TRAINING, *OF_WATCHING):
        if unfit(config):
            raise UserError(remedy)
    if config.family == "autoencoder" and not config.data.conditional:
        raise UserError("an autoencoder is told no classes; leave --data.no-conditional out")


def _require_whole(config: Config) -> None:
    """Raises UserError where pictures whose latents are learnt are to be varied."""
    for name in VARYING:
        if getattr(config.data, name):
            raise UserError(
                f"--data.{name} changes the pixels of pictures at each step, and their latents are "
                "computed once; leave it out"
            )


def _require(rules: tuple[Rule, ...], options: Diffusion) -> None:
    options = settled(options)
    for broken, remedy in rules:
        if broken(options):
            raise UserError(remedy)
