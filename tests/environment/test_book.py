"""A whole book of two chapters, built by `make book` in surroundings that would change it, or end in a traceback."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from sublim_utils.book.preview import NOTE
from sublim_utils.engine import data
from sublim_utils.runs.experiments import run_at
from sublim_utils.runs.lab import Lab
from sublim_utils.runs.profiles import Profile
from tests.sources import ROOT, copy_of_sources, makefile_flags

CHAPTERS = ("01_phenomenon", "09_verdicts")
PAGES = ("departures", "explorer", "method", "paper", "reproduce")  # which the chapters refer to
SIZE = {"n_seeds": 3, "n_grid_seeds": 2, "n_images": 192, "batch_size": 64, "epochs": 2, "full_grid": False}
PATIENCE = 900  # seconds; a loaded machine needs some


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All runs of the small profile, trained in one process."""
    folder = tmp_path_factory.mktemp("store") / "smoke"
    profile = Profile(results=str(folder), **SIZE)
    Lab(profile, "cpu").experiments(run_at(profile))
    return folder


@pytest.fixture
def book(tmp_path: Path, results: Path) -> Path:
    """The sources of a book of two chapters, its runs, and the environment of these tests, at an awkward path."""
    folder = copy_of_sources(tmp_path / "it's a copy", "_config.yml", "CITATION.cff", "environment.yml",
                             "requirements.lock", "Makefile")  # fmt: skip
    shutil.copytree(results, folder / "results" / "smoke")
    (folder / ".venv").symlink_to(sys.prefix)
    for name in ("_static", "extra"):  # with the pages' own scripts
        shutil.copytree(ROOT / "book" / name, folder / "book" / name)
    shutil.copy(ROOT / "book" / "references.bib", folder / "book")
    (folder / "notebooks").mkdir()
    for chapter in CHAPTERS:  # without what leads to the left out pages
        text = (ROOT / "notebooks" / f"{chapter}.ipynb").read_text(encoding="utf-8")
        (folder / "notebooks" / f"{chapter}.ipynb").write_text(re.sub(r"\{(term|ref|cite(:\w+)?)\}", "", text))
    for page in ("intro", *PAGES):
        (folder / "book" / f"{page}.md").write_text(f"# {page}\n")
    files = [*(f"notebooks/{chapter}" for chapter in CHAPTERS), *(f"book/{page}" for page in PAGES)]
    chapters = [{"file": name} for name in files]
    toc = {"format": "jb-book", "root": "book/intro", "parts": [{"caption": "All", "chapters": chapters}]}
    (folder / "_toc.yml").write_text(yaml.safe_dump(toc))
    values = {"results": "../results/smoke", **SIZE, "device": "cpu"}
    (folder / "profiles.toml").write_text("[smoke]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in values.items()))
    return folder


def settings_of_the_user(folder: Path) -> dict[str, str]:
    """Return variables, and write what they lead to, each of which has broken the book or changed it."""
    for name in ("numpy", "ipython/profile_default/startup", "jupyter/kernels/python3", "matplotlib", "bin"):
        (folder / name).mkdir(parents=True)
    (folder / "numpy" / "__init__.py").write_text("raise ImportError('another numpy')")
    (folder / "ipython" / "profile_default" / "startup" / "0.py").write_text("print('hello')")
    options = 'c.InteractiveShell.ast_node_interactivity = "all"\n'
    (folder / "ipython" / "profile_default" / "ipython_config.py").write_text(options)
    kernel = {"argv": ["/bin/false"], "display_name": "another", "language": "python"}
    (folder / "jupyter" / "kernels" / "python3" / "kernel.json").write_text(json.dumps(kernel))
    (folder / "matplotlib" / "matplotlibrc").write_text("text.usetex: True\nsavefig.transparent: True\n")
    (folder / "bin" / "chromium").write_text("#!/bin/sh\nexit 1\n")
    (folder / "bin" / "chromium").chmod(0o755)
    return {
        "PATH": f"{folder}/bin:{os.environ['PATH']}", "PYTHONPATH": str(folder), "PYTHONSTARTUP": str(folder / "none"),
        "PYTHONWARNINGS": "error", "IPYTHONDIR": f"{folder}/ipython", "JUPYTER_PATH": f"{folder}/jupyter",
        "JUPYTER_PREFER_ENV_PATH": "0", "MPLBACKEND": "Agg", "MPLCONFIGDIR": f"{folder}/matplotlib",
        "SNAKEMAKE_PROFILE": "none/of/these", "LC_ALL": "C", "OMP_NUM_THREADS": "1",
    }  # fmt: skip


def make(folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["make", "-o", "setup", "book", "PROFILE=smoke"], cwd=folder, env=environment, umask=0o077,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip


def test_nothing_around_it_changes_the_book(book: Path, tmp_path: Path) -> None:
    theirs = settings_of_the_user(tmp_path / "theirs")
    images = os.path.relpath(data.data_dir(), book)
    late = time.time() + 1e6
    os.utime(book / "notebooks" / f"{CHAPTERS[0]}.ipynb", (late, late))
    done = make(book, {**theirs, "SUBLIM_DATA": images})  # and no HOME
    assert done.returncode == 0, done.stdout
    assert "dated in the future" in done.stdout
    assert "No PDF of the book: " in done.stdout
    assert "hello" not in done.stdout
    built = book / "_build" / "smoke" / "_build" / "html"
    wanted = 0
    for chapter in CHAPTERS:
        cells = json.loads((book / "notebooks" / f"{chapter}.ipynb").read_text())["cells"]
        n = sum("figure" in cell["metadata"].get("mystnb", {}) for cell in cells)  # what cells draw
        n += sum("".join(cell["source"]).count("```{figure}") for cell in cells)  # diagrams
        page = (built / "notebooks" / f"{chapter}.html").read_text()
        assert len(re.findall(r"<figure ", page)) == n
        wanted += n
    figures = list((built / "_images").glob("*.svg"))
    assert len(figures) == wanted > 0
    assert "FutureWarning" not in (built / "notebooks" / f"{CHAPTERS[0]}.html").read_text()
    assert (built / "index.html").exists()

    again = make(book, {**theirs, "SUBLIM_DATA": images})
    assert again.returncode == 0, again.stdout
    assert "Nothing to be done" in again.stdout


def test_the_first_pages_have_the_first_chapter_and_the_ten_tests(book: Path) -> None:
    first = book / "_build" / "smoke" / "first" / "_build" / "html"
    command = [sys.executable, "-m", "snakemake", *makefile_flags(), "profile=smoke", "--"]
    done = subprocess.run(
        [*command, str(first.relative_to(book) / "index.html")], cwd=book, timeout=PATIENCE, check=False,
        env={**os.environ, "SUBLIM_DATA": str(data.data_dir()), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert not (book / "_build" / "smoke" / "notebooks" / f"{CHAPTERS[1]}.ipynb").exists()
    computed, waiting = ((first / "notebooks" / f"{chapter}.html").read_text() for chapter in CHAPTERS)
    assert NOTE not in computed
    assert NOTE in waiting
    assert computed.count("<figure ") > 2
