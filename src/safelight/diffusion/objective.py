"""What training minimises: the loss of each image at its time, of which the mean is taken.

Every objective asks the network once. Images and noise are (b, c, h, w), times (b,), losses (b,).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from torch import Tensor

from safelight.diffusion.bound import bits_per_dimension, prior_term, step_nats, term
from safelight.diffusion.denoiser import Denoiser
from safelight.diffusion.mmd import squared_mmd
from safelight.diffusion.path import Path, broadcast, diffuse
from safelight.diffusion.precond import Affine, log_noise_level
from safelight.diffusion.weights import Weight

# Of the bound of a path without steps: parts of equal length in t. Few enough that it matters where
# they fall, which is what a learned schedule learns from; with infinitely many it would not.
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
        log_level = log_noise_level(denoiser.path.log_snr(t))
        parts = squared_mmd(answer.F - answer.target, x, log_level, y)
        return parts if self.weight is None else parts + answer.error(self.weight, denoiser, t)


@dataclass(frozen=True)
class Bound:
    """The variational bound, eq. (5) of arXiv:2006.11239, in bits per dimension.

    One of its terms at random, times their number, and the term of the prior: its mean is the
    bound. A learned schedule's gradient comes through it.
    """

    variance: str

    def __call__(
        self, denoiser: Denoiser, x_0: Tensor, t: Tensor, eps: Tensor, y: Tensor | None
    ) -> Tensor:
        t, s, n = part(denoiser.path, t)
        asked = Labelled(denoiser, y)
        nats = n * term(asked, denoiser.path, x_0, t, s, eps, self.variance)
        return bits_per_dimension(nats + prior_term(denoiser.path, x_0), x_0)


@dataclass(frozen=True)
class Hybrid:
    """L_simple + 0.001 L_vlb, eq. (16) of arXiv:2102.09672: it learns the variance too.

    The bound's gradient reaches the variance alone; the mean is learnt from the first part. As in
    that paper's code L_vlb counts a thousandth for each of T steps: 0.001 T of a random term.
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
    """The part (s, t] of the time that t falls in, of n equal ones: the path's steps, or TERMS.

    In float64, and s is 0 exactly in the first part.
    """
    n = path.levels or TERMS
    position = t.double() * n
    # A step's time may be rounded up, and is that step; other times belong to the step above.
    k = (position.ceil() if path.levels is None else position.round()).clamp(1, n)
    return k / n, (k - 1) / n, n


# Each row makes its objective from the weight, and the variance of the steps back.
OBJECTIVES: dict[str, Callable[[Weight, str], Objective]] = {
    "denoising": lambda weight, variance: Denoising(weight),
    "hybrid": lambda weight, variance: Hybrid(weight),
    "bound": lambda weight, variance: Bound(variance),
    "mmd": lambda weight, variance: MMD(),
    "denoising+mmd": lambda weight, variance: MMD(weight),
}
