"""The learned uncertainty finds the mean loss of each noise level."""

from __future__ import annotations

import torch

from safelight.nets.uncertainty import Uncertainty


def test_it_is_exact_beside_a_network_in_bf16() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert Uncertainty()(torch.zeros(1)).dtype == torch.float32


def test_it_learns_the_logarithm_of_the_loss() -> None:
    """X12: minimising loss / exp(u) + u, eq. (21) of arXiv:2312.02696."""
    uncertainty = Uncertainty()
    c_noise = torch.linspace(-1, 1, 64)
    assert torch.equal(uncertainty(c_noise), torch.zeros(64))
    expected = 1.5 * c_noise - 0.5
    generator = torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam(uncertainty.parameters(), 0.005)
    for _ in range(400):
        noisy = expected.exp() * 2 * torch.rand(64, generator=generator)
        u = uncertainty(c_noise)
        loss = (noisy / u.exp() + u).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        error = uncertainty(c_noise) - expected
    assert float(error.abs().mean()) < 0.1
