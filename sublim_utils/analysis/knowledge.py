"""What a student knows, in measures that an offset of its logits can't hide, and what an intervention leaves of it."""

import numpy as np
import xarray as xr

from sublim_utils.analysis.stats import Interval, bootstrap_interval, ratio_of_means

__all__ = ["free_loss", "gain", "kept", "most_predicted", "paid", "removed", "stopped"]


def most_predicted(runs: xr.Dataset) -> xr.DataArray:
    """Return the share of test images that are read as the class read most often, after training: 0.1 to 1.

    >>> counts = xr.DataArray([[30.0, 0.0], [25.0, 5.0]], dims=("class", "predicted"))
    >>> round(float(most_predicted(xr.Dataset({"confusion": counts}))), 4)
    0.9167
    """
    read_as = runs["confusion"].sum("class")
    return read_as.max("predicted") / read_as.sum("predicted")


def free_loss(runs: xr.Dataset) -> xr.DataArray:
    """Return L_free = L_T - L_disc on the test images (nats): the part of the trait loss that needs no label."""
    return runs["test_loss"] - runs["test_disc"]


def gain(values: xr.DataArray) -> xr.DataArray:
    """Return what a quantity of the evaluations rose by over training."""
    return values.isel(eval=-1, drop=True) - values.isel(eval=0, drop=True)


def paid(student: xr.Dataset, baseline: xr.Dataset) -> xr.DataArray:
    """Return the distillation loss on held-out inputs at the end over the baseline's, for the seeds of both."""
    return (student["heldout_loss"] / baseline["heldout_loss"]).isel(eval=-1, drop=True)


def kept(student: xr.DataArray, baseline: xr.DataArray) -> Interval:
    """Return the share of the baseline's gain that a student of the same seeds has: a ratio of means, BCa over seeds.

    `student` and `baseline` are quantities of the evaluations, dims (seed, eval).

    Raises
    ------
    ValueError
        If there are fewer than two seeds.
    """
    pairs = xr.align(gain(student), gain(baseline), join="inner")
    return bootstrap_interval(ratio_of_means, *(one.values for one in pairs))


def removed(student: xr.DataArray, baseline: xr.DataArray) -> Interval:
    """Return the share of the baseline's gain that a student of the same seeds lacks, 1 - `kept`."""
    left = kept(student, baseline)
    return Interval(1 - left.estimate, 1 - left.high, 1 - left.low, left.n)


def stopped(baseline: xr.Dataset, reading: str, cost: xr.DataArray) -> float:
    """Return the share of its gain that a baseline has when its held-out loss is `cost` times its last: 0 to 1.

    So much knows a student that is merely stopped early, at the price (seed) that another paid: `paid`. Between two
    evaluations the gain of `reading` is interpolated along the loss's logarithm, seed by seed; a ratio of means.
    A price below 1 counts as 1, one above that of the reference as the reference's.
    """
    whole, cost = xr.align(baseline, cost, join="inner")
    loss = np.log(whole["heldout_loss"] / whole["heldout_loss"].isel(eval=-1))
    gains = whole[reading] - whole[reading].isel(eval=0)
    falling = np.argsort(loss.values, axis=1)
    at = [
        np.interp(np.log(c), x[i], y[i])
        for c, x, y, i in zip(cost.values, loss.values, gains.values, falling, strict=True)
    ]
    return float(np.mean(at) / gains.isel(eval=-1).mean())
