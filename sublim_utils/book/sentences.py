"""What a sentence that a chapter computes may not say, whatever the size of the run that it speaks of."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import nbformat

__all__ = ["FORBIDDEN", "NOT_SAID", "check", "faults", "of_chapter"]

FORBIDDEN: Mapping[str, re.Pattern[str]] = {
    "a number that is none": re.compile(r"(?<![\w.])[-+]?(?:nan|inf|NaT)(?!\w)"),
    "an object where words belong": re.compile(r"\bNone\b|<xarray|\barray\(|np\.\w+\(|\bTrue\b|\bFalse\b"),
    "a list of nothing": re.compile(r"\[\s*\]|\(\s*\)|[:,;]\s*[.;]|: ?$", re.MULTILINE),
    "nothing counted as something": re.compile(r"\bat 0 of\b|\bin 0 of\b|\b0 of 0\b|\bon 0 \w+s\b"),
    "one thing as many": re.compile(r"(?<![\d.])1 (?:seeds|steps|conditions|settings|students|points|schedules)\b"),
}
"""Signs of a branch that was not thought of, by what they are."""

NOT_SAID = re.compile(r"`[^`]*`|\$[^$]*\$|<[^>]*>")
"""Code, formulas and tags: no words of a sentence."""


def faults(text: str) -> list[str]:
    """Return what is wrong with a text's sentences; rows of tables may have empty cells.

    >>> faults("It falls at 0 of the 9 steps, by nan on average.")
    ["a number that is none: 'nan'", "nothing counted as something: 'at 0 of'"]
    """
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("|")]
    said = NOT_SAID.sub("it", "\n".join(lines))
    return [f"{what}: {match[0]!r}" for what, sign in FORBIDDEN.items() if (match := sign.search(said))]


def of_chapter(path: str | Path) -> Iterator[tuple[int, str]]:
    """Return the sentences that an executed chapter's cells show, with the cell's number."""
    for number, cell in enumerate(nbformat.read(path, as_version=4).cells):
        for output in cell.get("outputs", []):
            if "text/markdown" in output.get("data", {}):
                yield number, output["data"]["text/markdown"]


def check(notebooks: Iterable[str | Path]) -> list[str]:
    """Return what is wrong with the sentences of executed chapters, each with its chapter and cell."""
    return [
        f"{Path(path).name}, cell {number}: {fault}"
        for path in notebooks
        for number, text in of_chapter(path)
        for fault in faults(text)
    ]
