"""The networks of a GAN: the published sizes, what each option changes, augmentation by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d

from safelight.errors import UserError
from safelight.nets.augmentation import AUGMENTATIONS, DRAWS, augment
from safelight.nets.gan import Discriminator, Generator, coarsest, usual_widths


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_the_tutorials_networks_have_their_published_sizes() -> None:
    """K8: 64x64 in colour from 100 numbers, 64 channels at the finest map."""
    widths = usual_widths(64, 64)
    assert widths == (64, 128, 256, 512)
    generator = Generator((3, 64, 64), 0, latent=100, widths=widths, label_channels=16)
    discriminator = Discriminator((3, 64, 64), 0, widths=widths, label_channels=16)
    assert (count(generator), count(discriminator)) == (3_576_704, 2_765_568)


@pytest.mark.parametrize(
    ("size", "widths", "map_"),
    [
        ((8, 8), (64,), (4, 4)),
        ((28, 28), (64, 128), (7, 7)),
        ((32, 32), (64, 128, 256), (4, 4)),
        ((48, 32), (64, 128, 256), (6, 4)),
    ],
)
def test_pictures_of_any_size_that_halves(
    size: tuple[int, int], widths: tuple[int, ...], map_: tuple[int, int]
) -> None:
    """K8: both networks fit, images are in [-1, 1], and gradients reach every weight."""
    assert usual_widths(*size) == widths
    assert coarsest(*size, widths) == map_
    shape = (3, *size)
    generator = Generator(shape, 2, latent=5, widths=widths, label_channels=3)
    discriminator = Discriminator(shape, 2, widths=widths, label_channels=3)
    z, y = torch.randn(4, 5), torch.tensor([0, 1, 0, 1])
    images = generator(z, y)
    assert images.shape == (4, *shape)
    assert images.abs().max() <= 1
    logits = discriminator(images, y)
    assert logits.shape == (4,)
    logits.square().sum().backward()
    for network in (generator, discriminator):
        for name, p in network.named_parameters():
            assert p.grad is not None, name
            assert p.grad.abs().sum() > 0, name


@pytest.mark.parametrize("size", [(7, 7), (30, 30)])
def test_sizes_that_do_not_halve_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(UserError, match=r"give as many --gan\.widths, or prepare the pictures at"):
        coarsest(*size, (64, 128))


def test_the_class_is_tiled_to_channels_of_both_networks() -> None:
    """K9: another class, another image and another judgement."""
    torch.manual_seed(0)
    generator = Generator((1, 8, 8), 3, latent=5, widths=(8,), label_channels=4).eval()
    discriminator = Discriminator((1, 8, 8), 3, widths=(8,), label_channels=4).eval()
    assert generator.begin[0].in_channels == 5 + 4
    assert discriminator.layers[0].in_channels == 1 + 4
    z = torch.randn(1, 5).expand(3, 5)
    images = generator(z, torch.arange(3))
    judged = discriminator(images[:1].expand(3, -1, -1, -1), torch.arange(3))
    for outputs in (images, judged):
        assert not torch.equal(outputs[0], outputs[1])
        assert not torch.equal(outputs[1], outputs[2])


def test_the_class_does_not_drown_the_picture() -> None:
    """K9: at first what the discriminator sees is mostly the picture, and so it learns by it."""
    torch.manual_seed(0)
    network = Discriminator((3, 16, 16), 2, widths=(16, 32), label_channels=16)
    first, y = network.layers[0], torch.arange(2).repeat(32)
    assert network.labels is not None
    real = torch.randn(64, 3, 16, 16) / 2
    tiled = network.labels(y)[:, :, None, None].expand(-1, -1, 16, 16)
    picture, told = (
        conv2d(x, w, None, 2, 1)
        for x, w in zip((real, tiled), first.weight.split((3, 16), dim=1), strict=True)
    )
    assert told.square().mean() < 0.05 * picture.square().mean()


def test_spectral_normalisation_bounds_each_layer() -> None:
    """The largest singular value of the weights as a matrix is 1; no batch normalisation."""
    torch.manual_seed(0)
    network = Discriminator((1, 16, 16), 0, widths=(8, 16), label_channels=4, spectral=True)
    for _ in range(50):  # each call brings the estimate closer
        network(torch.randn(2, 1, 16, 16))
    for layer in network.layers:
        assert not isinstance(layer, nn.BatchNorm2d)
        if isinstance(layer, nn.Conv2d):
            norm = torch.linalg.matrix_norm(layer.weight.flatten(1), 2)
            assert norm.item() == pytest.approx(1, abs=2e-2)


def test_augmentation_by_hand() -> None:
    """Each image by its own numbers; the middle of each range changes nothing."""
    x = torch.rand(3, 3, 8, 8) * 2 - 1
    middle = torch.full((3, DRAWS), 0.5)
    for name in ("colour", "translation"):
        assert torch.allclose(AUGMENTATIONS[name](x, middle), x, atol=1e-6)
    brighter = middle.clone()
    brighter[1, 0] = 0.75
    moved = AUGMENTATIONS["colour"](x, brighter)
    assert torch.allclose(moved[1], x[1] + 0.25, atol=1e-6)
    assert torch.allclose(moved[[0, 2]], x[[0, 2]], atol=1e-6)
    grey = middle.clone()
    grey[:, 1] = 0.0
    told = AUGMENTATIONS["colour"](x, grey)
    assert torch.allclose(told[:, 0], told[:, 2], atol=1e-6)
    first = middle.clone()
    first[:, 3:5] = 0.0
    shifted = AUGMENTATIONS["translation"](x, first)
    assert torch.equal(shifted[:, :, 1:, 1:], x[:, :, :-1, :-1])
    assert shifted[:, :, 0].abs().sum() == shifted[:, :, :, 0].abs().sum() == 0
    holed = AUGMENTATIONS["cutout"](x, middle)
    assert ((holed == 0).sum(dim=(1, 2, 3)) == 3 * 4 * 4).all()
    assert torch.equal(holed[holed != 0], x[holed != 0])


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_gradients_go_through_augmentation(name: str) -> None:
    """They are those of finite differences."""
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    u = torch.rand(2, DRAWS)
    assert torch.autograd.gradcheck(lambda x: augment(x, u, [AUGMENTATIONS[name]]), (x,))
