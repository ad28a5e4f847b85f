"""`export-images`: any source as files by class, in a folder or in one zip."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from safelight import UserError, export_images, prepare, sample
from safelight.cli import main
from safelight.config import Sampling
from safelight.data.cache import Cache
from safelight.files import TEMPORARY
from safelight.filing import BATCH, Selection
from tests.cli.conftest import QUICK
from tests.evaluation.sources import Model
from tests.hand_made import hand_made
from tests.refusals import refused


def noise(n: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, *shape), np.uint8)


def files(place: Path) -> dict[str, bytes]:
    """All files of a folder or a zip, by their names."""
    if place.is_dir():
        found = sorted(file for file in place.rglob("*") if file.is_file())
        return {file.relative_to(place).as_posix(): file.read_bytes() for file in found}
    with zipfile.ZipFile(place) as archive:
        return {name: archive.read(name) for name in sorted(archive.namelist())}


def pixels(data: bytes) -> np.ndarray:
    """(c, h, w) of a PNG."""
    array = np.asarray(Image.open(io.BytesIO(data)))
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


def content(cache: Cache) -> list[tuple[str, str, bytes]]:
    """Split, class and pixels of every picture, whatever their order."""
    found = []
    for split in ("train", "validation", "test"):
        part = cache.subset(split)
        for image, label in zip(part.read(np.arange(part.count)), part.class_labels(), strict=True):
            found.append((split, cache.classes[label], image.tobytes()))
    return sorted(found)


# Out and in again


@pytest.mark.parametrize("place", ["out", "out.zip"])
@pytest.mark.parametrize("c", [1, 3])
def test_a_cache_comes_back(tmp_path: Path, place: str, c: int) -> None:
    """L10: pictures, classes and splits are the same, and so is the fingerprint."""
    labels, splits = np.tile([0, 0, 1, 2], 9), np.repeat([2, 0, 1], 12)  # test, train, validation
    order = np.lexsort((labels, np.array([1, 2, 0])[splits]))  # as `prepare` reads the folders
    classes = ("Käse", "a b", "coast")
    where = labels[order].tolist(), splits[order].tolist(), classes
    cache = hand_made(tmp_path / "cache", noise(36, c, 6, 9), *where)
    export_images(cache.path, out=tmp_path / place)
    again = prepare(tmp_path / place, out=tmp_path / "again")
    assert content(again) == content(cache)
    assert again.fingerprint == cache.fingerprint


@pytest.mark.parametrize("place", ["out", "out.zip"])
def test_classes_called_like_files_of_ours_or_of_systems_come_back(
    tmp_path: Path, place: str
) -> None:
    classes = ("Thumbs.db", "desktop.ini", "export.json")
    cache = hand_made(tmp_path / "c", noise(12, 3, 6, 6), [0, 1, 2] * 4, [0] * 12, classes)
    export_images(cache.path, out=tmp_path / place)
    again = prepare(tmp_path / place, out=tmp_path / "again")
    assert (again.count, again.classes) == (12, tuple(f"{name}_" for name in classes))


def test_a_divided_cache_comes_back_divided(desk: Path, tmp_path: Path) -> None:
    """L10: with splits drawn at random the order is another, and from then on the same."""
    fingerprints, source = [], desk / "digits"
    for turn in ("one", "two"):
        export_images(source, out=tmp_path / f"{turn}.zip")
        again = prepare(tmp_path / f"{turn}.zip", out=tmp_path / turn)
        assert content(again) == content(Cache.open(desk / "digits"))
        fingerprints.append(again.fingerprint)
        source = again.path
    assert fingerprints[0] == fingerprints[1]


@st.composite
def caches(draw: st.DrawFn) -> tuple[np.ndarray, list[int], list[int], tuple[str, ...]]:
    n, K = draw(st.integers(1, 12)), draw(st.integers(0, 3))
    c, h, w = draw(st.tuples(st.sampled_from([1, 2, 3, 5]), st.integers(1, 4), st.integers(1, 4)))
    names = st.text(st.characters(max_codepoint=0x17F), max_size=5)
    classes = draw(st.lists(names, min_size=K, max_size=K, unique=True))
    labels = draw(st.lists(st.integers(0, max(K - 1, 0)), min_size=n, max_size=n))
    splits = draw(st.lists(st.integers(0, 2), min_size=n, max_size=n))
    return noise(n, c, h, w), labels, splits, tuple(classes)


@given(drawn=caches(), packed=st.booleans())
@settings(max_examples=25)
def test_every_picture_of_any_cache_is_in_one_file(
    tmp_path_factory: pytest.TempPathFactory, drawn: tuple, packed: bool
) -> None:
    """L5: under its class, as export.json names the folders, and its split."""
    images, labels, splits, classes = drawn
    folder = tmp_path_factory.mktemp("any")
    cache = hand_made(folder / "cache", images, labels, splits, classes)
    out = export_images(cache.path, out=folder / ("out.zip" if packed else "out"))
    found = files(out)
    record = json.loads(found.pop("export.json"))
    assert record["n"] == len(found) == len(images)
    several = len(set(splits)) > 1
    expected = sorted(
        (
            ("train", "validation", "test")[split] if several else "",
            classes[label] if classes else "",
            image.tobytes(),
        )
        for image, label, split in zip(images, labels, splits, strict=True)
    )
    named = []
    for name, data in found.items():
        *above, file = name.split("/")
        image = np.load(io.BytesIO(data)) if file.endswith(".npy") else pixels(data)
        kind = record["classes"][above[-1]] if classes else ""
        named.append((above[0] if several else "", kind, image.tobytes()))
    assert sorted(named) == expected


def test_a_zip_holds_what_the_folder_holds_and_is_the_same_again(
    desk: Path, tmp_path: Path
) -> None:
    """L10: nothing in it depends on the time; what is packed already is not packed again."""
    test = f"{desk / 'digits'}:test"
    first, second = (export_images(test, out=tmp_path / name) for name in ("a.zip", "b.ZIP"))
    folder = export_images(test, out=tmp_path / "folder")
    assert first.read_bytes() == second.read_bytes()
    assert files(first) == files(folder)
    with zipfile.ZipFile(first) as archive:
        assert archive.testzip() is None
        kinds = {(i.compress_type, i.date_time, i.external_attr >> 16) for i in archive.infolist()}
    assert kinds == {(zipfile.ZIP_STORED, (1980, 1, 1, 0, 0, 0), 0o100644)}
    assert first.stat().st_mode & 0o777 == (tmp_path / "folder/export.json").stat().st_mode & 0o777


def test_some_of_the_pictures(desk: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """At most n of each class, the first, and only the classes that are asked for."""
    words = ["-n", "2", "--classes", "3,7", "--out", str(tmp_path / "some")]
    main(["export-images", f"{desk / 'digits'}:test", *words])
    assert "4 images of 2 classes in" in capsys.readouterr().out
    found = files(tmp_path / "some")
    assert len(found) == 5
    test = Cache.open(desk / "digits", "test")
    for label in (3, 7):
        first = np.flatnonzero(test.class_labels() == label)[:2]
        for position in first.tolist():
            image = pixels(found[f"{label}/{position:06d}.png"])
            assert (image == test.read(np.array([position]))[0]).all()


def test_no_more_than_a_batch_is_in_memory(tmp_path: Path) -> None:
    model, kept = Model(), []
    asked: list[int] = []
    told: list[float] = []

    class Watched(Model):
        def images(self, seeds, labels=None):  # type: ignore[no-untyped-def]
            asked.append(len(seeds))
            return super().images(seeds, labels)

    selection = Selection(Watched(), range(3 * BATCH + 1))
    for images in selection.put(lambda name, data: kept.append(name), told.append, shown=False):
        assert len(images) <= BATCH
    assert sum(asked) == len(kept) == sum(told) == 3 * BATCH + 1
    assert max(asked) <= BATCH
    assert model.classes[1] in kept[1]


# Of a run


def test_a_run_draws_what_sample_draws(desk: Path, tmp_path: Path) -> None:
    """L5: n of each class in its folder, the very files of `sample`."""
    how = {"n": 2, "classes": ("2", "7"), "sampling": Sampling(steps=2), "seed": 5}
    drawn = files(sample(desk / "run", out=tmp_path / "sample", **how))
    out = export_images(desk / "run", out=tmp_path / "out.zip", **how)
    found = files(out)
    record = json.loads(found.pop("export.json"))
    assert list(found) == ["2/000012.png", "2/000022.png", "7/000007.png", "7/000017.png"]
    assert all(drawn[name] == data for name, data in found.items())
    assert (record["n"], record["size"], record["steps"]) == (4, "8x8", 2)
    raw = {"checkpoint": "2", "weights": "raw"}
    other = files(export_images(desk / "run", out=tmp_path / "raw", **how, **raw))
    assert other["2/000012.png"] != found["2/000012.png"]


def test_a_run_with_its_report_in_one_file(
    desk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """L10: results to take away; pictures are still all that `prepare` sees of them."""
    words = ["export-images", desk / "plain", "-n", 4, "--steps", 1, "--with-report"]
    out = tmp_path / "results.zip"
    assert "write it first: safelight report" in refused(capsys, *words, "--out", out)
    kept = {"report.html": b"<html>", "metrics.json": b"[]"}
    for name, data in kept.items():
        (desk / "plain" / name).write_bytes(data)
    main([str(word) for word in (*words, "--out", out)])
    for name in kept:
        (desk / "plain" / name).unlink()
    found = files(out)
    assert {name: found[name] for name in kept} == kept
    assert len(found) == 4 + 3
    assert prepare(out, out=tmp_path / "cache", split="100/0/0").count == 4


def test_a_class_whose_name_is_no_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """L5: `sample` and `export-images` have the same folder for it, and say which."""
    classes = ("T-shirt/top", "CON")
    labels, splits = [i % 2 for i in range(20)], [0] * 16 + [1] * 4
    cache = hand_made(tmp_path / "cache", noise(20, 1, 8, 8), labels, splits, classes)
    main(["train", str(cache.path), "--out", str(tmp_path / "run"), *QUICK, "--budget", "1steps"])
    for verb in ("sample", "export-images"):
        out = tmp_path / verb
        main([verb, str(tmp_path / "run"), "-n", "1", "--steps", "1", "--out", str(out)])
        assert {file.parent.name for file in out.glob("*/*.png")} == {"T-shirt_top", "CON_"}
    said = capsys.readouterr().out
    assert "the class 'T-shirt/top' is in T-shirt_top (export.json has the others)" in said


# What stands in the way


def test_what_is_there_stays(
    desk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Anything else is refused, as by `sample`; the same export may be made again."""
    test, train = f"{desk / 'digits'}:test", f"{desk / 'digits'}:train"
    for name in ("out", "out.zip"):
        out, word = tmp_path / name, "folder" if name == "out" else "place"
        main(["export-images", test, "-n", "2", "--out", str(out)])
        before = files(out)
        line = refused(capsys, "export-images", train, "-n", 2, "--out", out)
        assert f"{out} holds other exported images; choose another {word} with --out" in line
        assert files(out) == before
        main(["export-images", test, "-n", "2", "--out", str(out)])
        assert files(out) == before
    for mine in ("notes.txt", "3/mine/notes.txt"):
        (tmp_path / "out" / mine).parent.mkdir(exist_ok=True)
        (tmp_path / "out" / mine).write_text("mine")
    main(["export-images", test, "-n", "2", "--out", str(tmp_path / "out")])
    kept = files(tmp_path / "out")
    assert kept.pop("notes.txt") == kept.pop("3/mine/notes.txt") == b"mine"
    assert kept == files(tmp_path / "out.zip")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("mine")
    (tmp_path / "mine.zip").write_text("mine")
    for mine in ("mine", "mine.zip"):
        line = refused(capsys, "export-images", test, "-n", 2, "--out", tmp_path / mine)
        assert "is not empty and holds no exported images" in line
    assert (tmp_path / "mine.zip").read_text() == "mine"
    line = refused(capsys, "sample", desk / "run", "-n", 2, "--out", tmp_path / "out.zip")
    assert "holds no samples" in line


