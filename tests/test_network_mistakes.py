"""Networks that can't be, asked for on the command line: a line each, and nothing left behind."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from safelight.cli import main
from tests.refusals import refused

CASES = {
    # Sizes that the depth cannot halve: which sizes, or depths, would do.
    "8 --preset large": "8x8 cannot be halved 4 times; prepare them at 16x16, or give 4 widths",
    "8 --net.widths 8 8 8 8 8": "8x8 cannot be halved 4 times; .* or give 4 widths with --net.wid",
    "6 --preset plain": "6x6 cannot be halved 2 times; prepare them at 8x8, or give 2 widths",
    "6 --preset classic": "6x6 cannot be halved 3 times; prepare them at 8x8, or give 3 widths",
    "7 --preset classic": "prepare them at 8x8, or give 1 width with --net.kind unet --net.wid",
    "7 --preset tiny": "7x7 cannot be halved 1 time; prepare them at 8x8, or give 1 width with",
    "7 --preset transformer": "squares of 4 do not tile images of 7x7; .*--net.patch from 1, 7",
    # Widths that do not divide, or are too few or too many.
    "8 --net.heads 5": "5 heads cannot share 96 channels; choose --net.heads that divides them",
    "8 --preset classic --net.widths 8 10 8": "4 heads cannot share 10 channels; choose --net.head",
    "8 --preset transformer --net.widths 30 --net.heads 4": "4 heads cannot share 30 channels",
    "8 --preset transformer --net.widths 32 64": "a transformer has one width and not 2; give one",
    "8 --preset classic --net.widths 8 16": "an odd number of widths of 3 or more, and there are 2",
    "8 --net.widths": "--net.widths: .* at least 1 item",
    "8 --net.widths 0": "--net.widths.*: should be greater than 0",
    # What would change nothing.
    "8 --preset conv --net.heads 2": "--net.heads is of the attention, and there is none; leave",
    "8 --preset classic --net.attention": r"--net.heads .* leave it out \(--net.heads None, where",
    "8 --preset simple --net.middle 3": "all but the last of --net.blocks, and there is one",
    "8 --net.widths 8 --net.down max": "one width is one resolution; leave it at strided, or give",
    # Attention at a resolution that does not occur.
    "8 --net.attention 16": "no layer works at resolution 16; choose --net.attention from 8, 4",
    "8 --preset classic --net.attention 3": "resolution 3; choose --net.attention from 8, 4, 2, 1",
    "8 --net.attention coarse": "coarsest.*coarser.*all",
    # Rows that are in no table, and options of other networks.
    "8 --net.norm bach": "unknown normalisation 'bach'; did you mean 'batch'",
    "8 --net.activation silly": "unknown activation 'silly'; did you mean 'silu'",
    "8 --net.down mux": "unknown down-sampling 'mux'; did you mean 'max'",
    "8 --net.up transpose": "unknown up-sampling 'transpose'; did you mean 'transposed'",
    "8 --net.skip add": "unknown skip 'add'; choose one of: concat, sum",
    "8 --net.embedding furier": "unknown embedding 'furier'; did you mean 'fourier'",
    "8 --net.block rezidual": "unknown block 'rezidual'; did you mean 'residual'",
    "8 --net.kind plane": "unknown network 'plane'; did you mean 'plain'",
    "8 --preset plain --net.attention 8": "plain has no --net.attention; .* unet or classic",
    "8 --preset classic --net.dropout 0.1": "classic has no --net.dropout; leave it out, or choose",
    "8 --preset plane": "unknown preset 'plane'; did you mean 'plain'",
}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Caches of pictures of several sizes, called by them, and colour ones."""
    folder = tmp_path_factory.mktemp("desk")
    few = ("--per-class", "6", "--split", "70/10/20")
    for size in ("6", "7", "8"):
        main(["prepare", "digits", "--size", size, *few, "--out", str(folder / size)])
    main(["prepare", "digits", "--channels", "rgb", *few, "--out", str(folder / "colour")])
    return folder


@pytest.mark.parametrize("words", CASES)
def test_networks_that_cannot_be_are_refused(
    words: str, desk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """C2, K4, F3, F7, F9, L8"""
    cache, *options = words.split()
    line = refused(capsys, "train", desk / cache, *options, "--out", tmp_path / "run")
    assert re.search(CASES[words], line), line
    assert not (tmp_path / "run").exists()


def test_a_preset_fits_grey_and_colour_and_a_run_its_own(
    desk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """K4: no preset is for a number of channels; a run is, and says that these are others."""
    quick = ("--budget", "1steps", "--net.widths", "8", "16", "--optimiser.batch", "4")
    words = ("--preset", "plain", *quick, "--watch.no-tensorboard", "--out")
    for cache in ("8", "colour"):
        main(["train", str(desk / cache), *words, str(tmp_path / cache)])
    line = refused(capsys, "train", desk / "colour", *words, tmp_path / "8")
    assert "holds another run (the training images)" in line
