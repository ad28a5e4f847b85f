"""What can be done to pictures: each edit is a row of EDITS, its options the fields of its class.

Light, since the command line makes its options from these.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

from safelight.config import Positive, Section, Share


class Inpaint(Section):
    """Draw a part of each picture anew; the rest stays as it is, pixel for pixel."""

    mask: Path
    """A picture of the same size: what is white there is drawn anew, what is black stays."""
    repeats: Positive = 5
    """Walks over each tenth of the way; more fit the new part better to the old, and cost more."""


class ImageToImage(Section):
    """Add noise to each picture and redraw it: similar, but new."""

    strength: Share | None = None
    """The noise's share, sigma / (alpha + sigma): 0 leaves the picture, 1 forgets it.

    0.5 unless given.
    """
    level: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """The same as a noise level sigma / alpha, in place of the strength."""


class SuperResolution(Section):
    """Draw pictures of the model's size whose blocks of pixels have the colours of small ones."""

    repeats: Positive = 5
    """Walks over each tenth of the way; more fit the details better together, and cost more."""


class Invert(Section):
    """Find the noise that each picture comes from, and draw the picture again from it."""


class Interpolate(Section):
    """Draw the pictures between two: between the noises that they come from, or two seeds'."""

    seeds: tuple[int, int] | None = None
    """Two seeds, such as 3,17, in place of two pictures."""
    frames: Annotated[int, Field(ge=2)] = 9
    """Pictures of the way, both ends among them."""
    part: tuple[Share, Share] | None = None
    """The part of the way that they show, such as 0.6,0.7; all of it unless given."""

    @field_validator("part")
    @classmethod
    def _forward(cls, part: tuple[float, float] | None) -> tuple[float, float] | None:
        if part is not None and part[0] >= part[1]:
            raise ValueError(f"{part[0]:g},{part[1]:g} goes nowhere; give two rising shares")
        return part


Edit = Inpaint | ImageToImage | SuperResolution | Invert | Interpolate
EDITS: dict[str, type[Edit]] = {
    "inpaint": Inpaint,
    "image-to-image": ImageToImage,
    "super-resolution": SuperResolution,
    "invert": Invert,
    "interpolate": Interpolate,
}


def name_of(task: Edit) -> str:
    return next(name for name, kind in EDITS.items() if isinstance(task, kind))
