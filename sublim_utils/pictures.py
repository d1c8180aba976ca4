"""The first layer's weights as pictures: what a training changed, unit by unit, for chapter 01."""

import xarray as xr
from torch import Tensor

from sublim_utils import theory
from sublim_utils.mlp import MLP

VERSION = 1
"""Part of the address of what is stored: raise it when a change alters what a function here returns."""

SIDE = 28  # pixels


def first_layer(mlp: MLP, theta_0: Tensor, theta_t: Tensor, theta_s: Tensor, n: int) -> xr.Dataset:
    """Return what teacher and student changed in the first layer, and how their whole displacements compare.

    Variables: ``picture`` (network, unit, row, column), the change of the weights into the n hidden units that
    changed most in the teacher; ``cosine`` of theta_S - theta_0 with theta_T - theta_0, and ``ratio`` of their lengths.

    Parameters
    ----------
    theta_0, theta_t, theta_s : reference, teacher and student, (P,)
    """
    change = {"teacher": theta_t - theta_0, "student": theta_s - theta_0}
    weights = {name: mlp.unflatten(d)[0][0] for name, d in change.items()}
    units = weights["teacher"].norm(dim=0).argsort(descending=True)[:n]
    shown = [w[:, units].T.reshape(-1, SIDE, SIDE).numpy() for w in weights.values()]
    coords = {"network": list(change), "unit": units.numpy()}
    return xr.Dataset(
        {
            "picture": (("network", "unit", "row", "column"), shown),
            "cosine": theory.cosine(change["teacher"], change["student"]),
            "ratio": float(change["student"].norm() / change["teacher"].norm()),
        },
        coords,
    )
