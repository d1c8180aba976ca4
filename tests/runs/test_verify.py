"""A recorded run that is what it says agrees; one that is not is named."""

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from sublim_utils import __main__ as command
from sublim_utils.runs import verify as module
from sublim_utils.runs.addresses import student_address
from sublim_utils.runs.verify import Check, deviations, recorded_runs, verify
from sublim_utils.settings import SettingsError
from tests.small import FEW, SETTINGS

SEEDS = [0, 1]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def recorded(lab):
    """A packed store of two conditions and two seeds."""
    lab.students(SETTINGS, FEW, SEEDS)
    for where in lab.store.addresses("students"):
        lab.store.pack("students", where)
    return lab.store


def test_every_run_agrees_with_itself(recorded):
    checks = list(verify(str(recorded.root), len(FEW) * len(SEEDS)))
    assert len(checks) == len(recorded_runs(recorded)) == len(FEW) * len(SEEDS)
    for one in checks:
        assert not one.beyond, str(one)
        assert max(one.deviations.values()) <= 2**-11  # what packing rounds, no more
    assert len({one.run for one in checks}) == len(checks)


@pytest.mark.parametrize(
    ("name", "share"), [("accuracy", 0.3), ("trait_loss", 0.3), ("confusion", 0.4), ("inner", 0.8)]
)
def test_a_run_that_was_changed_is_named(recorded, name, share, capsys):
    """By a share of its largest value that is not far beyond what rounding may make."""
    where = student_address(SETTINGS, FEW["baseline"])
    [(_, path)] = recorded.files("students", where)
    changed = recorded.load("students", where, SEEDS)
    changed[name] = changed[name] + changed[name].dtype.type(share * np.abs(changed[name]).max())
    path.unlink()
    recorded.save("students", where, changed)
    assert command.check(str(recorded.root), len(FEW) * len(SEEDS), 0) == 1
    lines = capsys.readouterr().out.splitlines()
    assert sum("DIFFERS" in line and name in line for line in lines) == len(SEEDS)
    assert lines[-1].startswith(f"{len(SEEDS) * (len(FEW) - 1)} of {len(SEEDS) * len(FEW)} runs agree")


def test_a_run_of_another_seed_is_not_taken_for_it(recorded):
    where = student_address(SETTINGS, FEW["baseline"])
    one, other = (recorded.load("students", where, [seed]) for seed in SEEDS)
    assert Check(run="swapped", deviations=deviations(one.assign_coords(seed=[SEEDS[1]]), other)).beyond


def test_missing_numbers_are_a_difference():
    whole = xr.Dataset({"trait_loss": (("seed", "step"), [[1.0, 2.0]])}, {"seed": [0]})
    holes = xr.Dataset({"trait_loss": (("seed", "step"), [[1.0, np.nan]])}, {"seed": [0]})
    assert deviations(holes, whole)["trait_loss"] == np.inf
    assert deviations(holes, holes)["trait_loss"] == 0


def test_a_series_counts_by_its_means_over_fifths_of_the_training():
    def run(values):
        return xr.Dataset({"inner": (("seed", "step"), [values])}, {"seed": [0]})

    swinging, still = run([9.0, -9.0] * 5), run([0.0] * 10)
    assert deviations(swinging, still)["inner"] == 0
    assert deviations(run([1.0] * 4 + [3.0] + [1.0] * 5), run([1.0] * 10))["inner"] == 1


@pytest.mark.parametrize("sample", [0, 100])
def test_more_runs_than_there_are_is_refused(recorded, sample):
    with pytest.raises(SettingsError, match=f"sample = {sample}"):
        next(verify(str(recorded.root), sample))


def test_the_record_of_another_engine_is_refused(recorded, monkeypatch):
    monkeypatch.setattr(module, "student_address", lambda *_: "0" * 16)
    with pytest.raises(SettingsError, match="engine"):
        next(verify(str(recorded.root), 1))


def test_the_bounds_are_those_that_were_measured():
    """Of every comparison that was not bit for bit the same: ``python -m tests.faults.determinism``."""
    measured = json.loads((ROOT / "book" / "measured" / "determinism.json").read_text(encoding="utf-8"))
    found = [case["quantities"] for case in measured["compared"].values() if not case["identical"]]
    assert found
    names = set().union(*found)  # a comparison made before a quantity was recorded lacks it
    largest = {name: max(case[name]["relative"] for case in found if name in case) for name in names}
    assert pytest.approx(largest, rel=0.06) == module.MEASURED
