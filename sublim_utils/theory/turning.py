r"""Why the alignment with one part of the trait lasts: its gradient does not turn where the logits are linear.

L_disc, equation (eq-parts), is linear in the class logits. Where these are linear in the weights, its gradient is one
vector v at every step of a training, and L_disc(theta) - L_disc(theta_0) = v . (theta - theta_0) without a rest. The
gradients of L_T and of L_free turn, as the softmax in them does. Here it is measured how far each turns along the
training of a real student, on one fixed set of labelled images, in float64; and how far each points to where the
teacher went, D_T = theta_T - theta_0, as the distillation gradient does.
"""

import numpy as np
import xarray as xr
from torch import Tensor
from torch.func import grad_and_value

from sublim_utils.analysis.labels import labelled
from sublim_utils.runs.conditions import BASELINE
from sublim_utils.runs.filling import Advance
from sublim_utils.runs.lab import Lab
from sublim_utils.runs.stored import stored
from sublim_utils.runs.sweeps import STUDENT
from sublim_utils.settings import Settings
from sublim_utils.theory.account import fixed_set
from sublim_utils.theory.quantities import Trait, vector_cosine

__all__ = ["PARTS", "VERSION", "turned", "turning"]

VERSION = 2
"""Part of the address of what is stored: raise it when a change alters what a function here returns."""

PARTS = ("trait", "disc", "free")


def turning(trait: Trait, path: Tensor, displacement: Tensor) -> xr.Dataset:
    """Return how far the gradient of each of `PARTS` turns along weights (eval, P), dims (part, eval).

    ``cosine``: of the gradient at each point with that at the first. ``change``: of the loss since the first (nats).
    ``foreseen``: what the first gradient says of it, grad(theta_0) . (theta - theta_0). ``to_teacher``: cosine of minus
    the gradient with the teacher's `displacement` D_T, (P,).
    """

    def of(part: str) -> dict[str, list[float]]:
        def loss(theta: Tensor) -> Tensor:
            return trait.losses(theta)[part]

        gradients, values = zip(*(grad_and_value(loss)(theta) for theta in path), strict=True)
        return {
            "cosine": [vector_cosine(gradients[0], gradient) for gradient in gradients],
            "change": [float(value - values[0]) for value in values],
            "foreseen": [float(gradients[0] @ (theta - path[0])) for theta in path],
            "to_teacher": [vector_cosine(-gradient, displacement) for gradient in gradients],
        }

    return labelled({"part": PARTS}, map(of, PARTS), {"eval": np.arange(len(path))})


@stored(kind="turning", part="gradients", version=VERSION, steps=lambda settings: settings.n_steps)
def turned(lab: Lab, seed: int, advance: Advance, *, settings: Settings) -> xr.Dataset:
    """Return `turning` along a seed's student, on which nothing is done, at its evaluations."""
    path = lab.student_path(settings, {STUDENT: BASELINE}, seed, advance=lambda: advance(1))[:, 0].double()
    teacher = lab.teacher_weights(settings, seed, "own")[0, 0].double().cpu()
    trait = fixed_set(settings, seed, lab.images(settings))
    return turning(trait, path, teacher - path[0]).assign_coords(eval=list(settings.eval_steps()))
