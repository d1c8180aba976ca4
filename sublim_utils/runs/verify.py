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

__all__ = ["ALLOWED", "KIND", "MEASURED", "Check", "deviations", "recorded_runs", "threads_of", "verify"]

KIND = "students"

MEASURED = {
    "accuracy": 1.0e-02,
    "applied_norm": 6.7e-03,
    "calibrated_accuracy": 9.5e-03,
    "centred_accuracy": 1.3e-02,
    "class_accuracy": 4.7e-02,
    "confusion": 1.9e-02,
    "disc_norm": 1.0e-02,
    "distance": 2.2e-03,
    "distill_loss": 3.1e-03,
    "distill_norm": 7.3e-03,
    "drive": 6.2e-02,
    "drive_disc": 7.0e-02,
    "drive_end": 6.1e-02,
    "heldout_loss": 3.1e-03,
    "inner": 9.7e-02,
    "inner_applied": 8.4e-02,
    "inner_disc": 1.6e-01,
    "inner_displacement": 5.5e-03,
    "inner_parts": 4.2e-02,
    "mean_logit": 4.8e-02,
    "mutual_information": 1.3e-02,
    "one_point": 3.1e-02,
    "prediction_entropy": 1.6e-02,
    "probe_accuracy": 1.7e-03,
    "progress": 6.0e-04,
    "reverse_kl": 2.0e-02,
    "test_disc": 3.7e-03,
    "test_loss": 6.9e-03,
    "trait_disc": 5.9e-03,
    "trait_loss": 8.8e-03,
    "trait_loss_end": 8.8e-03,
    "trait_norm": 1.2e-02,
    "travelled": 5.0e-03,
    "update_norm": 9.0e-04,
}
"""Largest deviation of each quantity between instruction sets or numbers of threads, which is what another machine may
change: ``book/measured/determinism.json``. Rounding grows over the steps.

Between AVX2 and AVX-512; of what was added later, between SSE4.2 and AVX2.
"""

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


def deviations(now: xr.Dataset, recorded: xr.Dataset) -> dict[str, float]:
    """Return the largest |now - recorded| / largest |recorded| of each quantity; NaN in one only is infinite."""

    def one(name: str) -> float:
        old = recorded[name].squeeze("seed", drop=True).astype(float)
        new = now[name].squeeze("seed", drop=True).transpose(*old.dims).astype(float)
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
