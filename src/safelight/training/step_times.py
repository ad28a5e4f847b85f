"""Where the time of a training step goes, by torch's profiler: for `train --profile`.

What a step computes stays as it is, to the bit; a step that is looked at takes a little longer, and
how much longer is said. (What is in a set of pictures is told by `safelight.profiling`.)
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import torch
from torch._C._autograd import DeviceType
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile, record_function

from safelight.training.step_kinds import KINDS, REST, STEP, Spent, divided

Result = TypeVar("Result")
FIRST, RECORDED = 6, 10  # steps that are passed over, and that are looked at
# From so many operators on no further step is looked at: each takes some 40 µs to be counted.
MOST_OPERATORS = 200_000
LARGEST = 8  # operators of a kind that are named


class Share(NamedTuple):
    """What a kind of operators takes of a step, in seconds; and the largest of them, which say so.

    operators: name -> seconds and calls in a step.
    """

    seconds: float
    operators: Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class StepTimes:
    """Of the steps first..last of a run, counted from 1.

    seconds: of each step, as it was looked at. before: of the steps before them, which were not.
    shares: a row for each of `KINDS`, means over the steps; together they are the whole step.
    device: where it computed. The shares are of its time; on a GPU REST is the time that it waits.
    """

    first: int
    seconds: Sequence[float]
    before: Sequence[float]
    shares: Mapping[str, Share]
    device: torch.device
    save_trace: Callable[[Path], None]
    """Write the last step as Chrome's trace; for Perfetto. A name that ends in .gz is packed."""

    @property
    def last(self) -> int:
        return self.first + len(self.seconds) - 1

    @property
    def whole(self) -> float:
        """Seconds of a step: the sum of the shares."""
        return sum(share.seconds for share in self.shares.values())

    @property
    def slower(self) -> float | None:
        """How many times as long a step took as before; None where nothing is known of before."""
        if not self.before:
            return None
        return statistics.median(self.seconds) / statistics.median(self.before)

    def to_json(self) -> dict[str, Any]:
        return {
            "steps": [self.first, self.last],
            "clock": self.device.type,
            "seconds": [round(each, 6) for each in self.seconds],
            "seconds_before": [round(each, 6) for each in self.before],
            "step_seconds": self.whole,
            "kinds": {kind: self._told(share) for kind, share in self.shares.items()},
        }

    def _told(self, share: Share) -> dict[str, Any]:
        named = {
            name: {"seconds": seconds, "calls": calls}
            for name, (seconds, calls) in share.operators.items()
        }
        return {"share": share.seconds / self.whole, "seconds": share.seconds, "operators": named}


class Recorder:
    """Looks at some of the steps of a training, and not at its first ones.

    Args:
        done, left: steps; at least one is left. Where few are, fewer are passed over and looked at.
    """

    def __init__(self, done: int, left: int, device: torch.device) -> None:
        self._wanted = min(RECORDED, max(1, left // 2))
        self._passed = min(FIRST, left - self._wanted)
        self._done, self._device = done, device
        self._before: list[float] = []
        self._seconds: list[float] = []
        self._spent: list[Mapping[str, Spent]] = []
        self._operators = 0
        self._newest: profile | None = None
        # Or the profiler prints two lines of its own for each step.
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")

    def take(self, step: Callable[[], Result]) -> Result:
        """Take a step, looked at or not."""
        self._wait()
        began = time.perf_counter()
        if self._passed > 1:
            result = step()
            self._wait()
            self._before.append(time.perf_counter() - began)
            return result
        with profile(activities=self._activities) as self._newest, record_function(STEP):
            result = step()
            self._wait()
        return result

    def look(self) -> bool:
        """Count what the newest step did. Returns whether all has been seen that is wanted."""
        newest, self._newest = self._newest, None
        if self._passed:  # the last of them is the profiler's first
            self._passed, self._done = self._passed - 1, self._done + 1
            return False
        assert newest is not None
        events = cast(Sequence[FunctionEvent], newest.events())  # type: ignore[no-untyped-call]
        self._operators += len(events)
        self._spent.append(_counted(events, self._device))
        self._seconds.append(sum(each.total for each in self._spent[-1].values()))
        self._last = newest
        return len(self._spent) == self._wanted or self._operators > MOST_OPERATORS

    def found(self) -> StepTimes | None:
        """What has been seen so far; None where that is nothing."""
        if not self._spent:
            return None
        return StepTimes(
            first=self._done + 1,
            seconds=[each / 1e6 for each in self._seconds],
            before=self._before[1:],  # the first one allocates memory
            shares={kind: _mean([each[kind] for each in self._spent]) for kind in KINDS},
            device=self._device,
            save_trace=lambda path: self._last.export_chrome_trace(str(path)),
        )

    @property
    def _activities(self) -> list[ProfilerActivity]:
        device = [ProfilerActivity.CUDA] if self._device.type == "cuda" else []
        return [ProfilerActivity.CPU, *device]

    def _wait(self) -> None:
        """For a GPU, which may still be at work on what it was told."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def _counted(events: Sequence[FunctionEvent], device: torch.device) -> Mapping[str, Spent]:
    """The microseconds of a step by kinds, which sum up to all of it.

    On a processor what other threads do (decoding, say) goes on beside the step, and is not in it.
    On a GPU an operator's time is that of its kernels, and the rest of the step the time in which
    it waits for the processor.
    """
    step = next(event for event in events if event.name == STEP and _on_processor(event))
    if device.type != "cuda":
        return divided([step], lambda event: cast(FunctionEvent, event).self_cpu_time_total)
    roots = [each for each in events if _on_processor(each) and each.cpu_parent is None]
    found = divided(roots, _kernels)
    busy = sum(each.total for each in found.values())
    found[REST].add("waiting", max(0.0, step.cpu_time_total - busy))
    return found


def _on_processor(event: FunctionEvent) -> bool:
    return bool(event.device_type == DeviceType.CPU) and not event.is_async


def _kernels(operator: object) -> float:
    """Microseconds of those that an operator started itself. A label's copy on the GPU is none."""
    event = cast(FunctionEvent, operator)
    return float(sum(each.duration for each in event.kernels if each.name != event.name))


def _mean(found: Sequence[Spent]) -> Share:
    """Of a kind, over the steps."""
    n, every = len(found), Spent()
    for each in found:
        for name, microseconds in each.times.items():
            every.add(name, microseconds, each.calls[name])
    largest = sorted(every.times, key=lambda name: -every.times[name])[:LARGEST]
    named = {name: (every.times[name] / n / 1e6, every.calls[name] / n) for name in largest}
    return Share(every.total / n / 1e6, named)
