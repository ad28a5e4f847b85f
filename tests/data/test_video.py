"""A video's frames: the right ones, upright, in blocks of it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from safelight.data.cache import Cache
from safelight.data.prepare import prepare
from safelight.data.splits import SPLITS
from safelight.data.stored import read_names
from safelight.data.video import Times, thinned, times_of
from safelight.errors import UserError
from tests.data.conftest import MakeFolder, splits_of
from tests.data.films import Frames, film, frames

av = pytest.importorskip("av")


def pictures(cache: Cache) -> np.ndarray:
    """(n, h, w, c)."""
    return cache.read(np.arange(cache.count)).transpose(0, 2, 3, 1)


@pytest.mark.parametrize("workers", [1, 2])
def test_every_frame_arrives(workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In its order, to the last pixel, with the time at which it is shown."""
    monkeypatch.setattr("safelight.data.parts.FEW_FILES", 0)
    shown = frames(40)
    path = film(tmp_path / "film.mkv", shown)
    cache = prepare(path, out=tmp_path / "out", workers=workers)
    assert (pictures(cache) == shown).all()
    names = read_names(cache.path, cache.meta)
    assert names is not None
    assert names[:2] == ["film.mkv at 0.000 s", "film.mkv at 0.100 s"]
    assert cache.meta.formats == {}


QUARTERS = [0, 3, 5, 8, 10, 13, 15, 18, 20, 23, 25, 28, 30, 33, 35, 38]  # of a second


@pytest.mark.parametrize(
    ("every", "kept"),
    [("1", range(40)), ("7", range(0, 40, 7)), ("0.5s", range(0, 40, 5)), ("0.25s", QUARTERS)],
)
def test_some_frames(every: str, kept: list[int], tmp_path: Path) -> None:
    shown = frames(40)
    path = film(tmp_path / "film.mkv", shown)
    cache = prepare(path, every=every, out=tmp_path / "out")
    assert (pictures(cache) == [shown[i] for i in kept]).all()


def test_a_variable_frame_rate(tmp_path: Path) -> None:
    """Spans of time are of time, not of numbers of frames."""
    times = [0, 10, 20, 30, 500, 990, 1000, 1700, 1800, 4000, 4100, 4900]
    shown = frames(len(times))
    path = film(tmp_path / "film.mkv", shown, times=times)
    cache = prepare(path, every="1s", out=tmp_path / "out")
    assert (pictures(cache) == [shown[i] for i in (0, 6, 9)]).all()
    assert (read_names(cache.path, cache.meta) or [])[2] == "film.mkv at 4.000 s"


def test_blocks_are_not_torn_apart(tmp_path: Path) -> None:
    """Neighbours are nearly one picture, so that a random split would test what was learnt."""
    path = film(tmp_path / "film.mkv", frames(40))
    for split, counts in ((None, [32, 4, 4]), ("50/25/25", [20, 10, 10]), ("100/0/0", [40, 0, 0])):
        cache = prepare(path, split=split, out=tmp_path / f"{split}".replace("/", "-"))
        rows = cache.meta.counts["all"]
        assert [rows[name] for name in SPLITS] == counts
        codes = np.load(cache.path / "splits.npy")
        assert (np.diff(codes.astype(int)) >= 0).all()


