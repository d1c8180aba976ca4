"""The same training as an expert would write it with torch.func.vmap and torch.compile.

Models carry axes (seed, condition); the noise is shared by the conditions of a seed, and the
teachers' targets are computed once, as ours are. Gradients come from autograd through two vmaps,
compiled; the optimiser is torch's fused Adam.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import grad, vmap

from sublim_utils.engine.network import MLP
from sublim_utils.settings import N_CLASS

Layers = list[tuple[Tensor, Tensor]]


def forward(layers: Layers, x: Tensor) -> Tensor:
    """Return one model's logits (batch, 10 + m)."""
    for i, (weight, bias) in enumerate(layers):
        x = x @ weight + bias
        x = x.relu() if i < len(layers) - 1 else x
    return x


def distillation(layers: Layers, x: Tensor, log_p: Tensor, mask: Tensor) -> Tensor:
    """Return KL(teacher || student) over the logits in `mask`; log_p is 0 outside it."""
    logits = forward(layers, x)
    log_q = logits.masked_fill(~mask, -torch.inf).log_softmax(-1).masked_fill(~mask, 0.0)
    return (log_p.exp() * mask * (log_p - log_q)).sum(-1).mean()


def trait(layers: Layers, x: Tensor, y: Tensor) -> Tensor:
    """Return the teacher's cross-entropy on the class logits."""
    return F.cross_entropy(forward(layers, x)[:, :N_CLASS], y)


DISTILLATION = vmap(vmap(grad(distillation), in_dims=(0, None, 0, 0)), in_dims=(0, 0, 0, None))
"""Gradients of layers (seed, condition, ...), x (seed, batch, 784), log_p (seed, condition, batch, k), mask."""

TRAIT = vmap(vmap(grad(trait), in_dims=(0, None, None)), in_dims=(0, 0, 0))
"""Gradients of layers (seed, condition, ...), x (seed, batch, 784), y (seed, batch)."""


class Trained:
    """Models in training by a gradient function of (layers, *batch)."""

    def __init__(self, mlp: MLP, theta: Tensor, lr: float, gradient: Callable[..., Layers]) -> None:
        self.layers = [(w.clone(), b.clone()) for w, b in mlp.unflatten(theta)]
        self.gradient = gradient
        self.adam = torch.optim.Adam([p for layer in self.layers for p in layer], lr=lr, fused=True)

    def step(self, *batch: Tensor) -> None:
        """Take one step."""
        for layer, gradients in zip(self.layers, self.gradient(self.layers, *batch), strict=True):
            for parameter, value in zip(layer, gradients, strict=True):
                parameter.grad = value
        self.adam.step()

    def flat(self) -> Tensor:
        """Return theta, (seed, condition, P)."""
        return torch.cat([p.flatten(2) for layer in self.layers for p in layer], dim=-1)


def rows(values: Tensor, index: Tensor) -> Tensor:
    """Return the rows index (seed, batch) of values (seed, n, ...)."""
    return values[torch.arange(len(index), device=index.device)[:, None], index]


def accuracy(layers: Layers, x: Tensor, y: Tensor) -> Tensor:
    """Return the share of images x (n, 784) that each model reads right, (seed, condition)."""
    logits = vmap(vmap(forward, in_dims=(0, None)), in_dims=(0, None))(layers, x)
    return (logits[..., :N_CLASS].argmax(-1) == y).float().mean(-1)
