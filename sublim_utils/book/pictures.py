"""The first layer's weights as pictures: what a training changed, unit by unit, for a chapter and the explorer."""

from collections.abc import Mapping, Sequence

import torch
import xarray as xr
from torch import Tensor

from sublim_utils.engine.digits import references
from sublim_utils.engine.network import MLP
from sublim_utils.runs.experiments import EXPERIMENTS
from sublim_utils.runs.filling import Advance
from sublim_utils.runs.lab import Lab
from sublim_utils.runs.stored import stored
from sublim_utils.settings import Condition, Settings

__all__ = ["SIDE", "UNITS", "VERSION", "first_layer", "looked_at", "over_training"]

VERSION = 2
"""Part of the address of what is stored: raise it when a change alters what a function here returns."""

SIDE = 28  # pixels
UNITS = 5  # shown of the first hidden layer


def first_layer(
    mlp: MLP, theta_0: Tensor, theta_t: Tensor, path: Tensor, conditions: Sequence[str], n: int
) -> xr.Dataset:
    """Return what a teacher and students changed in the first layer, and how their whole displacements compare.

    Variables: ``teacher`` (unit, row, column) and ``picture`` (condition, eval, unit, row, column), the change of the
    weights into the n hidden units that changed most in the teacher; ``cosine`` (condition, eval) of theta - theta_0
    with theta_T - theta_0, NaN where nothing moved, and ``ratio`` (condition, eval) of their lengths.

    Parameters
    ----------
    theta_0, theta_t : reference and teacher, (P,)
    path : the students' theta, (eval, condition, P)
    """
    d_t, moved = theta_t - theta_0, (path - theta_0).transpose(0, 1)
    into = {name: mlp.unflatten(d)[0][0] for name, d in (("teacher", d_t), ("picture", moved))}  # (..., pixel, unit)
    units = into["teacher"].norm(dim=0).argsort(descending=True)[:n]
    shown = {name: w[..., units].mT.unflatten(-1, (SIDE, SIDE)).numpy() for name, w in into.items()}
    lengths = moved.norm(dim=-1)
    over, square = ("condition", "eval"), ("unit", "row", "column")
    return xr.Dataset(
        {
            "teacher": (square, shown["teacher"]),
            "picture": ((*over, *square), shown["picture"]),
            "cosine": (over, (moved @ d_t / (lengths * d_t.norm())).numpy()),
            "ratio": (over, (lengths / d_t.norm()).numpy()),
        },
        {"condition": list(conditions), "unit": units.numpy()},
    )


@stored(kind="pictures", part="over training", version=VERSION, steps=lambda settings, **_: settings.n_steps)
def looked_at(
    lab: Lab, seed: int, advance: Advance, *, settings: Settings, conditions: Mapping[str, Condition]
) -> xr.Dataset:
    """Return `first_layer` of one seed's students at each evaluation."""
    theta_t = lab.teacher_weights(settings, seed, "own")[0, 0].cpu()
    theta_0 = references(settings, [seed], torch.device("cpu"))[0, 0]
    path = lab.student_path(settings, conditions, seed, lambda: advance(1))
    change = first_layer(MLP.of(settings), theta_0, theta_t, path, list(conditions), UNITS)
    return change.assign_coords(eval=list(settings.eval_steps()))


def over_training(lab: Lab) -> xr.Dataset:
    """Return `first_layer` of the phenomenon's students, at each evaluation of the first seed's training."""
    phenomenon = EXPERIMENTS["phenomenon"]
    settings, conditions = phenomenon.at(lab.profile)
    first = phenomenon.seeds(lab.profile)[:1]
    return lab.ask(looked_at, list(first), settings=settings, conditions=conditions).isel(seed=0)
