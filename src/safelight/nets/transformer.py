"""The diffusion transformer: an image as a row of patches, arXiv:2212.09748."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from safelight.errors import UserError
from safelight.nets.blocks import attend, heads_of, zeroed
from safelight.nets.embedding import embed_change, level_embedding, told, with_change, with_class
from safelight.nets.resampling import check_tiles


class Transformer(nn.Module):
    """Predicts F(x, c_noise, y).

    Args:
        shape: (c, h, w) of the images; `patch` has to divide h and w.
        classes: number of classes; 0 for none. Label `classes` stands for "no class".
        answers: how many images the network gives, one after another in the channels.
        varied: how many numbers tell it how images were varied; 0 where it is not told.
        widths: channels of a patch; there is one width.
        blocks: layers of attention.
        patch: height and width of a patch in pixels.
        heads: of the attention; they divide the width; one for 64 channels unless given.
        feedforward: width of the layers between the attention, in that of a patch; 4 unless given.
        embedding, frequencies, spread: see `level_embedding`.
        dropout: share of what each layer adds that is forgotten at random while training.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        classes: int = 0,
        answers: int = 1,
        varied: int = 0,
        *,
        widths: Sequence[int] = (192,),
        blocks: int = 6,
        patch: int = 2,
        heads: int | None = None,
        feedforward: float | None = None,
        embedding: str = "fourier",
        frequencies: int | None = None,
        spread: float | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        width = _only(widths)
        channels, *sides = shape
        check_tiles(sides, patch, "patch")
        self.classes, self.told, self.patch = classes, told(embedding), patch
        self.rows, self.columns = (side // patch for side in sides)
        self.embed_level = level_embedding(
            embedding, frequencies or width // 2, spread, width, nn.SiLU()
        )
        self.embed_class = nn.Embedding(classes + 1, width) if classes else None
        self.stem = nn.Conv2d(channels, width, patch, stride=patch)
        places = positions(width, self.rows, self.columns)
        self.register_buffer("places", places, persistent=False)
        hidden = round((4.0 if feedforward is None else feedforward) * width)
        self.blocks = nn.ModuleList(
            TransformerBlock(width, heads_of(width, heads), hidden, dropout) for _ in range(blocks)
        )
        self.norm = _bare_norm(width)
        self.modulation = zeroed(nn.Linear(width, 2 * width))
        self.head = zeroed(nn.Linear(width, answers * channels * patch**2))
        self.embed_change = embed_change(varied, width)  # last: no other draw moves

    places: Tensor

    def forward(
        self, x: Tensor, c_noise: Tensor, y: Tensor | None = None, varied: Tensor | None = None
    ) -> Tensor:
        """x (b, c, h, w), c_noise (b,), y (b,) int64 or None -> F (b, answers c, h, w).

        varied (b, labels): how the images were; None is not at all.
        """
        embedding = with_class(self.embed_level(c_noise), self.embed_class, y)
        embedding = with_change(embedding, self.embed_change, varied)
        embedding = nn.functional.silu(embedding)
        h = self.stem(x).flatten(2).transpose(1, 2) + self.places  # (b, rows columns, width)
        for block in self.blocks:
            h = block(h, embedding)
        shift, scale = self.modulation(embedding)[:, None].chunk(2, dim=2)
        return self._image(self.head(torch.addcmul(shift, self.norm(h), scale + 1)))

    def _image(self, h: Tensor) -> Tensor:
        """(b, rows columns, channels patch²) -> (b, channels, rows patch, columns patch)."""
        p = self.patch
        h = h.reshape(len(h), self.rows, self.columns, -1, p, p).permute(0, 3, 1, 4, 2, 5)
        return h.reshape(len(h), -1, self.rows * p, self.columns * p)


class TransformerBlock(nn.Module):
    """Attention and two layers at each place, each modulated and gated by the embedding.

    The gates start at zero, so that the block is the identity before it has learnt anything:
    adaLN-Zero, section 3.2 of arXiv:2212.09748.
    """

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.modulation = zeroed(nn.Linear(width, 6 * width))
        self.norm1, self.norm2 = _bare_norm(width), _bare_norm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feedforward = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(approximate="tanh"), nn.Linear(hidden, width)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """x (b, n, width), embedding (b, width)."""
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(embedding)[:, None].chunk(
            6, dim=2
        )
        h = self._attention(torch.addcmul(shift1, self.norm1(x), scale1 + 1))
        x = torch.addcmul(x, gate1, self.dropout(h))
        h = self.feedforward(torch.addcmul(shift2, self.norm2(x), scale2 + 1))
        return torch.addcmul(x, gate2, self.dropout(h))

    def _attention(self, x: Tensor) -> Tensor:
        b, n, width = x.shape
        tokens = self.qkv(x).reshape(b, n, 3, self.heads, width // self.heads)
        q, k, v = tokens.permute(2, 0, 3, 1, 4)  # (b, heads, n, width of a head)
        return self.out(attend(q, k, v).transpose(1, 2).reshape(b, n, width))  # type: ignore[no-any-return]


def positions(width: int, rows: int, columns: int) -> Tensor:
    """(rows columns, width): sines and cosines of a place's row, then of its column."""
    each = width // 4
    frequencies = 10_000.0 ** -(torch.arange(each) / each)
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    angles = [place.flatten()[:, None] * frequencies for place in (row, column)]
    found = torch.cat([part for angle in angles for part in (angle.sin(), angle.cos())], dim=1)
    return nn.functional.pad(found, (0, width - found.shape[1]))


def _only(widths: Sequence[int]) -> int:
    if len(widths) != 1:
        raise UserError(
            f"a transformer has one width and not {len(widths)}; give one, such as "
            "--net.widths 192, or choose --preset transformer"
        )
    return widths[0]


def _bare_norm(width: int) -> nn.Module:
    """Its scale and shift come from the embedding."""
    return nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
