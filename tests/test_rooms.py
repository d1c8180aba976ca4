"""The house: imports go one way, each module says what it offers, and the lower rooms need nothing of the book's."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.offers import MODULES, PACKAGE, declared, handed_on, imported, offered

ROOMS = ("settings", "engine", "runs", "analysis", "theory", "book")
"""From the ground up: a room imports from itself and from those before it."""

each = pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE).with_suffix("")))


def room(module: str) -> str:
    """Return the room of a module's dotted name, "" for what is in none: the package's own names."""
    part = (*module.split(".")[1:], "")[0]
    return part if part in ROOMS else ""


@each
def test_a_room_imports_from_itself_and_from_those_below(path: Path) -> None:
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if own in ("__init__", "__main__"):  # the public names, and the command line
        return
    above = ROOMS[ROOMS.index(own) + 1 :]
    names = imported(path.read_text(encoding="utf-8"))
    assert not [name for name in names if room(name) in ("", *above)], (
        f"{own} imports from {above}, or the whole package"
    )


def test_every_import_of_the_package_is_seen() -> None:
    text = "import sublim_utils.book.figures\ndef f():\n    from sublim_utils.runs import lab, store\nimport torch"
    assert imported(text) == ["sublim_utils.book.figures", "sublim_utils.runs.lab", "sublim_utils.runs.store"]


@pytest.mark.parametrize("name", ["__init__", "__main__"])
def test_the_package_opens_without_the_book_and_the_theory(name: str) -> None:
    top = ast.parse((PACKAGE / f"{name}.py").read_text(encoding="utf-8")).body
    names = imported("\n".join(ast.unparse(node) for node in top if isinstance(node, ast.Import | ast.ImportFrom)))
    assert {room(n) for n in names} <= {"settings", "engine", "runs"}


@each
def test_a_module_says_what_it_offers(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    names = handed_on(text) if path.name == "__init__.py" else offered(text)
    assert declared(text) == (names or None), "python -m tests.offers writes it"


def test_what_is_offered_is_what_is_public_and_made_here() -> None:
    text = "import os\nfrom a import B\nLIMIT = 1\n_own = 2\nx: int = 3\nclass Class: ...\ndef f(): ...\ndef _g(): ..."
    assert offered(text) == ["LIMIT", "Class", "f", "x"]
    assert declared(f'__all__ = ["Class"]\n{text}') == ["Class"]


BLOCKED = (
    "IPython",
    "jupyter_book",
    "matplotlib",
    "matplotlib_inline",
    "nbclient",
    "nbformat",
    "papermill",
    "playwright",
    "snakemake",
    "sphinx",
    "vl_convert",
)
"""What the book's dependencies bring along."""

WITHOUT_THE_BOOK = f"""
import sys
from pathlib import Path

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {BLOCKED}:
            raise ImportError(f"{{name}} is blocked")

sys.meta_path.insert(0, Blocked())
from sublim_utils.__main__ import main
from sublim_utils.engine import data
from tests import small

data.load, data.fetch = small.images, lambda task: print("fetched", task)
Path("profiles.toml").write_text(
    '[small]\\nresults = "../results/small"\\nn_seeds = 2\\nn_images = 120\\nbatch_size = 60\\nepochs = 2\\n'
)

def call(*words):
    sys.argv = ["sublim_utils", *words]
    print(words[0], main())

call("fetch", "mnist")
call("run", "alignment_fixed_batch", "out.json", "--profile", "small", "--seeds", "0:1")
call("verify", "results/small", "--sample", "1")
call("pack", "results/small")
call("readme", "results/small")
"""


@pytest.mark.slow
def test_fetch_run_and_verify_need_nothing_of_the_books(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_THE_BOOK],
        cwd=tmp_path,
        env={"PYTHONPATH": str(PACKAGE.parent), "PATH": "", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    for line in ("fetched mnist", "fetch 0", "run 0", "1 of 1 runs agree with what is recorded", "verify 0", "pack 0"):
        assert line in done.stdout.splitlines(), done.stdout + done.stderr
    assert "is blocked" in done.stderr  # by the last command, which is the book's
