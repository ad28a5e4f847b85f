"""Pictures of any size become one of the size that is wanted, and options that say how."""

from __future__ import annotations

import io
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from safelight.data.decode import UPRIGHT, decode, image_of
from safelight.data.fitting import enlarged, framed, refuse_misfit
from safelight.data.look import FILTERS, FITS, Filter, Fit, Look, RejectedPicture
from safelight.data.options import Options, Wanted, options_of
from safelight.data.parts import Stack
from safelight.data.pixels import bytes_of
from safelight.data.prepare import prepare
from safelight.errors import UserError
from tests.data.conftest import encoded, noise, smooth

sides = st.integers(1, 120)
sizes = st.tuples(sides, sides)


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


def shown(image: Image.Image, look: Look, **options: object) -> np.ndarray:
    return pixels(decode(encoded(image, **options), look).image)


# The filters and fits


@pytest.mark.parametrize("name", FILTERS)
def test_each_filter_is_pillows(name: Filter) -> None:
    image = noise(0, (50, 37))
    expected = ImageOps.fit(image, (16, 24), Image.Resampling[name.upper()])
    assert (shown(image, Look((16, 24), filter=name)) == np.asarray(expected)).all()


@pytest.mark.parametrize("name", ["box", "nearest"])
def test_filters_that_need_every_pixel_of_the_file_get_them(name: Filter) -> None:
    """JPEG's own reduction would change what these pick."""
    data = encoded(noise(1, (600, 400)), "JPEG", quality=95)
    whole = ImageOps.fit(Image.open(io.BytesIO(data)), (16, 16), Image.Resampling[name.upper()])
    assert (pixels(decode(data, Look((16, 16), filter=name)).image) == np.asarray(whole)).all()


@pytest.mark.parametrize(("size", "at"), [((40, 20), (0, 8, 32, 24)), ((20, 40), (8, 0, 24, 32))])
def test_letterbox_is_pillows_resize_between_bars(
    size: tuple[int, int], at: tuple[int, int, int, int]
) -> None:
    image = noise(2, size)
    expected = Image.new("RGB", (32, 32), "#102030")
    small = image.resize((at[2] - at[0], at[3] - at[1]), Image.Resampling.LANCZOS)
    expected.paste(small, at[:2])
    look = Look((32, 32), fit="letterbox", background="#102030")
    assert (shown(image, look) == np.asarray(expected)).all()
    # A grey picture has grey bars where that is possible.
    grey = replace(look, background="grey")
    assert decode(encoded(image.convert("L")), grey).image.mode == "L"
    assert shown(image.convert("L"), grey)[0, 0] == 128
    assert shown(image.convert("L"), look).shape == (32, 32, 3)


def test_what_is_not_enlarged() -> None:
    image = noise(3, (10, 7))
    look = Look((16, 16), fit="letterbox", enlarge=False, background="black")
    expected = np.zeros((16, 16, 3), int)
    expected[4:11, 3:13] = np.asarray(image)
    assert (shown(image, look) == expected).all()
    with pytest.raises(RejectedPicture, match="10x7 is smaller than 16x16; none is enlarged"):
        shown(image, replace(look, fit="crop"))
    with pytest.raises(RejectedPicture, match="100x7 is smaller"):
        shown(noise(3, (100, 12)).crop((0, 0, 100, 7)), Look((16, 8), enlarge=False))
    assert shown(noise(3, (16, 30)), replace(look, fit="crop")).shape == (16, 16, 3)


def test_long_pictures_are_measured_by_what_is_wanted() -> None:
    """A panorama is fine where one is asked for."""
    panorama = noise(4, (240, 20))
    with pytest.raises(RejectedPicture, match="of 240x20 less than a tenth would show in 16x16"):
        shown(panorama, Look((16, 16)))
    with pytest.raises(RejectedPicture, match="240x20 would fill less than a tenth of 16x16"):
        shown(panorama, Look((16, 16), fit="letterbox"))
    assert shown(panorama, Look((96, 16))).shape == (16, 96, 3)


@given(sizes, sizes)
def test_letterbox_keeps_the_aspect_within_a_pixel(
    own: tuple[int, int], to: tuple[int, int]
) -> None:
    """It touches the frame in one direction, and is within half a pixel in the other."""
    frame = framed(own, Look(to, fit="letterbox"))
    scale = min(to[0] / own[0], to[1] / own[1])
    assert frame.part == own
    assert all(inside <= outside for inside, outside in zip(frame.size, to, strict=True))
    assert any(inside == outside for inside, outside in zip(frame.size, to, strict=True))
    for side, became in zip(own, frame.size, strict=True):
        assert became == max(1, round(side * scale))


@given(sizes, sizes, st.sampled_from(get_args(Fit)), st.booleans())
def test_what_is_enlarged_is_counted_and_can_be_forbidden(
    own: tuple[int, int], to: tuple[int, int], fit: Fit, enlarge: bool
) -> None:
    look = Look(to, fit=fit, enlarge=enlarge)
    try:
        refuse_misfit(own, look)
    except RejectedPicture:
        return
    frame = framed(own, look)
    larger = any(new > old for new, old in zip(frame.size, frame.part, strict=True))
    # What is 1 pixel thick stays so when the other side is made shorter.
    assert not larger or enlarge
    assert enlarged(np.array([own], np.int32), look) == larger


