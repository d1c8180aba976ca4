"""Intervals and paired comparisons over seeds: the one place every interval comes from."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats
import xarray as xr

__all__ = [
    "LEVEL",
    "Interval",
    "Paired",
    "band",
    "bootstrap_interval",
    "compare",
    "holm",
    "mean_interval",
    "over_pairs",
    "paired",
    "rank_correlation",
    "ratio_of_means",
    "share_interval",
    "upper_end",
]

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval of confidence `LEVEL` and the number of seeds behind it."""

    estimate: float
    low: float
    high: float
    n: int

    def numbers(self, spec: str) -> str:
        """Return "0.561 [0.520, 0.602]"; the estimate alone where low = high, since no interval was found.

        `spec` is that of each number (".3f").
        """
        estimate, low, high = (format(v, spec) for v in (self.estimate, self.low, self.high))
        return estimate if self.low == self.high else f"{estimate} [{low}, {high}]"

    def __format__(self, spec: str) -> str:
        """Format as "0.561 [0.520, 0.602], n = 4"."""
        return f"{self.numbers(spec or '.3f')}, n = {self.n}"

    def __str__(self) -> str:
        return format(self)


def mean_interval(values: Sequence[float] | np.ndarray | xr.DataArray) -> Interval:
    """Return mean +- t_(n-1) s / sqrt(n) over independent seeds (s with ddof 1).

    Raises
    ------
    ValueError
        If there are fewer than two values, or one is not finite.

    >>> print(mean_interval([1.0, 2.0, 3.0]))
    2.000 [-0.484, 4.484], n = 3
    """
    values = np.asarray(values, dtype=float).ravel()
    if len(values) < 2 or not np.isfinite(values).all():
        raise ValueError(f"an interval needs at least two finite values, not {values}")
    mean, error = values.mean(), scipy.stats.sem(values)
    half = error * scipy.stats.t.ppf((1 + LEVEL) / 2, len(values) - 1)
    return Interval(float(mean), float(mean - half), float(mean + half), len(values))


def band(values: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray]:
    """Return mean, low and high over the dimension seed, as `mean_interval` at every point."""
    n = values.sizes["seed"]
    mean, error = values.mean("seed"), values.std("seed", ddof=1) / n**0.5
    half = error * scipy.stats.t.ppf((1 + LEVEL) / 2, n - 1)
    return mean, mean - half, mean + half


def bootstrap_interval(statistic: Callable[..., np.ndarray], *samples: np.ndarray, resamples: int = 9999) -> Interval:
    """Return a statistic of paired samples over seeds with its BCa bootstrap interval.

    `statistic` takes the samples and `axis`; seeds are resampled together in all samples.
    Where BCa is undefined (all resamples alike) the interval is the estimate itself.

    Raises
    ------
    ValueError
        If there are fewer than two seeds.
    """
    arrays = tuple(np.asarray(sample, dtype=float) for sample in samples)
    n = len(arrays[0])
    if n < 2:
        raise ValueError(f"an interval needs at least two seeds, not {n}")
    estimate = float(statistic(*arrays, axis=-1))
    if all(np.ptp(a) == 0 for a in arrays):
        return Interval(estimate, estimate, estimate, n)
    with warnings.catch_warnings(), np.errstate(invalid="ignore"):
        warnings.simplefilter("ignore", scipy.stats.DegenerateDataWarning)  # all resamples alike: see below
        ends = scipy.stats.bootstrap(
            arrays, statistic, paired=True, confidence_level=LEVEL, n_resamples=resamples,
            method="BCa" if n > 2 else "percentile", rng=np.random.default_rng(0),
        ).confidence_interval  # fmt: skip
    low, high = (estimate if np.isnan(v) else float(v) for v in ends)
    return Interval(estimate, low, high, n)


def ratio_of_means(a: np.ndarray, b: np.ndarray, axis: int = -1) -> np.ndarray:
    """Return mean(a) / mean(b) along `axis`.

    >>> float(ratio_of_means(np.array([1.0, 2.0]), np.array([2.0, 4.0])))
    0.5
    """
    return np.asarray(np.mean(a, axis=axis) / np.mean(b, axis=axis))


