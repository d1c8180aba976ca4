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


def test_the_overlap_is_that_of_the_kernels_changes_of_the_class_logits():
    reaches, steps = (0.5, 1.0), []
    read = foresight.overlap(LAB, 2, steps.append, settings=SETTINGS, n=40, steps=5, reaches=reaches)
    theta_0 = TASK.references([2])[0, 0]
    imitation = Imitation(TASK.network, TASK.inputs(2)[0][:40], TASK.distilled(Condition()))

    def change(d):
        moved = torch.func.jvp(lambda theta: TASK.network.logits(theta, TASK.test)[:, :10], (theta_0,), (d,))[
            1
        ].double()
        return (moved - moved.mean(0) - moved.mean(1, keepdim=True) + moved.mean()).flatten().numpy()

    whole = change(TEACHER[0, 0] - theta_0)
    for reach, overlap, share in zip(reaches, read["overlap"].values, read["share"].values, strict=True):
        goal = theta_0 + reach * (TEACHER[0, 0] - theta_0)
        dz = imitation.distilled(goal) - imitation.distilled(theta_0)
        lazy = change(kernels.displacement(imitation, theta_0, dz, 5))
        # float32 products; their rounding is 1e-7, what LSMR makes of it within five steps stays below 1e-4
        assert overlap == pytest.approx(lazy @ whole / np.linalg.norm(lazy) / np.linalg.norm(whole), abs=1e-4)
        assert share == pytest.approx(lazy @ whole / (whole @ whole), rel=1e-3)
    arguments = {"settings": SETTINGS, "n": 40, "steps": 5, "reaches": reaches}
    assert len(steps) == foresight.overlap.stored.steps_of(arguments) == 12


def test_an_offset_is_no_overlap():
    """A teacher whose class biases alone have moved tells no digit from another."""
    theta_0 = TASK.references([2])
    biased = theta_0.clone()
    biased[..., -13:-3] += 1.0
    lab = SimpleNamespace(task=lambda _: TASK, teacher_weights=lambda *_: biased)
    read = foresight.overlap(lab, 2, lambda _: None, settings=SETTINGS, n=40, steps=5, reaches=(1.0,))
    assert float(read["share"][0]) == float(read["overlap"][0]) == 0


def test_ranks_are_compared_along_each_line_of_a_square():
    gain = xr.DataArray(np.arange(16.0).reshape(1, 4, 4), dims=("seed", "share", "reach"))
    assert float(foresight.ordered(gain**3, gain)[0]) == 1
    turned = gain.copy(data=gain.values[:, :, ::-1])  # right along one axis, wrong along the other
    assert float(foresight.ordered(turned, gain)[0]) == 0
    assert float(foresight.ordered(0 * gain, gain)[0]) == 0


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
