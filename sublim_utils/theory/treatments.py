r"""Defences that know where the trait is read or how the optimiser works, each tried on a student of the own teacher.

With g the distillation gradient, m and v the moments of Adam and hats for their corrected values (Kingma & Ba), the
step of a student is theta <- theta - eta m^ / (sqrt(v^) + eps). A treatment changes the start, the gradient, the
moments or the step; all students of a seed are trained side by side, the two donors of moments first. Only the
evaluations are kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import xarray as xr
from torch import Tensor

from sublim_utils.engine.ensemble import Ensemble
from sublim_utils.engine.network import MLP
from sublim_utils.engine.seeds import generator
from sublim_utils.engine.students import Untracked
from sublim_utils.runs.filling import Advance
from sublim_utils.runs.lab import Lab
from sublim_utils.runs.stored import stored
from sublim_utils.settings import Condition, Settings, require

__all__ = ["ARMS", "KEPT", "VERSION", "Treated", "Treatment", "treated"]

VERSION = 1
"""Part of the address of what is stored: raise it when a change alters what is computed, `ARMS` too."""

KEPT = ("accuracy", "centred_accuracy", "probe_accuracy", "heldout_loss")


@dataclass(frozen=True, kw_only=True)
class Treatment:
    """What is done to one student.

    Parameters
    ----------
    teacher : "own", or "other", another start's
    redrawn : `BLOCKS` of the start drawn anew
    noised : blocks of the start to which another draw of them is added
    frozen : blocks that no step changes
    coupled : lambda of lambda theta, added to the gradient
    decoupled : lambda of eta lambda theta, taken from theta beside the step
    moment : "own"; "reset" to 0 at each epoch's first step; or, with "donor", at every step m^ is that of the student
        of the other kind of teacher, v^ the mean of its own and that one's (its own is next to 0 where a unit is dead)
    preconditioned : a step is eta g / (sqrt(v_0) + eps), v_0 the mean of g^2 over the first epoch's batches at theta_0
    """

    teacher: str = "own"
    redrawn: tuple[str, ...] = ()
    noised: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ()
    coupled: float = 0.0
    decoupled: float = 0.0
    moment: str = "own"
    preconditioned: bool = False


ARMS: Mapping[str, Treatment] = {
    "student (aux)": Treatment(),
    "cross-model (aux)": Treatment(teacher="other"),
    "class head redrawn": Treatment(redrawn=("class head",)),
    "class head noised": Treatment(noised=("class head",)),
    "layer 1 frozen": Treatment(frozen=("layer 1",)),
    "layer 2 frozen": Treatment(frozen=("layer 2",)),
    "auxiliary head frozen": Treatment(frozen=("auxiliary head",)),
    "coupled decay 0.0001": Treatment(coupled=1e-4),
    "coupled decay 0.01": Treatment(coupled=1e-2),
    "decoupled decay 0.01": Treatment(decoupled=1e-2),
    "decoupled decay 1": Treatment(decoupled=1.0),
    "first moment reset each epoch": Treatment(moment="reset"),
    "first moment of the cross-model": Treatment(moment="donor"),
    "cross-model, first moment of the own": Treatment(teacher="other", moment="donor"),
    "fixed preconditioner": Treatment(preconditioned=True),
}
"""The students; the first two are the donors."""


class Treated(Untracked):
    """The training of `ARMS`, as one ensemble with these conditions in their order."""

    def __init__(self, ensemble: Ensemble) -> None:
        require("optimizer", ensemble.settings.optimizer, ensemble.settings.optimizer == "adam", '"adam"')
        super().__init__(ensemble)
        self.arms, self.frozen = list(ARMS.values()), {}
        self.epoch, self.adam = ensemble.settings.steps_per_epoch, self.optimizer.param_groups[0]
        for i, arm in enumerate(self.arms):
            if arm.frozen:
                self.frozen[i] = self.inside(arm.frozen)
            if arm.noised:
                self.add_noise(i, self.inside(arm.noised))
        self.size = self.mean_squares().sqrt() + self.adam["eps"]

    def inside(self, blocks: tuple[str, ...]) -> Tensor:
        """Return where some blocks lie in theta, booleans (P,)."""
        return MLP.of(self.ensemble.settings).blocks(blocks).to(self.theta.device)

    def add_noise(self, i: int, inside: Tensor) -> None:
        """Add another draw of a start, inside some blocks, to those of an arm's students."""
        for s, seed in enumerate(self.ensemble.seeds):
            self.theta[s, i, inside] += self.another(seed)[inside]

    def another(self, seed: int) -> Tensor:
        """Return another draw of a whole start, (P,)."""
        return self.ensemble.network.initial(generator(seed, "treatment")).to(self.theta.device)

    def mean_squares(self) -> Tensor:
        """Return v_0, the mean of the squared distillation gradients at the start over one epoch, (seed, P)."""
        fixed, total = [arm.preconditioned for arm in self.arms].index(True), torch.zeros_like(self.theta[:, 0])
        for step in range(self.epoch):
            self.distill_gradient(step)
            total += self.distill[:, fixed].square()
        return total / self.epoch

    def states(self, i: int) -> list[dict[str, Tensor]]:
        """Return the optimiser's state of each of an arm's students."""
        return [self.optimizer.state[model] for model in self.adam["params"][i :: len(self.arms)]]

    def moments(self, i: int, name: str) -> Tensor:
        """Return one of Adam's moments of an arm's students, (seed, P), a copy."""
        return torch.stack([state[name] for state in self.states(i)])

    def step(self, step: int) -> None:
        """Take one step with every student."""
        before = self.before.copy_(self.theta)
        self.distill_gradient(step)
        for i, arm in enumerate(self.arms):
            if arm.coupled:
                self.applied[:, i] += arm.coupled * before[:, i]
            if arm.moment == "reset" and step and step % self.epoch == 0:
                for state in self.states(i):
                    state["exp_avg"].zero_()
        self.optimizer.step()
        for i, arm in enumerate(self.arms):
            self.stepped(i, arm, before[:, i], step)

    def stepped(self, i: int, arm: Treatment, before: Tensor, step: int) -> None:
        """Put an arm's own step in the place of the optimiser's."""
        theta, lr = self.theta[:, i], self.ensemble.settings.student_lr
        if arm.preconditioned:
            theta.copy_(before - lr * self.applied[:, i] / self.size)
        if arm.moment == "donor":
            first, second = (1 - beta ** (step + 1) for beta in self.adam["betas"])
            donor = int(arm.teacher == "own")  # the cross-model student is the second
            squares = (self.moments(i, "exp_avg_sq") + self.moments(donor, "exp_avg_sq")) / 2
            size = (squares / second).sqrt() + self.adam["eps"]
            theta.copy_(before - lr * self.moments(donor, "exp_avg") / first / size)
        if arm.decoupled:
            theta -= lr * arm.decoupled * before
        if i in self.frozen:
            theta[:, self.frozen[i]] = before[:, self.frozen[i]]


@stored(kind="treatments", part="ends", version=VERSION, steps=lambda settings: settings.n_steps)
def treated(lab: Lab, seed: int, advance: Advance, *, settings: Settings) -> xr.Dataset:
    """Return the evaluations of a seed's `ARMS`, the variables `KEPT`, dims (arm, eval)."""
    conditions = {name: Condition.of(teacher=arm.teacher, redrawn=arm.redrawn) for name, arm in ARMS.items()}
    runs = lab.distilled(settings, conditions, seed, advance=lambda: advance(1), training=Treated)
    return runs[list(KEPT)].isel(seed=0, drop=True).rename(condition="arm")
