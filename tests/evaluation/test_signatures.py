"""What guards look at: signatures of pictures, near copies by them, and counts beyond chance."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from safelight.evaluation import signature as signature_part
from safelight.evaluation.counting import by_no_chance, more_often
from safelight.evaluation.evidence import Evidence, Looks
from safelight.evaluation.guards import GUARDS, findings
from safelight.evaluation.plan import Side
from safelight.evaluation.signature import DIMENSION, Signatures, signature
from safelight.evaluation.twins import near_copies
from tests.evaluation.scenes import jpeg, noisy, scenes
from tests.evaluation.sources import Stored


def evidence(generated: Tensor, real: Tensor) -> Evidence:
    sides = [
        Looks(Side(Stored(name, x), range(len(x))), Signatures(looked(x)))
        for name, x in (("made", generated), ("real", real))
    ]
    return Evidence(sides[0], sides[1], None)


def looked(images: Tensor) -> np.ndarray:
    return signature().extract(images).numpy()


@given(
    st.integers(2, 30),
    st.integers(1, 20),
    st.integers(1, 20),
    st.sampled_from([1, 3]),
    st.sampled_from([0, 1, 254, 255, None]),
)
def test_any_picture_has_a_signature(n: int, h: int, w: int, c: int, level: int | None) -> None:
    """Of one pixel or one line too; and every guard has an answer."""
    rng = torch.Generator().manual_seed(n)
    images = torch.randint(0, 256, (n, c, h, w), generator=rng, dtype=torch.uint8)
    if level is not None:
        images[: n // 2] = level
    found = looked(images)
    assert found.shape == (n, DIMENSION)
    assert np.isfinite(found).all()
    said_of = findings(evidence(images, images.flip(0)))
    assert all(each.guard in GUARDS and each.text for each in said_of)


def test_the_content_is_in_the_signature_to_the_last_bit() -> None:
    images = torch.zeros(500, 3, 5, 7, dtype=torch.uint8)
    images.view(500, -1)[torch.arange(500), torch.arange(500) % 105] = (
        1 + torch.arange(500).byte() // 2
    )
    hashes = Signatures(looked(images)).hashes()
    _, wanted = np.unique(images.flatten(1).numpy(), axis=0, return_inverse=True)
    _, found = np.unique(hashes, return_inverse=True)
    assert found.max() == wanted.max() > 400
    pairs = set(zip(found.tolist(), wanted.tolist(), strict=True))
    assert len(pairs) == found.max() + 1


def test_blocks_are_of_the_grid_of_jpeg() -> None:
    """Cut elsewhere, the same picture shows none."""
    large = jpeg(scenes(20, 8, 64))
    column = signature_part.COLUMNS["blocks"]
    aligned, moved = looked(large)[:, column], looked(large[:, :, 4:60, 4:60])[:, column]
    assert aligned.mean() > 0.2
    assert moved.mean() == pytest.approx(-aligned.mean(), abs=0.05)
    assert looked(scenes(20, 8, 64))[:, column].mean() == pytest.approx(0, abs=0.02)


def test_near_copies_are_those_of_a_full_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """Block by block as all at once; no picture is its own copy, and blank ones have none."""
    monkeypatch.setattr("safelight.evaluation.twins.ROWS", 7)
    images = torch.cat(
        [scenes(20, 1), noisy(scenes(20, 1)[:10], 4), torch.full((5, 3, 32, 32), 7).byte()]
    )
    found = Signatures(looked(images))
    thumbnails = found.thumbnails(0, len(images)).astype(np.float64)
    squared = np.square(thumbnails[:, None] - thumbnails).mean(2)
    np.fill_diagonal(squared, np.inf)
    wanted = (squared <= 0.05**2 * thumbnails.var(1)[:, None]).any(1)
    wanted[-5:] = False
    assert 12 <= wanted.sum() <= 20
    np.testing.assert_array_equal(near_copies(found, found), wanted)


@given(st.integers(1, 40), st.integers(1, 40), st.data())
def test_equal_shares_are_never_more(n: int, m: int, data: st.DataObject) -> None:
    found = np.arange(n) < data.draw(st.integers(0, n))
    real = np.arange(m) < np.ceil(found.mean() * m)
    assert not more_often(found, real)
    assert not by_no_chance(found, real)


def test_chance_is_what_it_says() -> None:
    """Equal sides are told apart once in a thousand times, at most."""
    rng = np.random.default_rng(0)
    alarms = sum(
        by_no_chance(rng.random(200) < share, rng.random(200) < share)
        for share in (0.01, 0.1, 0.5)
        for _ in range(1000)
    )
    assert alarms <= 6
