"""The panels of the sweeps and of the verdicts."""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from sublim_utils.analysis import transfer
from sublim_utils.analysis.stats import mean_interval
from sublim_utils.book import regression
from sublim_utils.book.claims import Claim
from sublim_utils.book.figures import CHANCE, PALETTE, colour
from sublim_utils.runs import sweeps

__all__ = ["FAR", "MARKS", "SLANTED", "sweep", "upright", "verdicts"]


def upright(ax: Axes, x: float, values: xr.DataArray, *, label: str, recorded: bool = False) -> Axes:
    """Draw at `x` every seed as a dot, the mean and its 95 % interval; return `ax`.

    Recorded runs are hollow and have no dots. An interval does not widen the axis: of two seeds it
    is many times longer than they are apart.
    """
    interval, color = mean_interval(values), colour(label)
    if not recorded:
        ax.plot(np.full(interval.n, x), values, "o", color=color, alpha=0.35, markersize=3)
    ends = [[(x, interval.low), (x, interval.high)]]
    ax.add_collection(LineCollection(ends, colors=color, linewidths=1.2), autolim=False)
    ax.plot(x, interval.estimate, "D", color=color, markerfacecolor="white" if recorded else color, markersize=5)
    return ax


SLANTED = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
"""Tick labels that are words."""


def sweep(
    ax: Axes,
    axis: sweeps.Axis,
    measure: str,
    run: Mapping[tuple[str, str], xr.Dataset],
    recorded: Mapping[tuple[str, str], xr.Dataset],
) -> Axes:
    """Draw one measure of `transfer.summary` at every point of an axis, run and recorded; return `ax`.

    The dotted line is chance for the accuracy, else 0. A point that is in neither, or whose measure is
    undefined, leaves its place empty.
    """
    for kind, runs in enumerate((run, recorded)):
        for place, point in enumerate(axis.points):
            values = runs[point.run][measure] if point.run in runs else None
            if values is not None and bool(np.isfinite(values).all()):
                upright(ax, place + 0.2 * kind, values, label=axis.theme, recorded=bool(kind))
    ax.axhline(CHANCE if measure == "accuracy" else 0.0, color=PALETTE["grey"], linestyle=":", linewidth=1)
    ax.set_xticks(range(len(axis.points)), [p.label for p in axis.points], **SLANTED)
    ax.set(xlabel=axis.title, ylabel=transfer.MEASURES[measure], xlim=(-0.5, len(axis.points) - 0.4))
    ax.label_outer()
    return ax


MARKS = {"agrees": ("o", "green"), "differs": ("X", "red"), "inconclusive": ("d", "grey")}
"""Marker and colour of each verdict."""

FAR = (-4.0, 8.0)
"""Ends of the axis of `verdicts`, in half-widths of an interval; what lies beyond is drawn at the end."""


def verdicts(ax: Axes, claims: Sequence[Claim]) -> Axes:
    """Draw one row a claim: how far its interval lies inside its criterion, `Claim.margins`; return `ax`."""
    ax.set_gid(regression.OF_CLAIMS)
    ax.axvspan(0, FAR[1] + 0.5, color=PALETTE["green"], alpha=0.08, linewidth=0)
    ax.axvline(0, color=PALETTE["black"], linewidth=1)
    for place, claim in enumerate(claims):
        low, middle, high = np.clip(claim.margins(), *FAR)
        marker, shade = MARKS[claim.verdict]
        ax.plot([low, high], [place, place], color=PALETTE[shade], linewidth=1.5)
        ax.plot(middle, place, marker, color=PALETTE[shade], markersize=6)
    ax.set_yticks(range(len(claims)), [c.id for c in claims], fontsize="small")
    ax.set(ylim=(len(claims) - 0.5, -0.5), xlim=(FAR[0] - 0.5, FAR[1] + 0.5))
    ax.set_xlabel("distance inside the criterion, in half-widths of the interval")
    return ax
