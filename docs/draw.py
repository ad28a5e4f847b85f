"""The pictures of docs/mathematics.md, drawn by the code that they explain, with its oracles.

    python docs/draw.py [--out FOLDER] [NAME ...]

draws all of them into docs/images, or those that are named. The same command draws the same
pictures again.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor

from safelight.diffusion.oracle import DatasetOracle, MixtureOracle
from safelight.diffusion.path import EXPLODING, FLOW, PRESERVING, diffuse, make_path
from safelight.diffusion.times import TIMES
from safelight.diffusion.weights import WEIGHTS, edm_weight
from safelight.samplers.ancestral import DDPM
from safelight.samplers.edm import Euler, Heun
from safelight.samplers.grids import karras, logsnr
from safelight.samplers.multistep import DPMSolver, UniPC
from safelight.samplers.state import Step
from safelight.samplers.trajectory import last, start, trajectory, walk
from safelight.seeding import ImageNoise, generator

IMAGES = Path(__file__).parent / "images"
INK, QUIET, RULE = "#1c1c1c", "#6b6b6b", "#e3e3e3"
COLOURS = ("#c62f2b", "#2a6f97", "#d98e04", "#4c8c4a", "#6d5a9c", "#7a7a7a")
STYLE = {
    "figure.facecolor": "white",
    "savefig.dpi": 144,
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.prop_cycle": mpl.cycler(color=COLOURS),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "text.color": INK,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}


def panels(columns: int, height: float, rows: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure as wide as the page's text, and its axes, row by row."""
    figure = Figure(figsize=(7.4, height), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


KINDS = {"preserving": PRESERVING, "flow": FLOW, "exploding": EXPLODING}
KIND_COLOURS = dict(zip(KINDS.values(), COLOURS, strict=False))
SHOWN_SCHEDULES = {  # and the style of each line: those of one kind differ
    "linear-continuous": "-",
    "scaled-linear-continuous": "-.",
    "cosine-continuous": ":",
    "flow": "-",
    "exploding-continuous": "-",
    "edm": "-.",
}


def schedules() -> Figure:
    """lambda over t for each schedule; alpha and sigma over lambda for each kind."""
    figure, (left, right) = panels(2, 3.4)
    t = torch.linspace(0.001, 0.999, 500, dtype=torch.float64)
    for name, style in SHOWN_SCHEDULES.items():
        path = make_path(name)
        left.plot(t, path.log_snr(t), style, color=KIND_COLOURS[path.kind], label=name)
    left.set(xlabel="time t", title="log-SNR λ of six schedules", ylim=(-14, 20))
    left.grid()
    left.legend(fontsize="small", loc="upper right", borderaxespad=0)
    log_snr = torch.linspace(-12, 12, 400, dtype=torch.float64)
    for name, kind in KINDS.items():
        right.plot(log_snr, kind.alpha(log_snr), color=KIND_COLOURS[kind], label=name)
        right.plot(log_snr, kind.sigma(log_snr), "--", color=KIND_COLOURS[kind])
    right.set(xlabel="log-SNR λ", title="α (solid) and σ (dashed) of the kinds", ylim=(-0.05, 1.6))
    right.invert_xaxis()  # time runs to the right in both
    right.grid()
    right.legend(loc=(0.6, 0.22))
    return figure


def denoiser() -> Figure:
    """Digits that the set does not hold, noised; the guess of the set's exact denoiser; the set's
    nearest."""
    path = make_path("edm")
    digits = torch.from_numpy(load_digits().images).float()[:, None] / 8 - 1
    known = digits[:1700]
    oracle = DatasetOracle(path, known)
    levels = torch.tensor([0.1, 0.3, 0.5, 0.7, 1.0, 1.5, 2.5, 5.0])
    times = path.time(levels**-2)
    figure, axes = panels(len(levels) + 2, 3.4, rows=4)
    rows = [axes[i : i + len(levels) + 2] for i in range(0, len(axes), len(levels) + 2)]
    for i, x_0 in enumerate(digits[[1717, 1764]]):
        nearest = known[(known - x_0).square().sum((1, 2, 3)).argmin()]
        noise = ImageNoise([i] * len(levels)).normal(1, 8, 8)
        x_t = diffuse(path, x_0.expand(len(levels), -1, -1, -1), times, noise)
        _pictures(rows[2 * i], [x_0, *x_t, None])
        _pictures(rows[2 * i + 1], [None, *oracle(x_t, times), nearest])
    titles = ["given", *(f"τ = {level:g}" for level in levels.tolist()), "nearest\nin the set"]
    for axis, title in zip(rows[0], titles, strict=True):
        axis.set_title(title, loc="center", fontsize="small")
    for row, label in zip(rows, ("noised", "guess") * 2, strict=True):
        row[1].set_ylabel(label)
    return figure


def _pictures(axes: Sequence[Axes], images: Sequence[Tensor | None]) -> None:
    """Each (1, h, w) on its axis, dark as ink; no axis where there is none."""
    for axis, image in zip(axes, images, strict=True):
        axis.set(xticks=[], yticks=[], frame_on=False)
        if image is not None:
            axis.imshow(image[0], cmap="gray_r", vmin=-1, vmax=1)


class Training(NamedTuple):
    """What of a training decides which noise levels it cares about."""

    path: str
    times: str
    mean: float  # and deviation, of the times' normal distribution
    std: float
    weight: str


TRAININGS = {
    "linear path, simple": Training("linear-continuous", "uniform", 0.0, 1.0, "simple"),
    "cosine path, simple": Training("cosine-continuous", "uniform", 0.0, 1.0, "simple"),
    "cosine path, min-snr": Training("cosine-continuous", "uniform", 0.0, 1.0, "min-snr"),
    "flow, uniform": Training("flow", "uniform", 0.0, 1.0, "flow"),
    "flow, logit-normal": Training("flow", "logit-normal", 0.0, 1.0, "flow"),
    "EDM": Training("edm", "lognormal", -1.2, 1.2, "edm"),
}


def weights() -> Figure:
    """Shares of the loss by log-SNR, for a network that only knows the best linear guess."""
    sigma_data, edges = 0.5, torch.linspace(-10, 10, 301)
    u = (torch.arange(200_000) + 0.5) / 200_000
    figure, (axis,) = panels(1, 3.1)
    for label, training in TRAININGS.items():
        path = make_path(training.path)
        times = TIMES[training.times](path, training.mean, training.std)
        log_snr = path.log_snr(times(path, u).t)
        level = (-log_snr / 2).exp()
        # That guess errs by out² of the row edm, which is one over EDM's weight.
        cost = WEIGHTS[training.weight](5.0)(level, sigma_data) / edm_weight(level, sigma_data)
        share = torch.histogram(log_snr, edges, weight=cost / cost.sum()).hist
        axis.plot((edges[1:] + edges[:-1]) / 2, share / edges.diff(), label=label)
    title = f"density of the loss, $σ_d$ = {sigma_data:g}"
    axis.set(xlabel="log-SNR λ", title=title, xlim=(10, -10))
    axis.grid()
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure


SOLVERS: dict[str, Step] = {
    "euler = ddim (order 1)": Euler(),
    "heun (2)": Heun(),
    "dpm++ (2)": DPMSolver(),
    "unipc (3)": UniPC(),
    "unipc, solver order 3 (4)": UniPC(3),
}


def orders() -> Figure:
    """Errors of the deterministic solvers on a mixture, from the level 20 to 0.05."""
    path = make_path("cosine")
    means = torch.tensor([-0.8, 0.1, 0.9], dtype=torch.float64).reshape(3, 1, 1, 1)
    oracle = MixtureOracle(path, means, torch.tensor(0.3))
    eps = torch.linspace(-2, 2, 41, dtype=torch.float64).reshape(-1, 1, 1, 1)

    def solve(step: Step, n: int) -> Tensor:
        times = logsnr(path, n + 1, low=0.05, high=20.0)[:-1]
        begin = start(path, times, eps)
        return last(walk(step, oracle, path, begin, times[1:], ImageNoise([])))

    truth, counts = solve(UniPC(3), 2000), [8, 16, 32, 64, 128, 256]
    figure, (axis,) = panels(1, 3.3)
    for label, step in SOLVERS.items():
        calls = 2 if isinstance(step, Heun) else 1  # for each step
        errors = [float((solve(step, n // calls) - truth).abs().mean()) for n in counts]
        axis.loglog(counts, errors, "o-", label=label, markersize=4)
    axis.set(xlabel="network calls", title="mean error", xticks=counts, xticklabels=counts)
    axis.minorticks_off()
    axis.grid()
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def trajectories() -> Figure:
    """One pixel that is dark or bright: ways back by the ODE, and with fresh noise."""
    path = make_path("cosine")
    means = torch.tensor([-1.0, 0.8], dtype=torch.float64).reshape(2, 1, 1, 1)
    oracle = MixtureOracle(path, means, torch.tensor(0.12), torch.tensor([1.0, 1.6]))
    times = torch.arange(200, -1, -1, dtype=torch.float64) / 200
    quantiles = (torch.arange(10, dtype=torch.float64) + 0.5) / 10
    starts = torch.special.ndtri(quantiles).reshape(-1, 1, 1, 1)
    figure, axes = panels(2, 3.1)
    ways: dict[str, Step] = {"the ODE (heun)": Heun(), "fresh noise (ddpm)": DDPM()}
    for axis, (title, step) in zip(axes, ways.items(), strict=True):
        _density(axis, oracle, times[:-1])
        noise = ImageNoise(range(100, 100 + len(starts)))
        ends = trajectory(step, oracle, path, times, starts, noise)
        values = torch.stack([state.x.flatten() for state in ends])
        axis.plot(times, values, color=COLOURS[0], linewidth=0.9)
        axis.set(xlabel="time t", title=title, xlim=(1, 0), ylim=(-2.6, 2.6))
    axes[0].set_ylabel("$x_t$")
    return figure


def _density(axis: Axes, oracle: MixtureOracle, times: Tensor) -> None:
    """p_t(x) over t, each time's as a share of its largest."""
    x = torch.linspace(-2.6, 2.6, 300, dtype=torch.float64)
    columns = [oracle.log_density(x.reshape(-1, 1, 1, 1), t) for t in times]
    log_density = torch.stack(columns, dim=1)
    share = (log_density - log_density.amax(0)).exp().sqrt()
    axis.pcolormesh(times, x, share, cmap="Greys", vmax=1.6, rasterized=True)


def guidance() -> Figure:
    """Pictures of two pixels and of three classes that overlap; the samples of one class."""
    path = make_path("edm")
    means = torch.tensor([[-0.5, -0.3], [0.5, -0.3], [0.0, 0.5]]).reshape(3, 1, 1, 2)
    every = MixtureOracle(path, means, torch.tensor(0.35))
    eps = torch.randn(1200, 1, 1, 2, generator=generator(0))
    figure, axes = panels(3, 2.9)
    for axis, weight in zip(axes, (1.0, 2.0, 4.0), strict=True):
        for mean, colour in zip(means, COLOURS, strict=False):
            one = MixtureOracle(path, mean[None], torch.tensor(0.35))

            def guided(
                x: Tensor, t: Tensor, one: MixtureOracle = one, weight: float = weight
            ) -> Tensor:
                return torch.lerp(every(x, t), one(x, t), weight)

            ends = trajectory(Heun(), guided, path, karras(path, 24), eps, ImageNoise([0]))
            x, y = last(ends).reshape(-1, 2).unbind(1)
            axis.scatter(x, y, s=2.5, color=colour, alpha=0.5, linewidths=0)
            axis.plot(*mean.flatten(), "o", color="white", markeredgecolor=INK, markersize=5)
        axis.set(title=f"guidance {weight:g}", xlim=(-2.1, 2.1), ylim=(-1.9, 2.3), aspect="equal")
        axis.set_xlabel("pixel 1")
        axis.grid()
    axes[0].set_ylabel("pixel 2")
    return figure


FIGURES: dict[str, Callable[[], Figure]] = {
    "schedules": schedules,
    "denoiser": denoiser,
    "weights": weights,
    "orders": orders,
    "trajectories": trajectories,
    "guidance": guidance,
}


def draw(names: Sequence[str], folder: Path) -> list[Path]:
    """Draw these of `FIGURES` into `folder`."""
    paths = []
    for name in names:
        with mpl.rc_context(STYLE):
            drawn = BytesIO()
            FIGURES[name]().savefig(drawn)
        paths.append(folder / f"{name}.png")
        # 128 colours look the same and are a third of the file.
        Image.open(drawn).convert("RGB").quantize(128).save(paths[-1], optimize=True)
    return paths


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Draw the pictures of docs/mathematics.md.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(FIGURES)}")
    parser.add_argument("--out", type=Path, default=IMAGES)
    options = parser.parse_args()
    draw(options.names or list(FIGURES), options.out)
