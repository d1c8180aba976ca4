"""The lazy student's closed form against dense algebra and against its training, step by step."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sublim_utils.engine.seeds import generator
from sublim_utils.theory import lazy, quantities
from tests.theory.test_quantities import problem, problems

few = settings(max_examples=10, deadline=None)


def dense(imitation, theta):
    """Return K = E_x[J^T M J], (P, P), from the whole Jacobian."""
    jacobian = torch.func.jacrev(imitation.distilled)(theta)
    return torch.einsum("nap,nab,nbq->pq", jacobian, imitation.metric(theta), jacobian) / len(jacobian)


@few
@given(problems)
def test_tangent_kernel_is_that_of_the_whole_jacobian(drawn):
    imitation, _, theta = drawn
    jacobian = torch.func.jacrev(imitation.distilled)(theta)
    root = quantities.metric_root(imitation.loss, imitation.distilled(theta))
    phi = (root.mT @ jacobian).flatten(0, 1) / len(jacobian) ** 0.5
    torch.testing.assert_close(lazy.tangent_kernel(imitation, theta), phi @ phi.mT)


@few
@given(problems, st.integers(0, 100))
def test_flow_is_the_matrix_exponential(drawn, seed):
    imitation, _, theta = drawn
    d_t, k = quantities.random_like(theta, generator(seed, "d")), dense(imitation, theta)
    student, times = lazy.LazyStudent.of(imitation, theta, d_t), np.array([0.0, 0.1, 1.0, 10.0])
    found, near = student.flow(times), {"rel": 1e-7, "abs": 1e-10 * student.size**2}
    for i, t in enumerate(times):
        d = d_t - torch.linalg.matrix_exp(-k * t) @ d_t
        down = k @ (d_t - d)
        assert found["overlap"][i] == pytest.approx(float(d @ d_t), **near)
        assert found["rate"][i] == pytest.approx(float(down @ d_t), **near)
        assert found["loss"][i] == pytest.approx(float((d_t - d) @ k @ (d_t - d)) / 2, **near)
        if down.norm() > 1e-6 * d_t.norm():
            assert found["cosine"][i] == pytest.approx(quantities.vector_cosine(down, d_t), rel=1e-7)


@few
@given(problems, st.integers(0, 100))
def test_flow_never_turns_against_the_teacher(drawn, seed):
    imitation, _, theta = drawn
    student = lazy.LazyStudent.of(imitation, theta, quantities.random_like(theta, generator(seed, "d")))
    found = student.flow(np.logspace(-2, 2, 12) / student.eigenvalues.max())
    assert found["overlap"].min() >= 0
    assert found["rate"].min() >= 0
    assert np.nanmin(found["cosine"]) >= 0
    assert np.diff(found["overlap"]).min() >= -1e-12 * student.size**2
    assert np.diff(found["rate"]).max() <= 0


@few
@given(problems, st.integers(0, 100), st.floats(0.05, 0.99))
def test_descent_follows_the_formula_and_never_turns_against_the_teacher(drawn, seed, share):
    imitation, _, theta = drawn
    d_t = quantities.random_like(theta, generator(seed, "d"))
    student = lazy.LazyStudent.of(imitation, theta, d_t)
    eta = share / student.eigenvalues.max()
    measured = lazy.descend_linearised(imitation, theta, d_t, eta, 8)
    formula = student.descent(eta, np.arange(9))
    scale = student.size**2
    np.testing.assert_allclose(formula["overlap"], measured["overlap"], rtol=1e-7, atol=1e-10 * scale)
    np.testing.assert_allclose(formula["rate"], measured["rate"], rtol=1e-7, atol=1e-10 * scale)
    assert formula["rate"].min() >= 0
    assert np.diff(formula["overlap"]).min() >= -1e-12 * scale
    assert np.diff(formula["rate"]).max() <= 1e-12 * scale


def test_beyond_the_step_size_the_rate_does_turn():
    """eta < 1 / lambda_max is needed: at 1.9 / lambda_max the overlap stays positive, the rate does not."""
    imitation, _, theta = problem(2, hidden=(5,), loss="mse", n=1, n_aux=1)
    d_t = quantities.random_like(theta, generator(0, "d"))
    student = lazy.LazyStudent.of(imitation, theta, d_t)
    found = student.descent(1.9 / student.eigenvalues.max(), np.arange(9))
    assert found["rate"][1] < 0
    assert found["overlap"].min() >= 0


def test_integrated_flow_is_the_formula():
    imitation, trait, theta = problem(4, loss="kl")
    d_t, times = -trait.gradient(theta), np.array([0.0, 1.0, 5.0])
    measured = lazy.flow_linearised(imitation, theta, d_t, times)
    np.testing.assert_allclose(lazy.LazyStudent.of(imitation, theta, d_t).flow(times)["overlap"], measured, rtol=1e-7)


def test_real_student_follows_the_lazy_one_for_a_near_teacher_and_parts_from_a_far_one():
    imitation, trait, theta = problem(5, loss="mse", n=12)
    d_t = -trait.gradient(theta)
    student = lazy.LazyStudent.of(imitation, theta, d_t)
    eta, gaps = 0.5 / student.eigenvalues.max(), []
    for eps in (1e-4, 30.0):
        path = lazy.followed(lazy.descend(imitation, theta, theta + eps * d_t, eta, 20), theta, eps * d_t)
        gaps.append(abs(path["overlap"][20] / (eps**2 * student.descent(eta, np.arange(21))["overlap"][20]) - 1))
    assert gaps[0] < 1e-3 < 5e-2 < gaps[1]


def test_adams_first_step_is_the_sign_of_the_gradient():
    imitation, trait, theta = problem(6)
    (_, down), (after, _) = lazy.descend_adam(imitation, theta, theta - trait.gradient(theta), 1e-3, 1)
    sized = down.abs() > 1e-5
    torch.testing.assert_close((after - theta)[sized], 1e-3 * down[sized].sign(), rtol=2e-3, atol=0)
