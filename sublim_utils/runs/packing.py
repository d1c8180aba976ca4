"""The form of a packed file: many runs in a small one, for a store that is committed.

A file of one run is three quarters overhead. A packed one holds up to `BLOCK` seeds, its series stacked
into one variable for each set of dimensions and rounded to the bits that `KEPT_BITS` names.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

import xarray as xr

__all__ = ["BLOCK", "KEPT_BITS", "blocks", "joined_attributes", "rounding", "stacked", "unstacked"]

BLOCK = 50
"""Seeds in a packed file at most; a block starts at a multiple of it."""

KEPT_BITS = {"step": 14, "layer": 10}
"""Bits kept of a float32's 23 in a series by step, and by step and layer: relative error 2^-15 and 2^-11.

Everything else (evaluations, confusion matrices) stays exact.
"""

_QUANTITY = "quantity_of_"


def _last(variable: xr.DataArray) -> str:
    return str(variable.dims[-1])


def stacked(dataset: xr.Dataset) -> xr.Dataset:
    """Return the dataset with its series by step stacked along new dimensions, one for each of `KEPT_BITS`."""
    for dim in KEPT_BITS:
        names = [n for n, v in dataset.data_vars.items() if "step" in v.dims and _last(v) == dim]
        if names:
            together = dataset[names].to_array(_QUANTITY + dim).transpose(_QUANTITY + dim, ...)
            dataset = dataset.drop_vars(names).assign({f"by_{dim}": together})
    return dataset


def unstacked(dataset: xr.Dataset) -> xr.Dataset:
    """Return the dataset as it was before `stacked`, order of variables and their attributes aside."""
    for dim in KEPT_BITS:
        if (name := f"by_{dim}") in dataset:
            series = dataset[name].to_dataset(_QUANTITY + dim)
            dataset = dataset.drop_vars(name).drop_vars(_QUANTITY + dim, errors="ignore").merge(series)
    return dataset


def rounding(dataset: xr.Dataset) -> dict[str, dict[str, object]]:
    """Return the netCDF encoding that rounds a stacked dataset's series."""
    return {
        f"by_{dim}": {"significant_digits": bits, "quantize_mode": "BitRound"}
        for dim, bits in KEPT_BITS.items()
        if f"by_{dim}" in dataset
    }


def _span(times: Iterable[str]) -> str:
    """Return when runs were made, from times in UTC and spans of them: one time, or the first and the last.

    >>> _span(["2026-11-25T12:00:00+00:00", "2026-11-25T09:00:00 to 2026-11-25T13:00:00+00:00"])
    '2026-11-25T09:00:00 to 2026-11-25T13:00:00+00:00'
    """
    moments = sorted({moment[:19] for span in times for moment in span.split(" to ")})
    return " to ".join(dict.fromkeys((moments[0], moments[-1]))) + "+00:00"


def joined_attributes(parts: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return the provenance of several runs as one: mean seconds, and what differs listed.

    Settings written in full and settings of which only the changed ones were written are joined into the full ones.

    >>> joined_attributes([{"torch": "2.14", "seconds": "5"}, {"torch": "2.14", "seconds": "7"}])
    {'torch': '2.14', 'seconds': '6.0'}
    """
    joined = {}
    for name in dict.fromkeys(name for part in parts for name in part):
        values = [part[name] for part in parts if name in part]
        if name == "seconds":
            joined[name] = str(sum(map(float, values)) / len(values))
        elif name == "made":
            joined[name] = _span(values)
        elif all(value.startswith("{") for value in values):
            joined[name] = json.dumps({k: v for value in values for k, v in json.loads(value).items()})
        else:
            joined[name] = "; ".join(dict.fromkeys(values))
    return joined


def blocks(seeds: Iterable[int]) -> list[list[int]]:
    """Return ascending seeds in runs of consecutive ones, cut at multiples of `BLOCK`.

    >>> blocks([0, 1, 2, 5, 49, 50])
    [[0, 1, 2], [5], [49], [50]]
    """
    keyed = groupby(enumerate(seeds), key=lambda pair: (pair[1] - pair[0], pair[1] // BLOCK))
    return [[seed for _, seed in group] for _, group in keyed]
