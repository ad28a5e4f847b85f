"""Autoencoders in the same loop."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from safelight import compare, evaluate, report, sample
from safelight.config import Autoencoder
from safelight.data.cache import Cache
from safelight.data.prepare import prepare
from safelight.errors import UserError
from safelight.images import ImageSource, Restoring, dequantise, psnr
from safelight.seeding import ImageNoise
from safelight.training.autoencoder import build_learner, divergence
from safelight.training.batches import Batch
from safelight.training.learner import Problem, Turn
from safelight.training.run import Run
from safelight.training.train import train
from tests.refusals import refused
from tests.training.conftest import coding, latent
from tests.training.stopping import train_and_stop_at_seven, weights_hash


def test_the_loss_is_the_bound(digits: Cache) -> None:
    """K12: the error of what comes back and the divergence, by hand and by torch."""
    mean, std = torch.randn(4, 2, 3, 3), torch.rand(4, 2, 3, 3) + 0.1
    normal = torch.distributions.Normal
    kl = torch.distributions.kl_divergence(normal(mean, std), normal(0.0, 1.0)).sum((1, 2, 3))
    assert torch.allclose(divergence(mean, std), kl, rtol=1e-5)
    images = dequantise(digits.images(range(4)))
    for loss, power in (("squared", 2), ("absolute", 1)):
        options = Autoencoder(channels=3, widths=(8,), blocks=1, loss=loss, kl=0.01)
        learner = build_learner(coding(autoencoder=options), Problem((1, 8, 8), 0, 0.5))
        found = learner(Batch(images, None), ImageNoise(range(4)), Turn("autoencoder"))["loss"]
        eps = ImageNoise(range(4)).normal(3, 4, 4)
        mean, std = learner.model.encode(images)
        error = (images - learner.model.decode(mean + std * eps)).abs() ** power
        wanted = error.flatten(1).mean(1) + 0.01 * divergence(mean, std) / 64
        assert torch.allclose(found, wanted, atol=1e-6)


def test_an_autoencoder_learns_and_is_judged_as_any_model(coder: Run, tmp_path: Path) -> None:
    """K12: held-out digits come back; the same commands, the same folders."""
    looks = [r for r in coder.records("validation") if r["weights"] == "ema"]
    assert looks[-1]["reconstruction"] > 20 > looks[0]["reconstruction"]
    source = coder.source()
    assert isinstance(source, ImageSource)
    assert isinstance(source, Restoring)
    assert source.count == coder.cache().subset("validation").count
    assert (source.images([7])[0].int() - source.images(range(20))[7].int()).abs().max() <= 1
    kid, ratio = evaluate(coder.path, metrics=("kid", "psnr"), features="classifier").estimates
    assert ratio.name == "PSNR (dB)"
    assert ratio.n == source.count
    every = psnr(
        dequantise(source.images(range(ratio.n))),
        dequantise(source.pictures.images(range(ratio.n))),
    )
    assert ratio.value == pytest.approx(float(every.mean()), rel=1e-5)
    assert ratio.low < ratio.value < ratio.high
    assert ratio.value == pytest.approx(looks[-1]["reconstruction"], abs=0.5)
    assert kid.value < 0.2
    folder = sample(coder.path, n=12, out=tmp_path / "samples")
    assert (folder / "compare.png").is_file()
    page = report(coder.path).read_text()
    assert "An autoencoder of" in page
    assert "PSNR of held-out pictures" in page


@pytest.mark.usefixtures("cpu")
def test_stopping_and_resuming_gives_the_same_bits(
    coder: Run, digits: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X6: the autoencoder, and the model in its latents."""
    for name, asked in (("coder", coding()), ("latent", latent(coder))):
        straight = train(digits, asked, tmp_path / f"{name}-straight")
        stopped = tmp_path / f"{name}-stopped"
        train_and_stop_at_seven(digits, asked, stopped, monkeypatch)
        assert weights_hash(train(digits, asked, stopped)) == weights_hash(straight)


def test_few_held_out_pictures_are_enough(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """K12: fewer than a contact sheet, a page or `sample` show of a model."""
    few = prepare("digits", out=tmp_path / "few", per_class=4, split="50/25/25")
    run = train(few, coding(budget="2steps"), tmp_path / "run")
    count = run.source().count
    assert count is not None
    assert 2 <= count < 32
    folder = sample(run.path)
    assert len(list(folder.glob("0*.png"))) == count
    page = report(run.path).read_text()
    assert f"the first {count}, none left out" in page
    assert f'title="picture {count - 1}, restored"' in page
    assert f"-n {count} --seed 0" in page
    for more in (("-n", count + 1), ("-n", 1, "--seed", count), ("-n", 1, "--seed", -1)):
        assert f"0 to {count - 1}; choose" in refused(capsys, "sample", run.path, *more)


def test_the_page_of_an_autoencoder_does_not_speak_of_generated_pictures(coder: Run) -> None:
    page = report(coder.path).read_text()
    for said in ("Nearest training pictures", "Each class", "noise level", "seed 0"):
        assert said not in page.split('id="reproduce"')[0]


def test_the_better_autoencoder_is_the_one_with_the_higher_psnr(
    coder: Run, digits: Cache, tmp_path: Path
) -> None:
    worse = train(digits, coding(), tmp_path / "worse")
    for each in (worse, coder):
        evaluate(each.path, metrics=("psnr",))
    (found,) = compare(worse.path, coder.path)
    assert found.estimates[0][0] == str(coder.path)
    assert found.sentences[0].startswith(f"{coder.path} is better than {worse.path} by")


def test_held_out_pictures_are_shown_in_a_drawn_order(coder: Run) -> None:
    """Stored ones stand class by class, and a preview of daisies alone tells little."""
    source, stored = coder.source(), coder.cache().subset("validation")
    assert isinstance(source, Restoring)
    everything = range(stored.count)
    labels, in_order = source.pictures.labels(everything), stored.labels(everything)
    assert labels is not None
    assert in_order is not None
    assert not torch.equal(labels, in_order)
    assert torch.equal(labels.sort().values, in_order.sort().values)
    assert len(set(labels[:12].tolist())) > 3
    with pytest.raises(UserError, match=f"has the pictures 0 to {stored.count - 1}, not"):
        source.images([stored.count])


def test_without_a_validation_split_distances_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pictures would be compared with themselves; what can be known of them is."""
    cache = prepare("digits", out=tmp_path / "digits", split="75/0/25")
    run = train(cache, coding(budget="2steps"), tmp_path / "run")
    (found,) = evaluate(run.path).estimates
    assert found.protocol.metric == "psnr"
    assert "left out: fd, kid, accuracy, since" in " ".join(capsys.readouterr().err.split())
    with pytest.raises(UserError, match="would be too small"):
        evaluate(run.path, metrics=("kid",))
