r"""What removes the trait, what does not, and at what cost: variants of the projection off grad L_disc.

The projection of the update off grad L_disc (equation (eq-parts), `conditions.OFF_DISC`) is varied in what is projected
and off which direction, in the layers, the batch, its strength and its time; and it is put on students whom it should
not touch, or whom it should stop whatever they learn from. Of these students the evaluations alone are kept, and what
each gained among the digits 0 to 4 and among 5 to 9: a projection off the contrasts of the first five has to leave the
others alone, if it is specific.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
import xarray as xr
from torch import Tensor

from sublim_utils.engine.evaluation import centred_accuracy, logits_of
from sublim_utils.engine.students import Training
from sublim_utils.runs.conditions import BASELINE, CROSS, OFF_DISC, Conditions, doses, timings
from sublim_utils.runs.filling import Advance
from sublim_utils.runs.lab import Lab
from sublim_utils.runs.stored import stored
from sublim_utils.settings import Condition, Settings

__all__ = [
    "FIVES",
    "KEPT",
    "OFF",
    "SETS",
    "VERSION",
    "Read",
    "among",
    "doses_of",
    "ends",
    "runs",
    "timings_of",
    "variants",
]

VERSION = 1
"""Part of the address of what is stored: raise it when a change alters what is computed, `SETS` too."""

KEPT = ("accuracy", "centred_accuracy", "test_loss", "test_disc", "heldout_loss")

FIVES = {"0 to 4": (0, 1, 2, 3, 4), "5 to 9": (5, 6, 7, 8, 9)}

OFF = "update off L_disc"
"""The name of the projection that is varied."""

_GRADIENT = replace(OFF_DISC, target="gradient")


def doses_of() -> dict[float, Condition]:
    """Return the projection at every strength but 0 and 1."""
    return {c.projection: c for c in doses("update", direction="discrimination", side="two").values() if c != OFF_DISC}


def timings_of(settings: Settings) -> dict[tuple[int, int], Condition]:
    """Return the projection in the first k steps only, and after them only, by the steps (first, last + 1)."""
    every = timings(settings, "update", direction="discrimination", side="two")
    return {c.window: c for c in every.values() if c.window and (c.window[0] == 0 or c.window[1] == settings.n_steps)}


def variants(settings: Settings) -> Conditions:
    """Return the students of one training, the baseline first."""
    return {
        "student (aux)": BASELINE,
        OFF: OFF_DISC,
        "update off L_disc, one-sided": replace(OFF_DISC, side="one"),
        "update off L_disc, layer by layer": replace(OFF_DISC, scope="layer"),
        "update off L_disc, hidden layers": replace(OFF_DISC, scope="hidden"),
        "update off L_disc, other images": replace(OFF_DISC, projection_batch="independent"),
        "update off L_free": replace(OFF_DISC, direction="calibration"),
        "update off both parts": replace(OFF_DISC, direction="both"),
        "update off ten classes": replace(OFF_DISC, direction="classes"),
        "update off 45 contrasts": replace(OFF_DISC, direction="contrasts"),
        "update off the contrasts of 0 to 4": replace(OFF_DISC, direction="five"),
        "gradient off L_disc, one-sided": replace(_GRADIENT, side="one"),
        "gradient off L_free": replace(_GRADIENT, direction="calibration"),
        "gradient off both parts": replace(_GRADIENT, direction="both"),
        "gradient off ten classes": replace(_GRADIENT, direction="classes"),
        "all logits": Condition(logits="all"),
        "all logits, update off L_disc": replace(OFF_DISC, logits="all"),
        "cross-model": CROSS,
        "cross-model, update off L_disc": replace(OFF_DISC, teacher="other"),
        "shuffled-label teacher": Condition(teacher="shuffled"),
        "shuffled-label teacher, update off L_disc": replace(OFF_DISC, teacher="shuffled"),
        **{f"{OFF} x {strength:g}": c for strength, c in doses_of().items()},
        **{f"{OFF}, steps {first} to {last}": c for (first, last), c in timings_of(settings).items()},
    }


SETS: Mapping[str, tuple[Callable[[Settings], Conditions], Mapping[str, object]]] = {
    "variants": (variants, {}),
    "large batch": (lambda _: {"update off L_disc, 10,240 images": OFF_DISC}, {"trait_batch_size": 10_240}),
}
"""The students of a training, and what differs in its settings."""


def among(logits: Tensor, labels: Tensor, digits: tuple[int, ...]) -> Tensor:
    """Return the centred accuracy among some digits: on their images, of their logits, (...), 0 to 1.

    >>> z = torch.tensor([[5.0, 0.0, 9.0], [5.0, 1.0, 9.0], [5.0, 0.0, 0.0], [5.0, 1.0, 9.0], [0.0, 0.0, 9.0]])
    >>> float(among(z, torch.tensor([0, 1, 0, 1, 2]), (0, 1)))
    1.0
    """
    chosen = torch.tensor(digits, device=logits.device)
    inside = torch.isin(labels, chosen)
    return centred_accuracy(logits[..., inside, :][..., chosen], torch.searchsorted(chosen, labels[inside]))


class Read(Training):
    """A training after which each student's gain among five digits is read, (seed, condition, digits)."""

    def dataset(self) -> xr.Dataset:
        """Return what was recorded, and `gain_among`."""
        e = self.ensemble
        readings = []
        for theta in (e.reference, self.theta):
            logits = logits_of(e.network, theta, e.task.test)
            readings.append(torch.stack([among(logits, e.task.test_labels, d) for d in FIVES.values()], dim=-1))
        gains = xr.DataArray(
            (readings[1] - readings[0]).cpu().numpy(),
            dims=("seed", "condition", "digits"),
            coords={"digits": list(FIVES)},
            attrs={"long_name": "gain of centred accuracy among five digits, on their images, of their logits"},
        )
        return super().dataset().assign(gain_among=gains)


@stored(kind="removals", part="ends", version=VERSION, steps=lambda arms, settings: settings.n_steps)
def ends(lab: Lab, seed: int, advance: Advance, *, arms: str, settings: Settings) -> xr.Dataset:
    """Return the evaluations of a seed's students of a set, dims (arm, eval), and `gain_among` (arm, digits)."""
    students = SETS[arms][0](settings)
    ended = lab.distilled(settings, students, seed, advance=lambda: advance(1), training=Read)
    return ended[[*KEPT, "gain_among"]].isel(seed=0, drop=True).rename(condition="arm")


def runs(lab: Lab) -> xr.Dataset | None:
    """Return the students of every set, dims (seed, arm, ...); None at a profile without the full grid."""
    if not lab.profile.full_grid:
        return None
    seeds = lab.seeds("sweep", fresh=True)
    sets = [
        lab.ask(ends, seeds, arms=name, settings=lab.profile.settings(**changes)) for name, (_, changes) in SETS.items()
    ]
    return xr.concat(sets, "arm", combine_attrs="override")
