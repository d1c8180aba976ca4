"""A chapter's numbers against the committed ones: what is wrong is named, what is measured is allowed."""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

from sublim_utils.book import figures, regression
from sublim_utils.settings import SettingsError

PROFILE = {"n_seeds": 2}
ROW = {"id": "C1.x", "estimate": 0.5, "ci_low": 0.25, "ci_high": 0.75, "n_seeds": 2, "criterion": "-0.02 to 0.25"}


@pytest.fixture
def chapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that executes a chapter of one claim and one figure in a folder of results."""
    monkeypatch.setattr(regression, "root", lambda: tmp_path)

    def execute(folder: str, estimate: float = 0.5, line: float = 1.0, rows=None, profile=None) -> str:
        with plt.rc_context():
            figures.use_style()
            fig, ax = plt.subplots()
            ax.plot([0, 1, 2], [0, line, np.nan])
            ax.bar([0, 1], [2, 3])
            ax.scatter([1, 2], [3, 4])
            plt.close(fig)
            rows = [{**ROW, "estimate": estimate}] if rows is None else rows
            path = tmp_path / folder / "seen" / "some.json"
            return regression.agreement(path, "some", rows, profile or PROFILE)

    return execute


@pytest.fixture
def expected(chapter, tmp_path: Path) -> Path:
    chapter("one")
    chapter("two", estimate=0.51)
    (path,) = regression.expect([tmp_path / "one", tmp_path / "two"])
    return path


def test_what_is_as_measured_agrees(chapter, expected):
    assert chapter("three").startswith("Agrees with the committed smoke run: ")
    assert "numbers" in chapter("three", estimate=0.5 + 0.9 * regression.MARGIN * 0.01)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"estimate": 0.56}, "C1.x is"),
        ({"line": 1.02}, "figure 1, panel 1, line 1 is"),
        ({"rows": []}, "C1.x is lacking"),
        ({"rows": [ROW, {**ROW, "id": "C1.y"}]}, "C1.y is new"),
        ({"estimate": float("nan")}, "C1.x is"),
        ({"rows": [{**ROW, "criterion": "-0.02 to 0.3"}]}, "C1.x, criterion is"),
    ],
)
def test_what_differs_is_named(chapter, expected, change, name):
    sentence = chapter("three", **change)
    assert sentence.startswith("Differs from the committed smoke run: ")
    assert name in sentence


def test_at_another_profile_nothing_is_compared(chapter, expected):
    assert chapter("three", estimate=0.9, profile={"n_seeds": 4}) is None


def test_without_expected_numbers_nothing_agrees(chapter):
    assert chapter("one").startswith("No expected numbers")


def test_a_tolerance_is_the_groups_measured_spread_or_the_floor(expected):
    numbers = json.loads(expected.read_text())["numbers"]
    assert numbers["C1.x"]["tolerance"] == pytest.approx(regression.MARGIN * 0.01)
    line = numbers["figure 1, panel 1, line 1"]
    assert line["values"] == [0.5, 0.5, 0.5, 0.5]
    assert line["tolerance"] == pytest.approx(regression.FLOOR * 0.5)


@pytest.mark.parametrize("folders", [["one"], ["one", "empty"], ["empty", "empty"]])
def test_executions_that_can_not_be_compared_are_refused(chapter, tmp_path, folders):
    chapter("one")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SettingsError):
        regression.expect([tmp_path / folder for folder in folders])


def test_executions_with_other_numbers_are_refused(chapter, tmp_path):
    chapter("one")
    chapter("two", rows=[])
    with pytest.raises(SettingsError, match="numbers"):
        regression.expect([tmp_path / "one", tmp_path / "two"])


def test_an_image_is_seen_by_its_mean_and_spread():
    fig, ax = plt.subplots()
    ax.imshow(np.array([[0.0, 1.0], [1.0, 2.0]]))
    seen = dict(regression.figures_seen([fig]))
    plt.close(fig)
    assert seen["figure 1, panel 1, image 1"] == pytest.approx([1.0, 0.5**0.5])
