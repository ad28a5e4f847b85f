"""What the network predicts: a mixture F of image and noise, of which x_0 is an affine function.

    F = image x_0 + noise eps        and        x_t = alpha x_0 + sigma eps

are two equations for x_0 and eps. Solved, x_0 = skip x_t + out F. Each choice is a row that gives
the mixture, and the factor "in" of the papers, here `scale`, that x_t is multiplied with before
the network. Coefficients are functions of alpha and sigma, tensors of any one shape; sigma_data is
the standard deviation of the images. All are homogeneous: x_t, alpha and sigma may be multiplied
by one number and nothing changes, so that the network is the same on every kind of path.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from safelight.diffusion.path import Path, broadcast
from safelight.errors import UserError, lookup


class Mixture(NamedTuple):
    """F = image x_0 + noise eps, of a network that sees scale x_t."""

    image: Tensor
    noise: Tensor
    scale: Tensor


class Affine(NamedTuple):
    """x_0 = skip x_t + out F(scale x_t, c_noise)."""

    skip: Tensor
    out: Tensor
    scale: Tensor

    def image(self, x_t: Tensor, F: Tensor) -> Tensor:
        """The x_0 of an answer; (b, c, h, w) all."""
        return broadcast(self.skip, x_t) * x_t + broadcast(self.out, x_t) * F

    def answer(self, x_t: Tensor, x_0: Tensor) -> Tensor:
        """The answer that x_0 asks for."""
        return (x_0 - broadcast(self.skip, x_t) * x_t) / broadcast(self.out, x_t)


Row = Callable[[Tensor, Tensor, float], Affine]
MixtureRow = Callable[[Tensor, Tensor, float], Mixture]


def log_noise_level(log_snr: Tensor) -> Tensor:
    """ln(sigma / alpha), stopped at levels of 2^24 and 2^-24, so that pure noise has one too.

    That loses nothing: beyond them the lesser part of alpha x_0 + sigma eps is below the rounding
    of float32, and x_t itself no longer tells one level from another.
    """
    limit = 24 * math.log(2)
    return (log_snr / -2).clamp(-limit, limit)


def c_noise(log_snr: Tensor) -> Tensor:
    """ln(sigma / alpha) / 4, table 1 of arXiv:2206.00364: what the network is told of the noise."""
    return log_noise_level(log_snr) / 4


def noise_mixture(alpha: Tensor, sigma: Tensor, sigma_data: float) -> Mixture:
    """F = eps, so that x_0 = (x_t - sigma F) / alpha, arXiv:2006.11239. Singular at alpha = 0."""
    return Mixture(torch.zeros_like(alpha), torch.ones_like(alpha), _unit(alpha, sigma))


def score_mixture(alpha: Tensor, sigma: Tensor, sigma_data: float) -> Mixture:
    """F = sigma grad ln p(x_t), technique 3 of arXiv:2006.09011, which is -eps."""
    return Mixture(torch.zeros_like(alpha), -torch.ones_like(alpha), _unit(alpha, sigma))


def image_mixture(alpha: Tensor, sigma: Tensor, sigma_data: float) -> Mixture:
    """F = x_0."""
    return Mixture(torch.ones_like(alpha), torch.zeros_like(alpha), _unit(alpha, sigma))


def v_mixture(alpha: Tensor, sigma: Tensor, sigma_data: float) -> Mixture:
    """F = (alpha eps - sigma x_0) / r, r² = alpha² + sigma²: v of arXiv:2202.00512 where r = 1."""
    unit = _unit(alpha, sigma)
    return Mixture(-sigma * unit, alpha * unit, unit)


def flow_mixture(alpha: Tensor, sigma: Tensor, sigma_data: float) -> Mixture:
    """F = eps - x_0, the velocity dx_t/dt of the flow path, arXiv:2209.03003."""
    return Mixture(-torch.ones_like(alpha), torch.ones_like(alpha), _unit(alpha, sigma))


def edm_mixture(alpha: Tensor, sigma: Tensor, sigma_data: float) -> Mixture:
    """Table 1 of arXiv:2206.00364 at the noise level sigma / alpha of x_t / alpha.

    Its skip and out make F = (sigma / sigma_data x_0 - sigma_data alpha eps) / N with
    N² = alpha² sigma_data² + sigma², the variance of x_t. F has variance 1.
    """
    unit = (alpha**2 * sigma_data**2 + sigma**2).rsqrt()
    return Mixture(sigma / sigma_data * unit, -sigma_data * alpha * unit, unit)


def gradient_mixture(alpha: Tensor, sigma: Tensor, sigma_data: float) -> Mixture:
    """F = grad ln p(x_t), the true score: -eps / sigma, section 4.2 of arXiv:1907.05600.

    It grows without bound as sigma falls, so that it can be converted but is no row to train.
    """
    return Mixture(torch.zeros_like(alpha), -1 / sigma, _unit(alpha, sigma))


def _unit(alpha: Tensor, sigma: Tensor) -> Tensor:
    return (alpha**2 + sigma**2).rsqrt()


def solve(mixture: MixtureRow, alpha: Tensor, sigma: Tensor, sigma_data: float) -> Affine:
    """x_0 of the two equations, by Cramer's rule with D = alpha noise - sigma image:

        x_0 = (noise x_t - sigma F) / D.

    No row's D cancels: its two terms have one sign. Where sigma = 0, x_t is the image.
    """
    image, noise, scale = mixture(alpha, sigma, sigma_data)
    determinant = alpha * noise - sigma * image
    skip = torch.where(sigma > 0, noise / determinant, 1 / alpha)
    out = torch.where(sigma > 0, -sigma / determinant, 0.0)
    return Affine(skip, out, scale)


MIXTURES: dict[str, MixtureRow] = {
    "edm": edm_mixture,
    "noise": noise_mixture,
    "image": image_mixture,
    "v": v_mixture,
    "flow": flow_mixture,
    "score": score_mixture,
}
PREDICTIONS: dict[str, Row] = {name: partial(solve, row) for name, row in MIXTURES.items()}
CONVERTIBLE: dict[str, MixtureRow] = {**MIXTURES, "gradient": gradient_mixture}


def require_regular(path: Path, prediction: str) -> None:
    """Raise UserError where this row says nothing about the image at the path's noisy end.

    A network that predicts eps of pure noise could only repeat it: alpha = 0 at t = 1, and
    x_0 = (x_t - sigma eps) / alpha has no value.
    """
    end = torch.ones((), dtype=torch.float64)
    alpha, sigma = path.alpha(end), path.sigma(end)
    lookup(MIXTURES, prediction, "prediction")
    regular = [name for name, row in MIXTURES.items() if row(alpha, sigma, 1.0).image != 0]
    if alpha == 0 and prediction not in regular:
        raise UserError(
            f"a prediction of {prediction!r} says nothing about the image where x_t is pure noise, "
            "and this path ends there (alpha is 0 at t = 1); use --diffusion.prediction "
            f"{', '.join(regular[:-1])} or {regular[-1]}"
        )


def convert(
    value: Tensor,
    source: str,
    target: str,
    x_t: Tensor,
    alpha: Tensor,
    sigma: Tensor,
    sigma_data: float,
) -> Tensor:
    """What one parameterisation says, said in another.

    The two equations above, solved for x_0 and eps, mixed anew; x_0 and eps themselves need not
    exist: at alpha = 0 the score is still -eps.

    Args:
        value: F of the row `source`, (b, c, h, w).
        source, target: rows of `CONVERTIBLE`: the predictions, and "gradient", the true score.
        x_t: (b, c, h, w).
        alpha, sigma: (b,) or ().

    Raises UserError where `source` and x_t do not decide `target`.
    """
    a, b, _ = lookup(CONVERTIBLE, source, "parameterisation")(alpha, sigma, sigma_data)
    c, d, _ = lookup(CONVERTIBLE, target, "parameterisation")(alpha, sigma, sigma_data)
    determinant = alpha * b - sigma * a
    across = c * b - d * a
    # Where both are multiples of one mixture x_t is not needed, and the determinant may be 0.
    of_x_t = torch.where(across == 0, 0.0, across / determinant)
    ratio = (a * c + b * d) / (a**2 + b**2)
    of_value = torch.where(across == 0, ratio, (alpha * d - sigma * c) / determinant)
    singular = ~(of_x_t.isfinite() & of_value.isfinite())
    if singular.any():
        raise UserError(_singular(source, target, clean=bool((sigma[singular] == 0).all())))
    return broadcast(of_x_t, x_t) * x_t + broadcast(of_value, x_t) * value


def _singular(source: str, target: str, clean: bool) -> str:
    noisy_end, clean_end = (
        ("alpha is 0", "pure noise", "image"),
        ("sigma is 0", "the image", "noise"),
    )
    where, what, rest = clean_end if clean else noisy_end
    return (
        f"{source!r} cannot be turned into {target!r} where {where}: x_t is {what} there, and with "
        f"{source!r} it does not tell the {rest}; leave these times out"
    )
