"""Which network a configuration describes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

from safelight.config import Net, plain
from safelight.errors import UserError, lookup
from safelight.nets.classic import ClassicUNet
from safelight.nets.plain import PlainNet
from safelight.nets.reference import FOREIGN, Lucidrains, Reference
from safelight.nets.transformer import Transformer
from safelight.nets.unet import UNet, attention_heights

# Each is called with the shape of the images, the number of classes and of answers, and those
# fields of `Net` that it names; one that names `varied` can be told how images were varied, by so
# many numbers.
NETS: dict[str, Callable[..., nn.Module]] = {
    "unet": UNet,
    "classic": ClassicUNet,
    "transformer": Transformer,
    "plain": PlainNet,
    "reference": Reference,
    "lucidrains": Lucidrains,
}


def build_net(
    options: Net, shape: tuple[int, int, int], classes: int, answers: int = 1, varied: int = 0
) -> nn.Module:
    """An untrained network, drawn from the global stream of random numbers.

    Raises UserError where it can't be built, or an option would change nothing.
    """
    make = lookup(NETS, options.kind, "network")
    changes, heeds = options.changes(), heeded(options.kind)
    if unheeded := [name for name in changes if name not in (*heeds, "kind")]:
        name = unheeded[0]
        others = [kind for kind in NETS if name in heeded(kind)]
        raise UserError(
            f"the network {options.kind} has no --net.{name}; leave it out, or choose --net.kind "
            f"{' or '.join(others)}"
        )
    if varied and "varied" not in inspect.signature(make).parameters:
        raise UserError(
            f"the network {options.kind} cannot be told how pictures were varied; leave "
            "--data.augment out, or choose another --net.kind"
        )
    told = {"varied": varied} if varied else {}
    return make(shape, classes, answers, **told, **{name: getattr(options, name) for name in heeds})


def heeded(kind: str) -> tuple[str, ...]:
    """The fields of `Net` that this network is made of."""
    return tuple(
        name for name in inspect.signature(NETS[kind]).parameters if name in Net.model_fields
    )


Rule = tuple[Callable[[Net], bool], str]  # what is refused, and what to do instead


def _of_attention(name: str) -> Rule:
    option = f"--net.{name.replace('_', '-')}"
    return (
        lambda net: getattr(net, name) is not None and not _attends(net),
        f"{option} is of the attention, and there is none; leave it out ({option} None, where the "
        "preset has it), or say where it attends, such as --net.attention coarsest",
    )


def _attends(net: Net) -> bool:
    """Whether there is attention in it, at any resolution."""
    if "attention" not in heeded(net.kind):
        return True  # all through it, or it has no such options
    return bool(attention_heights(net.attention, 2 ** len(net.widths), len(net.widths)))


def _between_resolutions(name: str) -> Rule:
    usual = getattr(Net(), name)
    return (
        lambda net: getattr(net, name) != usual and len(net.widths) == 1,
        f"--net.{name} is how one resolution becomes another, and one width is one resolution; "
        f"leave it at {usual}, or give several --net.widths",
    )


# What would change nothing of a network that has the option. Runs of before it was refused go on.
UNHEEDED: tuple[Rule, ...] = (
    _of_attention("heads"),
    _of_attention("attention_norm"),
    _of_attention("feedforward"),
    _between_resolutions("down"),
    _between_resolutions("up"),
    (
        lambda net: net.middle != Net().middle and net.blocks == 1,
        "--net.middle is the width of all but the last of --net.blocks, and there is one; leave "
        "it out, or give more blocks",
    ),
    (
        lambda net: net.spread is not None and net.frequencies == 1 and net.embedding != "fourier",
        "--net.spread is the ratio of the highest frequency to the lowest, and --net.frequencies "
        "is 1; leave it out, or give more frequencies",
    ),
)


def require_acting(net: Net) -> None:
    """Raises UserError where an option that the network has would change nothing."""
    lookup(NETS, net.kind, "network")
    for broken, remedy in UNHEEDED:
        if broken(net):
            raise UserError(remedy)


def suited(net: Net, kind: str) -> Net:
    """What another network makes of the options: it leaves out those that it does not have.

    Those of another library are of one network alone.
    """
    lookup(NETS, kind, "network")
    heeds = {*heeded(kind)} - {"options"}
    kept = {name: value for name, value in net.changes().items() if name in heeds}
    return Net(**{**kept, "kind": kind})


def settled_net(net: Net) -> Net:
    """The same with all options of another library's network: its usual ones may change."""
    if net.kind not in FOREIGN:
        return net
    return net.model_copy(update={"options": plain({**_usual(net.kind), **net.options})})


def further_options(net: Net, base: Net) -> dict[str, Any]:
    """Those --net.options that make this network of `base`, whose own stay: what has to be said."""
    if net.kind not in FOREIGN:
        return net.options
    usual = {**_usual(net.kind), **(base.options if base.kind == net.kind else {})}
    options = {**_usual(net.kind), **net.options}
    return {name: x for name, x in options.items() if name not in usual or x != usual[name]}


def _usual(kind: str) -> dict[str, Any]:
    usual: dict[str, Any] = plain(FOREIGN[kind].options())
    return usual
