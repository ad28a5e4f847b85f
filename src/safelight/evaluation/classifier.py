"""A small classifier, trained on the spot on the real training split.

It says whether a generated image is of the class that was asked for, and the layer before its
last is a feature network made for the very data set.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from safelight.console import progress
from safelight.data.augment import crop
from safelight.errors import DamagedFile, NonFiniteLoss, TooFewImages, UserError
from safelight.evaluation.accuracy import Verdict, verdict
from safelight.evaluation.moments import Features, SideFeatures, blocks
from safelight.evaluation.network import Head, Network, head_of
from safelight.evaluation.plan import Plan
from safelight.files import save_tensors, writing
from safelight.images import ImageSource, dequantise
from safelight.machine import device, has_bf16
from safelight.seeding import derive, generator

FEATURES = 128  # numbers in the layer before the last
LARGEST = 32  # pixels a side; larger images are shrunk to it, which bounds the time
BATCH = 128
RATE = 5e-3  # AdamW's highest learning rate, one cycle
DECAY = 1e-2
SMOOTHING = 0.05  # of the labels

# Images seen: this many passes, grey or colour, within the two limits. Colour needs more.
PASSES = {1: 4, 3: 8}
FEWEST_VIEWS, MOST_VIEWS = 40_000, 400_000

RECIPE = (
    f"5 convolutions 32-64-64-128-128 with batch norm, at most {LARGEST} px, AdamW {RATE} one "
    f"cycle, decay {DECAY}, batch {BATCH}, smoothing {SMOOTHING}, passes {PASSES} within "
    f"{FEWEST_VIEWS}..{MOST_VIEWS} images, shifts up to 1/14 of the side, no flips; version 1"
)


@dataclass(frozen=True)
class Classifier:
    """A trained classifier: the network up to its features, and the last layer.

    trained_on: how many images, and which; not what they are called, which decides nothing.
    """

    network: Network
    head: Head
    classes: tuple[str, ...]
    trained_on: str
    needs_stand_in = False

    @property
    def how(self) -> str:
        return f"classifier trained on {self.trained_on}"

    def verdict(self, plan: Plan, features: SideFeatures) -> Verdict:
        return verdict(self, plan, features)

    def predict(self, features: Features) -> NDArray[np.int64]:
        """The class of each image from its features: (n, 128) -> (n,)."""
        predicted = [np.argmax(self.head.scores(block), axis=1) for block in blocks(features)]
        return np.concatenate(predicted).astype(np.int64)


def classifier(train: ImageSource | None, store: Path, seed: int = 0) -> Classifier:
    """The classifier of these labelled images; trained now, or before and kept in the store.

    Raises UserError without labelled images, TooFewImages with less than one of each class.
    """
    train, labels = labelled(train)
    path = store / "classifiers" / f"{_key(train, seed)}.safetensors"
    model = build(train.shape, len(train.classes), seed)
    weights = _restored(model, path)
    if weights is None:
        fit(model, train, labels, seed)
        with writing(path) as temporary:
            save_tensors(model.state_dict(), temporary)
        weights = _restored(model, path)
        if weights is None:
            raise DamagedFile(f"{path} can't be read again after it was written")
    body, last = model.eval()[0], model[1]
    head = head_of(last)
    return Classifier(
        network=_network(body, head, weights),
        head=head,
        classes=train.classes,
        trained_on=f"{len(labels):,} images {train.fingerprint[:8]}",
    )


def build(shape: tuple[int, int, int], classes: int, seed: int) -> nn.Sequential:
    """(features, last layer) with weights drawn from the seed alone."""
    c, *sides = shape
    # Of 8x8, a second halving is enough.
    first = [nn.MaxPool2d(2, ceil_mode=True)] if max(sides) > 8 else []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "classifier"))
        body = nn.Sequential(
            *_convolution(c, 32),
            *first,
            *_convolution(32, 64),
            *_convolution(64, 64),
            nn.MaxPool2d(2, ceil_mode=True),
            *_convolution(64, 128),
            *_convolution(128, FEATURES),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        model = nn.Sequential(body, nn.Linear(FEATURES, classes))
    return model.to(memory_format=torch.channels_last)


def _convolution(inputs: int, outputs: int) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    ]


def prepare(images: Tensor) -> Tensor:
    """uint8 (b, c, h, w) -> float32 in [-1, 1], at most LARGEST pixels a side."""
    x = dequantise(images)
    if (longer := max(x.shape[2:])) > LARGEST:
        size = tuple(max(1, round(side * LARGEST / longer)) for side in x.shape[2:])
        x = F.interpolate(x, size=size, mode="bilinear", antialias=True)
    return x.contiguous(memory_format=torch.channels_last)


def fit(model: nn.Module, train: ImageSource, labels: Tensor, seed: int) -> None:
    """Train in place; the batches are a function of the seed alone."""
    place = device()
    model.to(place).train()
    steps = _views(train) // BATCH
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    with progress(f"training a classifier on {train.name}", steps) as advance:
        for images, wanted in _batches(train, labels, steps, seed):
            with torch.autocast(place.type, torch.bfloat16, enabled=has_bf16(place)):
                scores = model(prepare(images).to(place)).float()
            loss = F.cross_entropy(scores, wanted.to(place), label_smoothing=SMOOTHING)
            _require_finite(loss, train)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            advance()
    model.cpu().eval()


def _batches(
    train: ImageSource, labels: Tensor, steps: int, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """`steps` batches of shifted images and their labels, epoch after epoch in a new order."""
    rng = generator(seed, "classifier", "batches")
    waiting = torch.empty(0, dtype=torch.int64)
    for _ in range(steps):
        while len(waiting) < BATCH:
            waiting = torch.cat([waiting, torch.randperm(len(labels), generator=rng)])
        chosen, waiting = waiting[:BATCH], waiting[BATCH:]
        images, u = train.images(chosen.tolist()).numpy(), torch.rand(BATCH, 2, generator=rng)
        _, _, h, w = images.shape
        shifted = crop(images, u.numpy(), h, w, pad=max(1, round(min(h, w) / 14)))
        yield torch.from_numpy(shifted), labels[chosen]


def _views(train: ImageSource) -> int:
    """How many images the training sees in all."""
    passes = PASSES[1 if train.shape[0] == 1 else 3] * (train.count or 0)
    return min(max(passes, FEWEST_VIEWS), MOST_VIEWS)


def _require_finite(loss: Tensor, train: ImageSource) -> None:
    if not loss.isfinite():
        raise NonFiniteLoss(
            f"the loss of the classifier on {train.name} became {loss.item()}; "
            "leave accuracy out with --metrics fd,kid"
        )


def _network(body: nn.Module, head: Head, weights: str) -> Network:
    body = body.to(device())

    def extract(images: Tensor) -> Tensor:
        features: Tensor = body(prepare(images).to(device()))
        return features.cpu()

    return Network(
        name="classifier",
        dimension=FEATURES,
        resize=f"none up to {LARGEST}x{LARGEST}, larger ones to that, bilinear, antialiased",
        weights=weights,
        published=False,
        extract=extract,
        head=head,
    )


def labelled(train: ImageSource | None) -> tuple[ImageSource, Tensor]:
    """The images and their labels (n,), if a classifier can learn them.

    Raises UserError without labels or with one class only, TooFewImages where a class has none.
    """
    if train is None or train.count is None:
        raise UserError(
            "the classifier needs real labelled training images and has none; give a set with a "
            "training split, or use --features efficientnet-lite0 --metrics fd,kid"
        )
    labels = train.labels(range(train.count))
    if labels is None or len(train.classes) < 2:
        raise UserError(
            f"the classifier needs at least two classes and {train.name} has "
            f"{len(train.classes)}; use --features efficientnet-lite0 --metrics fd,kid"
        )
    empty = set(range(len(train.classes))) - set(labels.tolist())
    if empty:
        names = ", ".join(train.classes[i] for i in sorted(empty))
        raise TooFewImages(
            f"{train.name} has no image of {names}, so no classifier can learn it; "
            "add images, or leave these classes out with --classes"
        )
    return train, labels


def _key(train: ImageSource, seed: int) -> str:
    text = json.dumps([train.fingerprint, RECIPE, seed])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _restored(model: nn.Module, path: Path) -> str | None:
    """Load kept weights, and their sha256; None where there are none, or the file is damaged.

    Read once, since another process may put its own in their place.
    """
    try:
        held = path.read_bytes()
        model.load_state_dict(load(held))
    except (SafetensorError, RuntimeError, OSError):
        return None
    return hashlib.sha256(held).hexdigest()
