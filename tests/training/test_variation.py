"""How what is learnt from is varied: picture by picture, and from the option to the network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from safelight import edit, evaluate
from safelight.config import Config, Data, Diffusion, Net, Sampling
from safelight.data.augment import crop, flip, turn
from safelight.data.cache import Cache
from safelight.data.mirror import Symmetry
from safelight.diffusion.denoiser import Denoiser
from safelight.editing.tasks import ImageToImage
from safelight.errors import UserError
from safelight.images import dequantise, quantise
from safelight.nets.nonleaky import LABELS
from safelight.reporting.page import report
from safelight.seeding import Draws, ImageNoise
from safelight.training.batches import Batch, Batches, Pictures
from safelight.training.diffusion import build_learner
from safelight.training.learner import Problem, Turn
from safelight.training.networks import build_net
from safelight.training.options import VARYING, require_heeded
from safelight.training.run import Run
from safelight.training.train import train
from safelight.training.variation import require_fitting, varied
from tests.nets.stirring import stirred
from tests.training.conftest import SMALL

CPU = torch.device("cpu")
DRAWS = Draws(1, 2, np.arange(60))
NETS = {
    "unet": Net(widths=(4, 8), blocks=1),
    "classic": Net(kind="classic", widths=(4, 8, 4), blocks=1),
    "transformer": Net(kind="transformer", widths=(8,), blocks=1),
    "plain": Net(kind="plain", widths=(4, 8)),
}


def pictures(n: int = 60, side: int = 8) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 256, (n, 3, side, side), np.uint8)


def levels(options: Data, images: np.ndarray) -> np.ndarray:
    x, _ = varied(images, options, DRAWS, CPU)
    back: np.ndarray = quantise(x).numpy()
    assert torch.equal(dequantise(torch.from_numpy(back)), x)  # of 256 levels, whatever is done
    return back


def test_nothing_is_done_unless_asked() -> None:
    x = pictures()
    assert (levels(Data(), x) == x).all()
    assert varied(x, Data(), DRAWS, CPU)[1] is None


def test_each_choice_has_its_own_numbers() -> None:
    """F2: cropped, then mirrored, then turned; a choice does not change what another does."""
    x = pictures()
    u = {name: DRAWS.uniform(name, n) for name, n in (("flip", 1), ("crop", 2), ("turn", 1))}
    assert (levels(Data(flip=True), x) == flip(x, u["flip"][:, 0])).all()
    wanted = crop(x, u["crop"], 6, 6, pad=1)
    assert (levels(Data(shift=1, crop="6"), x) == wanted).all()
    wanted = flip(wanted, u["flip"][:, 0])
    assert (levels(Data(flip=True, shift=1, crop="6"), x) == wanted).all()
    wanted = turn(wanted, u["turn"][:, 0])
    everything = Data(flip=True, shift=1, crop="6", turn=True)
    assert (levels(everything, x) == wanted).all()
    hidden = levels(everything.model_copy(update={"cutout": 2}), x)
    assert ((hidden == wanted) | (hidden == 128)).all()


class Largest(Draws):
    """All that it draws is the number below 1."""

    def uniform(self, purpose: str, n: int) -> np.ndarray:
        return np.full((60, n), 1 - 2.0**-53)


def test_the_largest_draw_is_below_one() -> None:
    """F2: as float32 it would be 1, whose normal number is infinite: a run that can't go on."""
    draws = Largest(0, 0, np.arange(60))
    choices = Data(flip=True, shift=1, turn=True, jitter=0.1, cutout=2, augment=0.12)
    x, told = varied(pictures(), choices, draws, CPU)
    assert told is not None
    assert x.isfinite().all()
    assert told.isfinite().all()


def test_a_hole_is_a_grey_square() -> None:
    """Of so many pixels in each direction, or fewer at an edge."""
    x = np.zeros((60, 3, 8, 8), np.uint8)
    found = levels(Data(cutout=3), x)
    assert set(found.ravel()) == {0, 128}
    rows, columns = ((found[:, 0] == 128).any(axis) for axis in (2, 1))
    assert (rows.sum(1) * columns.sum(1) == (found[:, 0] == 128).sum((1, 2))).all()
    assert rows.sum(1).max() == columns.sum(1).max() == 3
    assert rows.any(0).all()
    assert columns.any(0).all()


