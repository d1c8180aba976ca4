"""(thm-approach) and (thm-departure) of the theory chapter on small random networks: where they hold, and where not."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sublim_utils.engine.network import MLP
from sublim_utils.engine.seeds import generator
from sublim_utils.settings import SettingsError
from sublim_utils.theory import approach, quantities
from tests.theory.test_lazy import dense
from tests.theory.test_quantities import problem, problems

few = settings(max_examples=12, deadline=None)
shares = st.floats(0.02, 1.0)
scalings = st.sampled_from(["plain", "fixed", "running"])


def scaling_of(name, theta, seed=0):
    """Return a preconditioner by its name: none, one over three decades, or the running one."""
    decades = torch.empty_like(theta).uniform_(-3, 0, generator=generator(seed, "scale"))
    fixed = 10**decades
    return {"plain": approach.plain, "fixed": lambda g: fixed, "running": approach.running(0.9, 1e-3)}[name]


def batches_of(n, steps, seed=0):
    """Return random batches of random sizes, inputs possibly repeated."""
    rng = generator(seed, "batches")
    sizes = torch.randint(1, n + 1, (steps,), generator=rng)
    return [torch.randint(n, (int(size),), generator=rng) for size in sizes]


def path(drawn, share, name, seed, steps=15):
    """Return the linear student, D_T and the steps of a training on random batches."""
    imitation, _, theta = drawn
    student = approach.LinearStudent.of(imitation, theta)
    d_t = 3 * quantities.random_like(theta, generator(seed, "d"))
    batches = batches_of(len(imitation.x), steps, seed)
    return student, d_t, list(approach.descend(student, d_t, batches, share, scaling_of(name, theta, seed)))


@few
@given(problems, shares, scalings, st.integers(0, 100))
def test_up_to_two_over_beta_every_statement_holds_at_every_step(drawn, share, name, seed):
    _, d_t, steps = path(drawn, share, name, seed)
    found = approach.followed(steps, d_t)
    for statement, values in approach.holds(found).items():
        assert values.all(), statement
    assert found["overlap"][0] == found["size"][0] == 0
    if name != "running":
        np.testing.assert_allclose(found["budget"], found["reach"])
        assert (np.diff(found["distance"]) <= 1e-10 * found["distance"][0]).all()


@few
@given(problems, st.floats(0.02, 3.0), scalings, st.integers(0, 100))
def test_each_step_nears_by_what_the_proof_says_whatever_its_size(drawn, share, name, seed):
    _, d_t, steps = path(drawn, share, name, seed, steps=6)
    found = approach.followed(steps, d_t)
    fall = 2 * (1 - share) * np.array([s.eta for s in steps]) * found["one_point"]  # eta (2 - eta beta) one_point
    slack = found["distance"] ** 2 - fall - found["distance_after"] ** 2
    assert (slack >= -1e-10 * (found["distance"] ** 2 + found["distance_after"] ** 2)).all()


@pytest.mark.parametrize("loss", ["mse", "kl"])
@pytest.mark.parametrize("name", ["plain", "fixed", "running"])
def test_beyond_two_over_beta_the_distance_rises_and_one_point_still_holds(loss, name):
    _, d_t, steps = path(problem(3, hidden=(6,), loss=loss), 3.0, name, 0, steps=25)
    held = approach.holds(approach.followed(steps, d_t))
    assert not held["distance"].all()
    assert held["one point"].all()


@few
@given(problems, st.integers(0, 100))
def test_one_point_is_twice_the_squared_error_and_the_sum_of_both_divergences(drawn, seed):
    student, d_t, steps = path(drawn, 0.5, "plain", seed, steps=1)
    z, t = (student.on(batches_of(len(student.z_0), 1, seed)[0]).logits(d) for d in (0 * d_t, d_t))
    back = float(quantities.distance(student.loss, t, z).mean())  # of the student to the teacher
    assert float(-steps[0].g @ d_t) == pytest.approx(steps[0].loss + back, rel=1e-7, abs=1e-13)


@few
@given(problems, st.integers(0, 100))
def test_the_gradient_is_the_linearised_losss_own(drawn, seed):
    student, d_t, _ = path(drawn, 0.5, "plain", seed, steps=1)
    d = quantities.random_like(d_t, generator(seed, "at"))
    loss, g = student.observe(d, d_t)
    own = lambda d: quantities.distance(student.loss, student.logits(d), student.logits(d_t)).mean()  # noqa: E731
    torch.testing.assert_close(g, torch.func.grad(own)(d))
    assert loss == float(own(d))
    imitation, _, theta = drawn
    torch.testing.assert_close(student.logits(d) - student.z_0, imitation.push(theta, d))


@few
@given(problems, scalings, st.integers(0, 100))
def test_smoothness_bounds_the_curvature_everywhere(drawn, name, seed):
    imitation, _, theta = drawn
    student = approach.LinearStudent.of(imitation, theta)
    scale = scaling_of(name, theta, seed)(torch.ones_like(theta))
    beta, root = student.smoothness(scale), scale.sqrt()
    for size in (0.0, 1.0, 5.0):
        at = theta + size * quantities.random_like(theta, generator(seed, "at"))
        z = quantities.metric_root(imitation.loss, student.logits(at - theta))
        rows = (z.mT @ student.jacobian * root).flatten(0, 1)
        top = float(torch.linalg.eigvalsh(rows @ rows.mT / len(z))[-1])
        assert top <= beta * (1 + 1e-10)
    if imitation.loss == "mse" and name == "plain":
        assert beta == pytest.approx(float(torch.linalg.eigvalsh(dense(imitation, theta))[-1]))


def test_the_softmax_bound_on_the_curvature_is_reached():
    """Two logits of equal size have the Hessian (1, -1; -1, 1) / 4: the bound is sharp, for no less than 1 / 2."""
    root = approach.smoothness_root("kl", 2)
    p = torch.tensor([0.5, 0.5], dtype=torch.float64)
    torch.testing.assert_close(root @ root.mT, torch.diag(p) - torch.outer(p, p))


@few
@given(problems, shares, st.integers(0, 100))
def test_the_student_nears_every_teacher_with_the_same_answers(drawn, share, seed):
    student, d_t, steps = path(drawn, share, "plain", seed)
    rows = student.jacobian.flatten(0, 1)
    away = quantities.random_like(d_t, generator(seed, "away"))
    unseen = away - torch.linalg.pinv(rows) @ (rows @ away)
    found = approach.followed(steps, d_t + unseen)
    assert approach.holds(found)["distance"].all()
    assert approach.holds(found)["overlap"].all()


def test_a_half_can_be_no_more_with_minibatches_however_small_the_steps():
    """Inputs whose rows turn by small angles lead the student round to nearly 2 D_T, where 2 d . D_T = |d|^2."""
    angles = torch.linspace(0, torch.pi, 400, dtype=torch.float64)[1:]
    rows = torch.stack([angles.sin(), -angles.cos()], -1).unsqueeze(
        1
    )  # each at a right angle to where D_T - d shall be
    student = approach.LinearStudent(torch.zeros(len(rows), 1, dtype=torch.float64), rows, "mse")
    d_t = torch.tensor([1.0, 0.0], dtype=torch.float64)
    steps = list(approach.descend(student, d_t, [torch.tensor([i]) for i in range(len(rows))], 0.5))
    found = approach.followed(steps, d_t)
    assert all(values.all() for values in approach.holds(found).values())
    assert 1 <= found["overlap"][-1] / found["size"][-1] < 1.03
    assert float(steps[-1].d[0]) > 1.9


@few
@given(problems, shares, st.sampled_from(["plain", "fixed"]), st.floats(0.05, 5.0), st.integers(0, 100))
def test_the_linear_trait_loss_stays_below_its_bound(drawn, share, name, far, seed):
    imitation, trait, theta = drawn
    classes = quantities.Imitation(trait.mlp, trait.x, torch.arange(trait.mlp.sizes[-1]) < 10)
    linear, scaling = approach.LinearStudent.of(classes, theta), scaling_of(name, theta, seed)
    scale = scaling(theta)
    eps = far / linear.smoothness(scale)
    d_t = -eps * scale * trait.gradient(theta)
    student, batches = approach.LinearStudent.of(imitation, theta), batches_of(len(imitation.x), 12, seed)
    steps = list(approach.descend(student, d_t, batches, share, scaling))
    found = approach.trait_path(linear, trait.y, steps, eps)
    assert found["loss"][0] == pytest.approx(float(trait.loss(theta)))
    assert (found["loss"] <= found["bound"] + 1e-12).all()
    by_hand = found["loss"][0] - (1 / eps - linear.smoothness(scale)) / 2 * sum(steps[-1].d ** 2 / scale)
    assert found["bound"][-1] == pytest.approx(float(by_hand))
    if far < 1:
        assert (found["loss"] <= found["loss"][0] + 1e-12).all()


def test_the_bound_on_the_trait_refuses_a_scaling_that_varies():
    imitation, trait, theta = problem(0)
    _, _, steps = path((imitation, trait, theta), 0.5, "running", 0)
    with pytest.raises(SettingsError, match="varying"):
        approach.trait_path(approach.LinearStudent.of(imitation, theta), trait.y, steps, 1.0)
    with pytest.raises(SettingsError, match="floor = 0"):
        approach.running(0.9, 0)


def test_running_scaling_is_the_textbooks():
    scaling, v = approach.running(0.9, 1e-2), torch.tensor([4.0, 0.0])
    torch.testing.assert_close(scaling(torch.tensor([2.0, 0.0])), 1 / (v.sqrt() + 1e-2))
    v = 0.9 * v + 0.1 * torch.tensor([1.0, 9.0])
    torch.testing.assert_close(scaling(torch.tensor([-1.0, 3.0])), 1 / (v.sqrt() + 1e-2))


def displaced(drawn, size, seed):
    """Return a problem's imitation, a student near its start and a teacher at a distance."""
    imitation, _, theta = drawn
    near, far = (quantities.random_like(theta, generator(seed, name)) for name in ("student", "teacher"))
    return imitation, theta + 0.1 * size * near, theta + size * far


