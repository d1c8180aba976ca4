"""The lab: ask it for students or teachers; what the store holds is read, the rest is trained.

Into the recorded store nothing is computed unasked: there, what is missing is an error.
"""

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from sublim_utils.engine import data
from sublim_utils.engine.devices import resolve_device
from sublim_utils.engine.seeds import other_seed
from sublim_utils.engine.students import Training, Untracked, train_students
from sublim_utils.engine.tasks import Task, task_of
from sublim_utils.engine.teachers import train_teachers
from sublim_utils.runs.addresses import address, decimals, described, student_address
from sublim_utils.runs.experiments import EXPERIMENTS
from sublim_utils.runs.filling import ASKED, Advance, DivergenceError, Make, Place, computed, fill, refuse
from sublim_utils.runs.profiles import RECORDED, Profile, results_folder
from sublim_utils.runs.provenance import provenance
from sublim_utils.runs.store import Store
from sublim_utils.runs.stored import Function
from sublim_utils.settings import STUDENT_ONLY, Condition, Settings, check_seeds, require

__all__ = ["SIDE_BY_SIDE", "Lab", "by_epoch", "diverged"]

SIDE_BY_SIDE = 8
"""Students of a seed that train together at most. A student's step takes as long beside one other as beside eleven, and
a fifth more beside fifteen, whose weights and states do not fit into the processors' caches (book/log.md); and a killed
run keeps the groups that were done."""


def diverged(dataset: xr.Dataset) -> str | None:
    """Return where the one student in `dataset` left the finite numbers, None if it did not."""
    finite = np.isfinite((dataset["distill_loss"] + dataset["trait_loss"] + dataset["update_norm"]).values.ravel())
    return None if finite.all() else f"step {int(np.argmin(finite))}"


def by_epoch(task: Task, evaluated: Mapping[str, Tensor]) -> xr.Dataset:
    """Return one teacher's evaluations of a task, each (1, 1, epoch, ...), as a dataset; the counts int32."""
    dims = {name: ("epoch", *(d for d in task.evaluated[name][0] if d != "eval")) for name in evaluated}
    dataset = xr.Dataset({name: (dims[name], values[0, 0].cpu().numpy()) for name, values in evaluated.items()})
    return dataset.assign(confusion=dataset["confusion"].astype("int32"))


