"""What a store says of how its runs were made."""

import json
import subprocess

import pytest

from sublim_utils.book import report
from sublim_utils.runs import provenance
from sublim_utils.runs.provenance import inventory, write_inventory
from tests.small import FEW, SETTINGS


@pytest.fixture
def filled(lab):
    conditions = {name: FEW[name] for name in ("baseline", "liminal")}
    lab.students(SETTINGS, conditions, [0, 1, 2])
    return lab.store


def test_every_run_is_counted_with_its_settings_and_how_it_was_made(filled):
    rows = inventory(filled)
    students = [row for row in rows if row["kind"] == "students"]
    assert [row["runs"] for row in students] == [3, 3]
    assert {json.loads(row["condition"])["liminal"] for row in students} == {0.0, FEW["liminal"].liminal}
    assert all(json.loads(row["settings"]) == SETTINGS.values() for row in students)
    assert sum(row["runs"] for row in rows if row["kind"] == "teachers") == 3
    assert all(row["torch"] and row["device"].startswith("cpu") and row["commit"] for row in rows)
    assert "weights" not in {row["kind"] for row in rows}


def test_packing_changes_neither_runs_nor_seconds(filled):
    before = {row["address"]: row for row in inventory(filled)}
    for where in filled.addresses("students"):
        filled.pack("students", where)
    for row in inventory(filled):
        same = before[row["address"]]
        assert row["runs"] == same["runs"]
        assert float(row.get("seconds", 0)) == pytest.approx(float(same.get("seconds", 0)))


def package_in(folder):
    """Return a module of a package in `folder`, beside which other files lie."""
    code = folder / "sublim_utils" / "runs" / "provenance.py"
    code.parent.mkdir(parents=True, exist_ok=True)
    for path in (code, code.parents[1] / "__init__.py", folder / "results", folder / "notes"):
        path.write_text("")
    return code


def repository(folder, *files):
    git = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", *files], ["commit", "-qm", "x"]):
        subprocess.run([*git, *command], check=True)


def test_a_commit_is_dirty_where_the_package_was_changed_and_only_there(tmp_path, monkeypatch):
    code = package_in(tmp_path)
    repository(tmp_path, "-A")
    monkeypatch.setattr(provenance, "__file__", str(code))
    clean = provenance.commit.__wrapped__()
    assert len(clean) == 40
    (tmp_path / "results").write_text("packed")
    assert provenance.commit.__wrapped__() == clean
    code.write_text("changed")
    assert provenance.commit.__wrapped__() == f"{clean}-dirty"
    monkeypatch.setattr(provenance, "__file__", "/proc/none/none.py")
    assert provenance.commit.__wrapped__() == "unknown"


@pytest.mark.parametrize("inside", ["project/env/site-packages", "project"])
def test_the_commit_of_a_repository_that_the_package_only_lies_in_is_not_its_own(tmp_path, monkeypatch, inside):
    code = package_in(tmp_path / inside)
    (tmp_path / "project" / "notes").write_text("")
    repository(tmp_path / "project", "notes" if inside == "project" else "-A")
    monkeypatch.setattr(provenance, "__file__", str(code))
    assert provenance.commit.__wrapped__() == "unknown"


def test_a_checkout_reached_by_a_link_is_the_packages_own(tmp_path, monkeypatch):
    code = package_in(tmp_path / "there")
    repository(tmp_path / "there", "-A")
    (tmp_path / "link").symlink_to(tmp_path / "there")
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "link" / code.relative_to(tmp_path / "there")))
    assert len(provenance.commit.__wrapped__()) == 40


def test_the_file_holds_the_inventory_and_the_table_sums_it_up(filled):
    write_inventory(filled.root)
    rows = json.loads((filled.root / "provenance.json").read_text())
    assert rows == inventory(filled)
    (line,) = [line for line in report.runs_table(rows).splitlines() if line.startswith("| students")]
    assert line.startswith("| students | 2 | 6 | ")
