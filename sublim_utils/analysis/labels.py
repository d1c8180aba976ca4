"""Labels for results: a grid of cases, computed one by one, as a dataset."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import xarray as xr

__all__ = ["labelled"]


def labelled(
    axes: Mapping[str, Sequence[object]],
    rows: Iterable[Mapping[str, object]],
    inner: Mapping[str, Sequence[object]] | None = None,
) -> xr.Dataset:
    """Return a grid's results as a dataset with the dimensions `axes`, then those of `inner`.

    Parameters
    ----------
    axes : values of each dimension of the grid
    rows : one mapping of results a case, in the order of ``itertools.product(*axes.values())``
    inner : dimensions of a result that is an array; a number has none of them

    >>> variables = labelled({"a": [1, 2], "b": ["x", "y"]}, [{"v": i} for i in range(4)])
    >>> int(variables["v"].sel(a=2, b="x"))
    2
    """
    rows, coords = list(rows), {name: list(values) for name, values in {**axes, **(inner or {})}.items()}
    shape, variables = [len(values) for values in axes.values()], {}
    for name in rows[0]:
        values = np.array([row[name] for row in rows])
        dims = list(coords)[: len(shape) + values.ndim - 1]
        variables[name] = (dims, values.reshape(*shape, *values.shape[1:]))
    return xr.Dataset(variables, coords)