@few
@given(problems, st.floats(0.01, 1.0), st.integers(0, 100))
def test_the_identity_of_the_real_network_and_its_bound(drawn, size, seed):
    imitation, student, teacher = displaced(drawn, size, seed)
    found = approach.departure(imitation, student, teacher)
    scale = abs(found["both"]) + abs(found["bent"])
    assert found["one_point"] == pytest.approx(found["both"] - found["bent"], abs=1e-9 * scale)
    assert abs(found["bent"]) <= found["bound"] * (1 + 1e-9)
    back = float(imitation.value(teacher, imitation.distilled(student)))
    assert found["both"] == pytest.approx(found["distill_loss"] + back, rel=1e-6, abs=1e-13)


@few
@given(problems, st.floats(0.01, 1.0), scalings, st.integers(0, 100))
def test_a_step_of_the_real_network_within_its_limit_brings_it_no_further(drawn, size, name, seed):
    imitation, student, teacher = displaced(drawn, size, seed)
    found, g = approach.departure(imitation, student, teacher), -imitation.step(student, teacher)
    scale = scaling_of(name, student, seed)(g)
    gamma = 1 - found["bent"] / found["both"]
    eta = 2 * gamma / approach.LinearStudent.of(imitation, student).smoothness(scale)
    before, after = (((t - teacher).square() / scale).sum() for t in (student, student - eta * scale * g))
    if gamma > 0:
        assert float(after) <= float(before) * (1 + 1e-10)


def test_a_linear_network_does_not_bend():
    imitation, _, theta = problem(1, hidden=())
    assert imitation.mlp == MLP(sizes=(4, 13), activation="tanh")
    found = approach.departure(imitation, theta, theta + quantities.random_like(theta, generator(0, "t")))
    assert abs(found["bent"]) < 1e-12
    assert found["bound"] < 1e-10
