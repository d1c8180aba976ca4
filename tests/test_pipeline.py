"""What the Snakefile finds to do, by dry runs."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

from sublim_utils.runs.experiments import chapter_of, of_chapter, run_at
from sublim_utils.runs.jobs import jobs
from sublim_utils.runs.missing import lacking
from sublim_utils.runs.profiles import Profile, profile_parameters
from sublim_utils.runs.store import Store
from tests.offers import imported
from tests.sources import ROOT, copy_of_sources, makefile_flags

VERDICTS = "09_verdicts"
BOOK = ("_config.yml", "CITATION.cff", "environment.yml", "requirements.lock", "book", "notebooks")


def dry_run(folder: Path, *config: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "snakemake", "-n", *makefile_flags(), *config]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def planned(folder: Path, *config: str, said: str = "") -> dict[str, int]:
    """Return how many jobs of each rule `make book` so configured would run in `folder`; check that this is `said`."""
    done = dry_run(folder, *config)
    assert done.returncode == 0, done.stderr
    assert said in done.stderr
    return {rule: int(n) for rule, n in re.findall(r"^(\w+) +(\d+)$", done.stdout + done.stderr, re.MULTILINE)}


def test_sources_of_the_future_are_dated_to_the_present_before_any_work(tmp_path: Path) -> None:
    copy_of_sources(tmp_path, *BOOK)
    ahead = time.time() + 1e6
    late = [tmp_path / name for name in ("notebooks/03_single_step.ipynb", "profiles.toml", "sublim_utils/settings.py")]
    for path in late:
        os.utime(path, (ahead, ahead))
    planned(tmp_path, "profile=smoke", said="profiles.toml was dated in the future")
    assert all(path.stat().st_mtime <= time.time() for path in late)


def built(folder: Path) -> list[str]:
    """Lay sources in `folder` and what a build of the smoke profile leaves; return the chapters' names."""
    copy_of_sources(folder, *BOOK)
    chapters = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
    executed = [f"_build/smoke/notebooks/{chapter}.ipynb" for chapter in chapters if chapter != VERDICTS]
    last = (
        "results/smoke/claims.json",
        f"_build/smoke/notebooks/{VERDICTS}.ipynb",
        "_build/smoke/_build/html/index.html",
    )
    for name in (*executed, *last):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("built")
    return chapters


def test_a_run_that_is_missing_is_computed_again_though_the_book_is_built(tmp_path: Path) -> None:
    chapters = built(tmp_path)
    size = Profile.of_parameters(**profile_parameters(ROOT / "profiles.toml", "smoke"))
    showing = [chapter for chapter in chapters if of_chapter(chapter_of(chapter), size)]
    assert 0 < len(showing) < len(chapters) - 1
    plan = planned(tmp_path, "profile=smoke")
    assert plan["runs"] == len({job for mine in jobs(size, Store(tmp_path), 10).values() for job in mine})
    assert plan["chapter"] == len(showing) + 1  # and the verdicts
    assert plan["html"] == 1


@pytest.mark.parametrize(
    ("edited", "all_again"), [("sublim_utils/book/explorer.py", False), ("sublim_utils/engine/network.py", True)]
)
def test_an_edit_of_a_pages_tool_builds_pages_and_one_of_the_engine_all_chapters(
    tmp_path: Path, edited: str, all_again: bool
) -> None:
    chapters = built(tmp_path)
    (tmp_path / edited).touch()
    plan = planned(tmp_path, "profile=smoke")
    assert (
        plan["chapter"] == len(chapters)
    ) is all_again  # some show no recorded run, which is all that is missing here
    assert plan["html"] == 1


def test_the_first_pages_ask_for_the_first_chapter_and_the_primary_students_only(tmp_path: Path) -> None:
    copy_of_sources(tmp_path, *BOOK)
    assert planned(tmp_path, "profile=laptop")["first"] == 1
    assert "first" not in planned(tmp_path, "profile=smoke")  # whose pages are there soon enough
    early = planned(tmp_path, "profile=laptop", "--", "_build/laptop/first/_build/html/index.html")
    size = Profile.of_parameters(**profile_parameters(ROOT / "profiles.toml", "laptop"))
    needed = of_chapter("phenomenon", size)
    assert "primary" in needed
    plan = jobs(size, Store(tmp_path), 10)
    assert early == {
        "runs": len({job for name in needed for job in plan[name]}),
        "chapter": 1,
        "first": 1,
        "total": early["total"],
    }


