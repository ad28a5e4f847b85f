"""`edit`: pictures and a run -> a folder of edited pictures, which appears complete or not at all.

OUT/003.png ...   the results, called like the pictures that they come from; what a PNG can't hold
                  is shown by it, and OUT/003.npy has it
OUT/sheet.png     the first of them, before and after
OUT/edit.json     how they were made, and what was measured
OUT/noise.npz     of `invert`: x_t and its t
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from safelight.config import Sampling
from safelight.console import say
from safelight.data.decode import SUFFIXES
from safelight.editing import material, work
from safelight.editing.material import Material, Wanted
from safelight.editing.tasks import (
    Edit,
    ImageToImage,
    Inpaint,
    Interpolate,
    Invert,
    SuperResolution,
    name_of,
)
from safelight.editing.work import Edited
from safelight.errors import UserError
from safelight.files import clear_leftovers, require_free, write_json, writing_folder
from safelight.images import as_files, display_scale, labelled_sheet
from safelight.samplers.grids import LOWEST
from safelight.training.run import Run
from safelight.training.source import DiffusionSource

RECORD, SHEET = "edit.json", "sheet.png"
SHOWN = 10  # pictures in a row of the sheet
ODE_STEPS = 50  # of the walk up to the noise, and of the walk down
# From less than a grey level on, wherever training was: what noise is there when the walk up begins
# comes back as an error of the picture.
ODE_GRID = "karras"


class Row(NamedTuple):
    """One edit: reading and drawing."""

    read: Callable[[Any, Wanted], Material]
    work: Callable[[Any, DiffusionSource, Material], Edited]


ROWS: dict[type[Edit], Row] = {
    Inpaint: Row(material.read_masked, work.inpaint),
    ImageToImage: Row(material.read_pictures, work.image_to_image),
    SuperResolution: Row(material.read_small, work.super_resolution),
    Invert: Row(material.read_pictures, work.invert),
    Interpolate: Row(material.read_ends, work.interpolate),
}


def walks_up(task: Edit) -> bool:
    """Whether it begins with a picture's way up to its noise."""
    return isinstance(task, Invert) or (isinstance(task, Interpolate) and task.seeds is None)


def ode(task: Edit, sampling: Sampling) -> Sampling:
    """The one solver that walks up as well as down. Guided only if told so: what guidance adds on
    the way down it would have to find on the way up."""
    if sampling.options or sampling.sampler not in (None, "heun"):
        raise UserError(
            f"{name_of(task)} walks the probability-flow ODE up and down by heun; leave out "
            "--sampler and its options"
        )
    settled = {
        "sampler": "heun",
        "steps": sampling.steps or ODE_STEPS,
        "grid": sampling.grid or ODE_GRID,
        "guidance": 1.0 if sampling.guidance is None else sampling.guidance,
    }
    return sampling.model_copy(update=settled)


def edit(
    run: Run,
    places: Sequence[str | Path],
    task: Edit,
    *,
    n: int | None,
    class_name: str | None,
    sampling: Sampling,
    seed: int,
    checkpoint: str | None,
    weights: str,
    out: Path | None,
) -> Path:
    """Carry `task` out; returns the folder. `safelight.verbs.edit` says what each argument does."""
    run.require_pixels()
    row, up = ROWS[type(task)], walks_up(task)
    given = row.read(task, Wanted(run, places, n, class_name, seed))
    sampling = guidable(sampling, given, run)
    settled = ode(task, sampling) if up else sampling
    source = run.diffusion_source(settled, checkpoint, weights, lowest=LOWEST if up else None)
    these = identity(task, source, given)
    out = out or run.path / "edits" / f"{name_of(task)}-{these[:8]}"
    require_free(out, RECORD, these, "edits")
    with source.counting() as seen, torch.inference_mode():
        edited = row.work(task, source, given)
    record = {"evaluations": round(sum(seen) / len(edited.images), 2), **edited.figures}
    write(edited, given, {**_record(task, source, given), **record}, out)
    say(f"{len(edited.images)} pictures in {out} ({source.describe()}); {remark(edited)}")
    return out


def _record(task: Edit, source: DiffusionSource, given: Material) -> dict[str, Any]:
    return {
        "edit": name_of(task),
        "run": source.name,
        "identity": identity(task, source, given),
        "options": task.model_dump(mode="json"),
        "pictures": list(given.names),
        "classes": _class_names(given, source),
        "seeds": list(given.seeds),
        "sampling": source.drawing.record(),
    }


def guidable(sampling: Sampling, given: Material, run: Run) -> Sampling:
    """Without a class there is nothing to guide towards: refused if asked for, else left out."""
    if not run.classes or given.labels is not None or sampling.weaker:
        return sampling
    asked = sampling.guidance not in (None, 1) or sampling.guidance_interval is not None
    if asked or sampling.guidance_rescale:
        raise UserError(
            f"the class of {given.names[0]} is not known, so that there is nothing to guide to; "
            "name it with --class, or leave --guidance out"
        )
    return sampling.model_copy(update={"guidance": 1.0})


def identity(task: Edit, source: DiffusionSource, given: Material) -> str:
    """A hash of what decides the results. A file's content is in the fingerprint of what is given,
    and where it lies plays no part."""
    options = {name: value for name, value in task if not isinstance(value, Path)}
    what = f"{name_of(task)} {source.fingerprint} {given.fingerprint} {sorted(options.items())}"
    return hashlib.sha256(what.encode()).hexdigest()


def write(edited: Edited, given: Material, record: dict[str, Any], out: Path) -> None:
    clear_leftovers(out.parent)
    with writing_folder(out, keep=True) as folder:
        for stem, image in zip(stems(given, len(edited.images)), edited.images, strict=True):
            for ending, data in as_files(image).items():
                (folder / f"{stem}{ending}").write_bytes(data)
        rows = [(name, images[:SHOWN]) for name, images in edited.rows]
        scale = display_scale(edited.images.shape[-2])
        labelled_sheet(rows, scale).save(folder / SHEET)
        if edited.arrays:
            arrays = {name: value.numpy() for name, value in edited.arrays.items()}
            np.savez_compressed(folder / "noise.npz", **arrays)  # type: ignore[arg-type]
        write_json(folder / RECORD, record)


def stems(given: Material, results: int) -> list[str]:
    """File names of the results: the pictures' own, or numbers where these are not one for each,
    or where one of them is the sheet's."""
    words = [re.sub(r"[^\w.-]+", "-", _without_ending(name)) for name in given.names]
    # Whatever the case: some disks do not tell "A" from "a".
    taken = Counter([Path(SHEET).stem, *map(str.lower, words)])
    if max(taken.values()) > 1 or len(words) != results:
        return [f"{i:03d}" for i in range(results)]
    return words


def _without_ending(name: str) -> str:
    return name.removesuffix(suffix) if (suffix := Path(name).suffix).lower() in SUFFIXES else name


def _class_names(given: Material, source: DiffusionSource) -> list[str] | None:
    return None if given.labels is None else [source.classes[k] for k in given.labels.tolist()]


def remark(edited: Edited) -> str:
    """What was measured, in words."""
    figures = edited.figures
    if "lowest_psnr" in figures:
        return f"they come back with a PSNR of {figures['lowest_psnr']} dB or more"
    if "largest_step" in figures:
        low, high = figures["largest_at"]
        return (
            f"neighbours differ by at most {figures['largest_step']} of 255 levels (RMS); "
            f"--part {low:.9g},{high:.9g} looks closer there"
        )
    return f"look at {SHEET}"
