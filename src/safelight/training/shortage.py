"""A lack of memory in the middle of a step: what it looks like, and what is said of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from accelerate.utils.memory import should_reduce_batch_size

from safelight.config import Config, Plan
from safelight.errors import OutOfMemory
from safelight.training.options import compares
from safelight.training.recomputing import advice

# What Accelerate does not know: the C++ library, oneDNN, which says no more, and Windows.
WORDS = (
    "bad_alloc",
    "could not create a primitive",
    "could not create a memory object",
    "not enough memory",
)


def is_shortage(error: Exception) -> bool:
    """Whether this is a lack of memory, of the device or of the machine."""
    words = str(error)
    return (
        isinstance(error, MemoryError)
        or should_reduce_batch_size(error)
        or (isinstance(error, RuntimeError) and any(word in words for word in WORDS))
    )


def smaller(plan: Plan, step: int, config: Config, cause: Exception | None) -> Plan:
    """The plan with half the micro-batch from the step after `step` on.

    Raises OutOfMemory where the batch can't be split, or no further.
    """
    size = plan.micro_batch_at(step)
    where = f"memory ran out in step {step + 1}"
    kept = "the checkpoints before it are good"
    if compares(config):
        raise OutOfMemory(
            f"{where}, whose images are looked at together and can't be split; {kept}; free some "
            f"memory and go on, or give a smaller --optimiser.batch or "
            f"{advice(config)}, in a new run"
        ) from cause
    if size == 1:
        raise OutOfMemory(
            f"{where} with a single image; {kept}; free some memory and go on, or "
            f"{advice(config)}, in a new run"
        ) from cause
    return plan.model_copy(update={"smaller": (*plan.smaller, (step, -(-size // 2)))})


def told(plan: Plan, step: int) -> str:
    """What has become of the step, in a sentence."""
    size = plan.micro_batch_at(step)
    pieces = f"with {size} image{'s' if size > 1 else ''} at a time from now on"
    return f"memory ran out in step {step + 1:,}: it is done again, {pieces}"


@contextlib.contextmanager
def between_steps() -> Iterator[None]:
    """Raise OutOfMemory where memory runs out in what can't be done in smaller pieces."""
    try:
        yield
    except Exception as error:
        if not is_shortage(error):
            raise
        raise OutOfMemory(
            "memory ran out outside the network's own work; the checkpoints are good; free some "
            "memory and go on with the same command, or choose smaller --net.widths, in a new run"
        ) from error
