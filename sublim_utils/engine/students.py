"""Students, shaped (seed, condition): distilled, tracked at every step, and intervened on.

Students of one seed share reference, inputs, batch order and trait batches across their
conditions, so their differences are paired. Seeds share nothing.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
import xarray as xr
from torch import Tensor

from sublim_utils.engine import liminal, losses
from sublim_utils.engine.devices import optimizer
from sublim_utils.engine.ensemble import Ensemble, by_row, take
from sublim_utils.engine.interventions import Interventions
from sublim_utils.engine.look import Look
from sublim_utils.engine.network import Tape
from sublim_utils.engine.products import fast
from sublim_utils.engine.recorder import STEPWISE, Recorder, booked, observed
from sublim_utils.engine.tasks import Task
from sublim_utils.engine.vectors import TINY, by_part, dot
from sublim_utils.settings import Condition

__all__ = ["Training", "Untracked", "train_students"]


class Training:
    """One training of an ensemble: the state that changes, and the step that changes it."""

    def __init__(self, ensemble: Ensemble) -> None:
        e = self.ensemble = ensemble
        self.theta, self.parts = e.start(), list(e.network.parts.values())
        self.distill, self.applied, self.before, self.update, self.trait, self.disc = (
            torch.zeros_like(self.theta) for _ in range(6)
        )
        self.optimizer = optimizer(e.settings.optimizer, self.theta, self.applied, e.settings.student_lr)
        self.interventions = Interventions(
            e.conditions, e.seeds, e.network.parts, e.displacement, e.independent, e.shuffled
        )
        sizes = {"step": e.settings.n_steps, "layer": len(self.parts), "eval": len(e.settings.eval_steps())}
        quantities = {**STEPWISE, "heldout_loss": (("eval",), "distillation loss on held-out inputs")}
        self.recorder = Recorder(
            {**quantities, **e.task.evaluated}, {**sizes, **e.task.sizes}, len(e.seeds), len(e.conditions), e.device
        )

    def distill_gradient(self, step: int) -> dict[str, Tensor]:
        """Fill the distillation gradient, and `applied` with the penalties added; return the losses."""
        e, index = self.ensemble, self.ensemble.orders[step]
        tape = e.network.forward(self.theta, take(e.inputs, index, e.work), e.work)
        targets = by_row(take(e.targets, index), tape.logits.shape[-1])
        loss, dlogits = losses.DISTILLATION[e.settings.loss](tape.logits, targets, e.mask)
        scale = losses.student_weight(e.settings, index.shape[1])
        loss, dlogits = loss * scale, dlogits.mul_(scale)
        e.network.backward(self.theta, tape, dlogits, self.distill, e.work)
        self.applied.copy_(self.distill)
        for i in e.penalised:
            if step == 0 and e.conditions[i].starts_at_reference:
                continue  # its gradient is 0 there; what rounding leaves of that, Adam would make whole steps of
            if weight := liminal.weight(e.conditions[i], e.settings, step):
                self.applied[:, i] += weight * self.liminal_gradient(i, index, tape)
        kl = e.settings.loss == "kl" and not e.is_written
        return {"distill_loss": loss, **({"reverse_kl": losses.reverse_kl(tape.logits, targets, e.mask)} if kl else {})}

    def liminal_gradient(self, i: int, index: Tensor, tape: Tape) -> Tensor:
        """Return the gradient of the penalty of condition i."""
        e, condition, own, theta = self.ensemble, self.ensemble.conditions[i], tape.select(i), self.theta[:, i]
        mask = e.task.named_logits(condition.liminal_logits)
        base = by_row(take(e.base[i].unsqueeze(1), index)[:, 0], own.logits.shape[-1])
        dlogits = liminal.penalty_logits(own.logits, base, mask, condition.temperature)
        return e.network.backward(theta, own, dlogits, e.work.take("liminal", theta.shape, theta), e.work)

    def look(self, step: int) -> tuple[Look, dict[str, Tensor]]:
        """Look at the trait: fill its gradient and that of L_disc; return the look and both losses."""
        look = self.ensemble.tracked(self.theta, step)
        trait_loss, dlogits = losses.cross_entropy(look.tape.logits, look.labels)
        disc_loss, contrast = losses.discrimination(look.tape.logits, look.labels)
        look.gradient(dlogits, self.trait)
        look.gradient(contrast, self.disc)
        return look, {"trait_loss": trait_loss, "trait_disc": disc_loss}

    def step(self, step: int) -> None:
        """Take one step with every student and record it."""
        e, record = self.ensemble, self.recorder
        distill_losses = self.distill_gradient(step)
        look, trait_losses = self.look(step)
        self.close(step - 1, trait_losses["trait_loss"])
        known = {"trait": self.trait, "discrimination": self.disc}
        self.interventions.projected("gradient", self.applied, look, known, step)
        self.interventions.perturb(self.applied, self.theta, e.reference, step)
        record.write(step, observed(self.trait, self.disc, self.distill, self.applied, self.parts))
        record.write(step, {**distill_losses, **trait_losses, **self.towards_teacher()})
        self.move(step, look, known)

    def towards_teacher(self) -> dict[str, Tensor]:
        """Return how far theta has come towards the teacher's, and whether the gradient points there."""
        e, d_t = self.ensemble, self.ensemble.displacement
        way, inner = torch.sub(self.theta, e.reference, out=self.update), -dot(self.distill, d_t)
        known = {
            "inner_displacement": inner,
            "progress": dot(way, d_t) / dot(d_t, d_t).clamp(min=TINY),
            "travelled": dot(way, way).sqrt(),
            "one_point": inner + dot(self.distill, way),
        }
        left = torch.sub(e.goal, self.theta, out=self.update)
        return {**known, "distance": dot(left, left).sqrt()}

    def move(self, step: int, look: Look, known: Mapping[str, Tensor]) -> None:
        """Let the optimiser act on `applied`, then the interventions on the update; record it."""
        before, update = self.before, self.update
        before.copy_(self.theta)
        self.optimizer.step()
        torch.sub(before, self.theta, out=update)  # the descent direction, as a gradient is one
        for i in self.intervene(update, look, known, step):
            torch.sub(before[:, i], update[:, i], out=self.theta[:, i])
        torch.sub(self.theta, before, out=update)
        self.recorder.write(step, booked(self.trait, self.disc, update, self.parts))

    def intervene(self, update: Tensor, look: Look, known: Mapping[str, Tensor], step: int) -> Sequence[int]:
        """Change the descent direction -u_t (seed, condition, P) in place; return the conditions changed."""
        return self.interventions.projected("update", update, look, known, step)

    def close(self, step: int, trait_loss: Tensor) -> None:
        """Record the trait loss and the drive at the end of `step`, known when the next one begins."""
        if step >= 0:
            drive = by_part(self.trait, self.update, self.parts)
            self.recorder.write(step, {"drive_end": drive, "trait_loss_end": trait_loss})

    def run(self, advance: Callable[[], object], watch: Callable[[Tensor], object]) -> None:
        """Take all steps and evaluations; `advance` is called after each step, `watch` at each evaluation."""
        e = self.ensemble
        evals = {step: point for point, step in enumerate(e.settings.eval_steps())}
        for step in range(e.settings.n_steps + 1):
            if step in evals:
                self.recorder.write(evals[step], e.evaluate(self.theta))
                watch(self.theta)
            if step < e.settings.n_steps:
                self.step(step)
                advance()
        last = e.settings.n_steps
        self.close(last - 1, self.look(last)[1]["trait_loss"])

    def dataset(self) -> xr.Dataset:
        """Return what was recorded, dims (seed, condition, ...)."""
        e = self.ensemble
        return self.recorder.dataset({"seed": e.seeds, "condition": e.names, "eval": e.settings.eval_steps()})


