"""What the Snakefile finds to do, by dry runs."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from sublim_utils.chapters import profile_parameters
from sublim_utils.experiments import of_chapter, run_at
from sublim_utils.profiles import Profile

ROOT = Path(__file__).parents[1]
SOURCES = ("Snakefile", "Makefile", "profiles.toml", "_toc.yml", "_config.yml", "CITATION.cff", "environment.yml",
           "requirements.lock", "sublim_utils", "book", "notebooks")  # fmt: skip


def planned(folder: Path) -> dict[str, int]:
    """Return how many jobs of each rule `make book PROFILE=smoke` would run in `folder`."""
    makefile = (folder / "Makefile").read_text()
    flags = next(line for line in makefile.splitlines() if line.startswith("SNAKEMAKE :=")).split()[3:]
    command = [sys.executable, "-m", "snakemake", "-n", *flags, "profile=smoke"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {rule: int(n) for rule, n in re.findall(r"^(\w+) +(\d+)$", done.stdout + done.stderr, re.MULTILINE)}


def test_a_run_that_is_missing_is_computed_again_though_the_book_is_built(tmp_path: Path) -> None:
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        copy(ROOT / name, tmp_path / name)
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    files = [entry["file"] for part in toc["parts"] for entry in part["chapters"]]
    chapters = [Path(file).name for file in files if file.startswith("notebooks/")]
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
