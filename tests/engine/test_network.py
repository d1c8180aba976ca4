"""The network and its written-out gradient against autograd in float64."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sublim_utils.engine.network import ACTIVATIONS, MLP, Workspace
from sublim_utils.engine.seeds import generator
from tests import reference

networks = st.builds(
    MLP,
    sizes=st.lists(st.integers(1, 7), min_size=2, max_size=5).map(tuple),
    activation=st.sampled_from(sorted(ACTIVATIONS)),
)


@settings(max_examples=40)
@given(networks, st.integers(1, 3), st.integers(1, 3), st.integers(1, 5), st.booleans(), st.integers(0, 999))
def test_logits_and_gradient_are_each_models_own(mlp, n_seeds, n_conditions, batch, shared, seed):
    rng = generator(seed, "test")
    theta = torch.randn(n_seeds, n_conditions, mlp.n_parameters, generator=rng, dtype=torch.float64)
    x = torch.randn(n_seeds, 1 if shared else n_conditions, batch, mlp.sizes[0], generator=rng, dtype=torch.float64)
    weights = torch.randn(n_seeds, n_conditions, batch, mlp.sizes[-1], generator=rng, dtype=torch.float64)
    work = Workspace()
    outputs = mlp.forward(theta, x, work)
    found = mlp.backward(theta, outputs, weights, torch.full_like(theta, torch.nan), work)
    for s in range(n_seeds):
        for c in range(n_conditions):
            own = x[s, 0 if shared else c]
            logits = reference.forward(theta[s, c], mlp.sizes, mlp.activation, own)
            torch.testing.assert_close(outputs.logits[s, c], logits)

            def loss(t, own=own, w=weights[s, c]):
                return (reference.forward(t, mlp.sizes, mlp.activation, own) * w).sum()

            torch.testing.assert_close(found[s, c], reference.gradient(loss, theta[s, c])[1])


@given(networks, st.integers(0, 9))
def test_leading_axes_may_be_absent(mlp, seed):
    theta, x = mlp.initial(generator(seed, "t")), torch.randn(4, mlp.sizes[0], generator=generator(seed, "x"))
    alone = mlp.forward(theta, x).logits
    torch.testing.assert_close(mlp.forward(theta[None, None], x[None, None]).logits[0, 0], alone)


def test_layers_cover_theta_once():
    mlp = MLP(sizes=(5, 4, 3, 2))
    covered = torch.cat([torch.arange(mlp.n_parameters)[part] for part in mlp.layers])
    assert covered.tolist() == list(range(5 * 4 + 4 + 4 * 3 + 3 + 3 * 2 + 2))


def test_initial_weights_have_variance_one_over_width_and_biases_are_zero():
    mlp = MLP(sizes=(400, 300, 200))
    for scale in (1.0, 0.1):
        for weight, bias in mlp.unflatten(mlp.initial(generator(0, "init"), scale)):
            # 60 000 draws or more: the standard error of a standard deviation is below 0.3 %
            assert weight.std().item() == pytest.approx(scale * weight.shape[0] ** -0.5, rel=0.015)
            assert not bias.any()


def test_workspace_reuses_memory_and_grows():
    work, like = Workspace(), torch.zeros(1)
    first = work.take("a", (2, 3), like)
    assert work.take("a", (3,), like).data_ptr() == first.data_ptr()
    assert work.take("b", (3,), like).data_ptr() != first.data_ptr()
    assert work.take("a", (50,), like).shape == (50,)
    assert work.take("a", (2,), like.double()).dtype == torch.float64
