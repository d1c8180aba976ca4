import numpy as np
import pytest
import scipy.stats
import xarray as xr

from sublim_utils.analysis.stats import (
    Interval,
    band,
    bootstrap_interval,
    compare,
    holm,
    mean_interval,
    paired,
    rank_correlation,
)


def test_mean_interval_is_students():
    # Tables: t_(0.975, 3) = 3.182446; the values' s (ddof 1) is sqrt(5 / 3).
    found = mean_interval([1.0, 2.0, 3.0, 4.0])
    half = 3.182446 * (5 / 3) ** 0.5 / 2
    assert (found.estimate, found.n) == (2.5, 4)
    assert (found.low, found.high) == pytest.approx((2.5 - half, 2.5 + half), rel=1e-6)


def test_an_interval_without_width_shows_its_estimate_alone():
    assert f"{Interval(0.5, 0.25, 0.75, 4):.2f}" == "0.50 [0.25, 0.75], n = 4"
    assert Interval(0.5, 0.25, 0.75, 4).numbers(".3g") == "0.5 [0.25, 0.75]"
    assert f"{Interval(0.5, 0.5, 0.5, 4)}" == "0.500, n = 4"
    assert Interval(0.5, float("nan"), float("nan"), 4).numbers(".3g") == "0.5 [nan, nan]"


def test_mean_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(1)
    covered = [m.low <= 0 <= m.high for m in (mean_interval(rng.normal(size=4)) for _ in range(2000))]
    assert np.mean(covered) == pytest.approx(0.95, abs=4 * (0.95 * 0.05 / 2000) ** 0.5)


@pytest.mark.parametrize("values", [[1.0], [], [1.0, np.nan], [1.0, np.inf]])
def test_no_interval_without_two_finite_values(values):
    with pytest.raises(ValueError, match="at least two finite values"):
        mean_interval(values)


def test_clustering_by_seed_is_wider_than_pooling_dependent_steps():
    seeds = np.random.default_rng(0).normal(size=6)
    steps = np.repeat(seeds[:, None], 50, axis=1)  # all steps of a seed alike
    clustered, pooled = mean_interval(steps.mean(axis=1)), mean_interval(steps)
    assert clustered.high - clustered.low > 5 * (pooled.high - pooled.low)


def test_band_is_the_mean_interval_at_every_point():
    values = xr.DataArray(np.random.default_rng(2).normal(size=(5, 3)), dims=("seed", "step"))
    mean, low, high = band(values)
    for i in range(3):
        found = mean_interval(values[:, i])
        assert (mean[i], low[i], high[i]) == pytest.approx((found.estimate, found.low, found.high))


def test_bootstrap_agrees_with_the_normal_formula_for_a_mean_of_many():
    sample = np.random.default_rng(3).normal(5, 2, size=400)
    found, half = bootstrap_interval(np.mean, sample), 1.96 * sample.std(ddof=1) / 20
    assert found.estimate == pytest.approx(sample.mean())
    assert (found.low, found.high) == pytest.approx((sample.mean() - half, sample.mean() + half), abs=0.1 * half)


def test_the_bootstrap_is_bias_corrected_and_accelerated():
    sample = np.exp(np.random.default_rng(0).normal(size=12) * 1.5)  # skewed, where the kinds of interval differ
    ends = {
        method: scipy.stats.bootstrap(
            (sample,), np.mean, method=method, rng=np.random.default_rng(0)
        ).confidence_interval
        for method in ("BCa", "percentile")
    }
    interval = bootstrap_interval(np.mean, sample)
    assert (interval.low, interval.high) == pytest.approx(tuple(ends["BCa"]))
    assert abs(ends["BCa"].high / ends["percentile"].high - 1) > 0.05


def test_bootstrap_resamples_seeds_together():
    a, noise = np.array([1.0, 2.0, 5.0, 9.0]), np.array([0.01, -0.01, 0.02, -0.02])
    ratio = bootstrap_interval(lambda x, y, axis: x.mean(axis) / y.mean(axis), 3 * a + noise, a)
    assert (ratio.low, ratio.high) == pytest.approx((3, 3), abs=0.03)


def test_paired_reads_the_difference_not_the_spread():
    base = np.array([10.0, 20.0, 30.0, 40.0, 50.0])
    found = paired(base + [1.0, 1.1, 0.9, 1.2, 0.8], base)
    assert found.difference.estimate == pytest.approx(1)
    assert found.effect == pytest.approx(1 / np.std([1.0, 1.1, 0.9, 1.2, 0.8], ddof=1))
    assert found.p_value == pytest.approx(2 ** (1 - 5))


def test_paired_of_equals():
    found = paired(np.ones(3), np.ones(3))
    assert (found.difference.estimate, found.p_value) == (0, 1)
    assert np.isnan(found.effect)


def test_holm_on_a_textbook_family():
    # statsmodels: multipletests([0.01, 0.02, 0.03, 0.005], method="holm")
    assert holm([0.01, 0.02, 0.03, 0.005]) == pytest.approx([0.03, 0.04, 0.04, 0.02])
    assert holm([0.5, 0.6]) == pytest.approx([1.0, 1.0])
    assert holm([0.04]) == pytest.approx([0.04])


def test_holm_lies_between_the_raw_values_and_bonferroni():
    p = np.random.default_rng(4).uniform(size=20)
    assert (holm(p) >= p).all()
    assert (holm(p) <= np.minimum(20 * p, 1)).all()
    assert (np.diff(holm(np.sort(p))) >= 0).all()


def test_compare_corrects_over_all_but_the_baseline():
    rng = np.random.default_rng(5)
    values = xr.DataArray(rng.normal(size=(8, 3)), dims=("seed", "condition"), coords={"condition": ["a", "base", "c"]})
    found = compare(values, "base")
    raw = [scipy.stats.wilcoxon(values.sel(condition=n) - values.sel(condition="base")).pvalue for n in ("a", "c")]
    assert list(found) == ["a", "c"]
    assert [p for _, p in found.values()] == pytest.approx(list(holm(raw)))


def test_rank_correlation_is_spearmans_along_the_last_axis():
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(2, 5, 12)).round(1)  # with ties
    expected = [scipy.stats.spearmanr(a, b).statistic for a, b in zip(x, y, strict=True)]
    assert rank_correlation(x, y) == pytest.approx(expected)


def test_rank_correlation_of_a_constant_is_zero():
    assert rank_correlation(np.ones(4), np.arange(4.0)) == 0
    found = bootstrap_interval(rank_correlation, np.arange(4.0), np.array([2.0, 9.0, 4.0, 10.0]))
    assert found.estimate == pytest.approx(0.8)
    assert -1 <= found.low < found.estimate < found.high <= 1  # one point four times is among the resamples
