from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from safelight.errors import TooFewImages, UserError
from safelight.evaluation import balls
from safelight.evaluation.accuracy import wilson
from safelight.evaluation.balls import HALVINGS, halves, inside, nearest
from safelight.evaluation.estimate import Interval
from safelight.evaluation.manifold import (
    FEWEST,
    K_COUNTS,
    K_SHARES,
    METHOD_SHARE,
    PARAMETERS_COUNTS,
    coverage,
    density,
    effect,
    precision,
    recall,
    share,
)
from safelight.evaluation.metrics import METRICS
from tests.evaluation.sources import pixels, rows, stored

ALL = {"precision": precision, "recall": recall, "density": density, "coverage": coverage}
Value = dict[str, float]


def four(generated: np.ndarray, reference: np.ndarray) -> Value:
    return {name: measure(generated, reference).value for name, measure in ALL.items()}


def of_prdc(generated: np.ndarray, reference: np.ndarray, k: int) -> Value:
    from prdc import compute_prdc

    with contextlib.redirect_stdout(io.StringIO()):
        return dict(compute_prdc(reference, generated, k))


@pytest.mark.parametrize(("m", "n", "d"), [(700, 600, 16), (300, 450, 200)])
def test_equals_prdc(m: int, n: int, d: int) -> None:
    """X17: at unequal counts."""
    x, y = rows(m, d, 1, shift=0.1), rows(n, d, 2)
    shares, counts, ours = of_prdc(x, y, K_SHARES), of_prdc(x, y, K_COUNTS), four(x, y)
    for name, wanted in (
        ("precision", shares),
        ("recall", shares),
        ("density", counts),
        ("coverage", counts),
    ):
        assert wanted[name] > 0.05
        assert ours[name] == pytest.approx(wanted[name], rel=1e-9)


def test_equals_torch_fidelity() -> None:
    """X17: precision and recall of its own function on the same features."""
    from torch_fidelity.metric_prc import calculate_precision_recall_full

    x, y = rows(400, 32, 1, shift=0.2, scale=0.9), rows(500, 32, 2)
    sides = (torch.from_numpy(side).double() for side in (x, y))
    theirs = calculate_precision_recall_full(*sides, K_SHARES)
    assert precision(x, y).value == pytest.approx(theirs[0], rel=1e-5)
    assert recall(x, y).value == pytest.approx(theirs[1], rel=1e-5)


def test_a_case_that_can_be_counted() -> None:
    """X17: real images at 0, 1, 2, ... 59 of a line, generated ones at 0.4, 1.4, ... to 79.4.

    An inner ball of k = 3 reaches 2 far, and the last one, at 59, to 56 and 62. With k = 5 inner
    ones reach 3 far, those at the ends 5, 4, 3.
    """
    y = np.arange(60, dtype=np.float32)[:, None]
    x = np.arange(80, dtype=np.float32)[:, None] + 0.4
    assert precision(x, y).value == 62 / 80  # the last inside is at 61.4
    assert recall(x, y).value == 1.0
    assert coverage(x, y).value == 1.0
    centres = np.arange(60)
    reach = np.maximum(3, np.maximum(5 - centres, 5 - centres[::-1]))
    held = (np.abs(x - y.T) < reach).sum()
    assert density(x, y).value == pytest.approx(held / 80 / 5, rel=1e-12)


@pytest.mark.parametrize("offset", [0.0, 30.0])
def test_points_on_an_edge_are_inside_of_closed_balls_alone(offset: float) -> None:
    """Whatever rounding does: the 60 rotations of one vector, each as far from the one s places on
    as from the one s places back. So the 5th and the 6th neighbour are tied, and every ball's edge
    holds two images; sums in other orders differ in the last digits."""
    vector = np.random.default_rng(0).standard_normal(60).astype(np.float32) + np.float32(offset)
    side = np.stack([np.roll(vector, s) for s in range(60)])
    for closed, held in ((True, 7), (False, 5)):
        found = inside(side, side, 5, closed=closed)
        assert (found.of_points[0] == held).all()
        assert (found.of_centres[0] == held).all()


