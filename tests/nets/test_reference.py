"""Networks of other libraries behind our interface: they are what they are there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from denoising_diffusion_pytorch import Unet
from diffusers import DDPMScheduler, UNet2DModel
from torch import Tensor

from safelight import prepare
from safelight.cli import base_config, parse, settled
from safelight.config import Config, Net
from safelight.diffusion.betas import beta_table
from safelight.diffusion.denoiser import TOLD, Denoiser
from safelight.diffusion.objective import Denoising
from safelight.diffusion.path import PRESERVING, make_path
from safelight.diffusion.path import Path as DiffusionPath
from safelight.diffusion.precond import PREDICTIONS
from safelight.diffusion.weights import WEIGHTS
from safelight.errors import MissingLibrary, UserError
from safelight.nets.reference import Foreign, Lucidrains, Reference
from safelight.presets import PRESETS
from safelight.samplers.ancestral import DDPM
from safelight.samplers.grids import leading
from safelight.samplers.guidance import Guided
from safelight.samplers.state import State
from safelight.samplers.trajectory import walk
from safelight.seeding import ImageNoise
from safelight.training.networks import build_net, settled_net, suited

SMALLEST: dict[str, Any] = {
    "block_out_channels": [8, 16],
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
    "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
    "layers_per_block": 1,
    "norm_num_groups": 4,
}
THEIRS = {"dim": 8, "dim_mults": [1, 2], "attn_heads": 2, "attn_dim_head": 8}
T = 1000


def pair(**options: Any) -> tuple[Denoiser, UNet2DModel, DDPMScheduler]:
    """Our denoiser of noise on the path linear, and diffusers' network with the same weights.

    Its scheduler's table is made anew in float64: its own product of 1,000 factors is float32.
    """
    torch.manual_seed(0)
    net = Reference((3, 8, 8), options={**SMALLEST, **options})
    theirs = UNet2DModel(in_channels=3, out_channels=3, sample_size=8, **SMALLEST, **options)
    theirs.load_state_dict(net.unet.state_dict())
    scheduler = DDPMScheduler(T, clip_sample=False)
    scheduler.alphas_cumprod = torch.cumprod(1 - scheduler.betas.double(), dim=0)
    path = DiffusionPath(PRESERVING, beta_table(scheduler.betas))
    return Denoiser(net, path, PREDICTIONS["noise"], 0.5), theirs, scheduler


def batch() -> tuple[Tensor, Tensor, Tensor]:
    """x_0, eps, and steps from the first to the last."""
    noise = ImageNoise(range(6))
    steps = torch.tensor([0, 1, 250, 499, 980, 999])
    return noise.normal(3, 8, 8).clamp(-1, 1), noise.normal(3, 8, 8), steps


def test_it_is_drawn_as_diffusers_draws_it() -> None:
    """F5: nothing else is taken from the stream of random numbers."""
    torch.manual_seed(0)
    ours = Reference((3, 8, 8), options=SMALLEST).unet.state_dict()
    torch.manual_seed(0)
    theirs = UNet2DModel(in_channels=3, out_channels=3, sample_size=8, **SMALLEST).state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("options", [{}, {"flip_sin_to_cos": False, "freq_shift": 1}], ids=str)
def test_it_equals_diffusers(options: dict[str, Any]) -> None:
    """F5: to 1e-6, the output, and the gradient of one training step with the simple loss."""
    denoiser, theirs, scheduler = pair(**options)
    x_0, eps, steps = batch()
    t = (steps + 1) / T
    losses = Denoising(WEIGHTS["simple"](5.0))(denoiser, x_0, t, eps, None)
    losses.mean().backward()
    x_t = scheduler.add_noise(x_0, eps, steps)
    expected = theirs(x_t, steps).sample
    loss = torch.nn.functional.mse_loss(expected, eps)
    loss.backward()
    F, _ = denoiser.answers(denoiser.affine(t), x_t, t)
    assert float((F - expected).abs().max()) < 1e-6
    assert float((losses.mean() - loss).abs()) < 1e-6
    ours = dict(denoiser.net.unet.named_parameters())  # type: ignore[union-attr, operator]
    for name, parameter in theirs.named_parameters():
        assert float((ours[name].grad - parameter.grad).abs().max()) < 1e-6, name


def test_its_images_are_those_of_diffusers(monkeypatch: pytest.MonkeyPatch) -> None:
    """F5, B2: the whole way by DDPM, the network told of each step as there.

    Of numbers of hundreds, since a network of random weights takes away no noise.
    """
    denoiser, theirs, scheduler = pair()
    scheduler.set_timesteps(20)
    times, draws = leading(denoiser.path, 20), ImageNoise([2, 3])
    x = start = ImageNoise([0, 1]).normal(3, 8, 8)
    patched = "diffusers.schedulers.scheduling_ddpm.randn_tensor"
    monkeypatch.setattr(patched, lambda *a, **k: draws.normal(3, 8, 8))
    with torch.no_grad():
        for step in scheduler.timesteps[:-1]:  # in the last it adds noise to what is the image
            x = scheduler.step(theirs(x, step).sample, step, x).prev_sample
        guess = Guided(denoiser.eval())
        way = walk(
            DDPM(), guess, denoiser.path, State(start, times[0]), times[1:-1], ImageNoise([2, 3])
        )
        *_, last = way
    assert float((last.x - x).abs().max() / x.abs().max()) < 1e-6


@pytest.mark.parametrize("path", ["linear", "linear-continuous", "flow"])
def test_the_number_of_the_step_is_told(path: str) -> None:
    """F5: 0 to T - 1 exactly, in float32 and for any T; 1,000 t where there are no steps."""
    made = make_path(path)
    t = torch.arange(1, 1001) / 1000
    expected = torch.arange(1000.0) if made.levels else 1000 * t
    assert torch.equal(TOLD["step"](made, t), expected)
    if made.levels:
        odd = make_path(path, T=337)
        assert torch.equal(odd.step(torch.arange(1, 338) / 337), torch.arange(337.0))
        assert float(made.step(torch.tensor(0.0005))) == 0
        assert float(made.step(torch.tensor(0.0115))) == pytest.approx(10.5)


def test_learned_and_fourier_times() -> None:
    """F5: the nearest of the learned steps; sigma / alpha, by which scores are multiplied."""
    learned = {"time_embedding_type": "learned", "num_train_timesteps": 10}
    net = Reference((3, 8, 8), options={**SMALLEST, **learned})
    x = batch()[0][:2]
    assert net.told == "step"
    expected = net.unet(x, torch.tensor([3, 9])).sample
    torch.testing.assert_close(net(x, torch.tensor([3.3, 8.9])), expected)
    with pytest.raises(UserError, match="told of step 10 and has 10 to learn; give the path's"):
        net(x, torch.tensor([3.0, 10.0]))
    net = Reference((3, 8, 8), options={**SMALLEST, "time_embedding_type": "fourier"})
    assert net.told == "sigma"
    sigma = torch.tensor([0.5, 20.0])
    expected = net.unet(x, sigma).sample * sigma[:, None, None, None]
    assert torch.equal(net(x, sigma), expected)
    path, t = make_path("linear"), torch.tensor([0.01, 1.0])
    torch.testing.assert_close(TOLD["sigma"](path, t), path.noise_level(t))


def test_labels_are_heard_and_the_last_is_no_class() -> None:
    """F5, K2."""
    net = Reference((3, 8, 8), 2, 2, options=SMALLEST)
    x, step = batch()[0][:2], torch.tensor([5.0, 5.0])
    assert net.unet.class_embedding.weight.shape[0] == 3
    answers = [net(x, step, torch.tensor([k, k])) for k in range(3)]
    assert answers[0].shape == (2, 6, 8, 8)
    assert not torch.allclose(answers[0], answers[1])
    assert torch.equal(net(x, step), answers[2])


def test_every_option_of_diffusers_can_be_given() -> None:
    """F5: those that are not the pictures' own; each a word of one command."""
    options = settled_net(Net(kind="reference")).options
    own = {"sample_size", "in_channels", "out_channels", "num_class_embeds"}
    assert options.keys() | own == dict(UNet2DModel(**SMALLEST).config).keys() - {
        name for name in UNet2DModel(**SMALLEST).config if name.startswith("_")
    }
    words = ["train", "digits", "--net.kind", "reference", "--net.options", json.dumps(options)]
    config = parse(words, Config()).keywords["config"]
    assert config.net.options == options


