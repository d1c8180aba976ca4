"""Where the logits are linear the gradient of L_disc is one vector; and a theorem's corollary, on any batches."""

import numpy as np
import pytest
import torch

from sublim_utils.engine import losses
from sublim_utils.engine.network import MLP
from sublim_utils.settings import Settings
from sublim_utils.theory import turning
from sublim_utils.theory.quantities import Trait
from tests.small import SETTINGS

RNG = torch.Generator().manual_seed(0)


def randn(*shape):
    return torch.randn(*shape, generator=RNG, dtype=torch.float64)


def trait_of(hidden):
    mlp = MLP.of(Settings.of(hidden=hidden, n_aux=3))
    return Trait(mlp, torch.rand(40, 784, generator=RNG, dtype=torch.float64) * 2 - 1, torch.arange(40) % 7)


def test_the_parts_are_the_engines_and_add_up():
    trait = trait_of((6,))
    theta = randn(trait.mlp.n_parameters) / 20
    parts = trait.losses(theta)
    z = trait.mlp.logits(theta, trait.x)
    assert float(parts["trait"]) == pytest.approx(float(losses.cross_entropy(z, trait.y)[0]))
    assert float(parts["disc"]) == pytest.approx(float(losses.discrimination(z, trait.y)[0]))
    assert float(parts["disc"] + parts["free"]) == pytest.approx(float(parts["trait"]))


def test_in_a_linear_network_the_gradient_of_l_disc_never_turns_and_that_of_l_t_does():
    trait = trait_of(())
    path = torch.cumsum(randn(4, trait.mlp.n_parameters) / 20, dim=0)
    turns = turning.turning(trait, path, path[-1])
    np.testing.assert_allclose(turns["cosine"].sel(part="disc"), 1.0, rtol=1e-12)
    one = turns.sel(part="disc")
    np.testing.assert_allclose(one["foreseen"], one["change"], rtol=1e-9, atol=1e-12)
    for part in ("trait", "free"):
        assert float(turns["cosine"].sel(part=part)[-1]) < 0.99
        assert abs(float((turns["foreseen"] - turns["change"]).sel(part=part)[-1])) > 1e-2


def test_with_a_hidden_layer_it_turns():
    trait = trait_of((6,))
    path = torch.cumsum(randn(3, trait.mlp.n_parameters) / 20, dim=0)
    turns = turning.turning(trait, path, path[1] - path[0])
    assert float(turns["cosine"].sel(part="disc")[-1]) < 0.9
    np.testing.assert_allclose(turns["cosine"][:, 0], 1.0)
    for t, theta in enumerate(path):
        slope, way = trait.gradient(theta), path[1] - path[0]
        expected = -float(slope @ way / (slope.norm() * way.norm()))
        assert float(turns["to_teacher"].sel(part="trait")[t]) == pytest.approx(expected)


@pytest.mark.parametrize("loss", ["kl", "mse"])
@pytest.mark.parametrize("epsilon", [0.1, 30.0])
def test_a_teacher_that_descends_l_disc_lowers_its_students_at_every_step(loss, epsilon):
    """L_disc falls at least by |d|^2 / (2 epsilon), on any batches at steps up to 2 / beta."""
    x, seen = randn(30, 5), randn(40, 5)
    y, distilled = torch.arange(30) % 10, torch.tensor([False] * 3 + [True] * 10)  # linear logits share no weight ...
    mix = randn(7, 13)  # ... so theta (5, 7) is mixed into all of them

    def disc(theta):
        return losses.discrimination(x @ theta @ mix, y)[0]

    v = torch.func.grad(disc)(torch.zeros(5, 7, dtype=torch.float64))
    goal, theta = -epsilon * v, torch.zeros(5, 7, dtype=torch.float64)
    for _ in range(25):
        batch = seen[torch.randint(40, (6,), generator=RNG)]
        jacobian = torch.einsum("ni,hk->nkih", batch, mix)[:, distilled].reshape(6, 10, 35)
        gap = batch @ (goal - theta) @ mix[:, distilled]
        if loss == "mse":
            pull, curvature = gap, torch.eye(10, dtype=torch.float64)
        else:
            t, z = (batch @ w @ mix[:, distilled] for w in (goal, theta))
            pull, curvature = t.softmax(-1) - z.softmax(-1), (torch.eye(10) - 0.1).double() / 2
        beta = torch.linalg.eigvalsh(torch.einsum("nka,kl,nlb->ab", jacobian, curvature, jacobian) / 6)[-1]
        theta = theta + 1.9 / beta * (torch.einsum("nka,nk->a", jacobian, pull) / 6).view(5, 7)
        bound = -(theta**2).sum() / (2 * epsilon)
        assert float(disc(theta) - disc(theta * 0)) <= float(bound) + 1e-12
    assert float(bound) < -1e-3 * epsilon


def test_what_is_stored_is_along_the_students_own_evaluations(lab):
    steps = []
    stored = turning.turned(lab, 2, steps.append, settings=SETTINGS)
    assert list(stored["eval"].values) == list(SETTINGS.eval_steps())
    assert sum(steps) == SETTINGS.n_steps
    assert (stored["change"].sel(part="disc")[1:] != 0).all()
    assert float(stored["to_teacher"].sel(part="trait", eval=0)) > 0.2, "the teacher went where its loss falls"
    whole = stored["change"].sel(part="trait") - stored["change"].sel(part=["disc", "free"]).sum("part")
    np.testing.assert_allclose(whole, 0, atol=1e-12)
