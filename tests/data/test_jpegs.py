"""JPEGs that are decoded without Pillow: the same pixels, and the same files refused."""

from __future__ import annotations

import io
import random
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from safelight.data import decode, jpegs
from safelight.data.look import Look, RejectedPicture
from tests.data.conftest import encoded, noise, smooth

BRIGHT = Image.Exif()
BRIGHT[274] = 6
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def by_pillow(data: bytes) -> Image.Image | None:
    """None where Pillow can't read it."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            return image.copy()
    except Exception:  # nearly every exception there is, on damaged files
        return None


def some_jpeg(rng: random.Random) -> bytes:
    """Of any size, sampling, quality and way to code it, with edges and with areas."""
    levels = np.random.default_rng(rng.randrange(2**32)).integers(0, 256, (9, 9, 3), np.uint8)
    size = (rng.randrange(1, 70), rng.randrange(1, 70))
    image = Image.fromarray(levels).resize((72, 72), rng.choice([0, 2])).crop((0, 0, *size))
    options = {
        "quality": rng.choice([10, 50, 90, 100]),
        "progressive": rng.random() < 0.4,
        "restart_marker_rows": rng.randrange(2),
    }
    if rng.random() < 0.3:
        return encoded(image.convert("L"), "JPEG", **options)
    sampling = rng.choice(["4:4:4", "4:2:2", "4:2:0"])
    return encoded(image, "JPEG", subsampling=sampling, **options)


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Cut short, with bytes put in, left out, or changed."""
    at, length = rng.randrange(len(data)), rng.randrange(1, 5)
    kind = rng.randrange(4)
    if kind == 0:
        return data[:at]
    if kind == 1:
        return data[:at] + rng.randbytes(length) + data[at:]
    if kind == 2:
        return data[:at] + data[at + length :]
    at %= 700  # most of the headers, half of the time
    return data[:at] + rng.randbytes(length) + data[at + length :]


@pytest.mark.parametrize(
    "cases",
    [pytest.param(6000, id="some"), pytest.param(60_000, id="many", marks=pytest.mark.slow)],
)
def test_what_is_decoded_at_once_has_pillows_pixels(cases: int) -> None:
    """Whole files all are; of damaged ones none is that Pillow refuses."""
    rng, at_once = random.Random(0), 0
    for case in range(cases):
        whole = case % 2 == 0
        data = some_jpeg(rng) if whole else damaged(some_jpeg(rng), rng)
        found = jpegs.plain(data)
        assert found is not None or not whole
        if found is None or found[0][0] * found[0][1] > 10**6:  # a damaged header
            continue
        image = jpegs.decoded(data, found[1])
        assert image is not None or not whole
        if image is not None:
            expected = by_pillow(data)
            assert expected is not None
            assert (expected.size, expected.mode) == found
            assert (np.asarray(expected) == np.asarray(image)).all()
            at_once += 1
    assert at_once > 0.55 * cases  # all that are whole, and some more


@pytest.mark.parametrize(
    "data",
    [
        encoded(noise(0), "JPEG", exif=BRIGHT),
        encoded(noise(0), "JPEG", icc_profile=SRGB),
        encoded(noise(0, mode="CMYK"), "JPEG"),
        encoded(noise(0), "MPO", save_all=True, append_images=[noise(1)]),
        encoded(noise(0), "PNG"),
        b"",
        b"\xff\xd8\xff",
    ],
    ids=["EXIF", "profile", "CMYK", "two pictures", "PNG", "empty", "cut short"],
)
def test_what_has_more_than_pixels_is_left_to_pillow(data: bytes) -> None:
    assert jpegs.plain(data) is None


@pytest.mark.parametrize(
    "look",
    [
        Look((16, 16)),
        Look((16, 16), "grey"),
        Look((24, 12), "rgb"),
        Look((40, 40), fit="letterbox", background="red"),
        Look((20, 30), filter="nearest"),
        Look((90, 90), enlarge=False),
        Look((4, 4)),
        Look((3, 60)),
    ],
    ids=str,
)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_it_is_fitted_as_any_other(look: Look, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(smooth((50, 34)).convert(mode), "JPEG")
    at_once = outcome(data, look)
    monkeypatch.setattr(jpegs, "plain", lambda data: None)
    assert at_once == outcome(data, look)


def outcome(data: bytes, look: Look) -> object:
    try:
        made = decode.decode(data, look)
    except RejectedPicture as reason:
        return str(reason)
    return made.image.mode, made.image.tobytes(), made.own, made.format, list(made.changes)


def test_damage_is_told_as_pillow_tells_it() -> None:
    data = encoded(smooth((50, 34)), "JPEG")
    with pytest.raises(RejectedPicture, match="damaged: .*truncated"):
        decode.decode(data[:-200], Look((16, 16)))


def test_most_of_real_photographs_is_decoded_at_once(shared: Path) -> None:
    """Or the time would not be saved where it matters."""
    with zipfile.ZipFile(shared / "flowers5.zip") as archive:
        names = [name for name in archive.namelist() if name.endswith(".jpg")][::20]
        plain = [jpegs.plain(archive.read(name)) is not None for name in names]
    assert np.mean(plain) > 0.5
