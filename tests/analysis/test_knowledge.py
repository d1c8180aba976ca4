"""Shares of a gain, and how often a student gives one answer."""

import numpy as np
import pytest
import xarray as xr

from sublim_utils.analysis import knowledge


def evaluated(before, after, seeds=None):
    seeds = range(len(before)) if seeds is None else seeds
    return xr.DataArray(np.stack([before, after], -1), dims=("seed", "eval"), coords={"seed": list(seeds)})


def test_the_share_kept_is_a_ratio_of_mean_gains_and_not_a_mean_of_ratios():
    rng = np.random.default_rng(0)
    start, gains = rng.uniform(0.05, 0.15, 20), rng.uniform(0.1, 0.8, 20)
    whole, part = evaluated(start, start + gains), evaluated(start, start + 0.3 * gains + rng.normal(0, 0.02, 20))
    share = knowledge.kept(part, whole)
    assert share.estimate == pytest.approx(knowledge.gain(part).mean().item() / gains.mean())
    assert share.low < 0.3 < share.high
    assert share.high - share.low < 0.1
    lacking = knowledge.removed(part, whole)
    assert (lacking.estimate, lacking.low, lacking.high) == (1 - share.estimate, 1 - share.high, 1 - share.low)


def test_only_seeds_of_both_are_compared():
    whole = evaluated(np.zeros(4), np.array([1.0, 1.0, 1.0, 9.0]))
    part = evaluated(np.zeros(3), np.array([0.5, 0.25, 0.75]), seeds=[2, 0, 1])
    assert knowledge.kept(part, whole).n == 3
    assert knowledge.kept(part, whole).estimate == 0.5


def test_one_answer_to_everything_and_each_answer_as_often_as_any_other():
    counts = np.zeros((2, 10, 10))
    counts[0, :, 3], counts[1] = 100, 10
    runs = xr.Dataset({"confusion": (("seed", "class", "predicted"), counts)})
    assert knowledge.most_predicted(runs).values == pytest.approx([1, 0.1])


def test_the_label_free_part_is_what_discrimination_leaves():
    runs = xr.Dataset({"test_loss": ("eval", [2.0, 1.5]), "test_disc": ("eval", [0.5, -1.0])})
    assert knowledge.free_loss(runs).values == pytest.approx([1.5, 2.5])


def test_what_is_paid_is_the_held_out_loss_at_the_end_over_the_baselines_of_the_same_seeds():
    losses = evaluated(np.full(3, 8.0), np.array([1.0, 3.0, 2.0]), seeds=[0, 1, 2])
    baseline = evaluated(np.full(2, 8.0), np.array([2.0, 4.0]), seeds=[2, 1])
    paid = knowledge.paid(*(xr.Dataset({"heldout_loss": one}) for one in (losses, baseline)))
    assert dict(zip(paid["seed"].values.tolist(), paid.values.tolist(), strict=True)) == {1: 0.75, 2: 1.0}
    assert paid.dims == ("seed",)


def test_stopped_early_at_a_price_a_student_knows_what_it_knew_when_its_loss_was_that():
    loss = np.exp([[3.0, 2.0, 1.0, 0.0], [2.0, 3.0, 1.0, 0.0]])  # the second rises at first
    read = np.array([[0.1, 0.2, 0.6, 1.1], [0.0, 0.0, 1.0, 3.0]])
    runs = xr.Dataset({n: (("seed", "eval"), v) for n, v in {"heldout_loss": 7 * loss, "read": read}.items()})

    def stopped(*prices):
        return knowledge.stopped(runs, "read", xr.DataArray(np.exp(prices), dims="seed"))

    assert stopped(0.0, 0.0) == stopped(-2.0, -0.1) == pytest.approx(1)
    assert stopped(9.0, 9.0) == pytest.approx(0)
    assert stopped(1.5, 0.5) == pytest.approx((0.3 + 2.0) / (1.0 + 3.0))
    few = xr.DataArray([np.e], dims="seed", coords={"seed": [1]})
    assert knowledge.stopped(runs.assign_coords(seed=[0, 1]), "read", few) == pytest.approx(1 / 3)
