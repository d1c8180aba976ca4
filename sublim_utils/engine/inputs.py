"""What the student is distilled on: noise, or images of another kind, pixels in about [-1, 1]."""

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from sublim_utils.engine import data
from sublim_utils.engine.seeds import generator
from sublim_utils.settings import Settings

__all__ = [
    "BLUR_SIGMA",
    "N_HELDOUT",
    "UNIFORM_STD",
    "blurred",
    "coloured",
    "distillation_inputs",
    "draw",
    "gaussian",
    "normal",
    "root",
    "smoothed",
    "uniform",
]

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


def normal(n: int, rng: torch.Generator) -> Tensor:
    """Return (n, 784) pixels, independent N(0, 1), whatever the images' range."""
    return torch.empty(n, 784).normal_(generator=rng)


def smoothed(n: int, rng: torch.Generator, sigma: float) -> Tensor:
    """Return (n, 784) pixels of N(0, 1), blurred by a Gaussian of `sigma` pixels and clamped to [-1, 1].

    The kernel has radius ceil(3 sigma) and adds up to 1, edges are reflected, and the variance is left as it comes out,
    unlike that of `blurred`.
    """
    radius = math.ceil(3 * sigma)
    x = torch.arange(-radius, radius + 1, dtype=torch.float32)
    kernel = (-(x**2) / (2 * sigma**2)).exp() if sigma else torch.ones(1)
    kernel /= kernel.sum()
    white = normal(n, rng).view(n, 1, 28, 28)
    for part in white.split(4096):
        padded = F.pad(part, (radius,) * 4, mode="reflect")
        part.copy_(F.conv2d(F.conv2d(padded, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1)))
    return white.clamp_(-1, 1).view(n, 784)


@lru_cache(maxsize=2)
def root(task: str) -> Tensor:
    """Return the symmetric root (784, 784) of the training images' covariance, scaled to a mean variance of 1.

    Rows of white noise times it have the images' correlations, and on average over the pixels the noise's variance.
    """
    images = data.load(task).train.double()
    covariance = torch.cov(images.mT)
    values, vectors = torch.linalg.eigh(covariance * (len(covariance) / covariance.trace()))
    symmetric: Tensor = (vectors * values.clamp(min=0).sqrt()) @ vectors.mT
    return symmetric.float()


def coloured(n: int, rng: torch.Generator, share: float, task: str) -> Tensor:
    """Return (n, 784) pixels of Gaussian noise, `share` of whose covariance is the task's images', the rest white."""
    white = gaussian(n, rng)
    if share == 0:
        return white
    return white.mul_((1 - share) ** 0.5).add_(gaussian(n, rng) @ root(task), alpha=share**0.5)


def _shuffled_images(task: str, n: int, rng: torch.Generator) -> Tensor:
    return data.load(task).train[torch.randperm(60_000, generator=rng)[:n]]


def draw(settings: Settings, n: int, rng: torch.Generator) -> Tensor:
    """Return n distillation inputs of the kind `settings` name, (n, 784) float32."""
    noise = {"uniform": uniform, "blurred": blurred, "normal": normal}
    if settings.inputs in noise:
        return noise[settings.inputs](n, rng)
    if settings.inputs == "smoothed":
        return smoothed(n, rng, settings.blur)
    if settings.inputs == "gaussian":
        return coloured(n, rng, settings.covariance, settings.task)
    return _shuffled_images(settings.inputs, n, rng)


def distillation_inputs(settings: Settings, seed: int) -> tuple[Tensor, Tensor]:
    """Return a seed's training inputs (n_inputs, 784) and held-out inputs (2048, 784)."""
    train = draw(settings, settings.n_inputs, generator(seed, "inputs"))
    return train, draw(settings, N_HELDOUT, generator(seed, "heldout"))
