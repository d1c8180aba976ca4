"""Recorded runs computed again from nothing, and compared with what is recorded."""

import json
import random
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from sublim_utils.runs.addresses import ENGINE, student_address
from sublim_utils.runs.lab import Lab
from sublim_utils.runs.profiles import Profile
from sublim_utils.runs.store import Store
from sublim_utils.settings import Condition, Settings, require

__all__ = [
    "ALLOWED",
    "KIND",
    "MEASURED",
    "PARTS",
    "Check",
    "by_parts",
    "deviations",
    "recorded_runs",
    "threads_of",
    "verify",
]

KIND = "students"

MEASURED = {
    "accuracy": 5.2e-02,
    "applied_norm": 1.3e-01,
    "calibrated_accuracy": 3.8e-02,
    "centred_accuracy": 3.7e-02,
    "class_accuracy": 8.6e-02,
    "confusion": 7.9e-02,
    "disc_norm": 1.3e-02,
    "distance": 5.3e-03,
    "distill_loss": 4.0e-02,
    "distill_norm": 1.7e-01,
    "drive": 1.1e-01,
    "drive_disc": 5.8e-02,
    "drive_end": 1.1e-01,
    "heldout_loss": 1.4e-01,
    "inner": 1.3e-01,
    "inner_applied": 3.3e-01,
    "inner_disc": 3.4e-02,
    "inner_displacement": 1.5e-02,
    "inner_parts": 1.8e-01,
    "mean_logit": 1.1e-01,
    "mutual_information": 1.3e-01,
    "one_point": 3.6e-02,
    "prediction_entropy": 6.4e-02,
    "probe_accuracy": 2.8e-03,
    "progress": 2.0e-02,
    "reverse_kl": 4.0e-02,
    "test_disc": 2.9e-02,
    "test_loss": 5.3e-02,
    "trait_disc": 3.2e-02,
    "trait_loss": 5.2e-02,
    "trait_loss_end": 5.2e-02,
    "trait_norm": 3.1e-02,
    "travelled": 1.1e-02,
    "update_norm": 5.5e-03,
}
"""Largest deviation of each quantity of a run between libraries of products, instruction sets or numbers of threads,
which is what another machine may change: ``book/measured/determinism.json``. The teacher is trained anew as well, and
its auxiliary logits, which nothing trains, turn on its rounding: they are what moves the distillation loss so far.
"""

PARTS = 5
"""Of a training, as many as it has epochs in the paper's protocol."""

ALLOWED = 3.0
"""A run agrees if no quantity deviates by more than so many times what was measured."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One recorded run against the same run computed now.

    Parameters
    ----------
    run : what it is, in words
    deviations : of each recorded quantity the largest |now - recorded|, in units of its largest |recorded|
    """

    run: str
    deviations: dict[str, float]

    @property
    def beyond(self) -> dict[str, float]:
        """The deviations that are larger than is allowed."""
        return {name: d for name, d in self.deviations.items() if not d <= ALLOWED * MEASURED.get(name, 0.0)}

    def __str__(self) -> str:
        worst = max(self.deviations, key=self.deviations.__getitem__)
        what = ", ".join(f"{n} by {d:.1e}" for n, d in self.beyond.items())
        verdict = f"DIFFERS: {what}" if what else "agrees"
        return f"{self.run}: {verdict} (largest deviation {self.deviations[worst]:.1e}, {worst})"


def recorded_runs(store: Store) -> list[tuple[str, int]]:
    """Return address and seed of every student that a store holds."""
    return [(where, seed) for where in store.addresses(KIND) for seed in store.seeds(KIND, where)]


def by_parts(series: xr.DataArray) -> xr.DataArray:
    """Return a quantity as it is compared: what is recorded at every step as means over `PARTS` of the training.

    >>> by_parts(xr.DataArray([1.0, 3, 3, 5, 0, 2, 1, 1, 7], dims="step")).values
    array([2., 4., 1., 1., 7.])
    """
    if "step" not in series.dims:
        return series
    n = series.sizes["step"]
    parts = np.array_split(np.arange(n), min(PARTS, n))
    return xr.concat([series.isel(step=part).mean("step", skipna=False) for part in parts], "step")


def deviations(now: xr.Dataset, recorded: xr.Dataset) -> dict[str, float]:
    """Return the largest |now - recorded| / largest |recorded| of each quantity; NaN in one only is infinite.

    A series is compared `by_parts`. At single steps it says little: there rounding moves an inner product by half of
    its size where it moves a fifth's mean by a twentieth.
    """

    def one(name: str) -> float:
        old = by_parts(recorded[name].squeeze("seed", drop=True).astype(float))
        new = by_parts(now[name].squeeze("seed", drop=True).astype(float)).transpose(*old.dims)
        if (np.isnan(new) != np.isnan(old)).any():
            return float("inf")
        gap, size = float(abs(new - old).max()), float(abs(old).max())
        return gap / size if size else gap

    return {str(name): one(str(name)) for name in recorded.data_vars}


def verify(results: str, sample: int, seed: int = 0) -> Iterator[Check]:
    """Compute `sample` runs of a store again, chosen at random by `seed`, and yield how each compares.

    Teacher and student are trained anew in an empty folder, with the recorded number of threads.

    Raises
    ------
    SettingsError
        If the store holds fewer runs, or one of another engine, whose arithmetic is not here any more.
    """
    store = Store(Path(results))
    runs = recorded_runs(store)
    require("sample", sample, 1 <= sample <= len(runs), f"between 1 and {len(runs)}, the number of runs in {results}")
    for where, run_seed in random.Random(seed).sample(runs, sample):
        recorded = store.load(KIND, where, [run_seed])
        settings, condition = (json.loads(recorded.attrs[name]) for name in ("settings", "condition"))
        settings, condition = Settings.of(**settings), Condition.of(**condition)
        ours = student_address(settings, condition) == where
        require("engine", recorded.attrs["engine"], ours, f"{ENGINE}, the one there is here, to compute {where} again")
        about = {**settings.changed(), **condition.changed()} or "the protocol itself"
        with threads_of(recorded):
            now = _again(settings, condition, run_seed)
        yield Check(run=f"seed {run_seed}, {about}", deviations=deviations(now, recorded))


@contextmanager
def threads_of(recorded: xr.Dataset) -> Iterator[None]:
    """Use the number of threads that a run was recorded with, in the block."""
    named, before = re.search(r"(\d+) threads", recorded.attrs["device"]), torch.get_num_threads()
    torch.set_num_threads(int(named[1]) if named else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _again(settings: Settings, condition: Condition, seed: int) -> xr.Dataset:
    """Train one student, and its teacher, in an empty store."""
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(Profile(results=folder), "auto")
        return lab.students(settings, {"again": condition}, [seed]).squeeze("condition", drop=True)
