r"""The lazy student's formula beside what it describes: (thm-lazy) of the theory chapter, a seed at a time, in float64.

All students here learn the auxiliary logits of n images of uniform noise; start and directions D_T are those of
`lemma.Start`, with -grad L_T taken on n_trait images. The `stored` functions are called as (lab, seed, advance,
**arguments).
"""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from torch import Tensor

from sublim_utils.analysis.labels import labelled
from sublim_utils.engine.data import Images
from sublim_utils.engine.losses import logit_mask
from sublim_utils.engine.network import MLP
from sublim_utils.runs.filling import Advance
from sublim_utils.runs.lab import Lab
from sublim_utils.runs.stored import stored
from sublim_utils.settings import Settings
from sublim_utils.theory import lazy, quantities
from sublim_utils.theory.lemma import DIRECTIONS, LOSSES, Start, first_images, inputs_of

__all__ = [
    "REAL",
    "SHARE",
    "VERSION",
    "closed_form",
    "imitation_of",
    "integrated_flow",
    "overlap_gap",
    "real_network",
    "trained",
]

VERSION = 1
"""Part of the address of what is stored: raise it when a change alters what a function here returns."""

SHARE = 0.5
"""The step size of every descent here, in units of 1 / lambda_max: below 1, as the theorem asks."""

REAL = (
    "near teacher, squared error",
    "trained teacher, squared error",
    "trained teacher, softmax",
    "trained teacher, softmax, Adam",
)


def imitation_of(settings: Settings, images: Images, seed: int, n: int, loss: str) -> quantities.Imitation:
    """Return a seed's distillation loss on n images of uniform noise, auxiliary logits."""
    noise = inputs_of(images, seed, n)["uniform noise"]
    return quantities.Imitation(MLP.of(settings), noise, logit_mask(settings, "aux"), loss)


def trained(lab: Lab, settings: Settings, seed: int) -> Tensor:
    """Return theta_T of a seed's trained teacher, (P,), float64."""
    return lab.teacher_weights(settings, seed, "own")[0, 0].cpu().double()


@stored(kind="lazy", part="closed form", version=VERSION, steps=2, device="cpu")
def closed_form(
    lab: Lab, seed: int, advance: Advance, *, settings: Settings, n: int, n_trait: int, n_steps: int,
    times: Sequence[float],
) -> xr.Dataset:  # fmt: skip
    """Return the formula of the lazy student (squared error), and the same student trained step by step.

    Variables: ``flow`` (direction, time, quantity), the closed form of the gradient flow; ``descent`` (k, quantity),
    that of gradient descent with D_T the trait gradient, and ``trained`` (k, quantity), the linearised network trained;
    ``size`` = |D_T| (direction,); ``eta``, the step size. Quantities, with eps = 1: overlap, rate, cosine.

    Parameters
    ----------
    times : in units of 1 / lambda_max
    """
    images = lab.images(settings)
    start = Start.of(first_images(settings, images, n_trait), seed)
    imitation, quantities = imitation_of(settings, images, seed, n, "mse"), ("overlap", "rate", "cosine")
    exact = {name: lazy.LazyStudent.of(imitation, start.theta_0, d) for name, d in start.directions.items()}
    advance(1)
    first, k = exact[DIRECTIONS[0]], np.arange(n_steps + 1)
    top = first.eigenvalues.max()
    eta = SHARE / top
    trained = lazy.descend_linearised(imitation, start.theta_0, start.directions[DIRECTIONS[0]], eta, n_steps)
    advance(1)

    def stacked(series: dict[str, np.ndarray]) -> np.ndarray:
        return np.stack([series[name] for name in quantities], -1)

    flows = [{"flow": stacked(s.flow(np.asarray(times) / top)), "size": s.size} for s in exact.values()]
    dataset = labelled({"direction": DIRECTIONS}, flows, {"time": times, "quantity": quantities})
    descents = {"descent": stacked(first.descent(eta, k)), "trained": stacked(trained)}
    return dataset.assign({"eta": eta, **{name: (("k", "quantity"), v) for name, v in descents.items()}})


