"""What chapters say: no sentence of a branch that nobody thought of, in the committed run and in any that is built."""

from pathlib import Path

import nbformat
import pytest

from sublim_utils.book import sentences

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_the_committed_chapters_say_nothing_odd(path: Path) -> None:
    assert not sentences.check([path])


@pytest.mark.parametrize(
    "text",
    [
        "in every seed at 0 of the 9 steps looked at, not at the others",
        "The share is nan [nan, nan].",
        "The best is None.",
        "Within the budget: . Best: it.",
        "Seeds: ",
        "with 1 seeds the smallest p-value",
        "they are [] in all",
        "It rises by inf nats.",
    ],
)
def test_an_odd_sentence_is_found(text: str) -> None:
    assert sentences.faults(text)


@pytest.mark.parametrize(
    "text",
    [
        "It falls at 10 of the 19 steps, in 1 seed by 0.1 [0.0, 0.2].",
        "| student |  | none |",
        "The information is infinite, `None` is code and $(\\,)$ a formula.",
        "criterion: none: reported only.",
        "of 21 seeds",
    ],
)
def test_a_plain_sentence_is_not(text: str) -> None:
    assert not sentences.faults(text)


def test_a_fault_names_chapter_and_cell(tmp_path: Path) -> None:
    shown = nbformat.v4.new_output("display_data", {"text/markdown": "It is nan."})
    cells = [nbformat.v4.new_markdown_cell("nan"), nbformat.v4.new_code_cell("x", outputs=[shown])]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "05_some.ipynb")
    assert sentences.check([tmp_path / "05_some.ipynb"]) == ["05_some.ipynb, cell 1: a number that is none: 'nan'"]
