"""What a student will know, foreseen before it is trained: the lazy student of `kernels`, from theta_0 and theta_T."""

import numpy as np
import xarray as xr

from sublim_utils.engine import evaluation
from sublim_utils.runs.filling import Advance
from sublim_utils.runs.lab import Lab
from sublim_utils.runs.stored import stored
from sublim_utils.settings import Condition, Settings
from sublim_utils.theory import kernels
from sublim_utils.theory.quantities import Imitation

__all__ = ["JUDGED", "STEPS", "VERSION", "agreement", "explained", "lazy_student"]

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
    task, theta_0 = lab.task(settings), lab.task(settings).references([seed])[0, 0]
    x, teacher = task.inputs(seed)[0][:n], lab.teacher_weights(settings, seed, "own")[0, 0]
    imitation = Imitation(task.network, x, task.distilled(Condition()), settings.loss)
    change = imitation.distilled(teacher) - imitation.distilled(theta_0)
    d = kernels.displacement(imitation, theta_0, change, steps, advance)
    logits = kernels.class_logits(imitation, theta_0, d, task.test)
    readings = {
        "accuracy": evaluation.accuracy(logits, task.test_labels),
        "centred_accuracy": evaluation.centred_accuracy(logits, task.test_labels),
        "length": d.norm(),
    }
    counts = evaluation.confusion(logits, task.test_labels).numpy(force=True).astype("int32")
    scalars = {name: float(value) for name, value in readings.items()}
    return xr.Dataset({**scalars, "confusion": (("class", "predicted"), counts)})


def explained(predicted: np.ndarray, measured: np.ndarray, axis: int = -1) -> np.ndarray:
    """Return R^2 of a line through a prediction: the squared correlation along `axis`, 0 to 1; 0 for a constant.

    >>> float(explained(np.array([0.1, 0.2, 0.4]), np.array([0.3, 0.5, 0.9])))
    1.0
    """
    a, b = (v - v.mean(axis, keepdims=True) for v in (np.asarray(predicted, float), np.asarray(measured, float)))
    both, size = (a * b).sum(axis), (a**2).sum(axis) * (b**2).sum(axis)
    return np.divide(both**2, size, out=np.zeros_like(size), where=size > 0)


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
