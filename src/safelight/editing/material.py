"""What is edited: pictures of the size and channels that the model has, and what is known of them.

Nothing is scaled, cropped or turned grey on the way: a picture that does not fit is refused, with
the command that prepares it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from safelight import paths
from safelight.data.cache import Cache, open_data
from safelight.data.classes import natural
from safelight.data.decode import SUFFIXES, decode, own_size, pixels_of
from safelight.data.look import Channels, Look, RejectedPicture
from safelight.data.stored import is_cache
from safelight.data.walk import walk_folder
from safelight.editing.tasks import Edit, Inpaint, Interpolate
from safelight.errors import UserError, lookup
from safelight.images import Pixels, described
from safelight.sizes import as_option
from safelight.sources import is_run
from safelight.training.run import Run

FROM_A_CACHE = 16  # pictures, unless told otherwise
WHITE = 128  # levels of a mask from here on count as white
CHANNELS = {1: "grey", 3: "rgb"}  # --channels of prepare
Shape = tuple[int, int, int]


class Picture(NamedTuple):
    """One picture, (c, h, w) uint8; `kind` is the class that its folder or its cache gives."""

    name: str
    image: Pixels
    kind: str | None


@dataclass(frozen=True)
class Material:
    """All that an edit begins with.

    names: of n pictures (or seeds). images: (n, c, h, w) uint8; none where seeds take their place.
    labels: the model's class of each, int64 (n,), or None where it is not known. seeds: of the
    noise, one for each. mask: bool (1, 1, h, w), true where the picture stays.
    """

    names: tuple[str, ...]
    images: Tensor
    labels: Tensor | None
    seeds: tuple[int, ...]
    mask: Tensor | None = None

    @property
    def fingerprint(self) -> str:
        """A hash of all of it but the names."""
        digest = hashlib.sha256(repr((self.images.shape, self.seeds)).encode())
        for tensor in (self.images, self.labels, self.mask):
            digest.update(b"none" if tensor is None else tensor.numpy().tobytes())
        return digest.hexdigest()

    def classes(self, part: slice) -> Tensor | None:
        return None if self.labels is None else self.labels[part]


class Wanted(NamedTuple):
    """What the caller asks for."""

    run: Run
    places: Sequence[str | Path]
    n: int | None
    class_name: str | None
    seed: int


Fits = Callable[[str, Shape], None]  # raises UserError where a picture of this shape does not fit


def read_pictures(task: Edit, wanted: Wanted) -> Material:
    """Pictures of the model's own size."""
    return _material(wanted, _same_shape(wanted.run))


def read_masked(task: Inpaint, wanted: Wanted) -> Material:
    return replace(read_pictures(task, wanted), mask=_known(task.mask, wanted.run))


def read_small(task: Edit, wanted: Wanted) -> Material:
    """Pictures whose sides are the model's divided by one whole number."""
    return _material(wanted, _divisor(wanted.run))


def read_ends(task: Interpolate, wanted: Wanted) -> Material:
    """The two pictures, or the two seeds."""
    if task.seeds is None:
        found = _material(wanted, _same_shape(wanted.run)) if wanted.places else None
        if found is None or len(found.names) != 2:
            raise UserError(
                f"interpolate goes between two pictures, not {len(found.names) if found else 0}; "
                "name two files, or give --seeds 3,17 and no picture"
            )
        return found
    if wanted.places or wanted.seed or wanted.n is not None:
        raise UserError("--seeds takes the place of pictures, of -n and --seed; leave these out")
    classes = wanted.run.classes
    chosen = _chosen_class(wanted)
    turns = [s % len(classes) if chosen is None else chosen for s in task.seeds] if classes else []
    return Material(
        names=tuple(f"seed {seed}" for seed in task.seeds),
        images=torch.empty(0, *wanted.run.file.shape, dtype=torch.uint8),
        labels=torch.tensor(turns) if turns else None,
        seeds=task.seeds,
    )


def _material(wanted: Wanted, fits: Fits) -> Material:
    if not wanted.places:
        raise UserError("name a picture, a folder of pictures, or CACHE:SPLIT to edit")
    if wanted.n is not None and wanted.n < 1:
        raise UserError(f"-n {wanted.n} asks for no picture; give 1 or more")
    found = [one for place in wanted.places for one in _found(place, wanted, fits)][: wanted.n]
    shapes = {one.image.shape for one in found}
    if len(shapes) > 1:
        raise UserError("the small pictures differ in size; edit those of each size by themselves")
    return Material(
        names=tuple(one.name for one in found),
        images=torch.from_numpy(np.stack([one.image for one in found])),
        labels=_labels(found, wanted),
        seeds=tuple(range(wanted.seed, wanted.seed + len(found))),
    )


def _labels(found: Sequence[Picture], wanted: Wanted) -> Tensor | None:
    """The class that is asked for; else those of the pictures; None where none of them is known.

    Raises UserError where some are and others are not: these would be drawn as anything.
    """
    known = {name: k for k, name in enumerate(wanted.run.classes)}
    chosen = _chosen_class(wanted)
    if chosen is not None:
        return torch.full((len(found),), chosen)
    strange = [one.name for one in found if one.kind not in known]
    if not strange:
        return torch.tensor([known[str(one.kind)] for one in found])
    if not wanted.run.classless:
        raise UserError(
            f"{wanted.run.path} draws nothing without a class, and that of {strange[0]} is not "
            "known; name it with --class"
        )
    if len(strange) < len(found):
        raise UserError(
            f"the class of {strange[0]} is not known, and those of others are; name one for all "
            "with --class, or edit those without by themselves"
        )
    return None


