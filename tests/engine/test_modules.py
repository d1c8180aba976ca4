"""Any module as a network: it computes the MLP's results, or a single model's; what can't be one is refused."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sublim_utils.engine.modules import Module
from sublim_utils.engine.network import MLP
from sublim_utils.engine.seeds import generator
from sublim_utils.settings import SettingsError

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "identity": nn.Identity}


def sequential(mlp):
    """Return a function that makes the MLP of torch's layers."""

    def make():
        layers = [(nn.Linear(a, b), ACTIVATIONS[mlp.activation]()) for a, b in mlp.shapes]
        return nn.Sequential(*[part for pair in layers for part in pair][:-1])

    return make


def as_module(mlp, theta):
    """Return theta in the order of torch's layers, whose weights are (d_out, d_in)."""
    return torch.cat([p.flatten(theta.ndim - 1) for w, b in mlp.unflatten(theta) for p in (w.mT, b)], dim=-1)


def drawn(shape, seed, purpose="x"):
    return torch.randn(*shape, generator=generator(seed, purpose), dtype=torch.float64)


class Attending(nn.Module):
    """A transformer layer of torch's own kernels, with a parameter of the root's and one that is used twice."""

    def __init__(self):
        super().__init__()
        self.position = nn.Parameter(0.1 * torch.randn(5, 8))
        self.read = nn.Linear(8, 24)
        self.again = nn.Linear(8, 8)
        self.again.weight = self.write = nn.Parameter(torch.randn(8, 8) / 3)
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 3)
        self.register_buffer("mixing", 0.7 * torch.eye(8).roll(1, 0))

    def forward(self, x):
        x = x.unflatten(-1, (5, 8)) + self.position
        q, k, v = self.read(self.norm(x)).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        x = x + F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2) @ self.write
        return self.head((self.again(x) @ self.mixing).mean(1))


ATTENDING = Module(Attending, head="head")

mlps = st.builds(
    MLP,
    sizes=st.lists(st.integers(1, 6), min_size=2, max_size=4).map(tuple),
    activation=st.sampled_from(sorted(ACTIVATIONS)),
)


@settings(max_examples=30)
@given(mlps, st.integers(1, 2), st.integers(1, 3), st.booleans(), st.integers(0, 99))
def test_an_mlp_of_torchs_layers_is_the_written_out_mlp(mlp, n_seeds, n_conditions, shared, seed):
    network = Module(sequential(mlp), head=str(2 * len(mlp.shapes) - 2))
    theta, batch = drawn((n_seeds, n_conditions, mlp.n_parameters), seed, "theta"), 4
    x = drawn((n_seeds, 1 if shared else n_conditions, batch, mlp.sizes[0]), seed)
    weights, own = drawn((n_seeds, n_conditions, batch, mlp.sizes[-1]), seed, "weights"), as_module(mlp, theta)
    tape, expected = network.forward(own, x), mlp.forward(theta, x)
    close = {"rtol": 1e-11, "atol": 1e-11}  # a few hundred roundings of 1e-16
    torch.testing.assert_close(tape.logits, expected.logits, **close)
    torch.testing.assert_close(tape.features, expected.features, **close)
    gradient = mlp.backward(theta, expected, weights, torch.empty_like(theta))
    found = network.backward(own, tape, weights, torch.full_like(own, torch.nan))
    torch.testing.assert_close(found, as_module(mlp, gradient), **close)
    assert network.n_parameters == mlp.n_parameters
    assert list(network.parts.values()) == list(mlp.parts.values())


def alone(network, theta, x, weights):
    """Return one model's logits and gradient by torch's own way: the module's parameters set, backward called."""
    module = network.make().to(theta.dtype)
    for name, value in network.unflatten(theta).items():
        module.get_parameter(name).data.copy_(value)
    logits = module(x)
    (logits * weights).sum().backward()
    gradients = [module.get_parameter(name).grad.flatten() for name in network.shapes]
    return logits.detach(), torch.cat(gradients)


def problem(n_seeds=2, n_conditions=3, batch=4):
    theta = drawn((n_seeds, n_conditions, ATTENDING.n_parameters), 0, "theta")
    return theta, drawn((n_seeds, 1, batch, 40), 0), drawn((n_seeds, n_conditions, batch, 3), 0, "weights")


