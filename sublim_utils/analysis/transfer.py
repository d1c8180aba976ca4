"""What settings are compared by: how much a student gains, and what might predict it."""

import xarray as xr

from sublim_utils.analysis.alignment import cosine
from sublim_utils.analysis.knowledge import gain

__all__ = ["MEASURES", "summary"]

MEASURES = {"accuracy": "test accuracy", "cosine": "mean cosine", "drive": "summed drive (nats)"}
"""What is drawn on every axis, of `summary`."""


def summary(runs: xr.Dataset) -> xr.Dataset:
    r"""Return what the sweeps compare, one value per run.

    accuracy A_E and gain A_E - A_0 on the test images; centred and centred_gain, the same of the centred logits;
    cosine and disc_cosine, the means over steps of cos(trait gradient, distillation gradient) and of
    cos(grad L_disc, distillation gradient), NaN where a gradient is 0 throughout; drive, sum_t g_T . u_t (nats).
    """
    return xr.Dataset(
        {
            "accuracy": runs["accuracy"].isel(eval=-1, drop=True),
            "centred": runs["centred_accuracy"].isel(eval=-1, drop=True),
            "gain": gain(runs["accuracy"]),
            "centred_gain": gain(runs["centred_accuracy"]),
            "cosine": cosine(runs).mean("step"),
            "disc_cosine": cosine(runs, of="disc").mean("step"),
            "drive": runs["drive"].sum(["step", "layer"]),
        }
    )
