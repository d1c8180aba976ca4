"""The account on a quadratic, where it is exact, against autograd, and against trained students."""

from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from sublim_utils.engine.digits import Digits, references
from sublim_utils.engine.ensemble import Ensemble
from sublim_utils.engine.network import MLP
from sublim_utils.engine.seeds import generator
from sublim_utils.engine.students import train_students
from sublim_utils.runs import packing
from sublim_utils.settings import N_CLASS, Condition, SettingsError
from sublim_utils.theory import account
from sublim_utils.theory.quantities import Trait
from tests import reference, small
from tests.test_settings import OTHER

FIXED = replace(small.SETTINGS, trait_batch="fixed")
CPU = torch.device("cpu")
seeds = st.integers(0, 10_000)
few = settings(max_examples=15)


@dataclass
class Quadratic:
    """L(theta) = theta . H theta / 2 + b . theta, with the parameters of a network in two layers."""

    seed: int
    mlp: MLP = MLP(sizes=(2, 3, 11))  # noqa: RUF009

    def __post_init__(self):
        rng, p = generator(self.seed, "quadratic"), self.mlp.n_parameters
        root, self.b = (torch.randn(*shape, generator=rng, dtype=torch.float64) for shape in ((p, p), (p,)))
        self.h = root + root.T
        self.before, self.after = torch.randn(2, p, generator=rng, dtype=torch.float64)

    def loss(self, theta):
        return theta @ self.h @ theta / 2 + self.b @ theta

    def gradient(self, theta):
        return self.h @ theta + self.b

    def curvature(self, theta, d):
        return d @ self.h @ d


def smooth(seed):
    """Return a trait loss of a small tanh network, a point and a direction."""
    mlp, rng = MLP(sizes=(4, 6, 5, N_CLASS + 2), activation="tanh"), generator(seed, "account")
    x = torch.empty(7, 4, dtype=torch.float64).uniform_(-1, 1, generator=rng)
    trait = Trait(mlp, x, torch.randint(N_CLASS, (7,), generator=rng))
    return trait, mlp.initial(rng).double(), mlp.initial(rng).double()


def third_derivative(trait, theta, d):
    """Return d^3/ds^3 of L_T(theta + s d) at s = 0, by forward over forward over reverse."""

    def second(at):
        return torch.func.jvp(torch.func.grad(trait.loss), (at,), (d,))[1] @ d

    return float(torch.func.jvp(second, (theta,), (d,))[1])


@few
@given(seeds)
def test_on_a_quadratic_second_order_and_trapezoid_are_exact(seed):
    q = Quadratic(seed)
    entry, u = account.one_step(q, q.before, q.after), q.after - q.before
    assert entry["measured"] == pytest.approx(float(q.loss(q.after) - q.loss(q.before)), rel=1e-12)
    assert entry["second order"] == pytest.approx(entry["measured"], rel=1e-9, abs=1e-9)
    assert entry["trapezoid"] == pytest.approx(entry["measured"], rel=1e-9, abs=1e-9)
    assert entry["measured"] - entry["first order"] == pytest.approx(float(u @ q.h @ u) / 2, rel=1e-9, abs=1e-9)


@few
@given(seeds)
def test_on_a_quadratic_one_node_gives_the_straight_line_by_layer(seed):
    q = Quadratic(seed)
    d, slope = q.after - q.before, q.gradient((q.before + q.after) / 2)
    found = account.straight_line(q, q.before, q.after, nodes=1)
    np.testing.assert_allclose(found, [float(slope[p] @ d[p]) for p in q.mlp.parts.values()], rtol=1e-10)


