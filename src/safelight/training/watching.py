"""Looking at a model while it trains: what is asked of it, and its pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from torch import nn

from safelight.config import Sampling
from safelight.data.cache import Cache
from safelight.errors import UserError
from safelight.images import ImageSource, contact_sheet, held

if TYPE_CHECKING:
    from safelight.training.run import Run


class Examiner(Protocol):
    """Asks models of one family the same questions at every step of every run."""

    def look(self, model: nn.Module, micro_batch: int) -> dict[str, Any]:
        """What the log gets; nothing where there is nothing to ask."""
        ...

    def curves(self, name: str, found: dict[str, Any]) -> dict[str, float]:
        """The same as TensorBoard's curves; `name` says of which weights."""
        ...


class Judge(Protocol):
    """Measures the images of a model on its way, in the same way at every step."""

    @property
    def about(self) -> str:
        """What is measured of what, in words."""
        ...

    def prepare(self, source: ImageSource) -> None:
        """What is done once: looks at the real images, unless that has been done."""
        ...

    def cost(self, source: ImageSource) -> float:
        """Prepares; and then the seconds that a look will take, from a few images."""
        ...

    def look(self, source: ImageSource) -> dict[str, Any]:
        """What the log gets."""
        ...

    def curves(self, found: Mapping[str, Any]) -> dict[str, float]:
        """The same as TensorBoard's curves."""
        ...

    def told(self, found: Mapping[str, Any]) -> str:
        """The same in a line."""
        ...


class ModelSource(ImageSource, Protocol):
    """The images of a run's model."""

    @property
    def trained(self) -> Mapping[str, str]:
        """Which of the run's weights it has, as options."""
        ...

    @property
    def evaluations(self) -> int | None:
        """Network calls for each image; None where that differs from image to image."""
        ...

    @property
    def slug(self) -> str:
        """How its images are drawn, as a part of a folder's name."""
        ...

    def describe(self) -> str:
        """How its images are drawn, in words."""
        ...

    def record(self) -> dict[str, Any]:
        """The same for a file."""
        ...


def require_undrawn(run: Run, samplings: Sequence[Sampling]) -> None:
    """Raises UserError where options say how images are drawn, and the model has one way only."""
    changes = [name for sampling in samplings for name in sampling.changes()]
    if changes:
        raise UserError(
            f"--{changes[0].replace('_', '-')} is of diffusion models, and {run.path} is of the "
            f"family {run.config.family}, which has one way only; leave it out"
        )


def validation_split(cache: Cache) -> Cache | None:
    """The validation split, or None where there is none."""
    try:
        return cache.subset("validation")
    except UserError:
        return None


def draw_preview(run: Run, source: ImageSource, step: int) -> None:
    """A contact sheet of the same seeds at every step: four rows, a column for each class."""
    columns = min(10, len(run.classes)) or 8
    images = source.images(held(source, preview_seeds(len(run.classes), columns)))
    run.save_preview(step, contact_sheet(images, columns))


def preview_seeds(classes: int, columns: int, rows: int = 4) -> list[int]:
    """Row by row; the seed of column k has class k, since classes are taken in turn."""
    stride = max(classes, columns)
    return [row * stride + column for row in range(rows) for column in range(columns)]
