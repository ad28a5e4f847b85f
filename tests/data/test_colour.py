"""Colours of every kind of file become sRGB of 8 bits, compared with closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageCms

from safelight.data import srgb
from safelight.data.changes import Change
from safelight.data.colour import plain
from safelight.data.decode import Decoded, decode
from safelight.data.look import Look, RejectedPicture
from tests.data import pngs, profiles
from tests.data.conftest import encoded, noise, smooth

SIZE = (16, 16)


def made(data: bytes, **look: object) -> Decoded:
    return decode(data, Look(SIZE, **look))  # type: ignore[arg-type]


def pixels(data: bytes, **look: object) -> np.ndarray:
    return np.asarray(made(data, **look).image).astype(int)


# Profiles


@pytest.mark.parametrize(
    ("primaries", "gamma"), [(profiles.ADOBE, 2.2), (profiles.P3, 2.2), (profiles.P3, 1.8)]
)
def test_colours_of_a_profile_become_srgb(
    primaries: tuple[tuple[float, float], ...], gamma: float
) -> None:
    """Level -> light -> XYZ -> light of sRGB -> level, with what sRGB can't show cut off."""
    image = smooth(SIZE)
    light = (np.asarray(image) / 255) ** (round(gamma * 256) / 256)
    to_srgb = np.linalg.inv(profiles.to_d50(profiles.BT709)) @ profiles.to_d50(primaries)
    expected = profiles.srgb_of(light @ to_srgb.T)
    data = encoded(image, icc_profile=profiles.of_rgb(primaries, gamma))
    assert np.abs(pixels(data) - expected).max() <= 2
    assert np.abs(np.asarray(image) - expected).max() > 20
    assert made(data).changes == [Change.PROFILE]


def test_the_profile_is_applied_before_a_picture_is_made_smaller() -> None:
    """So that it comes out as its copy in sRGB does; a JPEG is reduced by itself before."""
    profile = profiles.of_rgb(profiles.P3, 1.8)
    large = noise(3, (48, 48))
    whole = decode(encoded(large, icc_profile=profile), Look((48, 48))).image
    expected = whole.resize(SIZE, Image.Resampling.LANCZOS)
    assert (pixels(encoded(large, icc_profile=profile)) == np.asarray(expected)).all()


def test_grey_with_a_profile() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(SIZE)
    expected = profiles.srgb_of((levels / 255) ** 1.80078125)
    data = encoded(Image.fromarray(levels), icc_profile=profiles.of_grey(1.8))
    assert made(data).image.mode == "L"
    assert np.abs(pixels(data) - expected).max() <= 2
    # What such a picture means with a profile for colour: three equal channels.
    data = encoded(Image.fromarray(levels), icc_profile=profiles.of_rgb(profiles.ADOBE, 1.8))
    assert made(data).image.mode == "L"
    assert np.abs(pixels(data) - expected).max() <= 1


def test_alpha_and_palette_with_a_profile() -> None:
    """The background is in sRGB and stays as it is."""
    profile = profiles.of_rgb(profiles.P3, 2.2)
    image = smooth(SIZE)
    converted = pixels(encoded(image, icc_profile=profile))
    layered = image.convert("RGBA")
    layered.putalpha(Image.fromarray(np.full(SIZE, 128, np.uint8)))
    expected = (converted * 128 + np.array([255, 136, 0]) * 127) / 255
    ours = pixels(encoded(layered, icc_profile=profile), background="#ff8800")
    assert np.abs(ours - expected).max() <= 1
    few = image.quantize(16)
    whole = pixels(encoded(few.convert("RGB"), icc_profile=profile))
    assert (pixels(encoded(few, icc_profile=profile)) == whole).all()


def test_a_profile_that_is_srgbs_costs_nothing() -> None:
    """SRGB by name, and whatever changes no colour by more than two levels."""
    own = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = encoded(noise(1), icc_profile=own)
    assert (pixels(data) == np.asarray(noise(1))).all()
    assert made(data).changes == []
    assert srgb.from_profile(noise(1), own) is None
    assert srgb._conversion(own, "RGB") is None  # known from now on without looking


