"""A stranger's folder, as a phone leaves it, and what the screen says of it."""

from __future__ import annotations

import io
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features
from rich.console import Console

from safelight import cli
from safelight.data.cache import Cache
from safelight.data.decode import UPRIGHT, decode
from safelight.data.look import Look, RejectedPicture
from safelight.data.prepare import prepare
from tests.data import profiles
from tests.data.conftest import encoded, noise, smooth

MP4 = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(64)
BACK = {  # what a camera does with an upright scene, by the orientation that it then writes
    6: Image.Transpose.ROTATE_90,
    8: Image.Transpose.ROTATE_270,
}


def tagged(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[274] = orientation
    return exif


def lying(scene: Image.Image, orientation: int) -> bytes:
    """The scene as it is stored under this orientation."""
    back = BACK.get(orientation, UPRIGHT.get(orientation))
    stored = scene if back is None else scene.transpose(back)
    return encoded(stored, "JPEG", exif=tagged(orientation), quality=95)


def window(size: tuple[int, int]) -> Image.Image:
    """A screenshot of a window with round corners."""
    y, x = np.mgrid[: size[1], : size[0]]
    inside = np.hypot(x - size[0] / 2, y - size[1] / 2) < min(size) / 2
    image = smooth(size).convert("RGBA")
    image.putalpha(Image.fromarray(np.uint8(inside * 255)))
    return image


def animation(kind: str) -> bytes:
    frames = [noise(i, (48, 48)) for i in range(3)]
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:])


@pytest.fixture
def phone(tmp_path: Path) -> Path:
    pytest.importorskip("pillow_heif").register_heif_opener()
    scene = smooth((90, 120))
    files = {f"IMG_000{o}.JPG": lying(scene, o) for o in range(1, 9)}
    files |= {
        "IMG_0011.jpg": encoded(smooth((320, 240)), "JPEG"),
        "IMG_0012.jpg": encoded(
            noise(1, (80, 80)), "JPEG", icc_profile=profiles.of_rgb(profiles.P3, 2.2)
        ),
        "IMG_0013.HEIC": encoded(noise(2, (120, 90)), "HEIF", exif=tagged(6).tobytes()),
        "IMG_0014.MPO": encoded(
            noise(3, (100, 70)), "MPO", save_all=True, append_images=[noise(4, (50, 35))]
        ),
        "scan.jpg": encoded(noise(5, (70, 99)).convert("CMYK"), "JPEG"),
        "scan.png": encoded(
            Image.fromarray(np.linspace(0, 65535, 7000).reshape(70, 100).astype(np.uint16))
        ),
        "Screenshot_1.png": encoded(window((120, 200))),
        "sticker.gif": animation("GIF"),
        "sticker.webp": animation("WEBP"),
        "received.jpg": encoded(noise(6, (40, 60)).convert("L"), "JPEG"),
        "PANO_0001.jpg": encoded(noise(7, (1200, 100)), "JPEG"),
        "IMG_0001.MOV": b"\0\0\0\x14ftypqt  " + bytes(64),
        "VID_0001.mp4": MP4,
        "IMG_0001.AAE": b"<plist/>",
        "notes.txt": b"buy film",
        ".DS_Store": b"\0\0\0\1Bud1",
        "Thumbs.db": b"\xd0\xcf\x11\xe0",
        ".thumbnails/1.jpg": encoded(noise(8), "JPEG"),
        "empty.jpg": b"",
        "half.jpg": lying(scene, 1)[:2000],
        "page.jpg": b"<!DOCTYPE html><title>404</title>",
        "clip.jpg": MP4,
    }
    folder = tmp_path / "phone"
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


SAID = """\
  train 15, validation 1, test 2
  13 JPEG, 2 PNG, 1 HEIC, 1 GIF, 1 WebP
  3 landscape, 12 portrait, 3 square; from 48x48 to 320x240
  8 turned upright, as the EXIF data say
  1 converted to sRGB from another colour profile or gamma
  1 converted from CMYK
  1 reduced to 8 bits a channel from more
  1 transparent in places, laid over white
  2 animated or of several pages: the first was taken
  3 smaller than 64x64, enlarged
  2 grey among colour ones, stored as colour
  4 left aside for their endings (named in cache/meta.json):
    2 videos (.mov, .mp4): prepare one by itself to take its frames
    1 note of a program (.aae)
    1 text (.txt)
  5 left out (named in cache/meta.json):
    1: of 1200x100 less than a tenth would show in 64x64 (PANO_0001.jpg)
    1: a video, not a picture (clip.jpg)
    1: empty file (empty.jpg)
    1: damaged: image file is truncated (40 bytes not processed) (half.jpg)
    1: a web page, not a picture (page.jpg)
cache: cache
next:  safelight report cache   or   safelight train cache
"""


