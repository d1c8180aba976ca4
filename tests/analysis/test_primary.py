"""The primary tests: each reads the quantity, the condition and the steps that the method page says."""

import numpy as np
import pytest
import xarray as xr

from sublim_utils.analysis import primary
from sublim_utils.analysis.primary import CROSS, GRADIENT, LIMINAL, OFF_DISC, TESTS
from sublim_utils.book.claims import registered
from sublim_utils.runs.experiments import EXPERIMENTS
from sublim_utils.runs.sweeps import STUDENT

PER = 40
"""Steps of an epoch; a training has two."""


def runs_of(seeds: range) -> xr.Dataset:
    """Runs whose readings are known: every value is its condition's, seeds differ by a thousandth."""
    conditions = [STUDENT, CROSS, GRADIENT, OFF_DISC, LIMINAL]
    of_seeds = 1 + 1e-3 * np.arange(len(seeds))

    def evaluated(start: float, ends: list[float], middle: list[float]) -> tuple[tuple[str, ...], np.ndarray]:
        values = np.stack([np.full(len(ends), start), middle, ends], -1)  # (condition, eval)
        values = np.repeat(values[None], len(seeds), 0)
        values[..., 1:] *= of_seeds[:, None, None]
        return ("seed", "condition", "eval"), values

    cosines = np.full((len(conditions), 2 * PER), 0.1)
    cosines[0, :PER], cosines[0, PER:], cosines[1] = 0.02, 0.01, 0.004
    steps, shape = ("seed", "condition", "step", "layer"), (len(seeds), len(conditions), 2 * PER, 1)
    return xr.Dataset(
        {
            "accuracy": evaluated(0.1, [0.6, 0.1, 0.2, 0.1, 0.5], [0.3] * 5),
            "centred_accuracy": evaluated(0.1, [0.8, 0.1, 0.5, 0.15, 0.7], [0.5] * 5),
            "heldout_loss": evaluated(1.0, [0.02, 0.02, 0.021, 0.024, 0.1], [0.5] * 5),
            "test_loss": evaluated(2.4, [1.4, 2.4, 2.4, 2.4, 1.5], [2.1] * 5),
            "trait_norm": (steps, np.ones(shape)),
            "distill_norm": (steps, np.ones(shape)),
            "inner": (steps, (cosines * of_seeds[:, None, None])[..., None]),
        },
        coords={"seed": list(seeds), "condition": conditions, "eval": [0, PER, 2 * PER]},
    )


WANTED = {
    "P1": 0.5, "P1.centred": 0.7, "P3": 0.0, "P3.centred": 0.0, "P4": 0.01, "P4.running": 1.0, "P5": 0.011, "P6": 0.8,
    "P6.loss": 1.05, "P7": 4 / 7, "P8": 0.05 / 0.7, "P8.loss": 1.2, "P9": 0.3, "P10": 0.2, "P10.centred": 1 / 7,
}  # fmt: skip


def test_every_primary_claim_has_its_reading_and_the_conditions_are_the_experiments() -> None:
    assert list(TESTS) == [name for name in registered() if name.startswith("P")]
    assert {STUDENT, CROSS, GRADIENT, OFF_DISC, LIMINAL} < set(EXPERIMENTS["primary"].conditions)


def test_each_reads_what_the_method_page_says() -> None:
    decided = dict(primary.decided(runs_of(range(100, 104)), PER))
    assert {name: decided[name].estimate for name in WANTED} == pytest.approx(WANTED, rel=1e-2, abs=1e-3)
    assert decided["P2"].estimate > 0.6  # the upper end of the mean
    assert decided["P5"].n == 2
    assert {interval.n for name, interval in decided.items() if name != "P5"} == {4}


def test_a_running_mean_that_falls_to_nothing_once_is_seen() -> None:
    runs = runs_of(range(100, 104))
    runs["inner"][1, 0, 20:51] = -0.001
    assert dict(primary.decided(runs, PER))["P4.running"].estimate == 0.75


def test_one_pair_decides_nothing_about_pairs() -> None:
    assert set(TESTS) - {name for name, _ in primary.decided(runs_of(range(2)), PER)} == {"P5"}
