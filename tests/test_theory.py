"""Chapter 02's statements on small random networks, each as a property that can fail."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sublim_utils import losses, theory
from sublim_utils.mlp import MLP
from sublim_utils.seeds import generator
from sublim_utils.settings import N_CLASS

LOSSES = ("mse", "kl")
EPS = np.logspace(-6, -4, 5)


def problem(seed, *, hidden=(7, 5), activation="tanh", loss="kl", logits="aux", n=6, n_aux=3):
    """Return an imitation, a trait loss and theta_0 of a small random network in float64."""
    mlp = MLP(sizes=(4, *hidden, N_CLASS + n_aux), activation=activation)
    rng = generator(seed, "test")
    index = torch.arange(N_CLASS + n_aux)
    mask = {"aux": index >= N_CLASS, "class": index < N_CLASS, "all": index >= 0}[logits]
    x, real = (torch.empty(n, 4, dtype=torch.float64).uniform_(-1, 1, generator=rng) for _ in range(2))
    labels = torch.randint(N_CLASS, (n,), generator=rng)
    imitation = theory.Imitation(mlp, x, mask, loss)
    return imitation, theory.Trait(mlp, real, labels), mlp.initial(rng).double()


problems = st.builds(
    problem,
    st.integers(0, 10_000),
    hidden=st.lists(st.integers(2, 8), min_size=1, max_size=3).map(tuple),
    activation=st.sampled_from(["tanh", "identity", "relu"]),
    loss=st.sampled_from(LOSSES),
    logits=st.sampled_from(["aux", "class", "all"]),
    n=st.integers(1, 8),
    n_aux=st.integers(2, 4),
)
few = settings(max_examples=10, deadline=None)


@few
@given(problems)
def test_the_pure_network_and_its_trait_gradient_are_the_engines(drawn):
    imitation, trait, theta = drawn
    mlp = imitation.mlp
    outputs = mlp.forward(theta, trait.x)
    assert torch.equal(outputs[-1], theory.logits(mlp, theta, trait.x))
    loss, dlogits = losses.cross_entropy(outputs[-1], trait.y)
    by_hand = mlp.backward(theta, outputs, dlogits, torch.zeros_like(theta))
    torch.testing.assert_close(trait.gradient(theta), by_hand)
    torch.testing.assert_close(trait.loss(theta), loss)


@few
@given(problems)
def test_the_students_step_is_the_engines_distillation_gradient(drawn):
    imitation, _, theta = drawn
    teacher = theta + 0.3 * theory.random_like(theta, generator(1, "teacher"))
    mlp, mask = imitation.mlp, imitation.mask
    target = losses.target_of(imitation.loss, theory.logits(mlp, teacher, imitation.x), mask)
    outputs = mlp.forward(theta, imitation.x)
    _, dlogits = losses.DISTILLATION[imitation.loss](outputs[-1], target, mask)
    by_hand = mlp.backward(theta, outputs, dlogits, torch.zeros_like(theta))
    torch.testing.assert_close(imitation.step(theta, teacher), -by_hand)


@few
@given(problems)
def test_metric_is_the_mixed_derivative_and_positive_semidefinite(drawn):
    imitation, _, theta = drawn
    z = imitation.distilled(theta)
    for one, found in zip(z, imitation.metric(theta), strict=True):
        inner = torch.func.grad(lambda a, b: theory.distance(imitation.loss, a[None], b[None]).sum())
        mixed = -torch.func.jacrev(inner, argnums=1)(one, one)
        torch.testing.assert_close(found, mixed)
        assert torch.linalg.eigvalsh(found).min() > -1e-12


@few
@given(problems, st.integers(0, 100))
def test_rate_is_the_exact_derivative_of_the_inner_product_and_not_negative(drawn, seed):
    imitation, trait, theta = drawn
    for d_t in (-trait.gradient(theta), theory.random_like(theta, generator(seed, "direction"))):
        a = imitation.rate(theta, d_t)
        zero = torch.zeros((), dtype=theta.dtype)
        ahead = lambda e, d=d_t: imitation.step(theta, theta + e * d) @ d  # noqa: E731
        exact = torch.func.jvp(ahead, (zero,), (torch.ones_like(zero),))[1]
        torch.testing.assert_close(a, exact, rtol=1e-9, atol=1e-13)
        assert a >= 0


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("seed", range(4))
def test_slope_and_order_of_lemma_1_on_a_smooth_network(loss, seed):
    imitation, _, theta = problem(seed, loss=loss, n=16)
    d_t = theory.random_like(theta, generator(seed, "direction"))
    inner, a = theory.inner_products(imitation, theta, d_t, EPS), float(imitation.rate(theta, d_t))
    assert theory.slope_at_zero(EPS, inner) == pytest.approx(a, rel=1e-6)
    assert theory.order(EPS, inner - EPS * a) == pytest.approx(2, abs=0.05)


def test_a_kink_on_the_way_is_seen_and_only_there():
    mlp = MLP(sizes=(1, 1, 12))
    theta = torch.zeros(mlp.n_parameters, dtype=torch.float64)
    theta[0], x = 1.0, torch.tensor([[0.5], [-0.5], [0.1]], dtype=torch.float64)
    moved = theta.clone()
    moved[1] = -0.2  # the hidden unit's bias: switches it off for the third input only
    assert theory.same_pattern(mlp, x, theta, [moved]).tolist() == [True, True, False]


@few
@given(problems)
def test_theorem_1_the_step_lowers_the_trait_loss_or_the_inner_product_is_zero_for_every_eps(drawn):
    imitation, trait, theta = drawn
    d_t = -trait.gradient(theta)
    a = float(imitation.rate(theta, d_t))
    if a < 1e-12:
        inner = theory.inner_products(imitation, theta, d_t, np.array([1e-3, 1.0]))
        assert np.abs(inner).max() < 1e-12
    else:
        eps = 1e-7
        step = imitation.step(theta, theta + eps * d_t)
        assert trait.loss(theta + step) < trait.loss(theta)


@few
@given(problems, st.integers(0, 100))
def test_with_another_start_the_sign_turns_with_the_direction(drawn, seed):
    """To leading order D_S . D_T is linear in D_T there, so a direction and its opposite are equally likely."""
    imitation, _, theta = drawn
    other = imitation.mlp.initial(generator(seed, "other")).double()
    d_t = theory.random_like(theta, generator(seed, "direction"))
    plus, minus = (float(imitation.step(other, theta + s * 1e-9 * d_t) @ (s * d_t)) for s in (1, -1))
    assert plus == pytest.approx(-minus, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_linear_model_transfers_exactly_nothing_to_the_class_logits(loss):
    imitation, trait, theta = problem(0, hidden=(), loss=loss)
    teacher = theta - trait.gradient(theta)
    student = theta
    for _ in range(5):
        student = student + 0.1 * imitation.step(student, teacher + 0.1 * theory.random_like(theta, generator(0, "t")))
    before, after = (theory.logits(trait.mlp, t, trait.x) for t in (theta, student))
    assert torch.equal(before[:, :N_CLASS], after[:, :N_CLASS])
    assert not torch.equal(before[:, N_CLASS:], after[:, N_CLASS:])
    assert float(imitation.rate(theta, -trait.gradient(theta))) == 0


def test_predicted_change_is_exact_to_third_order():
    _, trait, theta = problem(3)
    sizes = np.logspace(-3, -1, 5)
    found = theory.predicted_change(trait, theta, theory.random_like(theta, generator(0, "step")), sizes)
    assert theory.order(sizes, found["actual"] - found["first"]) == pytest.approx(2, abs=0.15)
    assert theory.order(sizes, found["actual"] - found["second"]) == pytest.approx(3, abs=0.15)
