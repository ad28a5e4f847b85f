"""Other libraries' training loops, as they come, beside ours: each advances by steps.

`Lucidrains` is that library's own Trainer. diffusers has its loop in an example that is no part of
the package; `Diffusers` does what examples/unconditional_image_generation/train_unconditional.py
does with its defaults, line by line: AdamW (betas 0.95 and 0.999, decay 1e-6), a cosine rate after
500 steps of warm-up, gradients clipped at 1, DDPM of 1,000 linear steps, float32, no average.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

os.environ.setdefault("TQDM_DISABLE", "1")

import torch
from torch import Tensor, nn

BATCH = 64
EVALUATIONS = 36  # of the network, for an image that a peer draws


class Peer(Protocol):
    """A training that can be taken further."""

    net: nn.Module

    def advance(self, steps: int) -> None: ...


class Drawing(Peer, Protocol):
    """One that draws by its library's own sampler."""

    def draw(self, n: int) -> Tensor: ...


class Ours:
    """Safelight's trainer, with what a configuration says."""

    def __init__(self, cache: Any, config: Any, threads: int, precision: str) -> None:
        from accelerate import Accelerator

        from safelight.config import Plan
        from safelight.training.planning import measure_sigma_data
        from safelight.training.trainer import Trainer

        plan = Plan(
            steps=10**6,
            micro_batch=config.optimiser.batch,
            precision=precision,
            sigma_data=measure_sigma_data(cache),
            validate_every=10**6,
            preview_every=10**6,
            checkpoint_every=10**6,
            threads=threads,
            processes=1,
            step_seconds=0,
        )
        self.trainer = Trainer(config, plan, cache, Accelerator())
        self.net = self.trainer.learner.model.net

    def advance(self, steps: int) -> None:
        for _ in range(steps):
            self.trainer.advance()


class Lucidrains:
    """denoising_diffusion_pytorch's Trainer on a folder of pictures."""

    def __init__(
        self,
        pictures: Path,
        side: int,
        scratch: Path,
        unet: dict[str, Any],
        batch: int = BATCH,
        lr: float = 1e-4,
    ) -> None:
        from denoising_diffusion_pytorch import GaussianDiffusion, Trainer, Unet

        self.net = Unet(**unet)
        self.diffusion = GaussianDiffusion(
            self.net, image_size=side, sampling_timesteps=EVALUATIONS
        )
        self.trainer = Trainer(
            self.diffusion,
            str(pictures),
            train_batch_size=batch,
            train_lr=lr,
            train_num_steps=0,
            save_and_sample_every=10**9,
            results_folder=str(scratch),
            calculate_fid=False,
        )

    def advance(self, steps: int) -> None:
        self.trainer.train_num_steps += steps
        self.trainer.train()

    def draw(self, n: int) -> Tensor:
        """n images (n, 3, side, side) in [0, 1], by the averaged weights and DDIM."""
        return self.trainer.ema.ema_model.sample(n)


class Diffusers:
    """The loop of diffusers' example of unconditional training, on a folder of pictures."""

    def __init__(
        self,
        pictures: Path,
        side: int,
        unet: dict[str, Any],
        batch: int = BATCH,
        lr: float = 1e-4,
        steps: int = 10_000,
    ) -> None:
        from accelerate import Accelerator
        from diffusers import DDPMScheduler, UNet2DModel
        from diffusers.optimization import get_scheduler

        self.net = UNet2DModel(sample_size=side, in_channels=3, out_channels=3, **unet)
        self.noise = DDPMScheduler(num_train_timesteps=1000, beta_schedule="linear")
        optimiser = torch.optim.AdamW(
            self.net.parameters(), lr=lr, betas=(0.95, 0.999), weight_decay=1e-6, eps=1e-8
        )
        loader = torch.utils.data.DataLoader(Folder(pictures, side), batch, shuffle=True)
        rate = get_scheduler("cosine", optimiser, num_warmup_steps=500, num_training_steps=steps)
        self.accelerator = Accelerator()
        self.model, self.optimiser, self.loader, self.rate = self.accelerator.prepare(
            self.net, optimiser, loader, rate
        )
        self.batches = self._endless()

    def _endless(self) -> Iterator[Tensor]:
        while True:
            yield from self.loader

    def advance(self, steps: int) -> None:
        self.model.train()
        for _ in range(steps):
            clean = next(self.batches)
            noise = torch.randn(clean.shape)
            times = torch.randint(0, 1000, (len(clean),)).long()
            noisy = self.noise.add_noise(clean, noise, times)
            with self.accelerator.accumulate(self.model):
                found = self.model(noisy, times).sample
                loss = nn.functional.mse_loss(found.float(), noise.float())
                self.accelerator.backward(loss)
                self.accelerator.clip_grad_norm_(self.model.parameters(), 1.0)
                self.optimiser.step()
                self.rate.step()
                self.optimiser.zero_grad()
            loss.detach().item()

    def draw(self, n: int) -> Tensor:
        """n images (n, 3, side, side) in [0, 1], by DDPM's steps."""
        from diffusers import DDPMPipeline

        pipeline = DDPMPipeline(unet=self.net.eval(), scheduler=self.noise)
        pipeline.set_progress_bar_config(disable=True)
        drawn = pipeline(batch_size=n, num_inference_steps=EVALUATIONS, output_type="np").images
        return torch.from_numpy(drawn).permute(0, 3, 1, 2)


class Folder(torch.utils.data.Dataset):
    """Its pictures, as the example transforms them."""

    def __init__(self, place: Path, side: int) -> None:
        from torchvision import transforms

        self.files = sorted(place.rglob("*.png"))
        bilinear = transforms.InterpolationMode.BILINEAR
        self.transform = transforms.Compose(
            [
                transforms.Resize(side, interpolation=bilinear),
                transforms.RandomCrop(side),
                transforms.Lambda(lambda image: image),
                transforms.ToTensor(),
                transforms.Normalize([0.5], [0.5]),
            ]
        )

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Tensor:
        from PIL import Image

        return self.transform(Image.open(self.files[index]).convert("RGB"))
