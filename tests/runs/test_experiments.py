from dataclasses import replace
from pathlib import Path

import pytest
import xarray as xr

from sublim_utils.runs.addresses import student_address
from sublim_utils.runs.experiments import EXPERIMENTS, of_chapter, run_at
from sublim_utils.runs.profiles import FIRST_FRESH, Profile, profile_parameters
from sublim_utils.runs.store import Store
from sublim_utils.settings import Condition
from tests import small

ROOT = Path(__file__).parents[2]
SMOKE = Profile(results="smoke", n_images=2400, batch_size=128, epochs=2, n_seeds=2)
PAPER = Profile.of_parameters(**profile_parameters(ROOT / "profiles.toml", "paper"))
each = pytest.mark.parametrize("name", EXPERIMENTS)


@each
@pytest.mark.parametrize("profile", [SMOKE, PAPER], ids=lambda p: p.name)
def test_every_condition_can_be_run(name, profile):
    chosen = EXPERIMENTS[name]
    settings = chosen.settings_of(profile)
    for full in (False, True):
        conditions = chosen.conditions_of(settings, full=full)
        assert conditions
        for condition in conditions.values():
            condition.check_with(settings)


@each
def test_the_few_are_some_of_all(name):
    settings = EXPERIMENTS[name].settings_of(PAPER)
    few, full = (EXPERIMENTS[name].conditions_of(settings, full=f) for f in (False, True))
    assert few.items() <= full.items()


@pytest.mark.parametrize("name", [n for n in EXPERIMENTS if n.startswith(("phenomenon", "alignment", "causal"))])
def test_no_condition_is_trained_twice_under_two_names(name):
    conditions = EXPERIMENTS[name].conditions_of(EXPERIMENTS[name].settings_of(PAPER)).values()
    assert len(set(conditions)) == len(conditions)


@each
def test_an_experiment_belongs_to_its_chapter(name):
    assert EXPERIMENTS[name].tier in PAPER.tiers
    for chapter in (EXPERIMENTS[name].chapter, *EXPERIMENTS[name].also):
        assert name in of_chapter(chapter, PAPER)


@each
def test_the_record_has_seeds_that_nobody_had_looked_at_and_other_profiles_the_first(name):
    tier = EXPERIMENTS[name].tier
    assert EXPERIMENTS[name].seeds(PAPER) == range(FIRST_FRESH, FIRST_FRESH + PAPER.tiers[tier])
    assert EXPERIMENTS[name].seeds(SMOKE) == range(SMOKE.tiers[tier])


@each
@pytest.mark.parametrize("size", [2400, 60_000])
@pytest.mark.parametrize("full", [False, True])
def test_a_profile_runs_what_its_grid_and_its_size_allow(name, size, full):
    profile, chosen = Profile(results="r", n_images=size, full_grid=full), EXPERIMENTS[name]
    wanted = (full or not chosen.full_only) and size >= chosen.least_images
    assert (name in run_at(profile)) == (name in of_chapter(chosen.chapter, profile)) == wanted


def test_chapters_share_the_baseline():
    for name in ("phenomenon", "alignment", "alignment_controls", "causal", "liminal"):
        conditions = EXPERIMENTS[name].conditions_of(PAPER.settings())
        assert not EXPERIMENTS[name].settings
        assert conditions["student (aux)"] == Condition()


def test_timings_follow_the_number_of_steps():
    conditions = EXPERIMENTS["causal_grid"].conditions_of(PAPER.settings())
    assert conditions["update, first 1"].window == (0, 59)
    assert conditions["gradient, after 2"].window == (118, 295)
    assert conditions["update, window 0.5"].window == (30, 88)
    short = EXPERIMENTS["causal_grid"].conditions_of(SMOKE.settings())
    assert short["update, after 1"].window == (19, 38)
    assert "update, first 3" not in short


def test_the_laptop_fits_its_budget():
    """About 80 student runs in three chapters: ten minutes on two cores."""
    laptop, runs = Profile(results="laptop"), set()
    for name in EXPERIMENTS:
        chosen = EXPERIMENTS[name]
        settings = chosen.settings_of(laptop)
        seeds = chosen.seeds(laptop)
        if chosen.chapter in ("phenomenon", "alignment", "causal") and chosen.is_run_at(laptop):
            runs |= {(settings, c, s) for c in chosen.conditions_of(settings, full=False).values() for s in seeds}
    assert len(runs) <= 82


def test_seeds_are_held_once_every_condition_has_them(lab):
    one = replace(EXPERIMENTS["phenomenon"], conditions=small.FEW)
    profile = replace(lab.profile, n_images=60, batch_size=16)
    settings, conditions = one.at(profile)
    assert one.held(lab.store, profile) == set()
    for n, seeds in (("baseline", (0, 1)), ("cross", (0, 1)), ("liminal", (1, 2))):
        for seed in seeds:
            run = xr.Dataset({"x": ("seed", [1.0])}, {"seed": [seed]})
            lab.store.save("students", student_address(settings, conditions[n]), run)
    assert one.held(lab.store, profile) == {1}


def test_the_recorded_run_has_the_seeds_that_are_asked_for():
    tiers = {n: PAPER.tiers[EXPERIMENTS[n].tier] for n in run_at(PAPER)}
    headline = {"primary", "phenomenon", "alignment", "causal", "liminal"}
    assert {n for n, seeds in tiers.items() if seeds == 100} == headline
    least = {"sweep": 10, "cross": 20}
    assert all(s >= least.get(EXPERIMENTS[n].tier, 30) for n, s in tiers.items())


@pytest.mark.parametrize("name", run_at(PAPER))
def test_the_recorded_run_is_complete(name):
    assert set(EXPERIMENTS[name].seeds(PAPER)) <= EXPERIMENTS[name].held(Store(ROOT / "results" / "paper"), PAPER)
