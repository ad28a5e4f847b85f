"""Every odd kind of picture: right to the pixel, or rejected with its reason."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from safelight.data.changes import Change
from safelight.data.decode import UPRIGHT, decode, decode_batch, own_size
from safelight.data.look import Channels, Look, RejectedPicture
from safelight.errors import UserError
from tests.data.conftest import encoded, noise, smooth

# EXIF orientation -> what lays an upright picture as it is stored then.
BACK = UPRIGHT | {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}


def pixels(data: bytes, size: int = 16, channels: Channels = "auto") -> np.ndarray:
    return np.asarray(decode(data, Look((size, size), channels)).image)


def test_a_picture_of_the_right_size_is_untouched() -> None:
    image = noise(0)
    assert (pixels(encoded(image)) == np.asarray(image)).all()


@pytest.mark.parametrize("size", [(40, 25), (25, 40), (33, 33), (160, 16)])
def test_crop_and_resize_are_pillows(size: tuple[int, int]) -> None:
    image = noise(1, size)
    expected = ImageOps.fit(image, (16, 16), Image.Resampling.LANCZOS)
    assert (pixels(encoded(image)) == np.asarray(expected)).all()


def test_the_crop_is_the_middle_of_the_resized_picture() -> None:
    image = noise(1, (96, 32))
    whole = image.resize((48, 16), Image.Resampling.LANCZOS).crop((16, 0, 32, 16))
    assert (pixels(encoded(image)) == np.asarray(whole)).all()


def test_resizing_is_antialiased() -> None:
    """A fine chessboard becomes even grey; picking single pixels would keep black and white."""
    board = np.indices((128, 128)).sum(0) % 2 * np.uint8(255)
    small = pixels(encoded(Image.fromarray(board.astype(np.uint8))))
    assert np.abs(small.astype(int) - 127.5).max() < 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(orientation: int) -> None:
    image = noise(2, (48, 32))
    exif = Image.Exif()
    exif[274] = orientation
    data = encoded(image, "JPEG", exif=exif, quality=95)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    left, top = (upright.width - 32) // 2, (upright.height - 32) // 2
    expected = upright.crop((left, top, left + 32, top + 32))
    assert (pixels(data, 32) == np.asarray(expected)).all()


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_tiff_is_turned_once(orientation: int, compression: str) -> None:
    """Pillow turns TIFFs itself, as it loads them."""
    upright = noise(2, (48, 32))
    stored = upright.transpose(BACK[orientation]) if orientation > 1 else upright
    data = encoded(stored, "TIFF", tiffinfo={274: orientation}, compression=compression)
    assert own_size(lambda _: data, "") == (48, 32)
    found = decode(data, Look((48, 32)))
    assert found.own == (48, 32)
    assert (np.asarray(found.image) == np.asarray(upright)).all()
    assert (Change.TURNED in found.changes) == (orientation > 1)


def test_alpha_lies_over_white() -> None:
    image = noise(3, mode="RGBA")
    levels = np.asarray(image).astype(float)
    alpha = levels[..., 3:] / 255
    expected = levels[..., :3] * alpha + 255 * (1 - alpha)
    assert np.abs(pixels(encoded(image)) - expected).max() <= 1
    grey = noise(4, mode="LA")
    levels = np.asarray(grey).astype(float)
    expected = levels[..., 0] * levels[..., 1] / 255 + 255 - levels[..., 1]
    ours = pixels(encoded(grey))
    assert ours.ndim == 2
    assert np.abs(ours - expected).max() <= 1


def test_transparent_palette_lies_over_white() -> None:
    image = noise(5).quantize(8)
    levels = np.asarray(image.convert("RGB")).copy()
    levels[np.asarray(image) == 3] = 255
    assert (pixels(encoded(image, "PNG", transparency=3)) == levels).all()


def test_palette() -> None:
    image = noise(6).quantize(16)
    assert (pixels(encoded(image)) == np.asarray(image.convert("RGB"))).all()


def test_cmyk() -> None:
    image = smooth((16, 16)).convert("CMYK")
    data = encoded(image, "JPEG", quality=95)
    assert (pixels(data) == np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))).all()
    assert np.abs(pixels(data).astype(int) - np.asarray(smooth((16, 16)))).mean() < 4


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_keep_their_brightness(kind: str) -> None:
    """Pillow's own conversion clips at 255 of 65,535: an all-white picture."""
    levels = np.linspace(0, 65535, 256).reshape(16, 16).astype(np.uint16)
    data = encoded(Image.fromarray(levels), kind)
    expected = np.rint(levels.astype(float) / 257)
    assert (pixels(data) == expected).all()


