r"""The account of a training: what its steps should do to the trait loss, and what they did.

Notation of the ledger chapter: u_t = theta_(t+1) - theta_t, g_T(theta_t) = grad L_T(theta_t) and H_t its Hessian, L_T
the mean over one fixed set of images. With phi(s) = L_T(theta_t + s u_t), a step changes L_T by

    phi(1) - phi(0) = g_T(theta_t) . u_t + u_t . H_t u_t / 2 + phi''' / 6 + ...                (eq-ledger)
                    = (g_T(theta_t) + g_T(theta_(t+1))) . u_t / 2 - phi''' / 12 + ...          (eq-trapezoid)

so where L_T is smooth the trapezoid is right to second order without a Hessian. Recorded runs must come from
``Settings(trait_batch="fixed")``: with fresh batches the changes do not add up to one of L_T.
"""

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from sublim_utils.analysis.labels import labelled
from sublim_utils.engine.architectures import network_of
from sublim_utils.engine.data import Images
from sublim_utils.engine.ensemble import Ensemble
from sublim_utils.engine.products import fast
from sublim_utils.engine.seeds import generator
from sublim_utils.engine.students import Training
from sublim_utils.runs.filling import Advance
from sublim_utils.runs.lab import Lab
from sublim_utils.runs.stored import stored
from sublim_utils.settings import Condition, Settings, require
from sublim_utils.theory.quantities import Trait

__all__ = [
    "ORDERS",
    "VERSION",
    "acting_curvature",
    "closure",
    "displaced",
    "displacement",
    "first_order",
    "fixed_set",
    "measured",
    "one_step",
    "replay",
    "sampled",
    "sampled_steps",
    "straight_line",
    "trapezoid",
]

VERSION = 1
"""Part of the address of what is stored of replays: raise it when a change alters what they return."""

ORDERS = ("first order", "second order", "trapezoid")


def measured(runs: xr.Dataset) -> xr.DataArray:
    """Return L_T(theta_(t+1)) - L_T(theta_t) of every step (nats), dims (seed, condition, step)."""
    return (runs["trait_loss_end"] - runs["trait_loss"]).rename("measured")


def first_order(runs: xr.Dataset) -> xr.DataArray:
    """Return g_T . u_t of every step and layer (nats): the drive, equation (eq-ledger)."""
    return runs["drive"].rename("first_order")


def trapezoid(runs: xr.Dataset) -> xr.DataArray:
    r"""Return (g_T(theta_t) + g_T(theta_(t+1))) . u_t / 2 of every step and layer (nats), equation (eq-trapezoid).

    Summed over steps it is the trapezoid rule for the path integral of grad L_T, so each
    layer's sum is that layer's share of the measured change, up to third order in u_t.
    """
    return ((runs["drive"] + runs["drive_end"]) / 2).rename("trapezoid")


def closure(accounted: xr.DataArray, change: xr.DataArray) -> xr.DataArray:
    """Return accounted / change, 1 where the account closes; NaN where nothing changed.

    >>> closure(xr.DataArray([-1.0, 2.0]), xr.DataArray([-2.0, 0.0])).values.tolist()
    [0.5, nan]
    """
    return (accounted / change.where(change != 0)).rename("closure")


def fixed_set(settings: Settings, seed: int, images: Images) -> Trait:
    """Return L_T on the very images a seed's students are tracked on if they are fixed, in float64."""
    n, size = settings.n_train, settings.trait_batch_size
    index = torch.randperm(n, generator=generator(seed, "trait-batches"))[:size]
    return Trait(network_of(settings), images.train[index].double(), images.train_labels[index])


def one_step(trait: Trait, before: Tensor, after: Tensor) -> dict[str, float]:
    """Return a step's four entries (nats): first order, second order (exact Hessian), trapezoid, measured.

    `before` and `after` are theta_t and theta_(t+1), (P,). The Hessian of a ReLU network is that of
    the piece theta_t lies in: see `acting_curvature`.
    """
    u, slope = after - before, trait.gradient(before)
    first = float(slope @ u)
    return {
        "first order": first,
        "second order": first + float(trait.curvature(before, u)) / 2,
        "trapezoid": float((slope + trait.gradient(after)) @ u) / 2,
        "measured": float(trait.loss(after) - trait.loss(before)),
    }


def acting_curvature(trait: Trait, before: Tensor, after: Tensor, sizes: np.ndarray) -> np.ndarray:
    r"""Return c(s) = 2 (L_T(theta_t + s u_t) - L_T(theta_t) - s g_T . u_t) / s^2 for each s of `sizes` (nats).

    The curvature that the step shrunk to s u_t meets, equation (eq-acting): u_t . H_t u_t + s phi''' / 3
    + ... on a smooth L_T, so u_t . H_t u_t for s -> 0. On a ReLU network only where s u_t crosses no kink.
    In float64 about s^-2 1e-16 nats are lost to rounding.
    """
    u, base = after - before, trait.loss(before)
    slope = trait.gradient(before) @ u
    return np.array([float(2 * (trait.loss(before + s * u) - base - s * slope) / s**2) for s in sizes.tolist()])


