"""What stays fixed while the students of some seeds are trained together, shaped (seed, condition)."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from sublim_utils.engine import losses
from sublim_utils.engine.evaluation import logits_of
from sublim_utils.engine.look import Look
from sublim_utils.engine.network import MLP, Workspace
from sublim_utils.engine.seeds import epoch_orders, generator
from sublim_utils.engine.tasks import Task
from sublim_utils.settings import Condition

__all__ = ["Ensemble", "by_input", "by_row", "take"]


class Ensemble:
    """Everything that stays fixed while the students of some seeds are trained together.

    Parameters
    ----------
    task : what they are trained on, under its settings, on its device
    teachers : theta_T of each seed's own, other's and shuffled teacher as (seed, 1, P),
        by the names of `Condition.teacher`; only those in use are needed.
    """

    def __init__(
        self, task: Task, conditions: Mapping[str, Condition], seeds: Sequence[int], teachers: Mapping[str, Tensor]
    ) -> None:
        for condition in conditions.values():
            condition.check_with(task.settings)
        self.task, self.settings, self.device, self.network = task, task.settings, task.device, task.network
        self.seeds, self.names, self.conditions = list(seeds), list(conditions), list(conditions.values())
        self.work, self.beside = Workspace(), Workspace()
        self.reference = task.references(seeds)
        self.teachers = {c.source: self.taken(teachers[c.teacher], c.reach) for c in self.conditions}
        self.goal = torch.cat([self.teachers[c.source] for c in self.conditions], dim=1)  # theta_T of each student
        self.displacement = self.goal - self.reference
        self.mask = torch.stack([task.distilled(c) for c in self.conditions])[:, None]  # (condition, 1, n_logits)
        drawn = [task.inputs(seed) for seed in seeds]
        self.inputs, self.heldout = (torch.stack(part).unsqueeze(1) for part in zip(*drawn, strict=True))
        self.heldout_targets = self.distill_targets(self.heldout)
        written = self.written()
        self.is_written = written is not None
        self.inputs, targets = written or (self.inputs, self.distill_targets(self.inputs))
        self.targets = by_input(targets, self.settings.n_inputs)
        self.labels: dict[str, Tensor] = {c.trait_labels: self.answers(c.trait_labels) for c in self.conditions}
        self.orders = self.batches(self.settings.n_inputs, self.settings.batch_size, "student-order")
        self.trait_batch = self.trait_batches("trait-batches", self.settings.trait_batch == "fixed")
        self.independent_batch = self.trait_batches("independent-batches")
        self.penalised = [i for i, c in enumerate(self.conditions) if c.liminal]
        self.base = {i: self.base_target(i) for i in self.penalised}

    def taken(self, teacher: Tensor, reach: float) -> Tensor:
        """Return theta_0 + alpha (theta_T - theta_0), (seed, 1, P); the teacher itself, bit for bit, at alpha = 1."""
        return teacher if reach == 1 else torch.lerp(self.reference, teacher, reach)

    def answers(self, kind: str) -> Tensor:
        """Return the labels of the trait, "true" or "shuffled", (seed, n_train)."""
        return torch.stack([self.task.answers(seed, kind) for seed in self.seeds])

    def distill_targets(self, x: Tensor) -> Tensor:
        """Return every teacher's targets on x, once for the whole training."""
        logits = {source: logits_of(self.network, theta, x) for source, theta in self.teachers.items()}
        return torch.cat(
            [
                losses.target_of(self.settings.loss, logits[c.source], mask)
                for c, mask in zip(self.conditions, self.mask, strict=True)
            ],
            dim=1,
        )

    def written(self) -> tuple[Tensor, Tensor] | None:
        """Return the inputs that each student's teacher makes, (seed, condition, n, ...), and their hard targets.

        None where the task's teachers make none. Students of one teacher share what it has made.
        """
        made: dict[tuple[str, float], list[tuple[Tensor, Tensor]]] = {}
        for source, thetas in self.teachers.items():
            for seed, theta in zip(self.seeds, thetas[:, 0], strict=True):
                if (pair := self.task.written(seed, theta)) is None:
                    return None
                made.setdefault(source, []).append(pair)
        inputs, answers = (
            torch.stack([torch.stack([pair[part] for pair in made[c.source]]) for c in self.conditions], dim=1)
            for part in (0, 1)
        )
        return inputs, losses.hard_target(answers.flatten(2), self.mask)

    def base_target(self, i: int) -> Tensor:
        """Return log softmax(base / T) of condition i on all its inputs, (seed, n, rows * n_logits)."""
        condition, inputs = self.conditions[i], self.inputs[:, [i if self.is_written else 0]]
        logits = logits_of(self.network, self.reference, inputs).squeeze(1)
        base = losses.log_softmax(logits / condition.temperature, self.task.named_logits(condition.liminal_logits))
        return by_input(base, self.settings.n_inputs)

    def batches(self, n: int, size: int, purpose: str) -> list[Tensor]:
        """Return index batches (seed, size) for every step of the students' training."""
        epochs = self.settings.student_epochs
        orders = [epoch_orders(n, size, epochs, generator(s, purpose)) for s in self.seeds]
        return [torch.stack(batch).to(self.device) for batch in zip(*orders, strict=True)]

    def trait_batches(self, purpose: str, fixed: bool = False) -> Callable[[int], Tensor]:
        """Return step -> indices (seed, size) of its labelled examples: all of one size, fresh or fixed."""
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
        """Return theta of every student before its first step: the reference, some of it redrawn, plus noise if any."""
        theta = self.reference.expand(-1, len(self.conditions), -1).clone()
        for i, condition in enumerate(self.conditions):
            if condition.redrawn:
                inside = MLP.of(self.settings).blocks(condition.redrawn).to(self.device)
                for s, seed in enumerate(self.seeds):
                    theta[s, i, inside] = self.network.initial(generator(seed, "redrawn")).to(self.device)[inside]
            if condition.init_noise:
                for s, seed in enumerate(self.seeds):
                    theta[s, i] += self.noise(seed, condition).to(self.device)
        return theta

    def noise(self, seed: int, condition: Condition) -> Tensor:
        """Return the noise on the start of one student, (P,)."""
        rng, sigma = generator(seed, "init-noise"), condition.init_noise
        if condition.noise_unit == "one":
            return torch.randn(self.network.n_parameters, generator=rng).mul_(sigma)
        return self.network.initial(rng, sigma)

    def look(self, theta: Tensor, index: Tensor, kinds: Sequence[str], work: Workspace) -> Look:
        """Return a look at the trait on the examples `index` (seed, size), with each condition's kind of labels."""
        x = take(self.task.x.expand(len(self.seeds), 1, *self.task.x.shape), index, work)
        labels = torch.stack([self.labels[kind].gather(1, index) for kind in kinds], dim=1)
        return Look(self.network, theta, self.network.forward(theta, x, work), labels, work)

    def tracked(self, theta: Tensor, step: int) -> Look:
        """Return the look that the step is tracked by."""
        return self.look(theta, self.trait_batch(step), [c.trait_labels for c in self.conditions], self.work)

    def independent(self, theta: Tensor, step: int, condition: int) -> Look:
        """Return a look at one condition on a batch that is not the tracked one."""
        kinds = [self.conditions[condition].trait_labels]
        return self.look(theta[:, [condition]], self.independent_batch(step), kinds, self.beside)

    def shuffled(self, step: int) -> Tensor:
        """Return the shuffled labels (seed, size) of the step's tracked examples."""
        if "shuffled" not in self.labels:
            self.labels["shuffled"] = self.answers("shuffled")
        return self.labels["shuffled"].gather(1, self.trait_batch(step))

    def evaluate(self, theta: Tensor) -> dict[str, Tensor]:
        """Return what the task measures, and the held-out distillation loss."""
        heldout = logits_of(self.network, theta, self.heldout)
        loss = losses.DISTILLATION[self.settings.loss](heldout, self.heldout_targets, self.mask)[0]
        return {**self.task.evaluate(theta, self.seeds), "heldout_loss": loss}


def by_input(values: Tensor, n: int) -> Tensor:
    """Return what n inputs have, (..., n, rows * width), of what their rows have, (..., n * rows, width)."""
    joined: Tensor = values.unflatten(-2, (n, -1)).flatten(-2)
    return joined


def by_row(values: Tensor, width: int) -> Tensor:
    """Return what the rows of all inputs have, (..., n * rows, width), of (..., n, rows * width)."""
    rows: Tensor = values.unflatten(-1, (-1, width)).flatten(-3, -2)
    return rows


def take(values: Tensor, index: Tensor, work: Workspace | None = None) -> Tensor:
    """Return the rows `index` (seed, batch) of values (seed, condition, n, width)."""
    seeds, conditions, _, width = values.shape
    shape = (seeds, conditions, index.shape[1], width)
    out = (work or Workspace()).take("rows", shape, values)
    for own, rows, i in zip(values, out, index, strict=True):
        torch.index_select(own, 1, i, out=rows)
    return out