def test_an_image_on_both_sides() -> None:
    """Identical sides: each image is in its own ball, and open balls hold k images: density 1."""
    side = rows(120, 8, 1)
    assert four(side, side) == {"precision": 1.0, "recall": 1.0, "density": 1.0, "coverage": 1.0}


@given(
    st.floats(-1e3, 1e3, width=32), st.integers(FEWEST, 80), st.integers(FEWEST, 80), st.booleans()
)
@settings(max_examples=15, deadline=None)
def test_sides_without_extent(value: float, m: int, n: int, alike: bool) -> None:
    """X2: constant pictures. Closed balls of no radius hold copies, open ones hold nothing."""
    x = np.full((m, 3), value, np.float32)
    y = x[:1].repeat(n, axis=0) + np.float32(0 if alike else 1000)
    hit = 1.0 if alike else 0.0
    assert four(x, y) == {"precision": hit, "recall": hit, "density": 0.0, "coverage": 0.0}
    for measure in ALL.values():
        found = measure(x, y)
        assert found.low < found.high  # never certain


@given(st.integers(0, 10**6), st.integers(1, 40))
@settings(max_examples=15, deadline=None)
def test_duplicates(seed: int, copies: int) -> None:
    """Values agree with a direct count, edges of all kinds included, and intervals make sense."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 4, (70, 3)).astype(np.float32)
    y = rng.integers(0, 4, (60, 3)).astype(np.float32)
    y[:copies] = y[0]
    ours = four(x, y)

    def squared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return ((a[:, None] - b) ** 2).sum(axis=-1)

    def reach(side: np.ndarray, k: int) -> np.ndarray:
        return np.sort(squared(side, side), axis=1)[:, k]

    held = squared(x, y) < reach(y, K_COUNTS)
    assert ours == pytest.approx(
        {
            "precision": (squared(x, y) <= reach(y, K_SHARES)).any(axis=1).mean(),
            "recall": (squared(y, x) <= reach(x, K_SHARES)).any(axis=1).mean(),
            "density": held.sum(axis=1).mean() / K_COUNTS,
            "coverage": held.any(axis=0).mean(),
        },
        rel=1e-12,
    )
    for name, measure in ALL.items():
        found = measure(x, y)
        assert 0 <= found.low <= found.value <= found.high
        assert found.high <= (np.inf if name == "density" else 1)


def test_tiles_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = rows(150, 6, 1, shift=0.1), rows(130, 6, 2)
    whole = {name: measure(x, y) for name, measure in ALL.items()}
    monkeypatch.setattr(balls, "TILE", 32)
    for name, measure in ALL.items():
        assert measure(x, y) == whole[name]


def test_only_so_many_images_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The work is bounded, and the protocol says so."""
    x, y = rows(90, 6, 1), rows(80, 6, 2)
    monkeypatch.setattr(balls, "AT_MOST", 60)
    monkeypatch.setattr(balls, "TILE", 32)
    assert density(x, y) == density(x[:60], y[:60])
    assert "at most 10,000 images a side" in PARAMETERS_COUNTS


def test_nearest_neighbours_are_exact() -> None:
    side = rows(200, 5, 3).astype(np.float64)
    squared = ((side[:, None] - side) ** 2).sum(axis=-1)
    np.fill_diagonal(squared, np.inf)
    distances, names, norms = nearest(side)
    order = np.argsort(squared, axis=1)[:, : distances.shape[1]]
    np.testing.assert_array_equal(names, order)
    np.testing.assert_allclose(distances, np.sort(squared, axis=1)[:, : distances.shape[1]])
    np.testing.assert_allclose(norms, (side**2).sum(axis=1))


def test_halves_are_looked_at_as_sides_of_their_own() -> None:
    """X2: row h of `inside` is what the half alone gives."""
    x, y = rows(140, 4, 1, shift=0.2), rows(121, 4, 2)
    found = inside(x, y, K_COUNTS, closed=False)
    for h in (1, 7, HALVINGS):
        for half in (True, False):
            a, b = found.halves_points[h] == half, found.halves_centres[h] == half
            alone = inside(x[a], y[b], K_COUNTS, closed=False)
            np.testing.assert_array_equal(found.of_points[h, a], alone.of_points[0])
            np.testing.assert_array_equal(found.of_centres[h, b], alone.of_centres[0])


