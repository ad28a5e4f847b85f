from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks.equality import (
    Folders,
    compare,
    our_features,
    our_number,
    random_inception,
    side_by_side,
    subset_size,
    torch_fidelity,
)
from PIL import Image

from safelight.evaluation.pretrained import INCEPTION, inception


def folders(place: Path, n: int) -> Folders:
    """Blocks of colour of two kinds."""
    rng, found = np.random.default_rng(0), []
    for name, most in (("dark", 120), ("bright", 256)):
        (place / name).mkdir()
        for i in range(n):
            blocks = np.kron(rng.integers(0, most, (4, 4, 3)), np.ones((8, 8, 1)))
            Image.fromarray(blocks.astype(np.uint8)).save(place / name / f"{i:03}.png")
        found.append(place / name)
    return found[0], found[1]


def require_equal(found: dict[str, dict[str, float | str]], at_most: float) -> None:
    apart = {
        metric: row["relative difference"]
        for metric, row in found.items()
        if row["ours"] not in ("no such metric", "too few images")
    }
    assert apart
    assert max(apart.values()) < at_most, apart


def test_numbers_from_files_equal_torch_fidelitys(
    inception_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F10: KID on its own subsets and all but FID; benchmarks/equality.py has 3,000 pictures."""
    monkeypatch.setenv(INCEPTION.place, str(inception_file))
    both, network = folders(tmp_path, 6), inception()
    first, second = our_features(both, network, tmp_path / "store")
    theirs = torch_fidelity(both, inception_file, fid=False)
    assert {"kid", "is", "precision", "recall"} <= set(theirs)
    size = subset_size(both)
    require_equal(side_by_side(theirs, lambda m: our_number(m, first, second, network, size)), 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("package", "at_most"), [("torch-fidelity", 1e-5), ("clean-fid", 1e-4), ("pytorch-fid", 1e-4)]
)
def test_fid_from_files_equals_each_package(
    package: str, at_most: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F10, X1: by the protocol of each."""
    both = folders(tmp_path, 16)
    pictures = np.stack([np.asarray(Image.open(f)) for folder in both for f in folder.iterdir()])
    monkeypatch.setenv(INCEPTION.place, "")
    weights = random_inception(tmp_path / "w.pth", torch.from_numpy(pictures).permute(0, 3, 1, 2))
    require_equal(compare(package, both, weights, tmp_path / "store"), at_most)
