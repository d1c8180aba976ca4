"""The seeded faults still fit the code; what notices them is `make test-mutants`'s to say."""

import ast
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


def test_the_report_names_what_lives():
    module = sampled.MODULES[0]
    text = module.read_text(encoding="utf-8")
    lines = text.splitlines()
    changed = "\n".join([*lines[:-1], "changed = 1"])
    tried = {sampled.Mutant(module, len(lines), "Op", changed): True, sampled.Mutant(module, 1, "Op", text): False}
    written = sampled.report(tried)
    assert "Of 2 mutants" in written
    assert "0.500" in written
    assert f":{len(lines)}` Op: `changed = 1`" in written
