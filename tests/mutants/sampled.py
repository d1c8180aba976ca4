"""A mutation tool's mutants, sampled: how many of them do the unit tests notice?

``python -m tests.mutants.sampled N`` lists the places that cosmic-ray knows to change in `MODULES`, takes N of them at
random and one change at each, and runs the module's tests on a copy of the sources; a mutant that these let live meets
the tests of all rooms in `ROOMS`. What came of each is recorded as it comes, and from it the report for the book is
written. A mutant that is recorded isn't tried again, unless it lived: then only whether it still does is asked, so
that a killed command goes on, and tests that were missing can be written. A ``why`` that is written into the record
says that a mutant is equivalent, that is no other program; it isn't tried again either.

cosmic-ray is not among the book's dependencies: ``.venv/bin/python -m pip install cosmic-ray==8.7.0``.
"""

import argparse
import ast
import json
import random
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from sublim_utils.analysis.stats import share_interval
from sublim_utils.book.report import table
from sublim_utils.engine.files import write_atomically
from tests.mutants.__main__ import fails
from tests.mutants.faults import scratch
from tests.sources import ROOT

if TYPE_CHECKING:
    from cosmic_ray.work_item import MutationSpec

__all__ = [
    "MEASURED",
    "MODULES",
    "Fate",
    "Mutant",
    "fate",
    "mutant",
    "places",
    "recorded",
    "report",
    "sample",
    "without_annotations",
    "write",
]

PACKAGE = ROOT / "sublim_utils"
MODULES = [
    *sorted(p for p in (PACKAGE / "engine").glob("*.py") if p.stem != "__init__"),
    *(PACKAGE / name for name in ("analysis/stats.py", "analysis/alignment.py", "theory/account.py")),
]
TESTED_BY = {
    "devices": "engine/test_students.py", "ensemble": "engine/test_students.py", "language": "engine/test_words.py",
    "layers": "engine/test_network.py", "look": "engine/test_students.py", "sources": "engine/test_data.py",
    "tasks": "engine/test_digits.py", "vectors": "engine/test_interventions.py",
}  # fmt: skip
"""The tests that a module without tests of its own name meets first."""

ROOMS = ("tests/engine", "tests/analysis", "tests/theory", "tests/test_settings.py", "tests/runs/test_lab.py")
PATIENCE = 600
"""Seconds for the tests of one mutant."""

MEASURED = ROOT / "book" / "measured"
RECORD, REPORT = "mutation.json", "mutation.md"


@dataclass(frozen=True)
class Fate:
    """What became of a mutant: whether it lived when it was first tried, whether it does now, why it is equivalent."""

    mutant: str
    lived: bool
    lives: bool
    why: str = ""

    @property
    def is_settled(self) -> bool:
        """Whether nothing is left to ask."""
        return not self.lives or bool(self.why)

    @property
    def answer(self) -> str:
        """What the report says of one that lived."""
        return self.why or ("**lives**" if self.lives else "noticed, by a test written since")


@dataclass(frozen=True)
class Mutant:
    """One place of a module, changed: its line there, the operator that did it, and the module's whole text."""

    module: Path
    line: int
    operator: str
    text: str

    @property
    def first_tests(self) -> str:
        """The tests that it meets first."""
        room, stem = self.module.parent.name, self.module.stem
        return f"tests/{TESTED_BY.get(stem, f'{room}/test_{stem}.py')}"

    def described(self) -> str:
        """Return module, line and what the line became."""
        name = self.module.relative_to(ROOT).as_posix()
        before, after = (t.splitlines() for t in (self.module.read_text(encoding="utf-8"), self.text))
        changed = next((b.strip() for a, b in zip(before, after, strict=False) if a != b), "")
        return f"`{name}:{self.line}` {self.operator}: `{changed}`"


