"""Every odd kind of file, made by ImageMagick or Pillow: pixels as ImageMagick reads them.

ImageMagick computes in 16 bits and cuts off where Pillow rounds, so a level of difference is
usual, and two where alpha is laid over a background. Skipped where it is not installed.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from safelight.data.decode import decode
from safelight.data.look import Look, RejectedPicture
from tests.data import pngs, profiles
from tests.data.conftest import encoded, noise, smooth

SIZE = (24, 16)
ALPHA = "( +clone -colorspace Gray -negate ) -compose CopyOpacity -composite"
GREY = "-colorspace Gray"

# name -> how `convert` makes it, and by how many levels it may differ
MADE: dict[str, tuple[str, int]] = {
    "rgb16.png": ("-depth 16 -define png:color-type=2 -define png:bit-depth=16", 1),
    "grey16.png": (f"{GREY} -depth 16 -define png:color-type=0 -define png:bit-depth=16", 1),
    "rgba16.png": (f"-depth 16 {ALPHA} -define png:color-type=6 -define png:bit-depth=16", 2),
    "grey4.png": (f"{GREY} -depth 4", 0),
    "palette.png": ("-colors 16 -define png:format=png8", 0),
    "linear.png": ("-depth 8 -set gamma 1.0", 1),
    "rgb16.tif": ("-depth 16 -endian MSB", 1),
    "grey12.tif": (f"{GREY} -depth 12 -compress lzw", 1),
    "white-is-zero16.tif": (f"{GREY} -depth 16 -define quantum:polarity=min-is-white", 1),
    "white-is-zero8.tif": (f"{GREY} -depth 8 -define quantum:polarity=min-is-white", 0),
    "fax.tif": (f"{GREY} -monochrome -compress group4", 0),
    "planes8.tif": ("-depth 8 -interlace plane", 0),
    "tiles.tif": ("-depth 8 -define tiff:tile-geometry=16x16", 0),
    "jpeg-in.tif": ("-depth 8 -compress jpeg -colorspace YCbCr", 0),
    "ycbcr.tif": ("-depth 8 -compress none -colorspace YCbCr", 1),
    "cmyk.tif": ("-depth 8 -colorspace CMYK", 1),
    "cmyk16.tif": ("-depth 16 -colorspace CMYK", 2),
    "cmyk.jpg": ("-depth 8 -colorspace CMYK -quality 95", 1),
    "alpha.tif": (f"-depth 8 {ALPHA}", 1),
    "associated.tif": (f"-depth 8 {ALPHA} -define tiff:alpha=associated", 1),
    "grey-alpha.tif": (f"{ALPHA} {GREY} -depth 8", 1),
    "rgb10.ppm": ("-depth 10", 1),
    "grey16.pgm": (f"{GREY} -depth 16", 1),
    "bitmap.pbm": ("-monochrome", 0),
    "rgb565.bmp": ("-depth 8 -define bmp:subtype=RGB565", 1),
    "alpha.bmp": (f"-depth 8 {ALPHA}", 1),
    "progressive.jpg": ("-depth 8 -interlace JPEG -quality 90 -sampling-factor 2x2", 0),
    "lossless.webp": ("-depth 8 -define webp:lossless=true", 0),
}
REJECTED: dict[str, tuple[str, str]] = {
    "planes16.tif": ("-depth 16 -interlace plane", "16 bits in separate planes can't be read"),
    "float.tif": ("-depth 32 -compress none -define quantum:format=floating-point", "of a kind"),
    "integer32.tif": ("-depth 32", "a TIFF of a kind that can't be read; save it as PNG"),
}


@pytest.fixture(scope="module")
def convert() -> str:
    """The program, be it called magick or convert."""
    for name in ("magick", "convert"):
        path = shutil.which(name)
        if path and b"Version: ImageMagick" in _run([path, "-version"]):
            return path
    pytest.skip("needs ImageMagick: apt-get install imagemagick")


def _run(command: list[str], data: bytes = b"") -> bytes:
    return subprocess.run(command, input=data, capture_output=True, check=False).stdout


@pytest.fixture(scope="module")
def original(convert: str) -> bytes:
    """A picture of 16 bits a channel."""
    y, x = np.mgrid[: SIZE[1], : SIZE[0]] / 16
    waves = np.stack([np.sin(3 * x + 2 * y), np.cos(4 * y + x), np.sin(5 * x * y)], -1)
    return pngs.png(np.rint(32767.5 + 32000 * waves).astype(int), 16)


def made(convert: str, original: bytes, name: str, how: str, folder: Path) -> Path:
    path = folder / name
    _run([convert, "png:-", *how.split(), str(path)], original)
    return path


def theirs(convert: str, path: Path, *how: str) -> np.ndarray:
    """As ImageMagick shows the first page of it on white."""
    flat = ["-background", "white", "-flatten", "-colorspace", "sRGB", "-depth", "8", "rgb:-"]
    levels = _run([convert, f"{path}[0]", *how, "+repage", *flat])
    return np.frombuffer(levels, np.uint8).reshape(SIZE[1], SIZE[0], 3).astype(int)


def ours(data: bytes) -> np.ndarray:
    return np.asarray(decode(data, Look(SIZE, "rgb")).image).astype(int)


@pytest.mark.parametrize("name", MADE)
def test_kinds(name: str, convert: str, original: bytes, tmp_path: Path) -> None:
    how, tolerance = MADE[name]
    path = made(convert, original, name, how, tmp_path)
    assert np.abs(ours(path.read_bytes()) - theirs(convert, path)).max() <= tolerance


@pytest.mark.parametrize("name", REJECTED)
def test_kinds_that_are_rejected(name: str, convert: str, original: bytes, tmp_path: Path) -> None:
    how, reason = REJECTED[name]
    path = made(convert, original, name, how, tmp_path)
    with pytest.raises(RejectedPicture, match=reason):
        ours(path.read_bytes())


def frames(kind: str, **options: object) -> bytes:
    colours = [smooth(SIZE), noise(1, SIZE), noise(2, SIZE)]
    return encoded(colours[0], kind, save_all=True, append_images=colours[1:], **options)


ODD = {
    "animation.gif": frames("GIF"),
    "animation.png": frames("PNG"),
    "pages.tif": frames("TIFF"),
    "transparent.gif": encoded(noise(3, SIZE).quantize(8), "GIF", transparency=3),
    "palette-alpha.png": encoded(noise(4, SIZE).quantize(4), transparency=bytes([0, 85, 170, 255])),
    "key.png": pngs.png(np.arange(384).reshape(16, 24) % 16, 4, pngs.transparent(5)),
    "key16.png": pngs.png(np.arange(384).reshape(16, 24) * 170, 16, pngs.transparent(1700)),
    "phone.mpo": encoded(
        smooth(SIZE), "MPO", save_all=True, append_images=[smooth((48, 32))], quality=95
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_kinds_that_pillow_writes(name: str, convert: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(ODD[name])
    assert np.abs(ours(ODD[name]) - theirs(convert, path)).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientations(orientation: int, convert: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    path = tmp_path / "turned.jpg"
    size = SIZE if orientation < 5 else SIZE[::-1]
    path.write_bytes(encoded(smooth(size), "JPEG", exif=exif, quality=95))
    assert np.abs(ours(path.read_bytes()) - theirs(convert, path, "-auto-orient")).max() <= 1


@pytest.mark.parametrize(
    "profile",
    [profiles.of_rgb(profiles.ADOBE, 2.2), profiles.of_rgb(profiles.P3, 1.8)],
    ids=["adobe", "p3"],
)
def test_profiles(profile: bytes, convert: str, tmp_path: Path) -> None:
    (tmp_path / "srgb.icc").write_bytes(
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    )
    path = tmp_path / "profile.png"
    path.write_bytes(encoded(smooth(SIZE), icc_profile=profile))
    how = ("-intent", "relative", "-black-point-compensation", "-profile")
    expected = theirs(convert, path, *how, str(tmp_path / "srgb.icc"))
    assert np.abs(ours(path.read_bytes()) - expected).max() <= 2


@pytest.mark.parametrize("orientation", [1, 6])
def test_heic(orientation: int, convert: str, tmp_path: Path) -> None:
    """As a phone leaves it: with its orientation in the container and in the EXIF data."""
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    exif = Image.Exif()
    exif[274] = orientation
    path = tmp_path / "photo.heic"
    size = SIZE if orientation == 1 else SIZE[::-1]
    path.write_bytes(encoded(smooth(size), "HEIF", exif=exif.tobytes(), quality=90))
    difference = np.abs(ours(path.read_bytes()) - theirs(convert, path))
    assert difference.mean() < 1.5  # each has its own way from half as many colours to all
    assert difference.max() <= 12


def test_lab_is_seen_in_the_light_of_print(convert: str, tmp_path: Path) -> None:
    """ImageMagick takes that for daylight: neutral colours agree, others in part."""
    path = tmp_path / "lab.tif"
    levels = np.stack([np.linspace(0, 255, 384), np.full(384, 128), np.full(384, 128)], -1)
    bands = [Image.fromarray(np.uint8(b.reshape(16, 24))) for b in levels.T]
    path.write_bytes(encoded(Image.merge("LAB", bands), "TIFF"))
    assert np.abs(ours(path.read_bytes()) - theirs(convert, path)).max() <= 2