@few
@given(seeds)
def test_an_entry_is_what_autograd_gives(seed):
    trait, theta, d = smooth(seed)

    def loss(at):
        return F.cross_entropy(reference.forward(at, trait.mlp.sizes, "tanh", trait.x)[:, :N_CLASS], trait.y)

    def slope(at):
        at = at.clone().requires_grad_()
        first = torch.autograd.grad(loss(at), at, create_graph=True)[0] @ d
        return first.detach(), torch.autograd.grad(first, at)[0] @ d

    entry = account.one_step(trait, theta, theta + d)
    (first, curvature), (last, _) = slope(theta), slope(theta + d)
    expected = {
        "first order": first,
        "second order": first + curvature / 2,
        "trapezoid": (first + last) / 2,
        "measured": loss(theta + d) - loss(theta),
    }
    assert entry == pytest.approx({name: float(v) for name, v in expected.items()}, rel=1e-9, abs=1e-12)


@few
@given(seeds)
def test_the_errors_are_of_the_orders_and_in_the_ratio_stated(seed):
    trait, theta, d = smooth(seed)

    def errors(size):
        entry = account.one_step(trait, theta, theta + size * d)
        return np.array([entry["measured"] - entry[n] for n in ("first order", "second order", "trapezoid")])

    size, third = 1e-3, third_derivative(trait, theta, d)
    first, second, middle = errors(size)
    assert second == pytest.approx(size**3 * third / 6, rel=0.05, abs=1e-11)
    assert middle == pytest.approx(-(size**3) * third / 12, rel=0.05, abs=1e-11)
    assert first == pytest.approx(size**2 * float(trait.curvature(theta, d)) / 2, rel=0.05, abs=1e-8)


@few
@given(seeds)
def test_the_acting_curvature_is_the_hessians_on_a_quadratic_whatever_the_size(seed):
    q = Quadratic(seed)
    found = account.acting_curvature(q, q.before, q.after, np.array([0.1, 1.0, 2.0]))
    exact = float(q.curvature(q.before, q.after - q.before))
    np.testing.assert_allclose(found, exact, rtol=1e-9, atol=1e-8)


@few
@given(seeds)
def test_the_acting_curvature_leaves_the_hessians_by_a_third_of_the_third_derivative(seed):
    trait, theta, d = smooth(seed)
    size, third = 1e-3, third_derivative(trait, theta, d)
    found = account.acting_curvature(trait, theta, theta + d, np.array([size]))[0] - float(trait.curvature(theta, d))
    assert found == pytest.approx(size * third / 3, rel=0.05, abs=1e-8)


def test_a_kink_acts_that_the_hessian_does_not_see():
    """One hidden unit, off at theta_t: L_T is constant until u_t switches it on."""
    mlp = MLP(sizes=(1, 1, N_CLASS + 1))
    theta, u = torch.zeros(2, mlp.n_parameters, dtype=torch.float64)
    theta[0], theta[2], u[0] = -0.1, 1.0, 0.2  # the hidden weight, the weight to class 0; w + u = 0.1
    trait = Trait(mlp, torch.ones(1, 1, dtype=torch.float64), torch.tensor([0]))
    assert account.one_step(trait, theta, theta + u)["second order"] == 0
    small, whole = account.acting_curvature(trait, theta, theta + u, np.array([0.4, 1.0]))
    assert small == 0
    assert whole == pytest.approx(2 * float(trait.loss(theta + u) - trait.loss(theta)))


@few
@given(seeds)
def test_the_straight_line_adds_up_to_the_change_of_the_loss(seed):
    trait, theta, d = smooth(seed)
    found = account.straight_line(trait, theta, theta + d)
    assert found.shape == (3,)
    assert found.sum() == pytest.approx(float(trait.loss(theta + d) - trait.loss(theta)), rel=1e-9, abs=1e-12)


@few
@given(seeds)
def test_a_layer_that_does_not_move_has_no_part_in_the_straight_line(seed):
    trait, theta, d = smooth(seed)
    d[trait.mlp.parts["layer 2"]] = 0
    assert account.straight_line(trait, theta, theta + d, nodes=3)[1] == 0


def test_closure_is_a_ratio_and_undefined_where_nothing_changed():
    found = account.closure(xr.DataArray([1.0, -3.0, 1.0]), xr.DataArray([2.0, -2.0, 0.0]))
    np.testing.assert_array_equal(found, [0.5, 1.5, np.nan])