def test_jitter_is_as_strong_as_asked() -> None:
    """A plain grey stays plain and grey, and moves by a tenth of the range and of its contrast."""
    grey = np.full((60, 3, 4, 4), 100, np.uint8)
    found = levels(Data(jitter=0.1), grey).astype(int)
    assert (found == found[:, :1, :1, :1]).all()
    assert np.abs(found - 100).max() <= 26
    assert np.abs(found - 100).max() >= 20
    two = np.zeros((60, 3, 2, 2), np.uint8)
    two[..., 0], two[..., 1] = 88, 168
    contrast = np.ptp(levels(Data(jitter=0.1), two).astype(int), axis=(1, 2, 3)) / 80
    assert contrast.min() >= 0.88
    assert contrast.max() <= 1.12
    assert np.ptp(contrast) > 0.15
    assert (levels(Data(jitter=1.0), pictures()) <= 255).all()


def test_what_is_told_is_of_the_picture_that_it_stands_by() -> None:
    """Those whose labels are zero are as they were; with flips untold, no flip is told."""
    x = pictures()
    changed, labels = varied(x, Data(augment=0.3), DRAWS, CPU)
    assert labels is not None
    assert labels.shape == (60, LABELS)
    untold = (labels == 0).all(1)
    assert 0 < int(untold.sum()) < 60
    assert (quantise(changed).numpy() == x).all((1, 2, 3)).tolist() == untold.tolist()
    _, with_flips = varied(x, Data(augment=0.3, flip=True), DRAWS, CPU)
    assert with_flips is not None
    assert (with_flips[:, 0] == 0).all()
    assert torch.equal(with_flips[:, 1:], labels[:, 1:])
    assert (labels[:, 1] == 0).all()
    _, upside_down = varied(x, Data(augment=1.0, upside_down=True), DRAWS, CPU)
    assert upside_down is not None
    assert 0 < upside_down[:, 1].sum() < 60


# The network


def net(kind: str, told: bool) -> nn.Module:
    return build_net(NETS[kind], (1, 8, 8), 3, varied=LABELS if told else 0)


@pytest.mark.parametrize("kind", NETS)
def test_zero_labels_add_exactly_nothing(kind: str) -> None:
    """The same bits as the network that is never told, of the same first weights."""
    torch.manual_seed(0)
    plain = net(kind, told=False)
    torch.manual_seed(0)
    telling = net(kind, told=True)
    both, own = plain.state_dict(), telling.state_dict()
    assert {name: own[name].tolist() for name in both} == {n: w.tolist() for n, w in both.items()}
    assert set(own) - set(both) == {"embed_change.weight"}
    x, level, y = torch.randn(4, 1, 8, 8), torch.linspace(-1, 1, 4), torch.tensor([0, 1, 2, 3])
    telling = stirred(lambda: telling).eval()
    plain.load_state_dict({name: telling.state_dict()[name] for name in both})
    with torch.no_grad():
        wanted = plain.eval()(x, level, y)
        assert torch.equal(telling(x, level, y), wanted)
        assert torch.equal(telling(x, level, y, torch.zeros(4, LABELS)), wanted)
        labels = torch.zeros(4, LABELS)
        labels[2, 4] = 0.5
        apart = (telling(x, level, y, labels) != wanted).flatten(1).any(1)
    assert apart.tolist() == [False, False, True, False]


@pytest.mark.parametrize("kind", ["reference", "lucidrains"])
def test_networks_of_others_can_not_be_told(kind: str) -> None:
    with pytest.raises(UserError, match=f"{kind} cannot be told how .* leave --data.augment out"):
        build_net(Net(kind=kind), (1, 8, 8), 0, varied=LABELS)