def test_each_models_logits_and_gradient_are_those_of_the_module_alone():
    theta, x, weights = problem()
    tape = ATTENDING.forward(theta, x)
    found = ATTENDING.backward(theta, tape, weights, torch.empty_like(theta))
    for s, c in itertools.product(range(2), range(3)):
        logits, gradient = alone(ATTENDING, theta[s, c], x[s, 0], weights[s, c])
        torch.testing.assert_close(tape.logits[s, c], logits, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(found[s, c], gradient, rtol=1e-12, atol=1e-12)


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # torch has no rule for its attention kernel
def test_models_over_which_vmap_maps_agree():
    theta, x, _ = problem()
    mapped = torch.vmap(torch.vmap(ATTENDING.logits, in_dims=(0, None)))(theta, x[:, 0])
    torch.testing.assert_close(ATTENDING.forward(theta, x).logits, mapped, rtol=1e-12, atol=1e-12)


def test_a_models_bits_do_not_depend_on_the_models_beside_it():
    theta, x, weights = (v.float() for v in problem())
    tape = ATTENDING.forward(theta, x)
    whole = ATTENDING.backward(theta, tape, weights, torch.empty_like(theta))
    own = ATTENDING.forward(theta[1:, 2:], x[1:])
    assert torch.equal(own.logits[0, 0], tape.logits[1, 2])
    single = ATTENDING.backward(theta[1:, 2:], own, weights[1:, 2:], torch.empty(1, 1, ATTENDING.n_parameters))
    assert torch.equal(single[0, 0], whole[1, 2])


def test_leading_axes_may_be_absent():
    theta, x, weights = (v[0, 0] for v in problem())
    tape = ATTENDING.forward(theta, x)
    logits, gradient = alone(ATTENDING, theta, x, weights)
    torch.testing.assert_close(tape.logits, logits)
    torch.testing.assert_close(ATTENDING.backward(theta, tape, weights, torch.empty_like(theta)), gradient)
    many = torch.stack([theta, -theta])[None]
    torch.testing.assert_close(ATTENDING.forward(many, x).logits[0, 0], logits)


def test_the_tape_of_one_condition_gives_that_conditions_gradient_again_and_again():
    theta, x, weights = problem()
    tape = ATTENDING.forward(theta, x)
    for _ in range(2):
        whole = ATTENDING.backward(theta, tape, weights, torch.empty_like(theta))
        for i in range(3):
            own = tape.select(i)
            assert torch.equal(own.logits, tape.logits[:, i])
            assert torch.equal(own.features, tape.features[:, i])
            out = torch.empty(2, 5, ATTENDING.n_parameters, dtype=theta.dtype)[:, 3]  # a view, as the engine's may be
            assert torch.equal(ATTENDING.backward(theta[:, i], own, weights[:, i], out), whole[:, i])


def test_parameters_that_were_changed_since_are_not_differentiated():
    theta, x, weights = problem()
    tape = ATTENDING.forward(theta, x)
    theta.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        ATTENDING.backward(theta, tape, weights, torch.empty_like(theta))


def test_the_head_makes_the_logits_of_the_features():
    theta, x, _ = problem()
    tape = ATTENDING.forward(theta, x)
    for s, c in itertools.product(range(2), range(3)):
        own = ATTENDING.unflatten(theta[s, c])
        torch.testing.assert_close(
            F.linear(tape.features[s, c], own["head.weight"], own["head.bias"]), tape.logits[s, c]
        )
    assert Module(Attending).forward(theta, x).features is None


def test_a_parameter_without_influence_has_a_zero_gradient():
    class Unused(nn.Linear):
        def forward(self, x):
            return F.linear(x, self.weight)

    network = Module(lambda: Unused(3, 2))
    theta, x = network.initial(generator(0, "init")), torch.ones(4, 3)
    found = network.backward(theta, network.forward(theta, x), torch.ones(4, 2), torch.full_like(theta, torch.nan))
    assert found.tolist() == [4.0] * 6 + [0.0] * 2


def test_logits_as_a_pure_function_can_be_derived_twice():
    network = Module(lambda: nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)))
    theta, x = network.initial(generator(0, "init")).double(), drawn((5, 3), 0)

    def loss(t):
        return network.logits(t, x).square().sum()

    weights = 2 * network.logits(theta, x)
    by_tape = network.backward(theta, network.forward(theta, x), weights, torch.empty_like(theta))
    torch.testing.assert_close(torch.func.grad(loss)(theta), by_tape)
    hessian = torch.func.hessian(loss)(theta)
    torch.testing.assert_close(hessian, hessian.T)
    assert hessian.abs().max() > 0.1


