"""Part 3: how near each phase of a step comes to what this machine can do.

The limits are measured in the same rounds: the best matrix-product rate of a few shapes, square ones
and the network's own, and the rate at which a large tensor is copied (bytes read and written).
"""

from collections.abc import Callable, Mapping
from itertools import pairwise

import torch

from bench.clock import Task, alternate, spread, timed
from bench.ours import teacher_task
from bench.setting import Bench, four_students, projected
from sublim_utils.engine import losses
from sublim_utils.engine.ensemble import Ensemble, take
from sublim_utils.engine.network import Workspace
from sublim_utils.engine.students import Training, Untracked
from sublim_utils.engine.vectors import dot
from sublim_utils.settings import Settings

COPIED = 1 << 26
"""Floats copied: past every cache."""

FLOAT = 4  # bytes


def products(settings: Settings, device: torch.device) -> dict[str, tuple[float, Callable[[int], object]]]:
    """Return matrix products as (operations, work): two squares, the first layer's forward and backward."""
    batch, width = settings.batch_size, (settings.hidden or (13,))[0]
    shapes = {"1024 square": (1, 1024, 1024, 1024), "2048 square": (1, 2048, 2048, 2048)}
    for lead, text in ((1, ""), (4, "4 x ")):
        shapes[f"{text}first layer, forward"] = (lead, batch, 784, width)
        shapes[f"{text}first layer, backward"] = (lead, 784, batch, width)
    tasks = {}
    for name, (lead, n, k, m) in shapes.items():
        a, b = torch.randn(lead, n, k, device=device), torch.randn(lead, k, m, device=device)
        out = torch.empty(lead, n, m, device=device)
        tasks[name] = (2.0 * lead * n * k * m, lambda i, a=a, b=b, out=out: torch.matmul(a, b, out=out))
    return tasks


def operations(settings: Settings, n_models: int, images: int) -> dict[str, float]:
    """Return the floating-point operations of the products of a forward and a backward pass.

    >>> round(operations(Settings(), 1, 1024)["backward"] / 1e9, 2)
    0.69
    """
    weights = [a * b for a, b in pairwise(settings.sizes)]
    forward, deltas = sum(weights), sum(weights[1:])
    per = 2.0 * images * n_models
    return {"forward": per * forward, "backward": per * (forward + deltas)}


def phases(bench: Bench, e: Ensemble) -> dict[str, tuple[float, float, Callable[[int], object]]]:
    """Return the phases of a plain or tracked step as (operations, bytes, work); bytes only where no product is."""
    training, settings, n = Training(e), e.settings, len(e.conditions)
    index, flops, seeds = e.orders[0], operations(e.settings, n, e.settings.batch_size), len(e.seeds)
    x = take(e.inputs, index)
    tape = e.network.forward(training.theta, x, Workspace())  # a memory of its own: what follows leaves it alone
    target = take(e.targets, index)
    dlogits = losses.DISTILLATION[settings.loss](tape.logits, target, e.mask)[1]
    rows = seeds * settings.batch_size * FLOAT
    vector, logits = training.theta.numel() * FLOAT, n * settings.sizes[-1]
    other = torch.randn_like(training.theta)
    tests = operations(settings, n * seeds, settings.n_test)["forward"]
    return {
        "gather": (0, 2 * rows * (784 + logits), lambda i: (take(e.inputs, index, e.work), take(e.targets, index))),
        "forward": (seeds * flops["forward"], 0, lambda i: e.network.forward(training.theta, x, e.work)),
        "loss": (0, 3 * rows * logits, lambda i: losses.kl(tape.logits, target, e.mask)),
        "backward": (
            seeds * flops["backward"],
            0,
            lambda i: e.network.backward(training.theta, tape, dlogits, training.distill, e.work),
        ),
        "optimiser": (0, 7 * vector, lambda i: training.optimizer.step()),
        "one inner product": (0, 2 * vector, lambda i: dot(other, training.theta)),
        "evaluation": (tests, 0, lambda i: e.task.evaluate(training.theta, e.seeds)),
    }


def step_operations(settings: Settings, n_models: int, *, tracked: bool) -> float:
    """Return the operations of the products of a whole step."""
    images = settings.batch_size + (settings.trait_batch_size if tracked else 0)
    return sum(operations(settings, n_models, images).values())


def steps(bench: Bench) -> dict[str, tuple[float, Task]]:
    """Return whole steps as (operations, task)."""
    settings, units = bench.size.settings, bench.size.steps
    full = settings.n_inputs // settings.batch_size
    tasks = {"teacher step": (step_operations(settings, 1, tracked=False), teacher_task(bench, [0]))}
    for n, conditions in ((1, projected(1)), (4, four_students())):
        ensemble = bench.ensemble(conditions, [0])
        for name, training in (("plain", Untracked(ensemble)), ("tracked", Training(ensemble))):
            work = step_operations(settings, n, tracked=name == "tracked")
            task = timed(lambda i, training=training: training.step(i % full), bench.device, units)
            tasks[f"{name} step, {n} condition{'s' * (n > 1)}"] = (work, task)
    return tasks


def share(work: float, seconds: list[float], limit: list[float]) -> dict[str, object]:
    """Return seconds, the rate, and its share of the limit, round by round; no share where there is no work."""
    row: dict[str, object] = {"seconds": spread(seconds), "work": work}
    if work:
        rates = [work / s for s in seconds]
        row["rate"] = spread(rates)
        row["share"] = spread(r / most for r, most in zip(rates, limit, strict=True))
    return row


def best(rates: Mapping[str, list[float]]) -> tuple[str, list[float]]:
    """Return the shape with the best median rate, and each round's best rate of all shapes."""
    name = max(rates, key=lambda n: spread(rates[n])["median"])
    return name, [max(row) for row in zip(*rates.values(), strict=True)]


def measure(bench: Bench) -> dict[str, object]:
    """Return the limits, and for phases and whole steps their rates and shares of the limits."""
    shapes, whole = products(bench.size.settings, bench.device), steps(bench)
    parts = phases(bench, bench.ensemble(four_students(), [0]))
    source = torch.ones(COPIED, device=bench.device)
    sink = torch.empty_like(source)
    units = bench.size.steps
    tasks = {f"product|{n}": timed(work, bench.device, units) for n, (_, work) in shapes.items()}
    tasks["copy|"] = timed(lambda i: sink.copy_(source), bench.device)
    tasks |= {f"phase|{n}": timed(work, bench.device, units) for n, (_, _, work) in parts.items()}
    tasks |= {f"step|{n}": task for n, (_, task) in whole.items()}
    times = alternate(tasks, bench.size.rounds)
    rates = {n: [flops / s for s in times[f"product|{n}"]] for n, (flops, _) in shapes.items()}
    name, most = best(rates)
    copying = [2 * FLOAT * COPIED / s for s in times["copy|"]]
    return {
        "products": {n: spread(r) for n, r in rates.items()},
        "best": name,
        "copy": spread(copying),
        "phases": {
            n: {"products": share(flops, times[f"phase|{n}"], most), "bytes": share(size, times[f"phase|{n}"], copying)}
            for n, (flops, size, _) in parts.items()
        },
        "steps": {n: share(flops, times[f"step|{n}"], most) for n, (flops, _) in whole.items()},
    }
