"""The explorer's data: means, bands and paired differences of the runs, small and finite."""

import base64
import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from sublim_utils.analysis import alignment
from sublim_utils.analysis.stats import mean_interval
from sublim_utils.book import explorer, figures
from sublim_utils.settings import Condition
from tests import small

CONDITIONS = {
    "student (aux)": Condition(),
    "student (all)": Condition(logits="all"),
    "projected": Condition(projection=1.0),
}


PIXELS = np.random.default_rng(0).normal(size=(2, 3, 4, 28, 28))
PIXELS[:, 0] = 0.0  # nothing has changed yet
SQUARE = ("unit", "row", "column")
LEARNED = xr.Dataset(
    {
        "teacher": (SQUARE, PIXELS[0, 1]),
        "picture": (("condition", "eval", *SQUARE), PIXELS),
        "cosine": (("condition", "eval"), [[np.nan, 0.1, 0.2]] * 2),
        "ratio": (("condition", "eval"), [[0.0, 0.3, 0.4]] * 2),
    },
    {"condition": ["student (aux)", "student (all)"], "seed": 0},
)


@pytest.fixture
def students(lab, monkeypatch):
    runs = lab.students(small.SETTINGS, CONDITIONS, [0, 1, 2])
    monkeypatch.setattr(lab, "experiment", lambda name: runs)
    monkeypatch.setattr(lab, "recorded", lambda name: {})
    monkeypatch.setattr(explorer.pictures, "over_training", lambda lab: LEARNED)
    return runs


def test_values_are_the_runs_and_differences_are_paired(lab, students):
    rows = {row["name"]: row for row in explorer.runs(lab)["conditions"]}
    assert list(rows) == list(CONDITIONS)
    final = students["accuracy"].isel(eval=-1)
    change = mean_interval(final.sel(condition="projected") - final.sel(condition="student (aux)"))
    row = rows["projected"]
    assert row["values"]["accuracy"]["mean"][-1] == pytest.approx(
        float(final.sel(condition="projected").mean()), abs=1e-4
    )
    for kind, value in (("mean", change.estimate), ("low", change.low), ("high", change.high)):
        assert row["change"]["accuracy"][kind][-1] == pytest.approx(value, abs=1e-3)
    assert rows["student (aux)"]["change"] == {}
    assert np.shape(row["classes"]["mean"]) == (students.sizes["eval"], 10)
    assert row["n"] == 3
    assert row["profile"] == lab.profile.name


def test_differences_are_from_the_baseline_on_the_same_seeds(lab, students, monkeypatch):
    """Recorded experiments have seeds of their own, and older ones lack what is measured since."""
    base, other = (students.sel(condition=name, drop=True) for name in ("student (aux)", "projected"))
    later = {"student (aux)": base.sel(seed=[0, 1])}
    older = {"student (aux)": base.sel(seed=[2]), "projected": other.sel(seed=[2]).drop_vars("centred_accuracy")}
    monkeypatch.setattr(explorer, "SHOWN", ("later", "older"))
    monkeypatch.setattr(lab, "recorded", {"later": later, "older": older}.get)
    found = explorer.runs(lab)
    first, second = found["conditions"]
    assert (first["seeds"], second["seeds"]) == ([0, 1], [2])
    change = float((other - base)["accuracy"].sel(seed=2).isel(eval=-1))
    assert second["change"]["accuracy"]["mean"][-1] == pytest.approx(change, abs=1e-4)
    assert "centred_accuracy" in found["quantities"]
    assert "centred_accuracy" in first["values"]
    assert "centred_accuracy" not in {*second["values"], *second["change"]}


def test_bins_keep_the_sum_of_the_drive_and_the_mean_of_the_cosine(students):
    one = students.sel(condition="projected", drop=True)
    found = explorer.series(one, 4)
    np.testing.assert_allclose(found["drive"].isel(x=-1), one["drive"].sum(["step", "layer"]), rtol=1e-5)
    stop = explorer.ends(one.sizes["step"])
    weights = np.diff([0, *stop])
    np.testing.assert_allclose(
        (found["cosine"] * weights).sum("x") / weights.sum(), alignment.cosine(one).mean("step"), rtol=1e-5
    )


def test_recorded_runs_are_shown_where_they_are(lab, students, monkeypatch):
    recorded = {"student (aux)": students.sel(condition="student (aux)", drop=True)}
    monkeypatch.setattr(lab, "recorded", lambda name: recorded)
    (row,) = explorer.runs(lab)["conditions"]
    assert row["profile"] == "paper"


def test_curves_differ_in_colour_or_dashes():
    names = [n for n in figures.COLOURS if not n.startswith("layer")][:20]
    looks = explorer.looks(names)
    assert len({(colour, tuple(dash)) for colour, dash in looks.values()}) == len(names)


def test_pictures_are_bytes_on_one_scale_a_unit(lab, students):
    found = explorer.runs(lab)["weights"]
    assert (found["seed"], found["units"], found["profile"]) == (0, 4, lab.profile.name)
    one = found["students"]["student (all)"]
    assert one["cosine"] == [None, 0.1, 0.2]
    grey = np.frombuffer(base64.b64decode(one["pixels"]), np.uint8).reshape(3, 4, 28, 28)
    assert (grey[0] == 128).all()
    largest = abs(PIXELS[1]).max(axis=(0, 2, 3), keepdims=True)
    np.testing.assert_allclose((grey - 128.0) / 127, PIXELS[1] / largest, atol=0.5 / 127 + 1e-6)
    assert abs(grey - 128.0).max(axis=(0, 2, 3)).tolist() == [127] * 4


def test_scripts_hold_the_data_and_a_wrapped_library(lab, students, monkeypatch, tmp_path: Path):
    monkeypatch.setattr(explorer, "Lab", lambda *_: lab)
    explorer.write("results/smoke", tmp_path)
    text = (tmp_path / "runs.js").read_text(encoding="utf-8")
    assert json.loads(text.removeprefix("window.RUNS = ").rstrip(";\n"))["baseline"] == explorer.STUDENT
    library = (tmp_path / "vega.js").read_text(encoding="utf-8")
    assert library.startswith("(() => {")
    assert len(library) < 1_100_000
