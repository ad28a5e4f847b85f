"""The frames of a video as pictures, read one after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from safelight import console
from safelight.data.classes import no_classes
from safelight.data.libraries import library
from safelight.data.listing import Listing
from safelight.data.options import Options
from safelight.data.published import as_file
from safelight.data.splits import DEFAULT_SPLIT, in_blocks, parse_split
from safelight.data.streams import Stream
from safelight.data.walk import stamped
from safelight.errors import UserError

ENDINGS = (
    *(".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp"),
    *(".ts", ".mts", ".m2ts", ".ogv"),
)
HIGH_RANGE = {16: "PQ", 18: "HLG"}  # ITU-T H.273, table 3
# (a, b, c, d) of ISO 14496-12's matrix, by which (x, y) is shown at (a x + c y, b x + d y).
TURNS: dict[tuple[int, ...], Image.Transpose] = {
    (0, -1, 1, 0): Image.Transpose.ROTATE_90,
    (-1, 0, 0, -1): Image.Transpose.ROTATE_180,
    (0, 1, -1, 0): Image.Transpose.ROTATE_270,
    (-1, 0, 0, 1): Image.Transpose.FLIP_LEFT_RIGHT,
    (1, 0, 0, -1): Image.Transpose.FLIP_TOP_BOTTOM,
    (0, 1, 1, 0): Image.Transpose.TRANSPOSE,
    (0, -1, -1, 0): Image.Transpose.TRANSVERSE,
}


@dataclass(frozen=True)
class Video:
    """A film. Its splits are blocks of it: neighbours are nearly the same picture."""

    name: str
    where: str
    divided: bool = False
    takes: tuple[str, ...] = ("every",)

    def signature(self) -> str:
        return stamped(Path(self.where))

    def listing(self, options: Options) -> Listing:
        path = Path(self.where)
        times = times_of(path)
        kept = thinned(times, options.every)
        labels, classes = no_classes(len(kept))
        blocks = in_blocks(len(kept), parse_split(options.split or DEFAULT_SPLIT))
        read = partial(frames, path, times.counted)
        sizes = [times.size] * len(kept)
        return Listing(
            names=[f"{path.name} at {times.seconds(stamp):.3f} s" for stamp in kept],
            labels=labels,
            splits=blocks,
            classes=classes,
            parts=(Stream(read, self.where, list(map(str, kept)), sizes, np.array(kept), True),),
            settled=blocks,
        )


@dataclass(frozen=True)
class Times:
    """When each frame is shown, in order, in units of so many seconds, and its bytes.

    counted: old containers do not tell, and their frames are counted.
    """

    stamps: Sequence[int]
    unit: Fraction
    counted: bool
    size: int = 0

    def seconds(self, stamp: int) -> float:
        return float((stamp - self.stamps[0]) * self.unit)


def times_of(path: Path) -> Times:
    """Of all its frames; nothing is decoded. Raises UserError where it is no video."""
    av = library("av", str(path))
    try:
        with av.open(str(path)) as film:
            stream = _stream(film, path)
            stamps = [p.pts for p in film.demux(stream) if p.size and not p.is_discard]
            unit, rate = stream.time_base, stream.average_rate or 1
            size = 3 * stream.codec_context.width * stream.codec_context.height
            _tell_of_range(path, stream.codec_context.color_trc)
    except av.error.FFmpegError as error:
        raise UserError(
            f"{path} cannot be read as a video ({error.strerror}); fetch or convert it again"
        ) from error
    if not stamps:
        raise UserError(f"{path} has no frames; give another video")
    if None in stamps:
        return Times(range(len(stamps)), 1 / Fraction(rate), True, size)
    return Times(sorted(stamps), unit, False, size)


def _tell_of_range(path: Path, transfer: int) -> None:
    if transfer in HIGH_RANGE:
        console.inform(
            f"{path} has a high dynamic range ({HIGH_RANGE[transfer]}), which is read as a plain "
            "one: its colours will look pale; convert it first if they matter"
        )


def _stream(film: Any, path: Path) -> Any:
    stream = film.streams.best("video")
    if stream is None:
        raise UserError(f"{path} has no pictures, only sound; give another video")
    stream.thread_type = "AUTO"
    return stream


def thinned(times: Times, every: str | None) -> list[int]:
    """Each n-th frame, or the first one of each span of so many seconds."""
    stamps = times.stamps
    if every is None or not every.endswith("s"):
        return list(stamps[:: int(every or 1)])
    span = Fraction(every.removesuffix("s")) / times.unit
    first = {(stamp - stamps[0]) // span: stamp for stamp in reversed(stamps)}
    return sorted(first.values())


def frames(path: Path, counted: bool, keys: Sequence[str]) -> Iterator[bytes | str]:
    """The frames at these times, which rise, as the bytes of files; else why there is none."""
    wanted = deque(int(key) for key in keys)
    for stamp, frame, aspect in _decoded(path, counted):
        while wanted and wanted[0] < stamp:
            wanted.popleft()
            yield LOST
        if not wanted:
            return
        if wanted[0] == stamp:
            wanted.popleft()
            yield DAMAGED if frame.is_corrupt else as_file(upright(frame, aspect))
    for _ in wanted:
        yield LOST


LOST, DAMAGED = "this frame cannot be decoded", "this frame is damaged"


def _decoded(path: Path, counted: bool) -> Iterator[tuple[int, Any, Fraction]]:
    """Every frame that can be decoded: its time, itself, and how wide its pixels are."""
    av = library("av", str(path))
    with av.open(str(path)) as film:
        stream, count = _stream(film, path), 0
        aspect = Fraction(stream.sample_aspect_ratio or 1)
        for packet in film.demux(stream):
            try:
                found = packet.decode()
            except av.error.FFmpegError:  # it is told by its time that it is not there
                continue
            for frame in found:
                if counted or frame.pts is not None:
                    yield count if counted else frame.pts, frame, aspect
                count += 1


def upright(frame: Any, aspect: Fraction) -> Image.Image:
    """The frame as it is to be seen: turned, and with square pixels. Grey stays grey.

    aspect: how wide a pixel is for its height.
    """
    grey = frame.format.name.startswith("gray")
    image = Image.fromarray(frame.to_ndarray(format="gray" if grey else "rgb24"))
    width, height = image.size
    wide, high = max(aspect, Fraction(1)), min(aspect, Fraction(1))
    size = (round(width * wide), round(height / high))
    image = image if size == image.size else image.resize(size, Image.Resampling.LANCZOS)
    turn = TURNS.get(_matrix(frame))
    return image if turn is None else image.transpose(turn)


def _matrix(frame: Any) -> tuple[int, ...]:
    """(a, b, c, d) of how a frame is turned and mirrored; nothing where it is shown as it is.

    Its `rotation` does not tell whether it is mirrored.
    """
    told = (bytes(side) for side in frame.side_data if side.type.name == "DISPLAYMATRIX")
    values = np.frombuffer(next(told, b""), np.int32).tolist()
    return tuple(round(value / 2**16) for i, value in enumerate(values) if i in (0, 1, 3, 4))
