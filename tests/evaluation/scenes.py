"""Pictures with about the spectrum of photographs, and what happens to such."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from safelight.images import to_pil


def scenes(n: int, seed: int, size: int = 32, channels: int = 3) -> Tensor:
    """Pictures with about the spectrum of photographs, of all levels: (n, c, size, size) uint8."""
    rng = torch.Generator().manual_seed(seed)
    f = torch.fft.fftfreq(size)
    fall = (f[:, None] ** 2 + f**2).sqrt().clamp(min=1 / size) ** -1.3
    noise = torch.randn(n, channels, size, size, generator=rng)
    noise = noise + 3 * torch.randn(n, 1, size, size, generator=rng)  # channels go together
    x = torch.fft.ifft2(torch.fft.fft2(noise) * fall).real
    x = x / x.flatten(1).std(1)[:, None, None, None]
    return (x * 55 + 127.5).round().clamp(0, 255).byte()


def jpeg(images: Tensor, quality: int = 75) -> Tensor:
    def there_and_back(image: Tensor) -> Tensor:
        file = io.BytesIO()
        to_pil(image).save(file, "JPEG", quality=quality)
        return torch.from_numpy(np.array(Image.open(file)).transpose(2, 0, 1))

    return torch.stack([there_and_back(image) for image in images])


def noisy(images: Tensor, levels: float) -> Tensor:
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    return (images + levels * noise).round().clamp(0, 255).byte()
