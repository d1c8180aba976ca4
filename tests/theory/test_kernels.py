"""The lazy prediction of the class logits, against whole Jacobians."""

from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sublim_utils.engine.seeds import generator
from sublim_utils.settings import SettingsError
from sublim_utils.theory import approach, kernels, quantities
from tests.theory.test_quantities import drawn_problems, problem

few = settings(max_examples=6, deadline=None)
wide = drawn_problems(["tanh", "relu"], hidden=st.just((9, 8)), logits=st.just("aux"), inputs=st.just("noise"))
losses = pytest.mark.parametrize("loss", ["mse", "kl"])


def jacobians(imitation, theta, x):
    """Return J of the distilled logits as the loss sees them, and of the class logits on x, (rows, P) each."""
    whole = torch.func.jacrev(imitation.distilled)(theta)
    if imitation.loss == "kl":
        whole = whole - whole.mean(1, keepdim=True)
    classes = torch.func.jacrev(lambda t: quantities.logits(imitation.mlp, t, x)[:, :10])(theta)
    return whole.flatten(0, 1), classes.flatten(0, 1)


def change_of(imitation, theta, seed):
    """Return a change of the distilled logits that some displacement brings about."""
    return imitation.push(theta, 2 * quantities.random_like(theta, generator(seed, "d")))


@few
@given(wide, st.integers(0, 100), st.sampled_from([2, 2048]))
def test_class_logits_are_those_of_the_pseudo_inverse_of_the_whole_jacobian(drawn, seed, chunk):
    imitation, trait, theta = drawn
    change, (aux, classes) = change_of(imitation, theta, seed), jacobians(imitation, theta, trait.x)
    with patch.object(kernels, "CHUNK", chunk):
        d = kernels.displacement(imitation, theta, change, steps=300)
        found = kernels.class_logits(imitation, theta, d, trait.x)
    target = change - change.mean(1, keepdim=True) if imitation.loss == "kl" else change
    expected = classes @ torch.linalg.pinv(aux, rtol=1e-10) @ target.flatten()
    moved = found - quantities.logits(trait.mlp, theta, trait.x)[:, :10]
    torch.testing.assert_close(moved.flatten(), expected, rtol=1e-4, atol=1e-5)


@losses
def test_it_is_the_shortest_that_fits_where_descent_from_0_ends(loss):
    imitation, _, theta = problem(2, hidden=(9, 8), loss=loss, n=4)
    d_t = quantities.random_like(theta, generator(0, "d"))
    found = kernels.displacement(imitation, theta, imitation.push(theta, d_t), steps=200)
    assert approach.LinearStudent.of(imitation, theta).observe(found, d_t)[0] < 1e-14
    assert float(found @ d_t) == pytest.approx(float(found @ found))  # D_T's shadow on J's rows, as descent's end is
    assert float(found @ found) < 0.5 * float(d_t @ d_t)


@losses
def test_few_steps_stop_short_as_a_training_does(loss):
    imitation, _, theta = problem(2, hidden=(9, 8), loss=loss)
    change, calls = change_of(imitation, theta, 0), []
    aux = jacobians(imitation, theta, imitation.x)[0]
    target = (change - change.mean(1, keepdim=True) if loss == "kl" else change).flatten()
    lengths, misses = [], []
    for steps in (1, 3, 9):
        d = kernels.displacement(imitation, theta, change, steps, calls.append)
        lengths.append(float(d.norm()))
        misses.append(float((aux @ d - target).norm()))
    assert lengths == sorted(lengths)
    assert misses == sorted(misses, reverse=True)
    assert len(calls) >= 1 + 3 + 9
    slope = aux.mT @ target  # the first step: along it, as far as leaves the normal equations' residual least
    moved = aux.mT @ (aux @ slope)
    first = kernels.displacement(imitation, theta, change, 1)
    torch.testing.assert_close(first, slope * (slope @ moved) / (moved @ moved))


def test_softmax_does_not_see_the_mean_of_the_logits():
    imitation, _, theta = problem(3, hidden=(9, 8))
    change = change_of(imitation, theta, 0)
    other = change + torch.randn(len(change), 1, dtype=torch.float64, generator=generator(0, "mean"))
    torch.testing.assert_close(*(kernels.displacement(imitation, theta, dz, 50) for dz in (change, other)))
    q = kernels.seen("kl", 3)
    torch.testing.assert_close(q.mT @ q, torch.eye(2).double())
    assert q.sum(0).abs().max() < 1e-15


def test_no_step_at_all_is_refused():
    imitation, _, theta = problem(4)
    with pytest.raises(SettingsError, match="steps = 0"):
        kernels.displacement(imitation, theta, change_of(imitation, theta, 0), 0)