def test_of_independent_images_the_interval_is_wilsons() -> None:
    """X2: hits that depend on nothing else have the design effect 1, up to chance."""
    n = 4000
    hits = np.random.default_rng(0).random(n) < 0.3
    found = share(np.tile(hits, (1 + HALVINGS, 1)), halves(n, "points"))
    wanted = wilson(int(hits.sum()), n)
    assert found.high - found.low == pytest.approx(wanted.high - wanted.low, rel=0.15)


def test_the_design_effect_of_a_mean() -> None:
    """X2: of a plain mean the halves see the design effect 1, of pairs that are alike 2."""
    values = np.random.default_rng(1).standard_normal((400, 64))
    pairs = np.repeat(values[:, :32], 2, axis=1)
    for drawn, wanted in ((values, 1.0), (pairs, 2.0)):
        apart = halves(64, "points")
        if wanted == 2:  # both images of a pair in the same half, as if one moved the other
            apart[1:] = np.repeat(halves(32, "points")[1:], 2, axis=1)
        found = [effect(np.tile(row, (1 + HALVINGS, 1)), apart) for row in drawn]
        assert np.mean(found) == pytest.approx(wanted, rel=0.08)


def covered(draws: int, n: int, d: int, shift: float) -> dict[str, float]:
    """How often each interval holds the estimator's mean over the draws."""
    found: dict[str, list[Interval]] = {name: [] for name in ALL}
    for i in range(draws):
        x, y = rows(n, d, 2 * i, shift), rows(n, d, 2 * i + 1)
        for name, measure in ALL.items():
            found[name].append(measure(x, y))
    return {
        name: float(np.mean([each.low <= mean <= each.high for each in intervals]))
        for name, intervals in found.items()
        for mean in [np.mean([each.value for each in intervals])]
    }


def test_intervals_cover() -> None:
    """X2: the small version of benchmarks/coverage.py."""
    assert min(covered(40, 150, 8, shift=0.2).values()) >= 0.85


@pytest.mark.slow
@pytest.mark.parametrize("shift", [0.0, 0.2])
def test_intervals_cover_the_estimators_mean(shift: float) -> None:
    """X2: within what 200 draws can tell of 92 % to 98 %."""
    held = covered(200, 500, 64, shift)
    assert min(held.values()) >= 0.89, held


def test_too_few_images_are_refused() -> None:
    """X2: also where k is not below the count."""
    for count in (1, K_COUNTS, FEWEST - 1):
        for measure in ALL.values():
            with pytest.raises(TooFewImages, match=rf"at least {FEWEST} images on each side"):
                measure(rows(count, 6, 1), rows(80, 6, 2))


def test_features_that_are_not_finite_are_refused() -> None:
    x = rows(60, 4, 1)
    x[17, 2] = np.nan
    with pytest.raises(UserError, match="image 17 are not finite"):
        coverage(rows(60, 4, 2), x)


def test_they_are_metrics_of_any_network(tmp_path: object) -> None:
    """X1, X17: each leaves with interval, floor and protocol; higher is better."""
    from safelight.evaluation.moments import SideFeatures
    from safelight.evaluation.plan import plan

    sides = plan(stored("a", 80, 1), stored("b", 80, 2), stored("c", 80, 3), 80, 0)
    x, y, z = (rows(80, 4, seed) for seed in (1, 2, 3))
    for name, measure in ALL.items():
        row = METRICS[name]
        found = row.estimate(sides, pixels(), SideFeatures(x, y, z))  # type: ignore[union-attr]
        assert (found.name, found.value) == (f"{name} (pixels)", measure(x, y).value)
        assert found.floor == measure(z, y)
        assert found.higher_is_better
        assert "k = " in found.protocol.parameters
    assert METRICS["precision"].method == METHOD_SHARE  # type: ignore[union-attr]
    assert found.show(0.957) == "95.7 %"
