"""Networks of other libraries, as they are, behind the interface of ours.

All of their options can be given, by their own names; but what the pictures decide.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from safelight.errors import MissingLibrary, UserError, lookup
from safelight.nets.unet import check_shape

Shape = tuple[int, int, int]
FOURIER, LEARNED = "fourier", "learned"  # of the rows of UNet2DModel's time_embedding_type


class Foreign(NamedTuple):
    """A network of another library."""

    library: str
    name: str
    extra: str
    """Which one of our extras brings the library."""
    usual: Mapping[str, Any]
    """Our word for what has no usual value there."""
    fixed: Sequence[str]
    """What is not to be chosen: the pictures decide it, or what is learnt."""
    where: str = "--net.options"
    """What the options are given in."""

    def make(self) -> Any:
        """The class; raises MissingLibrary where it can't be had."""
        try:
            return getattr(import_module(self.library), self.name)
        except ImportError as error:
            raise MissingLibrary(
                f"{self.name} is a network of {self.library}, which cannot be imported here "
                f"({error}); pip install 'safelight[{self.extra}]'"
            ) from error

    def options(self) -> dict[str, Any]:
        """Those that may be chosen, and their usual values."""
        parameters = inspect.signature(self.make()).parameters
        usual = {name: self.usual.get(name, parameters[name].default) for name in parameters}
        return {name: value for name, value in usual.items() if name not in self.fixed}

    def given(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The same with those that are given; raises UserError for one that does not exist."""
        usual = self.options()
        for name in options:
            if name in self.fixed:
                raise UserError(
                    f"{name} of {self.name} follows from the pictures and from what is learnt; "
                    f"leave it out of {self.where}"
                )
            lookup(usual, name, f"option of {self.name} in {self.where}")
        return {name: _tuples(options.get(name, value)) for name, value in usual.items()}

    def several(self, options: Mapping[str, Any], name: str) -> tuple[int, ...]:
        """An option with a number for each resolution; raises UserError where it is not that."""
        value = options[name]
        if not isinstance(value, tuple) or not value or any(type(x) is not int for x in value):
            raise UserError(
                f"{name} in {self.where} is a list of whole numbers, one for each resolution, such "
                f"as [1, 2], and not {value!r}"
            )
        return value

    def tried(self, options: Mapping[str, Any], *inputs: Tensor) -> Any:
        """What a network without memory (torch's device meta) answers: shapes, no numbers.

        Raises UserError with the library's own words where it can't be made or called.
        """
        make = self.make()
        try:
            with torch.device("meta"), torch.no_grad():
                return make(**options)(*(x.to("meta") for x in inputs))
        except Exception as error:  # whatever it is, these options brought it about
            said = " ".join(str(error).split()) or type(error).__name__
            raise UserError(f"{self.name} refuses what is in {self.where}: {said[:300]}") from error

    def built(self, options: Mapping[str, Any], *inputs: Tensor) -> Any:
        """The network, after one without memory has been tried."""
        self.tried(options, *inputs)
        return self.make()(**options)


UNET2D = Foreign(
    "diffusers",
    "UNet2DModel",
    "reference",
    usual={},
    fixed=("sample_size", "in_channels", "out_channels", "num_class_embeds"),
)
LUCIDRAINS = Foreign(
    "denoising_diffusion_pytorch",
    "Unet",
    "lucidrains",
    usual={"dim": 64},
    fixed=("channels", "out_dim", "learned_variance", "self_condition"),
)
FOREIGN = {"reference": UNET2D, "lucidrains": LUCIDRAINS}


class Reference(nn.Module):
    """diffusers' UNet2DModel: predicts F(x, step, y).

    Args:
        shape: (c, h, w) of the images; h and w have to halve as often as there are resolutions
            besides the first.
        classes: number of classes; 0 for none. Label `classes` stands for "no class".
        answers: how many images the network gives, one after another in the channels.
        options: of UNet2DModel, by name; as they are there unless given.

    With its time_embedding_type "fourier" it is told sigma / alpha and answers eps / sigma, as
    networks of scores do; that is multiplied again, so that F is of one size at all levels.
    """

    def __init__(
        self,
        shape: Shape,
        classes: int = 0,
        answers: int = 1,
        *,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        channels, *sides = shape
        chosen = UNET2D.given(options or {})
        depth = len(UNET2D.several(chosen, "block_out_channels"))
        check_shape(shape, depth, fewer="{} block_out_channels with --net.options".format)
        chosen |= {
            "sample_size": tuple(sides),
            "in_channels": channels,
            "out_channels": answers * channels,
            "num_class_embeds": classes + 1 if classes else None,
        }
        self.classes = classes
        self.embedding, self.steps = chosen["time_embedding_type"], chosen["num_train_timesteps"]
        self.told = "sigma" if self.embedding == FOURIER else "step"
        self.widths = chosen["block_out_channels"]
        label = [torch.zeros(2, dtype=torch.long)] if classes else []
        self.unet = UNET2D.built(chosen, torch.zeros(2, *shape), torch.ones(2).long(), *label)

    def forward(self, x: Tensor, told: Tensor, y: Tensor | None = None) -> Tensor:
        """x (b, c, h, w), told (b,), y (b,) int64 or None -> F (b, answers c, h, w)."""
        if y is None and self.classes:
            y = torch.full((len(x),), self.classes, device=x.device)
        if self.embedding == LEARNED:
            told = self._known(told)
        answer: Tensor = self.unet(x, told, y if self.classes else None, return_dict=False)[0]
        return answer * told[:, None, None, None] if self.embedding == FOURIER else answer

    def _known(self, step: Tensor) -> Tensor:
        """The nearest step that it has learned; raises UserError where there are too few."""
        nearest = step.round().long()
        if (nearest >= self.steps).any():
            raise UserError(
                f"the network is told of step {int(nearest.max())} and has {self.steps} to learn; "
                "give the path's number of steps as num_train_timesteps with --net.options"
            )
        return nearest


class Lucidrains(nn.Module):
    """The Unet of lucidrains' denoising_diffusion_pytorch: predicts F(x, step); it has no classes.

    Args: as of `Reference`; its option `dim` is 64 unless given.
    """

    told = "step"

    def __init__(
        self,
        shape: Shape,
        classes: int = 0,
        answers: int = 1,
        *,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if classes:
            raise UserError(
                "the network lucidrains cannot be told a class; add --data.no-conditional, or "
                "choose another --net.kind"
            )
        chosen = LUCIDRAINS.given(options or {})
        depth = len(LUCIDRAINS.several(chosen, "dim_mults"))
        check_shape(shape, depth, fewer="{} dim_mults with --net.options".format)
        chosen |= {"channels": shape[0], "out_dim": answers * shape[0]}
        self.classes = 0
        self.unet = LUCIDRAINS.built(chosen, torch.zeros(2, *shape), torch.zeros(2))
        self.widths = tuple(chosen["dim"] * times for times in chosen["dim_mults"])

    def forward(self, x: Tensor, step: Tensor, y: Tensor | None = None) -> Tensor:
        """x (b, c, h, w), step (b,), y: of no matter -> F (b, answers c, h, w)."""
        return self.unet(x, step.float())  # type: ignore[no-any-return]


def _tuples(value: Any) -> Any:
    """Sequences as these libraries write them."""
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value
