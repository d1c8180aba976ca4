"""How the book draws: one style, one colour a condition, functions that take `ax` and return it."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib_inline.backend_inline import set_matplotlib_formats
from numpy.typing import ArrayLike

from sublim_utils.analysis.stats import band, mean_interval
from sublim_utils.book import regression

__all__ = [
    "CHANCE",
    "COLOURS",
    "DASHES",
    "HATCHES",
    "MARKERS",
    "PALETTE",
    "STYLE",
    "area",
    "chance_line",
    "colour",
    "curve",
    "dashes",
    "dots",
    "epochs_axis",
    "estimates",
    "legend_above",
    "line",
    "marker",
    "use_style",
    "zero_lines",
]

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

DASHES: dict[str, tuple[float, ...]] = {
    "blue": (),
    "red": (5, 2),
    "green": (2, 1.5),
    "purple": (7, 2, 2, 2),
    "orange": (9, 3),
    "sky": (4, 1.5, 1, 1.5),
    "black": (12, 1.5),
    "grey": (1, 2),
}
"""The dashes of each colour's lines, in line widths, so that curves can be told apart without colour."""

MARKERS = dict(zip(PALETTE, "oDsX^v*P", strict=True))
"""The marker of each colour, for lines whose dashes mean something else."""

HATCHES = dict(zip(PALETTE, ("", "//", "||", "xx", "\\\\", "++", "--", "////"), strict=True))
"""The hatching of each colour's areas: lines only, as a pattern of dots weighs 35 kB."""

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
    "Adam": PALETTE["blue"],
    "momentum": PALETTE["purple"],
    "SGD": PALETTE["green"],
    "SGD, large step": PALETTE["red"],
    "first order": PALETTE["blue"],
    "second order": PALETTE["orange"],
    "trapezoid": PALETTE["green"],
    "straight line": PALETTE["purple"],
    "start only": PALETTE["grey"],
    "measured": PALETTE["black"],
    "signed": PALETTE["blue"],
    "cross": PALETTE["orange"],
    "beyond": PALETTE["grey"],
    "default": PALETTE["blue"],
    "what is distilled": PALETTE["green"],
    "the network": PALETTE["purple"],
    "the images": PALETTE["sky"],
    "the training": PALETTE["orange"],
    "the common start": PALETTE["red"],
    "nothing done": PALETTE["blue"],
    "projection": PALETTE["red"],
    "another start": PALETTE["orange"],
    "liminal training": PALETTE["purple"],
    "noise on the start": PALETTE["sky"],
    "decay to the start": PALETTE["green"],
    "noise on the gradient": PALETTE["black"],
    "fewer logits": PALETTE["grey"],
}
"""The colour of each condition, the same in every chapter; then of the sweeps' themes and of kinds of mitigation."""

CHANCE = 0.1  # accuracy of a guess among ten classes

STYLE = Path(__file__).with_name("book.mplstyle")


def use_style() -> None:
    """Set the book's look for the running notebook: SVG figures in one style; `regression` sees them."""
    plt.style.use(["default", STYLE])  # not over what a user's matplotlibrc says
    plt.rcParams["figure.hooks"] = [f"{regression.__name__}:{regression.watch.__name__}"]
    regression.WATCH.clear()
    set_matplotlib_formats("svg")


def colour(name: str) -> str:
    """Return a condition's colour; one that has none of its own gets one of the palette by name.

    "SGD: projected" has the colour of "projected".
    """
    spare, name = list(PALETTE.values()), name.rpartition(": ")[2]
    return COLOURS.get(name, spare[sum(name.encode()) % len(spare)])


def _shade(name: str) -> str:
    """Return the name of a condition's colour."""
    return next(shade for shade, value in PALETTE.items() if value == colour(name))


def dashes(name: str) -> tuple[float, ...]:
    """Return the dashes of a condition's curve, those of its colour; none for a solid line."""
    return DASHES[_shade(name)]


def marker(name: str) -> str:
    """Return the marker of a condition's points, that of its colour."""
    return MARKERS[_shade(name)]


def area(name: str) -> dict[str, str]:
    """Return how a bar or another area of a condition looks, as arguments of matplotlib: colour and hatching."""
    return {"facecolor": colour(name), "hatch": HATCHES[_shade(name)], "edgecolor": "white", "label": name}


def line(ax: Axes, x: ArrayLike, y: ArrayLike, *, label: str, style: str = "-") -> Axes:
    """Draw a condition's line in its colour, a solid one with its dashes; return `ax`."""
    (drawn,) = ax.plot(x, y, style, color=colour(label), label=label)
    if drawn.get_linestyle() == "-" and dashes(label):
        drawn.set_dashes(dashes(label))
    return ax


def dots(ax: Axes, x: ArrayLike, values: ArrayLike, *, color: str) -> Axes:
    """Draw values (seed, x) as dots of the colour `own`; return `ax`.

    All in one go: matplotlib writes a line of each call's own, which for many seeds outweighs the dots.
    """
    values = np.asarray(values)
    ax.plot(np.tile(x, len(values)), values.ravel(), ".", color=color, alpha=0.5, markersize=4)
    return ax


def curve(ax: Axes, values: xr.DataArray, x: str, *, label: str, style: str = "-") -> Axes:
    """Draw the mean over seeds with its 95 % band against the coordinate `x`; return `ax`.

    `values` has the dimensions (seed, x).
    """
    mean, low, high = band(values)
    line(ax, values[x], mean, label=label, style=style)
    ax.fill_between(values[x], low, high, color=colour(label), alpha=0.2, linewidth=0)
    return ax


def legend_above(fig: Figure, *, ncols: int) -> Figure:
    """Draw one legend above a figure, which names once whatever its panels show; return `fig`."""
    shown: dict[str, Artist] = {}
    for ax in fig.axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            shown.setdefault(label, handle)
    fig.legend(list(shown.values()), list(shown), loc="outside upper center", ncols=ncols)
    return fig


def estimates(ax: Axes, values: Mapping[str, np.ndarray | xr.DataArray]) -> Axes:
    """Draw one row a name: every seed as a dot, the mean and its 95 % interval; return `ax`."""
    names = list(values)
    for row, name in enumerate(names):
        interval = mean_interval(values[name])
        error = [[interval.estimate - interval.low], [interval.high - interval.estimate]]
        ax.plot(values[name], np.full(interval.n, row), "o", color=colour(name), alpha=0.35, markersize=4)
        ax.errorbar(interval.estimate, row, xerr=error, fmt="D", color=colour(name), capsize=3)
    ax.locator_params(axis="x", nbins=6)  # more labels run into each other on the narrower panels
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)  # downwards, also where panels share the axis
    return ax


def chance_line(ax: Axes, *, vertical: bool = False) -> Axes:
    """Mark the accuracy of guessing; return `ax`."""
    draw = ax.axvline if vertical else ax.axhline
    draw(CHANCE, color=PALETTE["grey"], linestyle=":", linewidth=1, label="chance")
    return ax


def zero_lines(ax: Axes) -> Axes:
    """Mark 0 on both axes; return `ax`."""
    for draw in (ax.axhline, ax.axvline):
        draw(0, color=PALETTE["grey"], linestyle=":", linewidth=1)
    return ax


def epochs_axis(ax: Axes, steps_per_epoch: int, n_steps: int) -> Axes:
    """Mark the ends of epochs on an axis of steps; return `ax`."""
    for step in range(steps_per_epoch, n_steps, steps_per_epoch):
        ax.axvline(step, color=PALETTE["grey"], linewidth=0.5, alpha=0.5)
    ax.set_xlabel("step (lines: ends of epochs)")
    return ax
