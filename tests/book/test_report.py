"""The README's table is the generated one, and prose pages exist for what is generated."""

import re
from pathlib import Path

import pytest

from sublim_utils.book import citation, report
from sublim_utils.book.claims import SIGNS, VERDICTS, registered
from sublim_utils.runs import profiles

ROOT = Path(__file__).parents[2]
RECORDED = ROOT / "results" / profiles.RECORDED
FEWEST = 10  # seeds of a point of a sweep


def test_readme_shows_the_recorded_claims() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert report.with_claims(text, RECORDED) == text


def test_the_articles_metadata_are_those_of_the_recorded_claims() -> None:
    assert (ROOT / "metadata.yaml").read_text(encoding="utf-8") == citation.described(RECORDED)


def test_metadata_of_another_author_or_paper_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = citation.METADATA.read_text(encoding="utf-8")
    monkeypatch.setattr(citation, "METADATA", tmp_path / "metadata.yaml")
    for was, other in (("name: The maintainers", "name: Somebody"), ("[Re] Sustained", "[Re] Fleeting")):
        citation.METADATA.write_text(text.replace(was, other), encoding="utf-8")
        with pytest.raises(ValueError, match="CITATION"):
            citation.described(RECORDED)


def test_recorded_claims_are_registered_with_the_same_criteria() -> None:
    rows = report.load_claims(RECORDED)
    assert rows
    for row in rows:
        assert registered()[row["id"]].criterion == row["criterion"], row["id"]


def test_every_claim_has_a_recorded_verdict_with_its_n() -> None:
    rows = {row["id"]: row for row in report.load_claims(RECORDED)}
    assert rows.keys() == registered().keys()
    for name, row in rows.items():
        assert row["verdict"] in VERDICTS, name
        assert row["n_seeds"] >= FEWEST, name


def test_the_recorded_run_is_compared_with_the_exploration_and_every_other_with_the_recorded_run() -> None:
    explored = report.compared_with(RECORDED)
    assert explored
    assert {row["id"] for row in explored} <= registered().keys()
    assert report.compared_with(RECORDED.parent / "mine") == report.load_claims(RECORDED)


def test_a_comparison_says_which_intervals_and_verdicts_are_others() -> None:
    one = {"id": "C4.x", "estimate": 0.5, "ci_low": 0.4, "ci_high": 0.6, "n_seeds": 10, "verdict": "agrees"}
    same, far = one | {"estimate": 0.55}, one | {"id": "C4.y", "ci_low": 0.45}
    other = far | {"ci_low": 0.7, "ci_high": 0.9, "verdict": "differs"}
    head, _, *rows = report.comparison([one, far, one | {"id": "C4.z"}], [other, same]).splitlines()
    assert head.endswith("| intervals overlap | verdict |")
    assert [row.split(" | ")[-2:] for row in rows] == [["yes", "agrees |"], ["**no**", "**agrees**, there differs |"]]


def test_the_intros_summary_has_the_readmes_rows(tmp_path: Path) -> None:
    def rows(text: str) -> list[str]:
        plain = re.sub(f"<[^>]*>|`|[{''.join(SIGNS.values())}] ", "", text)
        return [line for line in plain.splitlines() if re.match(r"\| P\d", line)]

    report.write_pages(report.load_claims(RECORDED), str, tmp_path)
    summary = rows((tmp_path / "summary.md").read_text(encoding="utf-8"))
    assert summary == rows((ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(summary) == len(report.HEADLINE) <= 10
    assert set(report.HEADLINE) < set(registered())


def test_a_readme_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="needs the lines"):
        report.with_claims("# no markers", RECORDED)


def test_pages_list_every_criterion(tmp_path: Path) -> None:
    report.write_pages([], str, tmp_path)
    page = (tmp_path / "criteria.md").read_text(encoding="utf-8")
    assert all(f'<a id="{name}"><code>' in page for name in registered())
    assert "No claim" in (tmp_path / "summary.md").read_text(encoding="utf-8")


def test_what_make_book_ends_with_names_every_primary_verdict_the_book_and_the_time(tmp_path: Path) -> None:
    found, book, took = report.ending(RECORDED, tmp_path / "index.html", 90).splitlines()
    named = re.findall(r"P\d+", found)
    assert sorted(named) == sorted(report.HEADLINE)
    assert "differs: " in found
    assert book.split()[1] == str(tmp_path / "index.html")
    assert took.split(maxsplit=1)[1] == "1.5 min"
    assert (
        report.ending(tmp_path, "i", 1, "building\nNo PDF of the book: why\n").splitlines()[-1]
        == "No PDF of the book: why"
    )
    assert report.ending(tmp_path, "index.html", 1).splitlines()[0].split()[1:3] == ["not", "tested:"]