def test_mistakes_are_one_line(
    desk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache, run, out = desk / "digits", desk / "run", ("--out", tmp_path / "out")
    tries = {
        (cache, "-n", 0, *out): "give 1 or more",
        (cache, "--classes", "eleven", *out): "unknown class 'eleven'",
        (cache, "--steps", 3, *out): "--steps is of a run, and .*/digits is none",
        (cache, "--seed", 3, "--with-report", *out): "--seed, --with-report is of a run",
        (run, "--guidance", "1,2", *out): "a sweep, which `safelight sample` draws",
        (run, "--sampler", "eular", *out): "did you mean 'euler'",
        (cache, "--out", tmp_path / "out.tar.gz"): r"is no zip and no folder; .* out\.zip",
        (cache, "--out", tmp_path / "out.TAR.ZST"): r"is no zip and no folder; .* out\.zip",
        (cache, "--out", tmp_path / "out.txz"): r"is no zip and no folder; .* out\.zip",
        (cache,): "--out",
        (tmp_path / "nothing", *out): "there is no folder or file",
        (f"{cache}:dev", *out): "the split .dev. .* is unknown|there is no folder or file",
    }
    for words, message in tries.items():
        line = refused(capsys, "export-images", *words)
        assert re.search(message, line), (words, line)
    assert not (tmp_path / "out").exists()


def test_a_class_without_pictures(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """In a split that has others: none of it is told of."""
    cache = hand_made(tmp_path / "cache", noise(3, 1, 2, 2), [0, 1, 0], [0, 0, 2], ("a", "b"))
    with pytest.raises(UserError, match="cache:test has no picture of b; name other --classes"):
        export_images(f"{cache.path}:test", classes=["b"], out=tmp_path / "out")
    export_images(f"{cache.path}:test", out=tmp_path / "out")
    assert "1 image of 1 class in" in capsys.readouterr().out
    assert json.loads((tmp_path / "out/export.json").read_text())["classes"] == {"a": "a"}


@pytest.mark.parametrize("name", ["out", "out.zip"])
def test_a_disk_that_fills_up(small_disk: Path, tmp_path: Path, name: str) -> None:
    """One line, and nothing of it is left."""
    cache = hand_made(tmp_path / "cache", noise(800, 3, 24, 24), [0] * 800, [0] * 800)
    with pytest.raises(UserError, match="the disk is full while writing"):
        export_images(cache.path, out=small_disk / name)
    assert not list(small_disk.iterdir())


@pytest.mark.parametrize("name", ["out", "out.zip"])
def test_stopped_in_the_middle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C: exit status 130, what was there stays, and nothing is half-written."""
    n = 3 * BATCH
    cache = hand_made(tmp_path / "cache", noise(n, 1, 2, 2), [0] * n, [0] * n)
    whole = files(export_images(cache.path, out=tmp_path / name))
    put = Selection.put

    def stopped(self: Selection, *words: object, **more: object) -> Iterator[object]:
        for i, images in enumerate(put(self, *words, **more)):  # type: ignore[arg-type]
            if i == 1:
                raise KeyboardInterrupt
            yield images

    monkeypatch.setattr(Selection, "put", stopped)
    with pytest.raises(SystemExit) as stop:
        main(["export-images", str(cache.path), "--out", str(tmp_path / name)])
    assert stop.value.code == 130
    assert "nothing is half-written" in capsys.readouterr().err
    assert files(tmp_path / name) == whole
    assert not list(tmp_path.glob(f"{TEMPORARY}*"))
