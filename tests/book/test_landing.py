"""The first page's figure is the recorded runs'."""

import json
import re

import matplotlib.pyplot as plt
import pytest

from sublim_utils.book import figures, landing
from sublim_utils.runs.lab import Lab
from sublim_utils.runs.profiles import Profile, profile_parameters
from tests.sources import ROOT


@pytest.fixture(scope="module")
def figure():
    size = {**profile_parameters(ROOT / "profiles.toml", "paper"), "results": str(ROOT / "results" / "paper")}
    with plt.rc_context():
        plt.style.use(["default", figures.STYLE])
        fig = landing.draw(Lab(Profile.of_parameters(**size), "cpu", trains=False))
        yield fig
        plt.close(fig)


def test_the_committed_figure_is_drawn_from_what_is_recorded_now(figure):
    text = (ROOT / landing.PLACE).read_text(encoding="utf-8")
    committed = json.loads(re.search(r"<dc:description>(.*?)</dc:description>", text)[1].replace("&quot;", '"'))
    here = landing.numbers(figure)
    assert committed.keys() == here.keys()
    for name, values in here.items():
        assert committed[name] == pytest.approx(values, rel=1e-2, abs=1e-6), name


def test_raw_is_hollow_centred_is_filled_and_every_row_is_named(figure):
    ax = next(ax for ax in figure.axes if ax.get_xlabel() == "test accuracy")
    assert len(ax.get_yticklabels()) == len(landing.ROWS) + 2
    means = [line for line in ax.lines if line.get_marker() == "D" and len(line.get_xdata())]
    hollow = [line for line in means if line.get_markerfacecolor() == "white"]
    assert len(hollow) == len(landing.ROWS) + 2
    assert len(means) == 2 * len(hollow) - 1  # a teacher has no centred accuracy