@settings(deadline=None)
@given(sizes, sizes, st.sampled_from([*UPRIGHT]), st.sampled_from(get_args(Fit)), st.booleans())
def test_a_picture_on_its_side_is_as_one_that_was_stored_upright(
    own: tuple[int, int], to: tuple[int, int], orientation: int, fit: Fit, enlarge: bool
) -> None:
    look = Look(to, fit=fit, enlarge=enlarge)
    image = smooth(own)
    exif = Image.Exif()
    exif[274] = orientation
    upright = image.transpose(UPRIGHT[orientation])
    try:
        refuse_misfit(upright.size, look)
    except RejectedPicture:
        return
    assert (shown(image, look, exif=exif) == shown(upright, look)).all()


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_a_reduced_jpeg_is_turned_with_what_does_not_count_of_it(
    orientation: int, fit: Fit
) -> None:
    """227 pixels at 1/2 are 114, of which the half that is over may come to lie left or above."""
    exif = Image.Exif()
    exif[274] = orientation
    image, turn = smooth((227, 269)), UPRIGHT[orientation]
    turned = decode(encoded(image, "JPEG", quality=95, exif=exif), Look((12, 16), fit=fit)).image
    to = (12, 16) if orientation < 5 else (16, 12)
    plain = decode(encoded(image, "JPEG", quality=95), Look(to, fit=fit)).image
    assert np.abs(pixels(turned) - pixels(plain.transpose(turn))).max() <= 1


@pytest.mark.parametrize("fit", FITS)
def test_arrays_are_fitted_as_files_are(fit: Fit) -> None:
    arrays = np.stack([np.asarray(noise(i, (20, 12))).transpose(2, 0, 1) for i in range(3)])
    look = Look((16, 16), fit=fit, background="black")
    batches = list(Stack.of(bytes_of(arrays)).batches(np.arange(3), look, 1))
    for i, ours in enumerate(batches[0].pixels):
        assert (ours.transpose(1, 2, 0) == shown(image_of(arrays[i]), look)).all()
    assert batches[0].found == [(20, 12)] * 3
    small = next(Stack.of(bytes_of(arrays)).batches(np.arange(3), Look((16, 16), enlarge=False), 1))
    assert small.found == ["20x12 is smaller than 16x16; none is enlarged"] * 3
    assert len(small.pixels) == 0


def test_channels_that_are_no_colours_are_fitted_one_by_one() -> None:
    """In the bars is the brightness of the background, in each of them."""
    arrays = np.random.default_rng(0).integers(0, 256, (2, 5, 8, 16), dtype=np.uint8)
    look = Look((16, 16), fit="letterbox", background="#ff8800")
    ours = next(Stack.of(bytes_of(arrays)).batches(np.arange(2), look, 1)).pixels
    assert (ours[:, :, 4:12] == arrays).all()
    bright = np.asarray(Image.new("RGB", (1, 1), "#ff8800").convert("L"))[0, 0]
    assert (ours[:, :, [*range(4), *range(12, 16)]] == bright).all()


# The options


def test_wanted_has_the_fields_of_options() -> None:
    assert set(get_type_hints(Wanted)) == set(Options.model_fields)


def test_each_choice_is_a_row_of_its_table() -> None:
    assert set(get_args(Fit)) == set(FITS)
    assert set(get_args(Filter)) == set(FILTERS)


@pytest.mark.parametrize(
    ("wanted", "option"),
    [
        ({"fit": "letterbox"}, "--fit"),
        ({"enlarge": False}, "--no-enlarge"),
        ({"filter": "box"}, "--filter"),
    ],
)
def test_without_a_size_there_is_nothing_to_fit(wanted: Wanted, option: str) -> None:
    with pytest.raises(UserError, match=f"^{option} changes nothing .* add --size"):
        options_of(**wanted)
    assert options_of(size=8, **wanted).size == (8, 8)


@pytest.mark.parametrize("background", ["red", "#12345", "#gggggg", "#1234567", "", 7])
def test_a_background_that_is_none(background: str) -> None:
    with pytest.raises(UserError, match="--background: .* is no background: give white, black"):
        options_of(background=background)
    assert options_of(background="#FF8800").background == "#ff8800"


def test_the_command_line_names_what_is_not_as_usual() -> None:
    asked = options_of(size=8, fit="letterbox", enlarge=False, filter="box", background="#ff8800")
    words = "--size 8 --fit letterbox --no-enlarge --filter box --background #ff8800"
    assert asked.arguments() == words.split()


def test_it_is_written_down_what_was_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i, (fit, name, enlarge) in enumerate(product(FITS, ["lanczos", "nearest"], [True, False])):
        noise(i, (20, 30)).save(folder / f"{i}.png")
        options: Wanted = {"fit": fit, "filter": name, "enlarge": enlarge}  # type: ignore[typeddict-item]
        meta = prepare(folder, size=8, out=tmp_path / f"{i}", split="100/0/0", **options).meta
        assert meta.resize.startswith({"crop": "crop in the middle", "letterbox": "the whole"}[fit])
        assert ("Lanczos" in meta.resize) == (name == "lanczos")
        assert ("none enlarged" in meta.resize) == (not enlarge)
    assert "keep their own size" not in capsys.readouterr().out
    prepare(folder, size=40, fit="letterbox", enlarge=False, out=tmp_path / "large")
    assert "8 smaller than 40x40, which keep their own size" in capsys.readouterr().out
    assert prepare(folder, out=tmp_path / "own").meta.resize == "none: all pictures have this size"