@pytest.mark.parametrize("degrees", [90, 180, -90, 0])
def test_phones_turn_their_films(degrees: int, tmp_path: Path) -> None:
    shown = frames(12)
    path = film(tmp_path / "film.mov", shown, "png", "rgb24", turned=degrees)
    cache = prepare(path, out=tmp_path / "out")
    assert (pictures(cache) == [np.rot90(one, degrees // 90) for one in shown]).all()


def test_the_turn_of_a_film_is_that_of_the_format(tmp_path: Path) -> None:
    """ISO 14496-12: the matrix of the track's header, here (x, y) -> (h - y, x), which is a quarter
    with the clock, as a phone held upright writes it."""
    path = with_matrix(tmp_path / "film.mov", 0, 1, -1, 0, 12, 0)
    cache = prepare(path, out=tmp_path / "out")
    assert (pictures(cache) == [np.rot90(one, -1) for one in frames(12)]).all()


def with_matrix(path: Path, a: int, b: int, c: int, d: int, x: int, y: int) -> Path:
    """A film of `frames(12)` that is shown at (a x + c y + x, b x + d y + y)."""
    film(path, frames(12), "png", "rgb24", turned=0)
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40  # after version, times, track, duration, layer and volume
    plain = [0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000]
    assert [int.from_bytes(data[at + 4 * i : at + 4 * i + 4], "big") for i in range(9)] == plain
    turned = [a << 16, b << 16, 0, c << 16, d << 16, 0, x << 16, y << 16, 0x40000000]
    data[at : at + 36] = b"".join(x.to_bytes(4, "big", signed=True) for x in turned)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("matrix", "shown"),
    [
        ((-1, 0, 0, 1, 16, 0), lambda one: one[:, ::-1]),
        ((1, 0, 0, -1, 0, 12), lambda one: one[::-1]),
        ((0, 1, 1, 0, 0, 0), lambda one: one.transpose(1, 0, 2)),
        ((0, -1, -1, 0, 12, 16), lambda one: one.transpose(1, 0, 2)[::-1, ::-1]),
        ((0, -1, 1, 0, 0, 16), np.rot90),
        ((-1, 0, 0, -1, 16, 12), lambda one: one[::-1, ::-1]),
    ],
)
def test_films_that_are_mirrored(
    matrix: tuple[int, ...], shown: Callable[[np.ndarray], np.ndarray], tmp_path: Path
) -> None:
    """As cameras that look at their owner write them."""
    cache = prepare(with_matrix(tmp_path / "film.mov", *matrix), out=tmp_path / "out")
    assert (pictures(cache) == [shown(one) for one in frames(12)]).all()


@pytest.mark.parametrize(("aspect", "size"), [(Fraction(2), (32, 12)), (Fraction(1, 2), (16, 24))])
def test_pixels_that_are_not_square(
    aspect: Fraction, size: tuple[int, int], tmp_path: Path
) -> None:
    shown = frames(12)
    path = film(tmp_path / "film.mov", shown, "png", "rgb24", aspect=aspect)
    cache = prepare(path, out=tmp_path / "out")
    expected = [np.asarray(Image.fromarray(one).resize(size, 1)) for one in shown]
    assert (pictures(cache) == expected).all()


def test_a_grey_film_stays_grey(tmp_path: Path) -> None:
    shown = [np.repeat(one[..., :1], 3, axis=2) for one in frames(12)]
    path = film(tmp_path / "film.mkv", shown, "ffv1", "gray")
    cache = prepare(path, out=tmp_path / "out")
    assert cache.shape == (1, 12, 16)
    assert np.abs(pictures(cache).astype(int)[..., 0] - np.array(shown)[..., 0]).max() <= 1


@pytest.mark.parametrize("kind", ["mp4", "webm", "avi", "mpg"])
def test_films_as_people_have_them(kind: str, tmp_path: Path) -> None:
    """Compressed, with frames that are stored in another order than they are shown in."""
    codec = {"mp4": "libx264", "webm": "libvpx-vp9", "avi": "mpeg4", "mpg": "mpeg2video"}[kind]
    rows, columns = np.mgrid[:64, :96]
    shown = [
        np.stack([columns + 4 * i, rows * 2, 0 * rows + 100], -1).clip(0, 255).astype(np.uint8)
        for i in range(30)
    ]
    options = {"crf": "10"} if kind in ("mp4", "webm") else {"qmin": "2", "qmax": "2", "bf": "2"}
    pace = None if kind != "mpg" else [40 * i for i in range(30)]
    if kind == "mpg":
        path = mpeg(tmp_path / "film.mpg", shown)
    else:
        path = film(tmp_path / f"film.{kind}", shown, codec, "yuv420p", pace, options=options)
    cache = prepare(path, out=tmp_path / "out")
    assert cache.count == 30
    difference = np.abs(pictures(cache).astype(int) - np.array(shown)).mean(axis=(1, 2, 3))
    assert difference.max() < 4
    apart = np.abs(np.diff(np.array(shown).astype(int), axis=0)).mean(axis=(1, 2, 3))
    assert (difference[1:] < 3 * apart).all()


def mpeg(path: Path, shown: Frames) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg2video", rate=25, options={"bf": "2", "qmax": "2"})
        stream.height, stream.width, stream.pix_fmt = *shown[0].shape[:2], "yuv420p"
        for one in shown:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(one, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def test_frames_that_are_damaged_are_told(tmp_path: Path) -> None:
    """The others arrive as they were."""
    shown = frames(20)
    path = film(tmp_path / "film.mov", shown, "png", "rgb24")
    data = bytearray(path.read_bytes())
    pieces = [i for i in range(len(data)) if data[i : i + 4] == b"IDAT"]
    for number in (3, 7):
        data[pieces[number] - 20 : pieces[number] + 40] = bytes(60)
    path.write_bytes(data)
    cache = prepare(path, out=tmp_path / "out")
    assert [r.file for r in cache.meta.rejected] == ["film.mov at 0.300 s", "film.mov at 0.700 s"]
    assert {r.reason for r in cache.meta.rejected} <= {
        "this frame cannot be decoded",
        "this frame is damaged",
    }
    assert (pictures(cache) == [one for i, one in enumerate(shown) if i not in (3, 7)]).all()


def test_a_film_that_is_cut_short(tmp_path: Path) -> None:
    path = film(tmp_path / "film.mkv", frames(40))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    cache = prepare(path, out=tmp_path / "out")
    assert 15 <= cache.count <= 20
    assert (pictures(cache)[:15] == frames(40)[:15]).all()


def test_what_is_no_film(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no film" * 100)
    with pytest.raises(UserError, match=r"a\.mp4 cannot be read as a video \(.*\); fetch or conve"):
        prepare(tmp_path / "a.mp4")
    (tmp_path / "b.mp4").write_bytes(b"")
    with pytest.raises(UserError, match=r"b\.mp4 cannot be read as a video"):
        prepare(tmp_path / "b.mp4")
    with av.open(str(tmp_path / "c.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
    with pytest.raises(UserError, match=r"c\.mkv has no pictures, only sound"):
        prepare(tmp_path / "c.mkv")


def test_without_its_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = film(tmp_path / "film.mkv", frames(12))
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match=r"is read by av, which .*pip install 'safelight\[video\]'"):
        prepare(path)


def test_old_containers_that_tell_no_times() -> None:
    """Frames are counted, and spans of time follow from the rate."""
    times = Times(range(100), Fraction(1, 25), counted=True)
    assert thinned(times, "1s") == [0, 25, 50, 75]
    assert thinned(times, "30") == [0, 30, 60, 90]
    assert times.seconds(50) == 2


def test_frames_that_are_stored_in_another_order(tmp_path: Path) -> None:
    options = {"bf": "3", "crf": "1", "x264-params": "b-adapt=0:scenecut=0"}
    path = film(tmp_path / "a.mp4", frames(20, 32, 32), "libx264", "yuv444p", options=options)
    with av.open(str(path)) as opened:
        stored = [packet.pts for packet in opened.demux(video=0) if packet.size]
    assert stored != sorted(stored)
    assert list(times_of(path).stamps) == sorted(stored)


def test_two_films(tmp_path: Path) -> None:
    """Each in blocks of its own; or each a class."""
    first = film(tmp_path / "a.mkv", frames(40))
    second = film(tmp_path / "b.mkv", frames(20)[::-1])
    cache = prepare([first, second], every=2, out=tmp_path / "out", labels="sources")
    assert cache.classes == ("a", "b")
    assert cache.meta.counts == {
        "a": {"train": 16, "validation": 2, "test": 2},
        "b": {"train": 8, "validation": 1, "test": 1},
    }


@pytest.mark.parametrize("split", [None, "50/25/25"])
def test_a_film_beside_a_folder_keeps_its_blocks(
    split: str | None, make_folder: MakeFolder, tmp_path: Path
) -> None:
    """Only the pictures of the folder are divided at random."""
    path = film(tmp_path / "film.mkv", frames(40, 16, 16))
    folder = make_folder("photos", cat=40) / "cat"
    alone = prepare(path, split=split, out=tmp_path / "alone")
    cache = prepare([folder, path], split=split, out=tmp_path / "out")
    codes = np.load(cache.path / "splits.npy")
    assert (codes[40:] == np.load(alone.path / "splits.npy")).all()
    assert (np.bincount(codes[:40]) == np.bincount(codes[40:])).all()
    assert (np.diff(codes[:40].astype(int)) < 0).any()


def test_a_film_beside_a_folder_with_splits(make_folder: MakeFolder, tmp_path: Path) -> None:
    path = film(tmp_path / "film.mkv", frames(40, 16, 16))
    for split, n in (("train", 20), ("test", 5)):
        make_folder("set/" + split, cat=n)
    cache = prepare([tmp_path / "set", path], labels="none", out=tmp_path / "out")
    assert splits_of(cache) == [19 + 32, 1 + 4, 5 + 4]


def test_a_film_of_high_range_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = {"x265-params": "colorprim=bt2020:transfer=smpte2084:log-level=none"}
    path = film(tmp_path / "a.mp4", frames(12, 64, 64), "libx265", "yuv420p10le", options=options)
    prepare(path, out=tmp_path / "out")
    assert "has a high dynamic range (PQ)" in " ".join(capsys.readouterr().err.split())
