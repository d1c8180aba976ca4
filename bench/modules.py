"""What any module costs as a network: one pass, forward and backward, beside the written-out MLP's."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.func import functional_call, vjp, vmap

from bench.clock import alternate, ratios, spread, timed
from bench.setting import Bench
from sublim_utils.engine.architectures import MODULES, network_of
from sublim_utils.engine.modules import Module
from sublim_utils.engine.network import MLP, Network, Workspace
from sublim_utils.engine.seeds import generator
from sublim_utils.settings import Settings

NUMBERS = (1, 4)
"""Models of one seed, on inputs that they share."""

WRITTEN_OUT = "MLP, written out"


def of_layers(mlp: MLP) -> Module:
    """Return the ReLU MLP made of torch's layers."""
    layers = [layer for a, b in mlp.shapes for layer in (lambda a=a, b=b: nn.Linear(a, b), nn.ReLU)][:-1]
    return Module(lambda: nn.Sequential(*(make() for make in layers)), head=str(len(layers) - 1))


def networks(settings: Settings) -> dict[str, Network]:
    """Return what is compared, by name."""
    mlp = MLP.of(settings)
    others = {name: replace(settings, network=name, hidden=Settings.hidden) for name in MODULES}
    return {
        WRITTEN_OUT: mlp,
        "MLP, as a module": of_layers(mlp),
        **{name.upper(): network_of(s) for name, s in others.items()},
    }


Gradient = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(theta, x, dLoss/dlogits) -> dLoss/dtheta."""


def tape(network: Network) -> Gradient:
    """Return the gradient as the engine takes it."""
    work = Workspace()

    def gradient(theta: Tensor, x: Tensor, dlogits: Tensor) -> Tensor:
        out = work.take("gradient", theta.shape, theta)
        return network.backward(theta, network.forward(theta, x, work), dlogits, out, work)

    return gradient


def mapped(module: Module) -> Gradient:
    """Return the gradient by vmap over the conditions of one seed."""

    def one(theta: Tensor, x: Tensor) -> Tensor:
        return functional_call(module.module, module.unflatten(theta), (x,))

    def gradient(theta: Tensor, x: Tensor, dlogits: Tensor) -> Tensor:
        return vjp(lambda t: vmap(one, in_dims=(0, None))(t, x[0, 0]), theta[0])[1](dlogits[0])[0][None]

    return gradient


def ways(settings: Settings) -> dict[str, tuple[Network, Gradient]]:
    """Return every network with the engine's gradient, and the modules also with vmap's."""
    results = {name: (network, tape(network)) for name, network in networks(settings).items()}
    by_vmap = {
        f"{n}, by vmap": (network, mapped(network))
        for n, (network, _) in results.items()
        if isinstance(network, Module)
    }
    return results | by_vmap


def measure(bench: Bench) -> dict[str, object]:
    """Return the seconds of a pass over one batch, and their ratio to the written-out MLP's, by number of models."""
    s, device, results = bench.size.settings, bench.device, {}
    x = torch.rand(1, 1, s.batch_size, 784, generator=generator(0, "bench-inputs")).to(device)
    for n in NUMBERS:
        tasks, dlogits = {}, torch.ones(1, n, s.batch_size, s.sizes[-1], device=device)
        for name, (network, gradient) in ways(s).items():
            drawn = [network.initial(generator(seed, "bench-start")) for seed in range(n)]
            theta = torch.stack(drawn)[None].to(device)
            tasks[name] = timed(
                lambda i, g=gradient, t=theta, d=dlogits: g(t, x, d), device, bench.size.steps, network=network
            )
        times = alternate(tasks, bench.size.rounds)
        results[str(n)] = {
            "seconds": {name: spread(t) for name, t in times.items()},
            "over written out": {name: ratios(t, times[WRITTEN_OUT]) for name, t in times.items()},
        }
    return results
