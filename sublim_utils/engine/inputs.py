"""What the student is distilled on: noise, or images of another kind, pixels in about [-1, 1]."""

import torch
from torch import Tensor

from sublim_utils.engine import data
from sublim_utils.engine.seeds import generator
from sublim_utils.settings import Settings

__all__ = ["BLUR_SIGMA", "N_HELDOUT", "UNIFORM_STD", "blurred", "distillation_inputs", "draw", "gaussian", "uniform"]

UNIFORM_STD = 3**-0.5
"""Standard deviation of U(-1, 1); every other noise is scaled to it."""

BLUR_SIGMA = 2.0  # pixels
N_HELDOUT = 2048
"""Size of the held-out set on which the distillation loss is compared."""


def uniform(n: int, rng: torch.Generator) -> Tensor:
    """Return (n, 784) pixels, independent and uniform in [-1, 1] (Cloud et al., 6.2)."""
    return torch.empty(n, 784).uniform_(-1, 1, generator=rng)


def gaussian(n: int, rng: torch.Generator) -> Tensor:
    """Return (n, 784) pixels, independent N(0, 1/3): the uniform noise's mean and variance."""
    return torch.empty(n, 784).normal_(0, UNIFORM_STD, generator=rng)


def blurred(n: int, rng: torch.Generator, sigma: float = BLUR_SIGMA) -> Tensor:
    """Return (n, 784) pixels of noise with a Gaussian correlation of `sigma` pixels.

    White noise is multiplied in Fourier space by exp(-|k|^2 sigma^2 / 2) (periodic edges)
    and scaled back to variance 1/3, so that only the correlation differs from `gaussian`.
    """
    k = 2 * torch.pi * torch.fft.fftfreq(28)
    kernel = torch.exp(-(k[:, None] ** 2 + k[None, : 28 // 2 + 1] ** 2) * sigma**2 / 2)
    full = torch.exp(-(k[:, None] ** 2 + k[None, :] ** 2) * sigma**2 / 2)
    scale = UNIFORM_STD / full.square().mean().sqrt()
    white = torch.empty(n, 28, 28).normal_(generator=rng)
    for part in white.split(4096):
        part.copy_(torch.fft.irfft2(torch.fft.rfft2(part) * kernel, s=(28, 28)))
    return white.mul_(scale).view(n, 784)


def _shuffled_images(task: str, n: int, rng: torch.Generator) -> Tensor:
    return data.load(task).train[torch.randperm(60_000, generator=rng)[:n]]


def draw(settings: Settings, n: int, rng: torch.Generator) -> Tensor:
    """Return n distillation inputs of the kind `settings` name, (n, 784) float32."""
    noise = {"uniform": uniform, "gaussian": gaussian, "blurred": blurred}
    if settings.inputs in noise:
        return noise[settings.inputs](n, rng)
    return _shuffled_images(settings.inputs, n, rng)


def distillation_inputs(settings: Settings, seed: int) -> tuple[Tensor, Tensor]:
    """Return a seed's training inputs (n_inputs, 784) and held-out inputs (2048, 784)."""
    train = draw(settings, settings.n_inputs, generator(seed, "inputs"))
    return train, draw(settings, N_HELDOUT, generator(seed, "heldout"))
