"""The statements of the chapters theory and single_step on small random networks, each as a property that can fail."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sublim_utils.engine import losses
from sublim_utils.engine.modules import Module
from sublim_utils.engine.network import MLP
from sublim_utils.engine.seeds import generator
from sublim_utils.settings import N_CLASS, SettingsError
from sublim_utils.theory import lazy, quantities

LOSSES = ("mse", "kl")
EPS = np.logspace(-5, -4, 5)


def problem(seed, *, hidden=(7, 5), activation="tanh", loss="kl", logits="aux", n=6, n_aux=3, inputs="noise"):
    """Return an imitation, a trait loss and theta_0 of a small random network in float64."""
    mlp = MLP(sizes=(4, *hidden, N_CLASS + n_aux), activation=activation)
    rng = generator(seed, "test")
    index = torch.arange(N_CLASS + n_aux)
    mask = {"aux": index >= N_CLASS, "class": index < N_CLASS, "all": index >= 0}[logits]
    x, real = (torch.empty(n, 4, dtype=torch.float64).uniform_(-1, 1, generator=rng) for _ in range(2))
    labels = torch.randint(N_CLASS, (n,), generator=rng)
    x = {"noise": x, "constant": x[:, :1].expand(n, 4), "large": 3 * x, "real": real}[inputs]
    imitation = quantities.Imitation(mlp, x, mask, loss)
    return imitation, quantities.Trait(mlp, real, labels), mlp.initial(rng).double()


def drawn_problems(activations, **fixed):
    """Return a strategy of problems: any width, depth, inputs and loss, unless `fixed`."""
    free = {
        "hidden": st.lists(st.integers(2, 8), min_size=1, max_size=3).map(tuple),
        "activation": st.sampled_from(activations),
        "loss": st.sampled_from(LOSSES),
        "logits": st.sampled_from(["aux", "class", "all"]),
        "inputs": st.sampled_from(["noise", "constant", "large", "real"]),
        "n": st.integers(1, 8),
        "n_aux": st.integers(2, 4),
    }
    return st.builds(problem, st.integers(0, 10_000), **{**free, **fixed})


problems, smooth = drawn_problems(["tanh", "identity", "relu"]), drawn_problems(["tanh", "identity"])
few = settings(max_examples=10, deadline=None)


@few
@given(problems)
def test_the_pure_network_and_its_trait_gradient_are_the_engines(drawn):
    imitation, trait, theta = drawn
    mlp = imitation.mlp
    tape = mlp.forward(theta, trait.x)
    assert torch.equal(tape.logits, quantities.logits(mlp, theta, trait.x))
    loss, dlogits = losses.cross_entropy(tape.logits, trait.y)
    by_hand = mlp.backward(theta, tape, dlogits, torch.zeros_like(theta))
    torch.testing.assert_close(trait.gradient(theta), by_hand)
    torch.testing.assert_close(trait.loss(theta), loss)


@few
@given(problems)
def test_the_students_step_is_the_engines_distillation_gradient(drawn):
    imitation, _, theta = drawn
    teacher = theta + 0.3 * quantities.random_like(theta, generator(1, "teacher"))
    mlp, mask = imitation.mlp, imitation.mask
    target = losses.target_of(imitation.loss, quantities.logits(mlp, teacher, imitation.x), mask)
    tape = mlp.forward(theta, imitation.x)
    _, dlogits = losses.DISTILLATION[imitation.loss](tape.logits, target, mask)
    by_hand = mlp.backward(theta, tape, dlogits, torch.zeros_like(theta))
    torch.testing.assert_close(imitation.step(theta, teacher), -by_hand)


@few
@given(problems)
def test_metric_is_the_mixed_derivative_and_positive_semidefinite(drawn):
    imitation, _, theta = drawn
    z = imitation.distilled(theta)
    for one, found in zip(z, imitation.metric(theta), strict=True):
        inner = torch.func.grad(lambda a, b: quantities.distance(imitation.loss, a[None], b[None]).sum())
        mixed = -torch.func.jacrev(inner, argnums=1)(one, one)
        torch.testing.assert_close(found, mixed)
        assert torch.linalg.eigvalsh(found).min() > -1e-12


@few
@given(problems, st.integers(0, 100))
def test_rate_is_the_exact_derivative_of_the_inner_product_and_not_negative(drawn, seed):
    imitation, trait, theta = drawn
    for d_t in (-trait.gradient(theta), quantities.random_like(theta, generator(seed, "direction"))):
        a = imitation.rate(theta, d_t)
        zero = torch.zeros((), dtype=theta.dtype)
        ahead = lambda e, d=d_t: imitation.step(theta, theta + e * d) @ d  # noqa: E731
        exact = torch.func.jvp(ahead, (zero,), (torch.ones_like(zero),))[1]
        torch.testing.assert_close(a, exact, rtol=1e-9, atol=1e-13)
        assert a >= 0


@few
@given(smooth, st.integers(0, 100))
def test_slope_and_order_of_lemma_1_on_a_smooth_network(drawn, seed):
    """The slope is A, the remainder eps^2 phi''(0) / 2 with phi'' by autograd, so of order 2 unless phi'' is 0."""
    imitation, _, theta = drawn
    d_t = quantities.random_like(theta, generator(seed, "direction"))
    inner, a = quantities.student_inner(imitation, theta, d_t, EPS), float(imitation.rate(theta, d_t))
    phi = lambda e: imitation.step(theta, theta + e * d_t) @ d_t  # noqa: E731
    zero = torch.zeros((), dtype=theta.dtype)
    bend = float(torch.func.grad(torch.func.grad(phi))(zero))
    assert quantities.slope_at_zero(EPS, inner) == pytest.approx(a, rel=1e-5, abs=1e-9)
    np.testing.assert_allclose((inner - EPS * a) / EPS**2, bend / 2, rtol=1e-2, atol=1e-2 * a + 1e-9)
    if abs(bend) > 0.1 * a + 1e-6:
        assert quantities.order(EPS, inner - EPS * a) == pytest.approx(2, abs=0.05)


def test_a_kink_on_the_way_is_seen_and_only_there():
    mlp = MLP(sizes=(1, 1, 12))
    theta = torch.zeros(mlp.n_parameters, dtype=torch.float64)
    theta[0], x = 1.0, torch.tensor([[0.5], [-0.5], [0.1]], dtype=torch.float64)
    moved = theta.clone()
    moved[1] = -0.2  # the hidden unit's bias: switches it off for the third input only
    assert quantities.same_pattern(mlp, x, theta, [moved]).tolist() == [True, True, False]


@few
@given(problems)
def test_theorem_1_the_step_lowers_the_trait_loss_or_the_inner_product_is_zero_for_every_eps(drawn):
    imitation, trait, theta = drawn
    d_t = -trait.gradient(theta)
    a = float(imitation.rate(theta, d_t))
    if a < 1e-12:
        inner = quantities.student_inner(imitation, theta, d_t, np.array([1e-3, 1.0]))
        assert np.abs(inner).max() < 1e-12
    else:
        eps = 1e-7
        step = imitation.step(theta, theta + eps * d_t)
        assert trait.loss(theta + step) < trait.loss(theta)


@few
@given(smooth, st.integers(0, 100))
def test_with_another_start_the_sign_turns_with_the_direction_and_with_the_same_start_it_does_not(drawn, seed):
    """To leading order D_S . D_T = E_x[(J' D_T)^T r(z', z_0)]: linear in D_T. With one start it is even, eps A."""
    imitation, _, theta = drawn
    other = imitation.mlp.initial(generator(seed, "other")).double()
    d_t = quantities.random_like(theta, generator(seed, "direction"))
    z, t = imitation.distilled(other), imitation.distilled(theta)
    pull = 2 * (t - z) if imitation.loss == "mse" else t.softmax(-1) - z.softmax(-1)
    expected = float((imitation.push(other, d_t) * pull).sum(-1).mean())
    for sign in (1, -1):
        d, e = sign * d_t, 1e-7
        assert float(imitation.step(other, theta + e * d) @ d) == pytest.approx(sign * expected, rel=1e-3, abs=1e-5)
        assert float(imitation.step(theta, theta + e * d) @ d) >= -1e-15


@pytest.mark.parametrize("loss", LOSSES)
def test_with_another_start_both_signs_are_common_and_with_the_same_start_there_is_one(loss):
    positive = {"same": 0, "other": 0}
    for seed in range(200):
        imitation, trait, theta = problem(seed, loss=loss)
        starts = {"same": theta, "other": imitation.mlp.initial(generator(seed, "other")).double()}
        d_t = -trait.gradient(theta)
        for name, start in starts.items():
            positive[name] += bool(imitation.step(start, theta + 1e-4 * d_t) @ d_t > 0)
    assert positive["same"] == 200
    assert 60 < positive["other"] < 140  # a fair coin leaves this range less than once in 10^7


@few
@given(drawn_problems(["tanh", "relu"], loss=st.just("kl"), logits=st.just("aux")), st.integers(0, 100))
def test_turning_the_students_auxiliary_weights_turns_the_teachers_part_of_its_step(drawn, seed):
    """The symmetry behind equation (eq-own-part): no such turn makes the own part change its sign."""
    imitation, trait, start = drawn
    d = -trait.gradient(start)
    inner = []
    for sign in (1, -1):
        theta = imitation.mlp.initial(generator(seed, "another")).double()
        imitation.mlp.unflatten(theta)[-1][0][:, N_CLASS:] *= sign
        own = imitation.pull_to_uniform(theta)
        inner.append((imitation.step(theta, start + 1e-3 * d) - own, own))
    (teachers, own), (turned, own_turned) = [[float(part @ d) for part in parts] for parts in inner]
    size = float(d.norm()) * max(float(part.norm()) for parts in inner for part in parts)
    assert abs(teachers + turned) <= 1e-12 * size
    assert own == 0.0 or abs(own + own_turned) > 1e-12 * size


@few
@given(drawn_problems(["relu"], hidden=st.just(()), logits=st.just("aux")), st.booleans(), st.integers(0, 100))
def test_a_linear_model_transfers_exactly_nothing_to_the_class_logits(drawn, adam, seed):
    imitation, trait, theta = drawn
    teacher = theta - trait.gradient(theta) + quantities.random_like(theta, generator(seed, "t"))
    student = theta
    for _ in range(5):
        step = imitation.step(student, teacher)
        student = student + (quantities.adam_step(step, 0.1) if adam else 0.1 * step)
    before, after = (quantities.logits(trait.mlp, t, trait.x) for t in (theta, student))
    assert torch.equal(before[:, :N_CLASS], after[:, :N_CLASS])
    assert not torch.equal(before[:, N_CLASS:], after[:, N_CLASS:])
    assert float(imitation.rate(theta, -trait.gradient(theta))) == 0


@few
@given(problems, st.integers(0, 100), st.floats(1e-12, 1e3), st.floats(1e-5, 1))
def test_adam_step_is_the_first_of_torchs_adam(drawn, seed, size, lr):
    _, _, theta = drawn
    d_s = size * torch.randn(theta.shape, generator=generator(seed, "g"), dtype=theta.dtype)
    weights = torch.zeros_like(theta)
    weights.grad = -d_s
    torch.optim.Adam([weights], lr=lr).step()
    torch.testing.assert_close(quantities.adam_step(d_s, lr), weights, rtol=1e-9, atol=1e-12 * lr)


@few
@given(problems, st.integers(0, 100))
def test_a_tiny_adam_step_is_a_gradient_step_and_a_large_one_a_sign(drawn, seed):
    _, _, theta = drawn
    d = quantities.random_like(theta, generator(seed, "g"))
    tiny, large = quantities.adam_step(1e-13 * d), quantities.adam_step(1e6 * d)
    torch.testing.assert_close(tiny, 1e-5 * d, rtol=1e-4, atol=0)
    torch.testing.assert_close(large, d.sign(), rtol=1e-9, atol=0)


@few
@given(smooth, st.integers(0, 100))
def test_with_one_scaling_for_both_the_first_order_change_of_the_trait_loss_is_not_positive(drawn, seed):
    """D_T = -S g and a step S D_S: g . S D_S = -D_T . D_S, whatever the positive scaling S."""
    imitation, trait, theta = drawn
    g = trait.gradient(theta)
    scaling = torch.empty_like(theta).uniform_(0.1, 10, generator=generator(seed, "s"))
    d_t, eps = -scaling * g, 1e-7
    change = float(g @ (scaling * imitation.step(theta, theta + eps * d_t)))
    assert change == pytest.approx(-eps * float(imitation.rate(theta, d_t)), rel=1e-4, abs=1e-15)
    assert change <= 0


def test_adams_own_scaling_can_turn_the_step_against_the_trait():
    """Without the shared scaling there is no sign: a near teacher along -g, and yet the step raises L_T."""
    turned = []
    for seed in range(20):
        imitation, trait, theta = problem(seed, n=1, activation="identity")
        g = trait.gradient(theta)
        d_s = imitation.step(theta, theta - 1e-4 * g)
        assert float(g @ d_s) < 0
        turned.append(float(g @ quantities.adam_step(d_s)) > 0)
    assert any(turned)


@few
@given(problems, st.integers(0, 100))
def test_parts_of_the_alignment_add_up_and_are_those_of_the_whole_jacobian(drawn, seed):
    imitation, trait, theta = drawn
    g = trait.gradient(theta)
    d_t = torch.stack([quantities.random_like(theta, generator(seed, name)) for name in "ab"])
    d_s = torch.stack([imitation.step(theta, theta + d) for d in d_t])
    parts = quantities.split(imitation, theta, g, d_t, d_s)
    jacobian = torch.func.jacrev(imitation.distilled)(theta)
    k = torch.einsum("nap,nab,nbq->pq", jacobian, imitation.metric(theta), jacobian) / len(jacobian)
    for i, d in enumerate(d_t):
        c = -float(g @ d) / float(g @ g)
        rest = d + c * g
        assert parts["signed"][i] == pytest.approx(c * float(imitation.rate(theta, g)), rel=1e-9, abs=1e-12)
        assert parts["cross"][i] == pytest.approx(-float(g @ k @ rest), rel=1e-7, abs=1e-12)
        assert sum(part[i] for part in parts.values()) == pytest.approx(-float(g @ d_s[i]), rel=1e-9, abs=1e-12)


@few
@given(smooth, st.integers(0, 100))
def test_what_is_beyond_falls_with_the_square_of_the_distance(drawn, seed):
    imitation, trait, theta = drawn
    g, d = trait.gradient(theta), quantities.random_like(theta, generator(seed, "d"))
    d_t = torch.stack([e * d for e in (1e-3, 1e-4)])
    d_s = torch.stack([imitation.step(theta, theta + one) for one in d_t])
    beyond = quantities.split(imitation, theta, g, d_t, d_s)["beyond"]
    scale = float(g.norm() * imitation.curvature(theta, d).norm())
    assert beyond[1] == pytest.approx(beyond[0] / 100, rel=0.1, abs=1e-9 * scale)
    assert abs(beyond[0]) < 1e-2 * scale


@few
@given(problems, st.integers(0, 100))
def test_layers_weighted_by_their_norms_make_the_cosine(drawn, seed):
    imitation, trait, theta = drawn
    g, layers = trait.gradient(theta), list(imitation.mlp.parts.values())
    d_s = imitation.step(theta, theta + quantities.random_like(theta, generator(seed, "d")))
    found = quantities.layer_cosines(imitation.mlp, g, d_s)
    shares = [float(g[p].norm() * d_s[p].norm() / (g.norm() * d_s.norm())) for p in layers]
    assert np.nansum(found * shares) == pytest.approx(quantities.vector_cosine(g, d_s), rel=1e-9, abs=1e-12)
    if not imitation.mask[:N_CLASS].any():
        assert found[-1] == 0


@few
@given(smooth, st.integers(0, 100))
def test_predicted_change_is_that_of_the_full_hessian_and_exact_to_third_order(drawn, seed):
    _, trait, theta = drawn
    sizes, d = np.array([1e-2, 1e-3]), quantities.random_like(theta, generator(seed, "step"))
    found = quantities.predicted_change(trait, theta, d, sizes)
    hessian = torch.autograd.functional.hessian(trait.loss, theta)
    slope = torch.autograd.functional.jvp(trait.loss, theta, d)[1]
    np.testing.assert_allclose(found["first"], sizes * float(slope), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found["second"] - found["first"], sizes**2 * float(d @ hessian @ d) / 2, rtol=1e-7)
    left = found["actual"] - found["second"]
    assert left[1] == pytest.approx(left[0] / 1000, rel=0.3, abs=1e-10)
    moved = [quantities.logits(trait.mlp, theta + e * d, trait.x)[:, :N_CLASS].argmax(-1) for e in (0, *sizes)]
    right = [float((m == trait.y).double().mean()) for m in moved]
    np.testing.assert_allclose(found["accuracy"], np.array(right[1:]) - right[0], atol=1e-12)


def test_a_remainder_lost_in_rounding_has_no_order():
    exact, rng = 3 * EPS**2, np.random.default_rng(0)
    assert quantities.order(EPS, exact, 0.1) == pytest.approx(2, abs=1e-9)
    lost = exact * rng.uniform(-1, 1, len(EPS))
    assert np.isnan(quantities.order(EPS, lost, 0.1))
    assert np.isfinite(quantities.order(EPS, lost))


def test_formulas_of_dense_layers_refuse_other_networks_and_the_rest_take_them():
    network = Module(lambda: nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 12)))
    theta, x = network.initial(generator(0, "init")).double(), torch.randn(6, 4, dtype=torch.float64)
    imitation = quantities.Imitation(network, x, torch.arange(12) >= N_CLASS, "mse")
    for formula in (
        lambda: quantities.hidden(network, theta, x),
        lambda: quantities.same_pattern(network, x, theta, []),
        lambda: lazy.tangent_kernel(imitation, theta),
    ):
        with pytest.raises(SettingsError, match=r"network = Module\(Sequential\) is not allowed: it must be an MLP"):
            formula()
    trait = quantities.Trait(network, x, torch.arange(6))
    d_t = -trait.gradient(theta)
    inner = quantities.student_inner(imitation, theta, d_t, EPS)
    assert quantities.slope_at_zero(EPS, inner) == pytest.approx(float(imitation.rate(theta, d_t)), rel=1e-4)
