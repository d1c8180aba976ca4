"""The sweeps: every point can be run at every profile, each once, the few within their budget."""

import re
import tomllib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from sublim_utils.analysis import transfer
from sublim_utils.book import panels
from sublim_utils.runs import sweeps
from sublim_utils.runs.experiments import EXPERIMENTS, of_chapter
from sublim_utils.runs.jobs import jobs
from sublim_utils.runs.profiles import Profile
from sublim_utils.runs.store import Store
from sublim_utils.settings import Condition, Settings

CHAPTER = "robustness"
FILE = tomllib.loads(Path(__file__).parents[2].joinpath("profiles.toml").read_text(encoding="utf-8"))
PROFILES = {name: Profile.of(**{k: v for k, v in values.items() if k != "device"}) for name, values in FILE.items()}
POINTS = [(axis, point) for axis in sweeps.AXES for point in axis.points]
at_each_profile = pytest.mark.parametrize("profile", PROFILES.values(), ids=list(PROFILES))


def runs_of(name, profile):
    """Return what determines the runs of an experiment at a profile: (settings, condition, seed)."""
    chosen = EXPERIMENTS[name]
    settings = chosen.settings_of(profile)
    conditions = chosen.conditions_of(settings, full=profile.full_grid).values()
    return {(settings, condition, seed) for condition in conditions for seed in range(profile.tiers[chosen.tier])}


@at_each_profile
@pytest.mark.parametrize(("axis", "point"), POINTS, ids=[f"{a.title} {p.label}" for a, p in POINTS])
def test_a_point_is_an_experiment_with_its_condition(axis, point, profile):
    experiment, condition = point.run
    chosen = EXPERIMENTS[experiment]
    settings = chosen.settings_of(profile)  # refused by name where it can't be
    assert condition in chosen.conditions_of(settings)
    assert chosen.tier == ("sweep" if point.run[0].startswith("sweep") else "grid")
    assert CHAPTER in (chosen.chapter, *chosen.also)
    assert re.fullmatch("[a-z0-9_]+", experiment)  # the Snakefile's pattern


def test_the_protocol_itself_is_on_every_axis_once():
    for axis in sweeps.AXES:
        assert [p.run for p in axis.points].count(sweeps.DEFAULT) == 1, axis.title
    default = EXPERIMENTS[sweeps.DEFAULT[0]]
    assert default.settings_of(PROFILES["paper"]) == Settings()
    assert default.conditions_of(Settings())[sweeps.DEFAULT[1]] == Condition()


def test_labels_and_runs_are_unique():
    for axis in sweeps.AXES:
        labels = [p.label for p in axis.points]
        assert len(set(labels)) == len(labels), axis.title
    runs = Counter(p.run for _, p in POINTS if p.run != sweeps.DEFAULT)
    assert set(runs.values()) == {1}
    assert len(set(sweeps.names().values())) == len(sweeps.names()) == len(runs) + 1


def test_no_two_points_train_the_same_students():
    paper, seen = PROFILES["paper"], {}
    for run, name in sweeps.names().items():
        settings = EXPERIMENTS[run[0]].settings_of(paper)
        own = (settings, EXPERIMENTS[run[0]].conditions_of(settings)[run[1]])
        assert own not in seen, (name, seen[own])
        seen[own] = name


def test_a_point_changes_something_only_where_it_is_an_experiment_of_its_own():
    mine = sweeps.own_points()
    for _, point in POINTS:
        assert (point.run[0] in mine) == bool(point.settings or point.scaled)
        assert not (point.run[0] in mine and EXPERIMENTS[point.run[0]].settings != point.settings)


def test_multiples_follow_the_profile():
    four, quarter, short = (
        EXPERIMENTS[f"sweep_{n}"] for n in ("batch_size_x_4", "batch_size_x_1_4", "teacher_epochs_x_0_2")
    )
    assert four.settings_of(PROFILES["paper"]).batch_size == 4096
    assert quarter.settings_of(PROFILES["paper"]).batch_size == 256
    assert four.settings_of(PROFILES["smoke"]).batch_size == 512
    assert short.settings_of(PROFILES["paper"]).teacher_epochs == 1
    assert short.settings_of(PROFILES["smoke"]).teacher_epochs == 1


