"""The page's figures of faults are those that were counted."""

import json

from tests.faults import tally


def test_the_page_shows_what_was_counted() -> None:
    figures = json.loads((tally.MEASURED / "faults.json").read_text(encoding="utf-8"))
    assert list(figures) == list(tally.KINDS)
    assert all(count > 0 for count in figures.values())
    assert (tally.MEASURED / "faults.md").read_text(encoding="utf-8") == tally.render(figures)
