"""No result is typed into prose: every number there is the protocol's, a source's, or computed."""

import re
from pathlib import Path

import nbformat
import pytest

from sublim_utils.book import report
from sublim_utils.book.claims import Claims, collect, registered

ROOT = Path(__file__).parents[1]
PAGES = sorted(p for p in (ROOT / "book").glob("*.md") if p.stem != "log")  # the log is a record of what was seen
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)+(?!\w)|\b\d+(?:\.\d+)? ?%|\b\d+ (?:min|s|h|nats)\b")
"""What looks like a result: a decimal number, a percentage, a measured time."""

NOT_PROSE = re.compile(r"```.*?```|\$\$.*?\$\$|\$[^$]*\$|`[^`]*`|\[\[[\w.]+(?::[^\]]+)?\]\]", re.DOTALL)
"""Code, formulas, and claims quoted by their id."""

ALLOWED = {
    "95 %": "the level of every interval",
    "6.1": "a section of a source",
    "6.2": "a section of a source",
    "0.5": "SGD's learning rate, part of the protocol",
    "0.2": "momentum's learning rate; the sigma a source gives",
    "10 %": "the budget of distillation loss, part of a criterion",
    "18.8": "the noise of 100 models in the public script, a product of its sizes",
    "0.008": "the cosine that is ascribed to the paper",
    "3.11": "a version of Python",
    "2.11": "a version of torch",
    "2.14": "a version of torch",
    "0.26": "a version of torchvision",
}
"""Numbers that prose may hold, and why."""


def typed(text: str) -> list[str]:
    found = NUMBER.findall(NOT_PROSE.sub(" ", text))
    return [number for number in found if number not in ALLOWED]


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.stem)
def test_pages_hold_no_typed_result(path: Path) -> None:
    assert not typed(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.stem)
def test_no_section_is_there_twice(path: Path) -> None:
    headings = re.findall(r"(?m)^#+ .*$", path.read_text(encoding="utf-8"))
    assert sorted(headings) == sorted(set(headings))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_chapters_hold_no_typed_result(path: Path) -> None:
    texts = []
    for cell in nbformat.read(path, as_version=4).cells:
        about = cell.metadata.get("mystnb", {})
        texts += [cell.source] if cell.cell_type == "markdown" else []
        texts += [about["image"]["alt"], about["figure"]["caption"]] if about else []
    assert not [number for text in texts for number in typed(text)]


@pytest.mark.parametrize("text", ["an accuracy of 0.56", "in 84 % of steps", "takes 15 min", "falls by 1.2 nats"])
def test_a_typed_result_is_found(text: str) -> None:
    assert typed(text)
    assert not typed(f"`{text}` and ${text}$")


def test_quoted_claims_are_registered_and_filled_in() -> None:
    row = {"id": "C1.student_aux_accuracy", "estimate": 0.5, "ci_low": 0.4, "ci_high": 0.6, "n_seeds": 3}
    text = "ends at [[C1.student_aux_accuracy]], teacher [[C1.teacher_accuracy]], from [[run]]"
    assert report.quoting(text, [row], "here") == "ends at 0.5 [0.4, 0.6] (n = 3), teacher not tested, from here"
    assert (
        report.quoting("in [[C1.student_aux_accuracy:.0%]], [[C1.teacher_accuracy:.2f]]", [row], "")
        == "in 50%, not tested"
    )
    with pytest.raises(KeyError, match="C1.nonsense"):
        report.quoting("[[C1.nonsense]]", [], "here")
    quoted = {
        name
        for page in [*PAGES, report.FINDINGS]
        for name, _ in report.QUOTED.findall(page.read_text(encoding="utf-8"))
    }
    assert quoted - {"run"}
    assert quoted - {"run"} <= set(registered())


def test_pages_quote_the_recorded_run_where_there_is_one(tmp_path: Path) -> None:
    book, own, recorded = (tmp_path / name for name in ("book", "laptop", "paper"))
    for folder in (book, own):
        folder.mkdir()
    (book / "page.md").write_text("from [[run]]: [[C1.teacher_accuracy]]")
    report.write_pages([], report.for_prose(own, []), book)
    assert "this copy's run (profile laptop): not tested" in (book / "page.md").read_text()
    Claims(recorded, "phenomenon").record("C1.teacher_accuracy", [0.8, 0.9, 1.0])
    collect(recorded)
    (book / "page.md").write_text("from [[run]]: [[C1.teacher_accuracy]]")
    report.write_pages([], report.for_prose(own, []), book)
    assert (book / "page.md").read_text() == "from the recorded run: 0.9 [0.652, 1.15] (n = 3)"
