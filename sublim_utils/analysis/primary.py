"""The primary tests: each a reading of the six primary conditions, with the criterion that the method page fixed.

Chapters record them where their claim is discussed; the first pages, built while a book is still being computed, show
them all.
"""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

import xarray as xr

from sublim_utils.analysis import alignment, knowledge
from sublim_utils.analysis.stats import (
    Interval,
    bootstrap_interval,
    mean_interval,
    over_pairs,
    ratio_of_means,
    share_interval,
    upper_end,
)
from sublim_utils.runs.sweeps import STUDENT

__all__ = ["CROSS", "GRADIENT", "LIMINAL", "OFF_DISC", "TESTS", "WINDOW", "Reading", "decided"]

CROSS, GRADIENT, OFF_DISC, LIMINAL = "cross-model (aux)", "projected", "update off L_disc", "liminal, first epoch"
"""The conditions read, beside the baseline `STUDENT`, by their names in the experiment "primary"."""

WINDOW = 31
"""Steps of the running means of `P4.running`."""

Reading = Callable[[xr.Dataset, int], Interval | xr.DataArray]
"""(primary runs, dims (seed, condition, ...), steps per epoch) -> an interval, or one value per seed or pair."""


def _gain(condition: str, quantity: str) -> Reading:
    """Return the gain over the untrained network, per seed."""
    return lambda runs, _: knowledge.gain(runs[quantity].sel(condition=condition))


def _share(of: Callable[[xr.DataArray, xr.DataArray], Interval], condition: str, quantity: str) -> Reading:
    """Return the share of the baseline's gain that a condition keeps or lacks, as `of` says, a ratio of means."""
    return lambda runs, _: of(*(runs[quantity].sel(condition=c) for c in (condition, STUDENT)))


def _loss_ratio(condition: str) -> Reading:
    """Return the held-out distillation loss over the baseline's, after training, per seed."""

    def reading(runs: xr.Dataset, _: int) -> xr.DataArray:
        end = runs["heldout_loss"].isel(eval=-1, drop=True)
        return end.sel(condition=condition, drop=True) / end.sel(condition=STUDENT, drop=True)

    return reading


def _cosine(runs: xr.Dataset, condition: str) -> xr.DataArray:
    return alignment.cosine(runs.sel(condition=condition))


def _upper_end(runs: xr.Dataset, _: int) -> Interval:
    return upper_end(mean_interval(runs["accuracy"].sel(condition=STUDENT).isel(eval=-1)))


def _lowest_epoch(runs: xr.Dataset, steps_per_epoch: int) -> xr.DataArray:
    return alignment.per_epoch(_cosine(runs, STUDENT), steps_per_epoch).min("epoch")


def _running(runs: xr.Dataset, _: int) -> Interval:
    means = _cosine(runs, STUDENT).rolling(step=WINDOW).mean().dropna("step")
    return share_interval((means > 0).all("step"))


def _above_cross(runs: xr.Dataset, _: int) -> xr.DataArray:
    return over_pairs((_cosine(runs, STUDENT) - _cosine(runs, CROSS)).mean("step"))


def _first_epoch(runs: xr.Dataset, steps_per_epoch: int) -> Interval:
    loss = runs["test_loss"].sel(condition=STUDENT)
    early = loss.sel(eval=steps_per_epoch, drop=True) - loss.isel(eval=0, drop=True)
    return bootstrap_interval(ratio_of_means, early.values, knowledge.gain(loss).values)


TESTS: Mapping[str, Reading] = MappingProxyType(
    {
        "P1": _gain(STUDENT, "accuracy"),
        "P1.centred": _gain(STUDENT, "centred_accuracy"),
        "P2": _upper_end,
        "P3": _gain(CROSS, "accuracy"),
        "P3.centred": _gain(CROSS, "centred_accuracy"),
        "P4": _lowest_epoch,
        "P4.running": _running,
        "P5": _above_cross,
        "P6": _share(knowledge.removed, GRADIENT, "accuracy"),
        "P6.loss": _loss_ratio(GRADIENT),
        "P7": _share(knowledge.kept, GRADIENT, "centred_accuracy"),
        "P8": _share(knowledge.kept, OFF_DISC, "centred_accuracy"),
        "P8.loss": _loss_ratio(OFF_DISC),
        "P9": _first_epoch,
        "P10": _share(knowledge.removed, LIMINAL, "accuracy"),
        "P10.centred": _share(knowledge.removed, LIMINAL, "centred_accuracy"),
    }
)
"""The readings by their claims' ids, in the order of the method page."""


def decided(runs: xr.Dataset, steps_per_epoch: int) -> Iterator[tuple[str, Interval]]:
    """Yield every test's id and interval; one pair of seeds gives `P5` none.

    `runs` are those of the experiment "primary", dims (seed, condition, ...).
    """
    for name, reading in TESTS.items():
        values = reading(runs, steps_per_epoch)
        if isinstance(values, Interval):
            yield name, values
        elif values.size > 1:
            yield name, mean_interval(values)