def test_options_that_are_given_change_the_presets(tmp_path: Path) -> None:
    """F5, F7: the others stay; of a run that goes on too; those of another network do not."""
    cache = str(prepare("digits", out=tmp_path / "digits", per_class=2).path)
    preset, said = PRESETS["reference-ddpm"].net, ("--net.options", '{"layers_per_block": 1}')
    for name in ("--preset reference-ddpm", "--preset=reference-ddpm --net.kind reference"):
        words = ["train", cache, *name.split(), *said]
        config = settled(parse(words, base_config(words)), words).keywords["config"]
        assert config.net.options == {**preset.options, "layers_per_block": 1}
    words = ["train", cache, "--preset", "lucidrains", "--net.kind", "reference", *said]
    config = settled(parse(words, base_config(words)), words).keywords["config"]
    assert config.net.options == {"layers_per_block": 1}
    words = ["train", cache, "--resume", "--out", "q", *said]
    run = PRESETS["reference"].model_copy(update={"net": settled_net(preset)})
    options = parse(words, run).keywords["config"].net.options
    assert options == {**settled_net(preset).options, "layers_per_block": 1}


def test_it_is_lucidrains_network() -> None:
    """C2: with the same weights the same answer, told of the step."""
    torch.manual_seed(0)
    net = Lucidrains((3, 8, 8), options=THEIRS)
    theirs = Unet(dim=8, dim_mults=(1, 2), attn_heads=2, attn_dim_head=8)
    theirs.load_state_dict(net.unet.state_dict())
    x, _, steps = batch()
    assert torch.equal(net(x, steps.float()), theirs(x, steps))
    assert net.told == "step"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"block_out_chanels": [8]}, "did you mean 'block_out_channels'.* choose one of: center_"),
        ({"in_channels": 3}, "in_channels of UNet2DModel follows from the pictures"),
        ({"act_fn": "no-such"}, "UNet2DModel refuses what is in --net.options: .* 'silu', 'mish'"),
        ({"down_block_types": ["No", "DownBlock2D"]}, "No does not exist"),
        ({"block_out_channels": [10, 16]}, "10. must be divisible by num_groups"),
        ({"block_out_channels": [8, 16, 32]}, "Must provide the same number"),
        ({"block_out_channels": 8}, "a list of whole numbers, .* and not 8"),
        ({"block_out_channels": [8] * 5}, "8x8 cannot be halved 4 .* give 4 block_out_channels wi"),
        ({"class_embed_type": "timestep"}, "class_labels should be provided"),
        ({"layers_per_block": "a"}, "refuses what is in --net.options: 'str'"),
    ],
    ids=str,
)
def test_what_diffusers_refuses_is_said_in_a_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as refusal:
        Reference((3, 8, 8), options={**SMALLEST, **options})
    assert "\n" not in str(refusal.value)


