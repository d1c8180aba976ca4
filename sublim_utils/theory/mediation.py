r"""Which part of the update carries the trait? Parts exchanged between a student and one of another teacher.

The update u_t of a student has a drive on each part of the trait loss, equation (eq-parts),

    a_disc = u_t . grad L_disc,   a_free = u_t . grad L_free,

and the rest. In an exchange one or both drives of a student are set, at every step, to those that its donor has at the
same step, by the smallest change of u_t that does so; the rest, Adam's state included, is the student's own. An
exchange within one layer does the same with that layer's part of u_t and of the gradients, and leaves the other layers
alone. Donor and students start alike, see the same inputs and trait batches, and differ in the teacher.

Unlike a projection, this holds nothing where it was: a part is given *another* teacher's drive, so that what the
student then reads could fall or not. Assumed: that drives at equal steps are comparable though the students part, and
that what a drive carries does not depend on the rest of the update.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import xarray as xr
from torch import Tensor

from sublim_utils.engine.look import Look
from sublim_utils.engine.students import Training
from sublim_utils.engine.vectors import dot, with_inner
from sublim_utils.runs.filling import Advance
from sublim_utils.runs.lab import Lab
from sublim_utils.runs.stored import stored
from sublim_utils.settings import Condition, Settings

__all__ = ["ARMS", "KEPT", "PARTS", "VERSION", "Arm", "Exchange", "exchanged", "share_of_gap"]

VERSION = 2
"""Part of the address of what is stored: raise it when a change alters what a function here returns."""

PARTS = ("disc", "free")
KEPT = ("accuracy", "centred_accuracy", "test_loss", "test_disc", "heldout_loss")


@dataclass(frozen=True)
class Arm:
    """A student of the `teacher` "own" or "other", and the parts whose drives are another's student's.

    `layer` is the number of the one layer within which they are, from 0; None stands for the whole network.
    """

    teacher: str
    given: tuple[str, ...] = ()
    layer: int | None = None


ARMS: Mapping[str, Arm] = {
    "own": Arm("own"),
    "cross": Arm("other"),
    "own, L_disc from cross": Arm("own", ("disc",)),
    "own, L_free from cross": Arm("own", ("free",)),
    "own, both from cross": Arm("own", PARTS),
    "cross, L_disc from own": Arm("other", ("disc",)),
    "cross, L_free from own": Arm("other", ("free",)),
    "cross, both from own": Arm("other", PARTS),
    "own, L_disc in layer 1 from cross": Arm("own", ("disc",), layer=0),
    "own, L_disc in layer 2 from cross": Arm("own", ("disc",), layer=1),
    "cross, L_disc in layer 1 from own": Arm("other", ("disc",), layer=0),
    "cross, L_disc in layer 2 from own": Arm("other", ("disc",), layer=1),
}
"""The students of an exchange: the two donors first, then each of them with the other's drives.

The last layer has no arm: its class head is never moved, its auxiliary head does not reach the class logits, so that
both drives are 0 there.
"""


class Exchange(Training):
    """The training of `ARMS`, all side by side, as one ensemble with these conditions in their order."""

    def intervene(self, update: Tensor, look: Look, known: Mapping[str, Tensor], step: int) -> Sequence[int]:
        """Set the drives of each arm that is given some; return their numbers."""
        del look, step
        parts = {"disc": known["discrimination"], "free": known["trait"] - known["discrimination"]}
        arms = list(ARMS.values())
        changed = [i for i, arm in enumerate(arms) if arm.given]
        for i in changed:
            arm = arms[i]
            where = slice(None) if arm.layer is None else self.parts[arm.layer]
            donor = next(j for j, other in enumerate(arms) if other.teacher != arm.teacher and not other.given)
            givers = {name: donor if name in arm.given else i for name in PARTS}
            wanted = [dot(update[:, j, where], parts[name][:, j, where]) for name, j in givers.items()]
            basis = torch.stack([parts[name][:, i, where] for name in PARTS])
            with_inner(update[:, i, where], basis, torch.stack(wanted))
        return changed


@stored(kind="mediation", part="exchange", version=VERSION, steps=lambda settings: settings.n_steps)
def exchanged(lab: Lab, seed: int, advance: Advance, *, settings: Settings) -> xr.Dataset:
    """Return the evaluations of a seed's `ARMS`, the variables `KEPT`, dims (arm, eval)."""
    conditions = {name: Condition(teacher=arm.teacher) for name, arm in ARMS.items()}
    runs = lab.distilled(settings, conditions, seed, advance=lambda: advance(1), training=Exchange)
    return runs[list(KEPT)].isel(seed=0, drop=True).rename(condition="arm")


def share_of_gap(values: xr.DataArray, arm: str) -> tuple[xr.DataArray, xr.DataArray]:
    """Return, seed by seed, how far above "cross" an arm ends, and how far "own" does: for a ratio of means.

    `values` is a quantity of the evaluations, dims (seed, arm, eval).
    """
    last = values.isel(eval=-1, drop=True)
    cross = last.sel(arm="cross", drop=True)
    return last.sel(arm=arm, drop=True) - cross, last.sel(arm="own", drop=True) - cross
