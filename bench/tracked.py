"""Part 2: what tracking the alignment at every layer and projecting costs, beside plain steps."""

from bench import public
from bench.candidates import batches, noise
from bench.clock import Task, alternate, ratios, spread, timed
from bench.setting import Bench, projected, stand_in_teachers
from sublim_utils.engine.digits import references
from sublim_utils.engine.students import Training, Untracked
from sublim_utils.settings import Condition

NUMBERS = (1, 8)
"""Conditions of one seed; of the public script, as many models."""


def public_step(bench: Bench, n_models: int) -> Task:
    """Return the public script's plain step with some models of one kind."""
    settings, seeds, device = bench.size.settings, list(range(n_models)), bench.device
    start, given = references(settings, seeds, device)[:, 0], stand_in_teachers(settings, seeds, device)["own"][:, 0]
    students = public.Students(settings, Condition(), start, given, noise(bench, seeds))
    order = batches(bench, seeds, settings.n_inputs)
    return timed(lambda i: students.step(order(i)), device, bench.size.steps, network=None)


def tasks_of(bench: Bench, n: int) -> dict[str, Task]:
    """Return the steps that are compared at n conditions."""
    ensemble = bench.ensemble(projected(n), [0])
    full = ensemble.settings.n_inputs // ensemble.settings.batch_size
    plain, tracked = Untracked(ensemble), Training(ensemble)
    steps = bench.size.steps
    return {
        "tracked and projected": timed(lambda i: tracked.step(i % full), bench.device, steps),
        "our plain step": timed(lambda i: plain.step(i % full), bench.device, steps),
        "public script's plain step": public_step(bench, n),
    }


def measure(bench: Bench) -> dict[str, object]:
    """Return the seconds of each kind of step, and the tracked one's ratios to the others, by conditions."""
    rows = {}
    for n in NUMBERS:
        times = alternate(tasks_of(bench, n), bench.size.rounds)
        first = times["tracked and projected"]
        rows[str(n)] = {
            "seconds": {name: spread(s) for name, s in times.items()},
            "ratios": {name: ratios(first, s) for name, s in times.items() if s is not first},
        }
    return rows