@pytest.mark.parametrize("objective", ["denoising", "bound", "denoising+mmd"])
def test_the_learner_tells_the_network(objective: str) -> None:
    """And what is drawn with is untold: the same weights without their last layer."""
    diffusion = Diffusion(objective=objective, label_dropout=0.0)
    config = SMALL.model_copy(update={"data": Data(augment=0.5), "diffusion": diffusion})
    learner = build_learner(config, Problem((1, 8, 8), 0, 0.5))
    told: list[Tensor | None] = []
    forward = learner.model.net.forward
    learner.model.net.forward = lambda x, c, y=None, varied=None: (  # type: ignore[method-assign]
        told.append(varied),
        forward(x, c, y, varied),
    )[1]
    labels = torch.randn(4, LABELS)
    batch = Batch(torch.rand(4, 1, 8, 8), None, labels)
    learner(batch, ImageNoise(range(4)), Turn("denoiser"))["loss"].sum().backward()
    assert len(told) == 1
    assert told[0] is labels
    assert isinstance(learner.model, Denoiser)
    learner.model(torch.rand(2, 1, 8, 8), torch.tensor([0.3, 0.5]))
    assert told[1] is None


# A run

ALL = Data(
    flip=False, shift=1, crop="6", turn=True, jitter=0.1, cutout=2, augment=0.5, upside_down=True
)


def with_data(data: Data, **changes: Any) -> Config:
    net = SMALL.net.model_copy(update={"attention": ()})
    return SMALL.model_copy(update={"data": data, "net": net, **changes})


def test_micro_batches_and_processes_see_the_batch(digits: Cache) -> None:
    """X5, X16: whatever pictures are varied by."""
    examples = Pictures(digits.subset("train"), ALL, CPU)
    ((whole, _),) = Batches(examples, size=12, seed=3).at(5, 12)
    assert whole.images.shape == (12, 1, 6, 6)
    assert whole.varied is not None
    for rank in (0, 1):
        parts = [b for b, _ in Batches(examples, size=12, seed=3, rank=rank, processes=2).at(5, 4)]
        assert len(parts) == 2
        assert torch.equal(torch.cat([part.images for part in parts]), whole.images[rank::2])
        told = torch.cat([part.varied for part in parts if part.varied is not None])
        assert torch.equal(told, whole.varied[rank::2])


