"""Pictures that are not square, and of any number of channels, on the whole way after the cache."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import avg_pool2d

from safelight import Inpaint, Sampling, SuperResolution, edit, evaluate, export_images, report
from safelight import sample as draw
from safelight.config import Autoencoder, Config, Diffusion, Gan, Likelihood, Net, Optimiser, Watch
from safelight.data.cache import Cache
from safelight.data.prepare import prepare
from safelight.diffusion.mmd import squared_mmd
from safelight.errors import UserError
from safelight.evaluation import classifier as classifier_part
from safelight.evaluation.evaluate import evaluate as judge
from safelight.evaluation.features import FEATURES, OF_PHOTOGRAPHS, Material
from safelight.evaluation.signature import Signatures, signature
from safelight.evaluation.twins import near_copies
from safelight.images import in_colour
from safelight.presets import fitting, preset
from safelight.starting import judge_of
from safelight.training.run import Run
from safelight.training.train import train
from tests.evaluation.sources import Stored
from tests.hand_made import waves

WIDE, FIVE, TWO = (3, 16, 24), (5, 8, 8), (2, 8, 12)
BASE = Config(
    budget="1steps",
    net=Net(widths=(4, 8), blocks=1, attention="coarsest"),
    diffusion=Diffusion(sigma_data=0.5),
    optimiser=Optimiser(batch=4, warmup=1),
    watch=Watch(tensorboard=False),
    precision="float32",
)
SHORT = {name: getattr(BASE, name) for name in ("budget", "watch", "precision")}
FAMILIES: dict[str, Config] = {
    "unet": BASE,
    "transformer": BASE.model_copy(
        update={"net": Net(kind="transformer", widths=(16,), blocks=1, patch=4)}
    ),
    "gan": preset("gan").model_copy(update={**SHORT, "gan": Gan(widths=(8, 8))}),
    "autoencoder": preset("autoencoder").model_copy(
        update={**SHORT, "autoencoder": Autoencoder(channels=2, widths=(8, 8))}
    ),
}
FAST = Sampling(steps=2)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Caches and their runs: a U-Net of each, the other families of the first, and another GAN."""
    folder = tmp_path_factory.mktemp("shapes")
    for name, shape in (("wide", WIDE), ("five", FIVE), ("two", TWO)):
        train(waves(folder / name, shape), BASE, folder / f"{name}-unet")
    for family in ("transformer", "gan", "autoencoder"):
        train(Cache.open(folder / "wide"), FAMILIES[family], folder / f"wide-{family}")
    train(Cache.open(folder / "two"), FAMILIES["gan"], folder / "two-gan")
    coder = str(folder / "wide-autoencoder")
    latent = BASE.diffusion.model_copy(update={"autoencoder": coder, "sigma_data": None})
    latents = BASE.model_copy(update={"diffusion": latent})
    train(Cache.open(folder / "wide"), latents, folder / "wide-latent")
    return folder


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAFELIGHT_CACHE", str(tmp_path / "store"))


def how(run: Path) -> Sampling:
    return FAST if Run.open(run).config.family == "diffusion" else Sampling()


