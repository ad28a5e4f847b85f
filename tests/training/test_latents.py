"""Diffusion in the latents of an autoencoder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import safelight
from safelight import evaluate, report, sample
from safelight.cli import main
from safelight.config import Data, Optimiser, Sampling
from safelight.data.cache import Cache
from safelight.errors import DamagedFile, UserError
from safelight.images import dequantise
from safelight.nets import autoencoder as nets
from safelight.seeding import Draws, ImageNoise
from safelight.training.codec import DEVIATION
from safelight.training.latents import learnt_in
from safelight.training.run import Run
from safelight.training.train import train
from tests.refusals import refused
from tests.training.conftest import SELDOM, SMALL, coding, latent


@pytest.fixture(scope="module")
def run(coder: Run, digits: Cache, tmp_path_factory: pytest.TempPathFactory) -> Run:
    optimiser = Optimiser(batch=64, lr=2e-3, warmup=20)
    asked = latent(coder, budget="400steps", optimiser=optimiser, watch=SELDOM)
    return train(digits, asked, tmp_path_factory.mktemp("latent") / "run")


@pytest.mark.usefixtures("cpu")
def test_latents_are_scaled_and_come_back(coder: Run, digits: Cache) -> None:
    """K12: mean 0 and deviation one half in each channel; decoding undoes the scale."""
    latents = learnt_in(digits, latent(coder), None)
    assert latents is not None
    everything = np.arange(latents.count)
    z, _ = latents.read(everything, Draws(0, 0, everything), ImageNoise(everything.tolist()))
    assert torch.allclose(z.mean((0, 2, 3)), torch.zeros(3), atol=0.02)
    assert torch.allclose(z.std((0, 2, 3)), torch.full((3,), DEVIATION), atol=0.02)
    x = dequantise(digits.subset("test").images(range(30)))
    back = latents.codec.decode(latents.codec.encode(x))
    trained, _ = coder.model(coder.checkpoint(), "ema")
    assert torch.allclose(back, trained.decode(trained.encode(x)[0]), atol=1e-4)  # type: ignore[operator]


@pytest.mark.usefixtures("cpu")
def test_latents_are_encoded_once(
    coder: Run, digits: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """K12: they are kept in the cache folder, of mirrored pictures too, and drawn anew."""
    monkeypatch.setenv("SAFELIGHT_CACHE", str(tmp_path))
    first = learnt_in(digits, latent(coder), None)
    (kept,) = (tmp_path / "latents").iterdir()
    before = kept.stat().st_mtime_ns
    again = learnt_in(digits, latent(coder), None)
    assert kept.stat().st_mtime_ns == before
    assert first is not None and again is not None  # noqa: PT018
    places = np.arange(8)
    draws = Draws(0, 0, places)
    one, other = (each.read(places, draws, ImageNoise(range(8)))[0] for each in (first, again))
    assert torch.equal(one, other)
    assert not torch.equal(one, first.read(places, draws, ImageNoise(range(8, 16)))[0])
    kept.write_bytes(kept.read_bytes()[:-100])  # cut short: encoded again
    assert learnt_in(digits, latent(coder), None) is not None
    mirrored = learnt_in(digits, latent(coder, data=Data(flip=True)), None)
    assert mirrored is not None
    assert len(list((tmp_path / "latents").iterdir())) == 2
    trained, _ = coder.model(coder.checkpoint(), "ema")
    x = dequantise(digits.subset("train").images(range(8)))
    u = torch.from_numpy(draws.uniform("flip", 1))[..., None, None]
    mean, std = trained.encode(torch.where(u < 0.5, x.flip(-1), x))  # type: ignore[operator]
    wanted = mirrored.codec.scaled(mean + std * ImageNoise(range(8)).normal(3, 4, 4))
    found, _ = mirrored.read(places, draws, ImageNoise(range(8)))
    assert torch.allclose(found, wanted, atol=2e-3)


def test_latents_are_those_of_full_float32(
    coder: Run, digits: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B7, K12: they are kept, and TF32's ten bits of mantissa would be the first device's."""
    during, encode = [], nets.Autoencoder.encode

    def watched(self: nets.Autoencoder, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        during.append(torch.backends.cudnn.allow_tf32)
        return encode(self, x)

    monkeypatch.setattr(nets.Autoencoder, "encode", watched)
    monkeypatch.setenv("SAFELIGHT_CACHE", str(tmp_path))
    with torch.backends.cudnn.flags(allow_tf32=True):
        latents = learnt_in(digits, latent(coder), None)
        assert latents is not None
        encoded = len(during)
        latents.codec.encode(dequantise(digits.images(range(3))))
    assert 0 < encoded < len(during)
    assert not any(during)


def test_one_folder_draws_pictures(run: Run, digits: Cache, tmp_path: Path) -> None:
    """K12, B8: wherever it is moved; the original may be gone."""
    moved = Run.open(shutil.copytree(run.path, tmp_path / "moved"))
    config_file = moved.path / "config.yaml"
    config_file.write_text(config_file.read_text().replace("/coder", "/gone"))
    moved = Run.open(moved.path)
    source, there = moved.source(), run.source()
    assert source.shape == (1, 8, 8)
    images = source.images(range(10, 42))
    assert torch.equal(images, there.images(range(10, 42)))
    assert (images[7].int() - source.images([17])[0].int()).abs().max() <= 1
    folder = sample(moved.path, n=2, classes=["3"], out=tmp_path / "samples")
    assert (folder / "develop.png").is_file()
    found = evaluate(moved.path, metrics=("accuracy",), features="classifier", n=200)
    assert found.estimates[0].value > 0.5
    page = report(moved.path).read_text()
    assert "class-conditional" in page
    assert ", in the latents of gone, for" in page
    assert str(tmp_path.parent) not in page  # where its maker keeps their files
    looks = moved.records("validation")
    assert looks[-1]["mean"] < 0.9


def test_a_run_just_trained_is_the_same_source_as_when_it_is_opened(run: Run) -> None:
    assert run.source().fingerprint == Run.open(run.path).source().fingerprint


def test_a_folder_called_autoencoder_is_taken_for_a_copy_only_where_it_is_one(
    coder: Run, digits: Cache, tmp_path: Path
) -> None:
    """A run of the user's may be called so; a copy of before the plan was written is replaced."""
    shutil.copytree(coder.path, tmp_path / "runs" / "autoencoder")
    with pytest.raises(UserError, match="holds no run; choose another folder"):
        train(digits, latent(coder), tmp_path / "runs")
    assert Run.open(tmp_path / "runs" / "autoencoder").checkpoint()
    learnt = learnt_in(digits, latent(coder), None)
    assert learnt is not None
    learnt.codec.save(tmp_path / "killed")
    assert train(digits, latent(coder), tmp_path / "killed").summary.finished


def test_the_same_command_goes_on_without_the_original(
    coder: Run, digits: Cache, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """K12: the run has a copy of the autoencoder."""
    original, out = shutil.copytree(coder.path, tmp_path / "coder"), tmp_path / "run"
    told = ("train", digits.path, "--out", out, "--diffusion.autoencoder", original)
    words = [str(word) for word in (*told, "--budget", "2steps", "--memory", "1GB")]
    main(words)
    shutil.rmtree(original)
    main(words)
    assert "finished its 2 steps; nothing to do" in capsys.readouterr().err
    assert f"there is no folder {original}" in refused(
        capsys, *words[:3], tmp_path / "x", *words[4:]
    )


def test_a_damaged_copy_is_noticed(run: Run, tmp_path: Path) -> None:
    place = shutil.copytree(run.path, tmp_path / "run")
    about, weights = place / "autoencoder" / "autoencoder.json", place / "autoencoder"
    weights = weights / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-8])
    with pytest.raises(DamagedFile, match="cut short or edited; restore"):
        Run.open(place).source()
    weights.write_bytes(whole)
    values = json.loads(about.read_text())
    for wrong in ({"shape": "large"}, {"options": {"depth": 3}}, {"kind": "zip"}):
        about.write_text(json.dumps({**values, **wrong}))
        with pytest.raises(DamagedFile, match="was edited; restore"):
            Run.open(place).source()


