"""The first pages: the book while most of its chapters are still being computed.

What is there is shown, and of all else no number: a pending chapter has its text, which quotes the recorded run, its
code, and in the place of each figure a note.
"""

from collections.abc import Iterable
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from sublim_utils.analysis import primary
from sublim_utils.book.claims import read, registered
from sublim_utils.runs.experiments import chapter_of
from sublim_utils.runs.lab import Lab

__all__ = ["NOTE", "claims_so_far", "pending", "suspend"]

NOTE = "Still being computed."
"""What stands where something will be."""

_NOTICE = f""":::{{admonition}} {NOTE}
:class: attention
These are the first pages of this copy. This chapter's own figures and numbers are not here yet;
what its text quotes is the recorded run's.
:::"""

_PLACEHOLDER = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="480" height="60" viewBox="0 0 480 60">'
    '<rect x="1" y="1" width="478" height="58" fill="none" stroke="#999999" stroke-dasharray="4 4"/>'
    '<text x="240" y="36" text-anchor="middle" font-family="sans-serif" font-size="16" fill="#666666">'
    f"{NOTE}</text></svg>"
)


def claims_so_far(lab: Lab, results: str | Path, notebooks: Iterable[str | Path]) -> list[dict[str, object]]:
    """Return the claims of the chapters executed so far and all primary tests, in the order of the register.

    `lab` has the primary conditions of the profile whose results these are.

    Raises
    ------
    DataError
        If a chapter's claims are damaged.
    """
    paths = [Path(results) / "claims" / f"{chapter_of(path)}.json" for path in notebooks]
    records = {row["id"]: row for path in paths if path.is_file() for row in read(path)}
    tests = primary.decided(lab.experiment("primary"), lab.profile.settings().steps_per_epoch)
    for name, interval in tests:
        records[name] = registered()[name].judged(interval).row()
    return [records[name] for name in registered() if name in records]


def pending(notebook: NotebookNode) -> NotebookNode:
    """Return a chapter that was not executed yet without parameters and outputs, notes in the place of its figures."""
    notebook.cells = [cell for cell in notebook.cells if "parameters" not in cell.metadata.get("tags", [])]
    image = nbformat.v4.new_output("display_data", data={"image/svg+xml": _PLACEHOLDER})
    for cell in notebook.cells:
        if cell.cell_type == "code":
            about = cell.metadata.get("mystnb", {})
            cell.outputs = [image] if "figure" in about else []
            for part, name in (("figure", "caption"), ("image", "alt")):
                if part in about:
                    about[part][name] = NOTE
    notebook.cells.insert(1, nbformat.v4.new_markdown_cell(_NOTICE, id="pending"))
    return notebook


def suspend(paths: Iterable[str | Path]) -> None:
    """Make each chapter `pending`, in place."""
    for path in paths:
        nbformat.write(pending(nbformat.read(path, 4)), path)
