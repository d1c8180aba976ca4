import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sublim_utils.engine import interventions as act
from sublim_utils.engine import liminal
from sublim_utils.engine.digits import Digits
from sublim_utils.engine.seeds import generator
from sublim_utils.engine.students import train_students
from sublim_utils.engine.vectors import dot, project, project_off
from sublim_utils.settings import Condition, Settings
from tests import small

P, PARTS = 60, {"first": slice(0, 25), "second": slice(25, 48), "head": slice(48, 60)}
SIDES = ("one", "two", "keep")


def drawn(seed, purpose, *lead):
    return torch.randn(*(lead or (2,)), P, generator=generator(seed, purpose))


def exact(vector, direction):
    return (vector.double() * direction.double()).sum(-1)


def projected(vector, direction, side, strength=1.0, along=None):
    return project(vector.clone(), direction, direction if along is None else along, strength, side)


def close_to(value, wanted, vector, direction):
    """Equal within float error: 1e-6 of |g| |t|, some ten roundings of float32."""
    assert ((value - wanted).abs() <= 1e-6 * vector.norm(dim=-1) * direction.norm(dim=-1)).all()


@given(st.integers(0, 50))
def test_two_sided_projection_leaves_no_component(seed):
    g, t = drawn(seed, "g"), drawn(seed, "t")
    close_to(exact(projected(g, t, "two"), t), 0.0, g, t)


@given(st.integers(0, 50))
def test_one_sided_projection_leaves_only_a_negative_component(seed):
    g, t = drawn(seed, "g"), drawn(seed, "t")
    close_to(exact(projected(g, t, "one"), t), exact(g, t).clamp(max=0), g, t)


@given(st.integers(0, 50))
def test_keep_leaves_only_the_aligned_component(seed):
    g, t = drawn(seed, "g"), drawn(seed, "t")
    kept = projected(g, t, "keep")
    close_to(exact(kept, t), exact(g, t).clamp(min=0), g, t)
    torch.testing.assert_close(kept + projected(g, t, "one"), g)


@given(st.floats(0, 1.5), st.integers(0, 20))
def test_strength_scales_what_is_removed(strength, seed):
    g, t = drawn(seed, "g"), drawn(seed, "t")
    close_to(exact(projected(g, t, "two", strength), t), (1 - strength) * exact(g, t), g, t)


def test_the_projection_moves_along_the_direction_only():
    g, t = drawn(0, "g"), drawn(0, "t")
    removed = g - projected(g, t, "two")
    torch.testing.assert_close(removed.norm(dim=-1), (exact(g, t).abs() / t.double().norm(dim=-1)).float())
    torch.testing.assert_close(dot(removed, t).abs(), removed.norm(dim=-1) * t.norm(dim=-1))


@pytest.mark.parametrize("side", ["one", "two"])
def test_the_random_control_removes_the_same_norm_elsewhere(side):
    g, t, a = (drawn(1, name) for name in "gta")
    own, control = (g - projected(g, t, side, along=along) for along in (t, a))
    torch.testing.assert_close(control.norm(dim=-1), own.norm(dim=-1))
    torch.testing.assert_close(dot(control, a).abs(), control.norm(dim=-1) * a.norm(dim=-1))


@pytest.mark.parametrize("side", SIDES)
def test_strength_0_is_the_identity_bit_for_bit(side):
    g, t, a = (drawn(2, name) for name in "gta")
    assert torch.equal(projected(g, t, side, 0.0), g)
    assert torch.equal(projected(g, t, side, 0.0, along=a), g)
    assert torch.equal(project_off(g.clone(), torch.stack([t, a]), 0.0), g)


@pytest.mark.parametrize("side", ["one", "two"])
def test_a_zero_direction_removes_nothing(side):
    g = drawn(3, "g")
    assert torch.equal(projected(g, torch.zeros_like(g), side), g)


@given(st.integers(1, 8), st.integers(0, 50), st.floats(0, 1.5))
def test_a_span_is_projected_off_whole_and_nothing_else_is_moved(k, seed, strength):
    g, basis = drawn(seed, "g"), drawn(seed, "basis", k, 2)
    rest = project_off(g.clone(), basis, strength)
    for row in basis:
        close_to(exact(rest, row), (1 - strength) * exact(g, row), g, row)
    outside = project_off(drawn(seed, "other"), basis, 1.0)
    close_to(exact(g - rest, outside), 0.0, g, outside)


