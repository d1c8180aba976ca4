"""The seeded faults still fit the code; what notices them is `make test-mutants`'s to say."""

import ast
from pathlib import Path

import pytest

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
