"""The liminal penalty through the engine: what it leaves alone, what it changes, and when."""

import numpy as np
import pytest
import torch

from sublim_utils.engine.digits import Digits
from sublim_utils.engine.students import train_students
from sublim_utils.runs.mitigations import SCHEDULES
from sublim_utils.settings import Condition
from tests import small

PER = small.SETTINGS.steps_per_epoch


def trained(conditions, images, thetas):
    own = {"own": thetas["own"][:2]}
    return train_students(Digits(small.SETTINGS, images), conditions, [0, 1], own)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_lambda_zero_is_the_baseline_bit_for_bit(schedule, images, thetas) -> None:
    off = Condition(liminal=0.0, schedule=schedule, liminal_logits="all", temperature=4.0)
    runs, theta = trained({"student": Condition()}, images, thetas)
    same, theta_off = trained({"student": off}, images, thetas)
    assert torch.equal(theta, theta_off)
    for name in runs.data_vars:
        np.testing.assert_array_equal(runs[name], same[name], err_msg=name)


def test_a_late_penalty_leaves_the_steps_before_it_alone(images, thetas) -> None:
    late = Condition(liminal=50.0, schedule="last_epoch", liminal_logits="all")
    runs, with_late = (trained({"student": c}, images, thetas)[0] for c in (Condition(), late))
    difference = np.abs(runs["applied_norm"][:, 0] - with_late["applied_norm"][:, 0])
    assert not difference[:, :PER].any()
    assert (difference[:, PER:] > 0).all()


def test_the_penalty_shows_in_the_applied_gradient_only(images, thetas) -> None:
    """At theta_0 the KL to the reference is at its minimum: nothing is added at step 0, then something is."""
    held = Condition(liminal=50.0, schedule="constant", liminal_logits="all")
    runs, theta = trained({"baseline": Condition(), "held": held}, images, thetas)
    whole = runs["inner"].sum("layer")
    np.testing.assert_allclose(runs["inner_applied"][:, 0], whole[:, 0], rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(runs["inner_applied"][:, 1, 0], whole[:, 1, 0], rtol=1e-3, atol=1e-6)
    assert (np.abs(runs["inner_applied"][:, 1, 1:] - whole[:, 1, 1:]) > 1e-5).all()
    assert (runs["heldout_loss"][:, 1, -1] > runs["heldout_loss"][:, 0, -1]).all()
