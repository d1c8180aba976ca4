"""The data and the chart library of the explorer page: recorded runs, small enough to load."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import vl_convert
import xarray as xr

from sublim_utils.analysis import alignment
from sublim_utils.analysis.stats import band
from sublim_utils.book import figures, pictures
from sublim_utils.engine.files import write_atomically
from sublim_utils.runs.lab import Lab
from sublim_utils.runs.profiles import RECORDED, Profile, profile_parameters
from sublim_utils.runs.sweeps import STUDENT

__all__ = [
    "BINS",
    "LABELS",
    "SHOWN",
    "SINGLE",
    "by_condition",
    "conditions",
    "ends",
    "looks",
    "numbers",
    "over_seeds",
    "runs",
    "series",
    "shades",
    "weights",
    "write",
]

SHOWN = ("primary", "hidden_trait", "phenomenon", "causal", "liminal")
"""The experiments whose conditions it has; of one that is in several, the runs of the first."""

BINS = 40
"""At most so many points of a quantity that is recorded at every step."""

SINGLE = 20
"""At most so many seeds are shown one by one; means, bands and differences are over all."""

LABELS = {
    "accuracy": "test accuracy",
    "centred_accuracy": "centred accuracy",
    "test_loss": "trait loss on the test images (nats)",
    "test_disc": "its discriminative part on the test images (nats)",
    "heldout_loss": "distillation loss on held-out inputs (nats)",
    "cosine": "cosine of trait and distillation gradient",
    "update_cosine": "cosine of trait gradient and minus the update",
    "drive": "summed first-order drive (nats)",
}


def by_condition(runs: xr.Dataset) -> dict[str, xr.Dataset]:
    """Return each condition's runs, dims (seed, ...)."""
    return {str(name): runs.sel(condition=name, drop=True) for name in runs["condition"].values}


def conditions(lab: Lab, steps_per_epoch: int) -> Iterator[tuple[str, bool, xr.Dataset, dict[str, xr.DataArray]]]:
    """Yield every condition's name, whether it is recorded, its runs (seed, ...), a baseline's `series` on its seeds.

    The runs are the recorded ones, else the profile's. Recorded runs of different experiments may differ in seeds; the
    baseline's series may have more of them.
    """
    seen: set[str] = set()
    bases: list[dict[str, xr.DataArray]] = []
    for name in SHOWN:
        recorded = lab.recorded(name)
        by_name = recorded or by_condition(lab.experiment(name))
        bases += [series(by_name[STUDENT], steps_per_epoch)] if STUDENT in by_name else []
        for condition, runs in by_name.items():
            if condition not in seen:
                seen.add(condition)
                seeds = set(runs["seed"].values)
                yield condition, bool(recorded), runs, next(b for b in bases if seeds <= set(b["drive"]["seed"].values))


def ends(n_steps: int) -> np.ndarray:
    """Return where each bin of steps ends.

    >>> ends(5), len(ends(295))
    (array([1, 2, 3, 4, 5]), 40)
    """
    return np.unique(np.linspace(0, n_steps, min(BINS, n_steps) + 1).round().astype(int)[1:])


def series(runs: xr.Dataset, steps_per_epoch: int) -> dict[str, xr.DataArray]:
    """Return every quantity that some runs have, dims (seed, x), x in epochs.

    What is recorded at every step is averaged (cosines) or summed up (drive) to the end of each bin.
    """
    evaluated = {name: runs[name].rename(eval="x") for name in LABELS if name in runs and "eval" in runs[name].dims}
    quantities = {name: values.assign_coords(x=values["x"] / steps_per_epoch) for name, values in evaluated.items()}
    stop = ends(runs.sizes["step"])
    start = np.concatenate([[0], stop[:-1]])
    for name, cosine in (("cosine", alignment.cosine(runs)), ("update_cosine", alignment.drive_cosine(runs))):
        means = [cosine.isel(step=slice(a, b)).mean("step") for a, b in zip(start, stop, strict=True)]
        binned = xr.concat(means, "x").transpose("seed", "x")
        quantities[name] = binned.assign_coords(x=(start + stop) / 2 / steps_per_epoch)
    summed = runs["drive"].sum("layer").cumsum("step").isel(step=stop - 1).rename(step="x")
    quantities["drive"] = summed.transpose("seed", "x").assign_coords(x=stop / steps_per_epoch)
    return quantities


