"""The network and its written-out gradient against autograd in float64."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sublim_utils.engine.network import ACTIVATIONS, MLP, Workspace
from sublim_utils.engine.seeds import generator
from sublim_utils.settings import Settings, SettingsError
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
    tape = mlp.forward(theta, x, work)
    found = mlp.backward(theta, tape, weights, torch.full_like(theta, torch.nan), work)
    for s in range(n_seeds):
        for c in range(n_conditions):
            own = x[s, 0 if shared else c]
            logits = reference.forward(theta[s, c], mlp.sizes, mlp.activation, own)
            torch.testing.assert_close(tape.logits[s, c], logits)

            def loss(t, own=own, w=weights[s, c]):
                return (reference.forward(t, mlp.sizes, mlp.activation, own) * w).sum()

            torch.testing.assert_close(found[s, c], reference.gradient(loss, theta[s, c])[1])


@given(networks, st.integers(0, 9))
def test_leading_axes_may_be_absent(mlp, seed):
    theta, x = mlp.initial(generator(seed, "t")), torch.randn(4, mlp.sizes[0], generator=generator(seed, "x"))
    alone = mlp.forward(theta, x).logits
    torch.testing.assert_close(mlp.forward(theta[None, None], x[None, None]).logits[0, 0], alone)


@given(networks, st.booleans(), st.integers(0, 9))
def test_the_tape_of_one_condition_gives_that_conditions_gradient(mlp, shared, seed):
    rng = generator(seed, "test")
    theta = torch.randn(2, 3, mlp.n_parameters, generator=rng, dtype=torch.float64)
    x = torch.randn(2, 1 if shared else 3, 4, mlp.sizes[0], generator=rng, dtype=torch.float64)
    weights = torch.randn(2, 3, 4, mlp.sizes[-1], generator=rng, dtype=torch.float64)
    tape = mlp.forward(theta, x)
    whole = mlp.backward(theta, tape, weights, torch.empty_like(theta))
    for i in range(3):
        own, out = tape.select(i), torch.empty_like(theta[:, i])
        assert torch.equal(own.logits, tape.logits[:, i])
        assert torch.equal(own.features, tape.features[:, i])
        torch.testing.assert_close(mlp.backward(theta[:, i], own, weights[:, i], out), whole[:, i])


@given(networks, st.booleans(), st.integers(0, 9))
def test_the_last_layer_makes_the_logits_of_the_features(mlp, shared, seed):
    rng = generator(seed, "test")
    theta = torch.randn(2, 3, mlp.n_parameters, generator=rng, dtype=torch.float64)
    tape = mlp.forward(theta, torch.randn(2, 1 if shared else 3, 4, mlp.sizes[0], generator=rng, dtype=torch.float64))
    weight, bias = mlp.unflatten(theta)[-1]
    assert tape.features.shape == (2, 3, 4, mlp.sizes[-2])
    torch.testing.assert_close(tape.features @ weight + bias.unsqueeze(-2), tape.logits)


def test_parts_are_the_layers_and_cover_theta_once():
    mlp = MLP(sizes=(5, 4, 3, 2))
    covered = torch.cat([torch.arange(mlp.n_parameters)[part] for part in mlp.parts.values()])
    assert covered.tolist() == list(range(5 * 4 + 4 + 4 * 3 + 3 + 3 * 2 + 2))
    assert list(mlp.parts) == ["layer 1", "layer 2", "layer 3"]


def test_a_gradient_is_written_into_a_view_between_others():
    mlp, rng = MLP(sizes=(4, 3, 2)), generator(0, "test")
    theta, x = torch.randn(2, 3, mlp.n_parameters, generator=rng), torch.randn(2, 1, 5, 4, generator=rng)
    tape, weights = mlp.forward(theta, x), torch.randn(2, 3, 5, 2, generator=rng)
    expected = mlp.backward(theta, tape, weights, torch.empty_like(theta))
    wide = torch.zeros(2, 3, mlp.n_parameters + 2)
    mlp.backward(theta, tape, weights, wide[..., 1:-1])
    torch.testing.assert_close(wide[..., 1:-1], expected)
    assert not wide[..., [0, -1]].any()


def test_an_mlp_is_not_made_of_another_networks_settings():
    with pytest.raises(SettingsError, match=r"network = 'vit' is not allowed: it must be 'mlp'"):
        MLP.of(Settings(network="vit"))


def test_initial_weights_have_variance_one_over_width_and_biases_are_zero():
    mlp = MLP(sizes=(400, 300, 200))
    for scale in (1.0, 0.1):
        for weight, bias in mlp.unflatten(mlp.initial(generator(0, "init"), scale)):
            # 60 000 draws or more: the standard error of a standard deviation is below 0.3 %
            assert weight.std().item() == pytest.approx(scale * weight.shape[0] ** -0.5, rel=0.015)
            assert not bias.any()


def test_a_uniform_start_is_that_of_pytorchs_own_layers():
    mlp = MLP(sizes=(400, 300, 200), init="uniform")
    torch.manual_seed(0)  # theirs are drawn from PyTorch's own state, which other tests leave anywhere
    for weight, bias in mlp.unflatten(mlp.initial(generator(0, "init"))):
        layer = torch.nn.Linear(*weight.shape)
        bound = weight.shape[0] ** -0.5
        for drawn, theirs in ((weight, layer.weight), (bias, layer.bias)):
            assert drawn.abs().max() <= bound
            assert theirs.abs().max() <= bound
            # 200 draws or more of a uniform variable: 3.2 % is the standard error of a standard deviation
            assert drawn.std().item() == pytest.approx(bound * 3**-0.5, rel=0.12)
            assert drawn.std().item() == pytest.approx(theirs.std().item(), rel=0.17)


def test_every_models_outputs_lie_in_the_workspace():
    mlp, work = MLP(sizes=(4, 3, 12)), Workspace()
    tape = mlp.forward(torch.ones(2, 3, mlp.n_parameters), torch.ones(2, 1, 5, 4), work)
    for name, output in zip(("output1", "output2"), tape.layers[1:], strict=True):
        assert output.data_ptr() == work.buffers[name].data_ptr()
        assert output.numel() == work.buffers[name].numel()


def test_workspace_reuses_memory_and_grows():
    work, like = Workspace(), torch.zeros(1)
    first = work.take("a", (2, 3), like)
    assert work.take("a", (3,), like).data_ptr() == first.data_ptr()
    assert work.take("b", (3,), like).data_ptr() != first.data_ptr()
    assert work.take("a", (50,), like).shape == (50,)
    assert work.take("a", (2,), like.double()).dtype == torch.float64