def test_a_span_does_not_depend_on_its_basis_nor_on_rows_that_repeat():
    g, basis = drawn(4, "g"), drawn(4, "basis", 3, 2)
    plain = project_off(g.clone(), basis, 1.0)
    mixed = torch.stack([basis[0], basis[0] + 1e-3 * basis[1], 50 * basis[2] - basis[1], 2 * basis[0]])
    torch.testing.assert_close(project_off(g.clone(), mixed, 1.0), plain, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(project_off(g.clone(), basis[:1], 1.0), projected(g, basis[0], "two"))


class Stub:
    """A look whose gradients are drawn: each name, condition and kind of labels has its own."""

    def __init__(self, which="tracked"):
        self.which, self.theta = which, torch.zeros(2, 9, P)

    def directions(self, name, condition, labels=None):
        k = {"both": 2, "classes": 10}.get(name, 1)
        return drawn(6, f"{self.which} {name} {condition} {labels is not None}", k, 2)


def ensemble(*conditions):
    """The interventions of some conditions on vectors of P parameters in three parts."""
    return act.Interventions(
        conditions, [0, 1], PARTS, drawn(8, "displacement", 2, len(conditions)),
        lambda theta, step, i: Stub(f"independent {i}"), lambda step: torch.zeros(2, 5, dtype=torch.int64),
    )  # fmt: skip


def acted(*conditions, step=0, target="gradient"):
    made = ensemble(*conditions)
    g = drawn(5, "g", 2, len(conditions))
    known = {"trait": drawn(5, "t", 2, len(conditions)), "discrimination": drawn(5, "d", 2, len(conditions))}
    vector = g.clone()
    active = made.projected(target, vector, Stub(), known, step)
    return made, known, g, vector, active


def test_scopes_are_the_whole_each_part_all_but_the_last_and_the_last():
    scopes = ("whole", "layer", "hidden", "head")
    _, known, g, vector, _ = acted(*(Condition(projection=1.0, scope=s, side="two") for s in scopes))
    t = known["trait"]
    close_to(exact(vector[:, 0], t[:, 0]), 0.0, g[:, 0], t[:, 0])
    for part in PARTS.values():
        close_to(exact(vector[:, 1, part], t[:, 1, part]), 0.0, g[:, 1], t[:, 1])
    hidden, head = slice(0, 48), slice(48, 60)
    for i, inside, outside in ((2, hidden, head), (3, head, hidden)):
        close_to(exact(vector[:, i, inside], t[:, i, inside]), 0.0, g[:, i], t[:, i])
        assert torch.equal(vector[:, i, outside], g[:, i, outside])


def test_directions_are_those_named():
    two = {"projection": 1.0, "side": "two"}
    conditions = [
        Condition(**two, direction="displacement"),
        Condition(**two, projection_batch="independent"),
        Condition(**two),
        Condition(**two, direction="random"),
        Condition(),
        Condition(**two, direction="discrimination"),
        Condition(**two, direction="both"),
        Condition(**two, projection_labels="shuffled"),
        Condition(**two, direction="discrimination", projection_batch="independent"),
    ]
    made, known, g, vector, active = acted(*conditions)
    assert active == [0, 1, 2, 3, 5, 6, 7, 8]
    wanted = {
        0: [made.displacement[:, 0]],
        1: Stub("independent 1").directions("trait", 0),
        2: [known["trait"][:, 2]],
        5: [known["discrimination"][:, 5]],
        6: Stub().directions("both", 6),
        7: Stub().directions("trait", 7, "shuffled"),
        8: Stub("independent 8").directions("discrimination", 0),
    }
    for i, directions in wanted.items():
        for t in directions:
            close_to(exact(vector[:, i], t), 0.0, g[:, i], t)
    noise = made.random(0, "random-direction")
    removed = g[:, 3] - vector[:, 3]
    torch.testing.assert_close(dot(removed, noise).abs(), removed.norm(dim=-1) * noise.norm(dim=-1))
    assert torch.equal(vector[:, 4], g[:, 4])


def test_displacement_is_the_direction_of_descent():
    """One-sided: a gradient that descends towards the teacher, <-g, D_T> > 0, is what is projected."""
    made = ensemble(Condition(projection=1.0, direction="displacement"))
    towards, away = -made.displacement.clone(), made.displacement.clone()
    for g, left in ((towards, 0.0), (away, 1.0)):
        vector = g.clone()
        made.projected("gradient", vector, Stub(), {}, 0)
        torch.testing.assert_close(vector.norm(), left * g.norm(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("step", "acts"), [(0, False), (1, False), (2, True), (4, True), (5, False), (9, False)])
def test_windows_hold_their_first_step_and_not_their_last(step, acts):
    *_, g, vector, active = acted(Condition(projection=1.0, side="two", window=(2, 5)), step=step)
    assert bool(active) is acts
    assert torch.equal(vector, g) is not acts


def test_a_target_leaves_the_other_alone():
    *_, g, vector, active = acted(Condition(projection=1.0, side="two", target="update"))
    assert active == []
    assert torch.equal(vector, g)


def test_liminal_weight_at_its_corners():
    settings = Settings(
        n_inputs=100, n_train=100, batch_size=10, trait_batch_size=10, student_epochs=5
    )  # 10 steps each
    corners = {  # weights before steps 0, 5, 10 (end of epoch 1), 30, 40 (start of epoch 5), 50 (end)
        "first_epoch": [3, 3, 0, 0, 0, 0],
        "two_phase": [3, 2, 1, 0.5, 0.25, 0],
        "constant": [3, 3, 3, 3, 3, 3],
        "up": [0, 0.3, 0.6, 1.8, 2.4, 3],
        "down": [3, 2.7, 2.4, 1.2, 0.6, 0],
        "last_epoch": [0, 0, 0, 0, 3, 3],
    }
    for schedule, weights in corners.items():
        condition = Condition(liminal=3.0, schedule=schedule)
        found = [liminal.weight(condition, settings, step) for step in (0, 5, 10, 30, 40, 50)]
        assert found == pytest.approx(weights), schedule
        off = Condition(liminal=0.0, schedule=schedule)
        assert all(liminal.weight(off, settings, step) == 0 for step in range(51))


def test_a_weak_two_phase_penalty_is_never_raised():
    weak = Condition(liminal=0.5, schedule="two_phase")
    settings = Settings()
    weights = [liminal.weight(weak, settings, step) for step in range(settings.n_steps)]
    assert max(weights) == 0.5
    assert weights == sorted(weights, reverse=True)


ZERO = {
    "one": Condition(side="one", target="update"),
    "two": Condition(side="two"),
    "keep": Condition(side="keep", scope="layer"),
    "random": Condition(direction="random", target="update"),
    "displacement": Condition(direction="displacement", window=(0, 3)),
    "independent": Condition(projection_batch="independent"),
    **{s: Condition(schedule=s, temperature=3.0) for s in ("two_phase", "constant", "up", "down", "last_epoch")},
}


def test_strengths_at_0_are_the_baseline_bit_for_bit(images, thetas):
    """Each at the baseline's own place, beside conditions that do act at every step."""
    active = {"kept": Condition(projection=1.0, side="keep"), "pushed": Condition(projection=1.0, target="update")}

    def trained(conditions):
        own = {"own": thetas["own"][:1]}
        return train_students(Digits(small.SETTINGS, images), {**conditions, **active}, [0], own)

    (zero, theta_0), (plain, theta) = trained(ZERO), trained(dict.fromkeys(ZERO, Condition()))
    for i, name in enumerate(ZERO):
        assert torch.equal(theta_0[:, i], theta[:, i]), name
        assert zero.sel(condition=name).identical(plain.sel(condition=name)), name
    assert not torch.equal(theta[:, -1], theta[:, 0])


def test_projecting_the_update_nulls_the_recorded_drive(images, thetas):
    conditions = {
        "baseline": Condition(),
        "two": Condition(projection=1.0, side="two", target="update"),
        "one": Condition(projection=1.0, side="one", target="update"),
        "gradient": Condition(projection=1.0, side="two"),
    }
    runs, _ = train_students(Digits(small.SETTINGS, images), conditions, [0, 1], {"own": thetas["own"][:2]})
    trait = (runs["trait_norm"] ** 2).sum("layer") ** 0.5
    cosine = runs["drive"].sum("layer") / (trait * runs["update_norm"])
    # theta is stored in float32: an update of 3e-3 on weights of size 1 is rounded to some 1e-5 of itself.
    assert float(abs(cosine.sel(condition="two")).max()) < 1e-4
    assert float(cosine.sel(condition="one").min()) > -1e-4
    applied = runs["inner_applied"] / (trait * runs["applied_norm"])
    assert float(abs(applied.sel(condition="gradient")).max()) < 1e-5
    assert float(abs(cosine.sel(condition="gradient")).max()) > 0.01  # under Adam the update is not normal to t
    assert float(abs(cosine.sel(condition="baseline")).max()) > 0.01
