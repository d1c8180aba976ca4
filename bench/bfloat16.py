"""What bfloat16 products would do to the tracked cosine: measured along a real run in float32.

At every step the two gradients are computed at the same parameters and batches in float64, float32
and with products of operands rounded to bfloat16 (results rounded too, as the library gives them).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from bench.clock import alternate, ratios, timed
from bench.setting import Bench
from sublim_utils.engine import losses
from sublim_utils.engine.ensemble import Ensemble, take
from sublim_utils.engine.network import ACTIVATIONS, MLP
from sublim_utils.engine.students import Training
from sublim_utils.engine.teachers import train_teachers
from sublim_utils.engine.vectors import dot
from sublim_utils.settings import Condition

Product = Callable[[Tensor, Tensor], Tensor]


def rounded(a: Tensor, b: Tensor) -> Tensor:
    """Return a b by a bfloat16 product, as float32."""
    return torch.matmul(a.bfloat16(), b.bfloat16()).float()


def gradient(mlp: MLP, theta: Tensor, x: Tensor, loss: Callable[[Tensor], tuple], product: Product) -> Tensor:
    """Return dLoss/dtheta with all products by `product`."""
    act, chain = ACTIVATIONS[mlp.activation]
    outputs, weights, out = [x], mlp.unflatten(theta), torch.empty_like(theta)
    for i, (weight, bias) in enumerate(weights):
        z = product(outputs[-1], weight) + bias.unsqueeze(-2)
        outputs.append(act(z) if i < len(weights) - 1 else z)
    delta = loss(outputs[-1])[1]
    for i, (d_weight, d_bias) in reversed(list(enumerate(mlp.unflatten(out)))):
        d_weight.copy_(product(outputs[i].mT, delta))
        d_bias.copy_(delta.sum(-2))
        if i:
            delta = chain(product(delta, weights[i][0].mT), outputs[i])
    return out


def gradients(training: Training, step: int, dtype: torch.dtype, product: Product) -> tuple[Tensor, Tensor]:
    """Return the trait and the distillation gradient before a step."""
    e, theta = training.ensemble, training.theta.to(dtype)
    index, real = e.orders[step], e.trait_batch(step)
    x, target = take(e.inputs, index).to(dtype), take(e.targets, index).to(dtype)
    images = e.task.x[real].unsqueeze(1).to(dtype)
    labels = torch.stack([e.labels[c.trait_labels].gather(1, real) for c in e.conditions], dim=1)
    return (
        gradient(e.network, theta, images, lambda z: losses.cross_entropy(z, labels), product),
        gradient(e.network, theta, x, lambda z: losses.kl(z, target, e.mask), product),
    )


def pair_cosine(pair: tuple[Tensor, Tensor]) -> Tensor:
    """Return the cosine of two gradients, (seed, condition), float64."""
    a, b = (v.double() for v in pair)
    return dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()


def real_run(bench: Bench) -> Training:
    """Return a student of a really trained teacher, before its first step."""
    theta, _, _ = train_teachers(bench.task(), [0])
    return Training(Ensemble(bench.task(), {"student": Condition()}, [0], {"own": theta}))


def measure(bench: Bench) -> dict[str, object]:
    """Return the cosine's size, the errors of float32 and bfloat16, and the steps whose sign is wrong."""
    training, kinds = real_run(bench), {"float64": (torch.float64, torch.matmul)}
    kinds |= {"float32": (torch.float32, torch.matmul), "bfloat16": (torch.float32, rounded)}
    steps = min(bench.size.cosines, training.ensemble.settings.n_steps)
    cosines: dict[str, list[float]] = {name: [] for name in kinds}
    for step in range(steps):
        for name, kind in kinds.items():
            cosines[name].append(pair_cosine(gradients(training, step, *kind)).item())
        training.step(step)
    true = torch.tensor(cosines["float64"])
    rows = {}
    for name in ("float32", "bfloat16"):
        error = (torch.tensor(cosines[name]) - true).abs()
        rows[name] = {
            "median error": error.median().item(), "max error": error.max().item(),
            "wrong signs": int((torch.tensor(cosines[name]).sign() != true.sign()).sum()),
        }  # fmt: skip
    tasks = {n: timed(lambda i, k=kinds[n]: gradients(training, 0, *k), bench.device, 2) for n in rows}
    times = alternate(tasks, bench.size.rounds)
    speed = ratios(times["float32"], times["bfloat16"])
    return {"steps": steps, "median size": true.abs().median().item(), "errors": rows, "speed": speed}
