"""What a configuration costs: parameters, arithmetic, memory, and time on this machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import psutil
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from safelight.config import Config
from safelight.errors import UserError
from safelight.seeding import ImageNoise
from safelight.training.batches import Batch
from safelight.training.devices import best_precision
from safelight.training.families import family_of
from safelight.training.learner import Problem, Turn
from safelight.training.planning import Footprint, footprint, micro_batch

Result = TypeVar("Result")
SIGMA_DATA = 0.5  # of no pictures in particular
STEPS, SECONDS = 5, 0.7  # are timed, and about how long each may take


@dataclass(frozen=True)
class Cost:
    """Of pictures of a shape, without classes.

    flops: of one forward pass of one image, in a GAN of its generator: convolutions and matrix
        products, where a multiply-add counts as two; what is done at each value alone is not
        counted.
    memory: bytes of a training step with the whole batch.
    """

    parameters: int
    flops: int
    memory: int


@dataclass(frozen=True)
class Speed:
    """Images a second, forwards and backwards: the median of several steps and their extremes.

    others: percent of the machine's processors that other processes had meanwhile. Two threads
        that wait for each other can lose far more than that share.
    """

    median: float
    low: float
    high: float
    others: float


class Trial:
    """A configuration on this machine, its network untrained."""

    def __init__(self, config: Config, shape: tuple[int, int, int], device: torch.device) -> None:
        self.config, self.shape, self.device = config, shape, device
        self.bf16 = best_precision(device) == "bf16"
        self.family = family_of(config)
        self.learner = self.family.learner(config, Problem(shape, 0, SIGMA_DATA)).to(device)
        self.needs: Footprint = footprint(self.learner, self._batch(1), self.bf16, device)

    def cost(self) -> Cost:
        net, inputs = self.family.call(self.learner.model, self._batch(1).images)
        batch = self.config.optimiser.batch
        return Cost(
            parameters=sum(p.numel() for p in self.learner.parameters()),
            flops=count_flops(net, *inputs),
            memory=self.needs.fixed + batch * self.needs.image,
        )

    def speed(self) -> Speed | None:
        """None where a step does not fit into the memory that is free.

        With so many images at once that a step takes a moment, at most the batch: a processor
        is no faster for more of them.
        """
        try:
            most = micro_batch(
                self.config, self.needs, self.config.optimiser.batch, self.device, local=1
            )
        except UserError:
            return None
        few = min(4, most)
        self._seconds(few)  # the first step allocates memory and chooses kernels
        n = min(most, max(few, int(few * SECONDS / self._seconds(few))))
        self._seconds(n)
        seconds, others = beside(lambda: [self._seconds(n) for _ in range(STEPS)])
        rates = [n / s for s in seconds]
        return Speed(statistics.median(rates), min(rates), max(rates), others)

    def _seconds(self, n: int) -> float:
        """Of learning from n images, but for the change of the weights."""
        batch, noise = self._batch(n), ImageNoise(range(n), self.device)
        self._wait()
        began = time.perf_counter()
        for phase in self.learner.phases:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
                loss = self.learner(batch, noise, Turn(phase))["loss"].mean()
            torch.autograd.backward(loss, inputs=list(self.learner.taught(phase)))
        self._wait()
        seconds = time.perf_counter() - began
        for parameter in self.learner.parameters():
            parameter.grad = None
        return seconds

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _batch(self, n: int) -> Batch:
        return Batch(torch.zeros(n, *self.shape, device=self.device), None)


def beside(work: Callable[[], Result]) -> tuple[Result, float]:
    """What comes of the work, and the percent of all processors that others had meanwhile."""
    psutil.cpu_percent()  # the next call says the mean since this one
    wall, own = time.perf_counter(), time.process_time()
    result = work()
    wall, own = time.perf_counter() - wall, time.process_time() - own
    mine = 100 * own / wall / (psutil.cpu_count() or 1)
    return result, max(0.0, psutil.cpu_percent() - mine)


def count_flops(net: nn.Module, *inputs: Tensor) -> int:
    """Of a forward pass, see `Cost`."""
    learns = net.training
    # Attention as the products that it is made of: not each of its fused forms is counted.
    with (
        sdpa_kernel(SDPBackend.MATH),
        FlopCounterMode(display=False) as counter,
        torch.no_grad(),
    ):
        net.eval()(*inputs)
    net.train(learns)
    return int(counter.get_total_flops())
