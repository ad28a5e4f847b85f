from __future__ import annotations

import dataclasses
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from safelight.errors import UserError
from safelight.evaluation.moments import Features
from safelight.evaluation.network import MICRO_BATCH, Network
from safelight.evaluation.store import features_of
from tests.evaluation.sources import Model, pixels, stored

NETWORK = pixels()


def kept(source: object, store: Path, networks: list[Network] | None = None) -> list[Features]:
    return features_of(source, range(40), networks or [NETWORK], store, batch=16)  # type: ignore[arg-type]


def test_features_are_those_of_the_network(tmp_path: Path) -> None:
    source = stored("a", 40, 1)
    (features,) = kept(source, tmp_path)
    np.testing.assert_array_equal(features[:40], NETWORK.extract(source.pixels).numpy())


def test_images_are_made_once_for_all_networks_and_never_again(tmp_path: Path) -> None:
    """A model's images cost the most: one pass for two networks, none the second time."""
    source, other = stored("a", 40, 1), pixels(6, weights="pixels-2")
    kept(source, tmp_path, [NETWORK, other])
    assert source.asked == 40
    first, second = kept(source, tmp_path, [other, NETWORK])
    assert source.asked == 40
    assert (first.shape, second.shape) == ((40, 6), (40, 4))


def test_a_models_images_follow_their_seeds_and_labels(tmp_path: Path) -> None:
    model = Model()
    (features,) = features_of(model, [7, 3, 4], [NETWORK], tmp_path, batch=2)
    labels = torch.tensor([1, 1, 0])
    wanted = NETWORK.extract(model.images([7, 3, 4], labels)).numpy()
    np.testing.assert_array_equal(features[:3], wanted)


@pytest.mark.parametrize(
    "change", ["images", "seeds", "weights", "network"], ids=lambda name: f"other-{name}"
)
def test_other_images_or_another_network_have_other_features(tmp_path: Path, change: str) -> None:
    first = stored("a", 40, 1)
    kept(first, tmp_path)
    network, seeds, source = NETWORK, list(range(40)), first
    if change == "images":
        source = stored("a", 40, 2)
    if change == "seeds":
        seeds[0] = 5
    if change == "weights":
        network = dataclasses.replace(NETWORK, weights="retrained")
    if change == "network":
        network = dataclasses.replace(NETWORK, name="other")
    features_of(source, seeds, [network], tmp_path, batch=16)
    assert len(list((tmp_path / "features").glob("*.npy"))) == 2


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "text", "no note", "bad note"])
def test_damaged_features_are_computed_again(tmp_path: Path, damage: str) -> None:
    source = stored("a", 40, 1)
    (before,) = kept(source, tmp_path)
    wanted = before[:40]
    (path,) = (tmp_path / "features").glob("*.npy")
    data = path.read_bytes()
    spoiled = {
        "cut": data[:-9],
        "flip": data[:-9] + bytes([data[-9] ^ 1]) + data[-8:],
        "empty": b"",
        "text": b"not an array",
    }
    if damage in spoiled:
        path.write_bytes(spoiled[damage])
    elif damage == "no note":
        path.with_suffix(".json").unlink()
    else:
        path.with_suffix(".json").write_text("[]")
    (after,) = kept(source, tmp_path)
    assert source.asked == 80
    np.testing.assert_array_equal(after[:40], wanted)


@pytest.mark.parametrize("spoiled", [False, True])
def test_a_pass_that_was_stopped_goes_on(tmp_path: Path, spoiled: bool) -> None:
    """X6: what was looked at is not made again, unless its file is damaged."""

    class Stopped(Model):
        def images(self, seeds, labels=None):  # type: ignore[no-untyped-def]
            if 32 in seeds:
                raise KeyboardInterrupt
            return super().images(seeds, labels)

    (whole,) = kept(Model(), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        kept(Stopped(), tmp_path)
    parts = sorted((tmp_path / "features").rglob("*.*"))
    assert [part.name for part in parts] == ["0-13.npy", "13-26.npy"]
    if spoiled:
        parts[1].write_bytes(parts[1].read_bytes()[:-9])
    model = Model()
    (features,) = kept(model, tmp_path)
    assert model.seen == list(range(13 if spoiled else 26, 40))
    np.testing.assert_array_equal(features[:40], whole[:40])
    assert len(list((tmp_path / "features").iterdir())) == 2


def test_each_network_keeps_its_own_parts(tmp_path: Path) -> None:
    """Where one of two has its part already, the other's is made alone."""
    other = pixels(6, weights="pixels-2")
    asked: list[str] = []

    def counted(network: Network) -> Network:
        def extract(images: torch.Tensor) -> torch.Tensor:
            asked.append(network.weights)
            return network.extract(images)

        return dataclasses.replace(network, extract=extract)

    def stops(images: torch.Tensor) -> torch.Tensor:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        kept(Model(), tmp_path, [NETWORK, dataclasses.replace(other, extract=stops)])
    kept(Model(), tmp_path, [counted(NETWORK), counted(other)])
    assert asked.count(NETWORK.weights) == 2
    assert asked.count(other.weights) == 3


def test_features_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    broken = dataclasses.replace(
        NETWORK, extract=lambda images: torch.full((len(images), 4), float("nan"))
    )
    with pytest.raises(UserError, match=r"pixels gave features that are not finite.*model"):
        kept(Model(), tmp_path, [broken])
    assert [path.name for path in tmp_path.rglob("*")] == ["features"]


def test_a_store_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(UserError, match="taken"):
        kept(stored("a", 40, 1), tmp_path / "taken")


def test_two_at_once_look_at_the_images_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two terminals, or an evaluation beside a run's own: the second one waits."""
    source, busy = stored("a", 40, 1), threading.Event()

    def extract(images: torch.Tensor) -> torch.Tensor:
        busy.set()
        time.sleep(0.05)
        return NETWORK.extract(images)

    slow = dataclasses.replace(NETWORK, extract=extract)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(kept, source, tmp_path, [slow])
        busy.wait()
        second = pool.submit(kept, source, tmp_path, [slow])
        (here,), (there,) = first.result(), second.result()
    np.testing.assert_array_equal(here[:40], there[:40])
    assert source.asked == 40
    assert "another safelight command looks at these images" in capsys.readouterr().err


def test_networks_see_micro_batches_of_uint8(tmp_path: Path) -> None:
    seen: list[tuple[torch.dtype, int]] = []

    def extract(images: torch.Tensor) -> torch.Tensor:
        seen.append((images.dtype, len(images)))
        return NETWORK.extract(images)

    features_of(
        stored("a", 40, 1), range(40), [dataclasses.replace(NETWORK, extract=extract)], tmp_path, 40
    )
    assert {dtype for dtype, _ in seen} == {torch.uint8}
    assert max(count for _, count in seen) == MICRO_BATCH


def test_networks_are_asked_in_full_float32(tmp_path: Path) -> None:
    """B7: TF32's ten bits of mantissa would make every number depend on the device."""
    during: list[bool] = []

    def extract(images: torch.Tensor) -> torch.Tensor:
        during.append(torch.backends.cudnn.allow_tf32)
        return NETWORK.extract(images)

    with torch.backends.cudnn.flags(allow_tf32=True):
        kept(stored("a", 40, 1), tmp_path, [dataclasses.replace(NETWORK, extract=extract)])
        assert torch.backends.cudnn.allow_tf32
    assert during
    assert not any(during)
