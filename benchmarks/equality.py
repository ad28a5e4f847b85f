"""Our numbers beside those of the packages that the literature uses: same pictures, same weights.

    python benchmarks/equality.py cifar10 --classes cat frog --n 1500 --out OUT

Writes n pictures of each of two classes to two folders, draws random weights for the FID Inception,
and lets each package go its whole way from the files to its numbers. Prints JSON: both values and
their relative difference. The bars: 1e-5 of torch-fidelity and prdc; 1e-4 of clean-fid (`--resize
clean`) and pytorch-fid (`--resize pytorch`). A pass over 3,000 pictures takes about ten minutes of
one core, and there are two for each package. What was measured is kept in OUT.

Distances of n pictures with 2,048 features are refused by `safelight evaluate` where n is smaller;
here the same functions are asked without that guard.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from PIL import Image

import safelight
from safelight.data.cache import Cache
from safelight.errors import TooFewImages
from safelight.evaluation.frechet import frechet_distance
from safelight.evaluation.inception_score import split_scores
from safelight.evaluation.kernel import kernel_distance
from safelight.evaluation.kinds import Distance
from safelight.evaluation.manifold import K_COUNTS, K_SHARES
from safelight.evaluation.metrics import METRICS
from safelight.evaluation.moments import moments
from safelight.evaluation.network import Network
from safelight.evaluation.pretrained import INCEPTION, inception
from safelight.evaluation.resizes import RESIZES
from safelight.evaluation.store import features_of
from safelight.files import write_json

SUBSETS, SEED = 20, 2020  # of KID as the packages take it
Numbers = dict[str, float]
Array = np.ndarray
Folders = tuple[Path, Path]


def random_inception(path: Path, pictures: torch.Tensor, seed: int = 0) -> Path:
    """Weights by the names of the published file, drawn, that tell pictures apart.

    He's scale alone would give all pictures nearly the same features, whose distances drown in the
    packages' float32: each layer is normalised by its own answers to pictures, uint8 (b, 3, h, w).
    """
    from torchvision.models import inception_v3

    model = inception_v3(weights=None, num_classes=1008, aux_logits=False, init_weights=False)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if tensor.dim() > 1:
                gain = 20.0 if name.startswith("fc") else 2.0
                tensor.normal_(0.0, (gain / tensor[0].numel()) ** 0.5, generator=generator)
        for layer in model.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.momentum = None  # the plain mean over batches: here of one
        model.train()(RESIZES["tensorflow"].fit(pictures))
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(model.state_dict(), path)
    return path


# ---- theirs, from files


def torch_fidelity(folders: Folders, weights: Path, *, fid: bool = True) -> Numbers:
    """fid: its eigenvalues take ten seconds, however few the pictures."""
    from torch_fidelity import calculate_metrics

    found = calculate_metrics(
        input1=str(folders[0]),
        input2=str(folders[1]),
        feature_extractor="inception-v3-compat",  # its precision takes another unless told
        feature_extractor_weights_path=str(weights),
        fid=fid,
        kid=True,
        isc=True,
        prc=True,
        isc_splits=1,
        kid_subsets=SUBSETS,
        kid_subset_size=subset_size(folders),
        rng_seed=SEED,
        cuda=torch.cuda.is_available(),
        batch_size=16,
        save_cpu_ram=True,  # no further processes
        cache=False,
        verbose=False,
    )
    names = {
        "frechet_inception_distance": "fd",
        "kernel_inception_distance_mean": "kid",
        "inception_score_mean": "is",
        "precision": "precision",
        "recall": "recall",
    }
    return {ours: found[theirs] for theirs, ours in names.items() if theirs in found}


def clean_fid(folders: Folders, weights: Path) -> Numbers:
    """Its files, resize and distances, on the layers of the network that its own weights are of."""
    from cleanfid import fid

    first, second = clean_fid_features(folders, weights)
    return {"fd": float(fid.fid_from_feats(first, second))}


def clean_fid_features(folders: Folders, weights: Path) -> list[Array]:
    from cleanfid import fid
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    library = FeatureExtractorInceptionV3(
        "inception", ["2048"], feature_extractor_weights_path=str(weights)
    )
    layers = torch.nn.Sequential(*list(library.children())[:-1], torch.nn.Flatten())
    return [
        fid.get_folder_features(
            str(folder),
            lambda x: layers((x - 128) / 128),  # as its InceptionV3W
            num_workers=0,
            batch_size=16,
            device=torch.device("cpu"),
            verbose=False,
        )
        for folder in folders
    ]


def pytorch_fid(folders: Folders, weights: Path) -> Numbers:
    from pytorch_fid.fid_score import calculate_frechet_distance

    first, second = pytorch_fid_features(folders, weights)
    sides = [(x.mean(axis=0), np.cov(x, rowvar=False)) for x in (first, second)]
    return {"fd": float(calculate_frechet_distance(*sides[0], *sides[1]))}


def pytorch_fid_features(folders: Folders, weights: Path) -> list[Array]:
    import pytorch_fid.inception
    from pytorch_fid.fid_score import get_activations

    def loaded(*args: object, **kwargs: object) -> dict[str, torch.Tensor]:
        return torch.load(weights, weights_only=True)

    with mock.patch.object(pytorch_fid.inception, "load_state_dict_from_url", loaded):
        model = pytorch_fid.inception.InceptionV3()
    return [get_activations(sorted(f.iterdir()), model, 16, num_workers=0) for f in folders]


PACKAGES: dict[str, tuple[str, Callable[[Folders, Path], Numbers]]] = {  # and --resize
    "torch-fidelity": ("tensorflow", torch_fidelity),
    "clean-fid": ("clean", clean_fid),
    "pytorch-fid": ("pytorch", pytorch_fid),
}


def prdc(first: Array, second: Array) -> Numbers:
    """Of features, which is all that it takes; the second are real. k as the papers have it."""
    from prdc import compute_prdc

    shares, counts = (compute_prdc(second, first, nearest_k=k) for k in (K_SHARES, K_COUNTS))
    found = {name: shares[name] for name in ("precision", "recall")}
    return {name: float(value) for name, value in (counts | found).items()}


# ---- ours


def subset_size(folders: Folders) -> int:
    return min(1000, *(2 * len(list(folder.iterdir())) // 3 for folder in folders))


def subsets(n: int, m: int, size: int) -> list[tuple[Array, Array]]:
    """Those that torch-fidelity draws."""
    rng = np.random.RandomState(SEED)
    return [
        (rng.choice(n, size, replace=False), rng.choice(m, size, replace=False))
        for _ in range(SUBSETS)
    ]


def our_features(folders: Folders, network: Network, store: Path) -> list[Array]:
    sources = [
        safelight.prepare(folder, labels="none", split="100/0/0", out=store / folder.name)
        for folder in folders
    ]
    return [
        np.asarray(features_of(source, range(source.count), [network], store, 64)[0][:])
        for source in sources
    ]


def our_number(metric: str, first: Array, second: Array, network: Network, size: int) -> float:
    """Raises KeyError where we have no such metric."""
    if metric == "fd":  # the guard against too few images stands before this
        return frechet_distance(moments(first), moments(second))
    if metric == "kid":  # ours takes all pairs; on the subsets it must be theirs
        drawn = subsets(len(first), len(second), size)
        return float(np.mean([kernel_distance(first[i], second[j]).value for i, j in drawn]))
    if metric == "is":  # ours without the guard, as above
        return float(split_scores(first, network.head, splits=1)[0])
    row = METRICS[metric]
    if isinstance(row, Distance):
        return row.measure(first, second).value
    raise KeyError(metric)


def exact_distance(first: Array, second: Array) -> float:
    """FD by another way, for few pictures: tr (S_1 S_2)^½ is a sum of singular values.

    With n pictures a side and centred features A, B it is that of A Bᵀ, (n, n), over n - 1. Roots
    of the eigenvalues of S_1 S_2, which is singular here, are off by some 1e-5 (torch-fidelity).
    """
    means = [x.astype(np.float64).mean(axis=0) for x in (first, second)]
    A, B = first - means[0], second - means[1]
    traces = (A**2).sum() / (len(A) - 1) + (B**2).sum() / (len(B) - 1)
    crossed = np.linalg.svd(A @ B.T, compute_uv=False).sum()
    crossed /= ((len(A) - 1) * (len(B) - 1)) ** 0.5
    return float(((means[0] - means[1]) ** 2).sum() + traces - 2 * crossed)


# ---- side by side


def side_by_side(
    theirs: Numbers, ours: Callable[[str], float]
) -> dict[str, dict[str, float | str]]:
    found: dict[str, dict[str, float | str]] = {}
    for metric, value in theirs.items():
        try:
            mine = ours(metric)
        except KeyError:
            found[metric] = {"theirs": value, "ours": "no such metric"}
        except TooFewImages:
            found[metric] = {"theirs": value, "ours": "too few images"}
        else:
            found[metric] = {
                "theirs": value,
                "ours": mine,
                "relative difference": abs(mine - value) / abs(value) if value else abs(mine),
            }
    return found


def compare(
    package: str, folders: Folders, weights: Path, store: Path
) -> dict[str, dict[str, float | str]]:
    resize, measure = PACKAGES[package]
    os.environ[INCEPTION.place] = str(weights)
    network = inception(resize)
    first, second = our_features(folders, network, store)
    size = subset_size(folders)
    theirs = kept(
        store / f"{package}-{'-'.join(f.name for f in folders)}-{network.weights[:8]}.json",
        lambda: measure(folders, weights),
    )
    found = side_by_side(theirs, lambda m: our_number(m, first, second, network, size))
    found["fd"]["exact"] = exact_distance(first, second)
    if package != "torch-fidelity":
        return found
    of_features = side_by_side(
        prdc(first, second), lambda m: our_number(m, first, second, network, size)
    )
    return found | {f"{metric} (prdc)": row for metric, row in of_features.items()}


def kept(file: Path, measure: Callable[[], Numbers]) -> Numbers:
    """The numbers in the file, or else those that are measured now."""
    if not file.exists():
        write_json(file, measure())
    return json.loads(file.read_text())


def write_folders(cache: Cache, classes: Sequence[str], n: int, out: Path) -> Folders:
    """n pictures of each class as PNG, in the order of their names."""
    labels = cache.labels(range(cache.count))
    folders = []
    for name in classes:
        folder = out / f"{name}-{n}"
        folder.mkdir(parents=True, exist_ok=True)
        chosen = (labels == cache.classes.index(name)).nonzero().flatten()[:n].tolist()
        if len(chosen) < n:
            raise SystemExit(f"{cache.name} has {len(chosen)} pictures of {name}, not {n}")
        for i, image in enumerate(cache.images(chosen)):
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / f"{i:06d}.png")
        folders.append(folder)
    return folders[0], folders[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", help="pictures in colour, with classes")
    parser.add_argument("--classes", nargs=2, default=["cat", "frog"])
    parser.add_argument("--n", type=int, default=1_500)
    parser.add_argument("--packages", nargs="+", choices=PACKAGES, default=list(PACKAGES))
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    with contextlib.redirect_stdout(sys.stderr):  # what the commands say goes beside the JSON
        cache = safelight.prepare(
            options.source, classes=options.classes, out=options.out / "pictures"
        )
        folders = write_folders(cache, options.classes, options.n, options.out)
        weights = options.out / "weights.pth"
        if not weights.exists():
            random_inception(weights, cache.images(range(32)))
        found = {
            package: compare(package, folders, weights, options.out / "store")
            for package in options.packages
        }
    print(json.dumps({"n": options.n, "classes": options.classes, **found}, indent=2))


if __name__ == "__main__":
    main()
