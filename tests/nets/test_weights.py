"""Weights of other libraries' networks in ours: the same answer, or a line that says why not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from denoising_diffusion_pytorch import GaussianDiffusion, Unet
from diffusers import UNet2DModel
from torch import Tensor, nn

from safelight.config import Net
from safelight.errors import UserError
from safelight.nets.classic import ClassicUNet
from safelight.nets.reference import Lucidrains, Reference
from safelight.nets.weights import LAYOUTS, load
from safelight.presets import PRESETS
from safelight.training.networks import build_net

WIDTHS = (8, 16, 32, 32, 16, 8, 8)


class Twice(nn.Module):
    """Two convolutions, each followed by a normalisation of the whole map."""

    def __init__(self, inputs: int, outputs: int, between: int, around: bool = False) -> None:
        super().__init__()
        self.around = around
        self.double_conv = nn.Sequential(
            nn.Conv2d(inputs, between, 3, padding=1, bias=False),
            nn.GroupNorm(1, between),
            nn.GELU(),
            nn.Conv2d(between, outputs, 3, padding=1, bias=False),
            nn.GroupNorm(1, outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.double_conv(x)
        return nn.functional.gelu(x + h) if self.around else h


class Attending(nn.Module):
    """Torch's own attention over all places, and two layers at each of them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mha = nn.MultiheadAttention(width, 4, batch_first=True)
        self.ln = nn.LayerNorm([width])
        layers = nn.Linear(width, width), nn.GELU(), nn.Linear(width, width)
        self.ff_self = nn.Sequential(nn.LayerNorm([width]), *layers)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        query = self.ln(tokens)
        tokens = tokens + self.mha(query, query, query, need_weights=False)[0]
        tokens = tokens + self.ff_self(tokens)
        return tokens.transpose(1, 2).reshape(x.shape)


class Way(nn.Module):
    """One resolution down or up; what comes before the convolutions is in `names`."""

    def __init__(self, name: str, first: nn.Module, pairs: list[Twice], outputs: int) -> None:
        super().__init__()
        self.first = first if name == "up" else nn.Identity()
        inside = pairs if name == "up" else [first, *pairs]
        setattr(self, "conv" if name == "up" else "maxpool_conv", nn.Sequential(*inside))
        self.emb_layer = nn.Sequential(nn.SiLU(), nn.Linear(256, outputs))
        self.name = name

    def forward(self, x: Tensor, t: Tensor, skip: Tensor | None = None) -> Tensor:
        h = self.first(x)
        h = h if skip is None else torch.cat([skip, h], dim=1)
        h = (self.conv if self.name == "up" else self.maxpool_conv)(h)  # type: ignore[operator]
        return h + self.emb_layer(t)[:, :, None, None]


