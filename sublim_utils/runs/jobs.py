"""The jobs that train what a store lacks: a large experiment in ranges of seeds, small ones together in one.

A process takes seconds to start and load, at small scale more than all its students; so an experiment shares its job
with the next until there is enough to do. One of language trains each seed's reference first, and keeps it.
"""

from sublim_utils.runs.experiments import EXPERIMENTS, run_at
from sublim_utils.runs.profiles import Profile
from sublim_utils.runs.store import Store
from sublim_utils.settings import LANGUAGE_TASKS, Settings

__all__ = ["JOINT", "LONGEST", "PER_STUDENT", "TIMES", "WORTH", "jobs", "seconds"]

JOINT = "+"
"""Between the names of experiments that share a job."""

PER_STUDENT = 7.0  # seconds, roughly, of a student at the paper's protocol: it only decides what shares a job
TIMES = {"mlp": 1.0, "cnn": 3.0, "vit": 6.0, "transformer": 8.0}  # of the MLP's seconds for an example, roughly
WORTH = {False: 100.0, True: 180.0}
"""Seconds of work that a process is started for, by whether it has a reference of language to train."""
LONGEST = 200  # characters: the joined names are a folder's


def seconds(profile: Profile, name: str, n_seeds: int) -> float:
    """Return about how long some seeds of an experiment train: in proportion to students, steps and batches.

    >>> seconds(Profile(results="results/paper", n_seeds=100, full_grid=True), "phenomenon", 10)  # 4 conditions
    280.0
    """
    settings, conditions = EXPERIMENTS[name].at(profile)
    paper = Settings()
    images = settings.n_steps * (settings.batch_size + settings.trait_batch_size)
    share = images / (paper.n_steps * (paper.batch_size + paper.trait_batch_size))
    return PER_STUDENT * TIMES[settings.network] * n_seeds * len(conditions) * share


def jobs(profile: Profile, store: Store, seeds_per_job: int) -> dict[str, list[str]]:
    """Return the jobs of each experiment, "name+name/first-stop", as far as the store lacks its runs."""
    planned: dict[str, list[str]] = {name: [] for name in run_at(profile)}
    wanted: dict[tuple[range, bool], list[str]] = {}
    for name in planned:
        seeds, held = EXPERIMENTS[name].seeds(profile), EXPERIMENTS[name].held(store, profile)
        for part in (seeds[i : i + seeds_per_job] for i in range(0, len(seeds), seeds_per_job)):
            if set(part) - held:
                wanted.setdefault((part, _speaks(name)), []).append(name)
    for (part, language), names in wanted.items():
        work = {name: seconds(profile, name, len(part)) for name in names}
        for group in _groups(work, WORTH[language]):
            for name in group:
                planned[name].append(f"{JOINT.join(group)}/{part.start}-{part.stop}")
    return planned


def _speaks(name: str) -> bool:
    return EXPERIMENTS[name].settings.get("task") in LANGUAGE_TASKS


def _groups(work: dict[str, float], worth: float) -> list[list[str]]:
    """Return the names in groups of neighbours, each closed as soon as its work is `worth` a process.

    >>> _groups({"a": 90.0, "b": 50.0, "c": 20.0, "d": 5.0}, 60.0)
    [['a'], ['b', 'c'], ['d']]
    """
    groups: list[list[str]] = [[]]
    for name in work:
        last = groups[-1]
        if sum(work[n] for n in last) >= worth or len(JOINT.join([*last, name])) > LONGEST:
            groups.append(last := [])
        last.append(name)
    return [group for group in groups if group]
