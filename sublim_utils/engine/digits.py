"""The task of the paper: ten digits to read, m logits without a class, noise to be distilled on.

A task says what a network is trained on: its reference, the labelled examples behind the trait, the losses that
make up the trait, the inputs and the logits a student is distilled on, and what an evaluation measures.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from sublim_utils.engine import evaluation, losses
from sublim_utils.engine.architectures import network_of
from sublim_utils.engine.data import Images
from sublim_utils.engine.inputs import distillation_inputs
from sublim_utils.engine.seeds import generator
from sublim_utils.settings import N_CLASS, Condition, Settings

__all__ = ["EVAL", "EVALUATED", "FUNCTIONALS", "N_FITTED", "Digits", "Functional", "references", "shuffled_labels"]

N_FITTED = 5_000
"""Training images that calibration and probe are fitted on, the first so many."""

EVAL = ("eval",)
EVALUATED = {
    "accuracy": (EVAL, "raw accuracy: share of test images whose largest class logit is the label's"),
    "centred_accuracy": (
        EVAL,
        "accuracy of z - mean z, the means without labels from the other half of the test images",
    ),
    "calibrated_accuracy": (EVAL, "accuracy of a z + b, a >= 0 and ten offsets fitted on training images"),
    "probe_accuracy": (EVAL, "accuracy of a linear probe of the last hidden layer, fitted on training images"),
    "test_loss": (EVAL, "L_T on the test images (nats)"),
    "test_disc": (EVAL, "L_disc = -E(z_y - sum_c pi_c z_c) on the test images (nats); L_free = L_T - L_disc"),
    "mutual_information": (EVAL, "mutual information of label and prediction (nats)"),
    "prediction_entropy": (EVAL, "entropy of the predictions over the test images (nats)"),
    "mean_logit": ((*EVAL, "class"), "mean of each class logit over the test images"),
    "class_accuracy": ((*EVAL, "class"), "share of each class's test images classified right"),
    "confusion": (("class", "predicted"), "test images of class i read as j after training"),
}
"""What an evaluation measures: dimensions beside (seed, condition), and what it is."""

Functional = Callable[[Tensor, Tensor], Sequence[Tensor]]


def _per_class(logits: Tensor, labels: Tensor) -> list[Tensor]:
    """Return dL_c/dlogits of the ten losses L_c, L_T on the images of class c; they add up to L_T's."""
    dlogits = losses.cross_entropy(logits, labels)[1]
    return [dlogits * (labels == c).unsqueeze(-1) for c in range(N_CLASS)]


def _contrast(logits: Tensor, labels: Tensor, classes: Sequence[int]) -> Tensor:
    """Return dlogits of L_disc among some classes only: their images, their logits."""
    among = torch.zeros(N_CLASS, dtype=torch.bool, device=logits.device)
    among[list(classes)] = True
    inside = among[labels].unsqueeze(-1)
    n = inside.sum(-2, keepdim=True).clamp(min=1)
    wanted = losses.one_hot(labels, logits) * inside
    contrast = (wanted - inside * (wanted.sum(-2, keepdim=True) / n)) / -n
    return torch.nn.functional.pad(contrast, (0, logits.shape[-1] - N_CLASS))


def _pairs(logits: Tensor, labels: Tensor) -> list[Tensor]:
    return [_contrast(logits, labels, (i, j)) for i in range(N_CLASS) for j in range(i)]


FUNCTIONALS: Mapping[str, Functional] = {
    "trait": lambda z, y: [losses.cross_entropy(z, y)[1]],
    "discrimination": lambda z, y: [losses.discrimination(z, y)[1]],
    "calibration": lambda z, y: [losses.cross_entropy(z, y)[1] - losses.discrimination(z, y)[1]],
    "both": lambda z, y: [losses.cross_entropy(z, y)[1], losses.discrimination(z, y)[1]],
    "classes": _per_class,
    "five": lambda z, y: [_contrast(z, y, range(5))],
    "contrasts": _pairs,
}
"""The directions of `Condition.direction` that are gradients: (logits, labels) -> dlogits of each.

L_T; L_disc; L_free = L_T - L_disc; the span of both; L_T on each class's images; L_disc among the digits 0 to 4 only;
L_disc among each of the 45 pairs of digits.
"""


