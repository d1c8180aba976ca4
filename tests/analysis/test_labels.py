"""Labels: a case's result is found again under the labels of that case."""

from itertools import product

import numpy as np

from sublim_utils.analysis.labels import labelled

AXES = {"a": ["x", "y", "z"], "b": [1.5, 2.5]}


def test_every_case_keeps_its_results_with_and_without_dimensions_of_its_own():
    cases = list(product(*AXES.values()))
    rows = [{"number": ord(a) * b, "series": b * np.arange(4.0), "name": f"{a}{b}"} for a, b in cases]
    found = labelled(AXES, iter(rows), {"k": range(4)})
    assert dict(found.sizes) == {"a": 3, "b": 2, "k": 4}
    for (a, b), row in zip(cases, rows, strict=True):
        here = found.sel(a=a, b=b)
        assert here["number"] == row["number"]
        assert here["name"] == row["name"]
        np.testing.assert_array_equal(here["series"], row["series"])
