"""The network: an MLP whose parameters are one flat vector with leading axes (seed, condition).

Forward and backward are written out, because on a CPU they beat autograd here, and
because a gradient that is one flat vector makes every inner product one product.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor

from sublim_utils.settings import Settings

aten = torch.ops.aten
ACTIVATIONS = {
    "relu": (Tensor.relu_, lambda d, h: aten.threshold_backward.grad_input(d, h, 0, grad_input=d)),
    "tanh": (Tensor.tanh_, lambda d, h: aten.tanh_backward.grad_input(d, h, grad_input=d)),
    "identity": (lambda h: h, lambda d, h: d),
}
"""Each activation h = act(z), and d -> d act'(z) given h; both in place."""


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


@dataclass(frozen=True)
class Layers:
    """The tape of an MLP: [x, h_1, ..., logits]."""

    outputs: list[Tensor]

    @property
    def logits(self) -> Tensor:
        """The last layer's outputs."""
        return self.outputs[-1]

    @property
    def features(self) -> Tensor:
        """What the last layer reads."""
        return self.outputs[-2]

    def select(self, condition: int) -> "Layers":
        """Return the tape of one condition."""
        x, *hidden = self.outputs
        return Layers([x[:, min(condition, x.shape[1] - 1)], *(h[:, condition] for h in hidden)])


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

    @classmethod
    def of(cls, settings: Settings) -> "MLP":
        """Return the network that `settings` describe."""
        return cls(sizes=settings.sizes, activation=settings.activation)

    @cached_property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """(d_in, d_out) of each layer."""
        return tuple(pairwise(self.sizes))

    @cached_property
    def layers(self) -> tuple[slice, ...]:
        """Where each layer's parameters lie in theta."""
        stops = [0]
        for d_in, d_out in self.shapes:
            stops.append(stops[-1] + (d_in + 1) * d_out)
        return tuple(slice(a, b) for a, b in pairwise(stops))

    @property
    def parts(self) -> dict[str, slice]:
        """Each layer by its name."""
        return {f"layer {i}": part for i, part in enumerate(self.layers, 1)}

    @property
    def n_parameters(self) -> int:
        """P, the length of theta."""
        return self.layers[-1].stop

    def unflatten(self, theta: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return views (W, b) of every layer of theta, shape (..., P)."""
        lead, views = theta.shape[:-1], []
        for layer, (d_in, d_out) in zip(self.layers, self.shapes, strict=True):
            part = theta[..., layer]
            weight = part[..., : d_in * d_out].view(*lead, d_in, d_out)
            views.append((weight, part[..., d_in * d_out :]))
        return views

    def initial(self, rng: torch.Generator, scale: float = 1.0) -> Tensor:
        """Draw theta, shape (P,): weights scale * N(0, 1/d_in), biases 0 (Cloud et al., 6.2)."""
        theta = torch.zeros(self.n_parameters)
        for weight, _ in self.unflatten(theta):
            weight.normal_(generator=rng).mul_(scale * weight.shape[0] ** -0.5)
        return theta

    def forward(self, theta: Tensor, x: Tensor, work: Workspace | None = None) -> Layers:
        """Return [x, h_1, ..., logits]: every layer's output, h_l = act(h_(l-1) W_l + b_l).

        theta is (seed, condition, P), x (seed, 1 or condition, batch, d_in); each output
        is (seed, condition, batch, d_out). Leading axes may also be absent. The outputs lie
        in `work` and live until the next pass through it.
        """
        act, work = ACTIVATIONS[self.activation][0], work or Workspace()
        outputs = [x]
        for weight, bias in self.unflatten(theta):
            shape = (*theta.shape[:-1], x.shape[-2], weight.shape[-1])
            z = work.take(f"output{len(outputs)}", shape, theta)
            torch.matmul(outputs[-1], weight, out=z).add_(bias.unsqueeze(-2))
            outputs.append(act(z) if len(outputs) < len(self.shapes) else z)
        return Layers(outputs)

    def backward(
        self,
        theta: Tensor,
        tape: Layers,
        dlogits: Tensor,
        out: Tensor,
        work: Workspace | None = None,
    ) -> Tensor:
        """Write dLoss/dtheta, (..., P), into `out`, given dLoss/dlogits, (..., batch, d_out).

        The input's own gradient is never computed.
        """
        chain, work = ACTIVATIONS[self.activation][1], work or Workspace()
        delta, weights, outputs = dlogits, self.unflatten(theta), tape.outputs
        for layer, (d_weight, d_bias) in reversed(list(enumerate(self.unflatten(out)))):
            torch.matmul(outputs[layer].mT, delta, out=d_weight)
            torch.sum(delta, dim=-2, out=d_bias)
            if layer:
                below = work.take(f"delta{layer}", outputs[layer].shape, theta)
                delta = chain(torch.matmul(delta, weights[layer][0].mT, out=below), outputs[layer])
        return out


Network, Tape = MLP, Layers


def network_of(settings: Settings) -> MLP:
    """Return the network that `settings` describe."""
    return MLP.of(settings)