@pytest.fixture(scope="module")
def trained(images, thetas):
    """Students tracked on a fixed set, seeds 2 and 3, with their weights."""
    conditions = {name: small.CONDITIONS[name] for name in ("baseline", "projected", "liminal")}
    own = {kind: theta[[2, 3]] for kind, theta in thetas.items()}
    return train_students(Digits(FIXED, images), conditions, [2, 3], own)


def test_the_fixed_set_is_the_one_tracked(images, thetas):
    own = {kind: theta[[2, 3]] for kind, theta in thetas.items()}
    ensemble = Ensemble(Digits(FIXED, images), {"": Condition()}, [2, 3], own)
    for row, seed in enumerate((2, 3)):
        trait, index = account.fixed_set(FIXED, seed, images), ensemble.trait_batch(5)[row]
        assert torch.equal(trait.x, ensemble.task.x[index].double())
        assert torch.equal(trait.y, ensemble.labels["true"][row, index])


def test_measured_changes_add_up_to_that_of_the_loss(trained, images):
    runs, theta = trained
    for row, seed in enumerate((2, 3)):
        trait, start = account.fixed_set(FIXED, seed, images), references(FIXED, [seed], CPU)[0, 0].double()
        change = account.measured(runs).sum("step")[row]
        expected = [float(trait.loss(end.double()) - trait.loss(start)) for end in theta[row]]
        np.testing.assert_allclose(change, expected, atol=2e-6)


def test_the_records_are_the_entries_of_a_replay(trained, images, thetas, lab):
    runs, theta = trained
    trait = account.fixed_set(FIXED, 2, images)
    runs = runs.sel(seed=2, condition="baseline")
    pairs, end = account.replay(lab, FIXED, Condition(), 2, range(FIXED.n_steps))
    assert list(pairs) == list(range(FIXED.n_steps))
    assert torch.equal(pairs[0][0], references(FIXED, [2], CPU)[0, 0].double())
    for step, (before, after) in pairs.items():
        assert torch.equal(after, pairs[step + 1][0] if step + 1 in pairs else end)
        entry, now = account.one_step(trait, before, after), runs.isel(step=step)
        for name, found in (("first order", account.first_order), ("trapezoid", account.trapezoid)):
            assert float(found(now).sum("layer")) == pytest.approx(entry[name], rel=1e-4, abs=1e-8)
        assert float(account.measured(now)) == pytest.approx(entry["measured"], abs=1e-6)
        u, layers = after - before, list(MLP.of(FIXED).parts.values())
        ends = (trait.gradient(before) + trait.gradient(after)) / 2
        by_layer = [float(ends[p] @ u[p]) for p in layers]
        np.testing.assert_allclose(account.trapezoid(now), by_layer, rtol=1e-4, atol=1e-8)
    torch.testing.assert_close(end.float(), theta[0, 0], rtol=0, atol=1e-5)  # Adam turns a last bit into more


def test_a_replay_keeps_only_the_steps_asked_for_and_follows_the_condition(lab):
    pairs, end = account.replay(lab, FIXED, small.CONDITIONS["liminal"], 0, [1, 3])
    _, plain = account.replay(lab, FIXED, Condition(), 0, [])
    assert list(pairs) == [1, 3]
    assert not torch.equal(end, plain)


def test_a_replay_refuses_what_the_trait_gradient_acts_on(lab):
    with pytest.raises(SettingsError, match="^condition = {'projection': 1.0}"):
        account.replay(lab, FIXED, Condition(projection=1.0), 0, [])
    _, away = account.replay(lab, FIXED, Condition(projection=1.0, direction="displacement"), 0, [])
    assert torch.isfinite(away).all()


