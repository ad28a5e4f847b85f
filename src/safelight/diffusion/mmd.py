"""The squared maximum mean discrepancy between a network's answers and the true ones, as a loss.

For images i = 1..n let c_i = (x_t, t, y) be what the network sees, F_i its answer and T_i the true
one. The statistic compares the joint distributions of (c, F) and (c, T),

    1 / (n (n - 1)) sum over i != j of  k((c_i, F_i), (c_j, F_j)) + k((c_i, T_i), (c_j, T_j))
                                      - k((c_i, F_i), (c_j, T_j)) - k((c_i, T_i), (c_j, F_j)),

the unbiased U-statistic of Gretton et al. 2012, "A kernel two-sample test", eq. (4). Pairs of an
image with itself are left out, so that F_i and T_i may depend on each other, as they do.

*Why the joint distribution.* That of F alone is as good when the answers are dealt out to the
wrong images: no denoiser comes of it.

*Why this kernel.* k((c, F), (c', F')) = kappa(c, c') F . F'. What a denoiser says is a mean, so
the kernel is linear in the answer. Then the discrepancy is |E[(F - T) (x) phi(c)]|², phi the
features of kappa, and is 0 only where F = E[T | c]: exactly where the error of denoising is least.
A Gaussian in F would ask F to be as scattered as T is given c, which no function of c can be; a
network trained so denoises worse than one that says nothing.

*Why this kappa.* Whole images with noise are all equally far from each other, and a kernel of them
sees little but means. So the answers are compared pixel by pixel, each with the same pixel of the
other images, by a mixture of Gaussian kernels of what surrounds it: squares of 1, 3, 9 ... pixels,
and the whole image. What is compared there is x_t and what the network makes of it, its guess of
the image and its answer: they hold less noise, and more of what is further away. They are functions
of c. Taken as they are, without a gradient, they make a kernel that is learnt with the network, as
in arXiv:2002.09116. Distances are means over a square's pixels, as they grow with the dimension. It
is multiplied by a Gaussian kernel of ln(sigma / alpha), in which levels far above 1 are alike,
since little is seen at any of them, and by 1 or 1/10 for equal or different labels.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from safelight.errors import UserError

# Of x_t and the guess of the image, in their deviations, and of the answer, whose is about 1.
BANDWIDTHS = (0.2, 0.15, 0.2)
LEVEL_BANDWIDTH = 0.25  # of ln(sigma / alpha)
OTHER_LABEL = 0.1
# About one pair in so many is alike at a pixel, of pictures with ten classes. The kernel is so many
# times as large, and the loss of the size of an error: beside the denoising loss both count.
PAIRS = 500
BLOCK = 16  # images whose kernels are in memory at once
ROOM = 2**21  # numbers that a block may be made of: 8 MB, and about four of them at once


def views(x: Tensor, guess: Tensor, answer: Tensor) -> Tensor:
    """What is compared, each over its bandwidth: (n, c, h, w) each -> (n, 3, c, h, w).

    Args:
        x: x_t over its deviation.
        guess: D over the deviation of images.
        answer: F.
    """
    scaled = zip((x, guess, answer), BANDWIDTHS, strict=True)
    return torch.stack([view.detach() / bandwidth for view, bandwidth in scaled], 1)


def squared_mmd(residual: Tensor, seen: Tensor, log_level: Tensor, y: Tensor | None) -> Tensor:
    """Parts (n,) whose mean is the statistic; k's four terms are kappa (F_i - T_i) . (F_j - T_j).

    Args:
        residual: F - T, (n, c, h, w).
        seen: what `views` makes of x_t, (n, 3, c, h, w); without a gradient.
        log_level: ln(sigma / alpha), (n,), finite.
        y: labels (n,), or None.

    Raises UserError for a single image, which has nothing to be compared with.
    """
    n, device = len(seen), seen.device
    if n < 2:
        raise UserError(
            "the objective mmd compares the images that a process has of a step with one another, "
            "and here is only one; choose a larger --optimiser.batch"
        )
    size = max(1, min(BLOCK, ROOM // seen[:, 0].numel()))
    blocks = torch.split(torch.arange(n, device=device), size)
    with torch.autocast(device.type, enabled=False):  # whatever precision the network runs in
        squares = [square_of(width, seen) for width in widths(*seen.shape[-2:])]
        kappas = (kappa(rows, seen, log_level, y, squares) for rows in blocks)
        fixed = residual.detach()
        smoothed = torch.cat([torch.einsum("ijhw,jchw->ichw", block, fixed) for block in kappas])
    parts = (residual * smoothed).sum(1).mean((1, 2)) / (n - 1)
    # Each residual is on both sides of the sum, on one of them detached: the gradient is half.
    return 2 * parts - parts.detach()


@torch.no_grad()
def kappa(
    rows: Tensor, seen: Tensor, log_level: Tensor, y: Tensor | None, squares: list[Square]
) -> Tensor:
    """kappa(c_i, c_j) of the images i in `rows` and all j, at each pixel; (rows, n, h, w).

    0 where i = j. squares: what of a pixel's surroundings is compared.
    """
    level = torch.nn.functional.logsigmoid(log_level)
    alike = (-(level[rows, None] - level).square() / (2 * LEVEL_BANDWIDTH**2)).exp()
    if y is not None:
        alike = alike.where(y[rows, None] == y, OTHER_LABEL * alike)
    alike[torch.arange(len(rows), device=seen.device), rows] = 0
    distance = seen.new_zeros(len(rows), len(seen), *seen.shape[-2:])
    for view in seen.unbind(1):
        distance += (view[rows, None] - view).square_().mean(2)
    near = torch.zeros_like(distance)
    for around in squares:
        near += around.mean(distance).div_(-2).exp_()
    return near.mul_(alike[:, :, None, None]).mul_(PAIRS / len(squares))


def widths(h: int, w: int) -> list[int]:
    """Odd sides of the squares: 1, 3, 9, ... up to half of the image, and one that spans it all."""
    sides = [1]
    while 6 * sides[-1] <= max(h, w):
        sides.append(3 * sides[-1])
    return [*sides, 2 * max(h, w) - 1]


class Square(NamedTuple):
    """Averages over the square around each pixel, as far as it is inside."""

    down: Tensor  # (h, h), over columns
    across: Tensor  # (w, w), over rows

    def mean(self, x: Tensor) -> Tensor:
        """(..., h, w) -> the same."""
        return self.down @ x @ self.across.T  # eight times as fast as avg_pool2d on a CPU


def square_of(width: int, like: Tensor) -> Square:
    """The square of this odd width, for images such as `like`."""
    down, across = (_averaging(size, width, like) for size in like.shape[-2:])
    return Square(down, across)


def _averaging(size: int, width: int, like: Tensor) -> Tensor:
    """The matrix that averages a row of `size` over windows of `width`."""
    places = torch.arange(size, device=like.device)
    near = ((places[:, None] - places).abs() <= width // 2).to(like.dtype)
    return near / near.sum(1, keepdim=True)
