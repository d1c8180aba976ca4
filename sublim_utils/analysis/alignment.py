"""Alignment of gradients, derived from what a run recorded: cosines, fractions, shares."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import xarray as xr

from sublim_utils.analysis.knowledge import gain

__all__ = [
    "Part",
    "applied_cosine",
    "approach",
    "cosine",
    "displacement_cosine",
    "drive_cosine",
    "falls_to",
    "fraction_positive",
    "gain_share",
    "half_point",
    "noise_free_square",
    "per_epoch",
    "random_cosines",
    "slope",
    "smooth",
    "trait_loss_change",
]


Part = Literal["trait", "disc", "free"]
"""What a trait gradient is taken of: L_T, or a part of it."""


def cosine(runs: xr.Dataset, *, of: Part = "trait", layer: bool = False) -> xr.DataArray:
    r"""Return cos(trait gradient, distillation gradient) at every step, in [-1, 1].

    Whole: g . g_S / (|g| |g_S|), each a sum over layers, dims (seed, condition, step); with `layer`, that of each layer
    by itself, with the dimension layer too. g is the gradient `of` L_T, or of a part of it, equation (eq-parts):
    L_disc, which tells digits apart, or L_free = L_T - L_disc, which needs no label. NaN where a gradient is exactly 0.
    """
    inner, size = _gradient(runs, of)
    sizes = (size, runs["distill_norm"])
    if not layer:
        inner = inner.sum("layer")
        sizes = tuple(np.sqrt((size**2).sum("layer")) for size in sizes)
    product = sizes[0] * sizes[1]
    return (inner / product.where(product > 0)).rename("cosine")


def _gradient(runs: xr.Dataset, of: Part) -> tuple[xr.DataArray, xr.DataArray]:
    """Return the inner product with the distillation gradient, and the norm, of the gradient `of` a part, by layer."""
    if of == "trait":
        return runs["inner"], runs["trait_norm"]
    if of == "disc":
        return runs["inner_disc"], runs["disc_norm"]
    square = runs["trait_norm"] ** 2 + runs["disc_norm"] ** 2 - 2 * runs["inner_parts"]
    return runs["inner"] - runs["inner_disc"], np.sqrt(square.clip(min=0))


def drive_cosine(runs: xr.Dataset) -> xr.DataArray:
    r"""Return cos(trait gradient, -(theta_(t+1) - theta_t)): the alignment of the actual update."""
    trait = np.sqrt((runs["trait_norm"] ** 2).sum("layer"))
    return (-runs["drive"].sum("layer") / (trait * runs["update_norm"])).rename("drive_cosine")


def applied_cosine(runs: xr.Dataset) -> xr.DataArray:
    r"""Return cos(trait gradient, gradient applied): after penalties and projections, before the optimiser."""
    trait = np.sqrt((runs["trait_norm"] ** 2).sum("layer"))
    return (runs["inner_applied"] / (trait * runs["applied_norm"])).rename("applied_cosine")


def per_epoch(series: xr.DataArray, steps_per_epoch: int) -> xr.DataArray:
    """Return the mean over each epoch's steps, with the dimension epoch (1 ... E) for step."""
    epoch = np.arange(series.sizes["step"]) // steps_per_epoch + 1
    return series.assign_coords(epoch=("step", epoch)).groupby("epoch").mean("step")


def fraction_positive(series: xr.DataArray) -> xr.DataArray:
    """Return the share of steps at which the series is above 0, one value per run."""
    return (series > 0).mean("step")


def smooth(series: xr.DataArray, width: int) -> xr.DataArray:
    """Return the mean over the `width` steps around each step (fewer at the ends)."""
    return series.rolling(step=width, center=True, min_periods=1).mean()


def displacement_cosine(runs: xr.Dataset) -> xr.DataArray:
    """Return cos(-distillation gradient, D_T) at every step, of students that start at the reference."""
    size = runs["distance"].isel(step=0, drop=True)  # |D_T|
    distill = np.sqrt((runs["distill_norm"] ** 2).sum("layer"))
    return (runs["inner_displacement"] / (distill * size)).rename("displacement_cosine")


