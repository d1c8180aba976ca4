"""What a store lacks, with its number of students and the time they would take."""

import json
from dataclasses import replace

import pytest
import xarray as xr

from sublim_utils.runs import missing
from sublim_utils.runs.addresses import student_address
from sublim_utils.runs.experiments import Experiment
from sublim_utils.runs.missing import lacking, report
from sublim_utils.runs.profiles import Profile
from sublim_utils.runs.store import Store
from sublim_utils.settings import Condition

SIZE = Profile(results="r", n_images=600, batch_size=64)
A, B, C = Condition(), Condition(logits="all"), Condition(teacher="other")
ONE = Experiment(chapter="c", conditions={"a": A, "b": B})
EXPERIMENTS = {"one": ONE, "two": replace(ONE, conditions={"a again": A, "c": C}, tier="grid")}


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr(missing, "EXPERIMENTS", EXPERIMENTS)
    monkeypatch.setattr(missing, "run_at", lambda _: list(EXPERIMENTS))
    return Store(tmp_path)


def recorded(store, condition, *seeds):
    for seed in seeds:
        where = student_address(SIZE.settings(), condition)
        store.save("students", where, xr.Dataset({"x": ("seed", [1.0])}, {"seed": [seed]}))


def test_each_missing_student_counts_once_for_the_first_experiment_that_asks_for_it(store):
    assert [(row.experiment, row.students) for row in lacking(SIZE, store.root)] == [("one", 8), ("two", 2)]
    recorded(store, A, 0, 1, 2)
    recorded(store, C, 0, 1)
    assert [(row.experiment, row.students) for row in lacking(SIZE, store.root)] == [("one", 5)]
    recorded(store, A, 3)
    recorded(store, B, 0, 1, 2, 3)
    assert lacking(SIZE, store.root) == []


def test_the_time_is_that_recorded_of_the_same_students_or_the_mean_of_others(store):
    assert [row.seconds for row in lacking(SIZE, store.root)] == [None, None]
    rows = [{"address": student_address(SIZE.settings(), one), "seconds": s} for one, s in ((A, "600"), (B, "1200"))]
    (store.root / "provenance.json").write_text(json.dumps([*rows, {"address": "x"}]))
    one, two = lacking(SIZE, store.root)
    assert (one.seconds, two.seconds) == (4 * 600 + 4 * 1200, 2 * 900)
    text = report([one, two], store.root)
    assert "one                           8 students, about 2.0 h" in text
    assert "two                           2 students, about 30 min" in text
    assert "in all                       10 students, about 2.5 h" in text
    assert "make paper TRAIN=yes" in text


def test_a_damaged_provenance_tells_no_time(store):
    (store.root / "provenance.json").write_text('[{"seconds": "x"}]')
    assert {row.seconds for row in lacking(SIZE, store.root)} == {None}
    assert "about" not in report(lacking(SIZE, store.root), store.root)
