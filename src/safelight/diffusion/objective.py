"""What training minimises: the loss of each image at its time, of which the mean is taken.

Every objective asks the network once. Images and noise are (b, c, h, w), times (b,), losses (b,).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from safelight.diffusion.bound import bits_per_dimension, prior_term, step_nats, term
from safelight.diffusion.denoiser import Denoiser
from safelight.diffusion.likelihood import ends
from safelight.diffusion.mmd import squared_mmd, views
from safelight.diffusion.path import Path, broadcast, diffuse
from safelight.diffusion.precision import precise
from safelight.diffusion.precond import Affine, log_noise_level
from safelight.diffusion.weights import Weight

# Of the bound of a path without steps. Few enough that it matters to a learned schedule where they
# fall; the bound of infinitely many depends on the ends of the path alone.
TERMS = 100
HYBRID = 1e-3  # lambda of section 3.1 of arXiv:2102.09672


class Objective(Protocol):
    def __call__(
        self, denoiser: Denoiser, x_0: Tensor, t: Tensor, eps: Tensor, y: Tensor | None
    ) -> Tensor: ...


class Answer(NamedTuple):
    """The network's answer and what it should have been, in units of F.

    There |x_0 - D|² = out² |target - F|², which does not cancel at low noise as x_0 - D would.
    """

    row: Affine
    x_t: Tensor
    target: Tensor
    F: Tensor
    v: Tensor | None  # of a learned variance

    @classmethod
    def of(
        cls, denoiser: Denoiser, x_0: Tensor, t: Tensor, eps: Tensor, y: Tensor | None
    ) -> Answer:
        x_t = diffuse(denoiser.path, x_0, t, eps)
        row = denoiser.affine(t)
        return cls(row, x_t, row.answer(x_t, x_0), *denoiser.answers(row, x_t, t, y))

    def error(self, weight: Weight, denoiser: Denoiser, t: Tensor) -> Tensor:
        """w |x_0 - D|², the mean over each image's values."""
        squares = (self.F - self.target).square().flatten(1).mean(1)
        level_weight = weight(denoiser.path.noise_level(t), denoiser.sigma_data)
        return level_weight * self.row.out**2 * squares


@dataclass(frozen=True)
class Denoising:
    """E of w |x_0 - D(x_t, t)|², algorithm 1 of arXiv:2006.11239 for any path and weight.

    Rows of `WEIGHTS` make it the simple loss, EDM's, flow matching, denoising score matching.
    """

    weight: Weight

    def __call__(
        self, denoiser: Denoiser, x_0: Tensor, t: Tensor, eps: Tensor, y: Tensor | None
    ) -> Tensor:
        return Answer.of(denoiser, x_0, t, eps, y).error(self.weight, denoiser, t)


@dataclass(frozen=True)
class MMD:
    """The squared maximum mean discrepancy of the answers, in units of F; see `mmd`.

    With a weight it is added to the denoising loss, which asks the same with less noise.
    """

    weight: Weight | None = None

    def __call__(
        self, denoiser: Denoiser, x_0: Tensor, t: Tensor, eps: Tensor, y: Tensor | None
    ) -> Tensor:
        answer = Answer.of(denoiser, x_0, t, eps, y)
        x = broadcast(answer.row.scale, x_0) * answer.x_t
        guess = answer.row.image(answer.x_t, answer.F) / denoiser.sigma_data
        log_level = log_noise_level(denoiser.path.log_snr(t))
        seen = views(x, guess, answer.F)
        parts = squared_mmd(answer.F - answer.target, seen, log_level, y)
        return parts if self.weight is None else parts + answer.error(self.weight, denoiser, t)