@pytest.mark.parametrize(
    ("mode", "profile"),
    [
        ("RGB", b"no profile"),
        ("RGB", profiles.of_rgb(profiles.ADOBE, 2.2)[:200]),
        ("RGB", bytes(500)),
        ("RGB", profiles.of_grey(1.8)),
        ("CMYK", profiles.of_rgb(profiles.ADOBE, 2.2)),
    ],
)
def test_a_damaged_or_foreign_profile_is_ignored(mode: str, profile: bytes) -> None:
    image = smooth(SIZE).convert(mode)
    data = encoded(image, "TIFF", icc_profile=profile)
    assert (pixels(data) == np.asarray(image.convert("RGB"))).all()
    assert Change.PROFILE not in made(data).changes


def inks() -> np.ndarray:
    """Lab of paper and of each ink over it, as a printer might have them; black covers all."""
    lab = np.zeros((2, 2, 2, 2, 3))
    paper = np.array([100.0, 0, 0])
    change = np.array([[-40.0, -15, -35], [-50, 50, -5], [-10, -5, 60]])
    for c, m, y in np.ndindex(2, 2, 2):
        lab[c, m, y, 0] = (paper + np.array([c, m, y]) @ change).clip([0, -128, -128], 127)
    return lab


@pytest.mark.parametrize("kind", ["TIFF", "JPEG"])
def test_cmyk_with_a_profile(kind: str) -> None:
    """Each ink is of the colour that its profile has, and JPEG's inverted values are right."""
    profile = profiles.of_cmyk(inks())
    for ink in ([0, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]):
        image = Image.new("CMYK", SIZE, tuple(255 * i for i in ink))
        data = encoded(image, kind, icc_profile=profile)
        expected = profiles.srgb_of_lab(inks()[tuple(ink)])
        assert np.abs(pixels(data) - expected).max() <= 3
        assert made(data).changes == [Change.CMYK]


def test_cmyk_without_a_profile() -> None:
    """(1 - C)(1 - K), as everybody else does without one."""
    image = noise(2, SIZE, "CMYK")
    levels = np.asarray(image) / 255
    expected = 255 * (1 - levels[..., :3]) * (1 - levels[..., 3:])
    assert np.abs(pixels(encoded(image, "TIFF")) - expected).max() <= 1


def test_cmyk_of_a_photograph_that_lies_on_its_side() -> None:
    """Orientation, draft and CMYK in one file."""
    exif = Image.Exif()
    exif[274] = 6
    lying = smooth((400, 200)).convert("CMYK")
    one = made(encoded(lying, "JPEG", exif=exif, quality=95))
    upright = lying.convert("RGB").transpose(Image.Transpose.ROTATE_270)
    expected = upright.resize((16, 32), Image.Resampling.LANCZOS).crop((0, 8, 16, 24))
    assert one.own == (200, 400)
    assert sorted(one.changes) == [Change.CMYK, Change.TURNED]
    assert np.abs(np.asarray(one.image).astype(int) - np.asarray(expected)).mean() < 1.5


# Gamma, Lab


@pytest.mark.parametrize("gamma", [1.0, 0.55, 0.3])
def test_a_gamma_is_followed(gamma: float) -> None:
    """PNG's gAMA: light is level^(1 / gamma)."""
    levels = np.arange(256).reshape(SIZE)
    expected = profiles.srgb_of((levels / 255) ** (1 / gamma))
    data = pngs.png(levels, 8, pngs.gamma(gamma))
    assert np.abs(pixels(data) - expected).max() <= 0.5
    assert made(data).changes == [Change.PROFILE]


def test_the_gamma_of_srgb_changes_nothing() -> None:
    levels = np.arange(256).reshape(SIZE)
    for extra in ([pngs.gamma(0.45455)], [pngs.gamma(1), pngs.chunk(b"sRGB", b"\0")]):
        data = pngs.png(levels, 8, *extra)
        assert (pixels(data) == levels).all()
        assert made(data).changes == []


