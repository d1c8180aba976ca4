"""What is recorded of a training, and its labels: the one place that names the quantities."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from sublim_utils.engine.architectures import network_of
from sublim_utils.engine.interventions import dot
from sublim_utils.settings import N_CLASS, Settings

STEP, LAYER, EVAL = ("step",), ("step", "layer"), ("eval",)
QUANTITIES = {
    "distill_loss": (STEP, "loss minimised, on the step's batch (nats, or squared logits)"),
    "trait_loss": (STEP, "L_T before the step, on its batch of real images (nats)"),
    "trait_loss_end": (STEP, "L_T after the step, on the next step's batch: the same one where it is fixed (nats)"),
    "inner": (LAYER, "<trait gradient, distillation gradient>"),
    "trait_norm": (LAYER, "|trait gradient|"),
    "distill_norm": (LAYER, "|distillation gradient|"),
    "inner_applied": (STEP, "<trait gradient, gradient applied>"),
    "applied_norm": (STEP, "|gradient applied|, after penalties and interventions"),
    "drive": (LAYER, "<trait gradient before the step, theta_(t+1) - theta_t>"),
    "drive_end": (LAYER, "<trait gradient after the step, on the next step's batch, theta_(t+1) - theta_t>"),
    "update_norm": (STEP, "|theta_(t+1) - theta_t|"),
    "inner_displacement": (STEP, "<-distillation gradient, D_T>, D_T = theta_T - theta_0"),
    "progress": (STEP, "<theta_t - theta_0, D_T> / |D_T|^2"),
    "test_loss": (EVAL, "L_T on the test images (nats)"),
    "heldout_loss": (EVAL, "distillation loss on held-out inputs"),
    "accuracy": (EVAL, "share of test images classified right"),
    "class_accuracy": ((*EVAL, "class"), "share of each class's test images classified right"),
    "confusion": (("class", "predicted"), "test images of class i read as j after training"),
}
"""Every recorded quantity: its dimensions beside (seed, condition), and what it is."""


def sizes_of(settings: Settings) -> dict[str, int]:
    """Return the length of each dimension beside seed and condition."""
    return {
        "step": settings.n_steps,
        "layer": len(network_of(settings).parts),
        "eval": len(settings.eval_steps()),
        "class": N_CLASS,
        "predicted": N_CLASS,
    }


class Recorder:
    """Tensors (seed, condition, ...) on the device, filled as training goes, without a sync."""

    def __init__(
        self, settings: Settings, layers: Sequence[slice], n_seeds: int, n_conditions: int, device: torch.device
    ) -> None:
        self.settings, self.layers = settings, layers
        sizes = sizes_of(settings)
        self.values = {
            name: torch.full((n_seeds, n_conditions, *(sizes[d] for d in dims)), torch.nan, device=device)
            for name, (dims, _) in QUANTITIES.items()
        }

    def by_layer(self, a: Tensor, b: Tensor) -> Tensor:
        """Return <a, b> of each layer, (seed, condition, layer)."""
        return torch.stack([dot(a[..., part], b[..., part]) for part in self.layers], dim=-1)

    def write(self, step: int, quantities: Mapping[str, Tensor]) -> None:
        """Record quantities of one step, each (seed, condition) or (seed, condition, layer)."""
        for name, value in quantities.items():
            self.values[name][:, :, step] = value

    def gradients(self, step: int, trait: Tensor, distill: Tensor, applied: Tensor) -> None:
        """Record the alignment of the three gradients at theta_t."""
        self.write(
            step,
            {
                "inner": self.by_layer(trait, distill),
                "trait_norm": self.by_layer(trait, trait).sqrt(),
                "distill_norm": self.by_layer(distill, distill).sqrt(),
                "inner_applied": dot(trait, applied),
                "applied_norm": dot(applied, applied).sqrt(),
            },
        )

    def evaluation(self, point: int, evaluated: Mapping[str, Tensor]) -> None:
        """Record an evaluation; the last one's confusion matrix stays."""
        counts = evaluated["confusion"]
        right = counts.diagonal(dim1=-2, dim2=-1)
        self.write(
            point,
            {
                "test_loss": evaluated["test_loss"],
                "heldout_loss": evaluated["heldout_loss"],
                "accuracy": right.sum(-1) / counts.sum((-2, -1)),
                "class_accuracy": right / counts.sum(-1).clamp(min=1),
            },
        )
        self.values["confusion"].copy_(counts)

    def dataset(self, seeds: Sequence[int], names: Sequence[str]) -> xr.Dataset:
        """Return everything recorded, labelled, on the CPU; float32, confusion int32."""
        variables = {
            name: (("seed", "condition", *dims), self.values[name].cpu().numpy(), {"long_name": text})
            for name, (dims, text) in QUANTITIES.items()
        }
        dataset = xr.Dataset(
            variables,
            coords={"seed": list(seeds), "condition": list(names), "eval": list(self.settings.eval_steps())},
        )
        counts = dataset["confusion"]
        if bool(np.isfinite(counts).all()):
            dataset["confusion"] = counts.astype("int32").assign_attrs(counts.attrs)
        return dataset
