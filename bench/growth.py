"""Part 4: how time and memory grow over seeds and conditions; each case in a process of its own.

Memory is what a process takes beyond itself with the images loaded: resident memory's high-water
mark less its size then (on a GPU, what torch allocated at most).
"""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from bench.candidates import batches, noise
from bench.clock import synchronise
from bench.public import Students
from bench.setting import FULL, QUICK, Bench, four_students, projected, stand_in_teachers
from bench.workers import Worker, serve
from sublim_utils.engine.digits import references
from sublim_utils.engine.network import MLP
from sublim_utils.engine.products import fast
from sublim_utils.engine.students import Training
from sublim_utils.settings import Condition

STEPS = 3
"""Tracked steps in each case, beside making the ensemble and an evaluation."""

PUBLIC_MODELS = 16
"""Most models of the public script that are tried: each has its own copy of the noise on top of all else."""


class Memory:
    """Memory taken since this was made."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.mark = device, Path("/proc/self/clear_refs")
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        else:
            self.mark.write_text("5")  # forgets the high-water mark so far
            self.before = self.status("VmRSS")

    @staticmethod
    def status(name: str) -> int:
        """Return a size of this process in bytes, as Linux tells it."""
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) * 1024

    def peak(self) -> int:
        """Return the bytes taken at most."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        return self.status("VmHWM") - self.before


def train(bench: Bench, conditions: dict[str, Condition], seeds: list[int], **changes: int) -> None:
    """Make an ensemble, take a few tracked steps and evaluate."""
    with fast(bench.device, MLP.of(bench.size.settings)):
        training = Training(bench.ensemble(conditions, seeds, **changes))
        for step in range(STEPS):
            training.step(step)
        training.ensemble.evaluate(training.theta)


def in_turn(bench: Bench) -> Iterator[dict[str, object]]:
    """Train seeds one after the other, as the lab does, and tell after some of them."""
    for seed in range(max(bench.size.seeds_grown)):
        train(bench, four_students(), [seed])
        if seed + 1 in bench.size.seeds_grown:
            yield {"seeds": seed + 1}


def batched(bench: Bench, n: int) -> Iterator[dict[str, object]]:
    """Train seeds together, on less noise each than the protocol has."""
    few = bench.size.grown_inputs
    train(bench, {"student": Condition()}, list(range(n)), n_inputs=few)
    s = bench.size.settings
    yield {"seeds": n, "n_inputs": few, "noise lacking": n * (s.n_inputs - few) * 784 * 4}


def conditions(bench: Bench, n: int) -> Iterator[dict[str, object]]:
    """Train one seed's students under n conditions."""
    train(bench, projected(n), [0])
    yield {"conditions": n}


def public(bench: Bench, n: int) -> Iterator[dict[str, object]]:
    """Train n models of one kind by the public script's method."""
    s, seeds = bench.size.settings, list(range(n))
    start, given = references(s, seeds, bench.device), stand_in_teachers(s, seeds, bench.device)["own"]
    students = Students(s, Condition(), start[:, 0], given[:, 0], noise(bench, seeds))
    order = batches(bench, seeds, s.n_inputs)
    for step in range(STEPS):
        students.step(order(step))
    yield {"seeds": n}


def case(bench: Bench, name: str, n: int) -> list[dict[str, object]]:
    """Return the memory and the seconds of one case, at each point it tells."""
    bench.images  # noqa: B018 (loads them)
    train(bench, {"student": Condition()}, [0], n_inputs=bench.size.grown_inputs)  # the libraries' own time and memory
    memory, start, rows = Memory(bench.device), time.perf_counter(), []
    works = {"batched": batched, "conditions": conditions, "public": public}
    for row in in_turn(bench) if name == "in turn" else works[name](bench, n):
        synchronise(bench.device)
        rows.append({**row, "bytes": memory.peak(), "seconds": time.perf_counter() - start})
    return rows


def measure(bench: Bench) -> dict[str, object]:
    """Return the rows of every table, from a process for each case."""
    size = bench.size
    cases = [("in turn", 0)]
    cases += [("batched", n) for n in size.seeds_grown]
    cases += [("conditions", n) for n in size.conditions_grown]
    cases += [("public", n) for n in size.seeds_grown if n <= PUBLIC_MODELS]
    rows: dict[str, list[object]] = {}
    for name, n in cases:
        argument = {"quick": size == QUICK, "device": str(bench.device), "threads": torch.get_num_threads()}
        worker = Worker("bench.growth", {**argument, "name": name, "n": n})
        rows.setdefault(name, []).extend(worker.ask("case"))
        worker.close()
    return {"steps": STEPS, **rows}


def main() -> None:
    """Serve one case."""
    request = json.loads(sys.argv[1])
    torch.set_num_threads(request["threads"])
    bench = Bench(QUICK if request["quick"] else FULL, torch.device(request["device"]))
    serve({"case": lambda: case(bench, request["name"], request["n"])})


if __name__ == "__main__":
    main()