@pytest.mark.parametrize(("profile", "asks"), [("laptop", True), ("smoke", False)])
def test_the_first_pages_come_first_where_there_are_some(profile: str, asks: bool) -> None:
    command = ["make", "-n", "-o", "setup", "book", f"PROFILE={profile}"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert (f"--prioritize _build/{profile}/first/_build/html/index.html" in said) == asks


def test_no_chapter_imports_a_pages_tool() -> None:
    tools = re.search(r"for name in \((.*?)\)\]  # no chapter", (ROOT / "Snakefile").read_text(encoding="utf-8"))[1]
    cells = [cell for path in (ROOT / "notebooks").glob("*.ipynb") for cell in nbformat.read(path, 4).cells]
    sources = [re.sub("(?m)^%", "# ", cell.source) for cell in cells if cell.cell_type == "code"]
    waiting, seen = ["sublim_utils.book.chapters", *(name for source in sources for name in imported(source))], set()
    while waiting:
        name = waiting.pop()
        for module in {name, name.rpartition(".")[0]} - seen:  # a module, or what is in it
            path = ROOT / (module.replace(".", "/") + ".py")
            if path.is_file():
                seen.add(module)
                waiting += imported(path.read_text(encoding="utf-8"))
    assert {"sublim_utils.book.figures", "sublim_utils.engine.network"} < seen
    assert not seen & {f"sublim_utils.book.{name}" for name in re.findall(r"\w+", tools)}


def test_the_papers_profile_trains_only_if_asked_and_lists_what_is_missing(tmp_path: Path) -> None:
    copy_of_sources(tmp_path, *BOOK)
    paper = Profile.of_parameters(**profile_parameters(ROOT / "profiles.toml", "paper"))
    lacks = {lack.experiment: lack.students for lack in lacking(paper, tmp_path / "results" / "paper")}
    assert lacks["primary"] == 3 * lacks["phenomenon"] == 6 * paper.n_seeds  # its other two students are primary's
    total = sum(lacks.values())
    for config in (("profile=paper",), ("profile=paper", "train=no")):
        done = dry_run(tmp_path, *config)
        assert done.returncode != 0
        for line in (
            rf"phenomenon +{lacks['phenomenon']} students",
            rf"in all +{total} students",
            r"make paper TRAIN=yes",
        ):
            assert re.search(line, done.stdout + done.stderr), line
        assert "Traceback" not in done.stdout + done.stderr
    assert not (tmp_path / "results").exists()
    some = dry_run(tmp_path, "profile=paper", "train=phenomenon,causal")
    assert some.returncode != 0
    assert re.search(r"liminal +\d+ students", some.stdout + some.stderr)
    assert not re.search(r"phenomenon +\d+ students", some.stdout + some.stderr)
    unknown = dry_run(tmp_path, "profile=paper", "train=phenomena")
    assert unknown.returncode != 0
    assert "TRAIN = 'phenomena' is not allowed" in unknown.stdout + unknown.stderr
    size = Profile.of_parameters(**profile_parameters(ROOT / "profiles.toml", "paper"))
    asked = planned(tmp_path, "profile=paper", "train=yes")
    assert asked["runs"] >= len(run_at(size))


def test_from_the_whole_record_the_paper_is_planned_without_a_run(tmp_path: Path) -> None:
    copy_of_sources(tmp_path, *BOOK)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "paper").symlink_to(ROOT / "results" / "paper")
    assert "runs" not in planned(tmp_path, "profile=paper", "train=no")


def test_a_profile_that_would_fill_anothers_folder_is_refused(tmp_path: Path) -> None:
    """A copy of a profile whose results were left as they were."""
    copy_of_sources(tmp_path, *BOOK)
    text = (tmp_path / "profiles.toml").read_text(encoding="utf-8")
    (tmp_path / "profiles.toml").write_text(text + text[text.index("[paper]") :].replace("[paper]", "[mine]"))
    done = dry_run(tmp_path, "profile=mine")
    assert done.returncode != 0
    assert "results = '../results/paper' is not allowed: it must be a folder named mine" in done.stdout + done.stderr
