"""What the loop knows of what it trains: one loop trains every family through this."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol, Self

import torch
from torch import Tensor, nn

from safelight.seeding import Noise
from safelight.training.batches import Batch


class Problem(NamedTuple):
    """What the pictures decide of a model."""

    shape: tuple[int, int, int]  # (c, h, w)
    classes: int  # 0 where the model is not to know them
    sigma_data: float  # standard deviation of the pictures, in [-1, 1]


@dataclass(frozen=True)
class Turn:
    """Whose turn it is in a step, and the share of the run that is done, in [0, 1)."""

    phase: str
    done: float = 0.0


class Learner(Protocol):
    """A module whose forward pass gives the losses, so that any data-parallel wrapper fits."""

    @property
    def model(self) -> nn.Module:
        """What images are drawn with: averaged, and kept in checkpoints raw and averaged."""
        ...

    @property
    def phases(self) -> tuple[str, ...]:
        """The turns of a step, in their order: each has its loss, its gradient and its update."""
        ...

    def __call__(self, batch: Batch, noise: Noise, turn: Turn) -> dict[str, Tensor]:
        """ "loss" (b,) of each image.

        "level" (b,), where there is one, to say at which noise level a loss was not finite.
        "seen" (2, b), where there is an `observe`: what it wants to know of each image.
        """
        ...

    def taught(self, phase: str) -> Iterable[nn.Parameter]:
        """The parameters that a phase updates."""
        ...

    @property
    def observe(self) -> Callable[[Tensor], None] | None:
        """To be called after each step with what was "seen" of all images of all processes."""
        ...

    # As every module has them.

    def to(self, device: torch.device) -> Self: ...

    def train(self) -> Self: ...

    def parameters(self) -> Iterator[nn.Parameter]: ...

    def state_dict(self) -> dict[str, Tensor]: ...

    def load_state_dict(self, state_dict: Mapping[str, Tensor], strict: bool) -> object: ...


def extras(learner: Learner) -> dict[str, Tensor]:
    """What a learner holds besides its model, to be kept in checkpoints."""
    state = learner.state_dict()
    return {name: state[name] for name in state if not name.startswith("model.")}


def load_extras(learner: Learner, kept: Mapping[str, Tensor]) -> None:
    learner.load_state_dict(kept, strict=False)  # the model is loaded by itself
