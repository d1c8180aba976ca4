"""The teacher: trained from the reference by cross-entropy on the class logits."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sublim_utils.engine import losses
from sublim_utils.engine.devices import optimizer
from sublim_utils.engine.network import Workspace
from sublim_utils.engine.products import fast
from sublim_utils.engine.seeds import epoch_orders, generator
from sublim_utils.engine.tasks import Task

__all__ = ["train_teachers"]


def train_teachers(
    task: Task,
    seeds: Sequence[int],
    *,
    shuffled: bool = False,
    checkpoints: Sequence[int] = (),
    advance: Callable[[], object] = lambda: None,
) -> tuple[Tensor, list[Tensor], dict[str, Tensor]]:
    """Train each seed's teacher from its reference by cross-entropy on the class logits.

    Adam, `teacher_epochs` passes over the training images, each seed in its own order.

    Returns
    -------
    theta : (seed, 1, P)
    saved : theta before each step in `checkpoints` (step 0 is the reference)
    evaluated : what the task measures, each (seed, 1, epoch, ...), before training and after each epoch
    """
    with fast(task.device, task.network):
        return _trained(task, seeds, shuffled, checkpoints, advance)


def _trained(
    task: Task, seeds: Sequence[int], shuffled: bool, checkpoints: Sequence[int], advance: Callable[[], object]
) -> tuple[Tensor, list[Tensor], dict[str, Tensor]]:
    settings, network, theta = task.settings, task.network, task.references(seeds)
    size, epochs = settings.batch_size, settings.teacher_epochs
    gradient = torch.zeros_like(theta)
    adam = optimizer("adam", theta, gradient, settings.teacher_lr)
    labels = torch.stack([task.answers(seed, "shuffled" if shuffled else "true") for seed in seeds])
    orders = [epoch_orders(settings.n_train, size, epochs, generator(s, "teacher-order")) for s in seeds]
    saved, evaluated, per_epoch, work = [], [task.evaluate(theta, seeds)], settings.steps_per_teacher_epoch, Workspace()
    for step, batch in enumerate(zip(*orders, strict=True)):
        if step in checkpoints:
            saved.append(theta.clone())
        index = torch.stack(batch).to(task.device)
        tape = network.forward(theta, task.x[index].unsqueeze(1), work)
        dlogits = losses.cross_entropy(tape.logits, labels.gather(1, index).unsqueeze(1))[1]
        dlogits *= losses.teacher_weight(settings)
        network.backward(theta, tape, dlogits, gradient, work)
        adam.step()
        advance()
        if (step + 1) % per_epoch == 0:
            evaluated.append(task.evaluate(theta, seeds))
    if epochs * per_epoch in checkpoints:
        saved.append(theta.clone())
    return theta, saved, {name: torch.stack([at[name] for at in evaluated], dim=2) for name in evaluated[0]}
