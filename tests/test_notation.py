"""One notation, and chapters without numbers: the old symbols and names of files are nowhere in the book."""

import json
import re
from pathlib import Path

import nbformat
import pytest

from sublim_utils.book import claims
from sublim_utils.runs.experiments import chapter_of

ROOT = Path(__file__).parents[1]
PAGES = sorted(p for p in (ROOT / "book").glob("*.md") if p.stem != "log")  # the log says what was said then
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
FILES = [p for folder in ("sublim_utils", "bench") for p in (ROOT / folder).rglob("*")]
SOURCES = sorted(p for p in FILES if p.suffix in (".py", ".toml"))

FORMULA = re.compile(r"\$\$.*?\$\$|\$[^$\n]*(?:\n[^$\n]+)?\$", re.DOTALL)

OLD_SYMBOLS = {
    r"(?<![A-Za-z\\])t_(?:t|l|B)\b": "the trait gradient is g_T",
    r"(?<![A-Za-z\\])g_(?:t|l|\{t)": "g_T is the trait gradient, g_S the distillation gradient",
    r"(?<![\w\\:.])g(?![A-Za-z_])": "g has an index",  # but for a format, {x:.2g}
    r"\\langle": "an inner product is a dot",
    r"\\theta_\{t\+1\} ?- ?\\theta_t": "the update is u_t",
    r"(?<![A-Za-z\\])D_(?:1|\{>1\})": "D is a displacement; a sum of drives is F",
}
"""Symbols that the book used to have, and what it writes instead."""

DEFINITION = re.compile(r"u_t = \\theta_\{t\+1\} ?- ?\\theta_t")

NUMBERED = re.compile(r"[Cc]hapters? \d\d\b|\{(?:doc|ref)\}`[^`]*\b\d\d_[a-z]|\b\d\d_[a-z_]+\.html")
"""A chapter named by its number."""


def old_symbols(text: str) -> list[str]:
    """Return each old symbol in the formulas of a text, with what it should be."""
    formulas = [DEFINITION.sub("", formula) for formula in FORMULA.findall(text)]
    return [f"{formula}: {why}" for formula in formulas for old, why in OLD_SYMBOLS.items() if re.search(old, formula)]


def texts(notebook: Path) -> list[str]:
    """Return what a reader of a chapter sees that is no output: prose, code, captions, texts in place of figures."""
    cells = nbformat.read(notebook, 4).cells
    return [*(cell.source for cell in cells), *(json.dumps(cell.metadata.get("mystnb", {})) for cell in cells)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_chapter_has_the_glossarys_symbols(path: Path) -> None:
    assert not [trouble for text in texts(path) for trouble in old_symbols(text)]


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.stem)
def test_a_page_has_the_glossarys_symbols(path: Path) -> None:
    assert not old_symbols(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "text",
    [
        r"$t_t$",
        r"$\cos(u, -g)$",
        r"$$\langle a, b\rangle$$",
        r"of $|g_t|$",
        r"$\theta_{t+1} - \theta_t$ moves",
        r"$D_{>1}$",
    ],
)
def test_an_old_symbol_is_found(text: str) -> None:
    assert old_symbols(text)


@pytest.mark.parametrize(
    "text", [r"$g_T \cdot g_S$", r"$u_t = \theta_{t+1} - \theta_t$", r"$\ell(z, t)$", r"$\log p$", r"$= {x:.2g}$"]
)
def test_the_books_symbols_are_let_through(text: str) -> None:
    assert not old_symbols(text)


def test_the_glossary_has_every_symbol_that_an_old_one_became() -> None:
    table = (ROOT / "book" / "glossary.md").read_text(encoding="utf-8").partition("(notation)=")[2]
    assert all(f"${symbol}" in table for symbol in ("g_T, g_S", "D_T", "D_S", "F", "u_t", r"\theta_0"))


@pytest.mark.parametrize("path", [*PAGES, *SOURCES], ids=lambda p: p.stem)
def test_no_page_and_no_source_names_a_chapter_by_its_number(path: Path) -> None:
    assert not NUMBERED.findall(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_chapter_is_labelled_and_names_no_other_by_its_number(path: Path) -> None:
    assert texts(path)[0].startswith(f"(chapter-{chapter_of(path)})=\n# ")
    assert not [number for text in texts(path) for number in NUMBERED.findall(text)]


def test_the_chapter_of_verdicts_is_there() -> None:
    assert claims.VERDICT_CHAPTER in map(chapter_of, NOTEBOOKS)
