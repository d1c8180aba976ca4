"""Chapters: execute a notebook at a profile, refusing parameters it does not have."""

import tomllib
from collections.abc import Mapping
from pathlib import Path

import papermill
from papermill.exceptions import PapermillExecutionError

from sublim_utils.files import write_atomically
from sublim_utils.profiles import Profile
from sublim_utils.settings import SettingsError
from sublim_utils.teachers import resolve_device


def profile_parameters(path: str | Path, name: str) -> dict[str, object]:
    """Return the papermill parameters that ``profiles.toml`` gives a profile.

    Raises
    ------
    SettingsError
        If there is no such profile.
    """
    profiles = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    if name not in profiles:
        raise SettingsError(f"profile = {name!r} is not allowed: it must be one of {sorted(profiles)}")
    return profiles[name]


def check_parameters(notebook: str | Path, parameters: Mapping[str, object]) -> None:
    """Refuse parameters that the notebook's `parameters` cell lacks, and values out of range.

    Raises
    ------
    SettingsError
        With the parameter's name, its value and what is allowed.
    """
    known = set(papermill.inspect_notebook(str(notebook)))
    for name, value in parameters.items():
        if name not in known:
            raise SettingsError(f"parameter {name} = {value!r} is not allowed: {notebook} has {sorted(known)}")
    values = dict(parameters)
    if (device := values.pop("device", "auto")) not in ("auto", "cpu", "cuda"):
        raise SettingsError(f"device = {device!r} is not allowed: it must be auto, cpu or cuda")
    resolve_device(device)
    Profile.of(**values)


def execute(notebook: str | Path, output: str | Path, parameters: Mapping[str, object]) -> None:
    """Execute a notebook in its own folder with papermill and write it to `output`, whole or not at all.

    Raises
    ------
    SettingsError
        As `check_parameters`, before anything runs.
    PapermillExecutionError
        If a cell fails; the notebook up to there is left beside `output` as ``*.failed.ipynb``.
    """
    notebook, output = Path(notebook), Path(output)
    check_parameters(notebook, parameters)
    output.parent.mkdir(parents=True, exist_ok=True)
    failed = output.with_suffix(".failed.ipynb")
    try:
        papermill.execute_notebook(
            str(notebook), str(failed), dict(parameters), cwd=str(notebook.parent), kernel_name="python3",
            progress_bar=False,
        )  # fmt: skip
    except PapermillExecutionError:
        raise
    write_atomically(output, failed.read_bytes())
    failed.unlink()