def test_lab() -> None:
    """8 bits, a and b from -128 to 127; in the light D50."""
    rng = np.random.default_rng(0)
    lab = rng.uniform([30, -12, -12], [80, 12, 12], (*SIZE, 3))  # within what sRGB can show
    stored = np.rint(lab * [2.55, 1, 1] + [0, 128, 128]).astype(np.uint8)
    bands = [Image.fromarray(band) for band in np.moveaxis(stored, 2, 0)]
    data = encoded(Image.merge("LAB", bands), "TIFF")
    expected = profiles.srgb_of_lab((stored - [0, 128.0, 128]) / [2.55, 1, 1])
    difference = np.abs(pixels(data) - expected)
    assert difference.mean() < 0.5
    assert difference.max() <= 3
    assert made(data).changes == [Change.LAB]


def test_ycbcr() -> None:
    image = smooth(SIZE).convert("YCbCr")
    assert (pixels(encoded(image, "TIFF")) == np.asarray(image.convert("RGB"))).all()


# More than eight bits


def test_sixteen_bits_of_colour_keep_their_brightness() -> None:
    """To a level: Pillow takes the upper byte."""
    levels = np.random.default_rng(1).integers(0, 65536, (*SIZE, 3))
    data = pngs.png(levels, 16)
    assert np.abs(pixels(data) - levels / 257).max() <= 1
    assert made(data).changes == [Change.DEEP]


def test_what_has_eight_bits_is_not_called_deep() -> None:
    for kind in ("PNG", "JPEG", "TIFF", "BMP", "PPM", "WEBP"):
        assert not made(encoded(noise(0), kind)).changes


def test_twelve_bits_of_grey() -> None:
    """4095 is white. Two pixels lie in three bytes; Pillow hands out 0..4095."""
    levels = np.linspace(0, 4095, 256).astype(int)
    a, b = levels[::2], levels[1::2]
    packed = np.stack([a >> 4, (a & 15) << 4 | b >> 8, b & 255], -1).astype(np.uint8)
    data = tiff(packed.tobytes(), bits=12, photometric=1)
    assert (pixels(data).ravel() == np.rint(levels * 255 / 4095)).all()


def test_sixteen_bits_of_which_zero_is_white() -> None:
    levels = np.linspace(0, 65535, 256).astype("<u2")
    data = tiff(levels.tobytes(), bits=16, photometric=0)
    assert (pixels(data).ravel() == np.rint((65535.0 - levels) / 257)).all()


def tiff(strip: bytes, bits: int, photometric: int) -> bytes:
    """16x16 of one channel."""
    values = {256: 16, 257: 16, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: 16}
    values[279] = len(strip)
    entries = b"".join(
        tag.to_bytes(2, "little") + b"\4\0\1\0\0\0" + value.to_bytes(4, "little")
        for tag, value in values.items()
    )
    where = (8 + len(strip)).to_bytes(4, "little")
    return b"II*\0" + where + strip + len(values).to_bytes(2, "little") + entries + bytes(4)


# What is transparent


@pytest.mark.parametrize(("name", "colour"), [("black", 0), ("grey", 128), ("white", 255)])
@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_the_background_shows_through(mode: str, name: str, colour: int) -> None:
    image = noise(3, mode=mode)
    levels = np.asarray(image).astype(float)
    alpha = levels[..., -1:] / 255
    expected = (levels[..., :-1] * alpha + colour * (1 - alpha)).squeeze()
    one = made(encoded(image), background=name)
    assert np.abs(np.asarray(one.image) - expected).max() <= 1
    assert one.image.mode == mode[:-1]
    assert one.changes == [Change.FLATTENED]


def test_a_background_of_a_colour_gives_colour_to_a_grey_picture() -> None:
    image = noise(4, mode="LA")
    levels = np.asarray(image).astype(float)
    alpha = levels[..., 1:] / 255
    expected = levels[..., :1] * alpha + np.array([255, 0, 16]) * (1 - alpha)
    assert np.abs(pixels(encoded(image), background="#ff0010") - expected).max() <= 1
    assert made(encoded(image), background="#ff0010", channels="grey").image.mode == "L"


