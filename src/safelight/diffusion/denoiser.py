"""A network made into a denoiser: E[x_0 | x_t, t, y]."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from safelight.diffusion.path import Path, broadcast
from safelight.diffusion.precond import Affine, Row, c_noise, log_noise_level
from safelight.errors import UserError, lookup

NO_VARIANCE = "this model has learned no variance; use --variance small or large"

# What a network is told of the noise at t (b,), by the name that its attribute `told` holds.
TOLD: dict[str, Callable[[Path, Tensor], Tensor]] = {
    "level": lambda path, t: c_noise(path.log_snr(t)),
    "sigma": lambda path, t: log_noise_level(path.log_snr(t)).exp(),  # sigma / alpha
    "step": Path.step,
}


@runtime_checkable
class HasVariance(Protocol):
    """A guess of x_0 that says how uncertain it is; wrappers have the method whatever they wrap."""

    def with_variance(self, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]: ...


def with_variance(denoise: Any, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """x_0 and v, see `Denoiser.with_variance`, of any function that guesses x_0.

    Raises UserError where it has learned no variance.
    """
    if not isinstance(denoise, HasVariance):
        raise UserError(NO_VARIANCE)
    return denoise.with_variance(x_t, t)


class Denoiser(nn.Module):
    """Network, parameterisation and path together.

    Args:
        net: F(x (b, c, h, w), c_noise (b,), y (b,) or None) -> (b, c, h, w); (b, 2 c, h, w) with
            a learned variance. Where it has an attribute `told`, a row of `TOLD`, it is told that
            in the place of c_noise.
        prediction: a row of `PREDICTIONS`.
        sigma_data: standard deviation of the images, in [-1, 1].
        variance: of the steps back, a row of `bound.VARIANCES`; it is a part of the model that a
            bound judges. If "learned", the second half of the network's channels says how uncertain
            each step is, section 3.1 of arXiv:2102.09672.
    """

    def __init__(
        self,
        net: nn.Module,
        path: Path,
        prediction: Row,
        sigma_data: float,
        variance: str = "small",
    ) -> None:
        super().__init__()
        self.net = net
        self.path = path
        self.prediction = prediction
        self.sigma_data = sigma_data
        self.variance = variance
        self._told = lookup(TOLD, getattr(net, "told", "level"), "thing that a network is told")

    def affine(self, t: Tensor) -> Affine:
        """The row's coefficients at t (b,)."""
        return self.prediction(self.path.alpha(t), self.path.sigma(t), self.sigma_data)

    def forward(self, x_t: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """x_t (b, c, h, w), t (b,) in (0, 1], y (b,) int64 or None -> x_0 (b, c, h, w)."""
        row = self.affine(t)
        return row.image(x_t, self.answers(row, x_t, t, y)[0])

    def with_variance(
        self, x_t: Tensor, t: Tensor, y: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """x_0 as above, and v (b, c, h, w): 0 for the smaller, 1 for the larger of the variances.

        Between them the logarithm is interpolated, eq. (15) of arXiv:2102.09672. Raises UserError
        where the model has learned no variance.
        """
        row = self.affine(t)
        F, v = self.answers(row, x_t, t, y)
        if v is None:
            raise UserError(NO_VARIANCE)
        return row.image(x_t, F), v

    def answers(
        self, row: Affine, x_t: Tensor, t: Tensor, y: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """F of the row at t, and v as above or None; in float32 whatever the network ran in."""
        scaled = broadcast(row.scale, x_t) * x_t
        outputs = self.net(scaled, self._told(self.path, t), y).float()
        if self.variance != "learned":
            return outputs, None
        F, v = outputs.chunk(2, dim=1)
        return F, (v + 1) / 2