@stored(kind="lazy", part="integrated flow", version=VERSION, device="cpu")
def integrated_flow(
    lab: Lab, seed: int, advance: Advance, *, settings: Settings, n: int, n_few: int, n_trait: int,
    times: Sequence[float],
) -> xr.Dataset:  # fmt: skip
    """Return the overlap (time,) by the ``formula`` and by the ``integrated`` flow, on the first n_few of n images.

    D_T is the trait gradient, the loss squared error; times are in units of 1 / lambda_max.
    """
    images = lab.images(settings)
    start, whole = Start.of(first_images(settings, images, n_trait), seed), inputs_of(images, seed, n)
    noise, d_t = whole["uniform noise"][:n_few], start.directions["trait gradient"]
    imitation = quantities.Imitation(MLP.of(settings), noise, logit_mask(settings, "aux"), "mse")
    student = lazy.LazyStudent.of(imitation, start.theta_0, d_t)
    moments = np.asarray(times) / student.eigenvalues.max()
    overlaps = {
        "formula": student.flow(moments)["overlap"],
        "integrated": lazy.flow_linearised(imitation, start.theta_0, d_t, moments),
    }
    advance(1)
    return xr.Dataset({name: ("time", values) for name, values in overlaps.items()}, {"time": list(times)})


@stored(kind="lazy", part="real network", version=VERSION, steps=len(REAL), device="cpu")
def real_network(
    lab: Lab, seed: int, advance: Advance, *, settings: Settings, n: int, n_trait: int,
    n_steps: int, near: float,
) -> xr.Dataset:  # fmt: skip
    """Return the cosine of -grad L_S with D_T along the training of the real student, and by the lazy formula.

    Variables: ``real`` and ``formula`` (run, k), the runs being `REAL` (no formula under Adam: NaN); of the
    trained teacher: its ``distance`` |D_T| and its ``turn``, the cosine of D_T with the trait gradient.

    Parameters
    ----------
    near : distance of the near teacher along the trait gradient, in units of its length
    """
    images = lab.images(settings)
    start = Start.of(first_images(settings, images, n_trait), seed)
    theta_0, close, k = start.theta_0, start.directions["trait gradient"], np.arange(n_steps + 1)
    far, rows = trained(lab, settings, seed) - theta_0, []
    for loss, direction, eps in (("mse", close, near), ("mse", far, 1.0), ("kl", far, 1.0)):
        imitation = imitation_of(settings, images, seed, n, loss)
        formula = lazy.LazyStudent.of(imitation, theta_0, direction)
        eta = SHARE / formula.eigenvalues.max()
        path = lazy.descend(imitation, theta_0, theta_0 + eps * direction, eta, n_steps)
        real = lazy.followed(path, theta_0, eps * direction)["cosine"]
        rows.append({"real": real, "formula": formula.descent(eta, k)["cosine"]})
        advance(1)
    path = lazy.descend_adam(imitation, theta_0, theta_0 + far, settings.student_lr, n_steps)
    rows.append({"real": lazy.followed(path, theta_0, far)["cosine"], "formula": np.full(len(k), np.nan)})
    advance(1)
    cosines = labelled({"run": REAL}, rows, {"k": k})
    return cosines.assign(distance=float(far.norm()), turn=quantities.vector_cosine(far, close))


@stored(
    kind="lazy", part="overlap gap", version=VERSION, steps=lambda scales, **_: len(LOSSES) * len(scales), device="cpu"
)
def overlap_gap(
    lab: Lab, seed: int, advance: Advance, *, settings: Settings, n: int, n_steps: int,
    scales: Sequence[float],
) -> xr.Dataset:  # fmt: skip
    """Return ``gap`` = |overlap of the real student / of the lazy formula - 1| after some steps, (loss, eps).

    The teacher is at eps times the displacement of the seed's trained one.
    """
    images, k, rows = lab.images(settings), np.array([n_steps]), []
    theta_0 = Start.of(first_images(settings, images, 1), seed).theta_0
    far = trained(lab, settings, seed) - theta_0
    for loss in LOSSES:
        imitation = imitation_of(settings, images, seed, n, loss)
        formula = lazy.LazyStudent.of(imitation, theta_0, far)
        eta, gaps = SHARE / formula.eigenvalues.max(), []
        expected = formula.descent(eta, k)["overlap"][0] / formula.size**2
        for eps in scales:
            path = lazy.descend(imitation, theta_0, theta_0 + eps * far, eta, n_steps)
            gaps.append(abs(lazy.followed(path, theta_0, eps * far)["progress"][n_steps] / expected - 1))
            advance(1)
        rows.append({"gap": gaps})
    return labelled({"loss": list(LOSSES)}, rows, {"eps": scales})