def test_the_trait_gradient_acts_exactly_where_another_trait_batch_makes_another_student(images, thetas):
    """Every option at another value, with and without a projection, so that none added later is forgotten."""
    base = [Condition(), Condition(projection=1.0, side="two"), Condition(projection=1.0, direction="displacement")]
    conditions = {}
    for start, (name, value) in product(base, OTHER[Condition].items()):
        with suppress(SettingsError):
            one = replace(start, **{name: value})
            one.check_with(FIXED)
            conditions[str(one.changed())] = one
    own = {kind: theta[:1] for kind, theta in thetas.items()}
    ends = [
        train_students(Digits(replace(FIXED, trait_batch_size=n), images), conditions, [0], own)[1][0] for n in (1, 20)
    ]
    for (name, condition), one, other in zip(conditions.items(), *ends, strict=True):
        assert condition.uses_trait == (not torch.equal(one, other)), name
    assert len(conditions) > 20


@pytest.mark.parametrize("function", [account.sampled, account.displaced])
def test_a_stored_account_is_that_of_the_replay_and_asked_for_once(lab, monkeypatch, function):
    arguments = {"at": [0, 3], "sizes": [0.1, 1.0]} if function is account.sampled else {}
    found = lab.ask(function, [1], settings=FIXED, **arguments)
    pairs, end = account.replay(lab, FIXED, Condition(), 1, [0, 3])
    trait = account.fixed_set(FIXED, 1, lab.images(FIXED))
    if function is account.sampled:
        xr.testing.assert_equal(found.isel(seed=0, drop=True), account.sampled_steps(trait, pairs, [0.1, 1.0]))
    else:
        xr.testing.assert_equal(found.isel(seed=0, drop=True), account.displacement(trait, pairs[0][0], end))
    monkeypatch.setattr(account, "replay", lambda *_: pytest.fail("computed again"))
    lab.ask(function, [1], settings=FIXED, **arguments)


def test_without_a_projection_the_last_layer_has_no_part(trained):
    """The class head gets no distillation gradient, the auxiliary heads no trait gradient."""
    runs, _ = trained
    last = abs(account.first_order(runs).isel(layer=-1)).max(("seed", "step"))
    assert float(last.sel(condition="baseline")) == float(last.sel(condition="liminal")) == 0
    assert float(last.sel(condition="projected")) > 0


@few
@given(seeds)
def test_sampled_steps_are_their_entries_and_on_a_quadratic_the_curvature_is_the_hessians(seed):
    q, sizes = Quadratic(seed), [0.1, 1.0]
    pairs = {3: (q.before, q.after), 7: (q.after, q.before)}
    found = account.sampled_steps(q, pairs, sizes)
    assert found["at"].values.tolist() == [3, 7]
    assert not packing.rounding(packing.stacked(found))  # a packed store keeps it exactly
    for at, (before, after) in pairs.items():
        here, u = found.sel(at=at), after - before
        for order, value in account.one_step(q, before, after).items():
            assert float(here["entry"].sel(order=order)) == value
        assert float(here["curvature"]) == pytest.approx(float(u @ q.h @ u), rel=1e-8, abs=1e-8)
        np.testing.assert_allclose(here["acting"], float(u @ q.h @ u), rtol=1e-8, atol=1e-7)


@few
@given(seeds)
def test_a_displacements_straight_line_is_the_change_and_its_start_only_the_slope(seed):
    trait, theta, d = smooth(seed)
    found = account.displacement(trait, theta, theta + d)["part"]
    whole, slope = (found.sel(way=way) for way in ("straight line", "start only"))
    assert float(whole.sum()) == pytest.approx(float(trait.loss(theta + d) - trait.loss(theta)), rel=1e-9, abs=1e-12)
    g = trait.gradient(theta)
    np.testing.assert_allclose(slope, [float(g[p] @ d[p]) for p in trait.mlp.parts.values()], rtol=1e-9, atol=1e-14)


def test_a_replay_counts_its_steps(lab):
    done = []
    account.replay(lab, FIXED, Condition(), 0, [], done.append)
    assert sum(done) == FIXED.n_steps
