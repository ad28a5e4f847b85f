"""Less memory for more time: what a block computes is not kept for the way back but computed again.

arXiv:1604.06174, for `train --low-memory`. A block's inputs are kept, and on the way back its
inside is there for as long as it is needed: one block's at a time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from safelight.config import Config

# Parts of what holds them, which calls them one by one.
CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
SMALLER = "choose smaller --net.widths"


def recompute(net: nn.Module) -> None:
    """Let each of the network's blocks be computed again on the way back, in place.

    Its state dict is as it was, and so are its copies; gradients are the same, to the bit. Only
    what is computed for learning is computed twice: in training mode, and where gradients are on.
    """
    for block in blocks(net):
        # Bound to the block, so that a copy of the network has its own.
        block.forward = MethodType(_forward, block)


def blocks(net: nn.Module) -> list[nn.Module]:
    """The innermost of its modules, containers aside, that hold two layers with weights or more.

    Residual blocks, attention, a transformer's layers and pairs of convolutions are such, in every
    family's networks and in those of other libraries.
    """
    inner = [block for child in net.children() for block in blocks(child)]
    if inner or isinstance(net, CONTAINERS):
        return inner
    layers = sum(any(True for _ in part.parameters(recurse=False)) for part in net.modules())
    return [net] if layers > 1 else []


def advice(config: Config) -> str:
    """What makes a step need less memory."""
    if config.low_memory or config.family == "gan":  # which has no blocks
        return SMALLER
    return f"add --low-memory or {SMALLER}"


def _forward(block: nn.Module, *inputs: Any, **named: Any) -> Any:
    """What the block answers, of which nothing but the inputs is kept."""
    usual = type(block).forward
    if not (block.training and torch.is_grad_enabled()):
        return usual(block, *inputs, **named)
    if any(True for _ in block.buffers()):
        named["context_fn"] = _as_before(block)
    # Of the two ways, the one that computes the same graph, and lets inputs be without gradient.
    return checkpoint(usual, block, *inputs, use_reentrant=False, **named)


def _as_before(
    block: nn.Module,
) -> Callable[[], tuple[AbstractContextManager[None], AbstractContextManager[None]]]:
    """For `checkpoint`: the second time begins with the buffers of the first, and changes none.

    Batch normalisation's running statistics take in each batch once.
    """
    before = [
        (module, name, buffer.clone())
        for module in block.modules()
        for name, buffer in module.named_buffers(recurse=False)
    ]
    return lambda: (contextlib.nullcontext(), _in_place_of_buffers(before))


@contextlib.contextmanager
def _in_place_of_buffers(others: list[tuple[nn.Module, str, Tensor]]) -> Iterator[None]:
    """With copies of these, which may be changed, in the place of the modules' own buffers."""
    own = [(module, name, module._buffers[name]) for module, name, _ in others]
    for module, name, other in others:
        module._buffers[name] = other.clone()
    try:
        yield
    finally:
        for module, name, buffer in own:
            module._buffers[name] = buffer