def test_parts_cover_theta_once_in_order_and_shared_parameters_are_in_it_once():
    edges = [0, *(part.stop for part in ATTENDING.parts.values())]
    assert [part.start for part in ATTENDING.parts.values()] == edges[:-1]
    assert edges[-1] == ATTENDING.n_parameters == 5 * 8 + 8 * 8 + (8 * 24 + 24) + 8 + 2 * 8 + (8 * 3 + 3)
    assert list(ATTENDING.parts) == ["position", "write", "read", "again", "norm", "head"]
    assert ATTENDING.initial(generator(0, "init")).shape == (ATTENDING.n_parameters,)


def test_parts_may_be_given_and_theta_follows_them():
    network = Module(Attending, parts={"last": ["head"], "rest": ["position", "write", "read", "again", "norm"]})
    assert network.parts == {"last": slice(0, 27), "rest": slice(27, network.n_parameters)}
    theta = network.initial(generator(0, "init"))
    head = dict(network.unflatten(theta))["head.weight"]
    assert torch.equal(theta[:24].view(3, 8), head)
    one = Module(
        lambda: nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)),
        parts={"b": ["0.bias", "1.bias"], "w": ["0.weight", "1.weight"]},
    )
    assert one.parts == {"b": slice(0, 4), "w": slice(4, 12)}


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"a": ["0"]}, "such that '1.weight' is in one of them, not 0"),
        ({"a": ["0", "1"], "b": ["1.bias"]}, "such that '1.bias' is in one of them, not 2"),
        ({"a": ["0", "1"], "b": ["2"]}, "parts = 'b' is not allowed: it must be a name with parameters"),
        ({"a": ["0", "1.wei", "1.bias"]}, "such that '1.weight' is in one of them, not 0"),
    ],
)
def test_parts_that_do_not_divide_the_parameters_are_refused(parts, message):
    with pytest.raises(SettingsError, match=message):
        Module(lambda: nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), parts=parts)


def test_initial_is_the_generators_and_leaves_the_global_one_alone():
    before = torch.get_rng_state()
    first, again, other = (Module(Attending).initial(generator(k, "init")) for k in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(ATTENDING.initial(generator(3, "init"), 0.25), 0.25 * first)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(7)  # the global generator's state is no part of it
    assert torch.equal(ATTENDING.initial(generator(3, "init")), first)


def test_initial_follows_the_modules_own_initialisation():
    network = Module(lambda: nn.Sequential(nn.Linear(900, 100), nn.LayerNorm(100)))
    own = network.unflatten(network.initial(generator(0, "init")))
    assert own["0.weight"].std().item() == pytest.approx(900**-0.5 / 3**0.5, rel=0.02)  # torch's: U(-1, 1) / 30
    assert own["1.weight"].unique().tolist() == [1.0]


def test_buffers_stay_fixed_and_follow_thetas_type():
    theta, x, _ = problem()
    mixing = ATTENDING.module.mixing.clone()
    assert ATTENDING.forward(theta, x).logits.dtype == torch.float64
    assert torch.equal(ATTENDING.module.mixing, mixing)
    parameters = ATTENDING.unflatten(theta[0, 0])
    as_it_is = ATTENDING.call(parameters, x[0, 0])
    half = torch.func.functional_call(ATTENDING.module, {**parameters, "mixing": mixing.double() / 2}, (x[0, 0],))
    assert not torch.allclose(as_it_is, half)


def test_without_gradients_no_graph_is_kept():
    theta, x, _ = problem()
    with torch.no_grad():
        tape = ATTENDING.forward(theta, x)
    assert not any(own.logits.requires_grad for own in tape.passes.values())
    assert torch.equal(tape.logits, ATTENDING.forward(theta, x).logits)


class Counting(nn.Module):
    """Keeps a running statistic that its type does not tell of."""

    def __init__(self):
        super().__init__()
        self.dense = nn.Linear(2, 2)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x):
        self.seen.add_(1)
        return self.dense(x)


