"""What others measured is compared with the runs of the same setting."""

import pytest
import xarray as xr

from sublim_utils.book import elsewhere
from sublim_utils.runs import sweeps


def test_every_value_belongs_to_a_setting_of_the_sweeps_and_is_a_share():
    names = sweeps.names()
    values = elsewhere.measured()
    assert values.keys() <= names.keys()
    assert sweeps.DEFAULT in values
    assert all(0.1 < value < 1 for value in values.values())


def test_only_settings_that_were_run_are_compared_and_by_their_difference():
    key = ("sweep_aux_5", sweeps.STUDENT)
    runs = {key: xr.Dataset({"accuracy": ("seed", [0.6, 0.8])}), ("unknown", "x"): xr.Dataset()}
    ((name, theirs, ours, difference),) = elsewhere.compared({key: "five"}, runs)
    assert name == "five"
    assert ours.startswith("0.700 [")
    assert float(difference) == pytest.approx(0.7 - float(theirs))
