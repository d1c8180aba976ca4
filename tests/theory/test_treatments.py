"""The treatments, each against what it should be: torch's own optimisers, blocks that stay, one step by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sublim_utils.engine.digits import Digits
from sublim_utils.engine.ensemble import Ensemble
from sublim_utils.engine.network import MLP
from sublim_utils.engine.students import Untracked
from sublim_utils.engine.teachers import train_teachers
from sublim_utils.settings import Condition, SettingsError
from sublim_utils.theory import treatments
from sublim_utils.theory.treatments import ARMS, Treated
from tests.small import SETTINGS, images

TASK = Digits(SETTINGS, images())
TEACHERS = {"own": train_teachers(TASK, [2, 4])[0], "other": train_teachers(TASK, [3, 5])[0]}
CONDITIONS = {n: Condition.of(teacher=arm.teacher, redrawn=arm.redrawn) for n, arm in ARMS.items()}
NAMES = list(ARMS)


def ensemble(conditions=None, teachers=None, settings=SETTINGS):
    return Ensemble(Digits(settings, images()), conditions or CONDITIONS, [2, 4], teachers or TEACHERS)


def ended(training, n_steps=SETTINGS.n_steps):
    for step in range(n_steps):
        training.step(step)
    return training.theta


def alone(optimizer=None):
    """Return theta (seed, P) of the baseline's student, under another of torch's optimisers."""
    training = Untracked(ensemble({"baseline": Condition()}))
    if optimizer is not None:
        training.optimizer = optimizer(training.optimizer.param_groups[0]["params"])
    return ended(training)[:, 0]


@pytest.fixture(scope="module")
def theta():
    return ended(Treated(ensemble()))


def of(theta, name):
    return theta[:, NAMES.index(name)]


def block(name):
    return MLP.of(SETTINGS).block(name)


def test_the_baseline_is_untouched(theta):
    torch.testing.assert_close(of(theta, "student (aux)"), alone(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("strength", ["0.0001", "0.01"])
def test_coupled_decay_is_adams_weight_decay(theta, strength):
    known = {"lr": SETTINGS.student_lr, "weight_decay": float(strength)}
    wanted = alone(lambda models: torch.optim.Adam(models, **known))
    torch.testing.assert_close(of(theta, f"coupled decay {strength}"), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("strength", ["0.01", "1"])
def test_decoupled_decay_is_adamws(theta, strength):
    known = {"lr": SETTINGS.student_lr, "weight_decay": float(strength)}
    wanted = alone(lambda models: torch.optim.AdamW(models, **known))
    torch.testing.assert_close(of(theta, f"decoupled decay {strength}"), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["layer 1", "layer 2", "auxiliary head"])
def test_what_is_frozen_stays_and_the_rest_moves(theta, name):
    way, inside = of(theta, f"{name} frozen") - ensemble().reference[:, 0], block(name)
    assert (way[:, inside] == 0).all()
    rest = ~inside & ~block("class head")
    assert (way[:, rest].abs().amax(dim=1) > 1e-3).all()


@pytest.mark.parametrize("name", ["class head redrawn", "class head noised"])
def test_a_class_head_is_another_and_nothing_else_is(theta, name):
    way, inside = of(theta, name) - of(theta, "student (aux)"), block("class head")
    torch.testing.assert_close(way[:, ~inside], torch.zeros_like(way[:, ~inside]), rtol=0, atol=1e-6)
    assert (way[:, inside].abs().amax(dim=1) > 0.1).all()


def test_a_donor_of_the_same_teacher_changes_nothing_but_rounding():
    same = {"own": TEACHERS["own"], "other": TEACHERS["own"]}
    trained = ended(Treated(ensemble(teachers=same)))
    for name in ("first moment of the cross-model", "cross-model, first moment of the own"):
        torch.testing.assert_close(of(trained, name), of(trained, "student (aux)"), rtol=1e-3, atol=1e-4)


def test_a_donors_first_moment_decides_where_a_student_goes(theta):
    start = ensemble().reference[:, 0]
    ways = {n: of(theta, n) - start for n in ("student (aux)", "cross-model (aux)", "first moment of the cross-model")}
    to_donor, to_teacher = (
        torch.cosine_similarity(ways["first moment of the cross-model"], ways[n], dim=1)
        for n in ("cross-model (aux)", "student (aux)")
    )
    assert (to_donor > to_teacher + 0.2).all()


def test_a_reset_changes_nothing_within_the_first_epoch_and_something_after():
    training, i = Treated(ensemble()), NAMES.index("first moment reset each epoch")
    per = SETTINGS.steps_per_epoch
    ended(training, per)
    torch.testing.assert_close(training.theta[:, i], training.theta[:, 0], rtol=1e-4, atol=1e-6)
    training.step(per)
    assert (training.moments(i, "exp_avg") != training.moments(0, "exp_avg")).any()
    applied = training.applied[:, i]
    torch.testing.assert_close(training.moments(i, "exp_avg"), 0.1 * applied, rtol=1e-4, atol=1e-8)


def test_the_fixed_preconditioner_is_the_mean_square_at_the_start():
    training, i = Treated(ensemble()), NAMES.index("fixed preconditioner")
    start, gradients = training.theta[:, i].clone(), []
    for step in range(SETTINGS.steps_per_epoch):
        training.distill_gradient(step)
        gradients.append(training.distill[:, i].double())
    training.step(0)
    size = torch.stack(gradients).square().mean(0).sqrt() + 1e-8
    torch.testing.assert_close(
        (start - training.theta[:, i]).double(), SETTINGS.student_lr * gradients[0] / size, rtol=1e-2, atol=1e-5
    )


def test_what_is_stored_has_every_arm_and_reading(lab):
    steps = []
    kept = treatments.treated(lab, 2, steps.append, settings=SETTINGS)
    assert list(kept["arm"].values) == NAMES
    assert len(steps) == SETTINGS.n_steps
    assert set(kept.data_vars) == set(treatments.KEPT)
    assert np.isfinite(kept["centred_accuracy"]).all()


def test_another_optimiser_is_refused_by_name():
    with pytest.raises(SettingsError, match="optimizer = 'sgd'"):
        Treated(ensemble(settings=replace(SETTINGS, optimizer="sgd")))
