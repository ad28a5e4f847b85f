"""torch.compile for training: a network is compiled in place, or stays as it is for a reason."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import nn

from safelight.training.shortage import is_shortage

# Dropout draws the masks that it draws in a network that is not compiled.
OPTIONS = {"fallback_random": True}
LONGEST = 160  # characters of a compiler's own words


def compile_network(net: nn.Module, tried: nn.Module, step: Callable[[], object]) -> str | None:
    """Compile `net` in place, for whatever shapes and precision the throw-away `step` has.

    Its state dict and its copies are those of the plain network. What `step` leaves behind in
    `tried`, of which `net` is a part, is taken back: gradients, buffers, the random stream. Where
    it fails `net` is plain again.

    Returns why it can't be compiled, in a few words; None where it could.
    """
    devices = {p.device for p in tried.parameters() if p.device.type == "cuda"}
    before = {buffer: buffer.clone() for buffer in tried.buffers()}
    try:
        net.compile(dynamic=False, options=OPTIONS)  # other shapes are compiled by themselves
        with torch.random.fork_rng(devices=devices):
            step()
    except Exception as error:  # torch has a dozen kinds, and passes on those of the compiler
        decompile(net)
        return reason(error)
    finally:
        tried.zero_grad(set_to_none=True)
        with torch.no_grad():
            for buffer, value in before.items():
                buffer.copy_(value)
    return None


def reason(error: Exception) -> str:
    """Why it can't be compiled, in a few words."""
    inner = getattr(error, "inner_exception", error)  # of what torch has wrapped
    if is_shortage(inner):
        return "memory ran out"
    if type(inner).__name__ == "InvalidCxxCompiler":
        return "no C++ compiler, such as g++, was found"
    if type(inner).__name__ == "CppCompileError":
        return "the C++ compiler failed"
    line = next(iter(str(inner).strip().splitlines()), "").rstrip(". ")
    return line[:LONGEST] or type(inner).__name__


def fallback_told(wrong: str | None) -> str:
    """What has become of --compile, in a sentence."""
    why = wrong or "another process could not"
    return (
        f"--compile: the network is not compiled, since {why}; it is trained as it is, which takes "
        "longer and comes to as good weights"
    )


def decompile(net: nn.Module) -> None:
    """Make it the plain network again."""
    net._compiled_call_impl = None


@contextlib.contextmanager
def plain(net: nn.Module) -> Iterator[None]:
    """As it is without compiling: for what is looked at in other shapes than those of training."""
    compiled = net._compiled_call_impl
    decompile(net)
    try:
        yield
    finally:
        net._compiled_call_impl = compiled
