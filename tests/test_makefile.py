"""What the Makefile's commands see of the user's environment, and that they are called by their path."""

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def seen(folder: Path, **changes: str | None) -> dict[str, str]:
    """Return the environment of a recipe in `folder`, after some of its variables were set, or unset by None."""
    (folder / "Makefile").write_text((ROOT / "Makefile").read_text(encoding="utf-8") + "\nseen:\n\t@env -0\n")
    given = {name: value for name, value in {**os.environ, **changes}.items() if value is not None}
    done = subprocess.run(
        ["make", "--silent", "seen"], cwd=folder, env=given, capture_output=True, text=True, check=True
    )
    return dict(entry.split("=", 1) for entry in done.stdout.split("\0") if "=" in entry)


@pytest.mark.parametrize("home", [None, "", "/", "/nonexistent"])
def test_a_home_that_is_none_is_replaced(tmp_path: Path, home: str | None) -> None:
    assert seen(tmp_path, HOME=home)["HOME"] == f"{tmp_path}/.home"


def test_a_home_that_can_be_written_to_is_kept(tmp_path: Path) -> None:
    assert seen(tmp_path, HOME=str(tmp_path.parent))["HOME"] == str(tmp_path.parent)


def test_libraries_find_a_users_name(tmp_path: Path) -> None:
    assert seen(tmp_path, USER=None, LOGNAME=None)["LOGNAME"]
    assert seen(tmp_path, USER="someone", LOGNAME=None).get("LOGNAME", "someone") == "someone"


def test_what_is_set_for_others_is_left_out(tmp_path: Path) -> None:
    theirs = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONWARNINGS", "SNAKEMAKE_PROFILE", "MPLBACKEND")
    found = seen(tmp_path, **dict.fromkeys(theirs, "theirs"), MATPLOTLIBRC="theirs", PYTHONUTF8="0")
    assert not set(theirs) & set(found)
    assert found["MATPLOTLIBRC"].endswith("sublim_utils/book/book.mplstyle")
    assert found["PYTHONUTF8"] == found["PYTHONNOUSERSITE"] == "1"
    assert found["PATH"].startswith(f"{tmp_path}/.venv/bin:")


def test_programs_are_called_by_their_path() -> None:
    """GNU make 3.81, which macOS has, looks for a recipe's program in its own PATH, not in the one that is exported."""
    lines = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", "").splitlines()
    programs = {re.sub(r"^\t@?(\w+=\S+ )*", "", line).split()[0] for line in lines if line.startswith("\t")}
    assert programs <= {"$(PY)", "$(PYTEST)", "$(SNAKEMAKE)", "echo", "sh", "rm", "uv"}
    assert any(re.match(r"PYTEST := (\w+=\S+ )*\$\(PY\) -m pytest ", line) for line in lines)
    assert any(line.startswith("SNAKEMAKE := $(PY) -m snakemake ") for line in lines)
