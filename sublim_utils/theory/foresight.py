"""What a student will know, foreseen before it is trained: the lazy student of `kernels`, from theta_0 and theta_T."""

from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from sublim_utils.analysis.stats import rank_correlation
from sublim_utils.engine import evaluation
from sublim_utils.engine.tasks import Task
from sublim_utils.engine.vectors import TINY
from sublim_utils.runs.filling import Advance
from sublim_utils.runs.lab import Lab
from sublim_utils.runs.stored import stored
from sublim_utils.settings import Condition, Settings
from sublim_utils.theory import kernels
from sublim_utils.theory.quantities import Imitation

__all__ = ["JUDGED", "STEPS", "VERSION", "agreement", "explained", "lazy_student", "ordered", "overlap"]

VERSION = 1
"""Part of the address of what is stored: raise it when a change alters what a function here returns."""

STEPS = 30
"""Products with the Jacobian: few, as the training stops short as well. Fixed before the seeds that judge it."""

JUDGED = range(110, 130)
"""Of the recorded run's fresh seeds, those that no prediction had been made for when its criteria were fixed."""


@stored(kind="foresight", part="lazy student", version=VERSION, steps=lambda steps, **_: int(steps) + 1, device="cpu")
def lazy_student(lab: Lab, seed: int, advance: Advance, *, settings: Settings, n: int, steps: int) -> xr.Dataset:
    """Return what the lazy student at theta_0 reads of the test images, before any student is trained, in float32.

    Its displacement fits the change of its teacher's auxiliary logits on the seed's own first n distillation inputs, by
    `kernels.displacement`. Variables: ``accuracy`` and ``centred_accuracy``, 0 to 1, ``confusion`` (class, predicted),
    counts, and ``length``, the displacement's.
    """
    task = lab.task(settings)
    imitation, theta_0, teacher = _imitation(lab, task, seed, n)
    d = _displacement(imitation, theta_0, teacher, steps, advance)
    logits = kernels.class_logits(imitation, theta_0, d, task.test)
    readings = {
        "accuracy": evaluation.accuracy(logits, task.test_labels),
        "centred_accuracy": evaluation.centred_accuracy(logits, task.test_labels),
        "length": d.norm(),
    }
    counts = evaluation.confusion(logits, task.test_labels).numpy(force=True).astype("int32")
    scalars = {name: float(value) for name, value in readings.items()}
    return xr.Dataset({**scalars, "confusion": (("class", "predicted"), counts)})


def _imitation(lab: Lab, task: Task, seed: int, n: int) -> tuple[Imitation, Tensor, Tensor]:
    """Return what a student imitates on the first n of its inputs, theta_0 and its teacher's theta_T."""
    imitation = Imitation(task.network, task.inputs(seed)[0][:n], task.distilled(Condition()), task.settings.loss)
    return imitation, task.references([seed])[0, 0], lab.teacher_weights(task.settings, seed, "own")[0, 0]


def _displacement(imitation: Imitation, theta_0: Tensor, teacher: Tensor, steps: int, advance: Advance) -> Tensor:
    change = imitation.distilled(teacher) - imitation.distilled(theta_0)
    return kernels.displacement(imitation, theta_0, change, steps, advance)


@stored(
    kind="foresight",
    part="overlap",
    version=VERSION,
    steps=lambda steps, reaches, **_: (int(steps) + 1) * len(reaches),
    device="cpu",
)
def overlap(
    lab: Lab, seed: int, advance: Advance, *, settings: Settings, n: int, steps: int, reaches: Sequence[float]
) -> xr.Dataset:
    """Return how far the tangent kernels carry what is distilled into what is read, of teachers theta_0 + alpha D_T.

    The lazy student's change of the class logits, J_class d, where d fits the change of the auxiliary logits by alpha
    D_T, against the teacher's own, J_class D_T, over the test images: each less its means over images and over logits,
    as no offset tells one digit from another. Variables (reach,): ``overlap``, their cosine, -1 to 1; ``share``,
    their inner product over |J_class D_T|^2; ``centred_accuracy``, the lazy student's, 0 to 1.
    """
    task = lab.task(settings)
    test, labels = task.test, task.test_labels
    imitation, theta_0, teacher = _imitation(lab, task, seed, n)
    start = kernels.class_logits(imitation, theta_0, torch.zeros_like(theta_0), test)
    whole = _contrasts(kernels.class_logits(imitation, theta_0, teacher - theta_0, test) - start)
    readings: dict[str, list[float]] = {"overlap": [], "share": [], "centred_accuracy": []}
    for reach in reaches:
        d = _displacement(imitation, theta_0, torch.lerp(theta_0, teacher, reach), steps, advance)
        logits = kernels.class_logits(imitation, theta_0, d, test)
        change = _contrasts(logits - start)
        readings["overlap"].append(float((change * whole).sum() / (change.norm() * whole.norm()).clamp(min=TINY)))
        readings["share"].append(float((change * whole).sum() / whole.square().sum().clamp(min=TINY)))
        readings["centred_accuracy"].append(float(evaluation.centred_accuracy(logits, labels)))
    return xr.Dataset({name: ("reach", values) for name, values in readings.items()}, coords={"reach": list(reaches)})


def _contrasts(logits: Tensor) -> Tensor:
    """Return logits (n, 10) less each row's mean and each column's, in float64."""
    centred = logits.double()
    centred = centred - centred.mean(1, keepdim=True)
    return centred - centred.mean(0)


def explained(predicted: np.ndarray, measured: np.ndarray, axis: int = -1) -> np.ndarray:
    """Return R^2 of a line through a prediction: the squared correlation along `axis`, 0 to 1; 0 for a constant.

    >>> float(explained(np.array([0.1, 0.2, 0.4]), np.array([0.3, 0.5, 0.9])))
    1.0
    """
    a, b = (v - v.mean(axis, keepdims=True) for v in (np.asarray(predicted, float), np.asarray(measured, float)))
    both, size = (a * b).sum(axis), (a**2).sum(axis) * (b**2).sum(axis)
    return np.divide(both**2, size, out=np.zeros_like(size), where=size > 0)


def ordered(predicted: xr.DataArray, measured: xr.DataArray, along: Sequence[str] | None = None) -> xr.DataArray:
    """Return how far a prediction orders what is measured along every line of a square, (seed,), -1 to 1.

    Both are (seed, ...) over two or more axes. Spearman's correlation over one axis at each value of the others, 0 for
    a constant; the mean over all lines of each axis, then over the axes, all or those named.
    """
    axes = [name for name in measured.dims if name != "seed"] if along is None else along
    lines = [
        rank_correlation(*(one.transpose("seed", ..., axis).values for one in (predicted, measured))) for axis in axes
    ]
    by_axis = [line.reshape(len(measured["seed"]), -1).mean(1) for line in lines]
    return xr.DataArray(np.mean(by_axis, axis=0), dims="seed")


def agreement(predicted: xr.DataArray, measured: xr.DataArray) -> xr.DataArray:
    """Return R^2 of each seed's confusion matrix over its cells, (seed,), from a predicted one's.

    Both, (seed, class, predicted), are taken as shares of their class's images, less the mean over seeds, so that only
    what sets seeds apart counts.
    """
    shares = [_centred_shares(counts).stack(cell=("class", "predicted")) for counts in (predicted, measured)]
    return xr.DataArray(explained(*(one.transpose("seed", "cell").values for one in shares)), dims="seed")


def _centred_shares(counts: xr.DataArray) -> xr.DataArray:
    shares = counts / counts.sum("predicted")
    return shares - shares.mean("seed")
