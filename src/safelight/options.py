"""How words of the command line become values, and how a mistake in them is said in one line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_args, get_origin

from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from safelight.config import Optimiser, Sampling
from safelight.data.options import Options
from safelight.editing.tasks import Interpolate
from safelight.errors import RULE
from safelight.sizes import parse_size


def weights(word: str) -> float | tuple[float, ...]:
    found = tuple(_number(float, part) for part in word.split(","))
    return found if len(found) > 1 else found[0]


def two(kind: Callable[[str], Any], what: str) -> Callable[[str], tuple[Any, Any]]:
    """The parser of a word of two numbers; `what` they are, with an example."""

    def parser(word: str) -> tuple[Any, Any]:
        found = tuple(_number(kind, part) for part in word.split(","))
        if len(found) != 2:
            raise ValueError(f"{word!r} is not {what}")
        return found[0], found[1]

    return parser


def _number(kind: Callable[[str], Any], word: str) -> Any:
    try:
        return kind(word)
    except ValueError:
        what = "whole number" if kind is int else "number"
        raise ValueError(f"{word!r} is no {what}") from None


class Commas(NamedTuple):
    """A type whose several numbers are one word, as several names are."""

    type: Any
    metavar: str
    parser: Callable[[str], Any]


# Types of options that may be left out: how they are shown, and read.
WORDS: dict[Any, tuple[str, Callable[[str], Any]]] = {
    int: ("INT", partial(_number, int)),
    float: ("FLOAT", partial(_number, float)),
    str: ("STR", str),
    Path: ("PATH", Path),
}
INTERVAL = two(float, "a low and a high noise level, such as 0.3,5")
SEEDS = two(int, "two seeds, such as 3,17")
SHARES = two(float, "two shares, such as 0.6,0.7")
COMMAS = (
    Commas(Options.model_fields["size"].annotation, "SIDE|WIDTHxHEIGHT", parse_size),
    Commas(Sampling.model_fields["guidance"].annotation, "W,W,...", weights),
    Commas(Sampling.model_fields["guidance_interval"].annotation, "LOW,HIGH", INTERVAL),
    Commas(Interpolate.model_fields["seeds"].annotation, "SEED,SEED", SEEDS),
    Commas(Interpolate.model_fields["part"].annotation, "SHARE,SHARE", SHARES),
    Commas(Optimiser.model_fields["betas"].annotation, "SHARE,SHARE", SHARES),
)
LEFT_OPEN, STATES = ("--data.flip",), ("True", "False", "None")
REGISTRY = ConstructorRegistry()


@REGISTRY.primitive_rule
def numbers(kind: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    for row in COMMAS:
        if kind.type == row.type:
            return PrimitiveConstructorSpec(
                nargs=1,
                metavar=row.metavar,
                instance_from_str=partial(_from_word, row.parser),
                is_instance=lambda value: value is None or isinstance(value, (float, tuple)),
                str_from_instance=_as_word,
            )
    return None


@REGISTRY.primitive_rule
def optional(kind: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """What may be left out is shown as what it is; "None" takes it back."""
    types = [_plain_type(each) for each in get_args(kind.type)]
    if len(types) != 2 or types[1] is not type(None) or types[0] not in WORDS:
        return None
    metavar, parser = WORDS[types[0]]
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=metavar,
        instance_from_str=lambda words: None if words[0] == "None" else parser(words[0]),
        is_instance=lambda value: isinstance(value, (types[0], type(None))),
        str_from_instance=lambda value: [str(value)],
    )


def _plain_type(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


@REGISTRY.primitive_rule
def mapping(kind: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    if kind.type != dict[str, Any]:
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="JSON",
        instance_from_str=partial(_from_word, _object),
        is_instance=lambda value: isinstance(value, dict),
        str_from_instance=lambda value: [json.dumps(value)],
    )


def _object(word: str) -> dict[str, Any]:
    try:
        found = json.loads(word)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ValueError(
            f"""{word!r} is no JSON of names and values, such as '{{"dropout": 0.1}}'"""
        )
    return found


def _as_word(value: Any) -> list[str]:
    return [",".join(f"{x:g}" for x in value) if isinstance(value, tuple) else str(value)]


def _from_word(parser: Callable[[str], Any], words: Sequence[str]) -> Any:
    return parser(words[0])


def switched(words: Sequence[str]) -> list[str]:
    """The words with a value for each switch that may also be left open, as the parser wants it."""
    found: list[str] = []
    for word, following in zip(words, [*words, ""][1:], strict=True):
        section, dot, name = word.replace("_", "-").rpartition(".")
        on = f"{section}{dot}{name.removeprefix('no-')}"
        if on in LEFT_OPEN and (name.startswith("no-") or following not in STATES):
            found += [on, str(not name.startswith("no-"))]
        else:
            found.append(word)
    return found


# What the parser and the validator say of an option, and how a person would; the first that fits.
WORDINGS: tuple[tuple[str, str], ...] = (
    (
        r"invalid choice ('.*') for argument '(\S+)'\. Expected one of \((.*)\)\.",
        r"\2: \1 is none of \3",
    ),
    (r"Expected one of \{(.*)\}\.", r"no command is given; choose one of: \1"),
    (r"Missing value for argument '(\S+)'\..*", r"\1 needs a value"),
    (r"Missing from (.*?): (--\S+) \S+ (.*?)\.? \(required\).*", r"\1 needs \2: \3"),
    (r"Missing from (.*?): (\S+) (.*?)\.? \(required\).*", r"\1 needs \2: \3"),
    (r"Unrecognized options: (-[^\s,]+).*", r"there is no option \1"),
    (r"Unrecognized options: (.*)", r"\1 is not understood"),
    (
        r"Error parsing (\S+): .*invalid literal for int\(\) with base 10: (.*)",
        r"\1: \2 is no whole number",
    ),
    (r"Error parsing (\S+): .*could not convert string to float: (.*)", r"\1: \2 is no number"),
    (r"Error parsing (\S+): (.*)", r"\1: \2"),
)


def one_line(boxed: str) -> str:
    """The parser's framed message as one line: what is wrong, what may have been meant.

    Frames are drawn with box characters, or with spaces and dashes where these can't be printed.
    """
    lines = [line.strip("│ ") for line in boxed.splitlines()]
    rules = [i for i, line in enumerate(lines) if not line.strip("─-╭╮╰╯")]
    title = [0] if rules[:1] == [1] else []
    framed = [i for i, line in enumerate(lines) if line[:1] in "╭╰"]
    kept = [line for i, line in enumerate(lines) if i not in {*rules, *title, *framed}]
    text = re.sub(r"\s+", " ", " ".join(kept)).strip()
    what, *rest = re.split(
        r" (?=Perhaps you meant|Argument helptext|For full help|Available sub)", text
    )
    meant = dict.fromkeys(re.findall(r"--[\w.-]+", " ".join(r for r in rest if "meant" in r)))
    meant.pop("--help", None)
    commands = [
        r.rstrip(".").replace("Available subcommands", "choose one of")
        for r in rest
        if r.startswith("Available")
    ]
    hints = [f"did you mean {' or '.join(list(meant)[:2])}?"] if meant else commands
    if what.startswith(("Unrecognized", "Missing", "Expected")):
        hints.append("--help after the command lists its options")
    return "; ".join([_plain(what), *hints])


def _plain(what: str) -> str:
    """Without the parser's and the validator's own names for things."""
    section = re.match(
        r"Error parsing \S*?\.(?:config\b\.?)?(\S*?): \d+ validation errors? for \w+ (.*)", what
    )
    if section is not None:
        option = ".".join(filter(None, (section[1], section[2].split(" ")[0])))
        reason = re.sub(r"^\S+ (Value error, )?| \[type=.*", "", section[2])
        return f"--{option.replace('_', '-')}: {reason.removeprefix(RULE)}"
    for theirs, ours in WORDINGS:
        if found := re.fullmatch(theirs, what):
            return found.expand(ours)
    return what
