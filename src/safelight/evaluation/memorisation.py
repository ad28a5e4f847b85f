"""Does a generator copy the pictures that it learnt from?

Each generated image g has a nearest training picture, at the distance d_T(g), and a nearest
held-out picture, at d_H(g), of as many of each, T and H, taken at random. Of a generator that
copies nothing the two are alike, since nothing tells which picture was in T: so d_T(g) < d_H(g)
for half of them, whatever they look like. Blur or a lack of variety brings them nearer to both.
    nearer to training = share of images with d_T < d_H, ties as a half
    near copies        = share of images with d_T < d_H / 3
The comparison with held-out pictures is that of Meehan, Chaudhuri and Dasgupta (2020,
arXiv:2004.05675), who ask whether generated images are nearer to T than held-out ones are; to ask
it of each image by itself needs no other assumption than the above. The third is that of Gu et al.
(2023, arXiv:2310.02664), who ask it of the second nearest training picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from safelight.errors import TooFewImages, UserError
from safelight.evaluation.accuracy import wilson
from safelight.evaluation.estimate import Interval
from safelight.evaluation.moments import Features, Floats
from safelight.evaluation.neighbours import Nearest, Vectors, nearest

COPY = 1 / 3  # of the way to the nearest held-out picture: an image that near is a near copy
FEWEST = 10  # training and held-out pictures: with fewer the interval leaves nothing to be told
EQUAL = 1e-9  # of a distance: the same picture on both sides, but for rounding
OVERLAP = 0.05  # held-out pictures that are training pictures: more are no accident of the data

PARAMETERS = "root mean squared difference, in float64; as many training as held-out pictures"
METHOD = (
    "Wilson score interval of the effective number of images, by which the share would vary as it "
    "does where training and held-out pictures change places at random; covers the choice of "
    "both and of images, not retraining"
)


@dataclass(frozen=True)
class Beside:
    """n images beside their nearest training and held-out pictures, of m each.

    training, held_out: positions (n,); to_training, to_held_out: distances (n,).
    """

    training: NDArray[np.int64]
    held_out: NDArray[np.int64]
    to_training: Floats
    to_held_out: Floats
    pictures: int

    @property
    def nearer(self) -> Floats:
        """1 for an image nearer to a training picture, 0 to a held-out one, ties 1/2; (n,)."""
        t, h = self.to_training, self.to_held_out
        return np.where(np.isclose(t, h, rtol=EQUAL, atol=0), 0.5, t < h)

    @property
    def copied(self) -> NDArray[np.bool_]:
        """Which images are near copies, (n,)."""
        return near_copies(self.to_training, self.to_held_out)


def near_copies(to_training: Floats, to_held_out: Floats) -> NDArray[np.bool_]:
    """Which images are less than COPY as far from a training as from any held-out picture, (n,)."""
    near: NDArray[np.bool_] = to_training < COPY * to_held_out
    return near


def beside(images: Vectors, training: Vectors, held_out: Vectors) -> Beside:
    """Each of (n, d) images beside the nearest of (m, d) training and of held-out pictures."""
    t, h = nearest(images, training, 1), nearest(images, held_out, 1)
    return Beside(
        t.positions[:, 0],
        h.positions[:, 0],
        t.distances[:, 0],
        h.distances[:, 0],
        len(held_out),
    )


def held_out_beside(training: Features, held_out: Features) -> Beside:
    """The held-out pictures in the images' place, each beside the others: what copies nothing.

    Each leaves itself out, and a training picture, the one at its own place: m - 1 of each are
    left. Raises UserError where many of them are training pictures.
    """
    t, h = nearest(held_out, training, 2), nearest(held_out, held_out, 2)
    m = len(held_out)
    if (both := int((t.distances[:, 0] == 0).sum())) > max(1, OVERLAP * m):
        raise UserError(
            f"{both:,} of {m:,} held-out pictures are training pictures too, so nothing could be "
            "told; name others with --against, such as CACHE:test"
        )
    (t_at, to_t), (h_at, to_h) = (_another(each) for each in (t, h))
    return Beside(t_at, h_at, to_t, to_h, m)


def _another(found: Nearest) -> tuple[NDArray[np.int64], Floats]:
    """The nearest but that at each query's own place, of two: positions and distances, (m,)."""
    here = np.arange(len(found.positions))
    which = (found.positions[:, 0] == here).astype(np.int64)
    return found.positions[here, which], found.distances[here, which]


def share_nearer(found: Beside) -> Interval:
    """The share of images that are nearer to a training than to any held-out picture."""
    return _share(found, found.nearer)


def share_copied(found: Beside) -> Interval:
    """The share of near copies."""
    return _share(found, found.copied)


def _share(found: Beside, which: NDArray[Any]) -> Interval:
    n = effective_images(found)
    return wilson(float(which.mean()) * n, n)


def effective_images(found: Beside) -> float:
    """How many independent images would tell as much; at most n.

    c_i images have picture i of all N = 2 m as their nearest. If it is chance which half of the
    pictures was trained on, then given all pictures and images the share has the variance
        N / (4 n² (N - 1)) (sum c_i² - n² / N)
    of a random half of a finite population (Cochran 1977, eq. 2.8); of n independent images it
    would be 1 / (4 n). Images that crowd around few pictures tell less, were there ever so many.
    """
    n, N = len(found.nearer), 2 * found.pictures
    counts = np.bincount(found.training, found.nearer, minlength=found.pictures)
    others = np.bincount(found.held_out, 1 - found.nearer, minlength=found.pictures)
    squares = float(counts @ counts + others @ others)
    return n / max(1.0, N / (N - 1) * (squares - n * n / N) / n)


def require_enough(pictures: int) -> None:
    """Raise TooFewImages below FEWEST training and held-out pictures."""
    if pictures < FEWEST:
        raise TooFewImages(
            f"memorisation needs at least {FEWEST} training and as many held-out pictures, got "
            f"{pictures}; give more with --against and --train, or a larger -n"
        )
