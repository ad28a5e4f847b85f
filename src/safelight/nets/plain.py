"""The plain network: convolutions down, transposed convolutions up, and no shortcut between."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from safelight.errors import lookup
from safelight.nets.blocks import ACTIVATIONS, NORMS, zeroed
from safelight.nets.embedding import embed_change, level_embedding, told, with_change, with_class
from safelight.nets.unet import check_shape


class PlainNet(nn.Module):
    """Predicts F(x, c_noise, y); all that it knows of x has come through the coarsest resolution.

    What a U-Net is measured against: the same way down and up, without what crosses over.

    Args:
        shape: (c, h, w) of the images; h and w have to halve len(widths) - 1 times.
        classes: number of classes; 0 for none. Label `classes` stands for "no class".
        answers: how many images the network gives, one after another in the channels.
        varied: how many numbers tell it how images were varied; 0 where it is not told.
        widths: channels at each resolution, finest first; their number is the depth.
        norm, activation: rows of the tables of these names.
        embedding, spread: see `level_embedding`.
        frequencies: how many of them the embedding has; half of the first width unless given.
        dropout: share of a layer's features that is forgotten at random while training.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        classes: int = 0,
        answers: int = 1,
        varied: int = 0,
        *,
        widths: Sequence[int] = (64, 128, 256),
        norm: str = "group",
        activation: str = "silu",
        embedding: str = "fourier",
        frequencies: int | None = None,
        spread: float | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_shape(shape, len(widths))
        channels, first, e = shape[0], widths[0], 4 * widths[0]
        self.classes, self.told = classes, told(embedding)
        self.act = lookup(ACTIVATIONS, activation, "activation")()
        half = -(-first // 2)
        self.embed_level = level_embedding(embedding, frequencies or half, spread, e, self.act)
        self.embed_class = nn.Embedding(classes + 1, e) if classes else None
        # Kernels of 4 at a stride of 2 count every pixel alike: others lay a chequered pattern.
        convolutions = [
            nn.Conv2d(channels, first, 3, padding=1),
            *(nn.Conv2d(i, o, 4, stride=2, padding=1) for i, o in pairwise(widths)),
            *(
                nn.ConvTranspose2d(i, o, 4, stride=2, padding=1)
                for i, o in pairwise(reversed(widths))
            ),
        ]
        self.layers = nn.ModuleList(
            Told(layer, layer.out_channels, e, norm, self.act, dropout) for layer in convolutions
        )
        self.head = zeroed(nn.Conv2d(first, answers * channels, 3, padding=1))
        self.embed_change = embed_change(varied, e)  # last: no other draw moves

    def forward(
        self, x: Tensor, c_noise: Tensor, y: Tensor | None = None, varied: Tensor | None = None
    ) -> Tensor:
        """x (b, c, h, w), c_noise (b,), y (b,) int64 or None -> F (b, answers c, h, w).

        varied (b, labels): how the images were; None is not at all.
        """
        embedding = with_class(self.embed_level(c_noise), self.embed_class, y)
        embedding = self.act(with_change(embedding, self.embed_change, varied))
        for layer in self.layers:
            x = layer(x, embedding)
        return self.head(x)  # type: ignore[no-any-return]


class Told(nn.Module):
    """drop(act(modulate(norm(layer(x))))), with the embedding's scale and shift."""

    def __init__(
        self,
        layer: nn.Module,
        outputs: int,
        embedding: int,
        norm: str,
        act: nn.Module,
        dropout: float,
    ) -> None:
        super().__init__()
        self.layer, self.act = layer, act
        self.norm = lookup(NORMS, norm, "normalisation")(outputs)
        self.modulation = nn.Linear(embedding, 2 * outputs)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """x (b, c, h, w), embedding (b, e)."""
        scale, shift = self.modulation(embedding)[:, :, None, None].chunk(2, dim=1)
        return self.dropout(self.act(torch.addcmul(shift, self.norm(self.layer(x)), scale + 1)))  # type: ignore[no-any-return]