def test_bad_words_are_refused_in_a_line() -> None:
    words = ["train", "digits", "--net.kind", "reference", "--net.options"]
    for word in ("{dropout: 1}", "[1]", "0.1"):
        with pytest.raises(UserError, match="is no JSON of names and values, such as"):
            parse([*words, word], Config())
    with pytest.raises(ValueError, match="a value that JSON cannot write"):
        Net(kind="reference", options={"dropout": float("nan")})
    with pytest.raises(UserError, match="cannot be told a class; add --data.no-conditional"):
        Lucidrains((3, 8, 8), 2, options=THEIRS)
    with pytest.raises(UserError, match="unet has no --net.options; .* --net.kind reference"):
        build_net(Net(options={"dropout": 0.1}), (3, 8, 8), 0)


def test_a_library_that_is_not_there_is_named() -> None:
    absent = Foreign("no_such_library", "Net", "reference", {}, ())
    with pytest.raises(MissingLibrary, match=r"pip install 'safelight\[reference\]'"):
        absent.make()


def test_its_options_do_not_come_from_another_network() -> None:
    """The preset that fits the pictures has widths, and --net.kind reference has none."""
    net = suited(PRESETS["small"].net, "reference")
    assert net == Net(kind="reference")
    kept = suited(PRESETS["small"].net.model_copy(update={"heads": 2}), "transformer")
    assert kept == Net(kind="transformer", widths=(32, 64, 128), blocks=1, heads=2)


def test_ddpms_network_is_as_large_as_reported() -> None:
    """F5: 35.7 million parameters, appendix B of arXiv:2006.11239."""
    with torch.device("meta"):
        net = build_net(PRESETS["reference-ddpm"].net, (3, 32, 32), 0)
    assert sum(p.numel() for p in net.parameters()) == 35_746_307
