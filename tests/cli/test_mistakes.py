"""How the command line says that something is wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from safelight.cli import one_line
from tests.refusals import refused


def test_mistakes_are_answered_in_one_line(
    desk: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run, cache = desk / "run", desk / "digits"
    singular = ("--diffusion.path", "flow", "--diffusion.prediction", "noise")
    test = f"{cache}:test"
    copies, held_out = ("evaluate", "--metrics", "memorisation"), f"{cache}:validation"
    cases = {
        ("prepare", tmp_path / "nowhere"): "there is no folder or file",
        ("prepare", tmp_path): "holds no pictures|no picture|is empty",
        ("prepare", desk / "digit"): "there is no folder or file .*; did you mean .*digits",
        ("prepare", cache, "--filter", "x"): "--filter: 'x' is none of 'lanczos', 'bicubic'.*st'$",
        ("prepare", cache, "--size", "x"): "safelight: --size: 'x' is no size: give the side .*96$",
        ("prepare", cache, "--seed", "x"): "safelight: --seed: 'x' is no whole number$",
        ("prepare", cache, "--workers", "1.5"): "safelight: --workers: '1.5' is no whole number$",
        ("prepare", cache, "--seed"): "safelight: --seed needs a value; --help",
        ("train", cache, "--optimiser.lr", "x"): "safelight: --optimiser.lr: 'x' is no number$",
        ("export-images", cache): "export-images needs --out: a folder, or FILE.zip; --help",
        ("sample",): "safelight sample needs RUN: folder of the run; --help",
        ("prepare", cache, "--rename", "1=a,1=b"): "--rename: '1=a,1=b' gives 1 two names: a and b",
        ("prepare", cache, "--classes", "1", "--out", cache): (
            "another cache \\(--classes was not given and is 1 now\\)"
        ),
        ("train", cache, "--siz", 3): "did you mean --size",
        ("train", cache, "--preset", "smal"): "did you mean 'small'",
        ("train", cache, "--optimiser.lr", "-1"): "--optimiser.lr: should be greater than 0",
        ("train", cache, "--ema", 7): "--ema: should be less than 0.25",
        ("train", cache, "--budget", "0s", "--out", tmp_path / "q"): "trains nothing",
        ("train", cache, "--budget", "1s", "--out", tmp_path / "q"): "too short.*give at least",
        ("train", cache, "--out", run): "holds another run",
        ("train", cache, "--resume"): "--resume goes on with the run in --out; name its folder",
        ("train", cache, "--resume", "--out", run, "--preset", "tiny"): "leave these two out",
        ("train", cache, "--resume", "--out", run, "--recipe", "v"): "leave these two out",
        ("train", cache, "--resume", "--out", tmp_path / "q"): "there is no run at",
        ("train", f"{cache}:test", "--out", tmp_path / "q"): "is a split; give the cache",
        ("train", cache, "--diffusion.path", "linar", "--out", tmp_path / "q"): "'linear'",
        ("train", cache, "--diffusion.T", 9, "--out", tmp_path / "q"): "leave --diffusion.T out",
        ("train", cache, "--diffusion.path", "table", "--out", tmp_path / "q"): "diffusion.betas",
        ("train", cache, *singular, "--out", tmp_path / "q"): "alpha is 0.*prediction edm, .* flow",
        ("train", cache, "--net.widths", 8, 8, 8, 8, 8, "--out", tmp_path / "q"): "give 4 widths",
        ("sample", tmp_path): "not a run",
        ("sample", cache): "not a run",
        ("sample", run, "--sampler", "eular"): "did you mean 'euler'",
        (
            "sample",
            run,
            "--sampler",
            "heun",
            "--churn",
            0.9,
        ): "churn is 0.9; it has to lie between 0 and 0.414",
        (
            "sample",
            run,
            "--solver-order",
            2,
        ): "dpm\\+\\+ has no solver-order; leave --solver-order out",
        ("sample", run, "--grid", "leading"): "use --grid uniform, karras or logsnr",
        ("sample", run, "--sampler", "ddpm", "--variance", "learned"): "has learned no variance",
        ("sample", run, "--classes", "eleven"): "unknown class 'eleven'",
        ("sample", run, "--checkpoint", 5): "choose one of",
        ("sample", run, "-n", 0): "give 1 or more",
        ("sample", run, "-n", "x"): "-n/--number: 'x' is no whole number$",
        ("sample", run, "--steps", 0): "--steps: should be greater than or equal to 1",
        ("sample", run, "--sampler", "ddim", "--eta", 2): "between 0 and 1",
        ("sample", run, "-n", 1, "--out", cache): "holds no samples; choose another folder",
        ("sample", desk / "plain", "--classes", "3"): "trained without classes",
        ("sample", desk / "plain", "--guidance", 2): "leave --guidance at 1, or name a --weaker",
        ("sample", run, "--guidance", "1,x"): "'x' is no number",
        ("sample", run, "--guidance-interval", 2): "'2' is not a low and a high noise level",
        ("sample", run, "--guidance-interval", "2,1"): "is 2,1; give a low and a higher",
        ("sample", run, "--guidance-rescale", 2): "--guidance-rescale: should be less",
        ("sample", run, "--weaker", 7): "no checkpoint .7.; choose one of: 2, 4, 6",
        ("sample", run, "--weaker", f"{desk / 'plain'}:6"): "has other classes",
        ("sample", run, "--weaker", f"{cache}:6"): "not a run",
        ("evaluate", run, "--guidance", "1,2"): "a sweep, which only .safelight sample. draws",
        ("evaluate", run, "--metrics", "fud"): "choose one of: fd, fd-infinity, kid",
        ("evaluate", run, "--features", "incepton"): "did you mean 'inception'",
        ("evaluate", run, "--resize", "clean"): "--resize clean says .*add --features inception",
        ("evaluate", run, "--features", "inception", "--resize", "cleen"): "did you mean 'clean'",
        ("evaluate", run, "--metrics", "fd", "-n", 100): r"1,281.*--metrics kid",
        ("evaluate", run, "-n", 1): "at least 2 images",
        ("evaluate", f"{cache}:test", "--metric", "bpd", "--against", f"{cache}:train"): (
            "bits per dimension need a model's density, and digits:test"
        ),
        ("evaluate", run, "--metrics", "bpd", "--likelihood.dequantisation", "x"): (
            "choose one of: normal, uniform"
        ),
        ("evaluate", run, "--metrics", "bpd", "--likelihood.tolerance", 0): (
            "--likelihood.tolerance: should be greater than or equal to"
        ),
        ("evaluate", cache): "--against",
        ("evaluate", tmp_path / "none", "--metrics", "kid"): "there is no folder or file .*none",
        ("evaluate", run, "--checkpoint", 5): "no checkpoint '5'; choose one of: 2, 4, 6",
        ("evaluate", run, "--checkpoint", "2,"): "no checkpoint ''; choose one of: 2, 4, 6",
        ("evaluate", run, "--train", cache): "knows its own",
        ("evaluate", held_out, "--against", test, "--metrics", "bpd", "--train", cache): (
            "copies of them are looked for among its images, of which bpd takes none"
        ),
        (*copies, run, "--train", f"{cache}:train"): "knows its own",
        (*copies, held_out, "--against", test): "name them with --train CACHE:train",
        (*copies, held_out, "--against", test, "--train", test): (
            "can't be both the training pictures and the held-out ones"
        ),
        (*copies, held_out, "--against", cache, "--train", f"{cache}:train"): (
            "holds the training pictures digits:train too; name a split"
        ),
        (
            *copies,
            held_out,
            "--against",
            f"{cache}:test",
            "--train",
            run,
        ): "is a run; --train takes",
        ("evaluate", f"{cache}:test", "--steps", 5, "--weights", "raw", "--checkpoint", 5): (
            "--steps, --checkpoint, --weights is of a run, and .*digits:test is none"
        ),
        ("evaluate", run, "--metrics", "bpd", "--sampler", "heun"): "--sampler says .*bpd draws no",
        ("evaluate", run, "--likelihood.terms", 3): "--likelihood.terms says .*add bpd",
        ("evaluate", run, "--guidance-interval", "1,2", "--guidance", 1): "at --guidance 1 there",
        ("evaluate", run, "--against", desk / "plain"): "--against takes real images",
        ("evaluate", desk / "plain", "--per-class"): "plain .* has no classes, .* --per-class out",
        ("evaluate", run, "--per-class", "--metrics", "kid", "-n", 30): "the class 0: the kernel",
        ("compare", run, desk / "plain"): "run: safelight evaluate",
        ("report", tmp_path): "no pictures in",
        ("report", tmp_path / "nowhere"): "there is no",
        ("report", run, "--size", 8): "is of pictures that are no cache yet, and .* is a run",
        ("report", cache, "--size", 16): "holds 8x8 pictures, not 16x16",
        ("report", cache, "--out", cache / "page.html"): "lies in the cache's folder",
        ("report", cache, "--out", tmp_path): "is a folder; name a file",
        ("dance",): "dance is not understood; choose one of: prepare, train",
        (): "no command is given; choose one of: prepare",
    }
    for words, message in cases.items():
        line = refused(capsys, *words)
        assert re.search(message, line), (words, line)
    assert not (tmp_path / "q").exists()


def test_one_line_unfolds_a_frame() -> None:
    boxed = "╭─ Error ──╮\n│ No such  │\n│ ──────── │\n│ thing    │\n╰──────────╯\n"
    plain = " Error    \n -------- \n  No such \n  --------\n  thing   \n"
    for framed in (boxed, plain):
        assert one_line(framed) == "No such thing"
