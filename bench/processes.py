"""Part 5: one process with all threads against a process with one thread for each core."""

import json
import sys
import time

import torch

from bench.clock import alternate, ratios, spread
from bench.setting import FULL, QUICK, Bench, four_students
from bench.workers import Worker, serve
from sublim_utils.engine.products import fast
from sublim_utils.engine.students import Training


def together(workers: list[Worker]) -> float:
    """Let all workers take their steps at the same time; return the seconds per step of them all."""
    start = time.perf_counter()
    for worker in workers:
        worker.send("steps")
    taken = sum(worker.receive() for worker in workers)
    return (time.perf_counter() - start) / taken


def measure(bench: Bench) -> dict[str, object]:
    """Return tracked steps a second, a seed with four students each, both ways, and their ratio."""
    n = torch.get_num_threads()
    if bench.device.type != "cpu" or n < 2:
        return {"not measured": "one thread, or a GPU: nothing to compare"}
    ways = {f"1 process x {n} threads": (1, n), f"{n} processes x 1 thread": (n, 1)}
    argument = {"quick": bench.size == QUICK}
    teams = {
        name: [Worker("bench.processes", {**argument, "seed": s, "threads": threads}) for s in range(count)]
        for name, (count, threads) in ways.items()
    }
    times = alternate({name: lambda team=team: together(team) for name, team in teams.items()}, bench.size.rounds)
    for team in teams.values():
        for worker in team:
            worker.close()
    threads, processes = times.values()
    rates = {name: spread(1 / s for s in seconds) for name, seconds in times.items()}
    return {"steps a second": rates, "processes over threads": ratios(threads, processes)}


def main() -> None:
    """Serve steps of one seed's four students."""
    request = json.loads(sys.argv[1])
    torch.set_num_threads(request["threads"])
    bench = Bench(QUICK if request["quick"] else FULL, torch.device("cpu"))
    training = Training(bench.ensemble(four_students(), [request["seed"]]))
    full = training.ensemble.settings.n_inputs // training.ensemble.settings.batch_size
    done = 0

    def steps() -> int:
        nonlocal done
        with fast(bench.device, training.ensemble.network):
            for step in range(done, done + bench.size.steps):
                training.step(step % full)
        done += bench.size.steps
        return bench.size.steps

    serve({"steps": steps})


if __name__ == "__main__":
    main()
