"""What the Snakefile finds to do, by dry runs."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

from sublim_utils.runs.experiments import of_chapter, run_at
from sublim_utils.runs.profiles import Profile, profile_parameters
from tests.sources import ROOT, copy_of_sources, makefile_flags

BOOK = ("_config.yml", "CITATION.cff", "environment.yml", "requirements.lock", "book", "notebooks")


def planned(folder: Path, said: str = "") -> dict[str, int]:
    """Return how many jobs of each rule `make book PROFILE=smoke` would run in `folder`; check that this is `said`."""
    command = [sys.executable, "-m", "snakemake", "-n", *makefile_flags(), "profile=smoke"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert said in done.stderr
    return {rule: int(n) for rule, n in re.findall(r"^(\w+) +(\d+)$", done.stdout + done.stderr, re.MULTILINE)}


def test_sources_of_the_future_are_dated_to_the_present_before_any_work(tmp_path: Path) -> None:
    copy_of_sources(tmp_path, *BOOK)
    ahead = time.time() + 1e6
    late = [tmp_path / name for name in ("notebooks/03_single_step.ipynb", "profiles.toml", "sublim_utils/settings.py")]
    for path in late:
        os.utime(path, (ahead, ahead))
    planned(tmp_path, "profiles.toml was dated in the future")
    assert all(path.stat().st_mtime <= time.time() for path in late)


def test_a_run_that_is_missing_is_computed_again_though_the_book_is_built(tmp_path: Path) -> None:
    copy_of_sources(tmp_path, *BOOK)
    chapters = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
    executed = [f"_build/smoke/notebooks/{chapter}.ipynb" for chapter in chapters]
    for name in (*executed[:-1], "results/smoke/claims.json", executed[-1], "_build/smoke/_build/html/index.html"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("built")
    size = Profile.of_parameters(**profile_parameters(ROOT / "profiles.toml", "smoke"))
    showing = [chapter for chapter in chapters if of_chapter(chapter, size)]
    assert 0 < len(showing) < len(chapters) - 1
    plan = planned(tmp_path)
    assert plan["runs"] == len(run_at(size))
    assert plan["chapter"] == len(showing) + 1  # and the verdicts
    assert plan["html"] == 1
