"""A network made into a denoiser: E[x_0 | x_t, t, y]."""

from __future__ import annotations

from torch import Tensor, nn

from safelight.diffusion.path import Path, broadcast
from safelight.diffusion.precond import Affine, Row, noise_level


class Denoiser(nn.Module):
    """Network, parameterisation and path together.

    Args:
        net: F(x (b, c, h, w), c_noise (b,), y (b,) or None) -> (b, c, h, w).
        prediction: a row of `PREDICTIONS`.
        sigma_data: standard deviation of the images, in [-1, 1].
    """

    def __init__(self, net: nn.Module, path: Path, prediction: Row, sigma_data: float) -> None:
        super().__init__()
        self.net = net
        self.path = path
        self.prediction = prediction
        self.sigma_data = sigma_data

    def affine(self, t: Tensor) -> Affine:
        """The row's coefficients at t (b,)."""
        return self.prediction(self.path.alpha(t), self.path.sigma(t), self.sigma_data)

    def network(self, x_t: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """F of the row, in float32 whatever precision the network ran in."""
        c_noise = noise_level(self.path.alpha(t), self.path.sigma(t))
        scaled = broadcast(self.affine(t).scale, x_t) * x_t
        return self.net(scaled, c_noise, y).float()  # type: ignore[no-any-return]

    def forward(self, x_t: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """x_t (b, c, h, w), t (b,) in (0, 1], y (b,) int64 or None -> x_0 (b, c, h, w)."""
        row = self.affine(t)
        F = self.network(x_t, t, y)
        return broadcast(row.skip, x_t) * x_t + broadcast(row.out, x_t) * F
