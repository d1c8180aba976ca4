"""The lazy student on small networks: the formula, and what really happens, by other routes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sublim_utils.runs import packing
from sublim_utils.theory import lazy_checks, lemma, quantities
from tests import reference
from tests.small import SETTINGS, images, lab_of
from tests.theory.test_lemma import ignore, student_loss, teacher

SIZES = {"n": 8, "n_trait": 10}
LAB, TIMES = lab_of(), [0.01, 1.0, 30.0]


def start_of(settings, seed):
    return lemma.Start.of(lemma.first_images(settings, images(), SIZES["n_trait"]), seed)


@pytest.fixture(scope="module")
def found():
    return lazy_checks.closed_form(LAB, 1, ignore, settings=SETTINGS, n_steps=12, times=TIMES, **SIZES)


@pytest.fixture(scope="module")
def trained_teacher():
    """A teacher that is no small distance away, (P,)."""
    start = start_of(SETTINGS, 1)
    return start.theta_0 + 0.5 * start.directions["trait gradient"] + 0.3 * start.directions["random direction"]


def test_the_formula_is_the_training(found):
    assert not packing.rounding(packing.stacked(found))  # a packed store keeps it exactly
    np.testing.assert_allclose(found["descent"][1:], found["trained"][1:], rtol=1e-7)
    assert float(found["trained"].sel(quantity="cosine").min()) > 0


def test_the_flow_is_the_matrix_exponential_at_times_in_units_of_the_largest_eigenvalue(found):
    start = start_of(SETTINGS, 1)
    imitation = lazy_checks.imitation_of(SETTINGS, images(), 1, SIZES["n"], "mse")
    jacobian = torch.func.jacrev(imitation.distilled)(start.theta_0).flatten(0, 1)
    values, vectors = torch.linalg.eigh(2 * jacobian @ jacobian.T / SIZES["n"])  # of K, but for its null space
    assert float(found["eta"]) == pytest.approx(0.5 / float(values[-1]))
    for direction, d_t in start.directions.items():
        along = (vectors.T @ (jacobian @ d_t)) ** 2 * 2 / SIZES["n"]
        decay = torch.exp(-torch.tensor(TIMES, dtype=torch.float64)[:, None] * values / values[-1])
        rate, overlap = decay @ along, (1 - decay) / values @ along
        flow = found["flow"].sel(direction=direction)
        np.testing.assert_allclose(flow.sel(quantity="rate"), rate, rtol=1e-8)
        np.testing.assert_allclose(flow.sel(quantity="overlap"), overlap, rtol=1e-8)
        size = float((decay**2 @ (along * values))[1].sqrt() * d_t.norm())
        assert float(flow.sel(quantity="cosine")[1]) == pytest.approx(float(rate[1]) / size, rel=1e-8)
        assert float(found["size"].sel(direction=direction)) == pytest.approx(float(d_t.norm()))


def test_the_integrated_flow_is_the_formula():
    smooth = replace(SETTINGS, hidden=(6,))
    found = lazy_checks.integrated_flow(LAB, 1, ignore, settings=smooth, n_few=4, times=[0.5, 5.0], **SIZES)
    np.testing.assert_allclose(found["integrated"], found["formula"], rtol=1e-7)
    few = lazy_checks.closed_form(LAB, 1, ignore, settings=smooth, n_steps=1, times=[0.5, 5.0], **{**SIZES, "n": 4})
    direct = few["flow"].sel(direction="trait gradient", quantity="overlap")
    np.testing.assert_allclose(direct, found["formula"], rtol=1e-9)  # the first four of eight images are the four


def test_the_real_runs_are_those_of_the_textbook_student(trained_teacher):
    found = lazy_checks.real_network(
        lab_of(trained_teacher), 1, ignore, settings=SETTINGS, n_steps=4, near=1e-3, **SIZES
    )
    start, x = start_of(SETTINGS, 1), lemma.inputs_of(images(), 1, SIZES["n"])["uniform noise"]
    far, close = trained_teacher - start.theta_0, start.directions["trait gradient"]
    assert float(found["distance"]) == pytest.approx(float(far.norm()))
    assert float(found["turn"]) == pytest.approx(quantities.vector_cosine(far, close))
    adam = reference.Adam(SETTINGS.student_lr)
    for run, loss, d in zip(lazy_checks.REAL, ("mse", "mse", "kl", "kl"), (1e-3 * close, far, far, far), strict=True):
        value = student_loss(SETTINGS, loss, "aux", x, teacher(SETTINGS, start.theta_0 + d, x))
        jacobian = torch.func.jacrev(lazy_checks.imitation_of(SETTINGS, images(), 1, SIZES["n"], loss).distilled)
        root = quantities.metric_root(loss, teacher(SETTINGS, start.theta_0, x)[:, 10:])
        phi = (root.mT @ jacobian(start.theta_0)).flatten(0, 1)
        eta = 0.5 / float(torch.linalg.eigvalsh(phi @ phi.T / SIZES["n"])[-1])
        theta, cosines = start.theta_0, []
        for _ in range(5):
            g = reference.gradient(value, theta)[1]
            cosines.append(-float(torch.cosine_similarity(g, d, dim=0)))
            theta = adam.step(theta, g) if run.endswith("Adam") else theta - eta * g
        np.testing.assert_allclose(found["real"].sel(run=run), cosines, rtol=1e-6, atol=1e-9)


def test_the_real_student_follows_the_formula_for_a_near_teacher_and_there_is_none_under_adam(trained_teacher):
    found = lazy_checks.real_network(
        lab_of(trained_teacher), 1, ignore, settings=SETTINGS, n_steps=10, near=1e-5, **SIZES
    )
    apart = abs(found["real"] / found["formula"] - 1).max("k").values
    assert apart[0] < 1e-3 < apart[1]
    assert np.isnan(found["formula"].sel(run=lazy_checks.REAL[-1])).all()


def test_the_gap_grows_with_the_distance_and_is_that_of_the_textbook_student(trained_teacher):
    about = {"n": SIZES["n"], "n_steps": 3}
    found = lazy_checks.overlap_gap(lab_of(trained_teacher), 1, ignore, settings=SETTINGS, scales=[1e-5, 1.0], **about)[
        "gap"
    ]
    assert (found.sel(eps=1e-5) < 1e-3).all()
    assert (found.sel(eps=1.0) > 10 * found.sel(eps=1e-5)).all()
    start, x = start_of(SETTINGS, 1), lemma.inputs_of(images(), 1, SIZES["n"])["uniform noise"]
    far, theta = trained_teacher - start.theta_0, start.theta_0
    jacobian = torch.func.jacrev(lambda t: teacher(SETTINGS, t, x)[:, 10:])(theta).flatten(0, 1)
    eta = 0.5 / float(torch.linalg.eigvalsh(2 * jacobian @ jacobian.T / SIZES["n"])[-1])
    value, d = student_loss(SETTINGS, "mse", "aux", x, teacher(SETTINGS, trained_teacher, x)), torch.zeros_like(theta)
    for _ in range(3):
        theta, d = (
            theta - eta * reference.gradient(value, theta)[1],
            d + eta * 2 / SIZES["n"] * jacobian.T @ (jacobian @ (far - d)),
        )
    expected = abs(float((theta - start.theta_0) @ far) / float(d @ far) - 1)
    assert float(found.sel(loss="mse", eps=1.0)) == pytest.approx(expected, rel=1e-6)