def approach(runs: xr.Dataset) -> xr.Dataset:
    """Return at every step how a student comes towards its teacher, where theory's last theorem bounds a linear one.

    ``one_point``: -g_S . (theta_T - theta_t) / L_S, of a linear student at least 1. ``gamma``: the same over both KL
    divergences, KL(p_T || p) + KL(p || p_T), whose sum it is in a linear student; what it falls short of 1 by is the
    logits' bend. ``nearness``: 2 d . D_T / |d|^2 with d = theta_t - theta_0, above 1 while the student is nearer to its
    teacher than at its start; NaN where it has not moved. ``nears``: whether the step brought it nearer, 0 or 1; NaN
    for the last, whose end is not recorded.
    """
    size = runs["distance"].isel(step=0, drop=True)  # |D_T|
    squares = runs["travelled"] ** 2
    falls = (runs["distance"].diff("step", label="lower") < 0).astype(float)
    return xr.Dataset(
        {
            "one_point": runs["one_point"] / runs["distill_loss"],
            "gamma": runs["one_point"] / (runs["distill_loss"] + runs["reverse_kl"]),
            "nearness": 2 * runs["progress"] * size**2 / squares.where(squares > 0),
            "nears": falls.pad(step=(0, 1)),
        }
    )


def random_cosines(n_parameters: int, n: int, rng: np.random.Generator) -> np.ndarray:
    r"""Draw n cosines of a fixed vector with random directions in `n_parameters` dimensions.

    A random direction z / |z| (z normal) sees every fixed vector alike, so the cosine is that
    with the first axis, z_1 / |z|: mean 0, standard deviation 1 / sqrt(P).
    """
    return np.array([z[0] / np.linalg.norm(z) for z in (rng.standard_normal(n_parameters) for _ in range(n))])


def noise_free_square(small: xr.DataArray, large: xr.DataArray, n_small: int, n_large: int) -> xr.DataArray:
    r"""Return |g_T|^2 without sampling noise, from squared norms at two batch sizes.

    A batch of B independent images gives E|g_T^B|^2 = |g_T|^2 + tau^2 / B (tau^2 the variance of
    one image's gradient), so |g_T|^2 is the difference of B |g_T^B|^2 at both sizes over that of B.

    >>> float(noise_free_square(xr.DataArray(4 + 8 / 2), xr.DataArray(4 + 8 / 16), 2, 16))
    4.0
    """
    return (n_large * large - n_small * small) / (n_large - n_small)


def gain_share(accuracy: xr.DataArray) -> xr.DataArray:
    """Return (A_e - A_0) / (A_E - A_0), the share of the final gain reached at each evaluation e.

    A is the mean over seeds if it has no dimension seed; 0 / 0 is NaN.
    """
    gain = accuracy - accuracy.isel(eval=0)
    return (gain / gain.isel(eval=-1)).rename("gain_share")


def trait_loss_change(runs: xr.Dataset) -> xr.DataArray:
    """Return L_T on the test images after training minus before (nats), one value per run."""
    return gain(runs["test_loss"]).rename("trait_loss_change")


def slope(x: Sequence[float], y: xr.DataArray, dim: str = "condition") -> xr.DataArray:
    """Return the least-squares slope of y along `dim`, taken at the points x."""
    centred = xr.DataArray(np.asarray(x, dtype=float) - np.mean(x), dims=dim)
    return (centred * y).sum(dim) / (centred**2).sum()


def half_point(x: Sequence[float], y: Sequence[float]) -> float:
    """Return the x at which y first comes half of the way from its first to its last point.

    x ascends; y is made monotone by its running extreme and interpolated linearly, so the
    answer needs no particular points, but it is no finer than their spacing. NaN where the way
    is 0.

    >>> half_point([0, 1, 5], [2.0, 3.0, 6.0])
    2.333333333333333
    """
    values = np.asarray(y, dtype=float)
    if values[-1] == values[0]:
        return float("nan")
    way = np.maximum.accumulate((values - values[0]) / (values[-1] - values[0]))
    return falls_to(0.5, x, (1 - way).tolist())


def falls_to(level: float, x: Sequence[float], y: Sequence[float]) -> float:
    """Return the x at which y first comes down to `level`, interpolated linearly between points.

    x ascends. It is x[0] if y starts there or below, and x[-1] if y never comes down to it: read
    that as "at least".

    >>> falls_to(2.0, [0, 1, 3], [6.0, 4.0, 0.0])
    2.0
    """
    y = np.asarray(y, dtype=float)
    below = np.flatnonzero(y <= level)
    if not len(below) or below[0] == 0:
        return float(x[below[0]] if len(below) else x[-1])
    before, after = below[0] - 1, below[0]
    way = (y[before] - level) / (y[before] - y[after])
    return float(x[before] + way * (x[after] - x[before]))
