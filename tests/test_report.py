"""The README's table is the generated one, and prose pages exist for what is generated."""

from pathlib import Path

import pytest

from sublim_utils import report
from sublim_utils.claims import registered

ROOT = Path(__file__).parents[1]


def test_readme_shows_the_recorded_claims() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert report.with_claims(text, ROOT / "results" / "recorded") == text


def test_recorded_claims_are_registered_with_the_same_criteria() -> None:
    rows = report.load_claims(ROOT / "results" / "recorded")
    assert rows
    for row in rows:
        assert registered()[row["id"]].criterion == row["criterion"], row["id"]


def test_a_readme_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="needs the lines"):
        report.with_claims("# no markers", ROOT / "results" / "recorded")


def test_pages_list_every_criterion(tmp_path: Path) -> None:
    report.write_pages(tmp_path, tmp_path)
    page = (tmp_path / "criteria.md").read_text(encoding="utf-8")
    assert all(f'<a id="{name}"><code>' in page for name in registered())
    assert "No claim" in (tmp_path / "summary.md").read_text(encoding="utf-8")
