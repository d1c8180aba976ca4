"""How the book draws: one style, one colour a condition, functions that take `ax` and return it."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib_inline.backend_inline import set_matplotlib_formats

from sublim_utils.stats import band, mean_interval

PALETTE = {
    "blue": "#0072b2",
    "orange": "#e69f00",
    "green": "#009e73",
    "red": "#d55e00",
    "purple": "#cc79a7",
    "sky": "#56b4e9",
    "black": "#1a1a1a",
    "grey": "#7f7f7f",
}
"""Okabe and Ito's colours, told apart by most colour-blind readers and in greyscale by their order."""

COLOURS: dict[str, str] = {
    "teacher": PALETTE["black"],
    "reference": PALETTE["grey"],
    "student (aux)": PALETTE["blue"],
    "student (all)": PALETTE["green"],
    "cross-model (aux)": PALETTE["orange"],
    "cross-model (all)": PALETTE["red"],
    "uniform noise": PALETTE["blue"],
    "blurred noise": PALETTE["sky"],
    "real images": PALETTE["green"],
    "constant images": PALETTE["purple"],
    "squared error": PALETTE["green"],
    "softmax": PALETTE["red"],
    "lazy student": PALETTE["black"],
    "trait gradient": PALETTE["blue"],
    "random direction": PALETTE["grey"],
    "projected": PALETTE["red"],
    "two-sided": PALETTE["purple"],
    "update projected": PALETTE["green"],
    "keep only aligned": PALETTE["green"],
    "per layer": PALETTE["orange"],
    "displacement": PALETTE["black"],
    "independent batch": PALETTE["sky"],
    "shuffled-label teacher": PALETTE["green"],
    "shuffled trait labels": PALETTE["purple"],
    "fixed trait batch": PALETTE["sky"],
    "trait batch of 64": PALETTE["black"],
    "layer 1": PALETTE["sky"],
    "layer 2": PALETTE["purple"],
    "layer 3": PALETTE["black"],
    "update, first 1": PALETTE["sky"],
    "update, after 1": PALETTE["orange"],
    "liminal, first epoch": PALETTE["orange"],
    "liminal, two phase": PALETTE["purple"],
    "liminal, constant": PALETTE["sky"],
}
"""The colour of each condition, the same in every chapter."""

CHANCE = 0.1  # accuracy of a guess among ten classes


def use_style() -> None:
    """Set the book's look for the running notebook: SVG figures in one style."""
    plt.style.use(Path(__file__).with_name("book.mplstyle"))
    set_matplotlib_formats("svg")


def colour(name: str) -> str:
    """Return a condition's colour; one that has none of its own gets one of the palette by name.

    "SGD: projected" has the colour of "projected".
    """
    spare, name = list(PALETTE.values()), name.rpartition(": ")[2]
    return COLOURS.get(name, spare[sum(name.encode()) % len(spare)])


def curve(ax: Axes, values: xr.DataArray, x: str, *, label: str, style: str = "-") -> Axes:
    """Draw the mean over seeds with its 95 % band against the coordinate `x`; return `ax`.

    `values` has the dimensions (seed, x).
    """
    mean, low, high = band(values)
    ax.plot(values[x], mean, style, color=colour(label), label=label)
    ax.fill_between(values[x], low, high, color=colour(label), alpha=0.2, linewidth=0)
    return ax


def estimates(ax: Axes, values: Mapping[str, np.ndarray | xr.DataArray]) -> Axes:
    """Draw one row a name: every seed as a dot, the mean and its 95 % interval; return `ax`."""
    names = list(values)
    for row, name in enumerate(names):
        found = mean_interval(values[name])
        error = [[found.estimate - found.low], [found.high - found.estimate]]
        ax.plot(values[name], np.full(found.n, row), "o", color=colour(name), alpha=0.35, markersize=4)
        ax.errorbar(found.estimate, row, xerr=error, fmt="D", color=colour(name), capsize=3)
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)  # downwards, also where panels share the axis
    return ax


def chance_line(ax: Axes, *, vertical: bool = False) -> Axes:
    """Mark the accuracy of guessing; return `ax`."""
    draw = ax.axvline if vertical else ax.axhline
    draw(CHANCE, color=PALETTE["grey"], linestyle=":", linewidth=1, label="chance")
    return ax


def epochs_axis(ax: Axes, steps_per_epoch: int, n_steps: int) -> Axes:
    """Mark the ends of epochs on an axis of steps; return `ax`."""
    for step in range(steps_per_epoch, n_steps, steps_per_epoch):
        ax.axvline(step, color=PALETTE["grey"], linewidth=0.5, alpha=0.5)
    ax.set_xlabel("step (lines: ends of epochs)")
    return ax
