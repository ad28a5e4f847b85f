"""The picture of a training step."""

from __future__ import annotations

import pytest
import torch

from safelight.reporting.step_times import figure
from safelight.training.step_times import Share, StepTimes


def test_the_picture_of_a_step_has_a_bar_for_each_kind() -> None:
    """As long as its share, the longest on top; what takes no time has none."""
    seconds = {"convolutions backwards": 0.03, "activations": 0.06, "averages": 0.0}
    found = StepTimes(
        first=7,
        seconds=[0.08, 0.1],
        before=[0.06],
        shares={kind: Share(taken, {}) for kind, taken in seconds.items()},
        device=torch.device("cpu"),
        save_trace=lambda path: None,
    )
    about = {"run": "r", "device": "d", "precision": "bf16", "batch": 16, "micro_batch": 8}
    (axes,) = figure(found, about).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        *("activations", "convolutions backwards")
    ]
    lengths = [bar.get_width() for bar in axes.patches]
    assert lengths == pytest.approx([200 / 3, 100 / 3])
    assert axes.get_title(loc="left") == "Where a training step goes: 90.0 ms in all"
    assert "took 1.50 times as long as 1 step before" in axes.figure.get_supxlabel().replace(
        "\n", " "
    )