def numbers(values: xr.DataArray) -> list:
    """Return values as nested lists of numbers of four digits, None for those that are not finite.

    >>> numbers(xr.DataArray([0.123456, np.nan]))
    [0.1235, None]
    """
    array = np.asarray(values, dtype=float)
    if array.ndim > 1:
        return [numbers(row) for row in array]
    return [float(f"{v:.4g}") if np.isfinite(v) else None for v in array]


def over_seeds(values: xr.DataArray) -> dict[str, list]:
    """Return mean, low and high over seeds, as `stats.band`."""
    return dict(zip(("mean", "low", "high"), map(numbers, band(values)), strict=True))


def looks(names: list[str]) -> dict[str, tuple[str, list[float]]]:
    """Return each condition's colour and dashes; two of the same colour differ in their dashes."""
    look: dict[str, tuple[str, list[float]]] = {}
    for name in names:
        colour = figures.colour(name)
        before = sum(colour == other for other, _ in look.values())
        patterns = list(figures.DASHES.values())
        first = patterns.index(figures.dashes(name))
        look[name] = colour, list(patterns[(first + before) % len(patterns)])
    return look


def shades(changes: xr.DataArray) -> str:
    """Return pictures (..., unit, row, column) as base64 of one byte a pixel.

    128 is no change, 1 and 255 the largest of each unit.
    """
    largest = abs(changes).max([dim for dim in changes.dims if dim != "unit"])
    scaled = changes / largest.where(largest > 0, 1.0)
    return base64.b64encode((128 + 127 * scaled).round().astype(np.uint8).values.tobytes()).decode()


def weights(lab: Lab) -> dict[str, object]:
    """Return what one seed's students changed in the first layer, at each evaluation, as JSON-able values."""
    changes = pictures.over_training(lab)
    students = {
        name: {
            "pixels": shades(one["picture"]),
            "cosine": numbers(one["cosine"]),
            "ratio": numbers(one["ratio"]),
        }
        for name, one in by_condition(changes).items()
    }
    about = {
        "seed": int(changes["seed"]),
        "profile": lab.profile.name,
        "units": changes.sizes["unit"],
        "side": pictures.SIDE,
    }
    return {**about, "teacher": shades(changes["teacher"]), "students": students}


def runs(lab: Lab) -> dict[str, object]:
    """Return all that the explorer shows, as JSON-able values."""
    per = lab.profile.settings().steps_per_epoch
    shown = list(conditions(lab, per))
    look, rows, axes = looks([name for name, *_ in shown]), [], {}
    for name, recorded, data, base in shown:
        values = series(data, per)
        axes = {**{q: {"label": LABELS[q], "x": numbers(v["x"])} for q, v in values.items()}, **axes}
        change = {q: v - base[q] for q, v in values.items() if name != STUDENT and q in base}
        rows.append(
            {
                "name": name,
                "colour": look[name][0],
                "dash": look[name][1],
                "n": data.sizes["seed"],
                "profile": RECORDED if recorded else lab.profile.name,
                "seeds": [int(s) for s in data["seed"][:SINGLE]],
                "values": {q: over_seeds(v) for q, v in values.items()},
                "change": {q: over_seeds(v) for q, v in change.items()},
                "single": {q: numbers(v[:SINGLE]) for q, v in values.items()},
                "single_change": {q: numbers(v[:SINGLE]) for q, v in change.items()},
                "classes": over_seeds(data["class_accuracy"].transpose("seed", "eval", "class")),
            }
        )
    quantities = {q: axes[q] for q in LABELS if q in axes}
    return {"baseline": STUDENT, "quantities": quantities, "conditions": rows, "weights": weights(lab)}


def write(results: str | Path, folder: str | Path, profiles: str | Path = "profiles.toml") -> None:
    """Write ``runs.js`` and ``vega.js`` into `folder`.

    Both are scripts and not data, so that a page opened from a disk may load them; the
    chart library is wrapped, so that its names stay its own.
    """
    profile = Profile.of_parameters(**profile_parameters(profiles, Path(results).name))
    data = json.dumps(runs(Lab(profile, "cpu")), separators=(",", ":"), allow_nan=False)
    write_atomically(Path(folder) / "runs.js", f"window.RUNS = {data};\n".encode())
    write_atomically(Path(folder) / "vega.js", f"(() => {{{vl_convert.javascript_bundle()}\n}})();\n".encode())
