"""GANs in the same loop: losses, whose turn it is, resuming, collapse, what is refused."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from markupsafe import escape
from torch import nn

from safelight import evaluate, report, sample
from safelight.cli import main
from safelight.config import Config, Gan, Sampling
from safelight.data.cache import Cache
from safelight.errors import UserError
from safelight.images import ImageSource
from safelight.presets import PRESETS
from safelight.seeding import ImageNoise
from safelight.training.diversity import Diversity, warning
from safelight.training.gan import GAMES, GanLearner, build_learner
from safelight.training.learner import Problem, Turn, extras
from safelight.training.options import compares, require_heeded
from safelight.training.run import Run
from safelight.training.train import train
from safelight.training.trainer import Trainer
from tests.training.conftest import SELDOM, SMALL, plan
from tests.training.stopping import train_and_stop_at_seven, weights_hash

FULL = Gan(
    latent=12,
    widths=(16,),
    smoothing=0.1,
    noise=0.1,
    noise_until=0.5,
    spectral=True,
    augment=("colour", "translation", "cutout"),
)


def config(gan: Gan = FULL, **changes: Any) -> Config:
    usual = {"batch": 16}
    optimiser = PRESETS["dcgan"].optimiser.model_copy(update=usual)
    base = SMALL.model_copy(update={"family": "gan", "net": Config().net, "optimiser": optimiser})
    return base.model_copy(update={"gan": gan, **changes})


def learner(gan: Gan, classes: int = 10) -> GanLearner:
    return build_learner(config(gan), Problem((1, 8, 8), classes, 0.5))


@pytest.mark.parametrize("name", [n for n, p in PRESETS.items() if p.family == "gan"])
def test_every_preset_builds_and_says_nothing_in_vain(name: str) -> None:
    """K8, K9: plain, smoothed, noised, other widths; with classes and without."""
    preset = PRESETS[name]
    require_heeded(preset)
    for classes in (0, 2):
        build_learner(preset, Problem((3, 32, 32), classes, 0.5))


def test_the_losses_of_the_games() -> None:
    """K8: by hand, label smoothing 0.9 and 0.1 included."""
    real, generated = torch.tensor([2.0, -1.0]), torch.tensor([0.5, -3.0])

    def log_sigmoid(x: float) -> float:
        return -math.log1p(math.exp(-x))

    for smoothing in (0.0, 0.1):
        found = GAMES["cross-entropy"].discriminator(real, generated, smoothing)
        for r, g, loss in zip(real.tolist(), generated.tolist(), found.tolist(), strict=True):
            on_real = -(1 - smoothing) * log_sigmoid(r) - smoothing * log_sigmoid(-r)
            on_generated = -smoothing * log_sigmoid(g) - (1 - smoothing) * log_sigmoid(-g)
            assert loss == pytest.approx(on_real + on_generated, rel=1e-5)
    found = GAMES["cross-entropy"].generator(generated)
    assert found.tolist() == pytest.approx([-log_sigmoid(0.5), -log_sigmoid(-3.0)], rel=1e-5)
    assert GAMES["hinge"].discriminator(real, generated, 0).tolist() == [1.5, 2.0]
    assert GAMES["hinge"].generator(generated).tolist() == [-0.5, 3.0]


def test_smoothing_keeps_the_discriminator_from_certainty() -> None:
    """K8: its best logits are +-log 9 and not infinite."""
    logits = torch.zeros(2, requires_grad=True)
    for _ in range(2000):
        loss = GAMES["cross-entropy"].discriminator(logits[:1], logits[1:], 0.1).sum()
        (gradient,) = torch.autograd.grad(loss, logits)
        logits.data -= gradient
    assert logits.tolist() == pytest.approx([math.log(9), -math.log(9)], rel=1e-3)


def test_the_noise_on_what_is_judged_decays() -> None:
    """K8: linearly to nothing, or not at all."""
    falling, staying = learner(FULL), learner(FULL.model_copy(update={"noise_until": None}))
    shares = (0.0, 0.25, 0.5, 0.9)
    assert [falling.noise(s) for s in shares] == pytest.approx([0.1, 0.05, 0, 0])
    assert [staying.noise(s) for s in shares] == [0.1] * 4


@pytest.mark.parametrize("option", ["smoothing", "noise", "augment", "spectral", "loss"])
def test_every_option_changes_the_discriminators_loss(option: str, digits: Cache) -> None:
    """No dead option: the same seed, images and noise, another loss."""
    changed = {
        "smoothing": 0.1,
        "noise": 0.3,
        "augment": ("translation",),
        "spectral": True,
        "loss": "hinge",
    }
    plain = Gan(latent=12, widths=(16,))
    losses = []
    for gan in (plain, plain.model_copy(update={option: changed[option]})):
        made = Trainer(config(gan), plan(), digits, Accelerator())
        batch, noise = next(made.batches.at(0, 16))
        losses.append(made.learner(batch, noise, Turn("discriminator"))["loss"])
    assert not torch.allclose(losses[0], losses[1])


def test_each_phase_moves_its_own_network(digits: Cache) -> None:
    """One optimiser; what has no gradient keeps its weights, its moments and its count of steps."""
    made = Trainer(config(), plan(micro_batch=16), digits, Accelerator())
    networks = {"generator": made.learner.model, "discriminator": made.learner.discriminator}  # type: ignore[attr-defined]
    for phase in made.learner.phases:
        before = {
            name: [p.detach().clone() for p in net.parameters()] for name, net in networks.items()
        }
        made._update(phase)
        for name, net in networks.items():
            moved = [
                not torch.equal(a, b) for a, b in zip(before[name], net.parameters(), strict=True)
            ]
            assert all(moved) if name == phase else not any(moved), (phase, name)
    assert all(p.requires_grad for p in made.learner.parameters())
    assert {int(s["step"]) for s in made.optimiser.state.values()} == {1}
    assert compares(config())


@pytest.mark.usefixtures("cpu")
def test_stopping_and_resuming_gives_the_same_bits(
    digits: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X6: both networks, their normalisation and the optimiser."""
    straight = train(digits, config(), tmp_path / "straight")
    out = tmp_path / "stopped"
    train_and_stop_at_seven(digits, config(), out, monkeypatch)
    run = train(digits, config(), out)
    assert weights_hash(run) == weights_hash(straight)
    saved = run.checkpoint()
    assert any(name.startswith("discriminator.") for name in saved.extras())
    assert saved.extras().keys() == extras(learner(FULL)).keys()
    records = run.records("train")
    assert [r["step"] for r in records] == list(range(1, 13))
    assert {"discriminator loss", "generator loss"} <= records[0].keys()