def test_thirty_two_bits_have_no_known_white() -> None:
    for dtype in (np.int32, np.float32):
        data = encoded(Image.fromarray(np.full((16, 16), 7, dtype)), "TIFF")
        with pytest.raises(RejectedPicture, match="no known white"):
            decode(data, Look((16, 16), "auto"))


def test_one_bit() -> None:
    image = noise(7, mode="L").convert("1")
    assert (pixels(encoded(image)) == np.asarray(image) * 255).all()


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_an_animation_the_first_frame(kind: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue", "green")]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True)
    assert (pixels(data) == [255, 0, 0]).all()


@pytest.mark.parametrize(
    ("mode", "channels", "expected"),
    [
        ("L", "auto", "L"),
        ("RGB", "auto", "RGB"),
        ("L", "rgb", "RGB"),
        ("RGB", "grey", "L"),
        ("LA", "rgb", "RGB"),
    ],
)
def test_channels(mode: str, channels: Channels, expected: str) -> None:
    image = noise(8, mode=mode)
    ours = decode(encoded(image), Look((16, 16), channels)).image
    assert ours.mode == expected
    if mode != "LA":
        assert (np.asarray(ours) == np.asarray(image.convert(expected))).all()


def test_large_photographs_are_decoded_small_and_still_right() -> None:
    """JPEG's own reduction (1/2, 1/4, 1/8) before Lanczos: less than a level off on average."""
    data = encoded(smooth((900, 1200)), "JPEG", quality=95)
    whole = Image.open(io.BytesIO(data)).convert("RGB")
    expected = np.asarray(ImageOps.fit(whole, (32, 32), Image.Resampling.LANCZOS)).astype(int)
    difference = np.abs(pixels(data, 32) - expected)
    assert difference.mean() < 0.25
    assert difference.max() <= 2
    assert decode(data, Look((32, 32))).own == (900, 1200)


def test_real_photographs_are_decoded_small_and_still_right(shared: Path) -> None:
    with zipfile.ZipFile(shared / "flowers5.zip") as archive:
        for name in archive.namelist()[::400]:
            data = archive.read(name)
            whole = Image.open(io.BytesIO(data)).convert("RGB")
            expected = np.asarray(ImageOps.fit(whole, (16, 16), Image.Resampling.LANCZOS))
            assert np.abs(pixels(data, 16) - expected.astype(int)).mean() < 0.5


SETS = {"cifar10.zip": (60_000, 500), "flowers5.zip": (4064, 150)}  # pictures; of which each n-th


@pytest.mark.parametrize("name", SETS)
def test_real_sets_are_decoded_to_pillows_pixels(name: str, shared: Path) -> None:
    decoded_as_pillow_does(shared / name, SETS[name][1])


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_whole_sets_are_decoded_to_pillows_pixels(name: str, shared: Path) -> None:
    assert decoded_as_pillow_does(shared / name, 1) == SETS[name][0]


def decoded_as_pillow_does(path: Path, every: int) -> int:
    with zipfile.ZipFile(path) as archive:
        files = [name for name in archive.namelist() if name.endswith((".jpg", ".png"))][::every]
        for file in files:
            data = archive.read(file)
            whole = Image.open(io.BytesIO(data))
            ours = decode(data, Look(whole.size, "rgb"))
            assert (np.asarray(ours.image) == np.asarray(whole.convert("RGB"))).all(), file
            assert list(ours.changes) == [], file
    return len(files)


def bomb() -> bytes:
    """A PNG that says it is 30,000 x 30,000 pixels."""
    data = bytearray(encoded(noise(9)))
    data[16:24] = (30_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


BAD = {
    "empty file": b"",
    "not a picture": b"this is no picture\n" * 100,
    "damaged: .*truncated": encoded(noise(10, (64, 64)), "JPEG")[:2000],
    "damaged: ": encoded(noise(11, (64, 64)))[:3000],
    "million pixels": bomb(),
    "of 1x5000 less than a tenth would show in 16x16": encoded(noise(12, (1, 5000))),
    "of 5000x1 less than a tenth would show in 16x16": encoded(noise(13, (5000, 1))),
}


@pytest.mark.parametrize("reason", BAD)
def test_bad_files_say_what_is_wrong(reason: str) -> None:
    with pytest.raises(RejectedPicture, match=reason):
        decode(BAD[reason], Look((16, 16), "auto"))


def test_between_the_limits_of_pillow_and_ours() -> None:
    image = Image.new("1", (9500, 9400))
    with pytest.raises(RejectedPicture, match="9500x9400 is more than 89 million"):
        decode(encoded(image), Look((16, 16), "auto"))


def test_a_postscript_file_is_not_run() -> None:
    """Pillow hands EPS to Ghostscript, whatever the file is called."""
    with pytest.raises(RejectedPicture, match="not a picture"):
        decode(encoded(noise(14), "EPS"), Look((16, 16), "auto"))


def test_damaged_exif_does_not_cost_the_picture() -> None:
    broken = encoded(smooth((16, 16)), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff" + b"\7" * 50)
    batch = decode_batch({"broken": broken}.__getitem__, ["broken"], Look((16, 16)))
    expected = pixels(encoded(smooth((16, 16)), "JPEG"))
    assert (batch.pixels[0] == expected.transpose(2, 0, 1)).all()


def test_a_batch_goes_on_after_bad_files() -> None:
    good = {f"{i}": encoded(noise(i)) for i in range(3)}
    files = good | {"empty": b"", "denied": b""}

    def read(key: str) -> bytes:
        if key == "denied":
            raise PermissionError
        return files[key]

    batch = decode_batch(read, ["0", "empty", "1", "denied", "gone", "2"], Look((16, 16)))
    assert [found for found in batch.found if isinstance(found, str)] == [
        "empty file",
        "no permission to read it",
        "cannot be read: 'gone'",
    ]
    expected = np.stack([np.asarray(noise(i)).transpose(2, 0, 1) for i in range(3)])
    assert (batch.pixels == expected).all()


def test_an_error_without_words_is_told_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> bytes:
        raise AssertionError

    monkeypatch.setattr(Image, "open", broken)
    found = decode_batch(lambda _: b"any", ["a"], Look((16, 16))).found
    found = [*found, *decode_batch(broken, ["a"], Look((16, 16))).found]
    assert found == ["damaged: AssertionError", "cannot be read: AssertionError"]


def test_too_little_memory_is_not_the_pictures_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> bytes:
        raise MemoryError

    with pytest.raises(UserError, match="too little memory to decode a picture; close"):
        decode_batch(full, ["a"], Look((16, 16)))
    monkeypatch.setattr(Image, "open", full)
    with pytest.raises(UserError, match="too little memory to decode a picture; close"):
        decode_batch(lambda _: b"any", ["a"], Look((16, 16)))


def test_decoding_needs_no_torch() -> None:
    """The decoding processes, and `prepare` itself, start without it."""
    code = "import sys, safelight.data.prepare; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
