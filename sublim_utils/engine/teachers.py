"""The reference network and the teacher trained from it; evaluation shared with the students."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sublim_utils.engine import losses
from sublim_utils.engine.architectures import network_of
from sublim_utils.engine.data import Images
from sublim_utils.engine.network import Network, Workspace
from sublim_utils.engine.seeds import epoch_orders, generator
from sublim_utils.settings import N_CLASS, Settings, SettingsError

EVAL_CHUNK = 2500  # images at a time, to bound the memory of an evaluation


def resolve_device(device: str = "auto") -> torch.device:
    """Return the device named; "auto" is CUDA where there is one, else the CPU.

    Raises
    ------
    SettingsError
        If it is none of "auto", "cpu", "cuda", or there is no CUDA.

    >>> resolve_device("cpu")
    device(type='cpu')
    """
    allowed = ("auto", "cpu", "cuda") if torch.cuda.is_available() else ("auto", "cpu")
    if device not in allowed:
        raise SettingsError(f"device = {device!r} is not allowed: it must be one of {allowed} here")
    return torch.device(allowed[-1] if device == "auto" else device)


@torch.no_grad()
def logits_of(network: Network, theta: Tensor, x: Tensor) -> Tensor:
    """Return the logits (..., n, 10 + m) of many inputs x (..., n, 784), in chunks."""
    work = Workspace()
    parts = x.split(EVAL_CHUNK, dim=-2)
    return torch.cat([network.forward(theta, part, work).logits.clone() for part in parts], dim=-2)


def confusion(logits: Tensor, labels: Tensor) -> Tensor:
    """Return how often class i (row) is read as class j (column), (..., 10, 10), counts."""
    predicted = logits[..., :N_CLASS].argmax(-1)
    cell = labels * N_CLASS + predicted
    counts = torch.zeros(*cell.shape[:-1], N_CLASS**2, device=logits.device)
    return counts.scatter_add_(-1, cell, torch.ones_like(cell, dtype=counts.dtype)).unflatten(-1, (N_CLASS, N_CLASS))


def references(settings: Settings, seeds: Sequence[int], device: torch.device) -> Tensor:
    """Return theta_0 of each seed, (seed, 1, P)."""
    network = network_of(settings)
    drawn = [network.initial(generator(seed, "init")) for seed in seeds]
    return torch.stack(drawn).unsqueeze(1).to(device)


def shuffled_labels(labels: Tensor, seed: int) -> Tensor:
    """Return the labels in another order: right frequencies, no relation to the images."""
    return labels[torch.randperm(len(labels), generator=generator(seed, "shuffled-labels"))]


def optimizer(name: str, theta: Tensor, gradient: Tensor, lr: float) -> torch.optim.Optimizer:
    """Return torch's optimiser over the models of theta (seed, condition, P), fed by `gradient`.

    Each model is a parameter of its own, so that its arithmetic does not depend on the
    models beside it. Adam: betas (0.9, 0.999), eps 1e-8; momentum: 0.9.
    """
    models = list(theta.flatten(0, 1))
    for model, own in zip(models, gradient.flatten(0, 1), strict=True):
        model.grad = own
    if name == "adam":
        return torch.optim.Adam(models, lr=lr, fused=True)
    return torch.optim.SGD(models, lr=lr, momentum=0.9 if name == "momentum" else 0.0, fused=True)


def train_teachers(
    settings: Settings,
    images: Images,
    seeds: Sequence[int],
    *,
    shuffled: bool = False,
    checkpoints: Sequence[int] = (),
    device: torch.device = torch.device("cpu"),
    advance: Callable[[], object] = lambda: None,
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Train each seed's teacher from its reference by cross-entropy on the class logits.

    Adam, `teacher_epochs` passes over the training images, each seed in its own order.

    Returns
    -------
    theta : (seed, 1, P)
    saved : theta before each step in `checkpoints` (step 0 is the reference)
    confusions : (seed, 1, 10, 10) on the test images, before training and after each epoch
    """
    network, theta = network_of(settings), references(settings, seeds, device)
    gradient = torch.zeros_like(theta)
    adam = optimizer("adam", theta, gradient, settings.teacher_lr)
    x, y = images.train[: settings.n_train], images.train_labels[: settings.n_train]
    labels = torch.stack([shuffled_labels(y, s) if shuffled else y for s in seeds]).to(device)
    size, epochs = settings.batch_size, settings.teacher_epochs
    orders = [epoch_orders(len(y), size, epochs, generator(s, "teacher-order")) for s in seeds]
    test_x, test_y = images.test[: settings.n_test].to(device), images.test_labels[: settings.n_test]

    def evaluated() -> Tensor:
        return confusion(logits_of(network, theta, test_x), test_y.to(device)).cpu()

    saved, confusions, per_epoch, work = [], [evaluated()], settings.steps_per_teacher_epoch, Workspace()
    for step, batch in enumerate(zip(*orders, strict=True)):
        if step in checkpoints:
            saved.append(theta.clone())
        index = torch.stack(batch)
        tape = network.forward(theta, x[index].unsqueeze(1).to(device), work)
        target = labels.gather(1, index.to(device)).unsqueeze(1)
        network.backward(theta, tape, losses.cross_entropy(tape.logits, target)[1], gradient, work)
        adam.step()
        advance()
        if (step + 1) % per_epoch == 0:
            confusions.append(evaluated())
    if epochs * per_epoch in checkpoints:
        saved.append(theta.clone())
    return theta, saved, confusions