def rank_correlation(x: np.ndarray, y: np.ndarray, axis: int = -1) -> np.ndarray:
    """Return Spearman's correlation: Pearson's of the ranks along `axis` (ties: their mean rank).

    It is 0 where all values of one are alike and there is no order to agree on.

    >>> float(rank_correlation(np.array([1, 2, 3, 4]), np.array([1, 4, 9, 7])))
    0.8
    """
    a, b = (scipy.stats.rankdata(values, axis=axis) for values in (x, y))
    a, b = (ranks - ranks.mean(axis, keepdims=True) for ranks in (a, b))
    size = np.asarray(np.sqrt((a**2).sum(axis) * (b**2).sum(axis)))
    return np.divide((a * b).sum(axis), size, out=np.zeros(size.shape), where=size > 0)


@dataclass(frozen=True)
class Paired:
    """A paired comparison of two conditions over the seeds they share.

    difference : mean of a - b with its t-interval
    effect : Cohen's d_z, mean / standard deviation of the differences
    p_value : two-sided Wilcoxon signed-rank test (smallest possible: 2^(1 - n))
    """

    difference: Interval
    effect: float
    p_value: float


def paired(a: xr.DataArray | np.ndarray, b: xr.DataArray | np.ndarray) -> Paired:
    """Compare a with b, one value per shared seed.

    Raises
    ------
    ValueError
        As `mean_interval`.
    """
    difference = np.asarray(a, dtype=float) - np.asarray(b, dtype=float)
    spread = difference.std(ddof=1)
    p_value = scipy.stats.wilcoxon(difference).pvalue if np.any(difference) else 1.0
    effect = float(difference.mean() / spread) if spread else float("nan")
    return Paired(mean_interval(difference), effect, float(p_value))


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Return Holm's adjusted p-values: the family's error rate is held for m comparisons.

    p_(i) -> max over j <= i of min(1, (m - j + 1) p_(j)), in ascending order.

    >>> [round(float(p), 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def compare(values: xr.DataArray, against: str) -> dict[str, tuple[Paired, float]]:
    """Compare every condition with the one named `against`, over seeds.

    `values` has the dimensions (seed, condition). Returns each condition's comparison and its
    p-value after Holm's correction over all of them.
    """
    others = [str(name) for name in values["condition"].values if name != against]
    comparisons = [paired(values.sel(condition=name), values.sel(condition=against)) for name in others]
    adjusted = holm([one.p_value for one in comparisons])
    return {name: (one, float(p)) for name, one, p in zip(others, comparisons, adjusted, strict=True)}


def share_interval(holds: Sequence[bool] | np.ndarray | xr.DataArray) -> Interval:
    """Return the share of seeds of which something holds, with its exact binomial interval (Clopper, Pearson).

    >>> print(share_interval([True, True, True, False]))
    0.750 [0.194, 0.994], n = 4
    """
    holds = np.asarray(holds, dtype=bool).ravel()
    test = scipy.stats.binomtest(int(holds.sum()), len(holds))
    ends = test.proportion_ci(LEVEL, method="exact")
    return Interval(float(test.statistic), float(ends.low), float(ends.high), len(holds))


def over_pairs(values: xr.DataArray) -> xr.DataArray:
    """Return the mean over the two seeds of each pair, 2k and 2k + 1, which share their teachers; dims (pair, ...).

    >>> over_pairs(xr.DataArray([1.0, 3.0, 5.0], dims="seed", coords={"seed": [100, 101, 103]})).values.tolist()
    [2.0, 5.0]
    """
    return values.groupby((values["seed"] // 2).rename("pair")).mean("seed")


def upper_end(interval: Interval) -> Interval:
    """Return an interval's upper end as an interval, for a criterion that only a mean below it contradicts."""
    return Interval(interval.high, interval.high, interval.high, interval.n)
