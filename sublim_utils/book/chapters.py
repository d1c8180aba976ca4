"""Chapters: execute a notebook at a profile, refusing parameters it does not have."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import nbformat
import papermill
from nbclient.exceptions import DeadKernelError
from nbformat import NotebookNode
from papermill.exceptions import PapermillExecutionError

from sublim_utils.book import colophon
from sublim_utils.book.kernel import ChapterKernelManager
from sublim_utils.engine.data import DataError
from sublim_utils.engine.devices import resolve_device
from sublim_utils.engine.files import write_atomically
from sublim_utils.runs.profiles import Profile
from sublim_utils.settings import SettingsError

__all__ = ["ChapterError", "check_executed", "check_figures", "check_parameters", "execute", "sealed"]


class ChapterError(RuntimeError):
    """A chapter's execution failed; the message names cell, error and the notebook as far as it came."""


def check_parameters(notebook: str | Path, parameters: Mapping[str, object]) -> None:
    """Refuse parameters that the notebook's `parameters` cell lacks, and values out of range.

    Raises
    ------
    SettingsError
        With the parameter's name, its value and what is allowed.
    """
    try:
        known = set(papermill.inspect_notebook(str(notebook)))
    except ValueError as error:  # nbformat's and JSON's
        raise SettingsError(f"notebook = {str(notebook)!r} is not allowed: it can't be read ({error})") from error
    for name, value in parameters.items():
        if name not in known:
            raise SettingsError(f"parameter {name} = {value!r} is not allowed: {notebook} has {sorted(known)}")
    values = dict(parameters)
    resolve_device(values.pop("device", "auto"))
    Profile.of(**values)


def _digest(notebook: Mapping[str, object]) -> str:
    about = {k: v for k, v in notebook["metadata"].items() if k != "sublim_utils"}
    return hashlib.sha256(json.dumps({**notebook, "metadata": about}, sort_keys=True).encode()).hexdigest()


def sealed(content: bytes) -> bytes:
    """Return a notebook's content with the sum of all else in its metadata."""
    notebook = json.loads(content)
    notebook["metadata"]["sublim_utils"] = {"sha256": _digest(notebook)}
    return (json.dumps(notebook, indent=1, ensure_ascii=False) + "\n").encode()


def check_executed(notebooks: Iterable[str | Path]) -> None:
    """Set executed notebooks aside that are not what their sums say.

    Raises
    ------
    DataError
        If there are any; the message names them.
    """
    damaged = []
    for path in map(Path, notebooks):
        content = path.read_bytes()
        try:
            intact = sealed(content) == content
        except (ValueError, TypeError, KeyError, AttributeError):
            intact = False
        if not intact:
            path.replace(path.with_name(f"{path.name}.damaged"))
            damaged.append(str(path))
    if damaged:
        raise DataError(f"{', '.join(damaged)} damaged; set aside as *.damaged: give the command again to execute anew")


def check_figures(notebook: NotebookNode) -> None:
    """Refuse an executed notebook unless every cell that has a figure's caption holds an image.

    Raises
    ------
    ChapterError
        With the names of the figures that are lacking.
    """
    cells = [cell for cell in notebook.cells if "figure" in cell.metadata.get("mystnb", {})]
    figures = {cell.metadata["mystnb"]["figure"].get("name", "a figure without a name"): cell.outputs for cell in cells}
    lacking = [name for name, outputs in figures.items() if not any("image" in t for t in _types(outputs))]
    if lacking:
        raise ChapterError(f"cells of {', '.join(lacking)} hold no image")


def _types(outputs: Iterable[Mapping[str, object]]) -> set[str]:
    return {kind for output in outputs for kind in output.get("data", {})}


def execute(notebook: str | Path, output: str | Path, parameters: Mapping[str, object]) -> None:
    """Execute a notebook in its own folder with papermill and write it to `output`, whole or not at all.

    Raises
    ------
    SettingsError
        As `check_parameters`, before anything runs.
    ChapterError
        If a cell fails, or a figure's holds no image; the notebook up to there is left beside `output` as
        ``*.failed.ipynb``.
    """
    notebook, output = Path(notebook), Path(output)
    check_parameters(notebook, parameters)
    output.parent.mkdir(parents=True, exist_ok=True)
    failed = output.with_suffix(".failed.ipynb")
    try:
        done = papermill.execute_notebook(
            str(notebook), str(failed), dict(parameters), cwd=str(notebook.parent), kernel_name="python3",
            progress_bar=False, kernel_manager_class=ChapterKernelManager,
        )  # fmt: skip
    except PapermillExecutionError as error:
        where = f"{notebook}, cell {error.exec_count}: {error.ename}: {error.evalue}"
        raise ChapterError(f"{where}. The notebook as far as it came: {failed}") from error
    except DeadKernelError as error:
        raise ChapterError(f"{notebook}: its process was ended from outside, by lack of memory perhaps") from error
    check_figures(done)
    done.metadata[colophon.KEY] = colophon.made(resolve_device(str(parameters.get("device", "auto"))))
    write_atomically(output, sealed(nbformat.writes(done).encode()))
    failed.unlink()
