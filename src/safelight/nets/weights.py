"""Others' trained weights in a network of ours that is built alike: their names and shapes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from safelight.errors import UserError, lookup
from safelight.nets.blocks import PlaceNorm, SelfAttention
from safelight.nets.classic import ClassicUNet, Pair
from safelight.nets.embedding import StepEmbedding
from safelight.nets.reference import Lucidrains, Reference


class Need(NamedTuple):
    """An option that names and shapes of weights do not show, and how one sees it in a part."""

    option: str
    part: type[nn.Module]
    holds: Callable[[Any], bool]


class Layout(NamedTuple):
    """How another library names and shapes the tensors of a network of ours."""

    kind: type[nn.Module]
    name: Callable[[nn.Module, str], str]
    """Its name of one of the network's tensors."""
    shaped: Callable[[str, Tensor], Tensor] = lambda name, tensor: tensor
    """One of its tensors in our shape."""
    options: Sequence[Need] = ()


def load(net: nn.Module, weights: Mapping[str, Tensor], layout: str, under: str = "") -> None:
    """Copy the weights of another library's network into ours.

    Args:
        net: a network (the `net` of a denoiser) with the same options.
        weights: by their names there, as in its `state_dict()`.
        layout: whose they are, a row of `LAYOUTS`.
        under: what the names of the network's begin with where it was a part of something else,
            such as "model."; what does not begin so is left alone.

    Raises UserError that names the first tensor that is missing, unknown or of another shape.
    """
    row = lookup(LAYOUTS, layout, "layout of weights")
    if not isinstance(net, row.kind):
        raise UserError(
            f"weights of {layout} belong into a {row.kind.__name__} and not into a "
            f"{type(net).__name__}; choose its options as docs/extending.md has them"
        )
    _require_options(net, row.options)
    state = net.state_dict()
    names = {name: row.name(net, name) for name in state}
    theirs = {k.removeprefix(under): v for k, v in weights.items() if k.startswith(under)}
    _require_same_names(names.values(), theirs, weights)
    taken = {name: row.shaped(there, theirs[there]) for name, there in names.items()}
    for name, ours in state.items():
        if taken[name].shape != ours.shape:
            raise UserError(
                f"{names[name]} is {tuple(theirs[names[name]].shape)} in the weights, which does "
                f"not fit {tuple(ours.shape)} in the network; choose the options that it has"
            )
    net.load_state_dict(taken)


def _require_options(net: nn.Module, needs: Sequence[Need]) -> None:
    for need in needs:
        if not all(need.holds(part) for part in net.modules() if isinstance(part, need.part)):
            raise UserError(
                f"the network that these weights are of has {need.option}, and this one has not; "
                "make it with that"
            )


def _require_same_names(
    wanted: Collection[str], theirs: Collection[str], weights: Collection[str]
) -> None:
    for name in wanted:
        if name not in theirs:
            inside = [key.removesuffix(name) for key in weights if key.endswith("." + name)]
            remedy = f'say under="{inside[0]}"' if inside else "choose the options that it has"
            raise UserError(f"the weights have no {name}, and the network does; {remedy}")
    if more := sorted(set(theirs) - set(wanted)):
        raise UserError(
            f"the network has no {more[0]}, and the weights do; choose the options that it has"
        )


def _of_adapter(net: nn.Module, name: str) -> str:
    return name.removeprefix("unet.")


# Parts of ClassicUNet, and of its levels and their attention, in the words of tcapelle.
OUTER = {"stem.layers": "inc.double_conv", "head": "outc", "embed_class": "label_emb"}
ATTENTION = {
    "norm": "ln",
    "qkv.weight": "mha.in_proj_weight",
    "qkv.bias": "mha.in_proj_bias",
    "out": "mha.out_proj",
    "feedforward": "ff_self",
}


def _of_tcapelle(net: nn.Module, name: str) -> str:
    """down.1.attend.out.bias is sa2.mha.out_proj.bias, and so on."""
    assert isinstance(net, ClassicUNet)
    part, *_ = name.split(".")
    if part == "middle":
        _, n, _, rest = name.split(".", 3)
        # bot2 is the one that the later and smaller of their networks do without.
        return f"bot{3 if int(n) + 1 == len(net.middle) else int(n) + 1}.double_conv.{rest}"
    if part not in ("down", "up"):
        return _renamed(name, OUTER)
    _, n, inner, rest = name.split(".", 3)
    level = int(n) + 1
    if inner == "attend":
        before = len(net.down) if part == "up" else 0
        return f"sa{before + level}.{_renamed(rest, ATTENTION)}"
    if inner == "shift":
        return f"{part}{level}.emb_layer.1.{rest}"
    pair, _, rest = rest.split(".", 2)
    inside = f"maxpool_conv.{int(pair) + 1}" if part == "down" else f"conv.{pair}"
    return f"{part}{level}.{inside}.double_conv.{rest}"


def _renamed(name: str, table: Mapping[str, str]) -> str:
    ours = next(ours for ours in table if name.startswith(ours))
    return table[ours] + name.removeprefix(ours)


def _shaped_as_ours(name: str, tensor: Tensor) -> Tensor:
    """Matrices as 1x1 convolutions; no class, which theirs adds nothing for, as a row of zeros."""
    if name == "label_emb.weight":
        return torch.cat([tensor, tensor.new_zeros(1, tensor.shape[1])])
    within = name.split(".")[1]
    return tensor[..., None, None] if within in ("mha", "ff_self") and tensor.ndim == 2 else tensor


def _has_its_frequencies(net: ClassicUNet) -> bool:
    found, expected = net.embed_level, StepEmbedding(2 * len(net.embed_level.frequencies))
    return isinstance(found, StepEmbedding) and torch.equal(
        found.frequencies.cpu(), expected.frequencies
    )


TCAPELLE = (
    Need("--net.embedding steps and the usual --net.spread", ClassicUNet, _has_its_frequencies),
    Need("--net.norm layer", Pair, lambda pair: getattr(pair.layers[1], "num_groups", 0) == 1),
    Need("--net.activation gelu", Pair, lambda pair: isinstance(pair.act, nn.GELU)),
    Need("--net.down max", nn.AvgPool2d, lambda down: False),
    Need("--net.up corners", nn.Upsample, lambda up: bool(up.align_corners)),
    Need("--net.heads 4", SelfAttention, lambda attend: attend.heads == 4),
    Need(
        "--net.attention-norm place",
        SelfAttention,
        lambda attend: isinstance(attend.norm, PlaceNorm),
    ),
)
LAYOUTS: dict[str, Layout] = {
    "diffusers": Layout(Reference, _of_adapter),
    "lucidrains": Layout(Lucidrains, _of_adapter),
    "tcapelle": Layout(ClassicUNet, _of_tcapelle, _shaped_as_ours, TCAPELLE),
}