@pytest.mark.parametrize(("size", "shape"), [("64", (3, 64, 64)), ("96x128", (3, 128, 96))])
def test_large_photographs_are_prepared_learnt_and_drawn(
    tmp_path: Path, size: str, shape: tuple[int, int, int]
) -> None:
    """L11: 64x64 and above, by the preset for that size."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    for i in range(12):
        levels = np.random.default_rng(i).integers(0, 256, (6, 6, 3), np.uint8)
        photograph = Image.fromarray(levels).resize((300, 240), Image.Resampling.BICUBIC)
        photograph.save(folder / f"{i}.jpg")
    cache = prepare(folder, size=size, out=tmp_path / "cache")
    assert cache.shape == shape
    name, described = fitting(shape)
    assert name == {64: "medium", 128: "large"}[max(shape)]
    narrow = described.net.model_copy(update={"widths": (8,) * len(described.net.widths)})
    run = train(cache, BASE.model_copy(update={"net": narrow}), tmp_path / "run")
    images = np.load(draw(run.path, n=1, sampling=FAST, out=tmp_path / "out") / "images.npz")
    assert images["images"].shape == (1, *shape)


# Every family


@pytest.mark.parametrize("family", ["unet", "transformer", "gan", "autoencoder", "latent"])
def test_every_family_draws_pictures_of_the_form_that_it_saw(
    desk: Path, tmp_path: Path, family: str
) -> None:
    run = desk / f"wide-{family}"
    out = draw(run, n=2, sampling=how(run), out=tmp_path / "out")
    images = np.load(out / "images.npz")["images"]
    assert images.shape[1:] == WIDE
    first = np.asarray(Image.open(min(out.rglob("000000.png"))))
    assert (first == images[0].transpose(1, 2, 0)).all()
    sheet = Image.open(out / "grid.png")
    assert (sheet.width + 1) % 25 == (sheet.height + 1) % 17 == 0  # pictures and gaps between


@pytest.mark.parametrize(
    ("family", "said"),
    {
        "wide-gan": "24×16, colour",
        "two-gan": "12×8, 2 channels (the pictures here show the two as magenta and green)",
    }.items(),
)
def test_the_report_says_the_form_and_what_is_shown(
    desk: Path, tmp_path: Path, family: str, said: str
) -> None:
    """X14: width first, in the page's words and in what a browser makes room for."""
    page = report(desk / family, out=tmp_path / "report.html").read_text("utf-8")
    assert said in page
    _, h, w = Run.open(desk / family).file.shape
    assert f'width="{w}" height="{h}"' in page


def test_auto_looks_at_the_longer_side() -> None:
    """And has no more resolutions than both sides can halve."""
    assert [fitting((3, 16, w))[0] for w in (16, 24, 64, 128)] == [
        *("tiny", "small", "medium", "large")
    ]
    assert fitting((3, 24, 16))[0] == "small"
    assert len(fitting((3, 16, 24))[1].net.widths) == 3
    assert len(fitting((3, 16, 26))[1].net.widths) == 2


def test_pictures_that_fit_no_network_are_said_as_they_are(tmp_path: Path) -> None:
    """Width first, as picture files are described."""
    cache = waves(tmp_path / "odd", (3, 8, 10))
    tries = {
        "unet": ({"net": Net(widths=(4, 4, 4))}, "images of 10x8 cannot be halved 2 .* at 8x8, or"),
        "transformer": ({}, "do not tile images of 10x8; choose --net.patch from 1, 2"),
        "gan": ({"gan": Gan(widths=(8, 8))}, "10x8 pixels halve 1 times"),
        "autoencoder": ({}, "10x8 cannot be divided .* with --size 8 or 12x8, or give 1 width"),
    }
    for family, (changes, message) in tries.items():
        config = FAMILIES[family].model_copy(update=changes)
        with pytest.raises(UserError, match=message):
            train(cache, config, tmp_path / family)


def test_mmd_of_mirrored_pictures_is_the_same() -> None:
    """C6: the squares in which it compares are squares whatever the picture's form."""
    rng = torch.Generator().manual_seed(0)
    residual, seen = torch.randn(5, *WIDE, generator=rng), torch.randn(5, 3, *WIDE, generator=rng)
    level = torch.zeros(5)
    one, other = (
        squared_mmd(residual, seen, level, None),
        squared_mmd(residual.mT.contiguous(), seen.mT.contiguous(), level, None),
    )
    torch.testing.assert_close(one, other)


# Editing


def test_inpainting_keeps_what_the_mask_keeps(desk: Path, tmp_path: Path) -> None:
    """X10: a mask as wide and as high as the pictures, and no other."""
    mask = np.zeros((16, 24), np.uint8)
    mask[3:7, 15:] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    Image.fromarray(mask.T).save(tmp_path / "tall.png")
    run, cache = desk / "wide-unet", desk / "wide"
    task = Inpaint(mask=tmp_path / "mask.png", repeats=1)
    out = edit(run, cache, task, n=2, sampling=FAST, out=tmp_path / "out")
    for i, given in enumerate(Cache.open(cache).read(np.arange(2))):
        drawn = np.asarray(Image.open(out / f"wide-{i:06d}.png")).transpose(2, 0, 1)
        assert (drawn[:, mask == 0] == given[:, mask == 0]).all()
        assert (drawn[:, mask > 0] != given[:, mask > 0]).any()
    with pytest.raises(UserError, match="tall.png is 16x24 and the pictures are 24x16"):
        edit(run, cache, Inpaint(mask=tmp_path / "tall.png"), sampling=FAST)