class Lab:
    """Access to all runs of a profile.

    Parameters
    ----------
    profile : how many seeds, how many images, where the results lie
    device : "auto", "cpu" or "cuda"
    trains : whether what is missing may be computed; None: unless the store is the recorded one and nobody `ASKED`

    >>> from sublim_utils.runs.profiles import Profile
    >>> Lab(Profile(results="/tmp/none", n_seeds=2)).seeds("main")
    [0, 1]
    """

    def __init__(self, profile: Profile, device: str = "auto", *, trains: bool | None = None) -> None:
        self.profile, self.device = profile, resolve_device(device)
        self.store = Store(results_folder(profile.results))
        may = profile.name != RECORDED or os.environ.get(ASKED) == "yes"
        self.trains = may if trains is None else trains

    def seeds(self, tier: str) -> list[int]:
        """Return the seeds of a tier: "main" for the ten tests, "grid" for other conditions, "sweep" for points."""
        return list(self.profile.seeds(tier))

    @property
    def is_papers_protocol(self) -> bool:
        """Whether the profile's sizes are the paper's, so that its runs can be compared with the recorded ones."""
        return self.profile.settings() == Settings()

    @staticmethod
    def images(settings: Settings) -> data.Images:
        """Return the real images of the settings' task."""
        return data.load(settings.task, settings.pixels)

    def task(self, settings: Settings) -> Task:
        """Return what is trained on under some settings, on this lab's device."""
        return task_of(settings, self.device)

    def experiment(self, name: str, seeds: Sequence[int] | None = None) -> xr.Dataset:
        """Return the students of a named experiment, dims (seed, condition, ...)."""
        chosen = EXPERIMENTS[name]
        settings, conditions = chosen.at(self.profile)
        return self.students(settings, conditions, list(chosen.seeds(self.profile)) if seeds is None else seeds)

    def experiments(
        self, names: Iterable[str], seeds: Sequence[int] | None = None
    ) -> tuple[dict[str, xr.Dataset], dict[str, str]]:
        """Return the students of several experiments by name, and why optional ones are left out.

        An optional experiment is left out where its images can't be had; the reason is the error's first line.
        """
        found, left_out = {}, {}
        for name in names:
            try:
                found[name] = self.experiment(name, seeds)
            except data.DataError as error:
                if not EXPERIMENTS[name].is_optional:
                    raise
                left_out[name] = str(error).splitlines()[0]
        return found, left_out

    def recorded(self, name: str) -> dict[str, xr.Dataset]:
        """Return what the recorded store beside this profile's holds of an experiment, by condition.

        Each condition has the seeds (two or more) that are there; dims (seed, ...). Nothing is trained.
        Empty where the profile's protocol is not the paper's, as at smoke scale, and where the profile is the recorded
        one itself.
        """
        if not self.is_papers_protocol or self.profile.name == RECORDED:
            return {}
        settings, conditions = EXPERIMENTS[name].at(self.profile, full=True)
        store, found = Store(self.store.root.parent / RECORDED), {}
        for n, condition in conditions.items():
            where = student_address(settings, condition)
            if len(seeds := store.seeds("students", where)) > 1:
                found[n] = store.load("students", where, seeds, described(settings=settings, condition=condition))
        return found

    def students(self, settings: Settings, conditions: Mapping[str, Condition], seeds: Sequence[int]) -> xr.Dataset:
        """Return the students of some conditions and seeds, trained as far as they are not stored.

        Raises
        ------
        SettingsError
            If a condition contradicts the settings, or seeds repeat, before any work.
        DivergenceError
            If a training left the finite numbers; the other runs are stored all the same.

        >>> from sublim_utils.runs.profiles import Profile
        >>> recorded = Lab(Profile(results="results/paper", n_seeds=100))
        >>> runs = recorded.students(Settings(), {"student (aux)": Condition()}, seeds=[100, 101])
        >>> runs["accuracy"].dims, runs.sizes["step"]
        (('seed', 'condition', 'eval'), 295)
        """
        seeds = check_seeds(seeds)
        require("conditions", conditions, bool(conditions), "one or more")
        for condition in conditions.values():
            condition.check_with(settings)
        where = {name: student_address(settings, c) for name, c in conditions.items()}

        def missing(seed: int) -> dict[str, Condition]:
            return {n: c for n, c in conditions.items() if seed not in self.store.seeds("students", where[n])}

        def train(seed: int, advance: Advance) -> None:
            todo = list(missing(seed).items())
            groups = [dict(todo[i : i + SIDE_BY_SIDE]) for i in range(0, len(todo), SIDE_BY_SIDE)]
            lost = [how for group in groups for how in self._train(settings, group, seed, advance)]
            if lost:
                raise DivergenceError("; ".join(lost))

        held = [set(self.store.seeds("students", w)) for w in where.values()]  # each file is read once, not once a seed
        absent = {seed: sum(seed not in there for there in held) for seed in seeds}
        work = {seed: n * settings.n_steps for seed, n in absent.items() if n}
        group = address(settings=settings)  # conditions of one protocol may share runs: one at a time
        fill(self.store.root, f"students-{group}", work, missing, train, allowed=self.trains)
        asked = {n: described(settings=settings, condition=c) for n, c in conditions.items()}
        parts = [self.store.load("students", where[n], seeds, asked[n]) for n in conditions]
        parts = [p.assign_coords(condition=[n]) for p, n in zip(parts, conditions, strict=True)]
        joined = xr.concat(parts, "condition", data_vars="all", combine_attrs="override")
        return joined.transpose("seed", "condition", ...)

    def distilled(
        self,
        settings: Settings,
        conditions: Mapping[str, Condition],
        seed: int,
        *,
        advance: Callable[[], object],
        watch: Callable[[Tensor], object] = lambda _: None,
        training: type[Training] = Training,
    ) -> xr.Dataset:
        """Train one seed's students, as `train_students` does; return what was recorded, and store nothing."""
        if not self.trains:
            refuse(self.store.root, f"the training of seed {seed}'s students")
        kinds = {c.teacher for c in conditions.values()}
        thetas: dict[str, Tensor] = {kind: self.teacher_weights(settings, seed, kind) for kind in kinds}
        task = self.task(settings)
        return train_students(task, conditions, [seed], thetas, advance=advance, watch=watch, training=training)[0]

    def _train(self, settings: Settings, conditions: Mapping[str, Condition], seed: int, advance: Advance) -> list[str]:
        """Train one seed's students together and store each that stayed finite; return how others were lost."""
        start, n = time.monotonic(), len(conditions)
        dataset = self.distilled(settings, conditions, seed, advance=lambda: advance(n))
        seconds, lost = (time.monotonic() - start) / n, []
        for name, condition in conditions.items():
            run = dataset.sel(condition=name, drop=True)
            if where := diverged(run):
                lost.append(f"{name} of seed {seed} diverged at {where}")
                continue
            about = described(settings=settings, condition=condition)
            run.attrs = provenance(self.device, **about, seconds=seconds)
            self.store.save("students", student_address(settings, condition), run)
        return lost

    def student_path(
        self,
        settings: Settings,
        conditions: Mapping[str, Condition],
        seed: int,
        advance: Callable[[], object] = lambda: None,
    ) -> Tensor:
        """Train one seed's students and return theta (eval, condition, P) at each evaluation; nothing is stored.

        `advance` is called each step.
        """
        path: list[Tensor] = []
        training = Training if any(c.changes_steps for c in conditions.values()) else Untracked

        def watch(theta: Tensor) -> None:
            path.append(theta[0].cpu().clone())

        self.distilled(settings, conditions, seed, advance=advance, watch=watch, training=training)
        return torch.stack(path)

    def ask(self, function: Function, seeds: Sequence[int], **arguments: object) -> xr.Dataset:
        """Return what a `stored` function gives for each seed, computed as far as it is not stored, joined along seed.

        Parameters
        ----------
        function : (lab, seed, advance, **arguments) -> the seed's dataset, without the dimension seed
        arguments : all it depends on beside the seed: `Settings`, or JSON-able values and arrays; it is called with
            the decimal fractions that its address hashes (`addresses.decimals`)
        """
        how = function.stored
        arguments = {name: decimals(value) for name, value in arguments.items()}
        about = {"part": how.part, "code": how.version, **arguments}
        place = Place(how.kind, address(**about), described(**about), how.device_of(self.device))
        return self._computed(place, seeds, partial(function, self, **arguments), how.steps_of(arguments))

    def _computed(self, place: Place, seeds: Sequence[int], make: Make, steps: int = 1) -> xr.Dataset:
        return computed(self.store, place, check_seeds(seeds), make, steps, allowed=self.trains)

    def _of_teacher(self, kind: str, settings: Settings, **more: object) -> Place:
        """Return where something of a seed's teachers is stored."""
        every = {name: value for name, value in settings.values().items() if name not in STUDENT_ONLY}
        where = address(teacher=settings.of_teacher(), **more)
        return Place(kind, where, described(teacher=every, **more), self.device)

    def teachers(self, settings: Settings, seeds: Sequence[int], *, shuffled: bool = False) -> xr.Dataset:
        """Return how well teachers read the test images, trained as far as they are not stored.

        Variables: ``confusion`` (seed, epoch, class, predicted), ``accuracy`` (seed, epoch); epoch 0 is
        the reference.
        """
        loaded = self._of_teachers("teachers", settings, seeds, shuffled)
        counts = loaded["confusion"]
        right = xr.apply_ufunc(np.trace, counts, input_core_dims=[["class", "predicted"]],
                               kwargs={"axis1": -2, "axis2": -1})  # fmt: skip
        return loaded.assign(accuracy=right / counts.sum(["class", "predicted"]))

    def _of_teachers(self, kind: str, settings: Settings, seeds: Sequence[int], shuffled: bool) -> xr.Dataset:
        """Return the `kind` "teachers" (confusion matrices) or "weights" of teachers; one training makes both."""
        here, beside = (
            self._of_teacher(name, settings, shuffled=shuffled)
            for name in (kind, {"teachers": "weights", "weights": "teachers"}[kind])
        )

        def train(seed: int, advance: Advance) -> xr.Dataset:
            task = self.task(settings)
            theta, _, evaluated = train_teachers(task, [seed], shuffled=shuffled, advance=lambda: advance(1))
            made = {
                "weights": xr.Dataset({"theta": ("parameter", theta[0, 0].cpu().numpy())}),
                "teachers": by_epoch(task, evaluated),
            }
            if seed not in self.store.seeds(beside.kind, beside.where):
                beside.save(self.store, seed, made[beside.kind])
            return made[kind]

        return self._computed(here, seeds, train, settings.teacher_epochs * settings.steps_per_teacher_epoch)

    def teacher_path(
        self, settings: Settings, seed: int, steps: Sequence[int], advance: Callable[[], object] = lambda: None
    ) -> Tensor:
        """Train a seed's teacher and return theta (step, P) before each of some ascending steps; nothing is stored.

        `advance` is called each step.
        """
        if not self.trains:
            refuse(self.store.root, f"the training of seed {seed}'s teacher")
        _, saved, _ = train_teachers(self.task(settings), [seed], checkpoints=steps, advance=advance)
        return torch.cat(saved, dim=1)[0]

    def teacher_weights(self, settings: Settings, seed: int, kind: str) -> Tensor:
        """Return theta_T (1, 1, P) of a seed's "own", "other" or "shuffled" teacher."""
        seed = other_seed(seed) if kind == "other" else seed
        dataset = self._of_teachers("weights", settings, [seed], kind == "shuffled")
        return torch.from_numpy(dataset["theta"].values).unsqueeze(1).to(self.device)
