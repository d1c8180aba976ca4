"""The lazy student's reading of the test images: of a network that is lazy, what it reads when trained."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import xarray as xr

from sublim_utils.engine import evaluation
from sublim_utils.engine.digits import Digits
from sublim_utils.engine.teachers import train_teachers
from sublim_utils.settings import Condition
from sublim_utils.theory import foresight, kernels
from sublim_utils.theory.quantities import Imitation
from tests.small import SETTINGS, images

TASK = Digits(SETTINGS, images())
TEACHER = train_teachers(TASK, [2])[0]
LAB = SimpleNamespace(task=lambda _: TASK, teacher_weights=lambda *_: TEACHER)


def test_it_reads_the_lazy_students_logits():
    steps = []
    read = foresight.lazy_student(LAB, 2, steps.append, settings=SETTINGS, n=40, steps=5)
    theta_0 = TASK.references([2])[0, 0]
    imitation = Imitation(TASK.network, TASK.inputs(2)[0][:40], TASK.distilled(Condition()))
    change = imitation.distilled(TEACHER[0, 0]) - imitation.distilled(theta_0)
    d = kernels.displacement(imitation, theta_0, change, 5)
    logits = (
        TASK.network.logits(theta_0, TASK.test)
        + torch.func.jvp(lambda theta: TASK.network.logits(theta, TASK.test), (theta_0,), (d,))[1]
    )
    assert float(read["accuracy"]) == pytest.approx(float(evaluation.accuracy(logits, TASK.test_labels)))
    assert int(read["confusion"].sum()) == SETTINGS.n_test
    assert float(np.trace(read["confusion"])) / SETTINGS.n_test == pytest.approx(float(read["accuracy"]))
    assert len(steps) == foresight.lazy_student.stored.steps_of({"settings": SETTINGS, "n": 40, "steps": 5}) == 6


def test_a_teacher_that_has_not_moved_foresees_the_reference():
    still = SimpleNamespace(task=lambda _: TASK, teacher_weights=lambda *_: TASK.references([2]))
    read = foresight.lazy_student(still, 2, lambda _: None, settings=SETTINGS, n=40, steps=5)
    assert float(read["length"]) == 0
    assert float(read["accuracy"]) == float(TASK.evaluate(TASK.references([2]), [2])["accuracy"])


def test_r2_is_of_the_best_line_and_of_no_sign():
    x, y = np.array([0.1, 0.2, 0.4, 0.3]), np.array([0.5, 0.3, 0.2, 0.1])
    line = np.polynomial.Polynomial.fit(x, y, 1)
    assert float(foresight.explained(x, y)) == pytest.approx(1 - np.var(y - line(x)) / np.var(y))
    assert float(foresight.explained(x, np.ones(4))) == 0


def test_confusions_agree_with_themselves_and_not_with_another_seeds():
    rng = np.random.default_rng(0)
    counts = xr.DataArray(rng.integers(1, 50, (6, 10, 10)), dims=("seed", "class", "predicted"))
    counts = counts.assign_coords(seed=range(6))
    assert foresight.agreement(counts, counts).values == pytest.approx(np.ones(6))
    swapped = counts.roll(seed=1, roll_coords=False)
    assert float(foresight.agreement(swapped, counts).mean()) < 0.2
