"""What is recorded of a training, and its labels: the one place that names the quantities of a step."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from sublim_utils.engine.vectors import by_part, dot

__all__ = ["LAYER", "STEP", "STEPWISE", "Recorder", "booked", "observed"]

STEP, LAYER = ("step",), ("step", "layer")
STEPWISE = {
    "distill_loss": (STEP, "loss minimised, on the step's batch (nats, or squared logits)"),
    "reverse_kl": (STEP, "KL(student || teacher) on the step's batch (nats); NaN where the loss is no KL"),
    "trait_loss": (STEP, "L_T before the step, on its batch of labelled examples (nats)"),
    "trait_disc": (STEP, "L_disc before the step, on the same batch (nats); L_free = L_T - L_disc"),
    "trait_loss_end": (STEP, "L_T after the step, on the next step's batch: the same one where it is fixed (nats)"),
    "inner": (LAYER, "<g_T, g_S>: trait gradient and distillation gradient"),
    "inner_disc": (LAYER, "<grad L_disc, g_S>; <grad L_free, g_S> = <g_T, g_S> - <grad L_disc, g_S>"),
    "trait_norm": (LAYER, "|g_T|"),
    "disc_norm": (LAYER, "|grad L_disc|"),
    "inner_parts": (LAYER, "<g_T, grad L_disc>"),
    "distill_norm": (LAYER, "|g_S|"),
    "inner_applied": (STEP, "<g_T, gradient applied>"),
    "applied_norm": (STEP, "|gradient applied|, after penalties and interventions"),
    "drive": (LAYER, "<g_T before the step, theta_(t+1) - theta_t>"),
    "drive_disc": (LAYER, "<grad L_disc before the step, theta_(t+1) - theta_t>"),
    "drive_end": (LAYER, "<g_T after the step, on the next step's batch, theta_(t+1) - theta_t>"),
    "update_norm": (STEP, "|theta_(t+1) - theta_t|"),
    "inner_displacement": (STEP, "<-g_S, D_T>, D_T = theta_T - theta_0"),
    "progress": (STEP, "<theta_t - theta_0, D_T> / |D_T|^2"),
    "travelled": (STEP, "|theta_t - theta_0|"),
    "one_point": (STEP, "<-g_S, theta_T - theta_t>"),
    "distance": (STEP, "|theta_T - theta_t|"),
}
"""Every quantity recorded at a step: its dimensions beside (seed, condition), and what it is."""


def observed(
    trait: Tensor, disc: Tensor, distill: Tensor, applied: Tensor, parts: Sequence[slice]
) -> dict[str, Tensor]:
    """Return what is recorded of the gradients at theta_t, before the optimiser acts.

    Parameters
    ----------
    trait, disc, distill, applied : g_T, grad L_disc, g_S and the gradient applied, each (seed, condition, P)
    parts : where each part of the network lies in them
    """
    return {
        "inner": by_part(trait, distill, parts),
        "inner_disc": by_part(disc, distill, parts),
        "inner_parts": by_part(trait, disc, parts),
        "trait_norm": by_part(trait, trait, parts).sqrt(),
        "disc_norm": by_part(disc, disc, parts).sqrt(),
        "distill_norm": by_part(distill, distill, parts).sqrt(),
        "inner_applied": dot(trait, applied),
        "applied_norm": dot(applied, applied).sqrt(),
    }


def booked(trait: Tensor, disc: Tensor, update: Tensor, parts: Sequence[slice]) -> dict[str, Tensor]:
    """Return what is recorded of a step once it is taken: the drive of the update theta_(t+1) - theta_t."""
    return {
        "drive": by_part(trait, update, parts),
        "drive_disc": by_part(disc, update, parts),
        "update_norm": dot(update, update).sqrt(),
    }


class Recorder:
    """Tensors (seed, condition, ...) on the device, filled as training goes, without a sync.

    Parameters
    ----------
    quantities : name -> (dimensions beside (seed, condition), what it is), such as `STEPWISE` and a task's own
    sizes : length of each of those dimensions
    """

    def __init__(
        self,
        quantities: Mapping[str, tuple[tuple[str, ...], str]],
        sizes: Mapping[str, int],
        n_seeds: int,
        n_conditions: int,
        device: torch.device,
    ) -> None:
        self.quantities = quantities
        self.values = {
            name: torch.full((n_seeds, n_conditions, *(sizes[d] for d in dims)), torch.nan, device=device)
            for name, (dims, _) in quantities.items()
        }

    def write(self, at: int, values: Mapping[str, Tensor]) -> None:
        """Record quantities at a step or evaluation; one that has neither dimension replaces what was there."""
        for name, value in values.items():
            if self.quantities[name][0][0] in ("step", "eval"):
                self.values[name][:, :, at] = value
            else:
                self.values[name].copy_(value)

    def dataset(self, coords: Mapping[str, Sequence[object]]) -> xr.Dataset:
        """Return everything recorded, labelled by `coords`, on the CPU; float32, confusion int32."""
        variables = {
            name: (("seed", "condition", *dims), self.values[name].cpu().numpy(), {"long_name": text})
            for name, (dims, text) in self.quantities.items()
        }
        dataset = xr.Dataset(variables, coords={name: list(values) for name, values in coords.items()})
        counts = dataset.get("confusion")
        if counts is not None and bool(np.isfinite(counts).all()):
            dataset["confusion"] = counts.astype("int32").assign_attrs(counts.attrs)
        return dataset