class Dropping(nn.Linear):
    """Draws random numbers that its type does not tell of."""

    def forward(self, x):
        return F.dropout(super().forward(x), 0.5, training=self.training)


REFUSED = {
    "batch norm": (lambda: nn.BatchNorm1d(2), "layer '1' = 'BatchNorm1d' .* running statistics"),
    "batch norm of the batch": (lambda: nn.BatchNorm1d(2, track_running_stats=False).eval(), "layer '1' .* one by one"),
    "instance norm": (lambda: nn.InstanceNorm1d(2, track_running_stats=True), "'InstanceNorm1d' .* running statistics"),
    "dropout": (nn.Dropout, "layer '1' = 'Dropout' .* in eval mode, .* random numbers"),
    "alpha dropout": (nn.AlphaDropout, "'AlphaDropout' .* random numbers"),
    "random slopes": (nn.RReLU, "'RReLU' .* random numbers"),
    "random pools": (lambda: nn.FractionalMaxPool2d(2, 1), "'FractionalMaxPool2d' .* random numbers"),
    "attention": (lambda: nn.MultiheadAttention(2, 1, dropout=0.1), "'MultiheadAttention' .* random numbers"),
    "a layer within": (lambda: nn.Sequential(nn.Dropout()), "layer '1.0' = 'Dropout'"),
    "float64": (lambda: nn.Linear(2, 2).double(), "parameter '1.weight' = 'torch.float64' .* torch.float32"),
    "bfloat16": (lambda: nn.Linear(2, 2).bfloat16(), "parameter '1.weight' = 'torch.bfloat16'"),
    "whole numbers": (
        lambda: nn.ParameterList([nn.Parameter(torch.arange(2), requires_grad=False)]),
        "parameter '1.0' = 'torch.int64' .* torch.float32",
    ),
    "frozen": (lambda: nn.Linear(2, 2).requires_grad_(False), "parameter '1.weight' = 'frozen' .* buffer"),
    "no shape yet": (lambda: nn.LazyLinear(2), "parameter '1.weight' = 'UninitializedParameter' .* known shape"),
    "no tensors": (lambda: nn.Linear(2, 2, device="meta"), "parameter '1.weight' = 'meta' .* on the CPU"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_function_of_theta_and_one_input_is_refused_by_name(what):
    make, message = REFUSED[what]
    with pytest.raises(SettingsError, match=message):
        Module(lambda: nn.Sequential(nn.Linear(2, 2), make()))


@pytest.mark.parametrize("layer", [nn.BatchNorm1d(2), nn.Dropout(), nn.RReLU(), nn.Dropout(p=0.0).train()])
def test_layers_in_eval_mode_are_functions_and_are_taken(layer):
    p = getattr(layer, "p", 1.0)
    network = Module(lambda: nn.Sequential(nn.Linear(2, 2), layer.train(p == 0.0)))
    theta, x = network.initial(generator(0, "init")), torch.randn(4, 2, generator=generator(0, "x"))
    assert torch.equal(network.forward(theta, x).logits, network.forward(theta, x).logits)


def test_what_no_type_tells_is_seen_at_the_first_pass():
    for make, message in (
        (Counting, "buffer 'seen' = 'changed by a pass'"),
        (lambda: Dropping(2, 2), "random numbers"),
    ):
        network = Module(make)
        with pytest.raises(SettingsError, match=message):
            network.forward(network.initial(generator(0, "init")), torch.ones(3, 2))


def test_a_head_that_is_none_and_a_module_that_is_not_made_anew_are_refused():
    with pytest.raises(SettingsError, match="head = 'norm' is not allowed: it must be the name of a linear layer"):
        Module(Attending, head="norm")
    with pytest.raises(SettingsError, match="module = 'ReLU' is not allowed: it must be a module with parameters"):
        Module(nn.ReLU)
    module = nn.Linear(2, 2)
    with pytest.raises(SettingsError, match="a function that makes a new module each time"):
        Module(lambda: module).initial(generator(0, "init"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_the_same():
    theta, x, weights = problem()
    found = [
        ATTENDING.backward(t, ATTENDING.forward(t, a), w, torch.empty_like(t)).cpu()
        for t, a, w in ((theta, x, weights), (theta.cuda(), x.cuda(), weights.cuda()))
    ]
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-10)
