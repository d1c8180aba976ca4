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
    "BASE",
    "FIVES",
    "KEPT",
    "LEARNERS",
    "OFF",
    "SETS",
    "STRENGTHS",
    "TIMES",
    "VERSION",
    "Read",
    "among",
    "by_first",
    "by_last",
    "by_strength",
    "ends",
    "learner_of",
    "runs",
    "variants",
]

VERSION = 1
"""Part of the address of what is stored: raise it when a change alters what is computed, `SETS` too."""

KEPT = ("accuracy", "centred_accuracy", "test_loss", "test_disc", "heldout_loss")

FIVES = {"0 to 4": (0, 1, 2, 3, 4), "5 to 9": (5, 6, 7, 8, 9)}

BASE, OFF = "student (aux)", "update off L_disc"
"""The names of the baseline and of the projection that is varied."""

LEARNERS = ("all logits", "cross-model")
"""The names of the learners other than the baseline, without a projection; with one, their names begin so."""

STRENGTHS = (0.25, 0.5, 0.75, 1.5)
TIMES = ("first 0.25", "first 0.5", "first 1", "first 2", "first 3", "after 0.5", "after 1", "after 2")
"""Of the points of the causal chapter's grid, those at which this projection is run."""

_DISC = {"direction": "discrimination", "side": "two"}
_GRADIENT = replace(OFF_DISC, target="gradient")


def variants(settings: Settings) -> Conditions:
    """Return the students of one training, the baseline first."""
    at_times = {name.partition(", ")[2]: c for name, c in timings(settings, "update", **_DISC).items()}
    return {
        BASE: BASELINE,
        OFF: OFF_DISC,
        "update off L_disc, one-sided": replace(OFF_DISC, side="one"),
        "update off L_disc, layer by layer": replace(OFF_DISC, scope="layer"),
        "update off L_disc, hidden layers": replace(OFF_DISC, scope="hidden"),
        "update off L_disc, other images": replace(OFF_DISC, projection_batch="independent"),
        "update off L_free": replace(OFF_DISC, direction="calibration"),
        "update off both parts": replace(OFF_DISC, direction="both"),
        "update off ten classes": replace(OFF_DISC, direction="classes"),
        "update off the contrasts of 0 to 4": replace(OFF_DISC, direction="five"),
        "gradient off L_disc, one-sided": replace(_GRADIENT, side="one"),
        "gradient off L_free": replace(_GRADIENT, direction="calibration"),
        "gradient off both parts": replace(_GRADIENT, direction="both"),
        "all logits": Condition(logits="all"),
        "all logits, update off L_disc": replace(OFF_DISC, logits="all"),
        "cross-model": CROSS,
        "cross-model, update off L_disc": replace(OFF_DISC, teacher="other"),
        **{f"{OFF} x {c.projection:g}": c for c in doses("update", **_DISC).values() if c.projection in STRENGTHS},
        **{f"{OFF}, {when}": c for when, c in at_times.items() if when in TIMES},
    }


def learner_of(name: str) -> str:
    """Return the name of the same learner without a projection.

    >>> learner_of("all logits, update off L_disc"), learner_of("update off both parts")
    ('all logits', 'student (aux)')
    """
    return next((learner for learner in LEARNERS if name.startswith(learner)), BASE)


def by_strength(settings: Settings) -> dict[float, str]:
    """Return the names of `variants` that differ in the strength alone, by it and ascending; 0 is the baseline's."""
    return {0.0: BASE, **{c.projection: name for name, c in sorted(_plain(settings), key=_strength) if not c.window}}


def by_last(settings: Settings) -> dict[int, str]:
    """Return the names of those projected in the first k steps only, by k and ascending, from none to all."""
    spans = {c.window[1]: name for name, c in _plain(settings) if c.window and c.window[0] == 0}
    return {0: BASE, **dict(sorted(spans.items())), settings.n_steps: OFF}


def by_first(settings: Settings) -> dict[int, str]:
    """Return the names of those projected after k steps only, by k and ascending, from all to none."""
    spans = {c.window[0]: name for name, c in _plain(settings) if c.window and c.window[0] > 0}
    return {0: OFF, **dict(sorted(spans.items())), settings.n_steps: BASE}


def _plain(settings: Settings) -> list[tuple[str, Condition]]:
    """Return the variants that differ from `OFF_DISC` in strength and time alone."""
    return [(n, c) for n, c in variants(settings).items() if replace(c, projection=1.0, window=None) == OFF_DISC]


def _strength(named: tuple[str, Condition]) -> float:
    return named[1].projection


SETS: Mapping[str, tuple[Callable[[Settings], Conditions], Mapping[str, object]]] = {
    "variants": (variants, {}),
    "off the teacher": (lambda _: {"update off the teacher's way": replace(OFF_DISC, direction="displacement")}, {}),
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
    seeds = lab.seeds("sweep")
    sets = [
        lab.ask(ends, seeds, arms=name, settings=lab.profile.settings(**changes)) for name, (_, changes) in SETS.items()
    ]
    return xr.concat(sets, "arm", combine_attrs="override")