@pytest.fixture(scope="module")
def cropped(digits: Cache, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of 6x6 pixels on pictures of 8x8, with everything else."""
    return train(digits, with_data(ALL), tmp_path_factory.mktemp("cropped") / "run")


def test_a_run_that_learns_from_parts_draws_parts(cropped: Run, digits: Cache) -> None:
    """F2: its own pictures are then their centres, wherever they are looked at."""
    assert cropped.file.shape == (1, 6, 6)
    assert cropped.file.fingerprint == digits.subset("train").fingerprint
    assert cropped.source(Sampling(steps=2)).images([0]).shape == (1, 1, 6, 6)
    seen = cropped.cache().subset("validation")
    assert seen.name == "digits 6x6:validation"
    everything = digits.subset("validation").read(np.arange(seen.count))
    assert (seen.read(np.arange(seen.count)) == everything[:, :, 1:7, 1:7]).all()
    assert len(cropped.records("validation")) == 4


def test_a_run_that_learns_from_parts_is_judged_by_them(cropped: Run, digits: Cache) -> None:
    """F2, X1: also where its own cache is named; and the report and edits take it so."""
    quick = {"features": "pixels", "metrics": ("kid",), "n": 20, "sampling": Sampling(steps=2)}
    found = evaluate(cropped.path, **quick)  # type: ignore[arg-type]
    again = evaluate(cropped.path, against=f"{digits.path}:test", **quick)  # type: ignore[arg-type]
    assert found.against == again.against == "digits 6x6:test"
    assert found.estimates == again.estimates
    changed = edit(cropped.path, f"{digits.path}:test", ImageToImage(), n=1)
    assert (changed / "sheet.png").is_file()
    page = report(cropped).read_text()
    assert "digits 6x6" in page
    assert "--data.crop 6" in page


def test_the_same_weights_again(cropped: Run, digits: Cache, tmp_path: Path) -> None:
    """B7: every number that varies a picture is a function of the seed."""
    again = train(digits, with_data(ALL), tmp_path / "again")
    files = [run.checkpoint().state().files["model.safetensors"] for run in (cropped, again)]
    assert files[0] == files[1]


def test_whether_pictures_are_mirrored_is_decided_and_kept(
    digits: Cache, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    """F2: by the pictures, where nothing is said; resumed, a run stays what it is."""
    short = {"budget": "2steps"}
    run = train(digits, with_data(Data(), **short), tmp_path / "digits")
    assert run.config.data.flip is False
    assert "pictures are not mirrored: 9" in capsys.readouterr().err
    monkeypatch.setattr("safelight.training.train.symmetry", lambda cache: Symmetry(500, 0.51))
    assert train(digits, with_data(Data(), **short), run.path).config.data.flip is False
    assert "mirrored" not in capsys.readouterr().err
    photographs = train(digits, with_data(Data(), **short), tmp_path / "photographs")
    assert photographs.config.data.flip is True
    assert "half of the pictures are mirrored: 51.0 % of 500" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"data.flip is True there and False here"):
        train(digits, with_data(Data(flip=False), **short), photographs.path)
    assert train(digits, with_data(Data(flip=False), **short), tmp_path / "said").config.data == (
        Data(flip=False)
    )
    assert "mirrored" not in capsys.readouterr().err


# What is refused


@pytest.mark.parametrize(
    ("options", "shape", "remedy"),
    [
        ({"crop": "8"}, (1, 8, 8), "--data.crop 8 is all of each picture; leave it out"),
        ({"turn": True}, (1, 8, 6), "square pictures, and these are 6x8; .* --data.crop 6"),
        ({"turn": True, "crop": "4x6"}, (1, 8, 8), "square pictures, and these are 4x6"),
        ({"cutout": 8}, (1, 8, 8), "would hide most of a picture of 8x8; give less, such as 2"),
        ({"cutout": 5, "crop": "5x8"}, (1, 9, 9), "would hide most of a picture of 5x8"),
    ],
)
def test_what_does_not_fit_the_pictures_is_refused(
    options: dict[str, Any], shape: tuple[int, int, int], remedy: str
) -> None:
    with pytest.raises(UserError, match=remedy):
        require_fitting(Data(**options), shape)


def test_what_fits_is_not_refused() -> None:
    require_fitting(Data(crop="6", turn=True, cutout=5), (1, 8, 9))
    require_fitting(Data(crop="8x7"), (1, 8, 8))


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        ({"data": Data(augment=0.1), "family": "gan"}, "a GAN has --gan.augment"),
        ({"data": Data(augment=0.1), "family": "autoencoder"}, "diffusion models have alone"),
        (
            {"data": Data(augment=0.1), "diffusion": Diffusion(pairing="optimal")},
            "leave --diffusion.pairing at none",
        ),
        ({"data": Data(upside_down=True)}, "add that, such as --data.augment 0.12"),
    ],
)
def test_what_does_not_go_together_is_refused(changes: dict[str, Any], remedy: str) -> None:
    with pytest.raises(UserError, match=remedy) as refusal:
        require_heeded(Config().model_copy(update=changes))
    assert "\n" not in str(refusal.value)


def test_latents_are_not_varied() -> None:
    """Every option is either what latents can have, or refused of them."""
    others = {"turn": True, "crop": "8", "jitter": 0.1, "augment": 0.1}
    given = {name: others.get(name, 1) for name in VARYING}
    assert set(Data.model_fields) - set(VARYING) == {"conditional", "flip", "upside_down"}
    for name, value in given.items():
        latent = Config(data=Data(**{name: value}), diffusion=Diffusion(autoencoder="x"))
        with pytest.raises(UserError, match=f"--data.{name} changes .* computed once"):
            require_heeded(latent)


@pytest.mark.parametrize(
    ("given", "kept", "window"),
    [
        (None, None, None),
        ("32", "32", (32, 32)),
        (32, "32", (32, 32)),
        ("32x32", "32", (32, 32)),
        ("48x32", "48x32", (32, 48)),
    ],
)
def test_sizes(given: Any, kept: str | None, window: tuple[int, int] | None) -> None:
    """Width x height; however it is said, the same crop is one configuration."""
    data = Data(crop=given)
    assert (data.crop, data.window) == (kept, window)


@pytest.mark.parametrize("given", ["", "0", "-3", "3x", "x3", "3x0", "3x4x5", "half", "3.5"])
def test_what_is_no_size(given: str) -> None:
    with pytest.raises(ValueError, match="such as 32, or width and height, such as 64x96"):
        Data(crop=given)
