"""Pictures that are not square: a network of the mirrored form gives the mirrored picture.

With width and height exchanged, and every kernel's too, F'(xᵀ) = F(x)ᵀ. What takes a picture for a
square one, or its rows for its columns, breaks that.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from safelight.nets.autoencoder import Autoencoder
from safelight.nets.classic import ClassicUNet
from safelight.nets.gan import Discriminator, Generator
from safelight.nets.plain import PlainNet
from safelight.nets.transformer import Transformer
from safelight.nets.unet import UNet
from tests.nets.stirring import stirred

H, W = 16, 24
SHAPE, MIRRORED = (3, H, W), (3, W, H)
LEVEL, LABELS = torch.tensor([-0.5, 0.3]), torch.tensor([0, 1])
Shape = tuple[int, int, int]


def mirrored(net: nn.Module, make: Callable[[Shape], nn.Module]) -> nn.Module:
    """The network of the other form, with the same weights and mirrored kernels."""
    other = make(MIRRORED)
    weights = {
        name: value.mT if value.ndim == 4 else value for name, value in net.state_dict().items()
    }
    other.load_state_dict(weights)
    return other.eval()


def picture(*shape: int) -> Tensor:
    return torch.randn(2, *shape, generator=torch.Generator().manual_seed(7))


DENOISERS: dict[str, Callable[[Shape], nn.Module]] = {
    "unet": lambda shape: UNet(shape, 2, widths=(8, 16, 16), blocks=1, attention="coarser"),
    "unet, other parts": lambda shape: UNet(
        shape, 2, widths=(8, 8), blocks=1, attention="all", down="max", up="corners", skip="sum"
    ),
    "classic": lambda shape: ClassicUNet(shape, 2, widths=(8, 8, 16, 8, 8), blocks=1, heads=2),
    "plain": lambda shape: PlainNet(shape, 2, widths=(8, 16, 16)),
}


@pytest.mark.parametrize("name", DENOISERS)
def test_a_denoiser_has_no_square_in_it(name: str) -> None:
    make = DENOISERS[name]
    net = stirred(lambda: make(SHAPE)).eval()
    x = picture(*SHAPE)
    out = net(x, LEVEL, LABELS)
    assert out.shape == x.shape
    torch.testing.assert_close(mirrored(net, make)(x.mT, LEVEL, LABELS), out.mT)


def test_a_transformer_has_no_square_in_it() -> None:
    """X13: its places are in rows, and so are the pixels of what it gives of a patch."""
    p, rows, columns = 4, H // 4, W // 4

    def make(shape: Shape) -> Transformer:
        return Transformer(shape, 2, widths=(16,), blocks=2, heads=2, patch=p)

    net = stirred(lambda: make(SHAPE)).eval()
    swapped = copy.deepcopy(net)
    swapped.places = net.places.view(rows, columns, -1).transpose(0, 1).flatten(0, 1)
    for part in (swapped.head.weight.data, swapped.head.bias.data):
        part.copy_(part.view(3, p, p, -1).transpose(1, 2).reshape(part.shape).clone())
    x = picture(*SHAPE)
    other = mirrored(swapped, make)
    other.places = swapped.places
    out = net(x, LEVEL, LABELS)
    torch.testing.assert_close(other(x.mT, LEVEL, LABELS), out.mT)


def test_both_networks_of_a_gan_have_no_square_in_them() -> None:
    """K8."""

    def generator(shape: Shape) -> Generator:
        return Generator(shape, 2, latent=5, widths=(8, 16), label_channels=3)

    def discriminator(shape: Shape) -> Discriminator:
        return Discriminator(shape, 2, widths=(8, 16), label_channels=3)

    z = torch.randn(2, 5, generator=torch.Generator().manual_seed(1))
    net = stirred(lambda: generator(SHAPE)).eval()
    images = net(z, LABELS)
    torch.testing.assert_close(mirrored(net, generator)(z, LABELS), images.mT)
    judge = stirred(lambda: discriminator(SHAPE)).eval()
    logits = judge(images, LABELS)
    torch.testing.assert_close(mirrored(judge, discriminator)(images.mT, LABELS), logits)


def test_an_autoencoder_has_no_square_in_it() -> None:
    """K12: four pixels become the channels of one place in the order of their rows."""

    def make(shape: Shape) -> Autoencoder:
        return Autoencoder(shape, channels=2, widths=(8, 8), attention=True)

    net = stirred(lambda: make(SHAPE)).eval()
    swapped = copy.deepcopy(net)
    first, last = swapped.encoder[1], swapped.decoder[-2]
    four = torch.arange(12).view(3, 2, 2).mT.flatten()
    first.weight.data = first.weight.data[:, four]
    last.weight.data, last.bias.data = last.weight.data[four], last.bias.data[four]
    other, x = mirrored(swapped, make), picture(*SHAPE)
    assert net.latent == (2, H // 4, W // 4)
    mean, std = net.encode(x)
    for found, expected in zip(other.encode(x.mT), (mean, std), strict=True):
        torch.testing.assert_close(found, expected.mT)
    torch.testing.assert_close(other.decode(mean.mT), net.decode(mean).mT)
