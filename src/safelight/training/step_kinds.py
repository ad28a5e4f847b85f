"""What the operators of a training step are for, by the names that torch's profiler gives them."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, Protocol

# Labels of `torch.profiler.record_function`: one of them costs about 10 µs while nobody looks.
STEP, BATCHES, AVERAGES = "safelight::step", "safelight::batches", "safelight::averages"
OPTIMISER = "Optimizer."  # how torch labels every optimiser's steps by itself
ENGINE = "autograd::engine::"  # what goes from one operator of the way back to the next

PRODUCTS, REST, OTHERS = "optimiser: products", "Python and dispatch", "other operators"
# What is counted by what it is a part of, whatever its operators are.
PARTS = {BATCHES: "batches and noise", AVERAGES: "averages", OPTIMISER: "optimiser: the rest"}
FORWARDS, BACKWARDS = " forwards", " backwards"
TWO_WAYS = ("convolutions", "normalisation")  # are told apart by their direction
# Of all else: the first row that the name matches, in lower case. What matches none is of the kind
# of the operator that called it, or of `OTHERS`: so operators that are not known yet are counted.
NAMES = {
    "batches and noise": r"randn|normal_|uniform_|randperm|randint",
    "optimiser: the rest": r"_foreach_|vector_norm|^aten::norm$",  # gradients are clipped
    "convolutions": r"conv(?!ert)",
    "normalisation": r"norm(?!al(_|$))|var_mean",
    "activations": r"elu|silu|sigmoid|tanh|swish|mish|softplus",
    "attention and linear layers": r"mm(backward\d*)?$|matmul|(?<!bi)linear|softmax|attention",
    "copies and casts": (
        r"copy|copies|contiguous|clone|cat(array\w*)?(backward\d*)?$|stack|::to$|empty|zero|fill|pad"
    ),
    REST: (
        r"view|reshape|permute|transpose|::t$|(^| )tbackward|as_strided|expand|slice|select|"
        r"squeeze|narrow|split|chunk|detach|unbind|movedim|flatten|diagonal|alias|resolve|item|"
        r"local_scalar"
    ),
}
KINDS = (
    *(f"{kind}{way}" for kind in TWO_WAYS for way in (FORWARDS, BACKWARDS)),
    *("activations", "attention and linear layers", OTHERS, "copies and casts"),
    *(PRODUCTS, PARTS[OPTIMISER], PARTS[AVERAGES], PARTS[BATCHES], REST),
)
_ROWS = [(kind, re.compile(pattern)) for kind, pattern in NAMES.items()]
_MULTIPLIES = re.compile(NAMES["attention and linear layers"])


class Operator(Protocol):
    """What is read of torch's FunctionEvent."""

    @property
    def name(self) -> str: ...

    @property
    def cpu_children(self) -> Iterable[Operator]: ...


class Place(NamedTuple):
    """Where an operator stands."""

    kind: str  # of what called it
    part: str = ""  # a row of PARTS
    backwards: bool = False


class Spent:
    """Microseconds and calls of each operator of a kind, by its name."""

    def __init__(self) -> None:
        self.times: defaultdict[str, float] = defaultdict(float)
        self.calls: Counter[str] = Counter()

    @property
    def total(self) -> float:
        return sum(self.times.values())

    def add(self, name: str, microseconds: float, calls: int = 1) -> None:
        self.times[name] += microseconds
        self.calls[name] += calls


def entered(name: str, caller: Place) -> Place:
    """The place of what an operator of this name calls; its own time is of the kind there."""
    part = next((part for part in PARTS if name.startswith(part)), caller.part)
    lower = name.lower()
    backwards = caller.backwards or "backward" in lower
    if part:
        multiplies = part == OPTIMISER and _MULTIPLIES.search(lower)
        return Place(PRODUCTS if multiplies else PARTS[part], part, backwards)
    if name.startswith(ENGINE):  # it adds up gradients too, which are not what it is named after
        return Place(REST, "", True)
    known = next((kind for kind, pattern in _ROWS if pattern.search(lower)), None)
    if known in TWO_WAYS:
        return Place(known + (BACKWARDS if backwards else FORWARDS), "", backwards)
    if known is None:  # Python is no operator that could have called it
        known = OTHERS if caller.kind == REST else caller.kind
    return Place(known, "", backwards)


def divided(roots: Iterable[Operator], own: Callable[[Operator], float]) -> Mapping[str, Spent]:
    """The time of these operators and of all that they called, by `KINDS`: a row for each.

    own: the microseconds of an operator without those that it calls. That of what bears the label
    STEP is Python's.
    """
    found = {kind: Spent() for kind in KINDS}
    waiting = [(root, Place(REST)) for root in roots]
    while waiting:
        operator, caller = waiting.pop()
        place = caller if operator.name == STEP else entered(operator.name, caller)
        found[place.kind].add(operator.name, own(operator))
        waiting += [(called, place) for called in operator.cpu_children]
    return found
