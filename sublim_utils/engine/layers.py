"""Which layers and parameters a network can be made of, and why others are refused."""

import torch
from torch import nn

from sublim_utils.settings import require

__all__ = ["BUFFERS_STAY", "NO_DRAWS", "ONE_BY_ONE", "check_layers", "check_parameters"]

BUFFERS_STAY = "a layer that leaves its buffers as they are: running statistics would be no part of theta"
NO_DRAWS = "a layer that draws no random numbers: two passes over the same inputs must agree"
ONE_BY_ONE = "a layer that treats inputs one by one, not by their batch"


def _draws(layer: nn.Module) -> bool:
    """Say whether a layer in training mode draws random numbers."""
    p = {nn.RReLU: 1.0, nn.FractionalMaxPool2d: 1.0, nn.FractionalMaxPool3d: 1.0}.get(type(layer), 0.0)
    if isinstance(layer, nn.modules.dropout._DropoutNd):
        p = layer.p
    elif isinstance(layer, nn.RNNBase | nn.MultiheadAttention):
        p = layer.dropout
    return bool(p)


def check_layers(module: nn.Module) -> None:
    """Refuse, by name and with the reason, layers whose output is no function of theta and one input.

    Raises
    ------
    SettingsError
        For running statistics and random numbers, unless the layer is in eval mode, and for batch statistics.
    """
    for name, layer in module.named_modules():
        kind, where = type(layer).__name__, f"layer {name!r}" if name else "module"
        statistics = isinstance(layer, nn.modules.batchnorm._NormBase)
        running = statistics and layer.track_running_stats and layer.training
        require(where, kind, not running, f"in eval mode, or {BUFFERS_STAY}")
        whole = isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.running_mean is None
        require(where, kind, not whole, ONE_BY_ONE)
        require(where, kind, not (layer.training and _draws(layer)), f"in eval mode, or {NO_DRAWS}")


def check_parameters(module: nn.Module) -> None:
    """Refuse, by name, parameters that are not float32 on the CPU, have no shape yet, or are not trained.

    Raises
    ------
    SettingsError
        Naming the parameter.
    """
    parameters = dict(module.named_parameters())
    require("module", type(module).__name__, bool(parameters), "a module with parameters")
    for name, p in parameters.items():
        where = f"parameter {name!r}"
        require(where, type(p).__name__, not nn.parameter.is_lazy(p), "of a known shape: call the module once")
        require(where, str(p.dtype), p.dtype == torch.float32, "torch.float32")
        require(where, str(p.device), p.device.type == "cpu", "on the CPU, where it is drawn; theta may move")
        require(where, "frozen", p.requires_grad, "trained, or a buffer: all of theta is")