@pytest.fixture(scope="module")
def run(digits: Cache, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A small one, trained until its digits vary."""
    gan = Gan(latent=16, widths=(32,))
    optimiser = PRESETS["dcgan"].optimiser.model_copy(update={"lr": 1e-3, "batch": 64})
    return train(
        digits,
        config(gan, optimiser=optimiser, budget="400steps", watch=SELDOM),
        tmp_path_factory.mktemp("gan") / "run",
    )


def test_a_gan_is_sampled_judged_and_reported_as_any_model(run: Run, tmp_path: Path) -> None:
    """K8, K9, K10: the same commands, the same folders."""
    source = run.source()
    assert isinstance(source, ImageSource)
    together = source.images(range(10, 42))
    assert (together[7].int() - source.images([17])[0].int()).abs().max() <= 1
    assert not torch.equal(together[6], together[16])
    folder = sample(run.path, n=2, classes=["3"], out=tmp_path / "samples")
    assert [p.name for p in sorted((folder / "3").iterdir())] == ["000003.png", "000013.png"]
    assert not (folder / "develop.png").exists()
    found = evaluate(run.path, metrics=("kid",), features="classifier", n=400)
    kid = found.estimates[0]
    assert 0 < kid.value < 1
    page = report(run.path).read_text()
    assert "class-conditional GAN" in page
    assert "Diversity of the images" in page
    assert "Generator loss" in page
    assert "From noise to picture" not in page


def test_a_gan_learns(run: Run) -> None:
    """K8: what it draws comes as near to real digits as these are to each other, or nearly."""
    averaged = [r for r in run.records("validation") if r["weights"] == "ema"]
    assert averaged[-1]["diversity"] > 0.3
    assert averaged[-1]["distance"] < 1.6
    assert run.warning() == ""


class Constant(nn.Module):
    """A generator whose images are one, or none."""

    latent = 3

    def __init__(self, image: torch.Tensor, spread: float) -> None:
        super().__init__()
        self.image, self.spread = image, spread

    def forward(self, z: torch.Tensor, y: torch.Tensor | None) -> torch.Tensor:
        noise = torch.stack([torch.full_like(self.image, float(row[0])) for row in z])
        return self.image + self.spread * noise


def test_collapse_and_divergence_are_noticed(digits: Cache) -> None:
    examiner = Diversity.of(digits, conditional=True, seed=0, device=torch.device("cpu"))
    one = digits.images([0])[0].float() / 127.5 - 1
    collapsed = examiner.look(Constant(one, 0.0), 64)
    assert collapsed["diversity"] == 0
    far = examiner.look(Constant(torch.full_like(one, 8.0), 0.1), 64)
    assert far["distance"] > 10
    astray = {"diversity": 1.5, "distance": far["distance"]}

    def told(*records: dict[str, float]) -> str:
        return warning([{"step": 10 * (i + 1), **r} for i, r in enumerate(records)], 100)

    well = {"diversity": 0.9, "distance": 1.1}
    assert told(well, well) == told(collapsed) == ""  # it begins with images that are alike
    assert "mode collapse: at step 20" in told(well, collapsed)
    assert "mode collapse: at step 50" in told(*[collapsed] * 5)
    assert "divergence: at step 20" in told(well, astray)


def test_a_real_collapse_is_told(
    digits: Cache, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A learning rate that is far too large; and the report says so too."""
    optimiser = PRESETS["dcgan"].optimiser.model_copy(update={"lr": 0.5, "batch": 32})
    lost = train(
        digits,
        config(Gan(latent=12, widths=(16,)), optimiser=optimiser, budget="40steps"),
        tmp_path / "lost",
    )
    told = capsys.readouterr().err
    assert told.count("mode collapse:") + told.count("divergence:") >= 1
    assert lost.warning()
    assert escape(lost.warning().capitalize()) in report(lost.path).read_text()


def test_what_a_gan_can_not_do_is_refused(
    run: Run, digits: Cache, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line, exit status 2."""
    new, cache = tmp_path / "new", digits.path
    gan = ("train", cache, "--out", new, "--preset", "dcgan")
    cases = {
        (
            "edit",
            "invert",
            run.path,
            f"{cache}:test",
        ): "is of the family gan; this needs a diffusion model",
        ("evaluate", run.path, "--metrics", "bpd"): "need a model's density",
        ("sample", run.path, "--steps", 5): "--steps is of diffusion models",
        ("sample", run.path, "--guidance", "1,2"): "--guidance is of diffusion models",
        (*gan, "--recipe", "ddpm"): "leave one of the two out",
        (*gan, "--net.widths", 8): "--net.widths is of the family diffusion",
        (*gan, "--gan.loss", "hinge", "--gan.smoothing", 0.1): "the hinge loss has none",
        (*gan, "--gan.label-channels", 4, "--data.no-conditional"): "there are none here; leave it",
        (*gan, "--gan.noise-until", 0.5): "there is none; leave it out",
        (*gan, "--gan.loss", "wasserstein"): "choose one of: cross-entropy, hinge",
        (*gan, "--gan.augment", "flip"): "choose one of: colour, translation, cutout",
        (*gan, "--gan.widths", 8, 8, 8, 8): "give as many --gan.widths",
        (*gan, "--optimiser.betas", "0.5,1"): "should be less than 1",
        (*gan, "--optimiser.name", "sgd"): "sgd has no betas",
        ("train", cache, "--out", new, "--gan.noise", 1): "--gan.noise is of the family gan",
        ("train", cache, "--out", new, "--family", "vae"): "leave --family out",
        ("train", cache, "--out", new, "--family", "gan"): "choose a preset of it: dcgan, dcgan-",
    }
    for words, message in cases.items():
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([str(word) for word in words])
        assert stop.value.code == 2, words
        (line,) = [ln for ln in capsys.readouterr().err.splitlines() if ln.startswith("safelight:")]
        assert message in line, (words, line)
    assert not new.exists()


def test_a_weaker_gan_is_refused(run: Run, digits: Cache, tmp_path: Path) -> None:
    """--weaker names diffusion models."""
    other = train(digits, SMALL, tmp_path / "diffusion")
    with pytest.raises(UserError, match="is of the family gan; this needs a diffusion model"):
        other.source(Sampling(weaker=f"{run.path}:400", guidance=1.5))


@pytest.mark.usefixtures("cpu")
def test_noise_of_an_image_is_its_own(digits: Cache) -> None:
    """B7: the loss of an image without normalisation does not depend on its company."""
    made = learner(Gan(latent=12, widths=(16,), spectral=True)).eval()
    batch, _ = next(Trainer(config(), plan(), digits, Accelerator()).batches.at(0, 16))
    whole = made(batch, ImageNoise(range(16)), Turn("discriminator"))["loss"]
    half = type(batch)(batch.images[8:], batch.labels[8:])  # type: ignore[index]
    part = made(half, ImageNoise(range(8, 16)), Turn("discriminator"))["loss"]
    assert torch.allclose(whole[8:], part, atol=1e-6)