def references(settings: Settings, seeds: Sequence[int], device: torch.device) -> Tensor:
    """Return theta_0 of each seed, (seed, 1, P)."""
    network = network_of(settings)
    drawn = [network.initial(generator(seed, "init")) for seed in seeds]
    return torch.stack(drawn).unsqueeze(1).to(device)


def shuffled_labels(labels: Tensor, seed: int) -> Tensor:
    """Return the labels in another order: right frequencies, no relation to the images."""
    return labels[torch.randperm(len(labels), generator=generator(seed, "shuffled-labels"))]


class Digits:
    """MNIST or FashionMNIST under some settings, on a device.

    Parameters
    ----------
    images : of the settings' task and range of pixels, whole; the first n_train and n_test are used
    """

    evaluated: Mapping[str, tuple[tuple[str, ...], str]] = EVALUATED
    sizes: Mapping[str, int] = {"class": N_CLASS, "predicted": N_CLASS}

    def __init__(self, settings: Settings, images: Images, device: torch.device = torch.device("cpu")) -> None:
        self.settings, self.device, self.network = settings, device, network_of(settings)
        n = settings.n_train
        self.x, self.labels = images.train[:n].to(device), images.train_labels[:n].to(device)
        self.test = images.test[: settings.n_test].to(device)
        self.test_labels = images.test_labels[: settings.n_test].to(device)

    def references(self, seeds: Sequence[int]) -> Tensor:
        """Return theta_0 of each seed, (seed, 1, P)."""
        return references(self.settings, seeds, self.device)

    def answers(self, seed: int, kind: str) -> Tensor:
        """Return the labels (n_train,) of a seed, "true" or "shuffled"."""
        shuffled = kind == "shuffled"
        return shuffled_labels(self.labels.cpu(), seed).to(self.device) if shuffled else self.labels

    def inputs(self, seed: int) -> tuple[Tensor, Tensor]:
        """Return a seed's distillation inputs (n_inputs, 784) and held-out ones (2048, 784)."""
        train, heldout = distillation_inputs(self.settings, seed)
        return train.to(self.device), heldout.to(self.device)

    def written(self, seed: int, theta: Tensor) -> tuple[Tensor, Tensor] | None:
        """Return None: a network that reads images makes none."""
        del seed, theta
        return None

    def distilled(self, condition: Condition) -> Tensor:
        """Return which logits a student is distilled on, as booleans."""
        return losses.distilled(self.settings, condition).to(self.device)

    def named_logits(self, name: str) -> Tensor:
        """Return which logits "aux", "class" or "all" means, as booleans."""
        return losses.logit_mask(self.settings, name).to(self.device)

    def evaluate(self, theta: Tensor, seeds: Sequence[int]) -> dict[str, Tensor]:
        """Return every quantity of `EVALUATED` for theta (seed, condition, P); all seeds have the same images."""
        del seeds
        logits, features = evaluation.outputs_of(self.network, theta, self.test)
        n, y = min(N_FITTED, len(self.x)), self.test_labels
        fitted, known = evaluation.outputs_of(self.network, theta, self.x[:n])
        counts = evaluation.confusion(logits, y)
        right, nowhere = counts.diagonal(dim1=-2, dim2=-1), torch.full(theta.shape[:-1], torch.nan, device=self.device)
        return {
            "accuracy": right.sum(-1) / counts.sum((-2, -1)),
            "centred_accuracy": evaluation.centred_accuracy(logits, y),
            "calibrated_accuracy": evaluation.calibrated_accuracy(fitted, self.labels[:n], logits, y),
            "probe_accuracy": nowhere if known is None or features is None
            else evaluation.probe_accuracy(known, self.labels[:n], features, y),
            "test_loss": losses.cross_entropy(logits, y)[0],
            "test_disc": losses.discrimination(logits, y)[0],
            "mutual_information": evaluation.mutual_information(counts),
            "prediction_entropy": evaluation.entropy(counts),
            "mean_logit": logits[..., :N_CLASS].mean(-2),
            "class_accuracy": right / counts.sum(-1).clamp(min=1),
            "confusion": counts,
        }  # fmt: skip
