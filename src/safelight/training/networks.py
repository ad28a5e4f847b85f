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
from safelight.nets.unet import UNet

# Each is called with the shape of the images, the number of classes and of answers, and those
# fields of `Net` that it names.
NETS: dict[str, Callable[..., nn.Module]] = {
    "unet": UNet,
    "classic": ClassicUNet,
    "transformer": Transformer,
    "plain": PlainNet,
    "reference": Reference,
    "lucidrains": Lucidrains,
}


def build_net(
    options: Net, shape: tuple[int, int, int], classes: int, answers: int = 1
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
    return make(shape, classes, answers, **{name: getattr(options, name) for name in heeds})


def heeded(kind: str) -> tuple[str, ...]:
    """The fields of `Net` that this network is made of."""
    return tuple(
        name for name in inspect.signature(NETS[kind]).parameters if name in Net.model_fields
    )


def suited(net: Net, kind: str) -> Net:
    """What another network makes of the options: it leaves out those that it does not have."""
    lookup(NETS, kind, "network")
    kept = {name: value for name, value in net.changes().items() if name in heeded(kind)}
    return Net(**{**kept, "kind": kind})


def settled_net(net: Net) -> Net:
    """The same with all options of another library's network: its usual ones may change."""
    if net.kind not in FOREIGN:
        return net
    return net.model_copy(update={"options": plain({**_usual(net.kind), **net.options})})


def unsettled_net(net: Net) -> Net:
    """The same without a word of what is usual: what a command has to say."""
    if net.kind not in FOREIGN:
        return net
    usual = _usual(net.kind)
    options = {name: x for name, x in net.options.items() if name not in usual or x != usual[name]}
    return net.model_copy(update={"options": options})


def _usual(kind: str) -> dict[str, Any]:
    usual: dict[str, Any] = plain(FOREIGN[kind].options())
    return usual
