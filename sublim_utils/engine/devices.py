"""Where tensors live, and the optimisers that move them."""

import torch
from torch import Tensor

from sublim_utils.settings import require

__all__ = ["optimizer", "resolve_device"]


def resolve_device(device: str = "auto") -> torch.device:
    """Return the device named; "auto" is CUDA where there is one, else the CPU.

    Raises
    ------
    SettingsError
        If it is none of "auto", "cpu", "cuda", or there is no CUDA.

    >>> resolve_device("cpu")
    device(type='cpu')
    """
    allowed = ("auto", "cpu", "cuda") if torch.cuda.is_available() else ("auto", "cpu")
    require("device", device, device in allowed, f"one of {allowed} here")
    return torch.device(allowed[-1] if device == "auto" else device)


def optimizer(name: str, theta: Tensor, gradient: Tensor, lr: float) -> torch.optim.Optimizer:
    """Return torch's optimiser over the models of theta (seed, condition, P), fed by `gradient`.

    Each model is a parameter of its own, so that its arithmetic does not depend on the
    models beside it. Adam: betas (0.9, 0.999), eps 1e-8; momentum: 0.9.
    """
    models = list(theta.flatten(0, 1))
    for model, own in zip(models, gradient.flatten(0, 1), strict=True):
        model.grad = own
    if name == "adam":
        return torch.optim.Adam(models, lr=lr, fused=True)
    return torch.optim.SGD(models, lr=lr, momentum=0.9 if name == "momentum" else 0.0, fused=True)