def test_a_profile_without_the_full_grid_runs_a_few_of_the_points():
    whole = replace(PROFILES["paper"], results="whole")  # what is not recorded yet as well
    few, all_of_them = (set(of_chapter(CHAPTER, profile)) for profile in (PROFILES["laptop"], whole))
    assert few < all_of_them
    assert all_of_them >= set(sweeps.own_points())
    assert few & set(sweeps.own_points()) == {n for n, p in sweeps.own_points().items() if p.few}
    noises = EXPERIMENTS["sweep_init_noise"]
    assert set(noises.few) < set(noises.conditions_of(Settings()))


def test_small_profiles_need_no_second_data_set():
    for name in of_chapter(CHAPTER, PROFILES["smoke"]):
        settings = EXPERIMENTS[name].settings_of(PROFILES["smoke"])
        assert "fashion" not in (settings.task, settings.inputs), name
    assert "sweep_task_fashion" in of_chapter(CHAPTER, PROFILES["paper"])


def test_the_laptop_fits_its_budget(tmp_path):
    """10 students and 4 teachers beyond those of other chapters: a minute and a quarter on two cores at 6 s and 3 s."""
    laptop = PROFILES["laptop"]
    names = of_chapter(CHAPTER, laptop)
    before = {n for n, e in EXPERIMENTS.items() if e.chapter not in ("ledger", CHAPTER)}
    elsewhere = set().union(*(runs_of(n, laptop) for n in before))
    mine = set().union(*(runs_of(n, laptop) for n in names)) - elsewhere
    teachers = {(repr(s.of_teacher()), seed) for s, _, seed in mine} - {
        (repr(s.of_teacher()), k) for s, _, k in elsewhere
    }
    assert len(mine) <= 10
    assert len(teachers) <= 4
    planned = jobs(laptop, Store(tmp_path), 10)
    assert (
        len({job for n in names if EXPERIMENTS[n].chapter == CHAPTER for job in planned[n]}) <= 5
    )  # 5 s of start-up each


def runs(accuracy, inner, norms=(2.0, 0.5)):
    """Return two seeds' recorded runs with one layer, from accuracies (eval) and inner products (step)."""
    steps = ("seed", "step", "layer")
    shape = (2, len(inner), 1)
    values = np.broadcast_to(np.asarray(inner, dtype="float32")[None, :, None], shape)
    return xr.Dataset(
        {
            "accuracy": (("seed", "eval"), np.tile(np.asarray(accuracy, dtype="float32"), (2, 1))),
            "centred_accuracy": (("seed", "eval"), np.tile(np.asarray(accuracy, dtype="float32") / 2, (2, 1))),
            "inner": (steps, values),
            "inner_disc": (steps, 3 * values),
            "disc_norm": (steps, np.full(shape, 2 * norms[0])),
            "trait_norm": (steps, np.full(shape, norms[0])),
            "distill_norm": (steps, np.full(shape, norms[1])),
            "drive": (steps, -2 * values),
        },
        coords={"seed": [0, 1]},
    )


def test_a_summary_is_of_each_run():
    found = transfer.summary(runs([0.1, 0.3, 0.6], [0.2, 0.4, 0.0]))
    assert found.sizes == {"seed": 2}
    assert found["accuracy"].values == pytest.approx([0.6, 0.6])
    assert found["gain"].values == pytest.approx([0.5, 0.5])
    assert found["centred"].values == pytest.approx([0.3, 0.3])
    assert found["centred_gain"].values == pytest.approx([0.25, 0.25])
    assert found["disc_cosine"].values == pytest.approx([0.3, 0.3])
    assert found["cosine"].values == pytest.approx([0.2, 0.2])
    assert found["drive"].values == pytest.approx([-1.2, -1.2])


def test_a_run_without_gradient_has_no_cosine_and_gains_nothing():
    found = transfer.summary(runs([0.1, 0.1], [0.0, 0.0], norms=(2.0, 0.0)))
    assert np.isnan(found["cosine"]).all()
    assert (found["gain"] == 0).all()


def test_what_is_not_there_leaves_its_place_empty():
    from matplotlib.figure import Figure

    axis = sweeps.AXES[0]
    here = {axis.points[0].run: transfer.summary(runs([0.1, 0.1], [0.0, 0.0], norms=(2.0, 0.0)))}
    there = {axis.points[1].run: transfer.summary(runs([0.1, 0.4], [0.1, 0.1]))}
    for measure, diamonds in (("accuracy", 2), ("cosine", 1)):
        ax = panels.sweep(Figure().subplots(), axis, measure, here, there)
        marks = [line for line in ax.lines if line.get_marker() == "D"]
        assert len(marks) == diamonds
        assert [t.get_text() for t in ax.get_xticklabels()] == [p.label for p in axis.points]
    assert marks[0].get_markerfacecolor() == "white"