class Bound:
    """The variational bound, eq. (5) of arXiv:2006.11239, in bits per dimension.

    One of its terms at random, times their number, and the term of the prior: its mean is the
    bound. A learned schedule's gradient comes through it.
    """

    def __call__(
        self, denoiser: Denoiser, x_0: Tensor, t: Tensor, eps: Tensor, y: Tensor | None
    ) -> Tensor:
        t, s, n = part(denoiser.path, t)
        model = Labelled(denoiser, y)
        nats = n * term(model, denoiser.path, x_0, t, s, eps, denoiser.variance)
        return bits_per_dimension(nats + prior_term(denoiser.path, x_0), x_0)


@dataclass(frozen=True)
class Hybrid:
    """L_simple + 0.001 L_vlb, eq. (16) of arXiv:2102.09672: it learns the variance too.

    The bound's gradient reaches the variance alone; the mean is learnt from the first part. As in
    that paper's code L_vlb counts a thousandth for each of T steps: 0.001 T of a random term. So
    the path has to have steps.
    """

    weight: Weight

    def __call__(
        self, denoiser: Denoiser, x_0: Tensor, t: Tensor, eps: Tensor, y: Tensor | None
    ) -> Tensor:
        exact, s, n = part(denoiser.path, t)
        t = exact.to(x_0)
        answer = Answer.of(denoiser, x_0, t, eps, y)
        assert answer.v is not None, "a hybrid loss needs a denoiser with learned variance"
        guess = answer.row.image(answer.x_t, answer.F).detach()
        nats = n * step_nats(denoiser.path, x_0, guess, answer.v, exact, s)
        return answer.error(self.weight, denoiser, t) + HYBRID * bits_per_dimension(nats, x_0)


@dataclass(frozen=True)
class Labelled:
    """A denoiser whose labels are known: what a bound asks."""

    denoiser: Denoiser
    y: Tensor | None

    def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
        return self.denoiser(x_t, t, self.y)  # type: ignore[no-any-return]

    def with_variance(self, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        return self.denoiser.with_variance(x_t, t, self.y)


def part(path: Path, t: Tensor) -> tuple[Tensor, Tensor, int]:
    """From t, uniform in (0, 1], one of n parts (s, t] of the time; `precise`, s = 0 in the first.

    They are the path's steps if it has any. If not, the time is cut into TERMS parts, and the cuts
    slide with t: there are n - 2 of one length, and the first and the last together have that
    length. So every noise level is seen. For any cuts the sum over the parts is an upper bound,
    and so its mean over all cuts, which is what a uniform t gives, is one too.
    """
    if path.levels is not None:
        n = path.levels
        k = (precise(t) * n).round().clamp(1, n)  # float32 may have rounded a step's time up
        return k / n, (k - 1) / n, n
    place = precise(t) * TERMS
    upper, lower = (place / (TERMS - 1)).clamp(max=1), ((place - 1) / (TERMS - 1)).clamp(min=0)
    lower = lower.clamp(max=1 - torch.finfo(torch.float32).eps)  # t = 1 would leave it empty
    return cut(path, upper), cut(path, lower), TERMS


def cut(path: Path, share: Tensor) -> Tensor:
    """The time before which there is this share of what is cut up, of a path without steps.

    That is the fall of the log-SNR between the `ends` of noise that matters, as in `bound_times`.
    On a learned path it is the time itself, or its shape would have nothing to learn from.
    """
    if any(True for _ in path.parameters()):
        return share
    low, high = path.log_snr(ends(path)).tolist()
    t = path.time((low + share * (high - low)).exp())
    return t.where(share > 0, 0.0).where(share < 1, 1.0)


def asked(objective: Objective, path: Path, t: Tensor) -> Tensor:
    """The time at which the network is asked, where t was drawn: a bound has cuts of its own."""
    return part(path, t)[0].to(t) if isinstance(objective, Bound) else t


# Each row makes its objective from the weight, if it heeds one.
OBJECTIVES: dict[str, Callable[[Weight], Objective]] = {
    "denoising": Denoising,
    "hybrid": Hybrid,
    "bound": lambda weight: Bound(),
    "mmd": lambda weight: MMD(),
    "denoising+mmd": MMD,
}