def test_the_screen_says_what_happened_to_each_kind(
    phone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The stranger's test: one command, and no kind of file is passed over in silence."""
    monkeypatch.chdir(tmp_path)
    words = ["prepare", "phone", "--size", "64", "--out", "cache"]
    monkeypatch.setattr(sys, "argv", ["safelight", *words])
    cli.main()
    first, *lines = capsys.readouterr().out.splitlines(keepends=True)
    assert first == f"18 pictures of 64x64, colour, from {phone}\n"
    # The same scene under all orientations is found by what compares pictures, which says so.
    (alike,) = [line for line in lines if "an earlier picture" in line]
    assert alike.startswith("  7 repeat an earlier picture (0 to the last value, 7 nearly)")
    lines.remove(alike)
    assert "".join(lines) == SAID
    assert max(map(len, SAID.splitlines())) <= 80
    meta = Cache.open(tmp_path / "cache").meta
    assert meta.formats == {"JPEG": 13, "PNG": 2, "HEIC": 1, "GIF": 1, "WebP": 1}
    assert meta.changes == {
        "turned": 8,
        "first frame": 2,
        "profile": 1,
        "cmyk": 1,
        "deep": 1,
        "flattened": 1,
    }
    assert (meta.enlarged, meta.grey) == (3, 2)
    assert meta.left_aside == ("IMG_0001.AAE", "IMG_0001.MOV", "VID_0001.mp4", "notes.txt")


def test_counts_are_the_same_with_processes_and_of_what_is_kept(
    phone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The decoding processes report them; what is left out as a duplicate is not counted."""
    monkeypatch.setattr("safelight.data.parts.FEW_FILES", 0)
    monkeypatch.setattr("safelight.data.workers.BATCH_FILES", 5)
    one, two = (prepare(phone, size=64, out=tmp_path / f"{n}", workers=n).meta for n in (1, 2))
    assert (one.formats, one.changes) == (two.formats, two.changes)
    assert one.hashes == two.hashes
    fewer = prepare(phone, size=64, out=tmp_path / "fewer", duplicates="drop-near").meta
    assert fewer.count == sum(fewer.formats.values()) == 11
    assert fewer.changes["turned"] == 1


def test_what_differs_only_in_its_numbers_is_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    for i in range(4):
        (folder / f"{i}.jpg").write_bytes(encoded(noise(i, (64, 64)), "JPEG"))
        (folder / f"{i}-half.jpg").write_bytes(encoded(noise(i, (64, 64)), "JPEG")[: 900 + i])
        (folder / f"small{i}.png").write_bytes(encoded(noise(i, (10 + i, 20))))
    for i in range(120):
        (folder / f"{i}.{'abcdefghijkl'[i % 12]}").write_bytes(b"")
    meta = prepare(folder, size=32, enlarge=False, out=tmp_path / "out").meta
    said = capsys.readouterr().out
    assert "    4: 10x20 is smaller than 32x32; none is enlarged (such as small0.png)\n" in said
    assert "    4: damaged: image file is truncated (" in said
    assert "120 left aside for their endings (the first 100 are named in" in said
    assert "    120 other files (.a, .b, .c, .d, .e, .f, .g, .h, ...)\n" in said
    assert len(meta.left_aside) == 100
    assert sum(meta.ignored.values()) == 120


def test_on_a_terminal_the_lines_fit(
    phone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = io.StringIO()
    terminal = Console(file=shown, force_terminal=True, width=60, soft_wrap=True, highlight=False)
    monkeypatch.setattr("safelight.console.results", terminal)
    monkeypatch.chdir(tmp_path)
    prepare(phone, size=64, out="cache")
    _, *lines = shown.getvalue().splitlines()
    assert max(map(len, lines)) <= 60
    assert [line for line in lines if line.startswith("      ")]  # a line goes on below itself


# What a phone needs beyond Pillow


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_heic_is_upright_as_its_container_says(orientation: int) -> None:
    """Not turned twice, though the EXIF data say it too."""
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    image = smooth((64, 48))
    data = encoded(image, "HEIF", exif=tagged(orientation).tobytes(), quality=95)
    turn = UPRIGHT.get(orientation)
    upright = image if turn is None else image.transpose(turn)
    one = decode(data, Look(upright.size))
    assert one.own == upright.size
    assert one.format == "HEIC"
    assert np.abs(np.asarray(one.image).astype(int) - np.asarray(upright)).mean() < 5
    assert ("turned" in one.changes) == (orientation > 1)


def test_heic_keeps_its_profile() -> None:
    """A phone's are in Display P3."""
    pytest.importorskip("pillow_heif").register_heif_opener()
    profile = profiles.of_rgb(profiles.P3, 2.2)
    look = Look((48, 48))
    tagged, plain = (
        decode(encoded(smooth((48, 48)), "HEIF", quality=95, **how), look)
        for how in ({"icc_profile": profile}, {})
    )
    expected = decode(encoded(plain.image, icc_profile=profile), look).image
    assert tagged.changes == ["profile"]
    assert np.abs(np.asarray(tagged.image).astype(int) - np.asarray(expected)).max() <= 2


def test_heic_without_pillow_heif(phone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # as if it were not installed
    with pytest.raises(RejectedPicture, match=r"HEIC needs pillow-heif: pip install 'safe.*heic"):
        decode((phone / "IMG_0013.HEIC").read_bytes(), Look((16, 16)))


def test_no_reader_for_heic_is_loaded_before_there_is_one() -> None:
    """Nor one for profiles: the decoding processes have to start quickly."""
    code = (
        "import sys, io; from PIL import Image; from safelight.data.decode import decode;"
        "from safelight.data.look import Look; file = io.BytesIO();"
        "Image.new('RGB', (9, 9)).save(file, 'JPEG'); decode(file.getvalue(), Look((8, 8)));"
        "assert not {'pillow_heif', 'PIL.ImageCms'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_avif(monkeypatch: pytest.MonkeyPatch) -> None:
    if not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    image = smooth((64, 48))
    data = encoded(image, "AVIF", quality=95, exif=tagged(6))
    one = decode(data, Look((48, 64)))
    upright = image.transpose(Image.Transpose.ROTATE_270)
    assert (one.format, one.own) == ("AVIF", (48, 64))
    assert np.abs(np.asarray(one.image).astype(int) - np.asarray(upright)).mean() < 2
    monkeypatch.setattr(features, "check", lambda name: False)
    with pytest.raises(RejectedPicture, match="AVIF needs a newer Pillow: pip install --upgrade"):
        decode(data, Look((48, 64)))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (MP4, "a video, not a picture"),
        (b"\n <HTML><body>not found", "a web page, not a picture"),
        (b"%PDF-1.4 ...", "a PDF, not a picture"),
        (b"II*\0 and nothing more", "a TIFF of a kind that can't be read"),
        (b"\0\0\0\x18ftyp", "a video"),
        (b"buy film", "not a picture in a format that can be read"),
    ],
)
def test_what_is_called_a_picture_and_is_none(data: bytes, reason: str) -> None:
    with pytest.raises(RejectedPicture, match=reason):
        decode(data, Look((16, 16)))


def test_a_first_box_that_says_it_is_the_whole_file() -> None:
    data = b"\xff\xff\xff\xffftyp" + np.arange(10**6, dtype=np.uint32).tobytes()
    tracemalloc.start()
    with pytest.raises(RejectedPicture, match="a video"):
        decode(data, Look((16, 16)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10**6


def test_the_further_pictures_of_a_phones_jpeg_are_not_for_looking_at() -> None:
    first = noise(3, (48, 32))
    data = encoded(first, "MPO", save_all=True, append_images=[noise(4)], quality=95)
    one = decode(data, Look((48, 32)))
    assert (one.format, list(one.changes)) == ("JPEG", [])
    assert (np.asarray(one.image) == np.asarray(Image.open(io.BytesIO(data)))).all()
