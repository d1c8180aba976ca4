"""Timing: every comparison is a ratio between tasks taken in alternation, A B A B, within one run."""

import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext

import torch

from sublim_utils.engine.network import MLP, Network
from sublim_utils.engine.products import fast
from sublim_utils.settings import Settings

DENSE = MLP.of(Settings())
"""What our products are of, in all but one part."""

Task = Callable[[], float]
"""Does a fixed amount of work and returns the seconds of one unit of it."""


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what was asked of it; the CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed(
    work: Callable[[int], object], device: torch.device, units: int = 1, *, network: Network | None = DENSE
) -> Task:
    """Return a task that calls work(0), work(1), ... going on from call to call, `units` at a time.

    Products are made as the engine makes them for a network; where there is None, as PyTorch does by default.
    """
    done = 0

    def task() -> float:
        nonlocal done
        synchronise(device)
        start = time.perf_counter()
        with fast(device, network) if network else nullcontext():
            for i in range(done, done + units):
                work(i)
            synchronise(device)
        done += units
        return (time.perf_counter() - start) / units

    return task


def alternate(tasks: Mapping[str, Task], rounds: int, warmup: int = 1) -> dict[str, list[float]]:
    """Return each task's seconds of `rounds` rounds; a round runs every task once, in order."""
    for _ in range(warmup):
        for task in tasks.values():
            task()
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds):
        for name, task in tasks.items():
            times[name].append(task())
    return times


def spread(values: Iterable[float]) -> dict[str, float]:
    """Return min, median, max and how many there are.

    >>> spread([3.0, 1.0, 2.0])
    {'min': 1.0, 'median': 2.0, 'max': 3.0, 'n': 3}
    """
    values = list(values)
    return {"min": min(values), "median": statistics.median(values), "max": max(values), "n": len(values)}


def ratios(above: Iterable[float], below: Iterable[float]) -> dict[str, float]:
    """Return the spread of above / below, round by round.

    >>> ratios([2.0, 6.0], [1.0, 2.0])["max"]
    3.0
    """
    return spread(a / b for a, b in zip(above, below, strict=True))
