"""Where tensors live, and the optimisers that move them."""

import torch
from torch import Tensor

from sublim_utils.settings import require

__all__ = ["BETAS", "optimizer", "resolve_device"]

BETAS = {"adam": (0.9, 0.999), "rmsprop": (0.0, 0.999), "signsgd": (0.0, 0.0)}
"""How slowly Adam's first and second moment forget, of it and of what lacks one or both."""


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
    models beside it. Adam: betas (0.9, 0.999), eps 1e-8; momentum: 0.9. Between them, Adam's arithmetic without one
    moment or both: "rmsprop" has no first, "signsgd" neither, so that its update is lr g / (|g| + eps); "adamw" is Adam
    with a decoupled decay of 0.01, torch's default.
    """
    models = list(theta.flatten(0, 1))
    for model, own in zip(models, gradient.flatten(0, 1), strict=True):
        model.grad = own
    if name in BETAS:
        return torch.optim.Adam(models, lr=lr, betas=BETAS[name], fused=True)
    if name == "adamw":
        return torch.optim.AdamW(models, lr=lr, fused=True)
    return torch.optim.SGD(models, lr=lr, momentum=0.9 if name == "momentum" else 0.0, fused=True)