class Tcapelle(nn.Module):
    """Their network as they describe it, but of any widths; deep: with the wide middle."""

    def __init__(self, widths: tuple[int, ...], classes: int = 0, deep: bool = True) -> None:
        super().__init__()
        a, b, c, d, e, f, g = widths
        self.inc = Twice(3, a, a)
        for n, (i, o) in enumerate(((a, b), (b, c), (c, d)), 1):
            pairs = [Twice(i, i, i, around=True), Twice(i, o, o)]
            setattr(self, f"down{n}", Way("down", nn.MaxPool2d(2), pairs, o))
            setattr(self, f"sa{n}", Attending(o))
        wide = 2 * d if deep else d
        self.bot1 = Twice(d, wide, wide)
        self.bot2 = Twice(wide, wide, wide) if deep else nn.Identity()
        self.bot3 = Twice(wide, d, d)
        for n, (i, o) in enumerate(((c + d, e), (b + e, f), (a + f, g)), 1):
            larger = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
            pairs = [Twice(i, i, i, around=True), Twice(i, o, i // 2)]
            setattr(self, f"up{n}", Way("up", larger, pairs, o))
            setattr(self, f"sa{n + 3}", Attending(o))
        self.outc = nn.Conv2d(g, 3, 1)
        if classes:
            self.label_emb = nn.Embedding(classes, 256)

    def forward(self, x: Tensor, step: Tensor, y: Tensor | None = None) -> Tensor:
        frequencies = 10_000 ** (-torch.arange(0, 256, 2) / 256)
        angle = step[:, None] * frequencies
        t = torch.cat([angle.sin(), angle.cos()], dim=1)
        t = t if y is None else t + self.label_emb(y)
        skips = [self.inc(x)]
        for n in (1, 2, 3):
            part, attend = getattr(self, f"down{n}"), getattr(self, f"sa{n}")
            skips.append(attend(part(skips[-1], t)))
        h = self.bot3(self.bot2(self.bot1(skips.pop())))
        for n in (1, 2, 3):
            part, attend = getattr(self, f"up{n}"), getattr(self, f"sa{n + 3}")
            h = attend(part(h, t, skips.pop()))
        return self.outc(h)  # type: ignore[no-any-return]


def like(classes: int = 0, **options: Any) -> nn.Module:
    """Ours, as the preset has it but narrower."""
    changes = {"widths": WIDTHS, **options}
    return build_net(PRESETS["tcapelle"].net.model_copy(update=changes), (3, 16, 16), classes)


def asked() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(3, 3, 16, 16, generator=generator), torch.tensor([0.0, 17.0, 999.0])


@pytest.mark.parametrize("deep", [True, False])
def test_tcapelles_network_answers_the_same(deep: bool) -> None:
    """K2, K4: to 1e-5, with classes and without, with the deep middle and without."""
    torch.manual_seed(0)
    theirs = Tcapelle(WIDTHS, classes=2, deep=deep)
    net = like(2) if deep else like(2, blocks=2, middle=1)
    load(net, theirs.state_dict(), "tcapelle")
    (x, step), y = asked(), torch.tensor([0, 1, 1])
    assert float((net(x, step, y) - theirs(x, step, y)).abs().max()) < 1e-5
    assert float((net(x, step) - theirs(x, step)).abs().max()) < 1e-5
    assert float((net(x, step) - net(x, step, y)).abs().max()) > 1e-2


def test_tcapelles_network_in_its_own_size() -> None:
    """K4: the preset is theirs as they train it, 23,332,739 parameters (see `test_classic`)."""
    torch.manual_seed(0)
    theirs = Tcapelle((64, 128, 256, 256, 128, 64, 64))
    assert sum(p.numel() for p in theirs.parameters()) == 23_332_739
    net = build_net(PRESETS["tcapelle"].net, (3, 32, 32), 0)
    load(net, theirs.state_dict(), "tcapelle")
    x, step = torch.randn(1, 3, 32, 32), torch.tensor([500.0])
    with torch.no_grad():
        assert float((net(x, step) - theirs(x, step)).abs().max()) < 1e-5


def test_lucidrains_network_answers_the_same() -> None:
    """C2: saved by itself, and inside the diffusion that they train it in."""
    torch.manual_seed(0)
    theirs = Unet(dim=8, dim_mults=(1, 2))
    options = {"dim": 8, "dim_mults": [1, 2]}
    whole = GaussianDiffusion(theirs, image_size=16).state_dict()
    x, step = asked()
    for weights, under in ((theirs.state_dict(), ""), (whole, "model.")):
        net = Lucidrains((3, 16, 16), options=options)
        load(net, weights, "lucidrains", under)
        assert torch.equal(net(x, step), theirs(x, step))
    with pytest.raises(UserError, match='the weights have no .* say under="model."'):
        load(Lucidrains((3, 16, 16), options=options), whole, "lucidrains")


def test_diffusers_network_answers_the_same() -> None:
    """F5."""
    options: dict[str, Any] = {
        "block_out_channels": (8, 16),
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
        "norm_num_groups": 4,
    }
    theirs = UNet2DModel(**options)
    net = Reference((3, 16, 16), options=options)
    load(net, theirs.state_dict(), "diffusers")
    x, step = asked()
    assert torch.equal(net(x, step), theirs(x, step).sample)


@pytest.mark.parametrize(
    "option",
    [
        {"norm": "group"},
        {"activation": "silu"},
        {"down": "average"},
        {"up": "bilinear"},
        {"up": "nearest"},
        {"heads": 2},
        {"attention_norm": "layer"},
        {"embedding": "sinusoidal"},
        {"spread": 100.0},
    ],
    ids=str,
)
def test_what_weights_do_not_show_is_asked_for(option: dict[str, Any]) -> None:
    """They would fit, and the network would answer something else."""
    weights = Tcapelle(WIDTHS).state_dict()
    name = next(iter(option)).replace("_", "-")
    with pytest.raises(UserError, match=f"has .*--net.{name}.*, and this one has not"):
        load(like(**option), weights, "tcapelle")


def test_weights_that_do_not_fit_are_refused() -> None:
    weights = Tcapelle(WIDTHS).state_dict()
    with pytest.raises(UserError, match="sa6.* in the weights, which does not fit|outc.weight is"):
        load(like(widths=(8, 16, 32, 32, 16, 8, 12)), weights, "tcapelle")
    with pytest.raises(UserError, match="the weights have no label_emb.weight, and the network"):
        load(like(2), weights, "tcapelle")
    with pytest.raises(UserError, match="the network has no more.weight, and the weights do"):
        load(like(), {**weights, "more.weight": torch.zeros(1)}, "tcapelle")
    with pytest.raises(
        UserError, match="of tcapelle belong into a ClassicUNet and not into a UNet"
    ):
        load(build_net(Net(), (3, 16, 16), 0), weights, "tcapelle")
    with pytest.raises(UserError, match=f"unknown layout of weights .*{', '.join(LAYOUTS)}"):
        load(ClassicUNet((3, 16, 16)), weights, "dome")