def test_what_latents_can_not_do_is_refused(
    run: Run, coder: Run, digits: Cache, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line, exit status 2."""
    new, cache = tmp_path / "new", digits.path
    begun = ("train", cache, "--out", new)
    told = (*begun, "--diffusion.autoencoder")
    empty = tmp_path / "empty"
    empty.mkdir()
    cases = {
        ("edit", "invert", run.path, f"{cache}:test"): "the pictures themselves",
        ("evaluate", run.path, "--metrics", "bpd"): "bpd is the likelihood of pictures",
        ("edit", "invert", coder.path, f"{cache}:test"): "of the family autoencoder; this needs",
        ("sample", coder.path, "--steps", 5): "--steps is of diffusion models",
        (
            *("evaluate", coder.path, "--against", f"{cache}:validation"),
            *("--metrics", "kid"),
        ): "would be too small",
        ("evaluate", run.path, "--metrics", "psnr"): "gives none back",
        (*told, run.path): "name a run of the family autoencoder",
        (*told, empty): "config.json",
        (*told, tmp_path / "absent"): "absent",
        (*told, coder.path, "--data.shift", 1): "their latents are computed once",
        (*told, coder.path, "--diffusion.objective", "bound"): "latents have none",
        (*told, coder.path, "--net.widths", 8, 8, 8, 8): "4x4",
        (*begun, "--autoencoder.kl", 1): "--autoencoder.kl is of the family autoencoder",
        (*begun, "--preset", "autoencoder", "--net.widths", 8): "of the family diffusion",
        (*begun, "--preset", "autoencoder", "--recipe", "edm"): "leave one of the two out",
        (*begun, "--preset", "autoencoder", "--data.no-conditional"): "told no classes",
        (*begun, "--preset", "autoencoder", "--autoencoder.loss", "mean"): "squared, absolute",
        (*begun, "--preset", "autoencoder-8", "--autoencoder.widths", 8, 8, 8, 8): "16x16 pixels",
    }
    for words, message in cases.items():
        assert message in refused(capsys, *words), words
    assert not new.exists()


def test_a_weaker_model_in_other_latents_is_refused(
    run: Run, digits: Cache, tmp_path: Path
) -> None:
    other = train(digits, coding(seed=1), tmp_path / "other")
    beside = train(digits, latent(other), tmp_path / "beside")
    with pytest.raises(UserError, match="has another autoencoder"):
        run.source(Sampling(weaker=f"{beside.path}:12", guidance=1.5))


@pytest.mark.usefixtures("cpu")
@pytest.mark.parametrize("kind", ["AutoencoderKL", "AutoencoderTiny"])
def test_latents_of_diffusers_autoencoders(kind: str, digits: Cache, tmp_path: Path) -> None:
    """B8: the way of Stable Diffusion, from a local folder; the run has its own copy."""
    diffusers = pytest.importorskip("diffusers")
    shared = {"in_channels": 3, "out_channels": 3, "latent_channels": 4}
    options = {
        "AutoencoderKL": {
            **shared,
            "block_out_channels": [8, 8],
            "down_block_types": ["DownEncoderBlock2D"] * 2,
            "up_block_types": ["UpDecoderBlock2D"] * 2,
            "norm_num_groups": 4,
        },
        "AutoencoderTiny": {
            **shared,
            "encoder_block_out_channels": [8, 8],
            "decoder_block_out_channels": [8, 8],
            "num_encoder_blocks": [1, 1],
            "num_decoder_blocks": [1, 1],
        },
    }[kind]
    coder = getattr(diffusers, kind)(**options).eval()
    coder.save_pretrained(tmp_path / "coder")
    run = train(digits, latent(tmp_path / "coder", budget="2steps"), tmp_path / "run")
    shutil.rmtree(tmp_path / "coder")
    codec = Run.open(run.path).codec
    assert codec is not None
    assert codec.latent == (4, 4, 4)
    x = dequantise(digits.images(range(5)))
    with torch.no_grad():
        encoded = coder.encode(x.expand(-1, 3, -1, -1))
        z = encoded.latents if kind == "AutoencoderTiny" else encoded.latent_dist.mean
        wanted = coder.decode(z).sample.mean(1, keepdim=True)
    assert torch.allclose(codec.encode(x), codec.scaled(z), atol=1e-5)
    assert torch.allclose(codec.decode(codec.scaled(z)), wanted, atol=1e-5)
    assert run.source().images(range(3)).shape == (3, 1, 8, 8)


def test_from_python_an_autoencoder_is_named_too(
    coder: Run, digits: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The preset fits the latents, and the folder is another than that of pictures."""
    monkeypatch.chdir(tmp_path)
    run = safelight.train(digits, autoencoder=coder.path, budget="2steps")
    assert run.path == Path("runs") / "digits-latent-tiny"
    assert run.config.diffusion.autoencoder == str(coder.path)
    with pytest.raises(UserError, match="says whether there is an autoencoder"):
        safelight.train(digits, autoencoder=coder.path, config=SMALL)
