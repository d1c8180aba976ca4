"""The jobs of a profile: each missing run in exactly one, small experiments together."""

import tomllib
from pathlib import Path

import pytest

from sublim_utils.engine import data
from sublim_utils.runs.experiments import EXPERIMENTS, run_at
from sublim_utils.runs.jobs import JOINT, LONGEST, WORTH, jobs, seconds
from sublim_utils.runs.lab import Lab
from sublim_utils.runs.profiles import Profile
from sublim_utils.runs.store import Store
from tests import small

FILE = tomllib.loads((Path(__file__).parents[2] / "profiles.toml").read_text(encoding="utf-8"))
PROFILES = {name: Profile.of_parameters(**values) for name, values in FILE.items()}


@pytest.mark.parametrize("profile", PROFILES.values(), ids=list(PROFILES))
def test_each_run_of_an_empty_store_is_in_one_job(profile, tmp_path):
    planned = jobs(profile, Store(tmp_path), seeds_per_job=10)
    assert list(planned) == run_at(profile)
    for name, mine in planned.items():
        parts = [job.rpartition("/") for job in mine]
        assert all(name in names.split(JOINT) and len(names) <= LONGEST for names, _, _ in parts)
        seeds = [s for _, _, part in parts for s in range(*map(int, part.split("-")))]
        assert seeds == list(EXPERIMENTS[name].seeds(profile))


@pytest.mark.parametrize("profile", PROFILES.values(), ids=list(PROFILES))
def test_only_small_experiments_share_a_job(profile, tmp_path):
    for job in {job for mine in jobs(profile, Store(tmp_path), 10).values() for job in mine}:
        names, _, part = job.rpartition("/")
        first, stop = map(int, part.split("-"))
        work = [seconds(profile, name, stop - first) for name in names.split(JOINT)]
        language = {name.startswith(("language", "sweep_language")) for name in names.split(JOINT)}
        assert len(language) == 1  # the one kind trains references, the other does not
        assert sum(work[:-1]) < WORTH[language.pop()], job


def test_a_small_profile_has_few_jobs_and_a_large_one_ranges_of_seeds(tmp_path):
    small, large = (jobs(PROFILES[name], Store(tmp_path), 10) for name in ("smoke", "paper"))
    assert len({job for mine in small.values() for job in mine}) < len(small) / 3
    assert len(large["phenomenon"]) == 10


def test_at_the_laptop_a_reference_of_language_is_trained_once(tmp_path):
    planned = jobs(PROFILES["laptop"], Store(tmp_path), seeds_per_job=10)
    spoken = {job for name, mine in planned.items() if name.startswith("language") for job in mine}
    assert len(spoken) == 1


def test_what_is_stored_is_in_no_job(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "load", small.images)
    lab = Lab(Profile(results=str(tmp_path / "tiny"), n_seeds=2, n_images=120, batch_size=60, epochs=2), "cpu")
    assert jobs(lab.profile, lab.store, 10)["phenomenon"]
    lab.experiment("phenomenon")
    after = jobs(lab.profile, lab.store, 10)
    assert not after["phenomenon"]
    assert not any("phenomenon" in job.split("/")[0].split(JOINT) for mine in after.values() for job in mine)
