"""The single step on small networks, against a textbook network, autograd and torch's Adam."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import xarray as xr

from sublim_utils.engine.digits import references
from sublim_utils.engine.network import MLP
from sublim_utils.engine.seeds import generator
from sublim_utils.runs import packing
from sublim_utils.theory import quantities, single_step
from tests import reference
from tests.small import SETTINGS, images

N, CPU = 30, torch.device("cpu")


def textbook(theta, x):
    return reference.forward(theta, SETTINGS.sizes, SETTINGS.activation, x)


def trait(theta):
    return F.cross_entropy(textbook(theta, images().train[:N].double())[:, :10], images().train_labels[:N])


def contrasts(theta):
    """Return L_disc: minus the label's logit, relative to the mean of the logits by the labels' shares."""
    z, y = textbook(theta, images().train[:N].double())[:, :10], images().train_labels[:N]
    shares = torch.bincount(y, minlength=10) / len(y)
    return -sum((z[i, label] - (shares * z[i]).sum()) for i, label in enumerate(y)) / len(y)


def accuracy(theta, centred=False):
    z = textbook(theta, images().train[:N].double())[:, :10]
    if centred:
        z = z - torch.cat([z[N // 2 :].mean(0).expand(N // 2, 10), z[: N // 2].mean(0).expand(N // 2, 10)])
    return float((z.argmax(-1) == images().train_labels[:N]).double().mean())


def steps_towards(theta_0, theta_t, seed):
    """Return the student's steps by name: minus the gradient by autograd, and the first of torch's Adam."""
    x = torch.empty(N, 784).uniform_(-1, 1, generator=generator(seed, "single-step-noise")).double()
    mask, target = torch.arange(13) >= 10, textbook(theta_t, x)
    g = reference.gradient(lambda at: reference.distillation("kl", textbook(at, x), target, mask), theta_0)[1]
    adam = torch.zeros_like(theta_0)
    adam.grad = g
    torch.optim.Adam([adam], lr=SETTINGS.student_lr).step()
    return {"SGD": -g, "Adam": adam}


def assert_effect(found, theta_0, u):
    g, g_disc = (reference.gradient(loss, theta_0)[1] for loss in (trait, contrasts))
    expected = {
        "disc_cosine": float(torch.cosine_similarity(u, -g_disc, dim=0)),
        "disc_actual": float(contrasts(theta_0 + u) - contrasts(theta_0)),
        "centred": accuracy(theta_0 + u, centred=True) - accuracy(theta_0, centred=True),
        "cosine": float(torch.cosine_similarity(u, -g, dim=0)),
        "first": float(g @ u),
        "length": float(u.norm()),
        "actual": float(trait(theta_0 + u) - trait(theta_0)),
        "accuracy": accuracy(theta_0 + u) - accuracy(theta_0),
    }
    for name, value in expected.items():
        assert float(found[name]) == pytest.approx(value, rel=1e-6, abs=1e-12), name


@pytest.fixture(scope="module")
def start():
    return single_step.FirstStep.of(SETTINGS, images(), 2, N, CPU)


@pytest.fixture(scope="module")
def d_t(start):
    """D_T of three teachers: two along a random direction, and one a gradient step."""
    g = start.trait.gradient(start.theta_0)
    drawn = quantities.random_like(g, generator(0, "displacement"))
    return torch.stack([0.1 * drawn, drawn, -1e-3 * g])


def test_the_start_is_the_engines(start):
    assert torch.equal(start.theta_0.float(), references(SETTINGS, [2], CPU)[0, 0])
    assert len(start.trait.x) == len(start.imitation.x) == N


def test_a_step_does_to_the_trait_what_the_textbook_network_says(start):
    g, eps = reference.gradient(trait, start.theta_0)[1], [1e-3, 10.0]
    found = single_step.near_teacher(start, eps)
    for e in eps:
        for kind, u in steps_towards(start.theta_0, start.theta_0 - e * g, 2).items():
            assert_effect(found.sel(eps=e, kind=kind), start.theta_0, u)


def test_the_gradient_step_is_downhill_and_so_is_one_of_the_teachers_scaling(start):
    for seed in range(5):
        one = single_step.FirstStep.of(SETTINGS, images(), seed, N, CPU)
        found = single_step.near_teacher(one, [1e-5])
        assert float(found["first"].sel(kind="SGD").squeeze()) < 0
        assert float(found["scaled"].sel(scaling="teacher's scaling")) < 0


def test_the_scaled_steps_are_those_along_the_textbook_gradient(start):
    g = reference.gradient(trait, start.theta_0)[1]
    s = 1 / (g.abs() + 1e-8)
    steps = steps_towards(start.theta_0, start.theta_0 - SETTINGS.teacher_lr * s * g, 2)
    found = single_step.near_teacher(start, [1e-5])["scaled"]
    expected = [s * steps["SGD"], steps["Adam"] / SETTINGS.student_lr, steps["SGD"]]
    np.testing.assert_allclose(found, [float(g @ u) for u in expected], rtol=1e-5)


def test_a_far_teachers_steps_are_the_textbooks_and_the_parts_make_the_cosine(start, d_t):
    found = single_step.far_teacher(start, d_t, [1, 2, 4])
    g, layers = reference.gradient(trait, start.theta_0)[1], list(MLP.of(SETTINGS).parts.values())
    for taken, d in zip((1, 2, 4), d_t, strict=True):
        here, steps = found.sel(taken=taken), steps_towards(start.theta_0, start.theta_0 + d, 2)
        for kind, u in steps.items():
            assert_effect(here.sel(kind=kind), start.theta_0, u)
            cosines = [quantities.vector_cosine(u[part], -g[part]) for part in layers[:-1]]
            np.testing.assert_allclose(here["layer_cosine"].sel(kind=kind)[:-1], cosines, rtol=1e-6)
            assert float(here["layer_cosine"].sel(kind=kind)[-1]) == 0
        assert float(here["teacher_cosine"]) == pytest.approx(quantities.vector_cosine(steps["SGD"], d), rel=1e-7)
        assert float(here["trait_cosine"]) == pytest.approx(quantities.vector_cosine(d, -g), rel=1e-7)
        assert float(here["distance"]) == pytest.approx(float(d.norm()))
    assert not packing.rounding(packing.stacked(found))  # a packed store keeps it exactly
    parts = found["signed"] + found["cross"] + found["beyond"]
    np.testing.assert_allclose(parts, found["cosine"].sel(kind="SGD"), rtol=1e-9)


def test_along_the_gradient_the_alignment_is_all_signed(start, d_t):
    found = single_step.far_teacher(start, d_t[2:], [1])
    near = single_step.near_teacher(start, [1e-3])
    assert float(found["cosine"].sel(kind="SGD").squeeze()) == float(near["cosine"].sel(kind="SGD").squeeze())
    assert abs(float(found["cross"].squeeze())) < 1e-12
    assert float(found["signed"].squeeze()) > 0


def test_a_longer_step_of_the_same_length_does_the_same(start, d_t):
    far = single_step.far_teacher(start, d_t[1:2], [1]).isel(taken=0)
    for kind in single_step.STEPS:
        one = far.sel(kind=kind)
        length = float(one["length"])
        found = single_step.longer_step(start, d_t[1], [0.1 * length, length]).sel(kind=kind)
        for name in ("first", "actual", "accuracy"):
            assert float(found[name][1]) == pytest.approx(float(one[name]), rel=1e-9, abs=1e-12)
        assert float(found["first"][0]) == pytest.approx(0.1 * float(found["first"][1]))
        bend = found["second"] - found["first"]
        assert float(bend[0]) == pytest.approx(0.01 * float(bend[1]))


def test_the_stored_steps_are_those_of_a_seeds_start_and_of_its_teachers_own_path(lab):
    start = single_step.FirstStep.of(SETTINGS, images(), 1, N, CPU)
    per, about = SETTINGS.steps_per_teacher_epoch, {"settings": SETTINGS, "n": N}
    taken = single_step.steps_looked_at(SETTINGS)
    assert taken == [1, 2, per, 2 * per]
    d_t = lab.teacher_path(SETTINGS, 1, taken).double() - start.theta_0
    for found, expected in (
        (lab.ask(single_step.near, [1], eps=[1e-3], **about), single_step.near_teacher(start, [1e-3])),
        (lab.ask(single_step.far, [1], taken=taken, **about), single_step.far_teacher(start, d_t, taken)),
        (lab.ask(single_step.longer, [1], eta=[0.1], **about), single_step.longer_step(start, d_t[-1], [0.1])),
    ):
        xr.testing.assert_allclose(found.isel(seed=0, drop=True), expected, rtol=1e-12)
