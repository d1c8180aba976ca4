"""Any `nn.Module` as a network of the engine: one flat theta, its gradient by autograd.

Models run one after the other. `vmap` over them agrees to rounding, but takes 0.9 to 1.3 times as long on a CPU
(`bench.modules`: MLP, convolutions, attention; 1 and 5 models, batch 1024, one thread), has no rule of its own for
torch's attention kernel there, and makes a model's last bits depend on the models beside it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import torch
from torch import Tensor, nn
from torch.func import functional_call

from sublim_utils.engine.layers import BUFFERS_STAY, NO_DRAWS, check_layers, check_parameters
from sublim_utils.engine.network import Workspace
from sublim_utils.settings import require

__all__ = ["At", "Graphs", "Module", "Pass", "grouped", "seeded"]

At = tuple[int, ...]
"""Which model: its index along theta's leading axes."""


def seeded(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    """Return make(), its random numbers those of `seed`; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return make()


def grouped(names: Sequence[str], parts: Mapping[str, Sequence[str]] | None) -> dict[str, list[str]]:
    """Return each part's parameters; by default a part is what lies below one child of the root.

    `parts` gives, by a part's name, modules or parameters; each parameter must be in one part.

    >>> grouped(["stem.weight", "stem.bias", "head.weight"], None)
    {'stem': ['stem.weight', 'stem.bias'], 'head': ['head.weight']}
    """
    parts = {name.partition(".")[0]: [name.partition(".")[0]] for name in names} if parts is None else parts
    found = {
        part: [name for name in names if any(f"{name}.".startswith(f"{p}.") for p in prefixes)]
        for part, prefixes in parts.items()
    }
    for part, own in found.items():
        require("parts", part, bool(own), f"a name with parameters, of {list(names)}")
    for name in names:
        times = sum(name in own for own in found.values())
        require("parts", list(parts), times == 1, f"such that {name!r} is in one of them, not {times}")
    return found


def _generator(device: torch.device) -> torch.Generator:
    return torch.default_generator if device.type == "cpu" else torch.cuda.default_generators[device.index or 0]


@dataclass(frozen=True)
class Pass:
    """One model's pass: its parameters as leaves of the graph that ends at its logits."""

    leaves: tuple[Tensor, ...]
    logits: Tensor
    features: Tensor | None


@dataclass(frozen=True)
class Graphs:
    """A module's tape: one graph for each model, by its index."""

    passes: Mapping[At, Pass]
    shape: tuple[int, ...]  # the leading axes

    def stacked(self, values: Sequence[Tensor]) -> Tensor:
        """Return one value of each model with theta's leading axes."""
        return torch.stack([v.detach() for v in values]).view(*self.shape, *values[0].shape)

    @cached_property
    def logits(self) -> Tensor:
        """The logits of all models."""
        return self.stacked([p.logits for p in self.passes.values()])

    @cached_property
    def features(self) -> Tensor | None:
        """What the module's head reads; None without one."""
        values = [p.features for p in self.passes.values() if p.features is not None]
        return self.stacked(values) if values else None

    def select(self, condition: int) -> "Graphs":
        """Return the tape of one condition."""
        own = {(at[0], *at[2:]): p for at, p in self.passes.items() if at[1] == condition}
        return Graphs(own, (self.shape[0], *self.shape[2:]))


class Module:
    """A network made of any `nn.Module` whose output depends on its parameters and one input only.

    theta lists the parameters part by part; shared (tied) ones are in it once, under their first
    name. Buffers stay as the module is made with. Inputs, buffers and theta may be of any floating type and device.

    Parameters
    ----------
    make : makes the module, newly drawn each time, on the CPU in float32
    parts : modules or parameters of each part, by its name; by default one part for each child of the root
    head : name of the linear layer that the logits come from, if there is one
    input_dims : number of axes of one input: 1 for a vector or a sentence, 3 for an image with channels

    Raises
    ------
    SettingsError
        If a layer or parameter can't be part of such a network (`check_layers`, `check_parameters`),
        or the parts don't divide the parameters.

    >>> network = Module(lambda: nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)), head="2")
    >>> network.parts
    {'0': slice(0, 15, None), '2': slice(15, 23, None)}
    >>> network.forward(network.initial(torch.Generator()), torch.ones(5, 4)).features.shape
    torch.Size([5, 3])
    """

    def __init__(
        self,
        make: Callable[[], nn.Module],
        *,
        parts: Mapping[str, Sequence[str]] | None = None,
        head: str | None = None,
        input_dims: int = 1,
    ) -> None:
        self.make, self.module, self.input_dims = make, seeded(make, 0), input_dims
        check_layers(self.module)
        check_parameters(self.module)
        known = dict(self.module.named_parameters())
        groups = grouped(list(known), parts)
        self.shapes = {name: known[name].shape for own in groups.values() for name in own}
        self.parts: dict[str, slice] = {}
        self.n_parameters = 0
        for part, own in groups.items():
            start, self.n_parameters = self.n_parameters, self.n_parameters + sum(known[n].numel() for n in own)
            self.parts[part] = slice(start, self.n_parameters)
        self.read: list[Tensor] = []  # what the head read last
        if head is not None:
            layers = {name: own for name, own in self.module.named_modules() if isinstance(own, nn.Linear)}
            require("head", head, head in layers, f"the name of a linear layer, one of {list(layers)}")
            layers[head].register_forward_pre_hook(lambda _, inputs: self.read.append(inputs[0]))

    def __repr__(self) -> str:
        """Name the module's class."""
        return f"Module({type(self.module).__name__})"

    def initial(self, rng: torch.Generator, scale: float = 1.0) -> Tensor:
        """Draw theta, (P,): `scale` times a newly made module's parameters, whatever its own initialisation is."""
        module = seeded(self.make, int(torch.randint(2**62, (), generator=rng)))
        require("make", repr(self.make), module is not self.module, "a function that makes a new module each time")
        drawn = dict(module.named_parameters())
        return scale * torch.cat([drawn[name].detach().flatten() for name in self.shapes])

    def unflatten(self, theta: Tensor) -> dict[str, Tensor]:
        """Return views of one model's parameters, by name."""
        sizes = [shape.numel() for shape in self.shapes.values()]
        views = theta.split(sizes)
        return {name: v.view(shape) for v, (name, shape) in zip(views, self.shapes.items(), strict=True)}

    def call(self, parameters: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """Return the module's output with these parameters; what its head reads is left in `read`."""
        like = next(iter(parameters.values()))
        buffers = {
            name: b.to(like.device, like.dtype if b.is_floating_point() else None)
            for name, b in self.module.named_buffers()
        }
        self.read.clear()
        output: Tensor = functional_call(self.module, {**buffers, **parameters}, (x,))
        return output

    @contextmanager
    def steady(self, device: torch.device) -> Iterator[None]:
        """Refuse a pass that has changed a buffer or drawn random numbers, where no layer's type told so."""
        buffers, rng = dict(self.module.named_buffers()), _generator(device)
        versions, state = {name: b._version for name, b in buffers.items()}, rng.get_state()
        yield
        for name, b in buffers.items():
            require(f"buffer {name!r}", "changed by a pass", b._version == versions[name], f"fixed, in {BUFFERS_STAY}")
        same = torch.equal(rng.get_state(), state)
        require("module", repr(self), same, f"in eval mode, or made of layers such as {NO_DRAWS}")

    def one(self, theta: Tensor, x: Tensor) -> Pass:
        """Return one model's pass; where gradients are off (`torch.no_grad`), without its graph."""
        leaves = {name: v.detach().requires_grad_() for name, v in self.unflatten(theta).items()}
        logits = self.call(leaves, x)
        return Pass(tuple(leaves.values()), logits, self.read.pop() if self.read else None)

    def forward(self, theta: Tensor, x: Tensor, work: Workspace | None = None) -> Graphs:
        """Return every model's pass over x, (seed, 1 or condition, batch, ...); `work` is not used.

        Activations are kept for the backward pass, of all models at once, unless gradients are off.
        """
        lead = theta.shape[:-1]
        x = x.expand(*lead, *x.shape[x.ndim - 1 - self.input_dims :])
        with self.steady(theta.device):
            passes = {at: self.one(theta[at], x[at]) for at in product(*map(range, lead))}
        return Graphs(passes, tuple(lead))

    def backward(
        self, theta: Tensor, tape: Graphs, dlogits: Tensor, out: Tensor, work: Workspace | None = None
    ) -> Tensor:
        """Write dLoss/dtheta, (..., P), into `out`, given dLoss/dlogits; may be called again on the same tape."""
        for at, own in tape.passes.items():
            if not dlogits[at].any():  # as L_disc's are where all share one answer: half of what a look at them costs
                out[at].zero_()
                continue
            gradients = torch.autograd.grad(
                own.logits, own.leaves, dlogits[at], retain_graph=True, materialize_grads=True
            )
            torch.cat([g.flatten() for g in gradients], out=out[at])
        return out

    def logits(self, theta: Tensor, x: Tensor) -> Tensor:
        """Return one model's logits (batch, n_logits) as a pure function of theta (P,)."""
        return self.call(self.unflatten(theta), x)
