"""The seeded faults still fit the code; what notices them is `make test-mutants`'s to say."""

import ast
from dataclasses import replace
from pathlib import Path

import pytest

from tests.mutants import sampled
from tests.mutants.faults import FAULTS, Fault
from tests.sources import ROOT

each = pytest.mark.parametrize("fault", FAULTS.values(), ids=lambda f: f.name)


@each
def test_a_fault_changes_one_place_and_is_still_code(fault: Fault, tmp_path: Path) -> None:
    there = tmp_path / fault.file
    there.parent.mkdir(parents=True)
    there.write_text((ROOT / fault.file).read_text(encoding="utf-8"), encoding="utf-8")
    fault.seed(tmp_path)
    changed = there.read_text(encoding="utf-8")
    assert changed != (ROOT / fault.file).read_text(encoding="utf-8")
    if fault.file.endswith(".py"):
        ast.parse(changed)
    with pytest.raises(ValueError, match="not once"):
        fault.seed(tmp_path)


@each
def test_what_ought_to_notice_a_fault_is_there(fault: Fault) -> None:
    assert (ROOT / "notebooks" / f"{fault.chapter}.ipynb").is_file()
    assert (ROOT / fault.tests).is_file()


def test_a_mutant_of_annotations_only_is_none():
    before = "def f(x: int | None) -> float | None:\n    y: int = x + 1\n    return y\n"
    same = before.replace("int | None", "int & None").replace("float | None", "float")
    assert sampled.without_annotations(same) == sampled.without_annotations(before)
    assert sampled.without_annotations(before.replace("x + 1", "x - 1")) != sampled.without_annotations(before)
    assert sampled.without_annotations("x = not") == ""


def test_every_module_that_mutants_are_made_of_has_tests():
    assert len(sampled.MODULES) > 20
    for module in sampled.MODULES:
        assert (ROOT / sampled.Mutant(module, 1, "", "").first_tests).is_file(), module


A, B = (sampled.Mutant(sampled.MODULES[0], line, "Op", f"changed = {line}") for line in (1, 2))


def test_only_a_mutant_that_lived_is_tried_again(monkeypatch, tmp_path):
    tried = []
    monkeypatch.setattr(sampled, "survives", lambda _, one: tried.append(one) or one is B)
    first = [sampled.fate(tmp_path, one) for one in (A, B)]
    assert [(f.lived, f.lives) for f in first] == [(False, False), (True, True)]
    sampled.write(first, tmp_path)
    known = sampled.recorded(tmp_path)
    assert list(known.values()) == first
    monkeypatch.setattr(sampled, "survives", lambda _, one: tried.append(one) is not None)  # now noticed
    again = [sampled.fate(tmp_path, one, known[one.described()]) for one in (A, B)]
    assert tried == [A, B, B]
    assert (again[1].lived, again[1].lives) == (True, False)
    explained = replace(first[1], why="the same program")
    assert sampled.fate(tmp_path, B, explained) is explained
    assert tried == [A, B, B]


def test_the_report_names_what_lived_and_what_came_of_it():
    fates = [
        sampled.Fate("`a`", lived=False, lives=False),
        sampled.Fate("`b | c`", lived=True, lives=False),
        sampled.Fate("`d`", lived=True, lives=True, why="a cache less"),
        sampled.Fate("`e`", lived=True, lives=True),
    ]
    written = sampled.report(fates)
    assert "Of 4 mutants the unit tests noticed 0.250 [" in written
    assert "notice 2; 1 are equivalent" in written
    assert "`a`" not in written
    assert r"| `b \| c` | noticed" in written
    assert "| `d` | a cache less |" in written
    assert "| `e` | **lives** |" in written
    assert [f.is_settled for f in fates] == [True, True, True, False]


def test_the_pages_report_is_the_records():
    fates = sampled.recorded().values()
    assert (sampled.MEASURED / sampled.REPORT).read_text(encoding="utf-8") == sampled.report(fates)
    assert all(f.is_settled for f in fates)
