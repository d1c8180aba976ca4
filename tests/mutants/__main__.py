"""Seed each fault in a copy of the sources; say whether the notebooks alone and the unit tests alone notice it.

``python -m tests.mutants [NAME ...]``; half an hour for all. Without a fault both must pass, or nothing
that is said of the faults counts; that is tried first.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.mutants.faults import FAULTS, GOALS, Fault, scratch

NOTEBOOKS = ("--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout", "600")
UNITS = ("--ignore", "tests/browser", "--deselect", "tests/test_mutants.py")
SILENT = ("-q", "-x", "-p", "no:cacheprovider", "--no-header", "-W", "ignore")


PATIENCE = 3600
"""Seconds after which tests that are not done count as failed: a fault may make a loop endless."""


def fails(folder: Path, *arguments: str, patience: float = PATIENCE) -> str:
    """Return the first test that fails in a copy of the sources, or "" if all pass."""
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    command = [sys.executable, "-m", "pytest", *SILENT, *arguments]
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=patience
        )
    except subprocess.TimeoutExpired:
        return f"not done after {patience:g} s"
    if done.returncode == 0:
        return ""
    listed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    named = [line.partition(" ")[2].partition(" - ")[0] for line in listed]  # a cell's name has a space in it
    return named[0] if named else f"pytest ended with {done.returncode}"


def noticed(folder: Path, fault: Fault, kind: str) -> str:
    """Return what notices a fault, its own chapter or tests first; "" if nothing does."""
    if kind == "notebooks":
        return fails(folder, *NOTEBOOKS, f"notebooks/{fault.chapter}.ipynb") or fails(folder, *NOTEBOOKS, "notebooks")
    return fails(folder, fault.tests) or fails(folder, *UNITS)


def sound(folder: Path, faults: Sequence[Fault], kind: str) -> str:
    """Return what fails in sources without a fault, among what is tried first on `faults`."""
    if kind == "notebooks":
        return fails(folder, *NOTEBOOKS, *sorted({f"notebooks/{f.chapter}.ipynb" for f in faults}))
    return fails(folder, *sorted({f.tests for f in faults}))


def seeded(fault: Fault, kinds: Sequence[str]) -> list[bool]:
    """Seed one fault, print what notices it; return for each kind whether anything does."""
    with tempfile.TemporaryDirectory() as folder:
        fault.seed(scratch(Path(folder)))
        by = [noticed(Path(folder), fault, kind) for kind in kinds]
    told = "; ".join(f"{kind}: {test or 'NOT NOTICED'}" for kind, test in zip(kinds, by, strict=True))
    sys.stdout.write(f"{fault.name}: {told}\n")
    sys.stdout.flush()
    return [bool(test) for test in by]


def main() -> int:
    """Run the command line; return 1 if a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *FAULTS], metavar="NAME", help="of faults; all, if none")
    parser.add_argument("--only", choices=list(GOALS), help="the notebooks alone, or the unit tests alone")
    arguments = parser.parse_args()
    faults = [FAULTS[name] for name in arguments.names or FAULTS]
    kinds = [arguments.only] if arguments.only else list(GOALS)
    with tempfile.TemporaryDirectory() as folder:
        scratch(Path(folder))
        if broken := [test for kind in kinds if (test := sound(Path(folder), faults, kind))]:
            sys.stdout.write(f"without any fault these fail: {', '.join(broken)}\n")
            return 1
    rates = [sum(column) / len(faults) for column in zip(*(seeded(fault, kinds) for fault in faults), strict=True)]
    for kind, rate in zip(kinds, rates, strict=True):
        sys.stdout.write(f"{kind} notice {rate:.0%} of {len(faults)} faults; the goal is {GOALS[kind]:.0%}\n")
    return int(any(rate < GOALS[kind] for kind, rate in zip(kinds, rates, strict=True)))


if __name__ == "__main__":
    sys.exit(main())