class Untracked(Training):
    """Distillation alone: nothing is tracked and nothing intervenes, so that only evaluations are recorded."""

    def step(self, step: int) -> None:
        """Take one step with every student."""
        self.distill_gradient(step)
        self.optimizer.step()


def train_students(
    task: Task,
    conditions: Mapping[str, Condition],
    seeds: Sequence[int],
    teachers: Mapping[str, Tensor],
    *,
    advance: Callable[[], object] = lambda: None,
    watch: Callable[[Tensor], object] = lambda _: None,
    training: type[Training] = Training,
) -> tuple[xr.Dataset, Tensor]:
    """Distil every condition's student of every seed, tracking the alignment at each step.

    Parameters
    ----------
    task : what they are trained on, under its settings
    teachers : theta_T as (seed, 1, P), by the names of `Condition.teacher` in use
    advance : called after each step, for a progress bar
    watch : called at each evaluation with theta (seed, condition, P), which it must not change and which the next
        step changes
    training : what a step does: all of it, or a subclass of your own

    Returns
    -------
    dataset : the quantities of `recorder.STEPWISE` and of the task's evaluation, dims (seed, condition, ...)
    theta : the trained students, (seed, condition, P)

    Raises
    ------
    SettingsError
        If a condition contradicts the settings.

    >>> from sublim_utils.engine.data import Images
    >>> from sublim_utils.engine.digits import Digits
    >>> from sublim_utils.engine.teachers import train_teachers
    >>> from sublim_utils.settings import Condition, Settings
    >>> x, y = torch.rand(120, 784) * 2 - 1, torch.arange(120) % 10  # images of your own, pixels in [-1, 1]
    >>> settings = Settings(n_train=120, n_inputs=120, n_test=20, batch_size=60, trait_batch_size=60, hidden=(16,))
    >>> task = Digits(settings, Images(x, y, x[:20], y[:20]))
    >>> theta_teacher, _, _ = train_teachers(task, seeds=[0])
    >>> conditions = {"student (aux)": Condition(), "projected": Condition(projection=1.0)}
    >>> runs, theta = train_students(task, conditions, [0], {"own": theta_teacher})
    >>> runs["inner"].dims, theta.shape[:2]
    (('seed', 'condition', 'step', 'layer'), torch.Size([1, 2]))
    """
    with fast(task.device, task.network):
        trained = training(Ensemble(task, conditions, seeds, teachers))
        trained.run(advance, watch)
    return trained.dataset(), trained.theta
