"""`make setup` by a stand-in for Python: when .venv is left as it is, installed over, or made anew."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Says its version; makes an environment with itself in it; has pip unless told; writes down what it is asked for.
PYTHON = """#!/bin/sh
version=3.11
log() { echo "$*" >> "$LOG"; }
case "$*" in
  *version_info*3,\\ 11*|*"(3, 11)"*) exit 0 ;;
  *"%d.%d"*) echo $version ;;
  *"import pip"*) test -z "${NO_PIP:-}" ;;
  "-m venv"*) mkdir -p .venv/bin; cp "$0" .venv/bin/python; log "venv $version"; exit ${VENV:-0} ;;
  "-m pip"*) log "$(env | grep ^PIP_ | sort | tr '\\n' ' ')"; exit ${PIP:-0} ;;
esac
"""
UNTOUCHED: list[str] = []
QUIET = "PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_USER=0"
INSTALLED = [QUIET, QUIET]
ANEW = ["venv 3.11", *INSTALLED]


class Place:
    """A folder with the set-up's script, a lock, and Pythons."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.said = folder, ""
        (folder / "bin").mkdir(parents=True)
        shutil.copy(ROOT / "setup.sh", folder)
        for name in ("requirements.lock", "pyproject.toml"):
            (folder / name).write_text(name)
        self.python("python3")

    def python(self, name: str, version: str = "3.11") -> None:
        text = PYTHON.replace("version=3.11", f"version={version}")
        if version < "3.11":
            text = text.replace("exit 0", "exit 1")
        (self.folder / "bin" / name).write_text(text)
        (self.folder / "bin" / name).chmod(0o755)

    def call(self, named: str = "", code: int = 0, **environment: str) -> list[str]:
        """Run the script, check its exit code, and return what was done."""
        log = self.folder / "log"
        log.write_text("")
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
        path = f"{self.folder}/.venv/bin:{self.folder}/bin:{os.environ['PATH']}"  # as the Makefile has it
        done = subprocess.run(
            ["sh", "setup.sh", named], cwd=self.folder, capture_output=True, text=True, check=False,
            env={**kept, "PATH": path, "LOG": str(log), **environment},
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        self.said = done.stderr
        return [line.strip() for line in log.read_text().splitlines()]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path / "it's here")
    assert made.call() == ANEW
    return made


def test_a_whole_environment_is_left_as_it_is(place: Place) -> None:
    assert place.call() == UNTOUCHED
    assert place.call("python3") == UNTOUCHED


def test_after_a_change_of_the_lock_it_is_installed_over(place: Place) -> None:
    (place.folder / "requirements.lock").write_text("another")
    assert place.call() == INSTALLED
    assert place.call() == UNTOUCHED


def test_an_unfinished_one_is_made_anew(place: Place) -> None:
    (place.folder / "requirements.lock").write_text("another")
    (place.folder / ".venv" / "installed").unlink()
    assert place.call(code=7, PIP="7") == ["venv 3.11", QUIET]
    assert "made anew" in place.said
    assert place.call() == ANEW


def test_one_without_pip_or_interpreter_is_made_anew(place: Place) -> None:
    assert place.call(code=1, NO_PIP="yes") == ["venv 3.11"]
    assert place.call() == ANEW
    (place.folder / ".venv" / "bin" / "python").unlink()
    assert place.call() == ANEW


def test_where_venv_is_lacking_the_package_is_named_and_the_next_call_makes_it(place: Place) -> None:
    shutil.rmtree(place.folder / ".venv")
    assert place.call(code=1, VENV="1") == ["venv 3.11"]
    assert "apt-get install python3.11-venv" in place.said
    assert place.call() == ANEW


@pytest.mark.parametrize("move", [shutil.move, shutil.copytree])
def test_in_a_renamed_or_copied_folder_it_is_made_anew(place: Place, move: object) -> None:
    move(place.folder, place.folder.with_name("there"))
    place.folder = place.folder.with_name("there")
    assert place.call() == ANEW
    assert place.call() == UNTOUCHED


def test_another_python_named_makes_it_anew_and_its_own_is_kept(place: Place) -> None:
    place.python("python3.12", "3.12")
    assert place.call("python3.12") == ["venv 3.12", *INSTALLED]
    assert place.call() == UNTOUCHED, "not back to python3"


def test_an_old_python_is_refused_with_its_version_and_the_way_out(place: Place) -> None:
    place.python("python3", "3.10")
    assert place.call() == UNTOUCHED, "the environment has a new one"
    shutil.rmtree(place.folder / ".venv")
    assert place.call(code=1) == UNTOUCHED
    assert "python3 is 3.10; name one with PYTHON=" in place.said
    assert place.call("python3.99", code=1) == UNTOUCHED
    assert "python3.99 is none at all" in place.said
    place.python("newer")
    assert place.call("newer") == ANEW


def test_an_environment_of_an_old_python_does_not_stand_in_the_way(place: Place) -> None:
    place.python("old", "3.10")
    shutil.copy(place.folder / "bin" / "old", place.folder / ".venv" / "bin" / "python3")
    shutil.copy(place.folder / "bin" / "old", place.folder / ".venv" / "bin" / "python")
    assert place.call() == ANEW


def test_of_pips_settings_only_those_of_sources_are_kept(place: Place) -> None:
    (place.folder / "requirements.lock").write_text("another")
    users = {"PIP_USER": "1", "PIP_REQUIRE_VIRTUALENV": "1", "PIP_TARGET": "x", "PIP_CONFIG_FILE": "c"}
    assert place.call(**users, PIP_EXTRA_INDEX_URL="u") == [f"PIP_CONFIG_FILE=c {part}" for part in (
        "PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_EXTRA_INDEX_URL=u PIP_USER=0",) * 2]  # fmt: skip