def test_super_resolution_keeps_the_blocks(desk: Path, tmp_path: Path) -> None:
    """X10: small pictures of the same form; others are refused with the size that would do."""
    run, rng = desk / "wide-unet", np.random.default_rng(0)
    for name, size in (("small", (8, 12)), ("square", (8, 8)), ("thin", (16, 12))):
        (tmp_path / name).mkdir()
        pixels = rng.integers(0, 256, (*size, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / name / "a.png")
    task = SuperResolution(repeats=1)
    out = edit(run, tmp_path / "small", task, sampling=FAST, out=tmp_path / "out")
    small = np.asarray(Image.open(tmp_path / "small/a.png")).transpose(2, 0, 1)
    large = torch.tensor(np.asarray(Image.open(out / "a.png")).transpose(2, 0, 1).copy())
    assert large.shape == WIDE
    means = avg_pool2d(large.float(), 2)
    assert (means - torch.tensor(small)).abs().max() <= 0.75  # of rounding to whole levels
    for name in ("square", "thin"):
        with pytest.raises(UserError, match="divided by 2 or 4 or 8; .* --size 12x8 --chan"):
            edit(run, tmp_path / name, task, sampling=FAST)


# Judging


def sets(shape: tuple[int, int, int]) -> list[Stored]:
    """Generated, real and training pictures of this form, or mirrored where it is high."""
    rng, found = torch.Generator().manual_seed(0), []
    for name in ("generated", "real", "training"):
        labels = torch.arange(60) % 2
        levels = (
            torch.randn(60, 3, 16, 24, generator=rng) * 30 + 110 + 40 * labels.view(-1, 1, 1, 1)
        )
        pixels = levels.round().clamp(0, 255).to(torch.uint8)
        pixels = pixels if shape == WIDE else pixels.mT.contiguous()
        found.append(Stored(name, pixels, labels, ("dark", "bright")))
    return found


FORMLESS = ("kid", "mmd", "precision", "recall", "density", "coverage", "memorisation", "vendi")
OF_FORM = ("colour", "spectrum", "swd", "accuracy", "svc", "cas")


def judged(shape: tuple[int, int, int], metrics: Sequence[str], store: Path) -> dict[str, float]:
    generated, real, training = sets(shape)
    found = judge(
        *(generated, real),
        **{"pool": training, "train": training, "learnt": training, "metrics": metrics},
        **{"features": "pixels", "store": store},
    )
    assert {each.protocol.image for each in found.estimates} == {f"3x{shape[2]}x{shape[1]}"}
    return {each.name: each.value for each in found.estimates}


def test_numbers_do_not_depend_on_which_side_is_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X1, X17: of mirrored pictures every metric that knows no direction is the same."""
    monkeypatch.setattr(classifier_part, "FEWEST_VIEWS", classifier_part.BATCH)
    monkeypatch.setattr(classifier_part, "MOST_VIEWS", classifier_part.BATCH)
    wide = judged(WIDE, (*FORMLESS, *OF_FORM), tmp_path / "wide")
    high = judged((3, 24, 16), (*FORMLESS, "colour", "spectrum"), tmp_path / "high")
    assert len(wide) > len(high) >= len(FORMLESS) + 2
    assert high == pytest.approx({name: wide[name] for name in high}, rel=1e-3, abs=1e-6)


def test_the_classifier_keeps_the_form_of_large_pictures() -> None:
    """Its longer side is 32 then; and squares are squares."""
    sizes = {(3, 96, 64): (32, 21), (3, 64, 64): (32, 32), (3, 24, 32): (24, 32)}
    for shape, size in sizes.items():
        found = classifier_part.prepare(torch.zeros(1, *shape, dtype=torch.uint8))
        assert found.shape[2:] == size


def test_bits_per_dimension_of_a_wide_picture(desk: Path) -> None:
    """X11: of all its values."""
    quick = Likelihood(terms=2, tolerance=0.1)
    found = evaluate(desk / "wide-unet", metrics=("bpd",), n=2, likelihood=quick)
    assert {each.protocol.dimension for each in found.estimates} == {3 * 16 * 24}
    assert all(0 < each.value < 40 for each in found.estimates)


# Other channels


@pytest.mark.parametrize("name", ["two", "five"])
def test_pictures_of_other_channels_go_all_the_way(desk: Path, tmp_path: Path, name: str) -> None:
    """Sampled, judged and exported: every channel is kept, and some are shown."""
    run, cache = desk / f"{name}-unet", Cache.open(desk / name)
    out = draw(run, n=2, sampling=FAST, out=tmp_path / "out")
    arrays = np.load(out / "images.npz")
    for image, seed, label in zip(*(arrays[k] for k in ("images", "seeds", "labels")), strict=True):
        stem = out / ("left", "right")[label] / f"{seed:06d}"
        assert (np.load(stem.with_suffix(".npy")) == image).all()
        shown = np.asarray(Image.open(stem.with_suffix(".png"))).transpose(2, 0, 1)
        assert (shown == in_colour(image)).all()
    packed = export_images(cache.path, n=1, out=tmp_path / "export")
    left = int(np.flatnonzero(cache.subset("train").class_labels() == 0)[0])
    kept = np.load(packed / f"train/left/{left:06d}.npy")
    assert (kept == cache.subset("train").read(np.array([left]))[0]).all()
    assert not list(packed.rglob("*.png"))
    options = {"n": 12, "sampling": FAST, "features": "pixels"}
    assert evaluate(run, metrics=("kid", "colour", "spectrum"), **options).estimates


def test_channels_that_a_picture_file_cannot_hold_are_edited_from_a_cache(
    desk: Path, tmp_path: Path
) -> None:
    """X10: what stays, stays in every channel."""
    mask = np.zeros((8, 8), np.uint8)
    mask[:, 5:] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    task = Inpaint(mask=tmp_path / "mask.png", repeats=1)
    out = edit(desk / "five-unet", desk / "five", task, n=1, sampling=FAST, out=tmp_path / "out")
    drawn, given = np.load(out / "five-000000.npy"), Cache.open(desk / "five").read(np.arange(1))[0]
    assert (drawn[:, :, :5] == given[:, :, :5]).all()
    message = "mask.png is 8x8 grey and .* draws 8x8 of 5 channels; edit a cache of 8x8 of 5 ch"
    with pytest.raises(UserError, match=message):
        edit(desk / "five-unet", tmp_path / "mask.png", task, sampling=FAST)


@pytest.mark.parametrize("name", OF_PHOTOGRAPHS)
def test_networks_of_photographs_refuse_other_channels(name: str, tmp_path: Path) -> None:
    """Before anything is loaded, drawn or trained."""
    material = Material(FIVE, None, tmp_path)
    with pytest.raises(UserError, match=f"{name} looks at .* 5 channels; choose the features pix"):
        FEATURES[name](material)


def test_a_run_of_other_channels_is_judged_by_what_can_see_it(desk: Path, tmp_path: Path) -> None:
    """The usual network is refused, also on the way."""
    with pytest.raises(UserError, match="choose the features pixels"):
        evaluate(desk / "five-unet", n=12, sampling=FAST)
    watch = BASE.watch.model_copy(update={"evaluate_every": 1, "evaluate_images": 8})
    cache = Cache.open(desk / "five")
    config = BASE.model_copy(update={"watch": watch})
    with pytest.raises(UserError, match="choose the features pixels"):
        train(cache, config, tmp_path / "run", judge_of(cache, watch))


def test_near_copies_agree_in_every_channel() -> None:
    """Not only in those that are shown; and of grey and colour the thumbnail is as ever."""
    rng = torch.Generator().manual_seed(0)
    one = torch.randint(0, 256, (8, *FIVE), generator=rng).to(torch.uint8)
    other = one.clone()
    other[:, 3:] = other[:, 3:].flip(-1)
    signs = [Signatures(signature().extract(images).numpy()) for images in (one, other)]
    assert near_copies(signs[0], Signatures(signs[0].features)).all()
    assert not near_copies(*signs).any()
    colour = signature().extract(one[:, :3])
    pooled = torch.nn.functional.adaptive_avg_pool2d(one[:, :3].float(), 8).flatten(1)
    assert torch.equal(colour[:, -192:], pooled)
