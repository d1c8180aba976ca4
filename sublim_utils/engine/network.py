"""Networks: what the engine asks of one, and the MLP, whose forward and backward are written out.

Every network's parameters are one flat vector theta with leading axes (seed, condition), so that
every inner product is one product. The MLP's passes are written out because on a CPU they beat
autograd here; `modules.Module` makes a network of any other `nn.Module`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from sublim_utils.settings import N_CLASS, Settings, require

__all__ = ["ACTIVATIONS", "MLP", "PURE", "Network", "Outputs", "Tape", "Workspace", "aten"]

aten = torch.ops.aten
ACTIVATIONS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
    "relu": (Tensor.relu_, lambda d, h: aten.threshold_backward.grad_input(d, h, 0, grad_input=d)),
    "tanh": (Tensor.tanh_, lambda d, h: aten.tanh_backward.grad_input(d, h, grad_input=d)),
    "identity": (lambda h: h, lambda d, h: d),
}
"""Each activation h = act(z), and d -> d act'(z) given h; both in place."""

PURE: dict[str, Callable[[Tensor], Tensor]] = {"relu": torch.relu, "tanh": torch.tanh, "identity": lambda h: h}
"""The same activations without writing in place, so that autograd can follow."""


class Workspace:
    """Memory reused from step to step: fresh pages cost more here than the arithmetic on them."""

    def __init__(self) -> None:
        self.buffers: dict[str, Tensor] = {}

    def take(self, name: str, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Return an uninitialised tensor; its content lives until `name` is taken again."""
        size = math.prod(shape)
        buffer = self.buffers.get(name)
        if buffer is None or buffer.numel() < size or buffer.dtype != like.dtype:
            buffer = self.buffers[name] = like.new_empty(size)
        return buffer[:size].view(shape)


class Tape(Protocol):
    """What a forward pass leaves behind for the backward pass."""

    @property
    def logits(self) -> Tensor:
        """(seed, condition, batch, n_logits); they live until the next pass through the same `Workspace`."""

    @property
    def features(self) -> Tensor | None:
        """What the last linear layer reads, (seed, condition, batch, width); None if no such layer is known."""

    def select(self, condition: int) -> Self:
        """Return the tape of one condition, that is of theta[:, condition]."""


class Network(Protocol):
    """The maps theta -> logits -> gradient of a network whose parameters are one flat vector.

    theta is (seed, condition, P) or without leading axes; x is (seed, 1 or condition, batch, ...),
    or lacks leading axes where all models read the same inputs.
    """

    @property
    def n_parameters(self) -> int:
        """P, the length of theta."""

    @property
    def parts(self) -> Mapping[str, slice]:
        """Where each part lies in theta, by its name: in order, disjoint, covering [0, P)."""

    def initial(self, rng: torch.Generator, scale: float = 1.0) -> Tensor:
        """Draw theta, (P,), multiplied by `scale`."""

    def forward(self, theta: Tensor, x: Tensor, work: Workspace | None = None) -> Tape:
        """Return the tape of every model's pass over its inputs."""

    def backward(
        self,
        theta: Tensor,
        tape: Any,  # noqa: ANN401 (the network's own kind: what its forward returned)
        dlogits: Tensor,
        out: Tensor,
        work: Workspace | None = None,
    ) -> Tensor:
        """Write dLoss/dtheta, (..., P), into `out`, given dLoss/dlogits, (..., batch, n_logits), and return it."""

    def logits(self, theta: Tensor, x: Tensor) -> Tensor:
        """Return one model's logits (batch, n_logits) as a pure function of theta (P,), which can be derived."""


@dataclass(frozen=True)
class Outputs:
    """The MLP's tape: [x, h_1, ..., logits], each (seed, condition, batch, d_out); x may have one condition for all."""

    layers: list[Tensor]

    @property
    def logits(self) -> Tensor:
        """The last layer's output."""
        return self.layers[-1]

    @property
    def features(self) -> Tensor:
        """What the last layer reads, of every model."""
        return self.layers[-2].expand(*self.logits.shape[:-1], -1)

    def select(self, condition: int) -> "Outputs":
        """Return the tape of one condition."""
        x, *outputs = self.layers
        x = x.expand(*self.logits.shape[:-1], -1)
        return Outputs([h[:, condition] for h in (x, *outputs)])


@dataclass(frozen=True)
class MLP:
    """Shapes of a fully connected network and the maps theta -> logits -> gradient.

    `sizes` are the widths of all layers (input and output included). A layer's
    parameters lie together in theta: W (d_in, d_out) row by row, then b (d_out).

    >>> MLP(sizes=(784, 256, 256, 13)).n_parameters
    270093
    """

    sizes: tuple[int, ...]
    activation: str = "relu"
    init: str = "normal"

    @classmethod
    def of(cls, settings: Settings) -> "MLP":
        """Return the MLP that `settings` describe, refusing settings of another network."""
        allowed = "'mlp': what is asked for holds for dense layers only"
        require("network", settings.network, settings.network == "mlp", allowed)
        return cls(sizes=settings.sizes, activation=settings.activation, init=settings.init)

    @cached_property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """(d_in, d_out) of each layer."""
        return tuple(pairwise(self.sizes))

    @cached_property
    def parts(self) -> dict[str, slice]:
        """Where each layer's parameters lie in theta: "layer 1", "layer 2", ..."""
        stops = [0]
        for d_in, d_out in self.shapes:
            stops.append(stops[-1] + (d_in + 1) * d_out)
        return {f"layer {i}": slice(a, b) for i, (a, b) in enumerate(pairwise(stops), start=1)}

    @cached_property
    def n_parameters(self) -> int:
        """P, the length of theta."""
        return sum((d_in + 1) * d_out for d_in, d_out in self.shapes)

    def unflatten(self, theta: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return views (W, b) of every layer of theta, shape (..., P)."""
        lead, views = theta.shape[:-1], []
        for layer, (d_in, d_out) in zip(self.parts.values(), self.shapes, strict=True):
            part = theta[..., layer]
            weight = part[..., : d_in * d_out].view(*lead, d_in, d_out)
            views.append((weight, part[..., d_in * d_out :]))
        return views

    def block(self, name: str) -> Tensor:
        """Return where one of `BLOCKS` lies in theta, as booleans (P,): a hidden layer, or the head of some logits.

        >>> mlp = MLP(sizes=(4, 3, 2, 13))
        >>> int(mlp.block("layer 1").sum()), int(mlp.block("class head").sum()), int(mlp.block("auxiliary head").sum())
        (15, 30, 9)
        """
        inside = torch.zeros(self.n_parameters, dtype=torch.bool)
        if name in self.parts:
            inside[self.parts[name]] = True
            return inside
        logits = {"class head": slice(N_CLASS), "auxiliary head": slice(N_CLASS, None)}[name]
        for values in self.unflatten(inside)[-1]:
            values[..., logits] = True
        return inside

    def blocks(self, names: Sequence[str]) -> Tensor:
        """Return where any of some `BLOCKS`, one or more, lies in theta, as booleans (P,)."""
        return torch.stack([self.block(name) for name in names]).any(0)

    def initial(self, rng: torch.Generator, scale: float = 1.0) -> Tensor:
        """Draw theta, shape (P,): weights scale * N(0, 1/d_in), biases 0 (Cloud et al., 6.2).

        With `init` = "uniform", both are scale * U(-1, 1) / sqrt(d_in): what PyTorch's own layers start from.
        """
        theta = torch.zeros(self.n_parameters)
        for weight, bias in self.unflatten(theta):
            unit = scale * weight.shape[0] ** -0.5
            if self.init == "uniform":
                for part in (weight, bias):
                    part.uniform_(-1, 1, generator=rng).mul_(unit)
            else:
                weight.normal_(generator=rng).mul_(unit)
        return theta

    def forward(self, theta: Tensor, x: Tensor, work: Workspace | None = None) -> Outputs:
        """Return every layer's output, h_l = act(h_(l-1) W_l + b_l).

        theta is (seed, condition, P), x (seed, 1 or condition, batch, d_in). Leading axes may
        also be absent. The outputs lie in `work` and live until the next pass through it.
        """
        act, work = ACTIVATIONS[self.activation][0], work or Workspace()
        outputs = [x]
        for weight, bias in self.unflatten(theta):
            shape = (*theta.shape[:-1], x.shape[-2], weight.shape[-1])
            z = work.take(f"output{len(outputs)}", shape, theta)
            torch.matmul(outputs[-1], weight, out=z).add_(bias.unsqueeze(-2))
            outputs.append(act(z) if len(outputs) < len(self.shapes) else z)
        return Outputs(outputs)

    def backward(
        self, theta: Tensor, tape: Outputs, dlogits: Tensor, out: Tensor, work: Workspace | None = None
    ) -> Tensor:
        """Write dLoss/dtheta, (..., P), into `out`, given dLoss/dlogits, (..., batch, d_out).

        The input's own gradient is never computed.
        """
        chain, outputs, work = ACTIVATIONS[self.activation][1], tape.layers, work or Workspace()
        delta, weights = dlogits, self.unflatten(theta)
        for layer, (d_weight, d_bias) in reversed(list(enumerate(self.unflatten(out)))):
            torch.matmul(outputs[layer].mT, delta, out=d_weight)
            torch.sum(delta, dim=-2, out=d_bias)
            if layer:
                below = work.take(f"delta{layer}", outputs[layer].shape, theta)
                delta = chain(torch.matmul(delta, weights[layer][0].mT, out=below), outputs[layer])
        return out

    def inputs(self, theta: Tensor, x: Tensor) -> list[Tensor]:
        """Return [x, h_1, ..., h_(L-1)] of one model, what each layer reads, as pure functions of theta (P,)."""
        read = [x]
        for weight, bias in self.unflatten(theta)[:-1]:
            read.append(PURE[self.activation](read[-1] @ weight + bias))
        return read

    def logits(self, theta: Tensor, x: Tensor) -> Tensor:
        """Return one model's logits (batch, n_logits) as a pure function of theta (P,).

        >>> mlp = MLP(sizes=(4, 3, 12))
        >>> theta, x = torch.ones(mlp.n_parameters), torch.ones(2, 4)
        >>> bool((mlp.logits(theta, x) == mlp.forward(theta, x).logits).all())
        True
        """
        weight, bias = self.unflatten(theta)[-1]
        return self.inputs(theta, x)[-1] @ weight + bias
