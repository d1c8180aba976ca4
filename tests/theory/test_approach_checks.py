"""The theory chapter's students that near their teachers, on small networks: what is stored, by other routes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sublim_utils.engine.network import MLP
from sublim_utils.engine.seeds import generator
from sublim_utils.runs import packing
from sublim_utils.theory import approach_checks as checks
from sublim_utils.theory import lemma
from tests import reference
from tests.small import SETTINGS, images, lab_of
from tests.theory.test_lemma import ignore, student_loss, teacher

ABOUT = {"hidden": (6, 5), "n": 12, "batch": 4, "n_trait": 8, "n_steps": 6}


@pytest.fixture(scope="module")
def linear():
    return checks.linear(lab_of(), 1, ignore, settings=SETTINGS, **ABOUT)


def test_within_the_theorem_all_is_as_stated_and_beyond_it_each_student_goes_astray(linear):
    assert not packing.rounding(packing.stacked(linear))  # a packed store keeps it exactly
    below, beyond = (linear["holds"].sel(share=share) for share in (checks.BELOW, checks.BEYOND))
    assert float(below.min()) == 1
    assert float(beyond.sel(statement="distance").min("k").max()) == 0
    assert float(beyond.sel(statement="one point").min()) == 1
    stated = linear["holds"].sel(statement="trait").notnull().all(["k", "loss", "share"])
    expected = [[name == lemma.DIRECTIONS[0] and s != "varying" for s in checks.SCALINGS] for name in lemma.DIRECTIONS]
    assert stated.values.tolist() == expected


def test_the_students_are_those_of_the_textbook_network(linear):
    """Squared error, no scaling: the first two steps by the whole Jacobian of the textbook network."""
    narrow, noise = replace(SETTINGS, hidden=ABOUT["hidden"]), lemma.inputs_of(images(), 1, 12)["uniform noise"]
    theta_0, one = MLP.of(narrow).initial(generator(1, "init")).double(), linear.sel(scaling="none", loss="mse")
    jacobian = torch.func.jacrev(lambda t: teacher(narrow, t, noise)[:, 10:])(theta_0)
    trait_x, y = images().train[:8].double(), images().train_labels[:8]
    logits = lambda t: teacher(narrow, t, trait_x)[:, :10]  # noqa: E731
    g_t = torch.func.grad(lambda t: torch.nn.functional.cross_entropy(logits(t), y))(theta_0)
    centred = torch.func.jacrev(lambda t: logits(t) - logits(t).mean(-1, keepdim=True))(theta_0).flatten(0, 1)
    d_t = -g_t / torch.linalg.eigvalsh(centred @ centred.T / 8)[-1]  # 1 / (2 beta_T), beta_T half the eigenvalue
    d = torch.zeros_like(theta_0)
    for k, batch in enumerate(checks.batches_of(1, 12, 4, 2)):
        rows = jacobian[batch].flatten(0, 1)
        gap, beta = d_t - d, float(torch.linalg.eigvalsh(rows @ rows.T)[-1]) * 2 / len(batch)
        found = one.sel(teacher=lemma.DIRECTIONS[0], share=checks.BELOW, k=k)
        assert float(found["distance"]) == pytest.approx(float(gap.norm()), rel=1e-9)
        assert float(found["distill_loss"]) == pytest.approx(float((rows @ gap).square().sum()) / len(batch), rel=1e-8)
        assert float(found["size"]) == pytest.approx(float(d @ d), rel=1e-8)
        d = d + checks.BELOW * 2 / beta * 2 * rows.T @ (rows @ gap) / len(batch)


def test_batches_pass_over_all_inputs_in_a_seeds_own_order():
    first = torch.cat(checks.batches_of(1, 12, 4, 3))
    assert sorted(first.tolist()) == list(range(12))
    assert torch.equal(torch.cat(checks.batches_of(1, 12, 4, 6))[12:], first)
    assert not torch.equal(torch.cat(checks.batches_of(2, 12, 4, 3)), first)


def test_the_real_runs_are_those_of_the_textbook_student():
    theta_0, n = MLP.of(SETTINGS).initial(generator(1, "init")).double(), 8
    rng = generator(0, "teachers")
    theta_t = {
        name: theta_0 + 0.05 * torch.randn(theta_0.shape, generator=rng, dtype=torch.float64)
        for name in ("own", "other")
    }
    lab = lab_of()
    lab.teacher_weights = lambda _, __, kind: theta_t[kind].view(1, 1, -1)
    found = checks.real(lab, 1, ignore, settings=SETTINGS, n=n, n_steps=3)
    whole = checks.imitation_of(SETTINGS, images(), 1, n, "kl")
    for run, kind in zip(checks.REAL[1:], ("own", "own", "other"), strict=True):
        adam, theta, target = reference.Adam(SETTINGS.student_lr), theta_0, theta_t[kind]
        seen = checks.fresh_batches(whole, 1, n, 4) if "fresh" in run else [whole] * 4
        for k, imitation in enumerate(seen):
            value = student_loss(SETTINGS, "kl", "aux", imitation.x, teacher(SETTINGS, target, imitation.x))
            loss, g = reference.gradient(value, theta)
            one = found.sel(run=run, k=k)
            assert float(one["distill_loss"]) == pytest.approx(float(loss), rel=1e-7)
            assert float(one["one_point"]) == pytest.approx(-float(g @ (target - theta)), rel=1e-7)
            assert float(one["distance"]) == pytest.approx(float((theta - target).norm()), rel=1e-9)
            theta = adam.step(theta, g)
    np.testing.assert_allclose(found["one_point"], found["both"] - found["bent"], rtol=1e-8, atol=1e-14)
    assert float(found["distance"].sel(run="descent").diff("k").max()) < 0
    assert not torch.equal(*(batch.x for batch in checks.fresh_batches(whole, 1, n, 2)))