def without_annotations(text: str) -> str:
    """Return a module's syntax tree without annotations, which nothing computes with; "" if it is no Python."""

    class Bare(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> ast.AST:
            for name in ("annotation", "returns"):
                if getattr(node, name, None) is not None:
                    setattr(node, name, ast.Constant(0))
            return self.generic_visit(node)

    try:
        return ast.dump(Bare().visit(ast.parse(text)))
    except SyntaxError:
        return ""


def places(module: Path) -> dict[tuple[int, str], list["MutationSpec"]]:
    """Return what cosmic-ray would do to a module, by line and kind of operator."""
    from cosmic_ray.commands import init
    from cosmic_ray.work_db import WorkDB, use_db

    found = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder, use_db(Path(folder) / "work.sqlite", WorkDB.Mode.create) as work:
        init([module], work, {})
        for spec in (spec for item in work.work_items for spec in item.mutations):
            found[spec.start_pos[0], spec.operator_name.split("_")[0]].append(spec)
    return found


def mutant(spec: "MutationSpec") -> Mutant | None:
    """Return what becomes of a module; None if that is no Python, or differs in annotations only."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    text = spec.module_path.read_text(encoding="utf-8")
    changed = mutate_code(text, get_operator(spec.operator_name)(**spec.operator_args), spec.occurrence)
    if not changed or without_annotations(changed) in ("", without_annotations(text)):
        return None
    return Mutant(spec.module_path, spec.start_pos[0], spec.operator_name.split("/")[-1], changed)


def sample(seed: int) -> Iterator[Mutant]:
    """Yield mutants of all modules in random order, one at a place."""
    rng = random.Random(seed)
    specs = [of_place for module in MODULES for _, of_place in sorted(places(module).items())]
    rng.shuffle(specs)
    for of_place in specs:
        rng.shuffle(of_place)
        yield from islice(filter(None, map(mutant, of_place)), 1)


def survives(folder: Path, one: Mutant) -> bool:
    """Say whether a mutant passes the tests, in a copy of the sources that is as before in the end."""
    path = folder / one.module.relative_to(ROOT)
    before = path.read_text(encoding="utf-8")
    path.write_text(one.text, encoding="utf-8")
    try:
        return not (fails(folder, one.first_tests, patience=PATIENCE) or fails(folder, *ROOMS, patience=PATIENCE))
    finally:
        path.write_text(before, encoding="utf-8")


def fate(folder: Path, one: Mutant, before: Fate | None = None) -> Fate:
    """Return what becomes of a mutant, in a copy of the sources; of one that is settled, what became of it `before`."""
    if before and before.is_settled:
        return before
    lives = survives(folder, one)
    return Fate(one.described(), before.lived if before else lives, lives)


def recorded(folder: Path = MEASURED) -> dict[str, Fate]:
    """Return what a record holds, by the mutants' descriptions; nothing where there is none."""
    if not (folder / RECORD).is_file():
        return {}
    return {f["mutant"]: Fate(**f) for f in json.loads((folder / RECORD).read_text(encoding="utf-8"))}


def write(fates: Iterable[Fate], folder: Path = MEASURED) -> None:
    """Write record and report."""
    fates = list(fates)
    write_atomically(folder / RECORD, (json.dumps([asdict(f) for f in fates], indent=1) + "\n").encode())
    write_atomically(folder / REPORT, report(fates).encode())


def report(fates: Iterable[Fate]) -> str:
    """Return the share that was noticed at first, with its exact interval, and what is to be said of the others."""
    fates = list(fates)
    noticed = share_interval([not f.lived for f in fates])
    by_now, equivalent = sum(not f.lives for f in fates), sum(bool(f.why) for f in fates)
    rows = [(f.mutant, f.answer) for f in fates if f.lived]
    head = (
        f"Of {len(fates)} mutants the unit tests noticed {noticed.numbers('.3f')} when each was first tried "
        f"(interval: exact binomial). Now they notice {by_now}; {equivalent} are equivalent."
    )
    return f"{head}\n" + (f"\n{table(('mutant that lived', 'now'), rows)}\n" if rows else "")


def main() -> int:
    """Run the command line; return 1 if a mutant lives."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants.sampled", description=__doc__)
    parser.add_argument("n", type=int)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    known, fates = recorded(), {}
    with tempfile.TemporaryDirectory() as copy:
        folder = scratch(Path(copy))
        if failing := fails(folder, *ROOMS):
            sys.stderr.write(f"without a mutant {failing} fails: nothing is said of mutants\n")
            return 1
        for one in islice(sample(arguments.seed), arguments.n):
            name = one.described()
            fates[name] = fate(folder, one, known.get(name))
            sys.stdout.write(f"{len(fates)}: {'LIVES' if fates[name].lives else 'noticed'}: {name}\n")
            sys.stdout.flush()
            write({**known, **fates}.values())
    write(fates.values())
    sys.stdout.write(report(fates.values()))
    return int(not all(f.is_settled for f in fates.values()))


if __name__ == "__main__":
    sys.exit(main())
