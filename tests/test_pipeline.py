"""What the Snakefile finds to do, by dry runs."""

import re
import subprocess
import sys
from pathlib import Path

from sublim_utils.runs.experiments import chapter_of, of_chapter, run_at
from sublim_utils.runs.profiles import Profile, profile_parameters
from tests.sources import ROOT, copy_of_sources, makefile_flags

BOOK = ("_config.yml", "CITATION.cff", "environment.yml", "requirements.lock", "book", "notebooks")


def planned(folder: Path) -> dict[str, int]:
    """Return how many jobs of each rule `make book PROFILE=smoke` would run in `folder`."""
    command = [sys.executable, "-m", "snakemake", "-n", *makefile_flags(), "profile=smoke"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {rule: int(n) for rule, n in re.findall(r"^(\w+) +(\d+)$", done.stdout + done.stderr, re.MULTILINE)}


def test_a_run_that_is_missing_is_computed_again_though_the_book_is_built(tmp_path: Path) -> None:
    copy_of_sources(tmp_path, *BOOK)
    chapters = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
    executed = [f"_build/smoke/notebooks/{chapter}.ipynb" for chapter in chapters]
    for name in (*executed[:-1], "results/smoke/claims.json", executed[-1], "_build/smoke/_build/html/index.html"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("built")
    size = Profile.of_parameters(**profile_parameters(ROOT / "profiles.toml", "smoke"))
    showing = [chapter for chapter in chapters if of_chapter(chapter_of(chapter), size)]
    assert 0 < len(showing) < len(chapters) - 1
    plan = planned(tmp_path)
    assert plan["runs"] == len(run_at(size))
    assert plan["chapter"] == len(showing) + 1  # and the verdicts
    assert plan["html"] == 1