def test_what_is_opaque_is_not_flattened() -> None:
    image = noise(5)
    layered = image.convert("RGBA")
    assert made(encoded(layered)).changes == []
    assert (pixels(encoded(layered), background="black") == np.asarray(image)).all()


def test_no_fringes_where_transparent_pixels_have_a_colour() -> None:
    """Colours count as much as they are seen: hidden red does not come out at an edge."""
    levels = np.zeros((64, 64, 4), np.uint8)
    levels[..., 0] = 255  # red where nothing is to be seen
    levels[:, 27:] = [0, 0, 255, 255]
    data = encoded(Image.fromarray(levels))
    seen = levels[..., 3:] / 255.0
    flat = levels[..., :3] * seen + 255 * (1 - seen)
    expected = Image.fromarray(flat.astype(np.uint8)).resize(SIZE, Image.Resampling.LANCZOS)
    assert (pixels(data) == np.asarray(expected)).all()
    assert (pixels(data)[..., 0] == pixels(data)[..., 1]).all()


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_the_one_transparent_level_of_a_grey_png(depth: int) -> None:
    """Pillow compares it with scaled levels where these have 2, 4 or 16 bits."""
    white = 2**depth - 1
    levels = np.random.default_rng(depth).integers(0, white + 1, SIZE)
    levels[3] = key = white // 3
    expected = np.where(levels == key, 255, np.rint(levels * 255 / white))
    data = pngs.png(levels, depth, pngs.transparent(key))
    assert (pixels(data) == expected).all()
    assert Change.FLATTENED in made(data).changes


def test_the_one_transparent_colour_of_a_png() -> None:
    levels = np.asarray(noise(6)).copy()
    levels[2] = [9, 8, 7]
    expected = levels.copy()
    expected[2] = 255
    assert (pixels(pngs.png(levels, 8, pngs.transparent(9, 8, 7))) == expected).all()
    with pytest.raises(RejectedPicture, match="of 16 bits can't be read; save it with 8"):
        made(pngs.png(levels.astype(int) * 257, 16, pngs.transparent(9, 8, 7)))


def test_a_palette_with_an_alpha_for_each_colour() -> None:
    image = noise(7).quantize(4)
    data = encoded(image, transparency=bytes([0, 85, 170, 255]))
    seen = np.array([0, 85, 170, 255])[np.asarray(image)][..., None] / 255
    expected = np.asarray(image.convert("RGB")) * seen + 255 * (1 - seen)
    assert np.abs(pixels(data) - expected).max() <= 1


@pytest.mark.parametrize("mode", ["La", "RGBa"])
def test_pixels_that_are_multiplied_by_alpha_already(mode: str) -> None:
    """What shows is such a pixel and as much of the white behind it as it leaves."""
    image = noise(8, mode=f"{mode[:-1]}A").convert(mode)
    levels = np.asarray(image).astype(int)
    expected = (levels[..., :-1] + 255 - levels[..., -1:]).squeeze()
    ours, changes = plain(image, Look(SIZE), "")
    assert np.abs(np.asarray(ours) - expected).max() <= 1
    assert changes == [Change.FLATTENED]


def test_a_palette_with_alpha() -> None:
    image = noise(8).quantize(8)
    seen = np.asarray(noise(9, mode="L"))[..., None] / 255
    expected = np.asarray(image.convert("RGB")) * seen + 255 * (1 - seen)
    image.putalpha(noise(9, mode="L"))
    assert image.mode == "PA"
    assert np.abs(np.asarray(plain(image, Look(SIZE), "")[0]) - expected).max() <= 1


def test_grey_of_sixteen_bits_with_alpha_stays_grey() -> None:
    levels = np.random.default_rng(9).integers(0, 65536, (*SIZE, 2))
    data = pngs.png(levels, 16)
    assert made(data).image.mode == "L"
    alpha = levels[..., 1] / 65535
    expected = levels[..., 0] / 257 * alpha + 255 * (1 - alpha)
    assert np.abs(pixels(data) - expected).max() <= 2
