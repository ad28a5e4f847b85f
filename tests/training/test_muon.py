"""Muon beside torch's own, and what it takes for matrices."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from safelight.config import Optimiser
from safelight.training.muon import ITERATIONS, Muon, matrices, towards_orthogonal
from safelight.training.optimisers import make_optimiser


def gradients(parameters: list[nn.Parameter], step: int) -> None:
    torch.manual_seed(step)
    for parameter in parameters:
        parameter.grad = torch.empty_like(parameter).copy_(torch.randn(parameter.shape))


def test_matrices_move_as_torchs_own_moves_them() -> None:
    """B4. torch's iterates in bf16, on whole matrices: a tenth of what moves is the most apart.

    A wide matrix, a tall one and a square one, with the decay of the weights; five steps.
    """
    shapes = [(24, 90), (90, 24), (24, 90), (40, 40)]
    torch.manual_seed(0)
    ours = [nn.Parameter(torch.randn(shape)) for shape in shapes]
    theirs = [nn.Parameter(p.detach().clone()) for p in ours]
    began = [p.detach().clone() for p in ours]
    mine = Muon(ours, [], 1e-2, betas=(0.9, 0.99), weight_decay=0.1)
    reference = torch.optim.Muon(
        theirs, lr=1e-2, weight_decay=0.1, momentum=0.95, adjust_lr_fn="match_rms_adamw"
    )
    for step in range(5):
        gradients(ours, step)
        gradients(theirs, step)
        mine.step()
        reference.step()
    for one, other, before in zip(ours, theirs, began, strict=True):
        moved = (other - before).norm()
        assert (one - other).norm() < 0.1 * moved
        assert (one - before).norm() > 0.5 * moved


@given(st.integers(2, 40), st.integers(0, 40), st.integers(0, 2**31))
def test_singular_values_come_to_about_one(rows: int, more: int, seed: int) -> None:
    """The same vectors; and the iteration on Gram matrices is the iteration on the matrix."""
    torch.manual_seed(seed)
    x = torch.randn(2, rows, rows + more, dtype=torch.float64)
    x /= x.norm(dim=(1, 2), keepdim=True)
    made = towards_orthogonal(x @ x.mT) @ x
    a, b, c = 3.4445, -4.7750, 2.0315
    plain = x
    for _ in range(ITERATIONS):
        gram = plain @ plain.mT
        plain = a * plain + (b * gram + c * gram @ gram) @ plain
    torch.testing.assert_close(made, plain)
    if more > rows:  # well conditioned: small singular values need more iterations
        values = torch.linalg.svdvals(made)
        assert values.max() < 1.3
        assert values.min() > 0.3


def test_all_that_is_no_matrix_within_the_network_moves_as_adamw_moves_it() -> None:
    """The first and the last layer, biases and norms; channels_last or not."""

    def network() -> nn.Sequential:
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 32, 3), nn.GroupNorm(4, 32), nn.Conv2d(32, 24, 3), nn.Conv2d(24, 3, 3)
        )

    ours, lying, reference = network(), network().to(memory_format=torch.channels_last), network()
    options = Optimiser(name="muon", lr=1e-2)
    within = ours[2].weight
    assert [id(p) for p in matrices(ours)] == [id(within)]
    made = [make_optimiser(ours, options), make_optimiser(lying, options)]
    adamw = make_optimiser(reference, Optimiser(name="adamw", lr=1e-2))
    for step in range(3):
        for net in (ours, lying, reference):
            gradients(list(net.parameters()), step)
        for optimiser in (*made, adamw):
            optimiser.step()
    for (name, one), other, same in zip(
        ours.named_parameters(), reference.parameters(), lying.parameters(), strict=True
    ):
        torch.testing.assert_close(one, same, rtol=1e-4, atol=1e-6)
        assert torch.allclose(one, other) == (name != "2.weight")


def test_what_has_a_gradient_of_zeros_stays_where_it_is() -> None:
    """And what has none at all; another matrix of the size moves beside them."""
    torch.manual_seed(0)
    still, untaught, moving = (nn.Parameter(torch.randn(20, 30)) for _ in range(3))
    before = [p.detach().clone() for p in (still, untaught, moving)]
    still.grad, moving.grad = torch.zeros(20, 30), torch.randn(20, 30)
    Muon([still, untaught, moving], [], 1e-2, betas=(0.9, 0.99)).step()
    same = [torch.equal(p, b) for p, b in zip((still, untaught, moving), before, strict=True)]
    assert same == [True, True, False]
    assert moving.isfinite().all()
