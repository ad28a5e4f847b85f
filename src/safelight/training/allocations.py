"""How much memory is alive while torch computes, measured by its tensors."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def alive(work: Callable[[], object], present: nn.Module) -> list[int]:
    """The bytes of the tensors made by `work` that are alive after each of its operators.

    present: a module whose own tensors were there before and don't count.

    What an operator has to itself, and what a library takes past torch, is not seen.
    """
    found = _Follower(present)
    with found:
        work()
    return found.bytes


def linear(two: Sequence[int], three: Sequence[int]) -> tuple[int, int]:
    """The most that work on n images has alive, as (fixed, share of an image): at most their sum.

    two, three: as of `alive`, of two images and of three. Moment by moment, since the moment at
    which most is alive is another one for many images than for few. Counted from the end: noise
    that is drawn image by image comes at the beginning.
    """
    fixed = image = 0
    for of_two, of_three in zip(reversed(two), reversed(three), strict=False):
        one = of_three - of_two
        fixed, image = max(fixed, of_two - 2 * one), max(image, one)
    return fixed, image


class _Follower(TorchDispatchMode):
    """Follows each storage from the operator that makes it until it is freed."""

    def __init__(self, present: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes: list[int] = []
        self._now = 0
        own = (*present.parameters(), *present.buffers())
        self._known = {tensor.untyped_storage()._cdata for tensor in own}
        self._followed: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        result: object = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._follow(tensor.untyped_storage())
        self.bytes.append(self._now)
        return result

    def _follow(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return

        def freed(_: object) -> None:
            self._known.discard(key)
            self._followed.pop(key, None)
            self._now -= size

        self._known.add(key)
        self._followed[key] = weakref.ref(storage, freed)
        self._now += size
