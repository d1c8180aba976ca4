"""The theory chapter's cases on small networks, against the engine, autograd and a textbook network."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from sublim_utils.engine.losses import logit_mask
from sublim_utils.engine.network import MLP
from sublim_utils.engine.seeds import generator
from sublim_utils.theory import lemma, quantities
from tests import reference
from tests.small import SETTINGS, images, lab_of

N, N_TRAIT, EPS = 6, 10, np.logspace(-5, -4, 5).tolist()
SIZES = {"n": N, "n_trait": N_TRAIT}
LAB, TANH = lab_of(), replace(SETTINGS, activation="tanh")


def ignore(_):
    """Advance no bar."""


def student_loss(settings, loss, logits, x, target):
    """Return the distillation loss as a function of theta, by the textbook network."""
    mask = logit_mask(settings, logits)

    def value(theta):
        z = reference.forward(theta, settings.sizes, settings.activation, x)
        return reference.distillation(loss, z, target, mask)

    return value


def teacher(settings, theta, x):
    return reference.forward(theta, settings.sizes, settings.activation, x)


def start_of(settings, seed=1):
    """Return theta_0, D_T = -grad L_T(theta_0) and L_T, by autograd on the textbook network."""
    real, labels = images().train[:N_TRAIT].double(), images().train_labels[:N_TRAIT]
    theta = MLP.of(settings).initial(generator(seed, "init")).double()

    def trait(at):
        return torch.nn.functional.cross_entropy(teacher(settings, at, real)[:, :10], labels)

    return theta, -reference.gradient(trait, theta)[1], trait


@pytest.fixture(scope="module")
def smooth():
    return lemma.cases(LAB, 1, ignore, settings=TANH, eps=EPS, **SIZES)


def test_inputs_are_what_they_are_called():
    x = lemma.inputs_of(images(), 3, 40)
    assert list(x) == list(lemma.KINDS)
    assert all(v.shape == (40, 784) and v.dtype == torch.float64 for v in x.values())
    assert x["constant images"].std(1).max() == 0
    assert x["constant images"][:, 0].unique().numel() == 40
    train = {tuple(row) for row in images().train.double().tolist()}
    assert len({tuple(row) for row in x["real images"].tolist()} & train) == 40
    neighbours = [float((v[:, :-1] * v[:, 1:]).mean() / v.square().mean()) for v in x.values()]
    assert abs(neighbours[0]) < 0.05 < 0.7 < neighbours[1]
    again, other = lemma.inputs_of(images(), 3, 40), lemma.inputs_of(images(), 4, 40)
    for name in lemma.KINDS[:3]:
        assert torch.equal(x[name], again[name])
        assert not torch.equal(x[name], other[name])


def test_the_start_is_the_engines_and_its_directions_are_as_long():
    theta, d_t, _ = start_of(SETTINGS)
    start = lemma.Start.of(lemma.first_images(SETTINGS, images(), N_TRAIT), 1)
    steepest, random = start.directions.values()
    assert torch.equal(start.theta_0, theta)
    torch.testing.assert_close(steepest, d_t)
    assert float(random.norm()) == pytest.approx(float(d_t.norm()))
    assert abs(quantities.vector_cosine(random, steepest)) < 0.1


def test_every_case_is_the_derivative_of_the_inner_product(smooth):
    """A = phi'(0), equation (eq-phi), by autograd through the textbook network's own step."""
    theta, d_t, _ = start_of(TANH)
    x_of, seen = lemma.inputs_of(images(), 1, N), 0
    for kind, loss, logits in product(lemma.KINDS, lemma.LOSSES, lemma.LOGITS):

        def phi(eps, x=x_of[kind], loss=loss, logits=logits):
            value = student_loss(TANH, loss, logits, x, teacher(TANH, theta + eps * d_t, x))
            at = theta.clone().requires_grad_()
            return -torch.autograd.grad(value(at), at, create_graph=True)[0] @ d_t

        eps = torch.zeros((), dtype=torch.float64, requires_grad=True)
        (slope,) = torch.autograd.grad(phi(eps), eps)
        found = smooth.sel(inputs=kind, loss=loss, logits=logits, direction="trait gradient")
        assert float(found["A"]) == pytest.approx(float(slope), rel=1e-8)
        seen += 1
    assert seen == lemma.N_DESCENTS
    assert smooth["A"].size == lemma.N_CASES


def test_on_a_smooth_network_slope_and_order_are_the_lemmas(smooth):
    np.testing.assert_allclose(smooth["ratio"], 1, atol=1e-5)
    resolved = smooth["order"].values[np.isfinite(smooth["order"].values)]
    assert len(resolved) > 0.8 * smooth["order"].size
    np.testing.assert_allclose(resolved, 2, atol=0.05)


def test_the_inputs_kept_are_those_at_which_no_unit_switches():
    eps, wide = [1e-3, 0.03], lemma.inputs_of(images(), 1, 40)["uniform noise"]
    found = lemma.cases(LAB, 1, ignore, settings=SETTINGS, eps=eps, n=40, n_trait=N_TRAIT).sel(inputs="uniform noise")
    theta, d_t, _ = start_of(SETTINGS)
    signs = []
    for e in (0.0, *eps):
        at, x, row = MLP.of(SETTINGS).unflatten(theta + e * d_t), wide, []
        for weight, bias in at[:-1]:
            x = torch.relu(x @ weight + bias)
            row.append(x > 0)
        signs.append(torch.cat(row, 1))
    kept = torch.stack([(signs[0] == s).all(1) for s in signs[1:]]).all(0).double().mean()
    assert 0 < float(kept) < 1
    assert (found["kept"].sel(direction="trait gradient") == float(kept)).all()


def test_inner_products_are_those_of_the_textbook_students_step():
    eps = [1e-3, 0.1, 2.0]
    found = lemma.inner_products(LAB, 1, ignore, settings=SETTINGS, eps=eps, **SIZES)
    theta, d_t, _ = start_of(SETTINGS)
    for kind, x in lemma.inputs_of(images(), 1, N).items():
        for e in eps:
            value = student_loss(SETTINGS, "kl", "aux", x, teacher(SETTINGS, theta + e * d_t, x))
            expected = -float(reference.gradient(value, theta)[1] @ d_t)
            assert float(found["inner"].sel(inputs=kind, eps=e)) == pytest.approx(expected, rel=1e-7, abs=1e-12)
    cases = lemma.cases(LAB, 1, ignore, settings=SETTINGS, eps=EPS, **SIZES)
    same = cases["A"].sel(loss="kl", logits="aux", direction="trait gradient", drop=True)
    np.testing.assert_array_equal(found["A"], same)


def test_the_change_of_the_trait_loss_is_that_of_the_textbook_students_step():
    eps = [1e-2, 1.0]
    found = lemma.descent(LAB, 1, ignore, settings=SETTINGS, eps=eps, **SIZES)["change"]
    cases = lemma.cases(LAB, 1, ignore, settings=SETTINGS, eps=EPS, **SIZES)["A"].sel(direction="trait gradient")
    theta, d_t, trait = start_of(SETTINGS)
    x_of = lemma.inputs_of(images(), 1, N)
    for kind, loss, logits, e in product(lemma.KINDS, lemma.LOSSES, lemma.LOGITS, eps):
        value = student_loss(SETTINGS, loss, logits, x_of[kind], teacher(SETTINGS, theta + e * d_t, x_of[kind]))
        step = -reference.gradient(value, theta)[1]
        a = float(cases.sel(inputs=kind, loss=loss, logits=logits))
        expected = float(trait(theta + step) - trait(theta)) / (e * a)
        assert float(found.sel(inputs=kind, loss=loss, logits=logits, eps=e)) == pytest.approx(expected, rel=1e-6)


def test_a_small_step_lowers_the_trait_loss_by_what_is_predicted():
    found = lemma.descent(LAB, 2, ignore, settings=TANH, eps=[1e-6], **SIZES)["change"]
    np.testing.assert_allclose(found, -1, atol=1e-2)


def test_pairs_do_not_depend_on_their_block_and_no_two_are_alike():
    whole = lemma.pairs(LAB, 0, ignore, settings=SETTINGS, first=7, size=20, n=N, eps=1e-3)
    half = lemma.pairs(LAB, 1, ignore, settings=SETTINGS, first=7, size=10, n=N, eps=1e-3)
    for name in ("step", "own_part", "teachers_part"):
        np.testing.assert_array_equal(whole[name][10:], half[name])
        assert len(np.unique(whole[name])) == 20
    np.testing.assert_array_equal(whole["same"][1:], half["same"])
    assert whole["same"].min() > 0


def test_a_pairs_parts_are_the_gradients_towards_the_teacher_and_towards_a_uniform_answer():
    trait = lemma.first_images(SETTINGS, images(), N)
    found = lemma.pair(SETTINGS, trait, 5, "other-init", 1e-3)
    start, own = (MLP.of(SETTINGS).initial(generator(5, p)).double() for p in ("init", "other-init"))
    x = torch.empty(N, 784).uniform_(-1, 1, generator=generator(5, "theory-noise")).double()
    d_t = -trait.gradient(start)
    near, uniform = teacher(SETTINGS, start + 1e-3 * d_t, x), torch.zeros(N, 13, dtype=torch.float64)
    step, own_part = (
        -reference.gradient(student_loss(SETTINGS, "kl", "aux", x, target), own)[1] for target in (near, uniform)
    )
    for name, part in (("step", step), ("own_part", own_part), ("teachers_part", step - own_part)):
        expected = float(torch.cosine_similarity(part, d_t, dim=0))
        assert found[name] == pytest.approx(expected, rel=1e-7, abs=1e-12)
