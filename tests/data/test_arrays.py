"""Arrays of numpy and torch: their axes, their levels, their labels, and files of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from safelight.data.pixels import FIRST, GREY, LAST, Held, axes_of, understood
from safelight.data.prepare import prepare
from safelight.data.splits import SPLITS
from safelight.errors import UserError

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (20, 3, 9, 7), np.uint8)  # (n, c, h, w)


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((5, 28, 28), GREY),
        ((2, 5, 9), GREY),
        ((60_000, 28, 28, 1), LAST),
        ((60_000, 1, 28, 28), FIRST),
        ((5, 32, 32, 3), LAST),
        ((5, 3, 32, 32), FIRST),
        ((5, 8, 8, 3), LAST),
        ((5, 3, 8, 8), FIRST),
        ((5, 64, 64, 5), LAST),
        ((5, 5, 64, 64), FIRST),
        ((5, 200, 256, 256), FIRST),
        ((1, 4, 5, 5), FIRST),
        ((3, 3, 64, 64), FIRST),
        ((5, 3, 32, 4), FIRST),
    ],
)
def test_axes_that_are_clear(shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    assert axes_of(shape, "it") == axes


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((5, 3, 3, 3), "the channels could be the second number or the last; give"),
        ((5, 3, 32, 3), "the channels could be the second number or the last; give"),
        ((5, 8, 8, 8), "could be neither the second number nor the last; give"),
        ((5, 16, 8, 8), "could be neither the second number nor the last; give"),
        ((3, 64, 64), r"could be three grey pictures or one in colour; give \(n, 1, h, w\)"),
        ((480, 640, 3), "is no stack of pictures; give"),
        ((64, 64), "is no stack of pictures"),
        ((), "is no stack of pictures"),
        ((0, 3, 8, 8), "is no stack of pictures"),
        ((5, 0, 8, 8), "is no stack of pictures"),
        ((5, 3, 8, 8, 1), "is no stack of pictures"),
    ],
)
def test_axes_that_could_mean_two_things(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        axes_of(shape, "it")


@given(st.integers(1, 4), st.sampled_from([1, 3, 4, 7]), st.integers(8, 20), st.integers(8, 20))
def test_both_orders_give_the_same_pictures(n: int, c: int, h: int, w: int) -> None:
    pixels = np.random.default_rng(n).integers(0, 256, (n, c, h, w), np.uint8)
    for given_as in (pixels, np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))):
        images = understood(Held(given_as), "it")
        assert images.shape == (n, c, h, w)
        assert (images.read(np.arange(n)) == pixels).all()


Kind = Callable[[NDArray[np.uint8]], Any]
KINDS: dict[str, Kind] = {
    "uint8": lambda x: x,
    "int64": lambda x: x.astype(np.int64),
    "uint16": lambda x: x.astype(np.uint16) * 257,
    "0 to 1": lambda x: (x / 255).astype(np.float32),
    "0 to 1 in float64": lambda x: x / 255,
    "0 to 1 in float16": lambda x: (x / 255).astype(np.float16),
    "-1 to 1": lambda x: (x / 127.5 - 1).astype(np.float32),
    "nearly": lambda x: np.clip(x / 255 + RNG.uniform(-0.0019, 0.0019, x.shape), -0.0019, 1.0019),
    "torch": torch.from_numpy,
    "torch -1 to 1": lambda x: torch.from_numpy(x) / 127.5 - 1,
    "with gradients": lambda x: (torch.from_numpy(x) / 255).requires_grad_(),
    "channels last": lambda x: torch.from_numpy(x).to(memory_format=torch.channels_last),
    "read by columns": np.asfortranarray,
    "backwards": lambda x: np.ascontiguousarray(x[::-1])[::-1],
    "big-endian": lambda x: (x / 255).astype(">f4"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_levels_of_every_kind(kind: str, tmp_path: Path) -> None:
    """Each of the 256 levels arrives as it was."""
    cache = prepare(KINDS[kind](PIXELS), split="100/0/0", out=tmp_path / "out")
    assert (cache.read(np.arange(20)) == PIXELS).all()


def test_bfloat16_is_rounded(tmp_path: Path) -> None:
    values = (torch.from_numpy(PIXELS) / 127.5 - 1).bfloat16()
    cache = prepare(values, split="100/0/0", out=tmp_path / "out")
    expected = (values.double() * 127.5 + 127.5).round().clip(0, 255).numpy()
    assert (cache.read(np.arange(20)) == expected).all()


def test_bool_is_black_and_white(tmp_path: Path) -> None:
    cache = prepare(PIXELS[:, 0] > 127, split="100/0/0", out=tmp_path / "out")
    assert (cache.read(np.arange(20))[:, 0] == (PIXELS[:, 0] > 127) * 255).all()


def numbers(low: float, high: float, dtype: type = np.float32) -> NDArray[Any]:
    values = np.full((4, 8, 8), (low + high) / 2).astype(dtype)
    values[3, 7, 7], values[3, 0, 0] = low, high  # the range is looked at over all pictures
    return values


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (numbers(0, 255), "numbers from 0 to 255, .*; divide by 255, or give uint8"),
        (numbers(0, 1.003), "numbers from 0 to 1.003, .*; divide by 255"),
        (numbers(-1.005, 1), "numbers from -1.005 to 1, .*; rescale them"),
        (numbers(-5, 5), "numbers from -5 to 5, .*; rescale them"),
        (numbers(0, np.nan), "holds NaN or infinity, first in picture 0"),
        (numbers(0, np.inf), "holds NaN or infinity, first in picture 0"),
        (
            numbers(0, 1, np.uint8),
            "holds only 0 and 1, which would all be black; give them as bool",
        ),
        (
            numbers(0, 1, np.int64),
            "holds only 0 and 1, which would all be black; give them as bool",
        ),
        (
            numbers(0, 255, np.uint16),
            "is uint16 and goes up to 255 of 65535, which is nearly black",
        ),
        (numbers(0, 1023, np.uint16), "up to 1023 of 65535, .* 10 bits hold; give array / 1023, o"),
        (numbers(0, 3800, np.uint16), "up to 3800 of 65535, .* 12 bits hold; give array / 4095, o"),
        (numbers(0, 16383, np.uint16), "up to 16383 of 65535, .* 14 bits hold; give array / 16383"),
        (numbers(-0.5, 0.5), "may be from -0.5 to 0.5 or from -1 to 1; give array [+] 0.5, or"),
        (numbers(-0.3, 0.4), "holds numbers from -0.3 to 0.4, which may be from -0.5 to 0.5 or"),
        (numbers(0, 256, np.int32), "is int32 and goes from 0 to 256; give uint8"),
        (numbers(-1, 255, np.int16), "is int16 and goes from -1 to 255; give uint8"),
        (numbers(0, 1, np.complex64), "holds complex64, which are no levels"),
        (np.full((4, 8, 8), "a"), "holds <U1, which are no levels"),
        (np.full((4, 8, 8), None), "holds object, which are no levels"),
    ],
)
def test_levels_that_are_refused(values: NDArray[Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        prepare(values)


def test_the_first_picture_that_is_no_number() -> None:
    values = numbers(0, 1)
    values[2, 1, 1] = np.nan
    with pytest.raises(UserError, match="first in picture 2; leave such pictures out"):
        prepare(values)


def test_sixteen_bits_are_rounded(tmp_path: Path) -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(16, 64, 64)
    cache = prepare(values, split="100/0/0", out=tmp_path / "out")
    expected = np.rint(values / 257)
    assert (cache.read(np.arange(16))[:, 0] == expected).all()


@pytest.mark.parametrize("c", [2, 4, 5, 20])
def test_any_number_of_channels_is_kept(c: int, tmp_path: Path) -> None:
    """And each channel is resized as a grey picture is."""
    pixels = RNG.integers(0, 256, (12, c, 31, 25), np.uint8)
    same = prepare(pixels, split="100/0/0", out=tmp_path / "same")
    assert same.shape == (c, 31, 25)
    assert (same.read(np.arange(12)) == pixels).all()
    small = prepare(pixels, size=16, split="100/0/0", out=tmp_path / "small").read(np.arange(12))
    for k in {0, 1, c - 1}:
        alone = prepare(pixels[:, k], size=16, split="100/0/0", out=tmp_path / f"{k}")
        assert (small[:, k] == alone.read(np.arange(12))[:, 0]).all()


def test_channels_that_are_no_colours(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 256, (12, 5, 9, 9), np.uint8)
    with pytest.raises(UserError, match="has 5 channels, which are no colours; leave out --channe"):
        prepare(pixels, channels="grey")
    with pytest.raises(UserError, match="some pictures have 3 channels and others 5; prepare them"):
        prepare([pixels, pixels[:, :3]], out=tmp_path / "out")


LABELS = np.arange(20) % 3
TWO = {
    "train": {"images": PIXELS, "labels": LABELS, "classes": ["ant", "cow", "hen"]},
    "test": {"images": PIXELS, "labels": LABELS, "classes": ["cow", "ant", "hen"]},
}


def labels_of(source: Any, out: Path, **options: Any) -> tuple[tuple[str, ...], list[int]]:
    cache = prepare(source, out=out, **{"split": "100/0/0", **options})
    labels = cache.class_labels()
    return cache.classes, [] if labels is None else labels.tolist()


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (LABELS, ("0", "1", "2")),
        (LABELS * 10, ("0", "10", "20")),
        (LABELS[:, None], ("0", "1", "2")),
        (torch.from_numpy(LABELS), ("0", "1", "2")),
        (LABELS.tolist(), ("0", "1", "2")),
        (LABELS.astype(np.float32), ("0", "1", "2")),
        (np.array(["cat", "dog", "hen"])[LABELS], ("cat", "dog", "hen")),
        (["cat", "dog", "hen"] * 6 + ["cat", "dog"], ("cat", "dog", "hen")),
        (np.array([b"cat", b"dog", b"hen"])[LABELS], ("cat", "dog", "hen")),
    ],
)
def test_labels_of_every_kind(labels: Any, classes: tuple[str, ...], tmp_path: Path) -> None:
    source = {"images": PIXELS, "labels": labels}
    assert labels_of(source, tmp_path / "out") == (classes, LABELS.tolist())
    assert labels_of(source, tmp_path / "none", labels="none") == ((), [])


def test_names_of_classes_keep_their_order(tmp_path: Path) -> None:
    source = {"x": PIXELS, "y": LABELS, "classes": ["zebra", "ant", "cow", "none has it"]}
    assert labels_of(source, tmp_path / "out") == (("zebra", "ant", "cow"), LABELS.tolist())


@pytest.mark.parametrize(
    ("names", "classes", "labels"),
    [
        (["cat", "dog", "cat"], ("cat", "dog"), LABELS % 2),
        ([["cat"], ["dog"], ["hen"]], ("cat", "dog", "hen"), LABELS),
        (["e\N{COMBINING ACUTE ACCENT}", "b", "é"], ("é", "b"), LABELS % 2),
    ],
)
def test_names_of_classes_as_files_have_them(
    names: Any, classes: tuple[str, ...], labels: NDArray[Any], tmp_path: Path
) -> None:
    """Two of one name are one class, however it is written; a column is a list."""
    source = {"x": PIXELS, "y": LABELS, "classes": np.array(names)}
    assert labels_of(source, tmp_path / "out") == (classes, labels.tolist())


def test_each_split_may_have_the_names_of_the_classes(tmp_path: Path) -> None:
    names = ["cow", "ant", "hen"]
    parts = {f"{s}_{name}": x for s in TWO for name, x in {**TWO[s], "classes": names}.items()}
    assert labels_of(parts, tmp_path / "out", split=None) == (tuple(names), [*LABELS, *LABELS])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"images": PIXELS, "labels": LABELS[:5]}, r"labels has the shape \(5,\), .* 20 pictures"),
        ({"images": PIXELS, "labels": np.eye(20)}, r"labels has the shape \(20, 20\)"),
        ({"images": PIXELS, "labels": [None] * 20}, "has pictures without a label"),
        ({"images": PIXELS, "x": PIXELS}, "two arrays that could be its images, images and x"),
        (
            {"faces": PIXELS, "masks": PIXELS},
            r"holds faces \(20, 3, 9, 7\), masks .*; call the pict",
        ),
        ({"images": PIXELS, "test_images": PIXELS}, "pictures with and without a split"),
        ({"images": PIXELS, "splits": ["dev"] * 20}, "holds 'dev', which is no split"),
        ({"images": PIXELS, "y": LABELS, "classes": ["a", "b"]}, "0 to 1, and are 0 to 2"),
        (
            {"x_train": PIXELS, "y_train": LABELS, "x_test": PIXELS},
            "has labels of some splits and not of all",
        ),
        (
            {"x_train": PIXELS, "y_train": LABELS, "x_val": PIXELS, "x_test": PIXELS},
            "has labels of some splits and not of all",
        ),
        (
            {"x_train": PIXELS, "x_test": PIXELS, "y": LABELS},
            "has the labels y for several splits; give each its own, such as train_labels",
        ),
        (
            {"images": PIXELS, "y": LABELS, "classes": np.array([["a", "b"]] * 3)},
            r"classes has the shape \(3, 2\); give a name for each class",
        ),
        (
            {f"{s}_{name}": x for s, part in TWO.items() for name, x in part.items()},
            "its classes in train_classes otherwise than in test_classes; give one list of them",
        ),
    ],
)
def test_arrays_that_do_not_fit(source: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        prepare(source)


def test_labels_of_ones_choice(tmp_path: Path) -> None:
    source = {"images": PIXELS, "fine": np.arange(20), "coarse_label": LABELS}
    assert labels_of(source, tmp_path / "a")[0] == ()
    assert labels_of(source, tmp_path / "b", label_by="coarse label")[1] == LABELS.tolist()
    with pytest.raises(UserError, match=r"has no labels 'hue'; it holds images .*: name one"):
        prepare(source, label_by="hue")


@pytest.mark.parametrize(
    "names",
    [
        ("x_train", "y_train", "x_val", "y_val", "x_test", "y_test"),  # Keras
        *[
            (
                "train_images",
                "train_labels",
                "val_images",
                "val_labels",
                "test_images",
                "test_labels",
            )
        ],
        ("train", "train_labels", "validation", "validation_labels", "test", "test.labels"),
    ],
)
def test_arrays_that_are_called_by_their_split(names: tuple[str, ...], tmp_path: Path) -> None:
    """As Keras and MedMNIST have them."""
    parts = [PIXELS[:10], LABELS[:10], PIXELS[10:14], LABELS[10:14], PIXELS[14:], LABELS[14:]]
    np.savez(tmp_path / "a.npz", **dict(zip(names, parts, strict=True)))
    cache = prepare(tmp_path / "a.npz", out=tmp_path / "out")
    assert [cache.subset(split).count for split in SPLITS] == [10, 4, 6]
    labels = cache.class_labels()
    assert labels is not None
    assert (labels == LABELS).all()
    assert (cache.subset("test").read(np.arange(6)) == PIXELS[14:]).all()


def test_pictures_in_a_list(tmp_path: Path) -> None:
    labels = np.arange(20) % 2
    tensors = [torch.from_numpy(x) for x in PIXELS]
    for k, values in enumerate((list(PIXELS), tensors, [*tensors[:5], *PIXELS[5:]])):
        cache = prepare({"images": values, "labels": labels}, out=tmp_path / str(k))
        assert (cache.read(np.arange(20)) == PIXELS).all()
        assert cache.classes == ("0", "1")
    with pytest.raises(UserError, match="cannot be stacked .*; give pictures of one shape, or"):
        prepare({"images": [PIXELS[0], PIXELS[1][:, 1:]], "labels": labels[:2]})
    with pytest.raises(UserError, match="cannot be stacked .*; give pictures of one shape, or"):
        prepare({"images": [tensors[0], None], "labels": labels[:2]})


def test_splits_that_are_given_up(tmp_path: Path) -> None:
    """What the array says of them does not matter where they are divided anew."""
    source = {"images": PIXELS, "split": np.array(["fold 1"] * 20)}
    with pytest.raises(UserError, match="'fold 1', which is no split; write train, validation or"):
        prepare(source)
    assert prepare(source, split="80/10/10", out=tmp_path / "out").count == 20


def test_the_parts_of_a_set_have_the_same_levels(tmp_path: Path) -> None:
    """Also where one of them has no dark values that would tell what they mean."""
    signed = (PIXELS / 127.5 - 1).astype(np.float32)
    bright = np.maximum(PIXELS, 128)
    source = {"x_train": signed, "x_test": bright / 127.5 - 1}
    cache = prepare(source, out=tmp_path / "out")
    assert (cache.read(np.arange(20, 40)) == bright).all()
    masks = {"x_train": PIXELS, "x_test": PIXELS % 2}
    assert (prepare(masks, out=tmp_path / "whole").read(np.arange(20, 40)) == PIXELS % 2).all()


def test_splits_by_name(tmp_path: Path) -> None:
    source = {"images": PIXELS, "split": ["train", "test"] * 10}
    cache = prepare(source, out=tmp_path / "out")
    assert (cache.subset("test").read(np.arange(10)) == PIXELS[1::2]).all()


def test_the_signature_of_arrays_is_their_content(tmp_path: Path) -> None:
    """Another array is another cache, also where --out is not given."""
    first, second = prepare(PIXELS), prepare(PIXELS[::-1])
    assert first.path != second.path
    assert first.path == prepare(PIXELS.copy()).path


def test_an_enormous_picture_is_not_read() -> None:
    values = np.broadcast_to(np.uint8(7), (2, 3, 40_000, 50_000))
    with pytest.raises(UserError, match="has pictures of 50000x40000, more than 89,000,000 pixels"):
        understood(Held(values), "it")
