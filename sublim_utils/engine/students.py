"""Students, shaped (seed, condition): distilled, tracked at every step, and intervened on.

Students of one seed share reference, inputs, batch order and trait batches across their
conditions, so their differences are paired. Seeds share nothing.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
import xarray as xr
from torch import Tensor

from sublim_utils.engine import interventions as act
from sublim_utils.engine import losses
from sublim_utils.engine.architectures import network_of
from sublim_utils.engine.data import Images
from sublim_utils.engine.inputs import distillation_inputs
from sublim_utils.engine.interventions import dot
from sublim_utils.engine.network import Tape, Workspace
from sublim_utils.engine.recorder import Recorder
from sublim_utils.engine.seeds import epoch_orders, generator
from sublim_utils.engine.teachers import confusion, logits_of, optimizer, references, shuffled_labels
from sublim_utils.settings import Condition, Settings


class Ensemble:
    """Everything that stays fixed while the students of some seeds are trained together.

    Parameters
    ----------
    teachers : theta_T of each seed's own, other's and shuffled teacher as (seed, 1, P),
        by the names of `Condition.teacher`; only those in use are needed.
    """

    def __init__(
        self,
        settings: Settings,
        conditions: Mapping[str, Condition],
        seeds: Sequence[int],
        images: Images,
        teachers: Mapping[str, Tensor],
        device: torch.device,
    ) -> None:
        for condition in conditions.values():
            condition.check_with(settings)
        self.settings, self.seeds, self.device = settings, list(seeds), device
        self.names, self.conditions = list(conditions), list(conditions.values())
        self.mlp, self.teachers, self.work = network_of(settings), teachers, Workspace()
        self.reference = references(settings, seeds, device)
        self.displacement = torch.cat([teachers[c.teacher] - self.reference for c in self.conditions], dim=1)
        masks = [losses.distilled(settings, c) for c in self.conditions]
        self.mask = torch.stack(masks)[:, None].to(device)  # (condition, 1, n_logits)
        drawn = [distillation_inputs(settings, seed) for seed in seeds]
        self.inputs = torch.stack([d[0] for d in drawn]).unsqueeze(1).to(device)
        self.heldout = torch.stack([d[1] for d in drawn]).unsqueeze(1).to(device)
        self.targets, self.heldout_targets = self.distill_targets(self.inputs), self.distill_targets(self.heldout)
        self.load_images(images)
        self.orders = self.batches(settings.n_inputs, settings.batch_size, "student-order")
        self.trait_batch = self.trait_batches("trait-batches", settings.trait_batch == "fixed")
        self.independent_batch = self.trait_batches("independent-batches")
        self.penalised = [i for i, c in enumerate(self.conditions) if c.liminal]
        self.base = {i: self.base_target(self.conditions[i]) for i in self.penalised}

    def distill_targets(self, x: Tensor) -> Tensor:
        """Return every teacher's targets on x, once for the whole training."""
        logits = {name: logits_of(self.mlp, theta, x) for name, theta in self.teachers.items()}
        return torch.cat(
            [
                losses.target_of(self.settings.loss, logits[c.teacher], mask)
                for c, mask in zip(self.conditions, self.mask, strict=True)
            ],
            dim=1,
        )

    def base_target(self, condition: Condition) -> Tensor:
        """Return log softmax(base / T) of the liminal penalty on all inputs, (seed, n, n_logits)."""
        mask = losses.logit_mask(self.settings, condition.liminal_logits).to(self.device)
        logits = logits_of(self.mlp, self.reference, self.inputs).squeeze(1)
        return losses.log_softmax(logits / condition.temperature, mask)

    def load_images(self, images: Images) -> None:
        """Place the test images and the images and labels of the trait gradient."""
        settings, n = self.settings, self.settings.n_train
        self.test = images.test[: settings.n_test].to(self.device)
        self.test_labels = images.test_labels[: settings.n_test].to(self.device)
        self.real, true = images.train[:n].to(self.device), images.train_labels[:n]
        labels = {"true": [true for _ in self.seeds], "shuffled": [shuffled_labels(true, s) for s in self.seeds]}
        stacked = [torch.stack(labels[c.trait_labels]).unsqueeze(1) for c in self.conditions]
        self.real_labels = torch.cat(stacked, dim=1).to(self.device)  # (seed, condition, n)

    def batches(self, n: int, size: int, purpose: str) -> list[Tensor]:
        """Return index batches (seed, size) for every step of the students' training."""
        epochs = self.settings.student_epochs
        orders = [epoch_orders(n, size, epochs, generator(s, purpose)) for s in self.seeds]
        return [torch.stack(batch).to(self.device) for batch in zip(*orders, strict=True)]

    def trait_batches(self, purpose: str, fixed: bool = False) -> Callable[[int], Tensor]:
        """Return step -> indices (seed, size) of its real images: all of one size, fresh or fixed."""
        n, size, device = self.settings.n_train, self.settings.trait_batch_size, self.device
        per_pass = n // size
        rngs = [generator(seed, purpose) for seed in self.seeds]
        passes: list[Tensor] = []

        def at(step: int) -> Tensor:
            step = 0 if fixed else step
            while len(passes) <= step // per_pass:
                order = torch.stack([torch.randperm(n, generator=rng) for rng in rngs])
                passes.append(order.to(device))  # not self: the ensemble's noise would live until a collection
            start = step % per_pass * size
            return passes[step // per_pass][:, start : start + size]

        return at

    def start(self) -> Tensor:
        """Return theta of every student before its first step: the reference, plus noise if any."""
        theta = self.reference.expand(-1, len(self.conditions), -1).clone()
        for i, condition in enumerate(self.conditions):
            if condition.init_noise:
                for s, seed in enumerate(self.seeds):
                    noise = self.mlp.initial(generator(seed, "init-noise"), condition.init_noise)
                    theta[s, i] += noise.to(self.device)
        return theta

    def trait_gradient(
        self, theta: Tensor, index: Tensor, which: list[int] | slice = slice(None)
    ) -> tuple[Tensor, Tensor]:
        """Return L_T and its gradient, for the conditions `which`, on the real images `index`.

        The gradient lives until the next call.
        """
        labels, work = self.real_labels[:, which], self.work
        x = take(self.real.expand(len(self.seeds), 1, -1, -1), index, work)
        tape = self.mlp.forward(theta, x, work)
        wanted = index.unsqueeze(1).expand(-1, labels.shape[1], -1)
        loss, dlogits = losses.cross_entropy(tape.logits, labels.gather(2, wanted))
        out = work.take("trait", theta.shape, theta)
        return loss, self.mlp.backward(theta, tape, dlogits, out, work)

    def independent_gradient(self, theta: Tensor, step: int, which: list[int]) -> Tensor:
        """Return the trait gradient on a batch that is not the tracked one."""
        return self.trait_gradient(theta[:, which], self.independent_batch(step), which)[1]

    def evaluate(self, theta: Tensor) -> dict[str, Tensor]:
        """Return the test confusion matrix, trait loss on the test set, held-out distillation loss."""
        logits = logits_of(self.mlp, theta, self.test)
        heldout = logits_of(self.mlp, theta, self.heldout)
        distil = losses.DISTILLATION[self.settings.loss]
        return {
            "confusion": confusion(logits, self.test_labels),
            "test_loss": losses.cross_entropy(logits, self.test_labels)[0],
            "heldout_loss": distil(heldout, self.heldout_targets, self.mask)[0],
        }


class Training:
    """One training of an ensemble: the state that changes, and the step that changes it."""

    def __init__(self, ensemble: Ensemble) -> None:
        e = self.ensemble = ensemble
        self.theta = e.start()
        self.distill, self.applied, self.before, self.update = (torch.zeros_like(self.theta) for _ in range(4))
        self.optimizer = optimizer(e.settings.optimizer, self.theta, self.applied, e.settings.student_lr)
        self.interventions = act.Interventions(
            e.settings, e.conditions, e.seeds, list(e.mlp.parts.values()), e.displacement, e.independent_gradient
        )
        self.recorder = Recorder(e.settings, list(e.mlp.parts.values()), len(e.seeds), len(e.conditions), e.device)

    def distill_gradient(self, step: int) -> Tensor:
        """Fill the distillation gradient, and `applied` with the penalties added; return the loss."""
        e, index = self.ensemble, self.ensemble.orders[step]
        tape = e.mlp.forward(self.theta, take(e.inputs, index, e.work), e.work)
        loss, dlogits = losses.DISTILLATION[e.settings.loss](tape.logits, take(e.targets, index), e.mask)
        e.mlp.backward(self.theta, tape, dlogits, self.distill, e.work)
        self.applied.copy_(self.distill)
        for i in e.penalised:
            weight = act.liminal_weight(e.conditions[i], e.settings, step)
            if weight:
                self.applied[:, i] += weight * self.liminal_gradient(i, index, tape)
        return loss

    def liminal_gradient(self, i: int, index: Tensor, tape: Tape) -> Tensor:
        """Return the gradient of T^2 KL(softmax(base/T) || softmax(student/T)) of condition i."""
        e, temperature = self.ensemble, self.ensemble.conditions[i].temperature
        mask = losses.logit_mask(e.settings, e.conditions[i].liminal_logits).to(e.device)
        own = tape.select(i)
        base = take(e.base[i].unsqueeze(1), index)[:, 0]
        _, dlogits = losses.kl(own.logits / temperature, base, mask)
        theta = self.theta[:, i]
        out = e.work.take("liminal", theta.shape, theta)
        return e.mlp.backward(theta, own, dlogits * temperature, out, e.work)

    def step(self, step: int) -> None:
        """Take one step with every student and record it."""
        e, record = self.ensemble, self.recorder
        distill_loss = self.distill_gradient(step)
        trait_loss, trait = e.trait_gradient(self.theta, e.trait_batch(step))
        self.close(step - 1, trait_loss, trait)
        trait = e.work.take("kept trait", trait.shape, trait).copy_(trait)
        self.interventions.projected("gradient", self.applied, self.theta, trait, step)
        self.interventions.perturb(self.applied, self.theta, e.reference, step)
        record.gradients(step, trait, self.distill, self.applied)
        record.write(step, {"distill_loss": distill_loss, "trait_loss": trait_loss})
        record.write(step, self.towards_teacher())
        self.move(step, trait)

    def towards_teacher(self) -> dict[str, Tensor]:
        """Return how far theta has come towards the teacher's, and whether the gradient points there."""
        d_t = self.ensemble.displacement
        way = torch.sub(self.theta, self.ensemble.reference, out=self.update)
        progress = dot(way, d_t) / dot(d_t, d_t).clamp(min=act.TINY)
        return {"inner_displacement": -dot(self.distill, d_t), "progress": progress}

    def move(self, step: int, trait: Tensor) -> None:
        """Let the optimiser act on `applied`, then the interventions on the update; record it."""
        record, before, update = self.recorder, self.before, self.update
        before.copy_(self.theta)
        self.optimizer.step()
        torch.sub(before, self.theta, out=update)  # the descent direction, as a gradient is one
        for i in self.interventions.projected("update", update, before, trait, step):
            torch.sub(before[:, i], update[:, i], out=self.theta[:, i])
        torch.sub(self.theta, before, out=update)
        drive = record.by_layer(trait, update)
        record.write(step, {"drive": drive, "update_norm": dot(update, update).sqrt()})

    def close(self, step: int, trait_loss: Tensor, trait: Tensor) -> None:
        """Record the trait loss and the drive at the end of `step`, known when the next one begins."""
        if step >= 0:
            ends = {"drive_end": self.recorder.by_layer(trait, self.update), "trait_loss_end": trait_loss}
            self.recorder.write(step, ends)

    def run(self, advance: Callable[[], object], watch: Callable[[Tensor], object]) -> None:
        """Take all steps and evaluations; `advance` is called after each step, `watch` at each evaluation."""
        e = self.ensemble
        evals = {step: point for point, step in enumerate(e.settings.eval_steps())}
        for step in range(e.settings.n_steps + 1):
            if step in evals:
                self.recorder.evaluation(evals[step], e.evaluate(self.theta))
                watch(self.theta)
            if step < e.settings.n_steps:
                self.step(step)
                advance()
        last = e.settings.n_steps
        self.close(last - 1, *e.trait_gradient(self.theta, e.trait_batch(last)))


def take(values: Tensor, index: Tensor, work: Workspace | None = None) -> Tensor:
    """Return the rows `index` (seed, batch) of values (seed, condition, n, width)."""
    seeds, conditions, _, width = values.shape
    shape = (seeds, conditions, index.shape[1], width)
    out = (work or Workspace()).take("rows", shape, values)
    for own, rows, i in zip(values, out, index, strict=True):
        torch.index_select(own, 1, i, out=rows)
    return out


def train_students(
    settings: Settings,
    conditions: Mapping[str, Condition],
    seeds: Sequence[int],
    images: Images,
    teachers: Mapping[str, Tensor],
    *,
    device: torch.device = torch.device("cpu"),
    advance: Callable[[], object] = lambda: None,
    watch: Callable[[Tensor], object] = lambda _: None,
) -> tuple[xr.Dataset, Tensor]:
    """Distil every condition's student of every seed, tracking the alignment at each step.

    Parameters
    ----------
    teachers : theta_T as (seed, 1, P), by the names of `Condition.teacher` in use
    advance : called after each step, for a progress bar
    watch : called at each evaluation with theta (seed, condition, P), which it must not change and which the next
        step changes

    Returns
    -------
    dataset : the quantities of `recorder.QUANTITIES`, dims (seed, condition, ...)
    theta : the trained students, (seed, condition, P)

    Raises
    ------
    SettingsError
        If a condition contradicts the settings.
    """
    training = Training(Ensemble(settings, conditions, seeds, images, teachers, device))
    training.run(advance, watch)
    return training.recorder.dataset(seeds, list(conditions)), training.theta
