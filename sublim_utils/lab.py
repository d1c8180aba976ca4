"""The lab: ask it for students or teachers; what the store holds is read, the rest is trained."""

import datetime
import json
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from filelock import FileLock, Timeout
from torch import Tensor
from tqdm import tqdm

from sublim_utils import data
from sublim_utils.experiments import EXPERIMENTS
from sublim_utils.profiles import Profile
from sublim_utils.seeds import other_seed
from sublim_utils.settings import Condition, Settings
from sublim_utils.store import ENGINE, Store, address
from sublim_utils.students import train_students
from sublim_utils.teachers import resolve_device, train_teachers

RECORDED = "paper"
"""Name of the results folder whose runs are committed: the profile at the paper's scale."""


class DivergenceError(ArithmeticError):
    """A training left the finite numbers; the message names condition, seed and step."""


def provenance(device: torch.device, **about: object) -> dict[str, str]:
    """Return what a reader needs to know of how a run was made, as netCDF attributes."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "engine": str(ENGINE),
        "torch": torch.__version__,
        "device": f"{device.type} ({name}), {torch.get_num_threads()} threads",
        "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **{key: json.dumps(value) for key, value in about.items()},
    }


def diverged(dataset: xr.Dataset) -> str | None:
    """Return where the one student in `dataset` left the finite numbers, None if it did not."""
    finite = np.isfinite(dataset["distill_loss"] + dataset["trait_loss"] + dataset["update_norm"])
    finite = finite.values.ravel()
    return None if finite.all() else f"step {int(np.argmin(finite))}"


class Lab:
    """Access to all runs of a profile.

    Parameters
    ----------
    profile : how many seeds, how many images, where the results lie
    device : "auto", "cpu" or "cuda"

    >>> from sublim_utils.profiles import Profile
    >>> Lab(Profile(results="/tmp/none", n_seeds=2)).seeds("main")
    [0, 1]
    """

    def __init__(self, profile: Profile, device: str = "auto") -> None:
        self.profile, self.device = profile, resolve_device(device)
        self.store = Store(Path(profile.results))

    def seeds(self, tier: str) -> list[int]:
        """Return the seeds of a tier: "main" for the headline conditions, "grid" for the rest."""
        return list(range(self.profile.n_seeds if tier == "main" else self.profile.n_grid_seeds))

    @staticmethod
    def images(settings: Settings) -> data.Images:
        """Return the real images of the settings' task."""
        return data.load(settings.task)

    def experiment(self, name: str, seeds: Sequence[int] | None = None) -> xr.Dataset:
        """Return the students of a named experiment, dims (seed, condition, ...)."""
        chosen = EXPERIMENTS[name]
        settings = chosen.settings_of(self.profile)
        conditions = chosen.conditions_of(settings, full=self.profile.full_grid)
        return self.students(settings, conditions, self.seeds(chosen.tier) if seeds is None else seeds)

    def recorded(self, name: str) -> dict[str, xr.Dataset]:
        """Return what the recorded store beside this profile's holds of an experiment, by condition.

        Each condition has the seeds (two or more) that are there; dims (seed, ...). Nothing is trained.
        Empty where the profile's protocol is not the paper's, as at smoke scale.
        """
        chosen = EXPERIMENTS[name]
        settings = chosen.settings_of(self.profile)
        if self.profile.settings() != Settings():
            return {}
        store, found = Store(self.store.root.parent / RECORDED), {}
        for n, condition in chosen.conditions_of(settings).items():
            where = self.address_of(settings, condition)
            if len(seeds := store.seeds("students", where)) > 1:
                found[n] = store.load("students", where, seeds)
        return found

    def students(self, settings: Settings, conditions: Mapping[str, Condition], seeds: Sequence[int]) -> xr.Dataset:
        """Return the students of some conditions and seeds, trained as far as they are not stored.

        Raises
        ------
        DivergenceError
            If a training left the finite numbers; the other runs are stored all the same.
        """
        where = {name: self.address_of(settings, c) for name, c in conditions.items()}

        def missing(seed: int) -> dict[str, Condition]:
            return {n: c for n, c in conditions.items() if seed not in self.store.seeds("students", where[n])}

        def train(seed: int, advance: Callable[[], object]) -> None:
            self._train(settings, missing(seed), seed, advance)

        held = [self.store.seeds("students", w) for w in where.values()]
        absent = {seed: sum(seed not in there for there in held) for seed in dict.fromkeys(seeds)}
        group = address(settings=settings.changed())  # conditions of one protocol may share runs: one at a time
        self._fill("students", group, {seed: n * settings.n_steps for seed, n in absent.items() if n}, missing, train)
        parts = [self.store.load("students", where[n], seeds) for n in conditions]
        parts = [p.assign_coords(condition=[n]) for p, n in zip(parts, conditions, strict=True)]
        joined = xr.concat(parts, "condition", data_vars="all", combine_attrs="override")
        return joined.transpose("seed", "condition", ...)

    @staticmethod
    def address_of(settings: Settings, condition: Condition) -> str:
        """Return a student's address, without its seed."""
        return address(settings=settings.changed(), condition=condition.changed())

    def _fill(
        self,
        kind: str,
        group: str,
        work: Mapping[int, int],
        missing: Callable[[int], object],
        train: Callable[[int, Callable[[int], object]], None],
    ) -> None:
        """Train seed by seed, first those no other process is at, then waiting for the rest.

        Processes at the same `group` and seed exclude each other; `work` is the number of model
        steps of each seed that lacks something, for the bar.
        """
        queue, failures = [(seed, 0) for seed in work], []
        with tqdm(total=sum(work.values()), unit="step", delay=2, desc="training") as bar:
            for seed, patience in queue:
                bar.set_description(f"{kind}, seed {seed}", refresh=False)
                try:
                    with self._lock(f"{kind}-{group}-{seed:04d}", patience):
                        if missing(seed):
                            train(seed, bar.update)
                except Timeout:
                    queue.append((seed, -1))
                except DivergenceError as error:
                    failures.append(str(error))
        if failures:
            raise DivergenceError("; ".join(failures))

    def _lock(self, name: str, patience: float) -> FileLock:
        folder = self.store.root / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        return FileLock(folder / f"{name}.lock", timeout=patience)

    def _train(
        self,
        settings: Settings,
        conditions: Mapping[str, Condition],
        seed: int,
        advance: Callable[[int], object],
    ) -> None:
        """Train one seed's students together and store each that stayed finite."""
        kinds = {c.teacher for c in conditions.values()}
        thetas = {kind: self.teacher_weights(settings, seed, kind) for kind in kinds}
        start, n = time.monotonic(), len(conditions)
        dataset, _ = train_students(
            settings,
            conditions,
            [seed],
            data.load(settings.task),
            thetas,
            device=self.device,
            advance=lambda: advance(n),
        )
        seconds, lost = (time.monotonic() - start) / n, []
        for name, condition in conditions.items():
            run = dataset.sel(condition=name, drop=True)
            if where := diverged(run):
                lost.append(f"{name} of seed {seed} diverged at {where}")
                continue
            about = {"settings": settings.changed(), "condition": condition.changed(), "seconds": seconds}
            run.attrs = provenance(self.device, **about)
            self.store.save("students", self.address_of(settings, condition), run)
        if lost:
            raise DivergenceError("; ".join(lost))

    def student_weights(self, settings: Settings, conditions: Mapping[str, Condition], seed: int) -> dict[str, Tensor]:
        """Train one seed's students and return theta (P,) of each; nothing is stored."""
        kinds = {c.teacher for c in conditions.values()}
        thetas = {kind: self.teacher_weights(settings, seed, kind) for kind in kinds}
        with tqdm(total=settings.n_steps, unit="step", delay=2, desc="weights") as bar:
            _, theta = train_students(
                settings, conditions, [seed], data.load(settings.task), thetas,
                device=self.device, advance=bar.update,
            )  # fmt: skip
        return dict(zip(conditions, theta[0].cpu(), strict=True))

    def teachers(self, settings: Settings, seeds: Sequence[int], *, shuffled: bool = False) -> xr.Dataset:
        """Return teachers, trained as far as they are not stored: theta and test confusion by epoch.

        Variables: ``theta`` (seed, parameter), ``confusion`` (seed, epoch, class, predicted),
        ``accuracy`` (seed, epoch); epoch 0 is the reference.
        """
        where = address(teacher=settings.of_teacher(), shuffled=shuffled)

        def train(seed: int, advance: Callable[[int], object]) -> None:
            theta, _, confusions = train_teachers(
                settings, data.load(settings.task), [seed], shuffled=shuffled, device=self.device,
                advance=lambda: advance(1),
            )  # fmt: skip
            counts = torch.stack(confusions, dim=2)[:, 0].numpy().astype("int32")
            dataset = xr.Dataset(
                {
                    "theta": (("seed", "parameter"), theta[:, 0].cpu().numpy()),
                    "confusion": (("seed", "epoch", "class", "predicted"), counts),
                },
                coords={"seed": [seed]},
                attrs=provenance(self.device, teacher=settings.of_teacher(), shuffled=shuffled),
            )
            self.store.save("teachers", where, dataset)

        loaded = self._of_teachers("teachers", where, settings, seeds, train)
        counts = loaded["confusion"]
        right = xr.apply_ufunc(np.trace, counts, input_core_dims=[["class", "predicted"]],
                               kwargs={"axis1": -2, "axis2": -1})  # fmt: skip
        return loaded.assign(accuracy=right / counts.sum(["class", "predicted"]))

    def _of_teachers(
        self, kind: str, where: str, settings: Settings, seeds: Sequence[int], train: Callable[..., None]
    ) -> xr.Dataset:
        """Return what is stored of teachers, after training those that are not."""

        def missing(seed: int) -> bool:
            return seed not in self.store.seeds(kind, where)

        steps, held = settings.teacher_epochs * settings.steps_per_teacher_epoch, self.store.seeds(kind, where)
        self._fill(kind, where, {seed: steps for seed in dict.fromkeys(seeds) if seed not in held}, missing, train)
        return self.store.load(kind, where, seeds)

    def teacher_path(self, settings: Settings, seed: int, steps: Sequence[int]) -> Tensor:
        """Return theta (step, P) of a seed's teacher before each of some ascending steps, trained if not stored."""
        where = address(teacher=settings.of_teacher(), checkpoints=list(steps))

        def train(seed: int, advance: Callable[[int], object]) -> None:
            _, saved, _ = train_teachers(
                settings, data.load(settings.task), [seed], checkpoints=steps, device=self.device,
                advance=lambda: advance(1),
            )  # fmt: skip
            theta = torch.cat(saved, dim=1).cpu().numpy()
            coords, about = {"seed": [seed], "step": list(steps)}, {"teacher": settings.of_teacher()}
            dataset = xr.Dataset({"theta": (("seed", "step", "parameter"), theta)}, coords)
            self.store.save("paths", where, dataset.assign_attrs(provenance(self.device, **about)))

        path = self._of_teachers("paths", where, settings, [seed], train)
        return torch.from_numpy(path["theta"].values[0]).to(self.device)

    def teacher_weights(self, settings: Settings, seed: int, kind: str) -> Tensor:
        """Return theta_T (1, 1, P) of a seed's "own", "other" or "shuffled" teacher."""
        seed = other_seed(seed) if kind == "other" else seed
        dataset = self.teachers(settings, [seed], shuffled=kind == "shuffled")
        return torch.from_numpy(dataset["theta"].values).unsqueeze(1).to(self.device)
