"""The recorded run: every address that the book asks for is there on any processor, and is that of its content."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import xarray as xr

from sublim_utils.runs.addresses import address
from sublim_utils.runs.experiments import EXPERIMENTS, run_at
from sublim_utils.runs.missing import lacking
from sublim_utils.runs.profiles import Profile, profile_parameters
from sublim_utils.runs.store import Store
from sublim_utils.settings import Condition, Settings

ROOT = Path(__file__).parents[2]
RECORD = Store(ROOT / "results" / "paper")
PAPER = Profile.of_parameters(**profile_parameters(ROOT / "profiles.toml", "paper"))
HOW = {"engine", "commit", "torch", "device", "made", "seconds"}
PLAIN = {"NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR", "ATEN_CPU_CAPABILITY": "avx2"}


@pytest.mark.slow
@pytest.mark.parametrize("processor", [{}, PLAIN], ids=["this processor", "one without AVX-512"])
def test_all_that_the_chapters_ask_for_is_recorded_and_nothing_else(processor):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.runs.asked"],
        cwd=ROOT / "notebooks",  # as a chapter is
        env={**os.environ, "PYTHONPATH": str(ROOT), "SUBLIM_TRAIN": "no", **processor},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    asked = {tuple(one) for one in json.loads(done.stdout)}
    recorded = {(kind, where) for kind in RECORD.kinds() for where in RECORD.addresses(kind)}
    assert asked <= recorded
    assert {one for one in recorded - asked if one[0] not in ("students", "teachers")} == set()


def test_all_students_of_the_papers_profile_are_recorded():
    assert lacking(PAPER, RECORD.root) == []
    for name in run_at(PAPER):
        assert EXPERIMENTS[name].held(RECORD, PAPER) >= set(EXPERIMENTS[name].seeds(PAPER)), name


def asked(name, value):
    """Return a determinant as it was asked for: options are written with every field, or by those not the default."""
    if name == "conditions":
        return {n: Condition.of(**one) for n, one in value.items()}
    if name == "teacher":
        return Settings.of(**value).of_teacher()
    return {"settings": Settings, "condition": Condition}[name].of(**value) if isinstance(value, dict) else value


def test_a_recorded_address_is_that_of_what_its_files_say_they_are():
    for kind in RECORD.kinds():
        for where in RECORD.addresses(kind):
            for _, path in RECORD.files(kind, where):
                with xr.open_dataset(path, engine="netcdf4") as dataset:
                    about = {
                        name: asked(name, json.loads(text)) for name, text in dataset.attrs.items() if name not in HOW
                    }
                assert address(**about) == where, path