def _chosen_class(wanted: Wanted) -> int | None:
    if wanted.class_name is None:
        return None
    classes = wanted.run.classes
    if not classes:
        raise UserError(f"{wanted.run.path} was trained without classes; leave --class out")
    return lookup({name: k for k, name in enumerate(classes)}, wanted.class_name, "class")


# Finding them


def _found(place: str | Path, wanted: Wanted, fits: Fits) -> list[Picture]:
    path, n = paths.place(place), wanted.n
    if is_run(path):
        raise UserError(f"{place} is a run; name pictures, such as a folder in its samples/")
    if path.is_dir() and not is_cache(path):
        return _of_folder(path, n, fits)
    if path.suffix.lower() in SUFFIXES:
        return [_of_file(path, Path(path.name), fits)]
    if path.is_file():
        raise UserError(
            f"{place} is no picture; name a picture, a folder of them, or a cache (safelight "
            "prepare makes one of a zip)"
        )
    return _of_cache(wanted.run.alike(open_data(place)), n, fits)


def _of_folder(path: Path, n: int | None, fits: Fits) -> list[Picture]:
    entries = sorted(walk_folder(path).entries, key=lambda entry: natural(entry.parts))
    if not entries:
        raise UserError(f"there are no pictures in {path}; name a folder that holds some")
    return [_of_file(path / entry.key, Path(entry.key), fits) for entry in entries[:n]]


def _of_file(path: Path, name: Path, fits: Fits) -> Picture:
    """The picture's class is the name of its folder, which may be none of the model's."""
    return Picture(str(name), _decoded(path, "auto", fits), path.resolve().parent.name)


def _of_cache(cache: Cache, n: int | None, fits: Fits) -> list[Picture]:
    fits(cache.name, cache.shape)
    positions = np.arange(min(cache.count, n or FROM_A_CACHE))
    labels = cache.class_labels()
    kinds = [None if labels is None else cache.classes[k] for k in _first(labels, len(positions))]
    images = cache.read(positions)
    return [
        Picture(f"{cache.name} {i:06d}", image, kind)
        for i, (image, kind) in enumerate(zip(images, kinds, strict=True))
    ]


def _first(labels: np.ndarray | None, n: int) -> Sequence[int]:
    return [0] * n if labels is None else labels[:n].tolist()


def _decoded(path: Path, channels: Channels, fits: Fits) -> Pixels:
    """(c, h, w) uint8, at the picture's own size."""
    try:
        data = path.read_bytes() if path.is_file() else None
    except OSError as error:
        raise UserError(f"{path} can't be read ({error.strerror}); name one that can") from None
    if data is None:
        raise UserError(f"there is no picture {path}; name one that exists")
    own = own_size(lambda _: data, "")
    try:
        image = decode(data, Look(own or (1, 1), channels)).image
    except RejectedPicture as reason:
        raise UserError(f"{path} gives no picture: {reason}") from None
    assert own is not None  # or `decode` would have rejected it
    fits(str(path), (len(image.getbands()), own[1], own[0]))
    return np.array(pixels_of([image], own)[0])


# What fits


def _same_shape(run: Run) -> Fits:
    def fits(name: str, found: Shape) -> None:
        if found != run.file.shape:
            _refuse(name, found, run, run.file.shape[1:])

    return fits


def _divisor(run: Run) -> Fits:
    c, h, w = run.file.shape
    both = math.gcd(h, w)
    divisors = [k for k in range(2, both + 1) if both % k == 0]
    if not divisors:
        raise UserError(
            f"{run.path} draws {w}x{h}, and no whole number divides both sides: there are no "
            "smaller pictures of the same form; train on pictures of another --size"
        )

    def fits(name: str, found: Shape) -> None:
        if found not in [(c, h // k, w // k) for k in divisors]:
            small = h // divisors[0], w // divisors[0]
            many = " or ".join(map(str, divisors))
            _refuse(name, found, run, small, f" from pictures with both sides divided by {many}")

    return fits


def _refuse(name: str, found: Shape, run: Run, size: tuple[int, int], more: str = "") -> None:
    """size: (height, width) that would do."""
    c = run.file.shape[0]
    made = as_option((size[1], size[0]))
    remedy = (
        "edit the cache that this makes of the folder it is from: safelight prepare FOLDER "
        f"--size {made} --channels {CHANNELS[c]} --out CACHE"
        if c in CHANNELS
        else f"edit a cache of {described((c, *size))}"
    )
    raise UserError(
        f"{name} is {described(found)} and {run.path} draws {described(run.file.shape)}{more}; "
        f"{remedy}"
    )


def _known(mask: Path, run: Run) -> Tensor:
    """Bool (1, 1, h, w), true where the mask is black."""
    _, h, w = run.file.shape

    def fits(name: str, found: Shape) -> None:
        if found[1:] != (h, w):
            raise UserError(
                f"the mask {name} is {found[2]}x{found[1]} and the pictures are {w}x{h}; make it "
                "as large, white where the picture is to be drawn anew and black where it stays"
            )

    known = torch.from_numpy(_decoded(paths.place(mask), "grey", fits))[None] < WHITE
    if known.all():
        raise UserError(f"the mask {mask} is black: paint white what is to be drawn anew")
    return known