def straight_line(trait: Trait, start: Tensor, end: Tensor, nodes: int = 32) -> np.ndarray:
    r"""Return a_l = integral_0^1 grad_l L_T(start + s d) . d_l ds with d = end - start, (layer,), in nats.

    The integrated gradient (Sundararajan et al., arXiv 1703.01365, equation 1) of L_T over the
    weights, by Gauss-Legendre quadrature: sum_l a_l = L_T(end) - L_T(start), whatever path was
    trained along. Exact for polynomials of degree 2 `nodes` - 1 in s; ReLU kinks cost accuracy.
    """
    at, weights = np.polynomial.legendre.leggauss(nodes)
    d, total = end - start, torch.zeros_like(start)
    for s, weight in zip((at + 1) / 2, weights / 2, strict=True):
        total += float(weight) * trait.gradient(start + float(s) * d)
    return np.array([float(total[part] @ d[part]) for part in trait.mlp.parts.values()])


def replay(
    lab: Lab,
    settings: Settings,
    condition: Condition,
    seed: int,
    steps: Collection[int],
    advance: Callable[[int], object] = lambda _: None,
) -> tuple[Mapping[int, tuple[Tensor, Tensor]], Tensor]:
    """Train one student again and return (theta_t, theta_(t+1)) of some steps, and theta_S at the end.

    All in float64 on the CPU, (P,). Nothing is stored. The trait gradient only watches, so it is taken on one image to
    save time; the weights are the recorded run's.
    `advance` is called with 1 after each step.

    Raises
    ------
    SettingsError
        If the trait gradient acts on the student, and does not just watch.
    """
    require("condition", condition.changed(), not condition.uses_trait, "one on which no trait gradient acts")
    settings = Settings.of(**{**settings.changed(), "trait_batch_size": 1})
    teachers = {condition.teacher: lab.teacher_weights(settings, seed, condition.teacher)}
    task = lab.task(settings)
    with fast(task.device, task.network):
        training = Training(Ensemble(task, {"": condition}, [seed], teachers))
        return _replayed(training, steps, advance)


def _replayed(
    training: Training, steps: Collection[int], advance: Callable[[int], object]
) -> tuple[Mapping[int, tuple[Tensor, Tensor]], Tensor]:
    def now() -> Tensor:
        return training.theta[0, 0].double().cpu()

    pairs = {}
    for step in range(training.ensemble.settings.n_steps):
        before = now() if step in steps else None
        training.step(step)
        advance(1)
        if before is not None:
            pairs[step] = before, now()
    return pairs, now()


def sampled_steps(trait: Trait, pairs: Mapping[int, tuple[Tensor, Tensor]], sizes: Sequence[float]) -> xr.Dataset:
    """Return the entries of some steps and the curvature they meet, dims (at, ...); `at` is the step.

    Variables: ``entry`` (at, order), `one_step`'s (nats); ``acting`` (at, s), `acting_curvature` for the step shrunk to
    s, and ``curvature`` (at,), u_t . H_t u_t (nats).
    """
    rows = []
    for before, after in pairs.values():
        entry = one_step(trait, before, after)
        curvature = 2 * (entry["second order"] - entry["first order"])
        acting = acting_curvature(trait, before, after, np.asarray(sizes))
        rows.append({"entry": list(entry.values()), "curvature": curvature, "acting": acting})
    at, orders = {"at": list(pairs)}, (*ORDERS, "measured")
    entries = labelled(at, [{"entry": row.pop("entry")} for row in rows], {"order": orders})
    return labelled(at, rows, {"s": sizes}).merge(entries)


def displacement(trait: Trait, start: Tensor, end: Tensor) -> xr.Dataset:
    """Return each layer's part in L_T(end) - L_T(start) (nats), dims (way, layer), equation (eq-straight).

    Ways: the "straight line" from start to end, and "start only", grad_l L_T(start) . d_l.
    """
    moved = trait.gradient(start) * (end - start)
    rows = [straight_line(trait, start, end), [float(moved[part].sum()) for part in trait.mlp.parts.values()]]
    layers = range(len(trait.mlp.parts))
    return labelled({"way": ["straight line", "start only"]}, [{"part": row} for row in rows], {"layer": layers})


@stored(kind="curvature", part="sampled steps", version=VERSION, steps=lambda settings, **_: settings.n_steps)
def sampled(
    lab: Lab, seed: int, advance: Advance, *, settings: Settings, at: Sequence[int], sizes: Sequence[float]
) -> xr.Dataset:
    """Return `sampled_steps` of a seed's student, on which nothing is done, at the steps `at`."""
    pairs, _ = replay(lab, settings, Condition(), seed, at, advance)
    return sampled_steps(fixed_set(settings, seed, lab.images(settings)), pairs, sizes)


@stored(kind="curvature", part="displacement", version=VERSION, steps=lambda settings: settings.n_steps)
def displaced(lab: Lab, seed: int, advance: Advance, *, settings: Settings) -> xr.Dataset:
    """Return `displacement` of a seed's student, on which nothing is done."""
    pairs, end = replay(lab, settings, Condition(), seed, [0], advance)
    return displacement(fixed_set(settings, seed, lab.images(settings)), pairs[0][0], end)
