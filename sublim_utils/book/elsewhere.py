"""What others measured at the settings of this book's sweeps."""

import tomllib
from collections.abc import Mapping
from pathlib import Path

import xarray as xr

from sublim_utils.analysis.stats import mean_interval
from sublim_utils.runs.sweeps import DEFAULT, STUDENT

__all__ = ["compared", "measured"]


def measured() -> dict[tuple[str, str], float]:
    """Return others' accuracies by the experiment and condition that hold ours; the default's are one."""
    text = Path(__file__).with_name("elsewhere.toml").read_text(encoding="utf-8")
    values = tomllib.loads(text)["accuracy"]
    return {DEFAULT if name == "phenomenon" else (name, STUDENT): value for name, value in values.items()}


def compared(names: Mapping[tuple[str, str], str], ours: Mapping[tuple[str, str], xr.Dataset]) -> list[list[str]]:
    """Return a row for each setting that both have: its name, theirs, ours with its interval, ours minus theirs.

    `ours` are summaries of runs (`transfer.summary`) by experiment and condition, `names` what the settings are called.
    """
    rows = []
    for key, theirs in measured().items():
        if key in ours:
            accuracy = mean_interval(ours[key]["accuracy"])
            rows.append([names[key], f"{theirs:.3f}", f"{accuracy:.3f}", f"{accuracy.estimate - theirs:+.3f}"])
    return rows
