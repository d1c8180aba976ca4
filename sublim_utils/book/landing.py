"""The one figure of the first page and the README: what a student sees, what it knows, and the alignment on the way."""

import json
from collections.abc import Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sublim_utils.analysis.alignment import Part, cosine, smooth
from sublim_utils.analysis.stats import mean_interval
from sublim_utils.book import figures, regression
from sublim_utils.engine import inputs
from sublim_utils.engine.files import root
from sublim_utils.engine.seeds import generator
from sublim_utils.runs.lab import Lab

__all__ = ["LINES", "PLACE", "ROWS", "SEEN", "draw", "numbers", "write"]

PLACE = Path("book", "_static", "landing.svg")
"""Where it lies, from the repository's root."""

ROWS = {
    "student (aux)": "student",
    "cross-model (aux)": "student of another\nstart's teacher",
    "projected": "alignment projected\nout (the paper)",
    "update off L_disc": "only what tells digits\napart projected out",
    "update, random direction": "a random direction\nprojected out",
}
"""The students shown, by their condition's name, and what they are called."""

LINES: dict[tuple[str, Part], tuple[str, str, float]] = {
    ("student (aux)", "disc"): ("own teacher, digits told apart", "--", 0.94),
    ("student (aux)", "trait"): ("own teacher", "-", 0.35),
    ("cross-model (aux)", "trait"): ("another start's", "-", 0.1),
}
"""The cosines shown, by condition and by what the trait gradient is taken of: label, line, and the label's height."""

SEEN: dict[str, tuple[str, str, float]] = {
    "raw": ("accuracy", "largest output", -0.17),
    "centred": ("centred_accuracy", "offsets taken out", 0.17),
}
"""How accuracy is read: the quantity, its name in the legend, and the shift of its row."""


def _students(lab: Lab, primary: xr.Dataset) -> Iterator[tuple[str, str, dict[str, xr.DataArray]]]:
    """Yield what a row is called, whose colour it has, and its accuracies by `SEEN`."""
    beside = lab.experiment("hidden_trait")
    untrained = primary.sel(condition="student (aux)").isel(eval=0)
    yield "untrained", "reference", {name: untrained[of] for name, (of, _, _) in SEEN.items()}
    teachers = lab.teachers(lab.profile.settings(), primary["seed"].values)
    yield "teacher", "teacher", {"raw": teachers["accuracy"].isel(epoch=-1)}
    for condition, label in ROWS.items():
        runs = primary if condition in primary["condition"] else beside
        last = runs.sel(condition=condition).isel(eval=-1)
        yield label, condition.removeprefix("update, "), {name: last[of] for name, (of, _, _) in SEEN.items()}


def _accuracies(ax: Axes, lab: Lab, primary: xr.Dataset) -> None:
    """Draw every student's accuracies, raw and centred, a dot a seed."""
    labels = []
    for row, (label, name, values) in enumerate(_students(lab, primary)):
        labels.append(label)
        for kind, of in values.items():
            y, face = row + SEEN[kind][2], figures.colour(name) if kind == "centred" else "white"
            ax.plot(of.values, np.full(of.size, y), "o", color=figures.colour(name), alpha=0.25, markersize=3, mew=0)
            ax.plot(mean_interval(of).estimate, y, "D", color=figures.colour(name), mfc=face, markersize=6)
    for kind, (_, label, _) in SEEN.items():
        ax.plot([], [], "D", color="black", mfc="black" if kind == "centred" else "white", label=label)
    ax.set_yticks(range(len(labels)), labels)
    ax.set(ylim=(len(labels) - 0.5, -0.5), xlim=(0, 1), xlabel="test accuracy")
    figures.chance_line(ax, vertical=True)
    ax.legend(
        loc="lower center", bbox_to_anchor=(0.3, 1.0), ncols=3, frameon=False, columnspacing=1.0, handletextpad=0.4
    )


def _alignment(ax: Axes, primary: xr.Dataset, per: int, width: int = 31) -> None:
    """Draw the running mean of the cosines of `LINES` over training."""
    for (name, of), (label, style, y) in LINES.items():
        values = smooth(cosine(primary.sel(condition=name), of=of), width)
        epochs = np.arange(values.sizes["step"]) / per
        figures.curve(ax, values.assign_coords(step=epochs)[:, ::5], "step", label=name, style=style)
        ax.text(0.98, y, label, transform=ax.transAxes, color=figures.colour(name), ha="right")
    ax.axhline(0, color="grey", linewidth=0.8)
    ax.margins(y=0.14)  # room for the uppermost label
    ax.set(xlabel="epoch of the training", ylabel="cosine of the two gradients")


def _images(axes: dict[str, Axes], lab: Lab) -> None:
    """Draw one image that a student is trained on and one that it is asked to read."""
    settings = lab.profile.settings()
    shown = {"noise": inputs.draw(settings, 1, generator(0, "inputs"))[0], "digit": lab.images(settings).test[0]}
    for name, title in {"noise": "trained on", "digit": "tested on"}.items():
        axes[name].imshow(shown[name].view(28, 28).numpy(), cmap="gray", vmin=-1, vmax=1)
        axes[name].set(title=title, xticks=[], yticks=[])


def draw(lab: Lab) -> Figure:
    """Return the figure, of the lab's primary runs."""
    fig, axes = plt.subplot_mosaic(
        [["noise", "students", "cosine"], ["digit", "students", "cosine"]],
        figsize=(9.6, 3.9), width_ratios=[1.0, 3.2, 2.6], layout="constrained",
    )  # fmt: skip
    _images(axes, lab)
    primary = lab.experiment("primary")
    _accuracies(axes["students"], lab, primary)
    _alignment(axes["cosine"], primary, lab.profile.settings().steps_per_epoch)
    return fig


def numbers(fig: Figure) -> dict[str, list[float]]:
    """Return what a figure is drawn from, in three digits, so that an old one is told from a new one."""
    return {name: [float(f"{v:.3g}") for v in values] for name, values in regression.figures_seen([fig])}


def write(lab: Lab) -> None:
    """Write the figure to `PLACE`, with its numbers in its description."""
    with plt.rc_context():
        plt.style.use(["default", figures.STYLE])
        fig = draw(lab)
        about = {"Date": None, "Description": json.dumps(numbers(fig))}
        fig.savefig(root() / PLACE, format="svg", metadata=about)
        plt.close(fig)
