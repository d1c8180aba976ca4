"""What a student knows, in measures that an offset of its logits can't hide, and what an intervention leaves of it."""

import xarray as xr

from sublim_utils.analysis.stats import Interval, bootstrap_interval, ratio_of_means

__all__ = ["free_loss", "gain", "kept", "most_predicted", "paid", "removed"]


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
