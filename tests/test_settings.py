"""Every value of every option is either allowed or refused by name; addresses stay where they are."""

import typing
from dataclasses import MISSING, fields, make_dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sublim_utils.runs.addresses import address, student_address
from sublim_utils.runs.profiles import Profile
from sublim_utils.settings import Condition, Options, Settings, SettingsError

nonsense = st.one_of(
    st.text(), st.none(), st.booleans(), st.binary(), st.complex_numbers(), st.just({}), st.just([[1]]), st.just([1.5])
)
no_number = st.sampled_from([float("nan"), float("inf"), -float("inf"), 10**400, -(10**400)])
wrong_types = {
    int: nonsense | st.floats() | st.just([1]),
    float: nonsense | no_number | st.just([1]),
    bool: st.integers() | st.floats() | st.text() | st.none(),
    str: st.integers() | st.none() | st.just(["x"]),
    tuple: st.text(min_size=1) | st.none() | st.integers() | st.just([1.5]) | st.just([True]) | st.just({}),
    typing.Literal: st.text() | st.integers() | st.none() | st.floats() | st.just(["aux"]) | st.just({}),
}


def wrong_values(cls, name):
    """Return values of the wrong type, or no allowed choice, for a field."""
    kind = typing.get_type_hints(cls)[name]
    origin, choices = typing.get_origin(kind), typing.get_args(kind)
    optional = type(None) in choices
    if optional:
        kind = next(c for c in choices if c is not type(None))
        origin, choices = typing.get_origin(kind), typing.get_args(kind)
    values = wrong_types[origin or kind]
    return values.filter(lambda v: not (optional and v is None) and not (origin is typing.Literal and v in choices))


wrong = st.sampled_from([(cls, f.name) for cls in (Settings, Condition, Profile) for f in fields(cls)]).flatmap(
    lambda of: st.tuples(st.just(of[0]), st.just(of[1]), wrong_values(*of))
)


def refused(cls, name, value):
    given_values = {"results": "r"} if cls is Profile else {}
    with pytest.raises(SettingsError) as caught:
        cls.of(**{**given_values, name: value})
    return str(caught.value)


@settings(max_examples=300)
@given(wrong)
def test_wrong_types_are_refused_naming_field_and_value(drawn):
    cls, name, value = drawn
    assert refused(cls, name, value).startswith(f"{name} = {value!r} is not allowed: it must be ")


OUT_OF_RANGE = [
    *((Settings, "hidden", v) for v in [(0,), (-1,), (16_385,), (4,) * 17]),
    *((Settings, "n_aux", v) for v in (0, -1, 1025)),
    *((Settings, name, v) for name in ("n_train", "n_inputs") for v in (0, -5, 1_200_001)),
    (Settings, "n_train", 60_001),
    *((Settings, "n_test", v) for v in (0, 10_001)),
    *((Settings, "batch_size", v) for v in (0, 60_001)),
    *((Settings, "teacher_epochs", v) for v in (-1, 1001)),
    *((Settings, "student_epochs", v) for v in (0, 1001)),
    *((Settings, name, v) for name in ("teacher_lr", "student_lr") for v in (-1e-9, 10.1)),
    *((Settings, "trait_batch_size", v) for v in (0, 60_001)),
    *((Condition, "projection", v) for v in (-0.1, 1.51)),
    *((Condition, "liminal", v) for v in (-1.0, 1.1e4)),
    *((Condition, "init_noise", v) for v in (-1.0, 10.5)),
    *((Condition, "gradient_noise", v) for v in (-1.0, 101.0)),
    *((Condition, "base_decay", v) for v in (-1.0, 1001.0)),
    *((Condition, "temperature", v) for v in (0.0, -1.0, 101.0)),
    *((Condition, "window", v) for v in ((), (1,), (3, 3), (5, 2), (-1, 3), (1, 2, 3))),
    *((Condition, "n_distilled", v) for v in (0, -1)),
    *((Profile, "n_seeds", v) for v in (0, 1, 10_001)),
    *((Profile, "n_grid_seeds", v) for v in (1, 5)),
    *((Profile, "n_images", v) for v in (59, 60_001)),
    *((Profile, "batch_size", v) for v in (0, 60_001)),
    *((Profile, "epochs", v) for v in (1, 1001)),
]


@pytest.mark.parametrize(("cls", "name", "value"), OUT_OF_RANGE)
def test_out_of_range_is_refused_naming_field_and_value(cls, name, value):
    assert refused(cls, name, value).startswith(f"{name} = {value!r} is not allowed: it must be ")


@given(st.text().filter(lambda n: n.isidentifier() and n not in {f.name for f in fields(Settings)}))
def test_unknown_names_are_refused_with_the_known_ones(name):
    assert name in refused(Settings, name, 1)
    assert "student_lr" in refused(Settings, name, 1)


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"n_distilled": 2, "logits": "all"}, "n_distilled"),
        ({"side": "keep", "direction": "random"}, "direction"),
    ],
)
def test_contradictions_within_a_condition(values, name):
    with pytest.raises(SettingsError, match=f"^{name} = "):
        Condition(**values)


@pytest.mark.parametrize(
    ("condition", "name"), [(Condition(n_distilled=4), "n_distilled"), (Condition(window=(8, 9)), "window")]
)
def test_contradictions_of_a_condition_with_its_settings(condition, name):
    short = Settings(n_inputs=40, batch_size=10, student_epochs=2)
    with pytest.raises(SettingsError, match=f"^{name} = "):
        condition.check_with(short)
    condition.check_with(replace(short, n_aux=4, student_epochs=3))


@pytest.mark.parametrize("changes", [{"n_train": 50}, {"n_inputs": 50}])
def test_contradictions_within_settings(changes):
    with pytest.raises(SettingsError, match="^batch_size = 51 is not allowed: it must be between 1 and 50"):
        Settings(batch_size=51, trait_batch_size=1, **changes)
    with pytest.raises(SettingsError, match="^trait_batch_size = 51"):
        Settings(batch_size=1, trait_batch_size=51, n_train=50)


# Addresses


@pytest.mark.parametrize("cls", [Settings, Condition])
def test_defaults_do_not_enter_the_address(cls):
    assert cls().changed() == {}
    for f in fields(cls):
        assert f.default is not MISSING  # else an option could not be added without moving recorded runs
        assert cls(**{f.name: f.default}).changed() == {}


def test_an_option_added_later_moves_no_recorded_run():
    from dataclasses import dataclass

    @dataclass(frozen=True, kw_only=True)
    class Before(Options):
        a: int = 1

    @dataclass(frozen=True, kw_only=True)
    class After(Options):
        a: int = 1
        b: float = 0.0

    assert address(settings=Before(a=2).changed()) == address(settings=After(a=2).changed())
    assert address(settings=Before(a=2).changed()) != address(settings=After(a=2, b=1.0).changed())


OTHER = {
    Settings: {"task": "fashion", "network": "cnn", "hidden": (8,), "activation": "tanh", "n_aux": 4,
               "n_train": 5000, "n_test": 100, "n_inputs": 5000, "batch_size": 512, "teacher_epochs": 4,
               "student_epochs": 4, "teacher_lr": 1e-3, "student_lr": 1e-3, "optimizer": "sgd",
               "loss": "mse", "inputs": "gaussian", "covariance": 0.5, "trait_batch_size": 512, "trait_batch": "fixed",
               "width": 32, "n_layers": 3, "tied": True, "reference_steps": 30, "init": "uniform", "pixels": "unit",
               "weighting": "script", "blur": 1.5},
    Condition: {"logits": "all", "n_distilled": 2, "teacher": "other", "reach": 0.5, "trait_labels": "shuffled",
                "projection": 1.0,
                "side": "two", "target": "update", "direction": "random", "scope": "layer", "window": (0, 5),
                "projection_batch": "independent", "projection_labels": "shuffled", "schedule": "up", "liminal": 1.0,
                "temperature": 1.0,
                "liminal_logits": "all", "redrawn": ("class head",),
                "init_noise": 0.1, "noise_unit": "one", "base_decay": 0.1, "gradient_noise": 0.1},
}  # fmt: skip


OF_LANGUAGE = ("width", "n_layers", "tied", "reference_steps")
WITH = {"covariance": {"inputs": "gaussian"}, "blur": {"inputs": "smoothed"}}  # what a field goes with


def changed(name, value):
    """Return settings with one field changed, and what it goes with; those of language where only they have it."""
    make = Settings.of_language if name in OF_LANGUAGE else Settings
    return make(**WITH.get(name, {}), **{name: value})


def test_every_other_value_has_an_address_of_its_own():
    runs = [(Settings(), Condition()), (Settings.of_language(), Condition())]
    runs += [(changed(n, v), Condition()) for n, v in OTHER[Settings].items()]
    runs += [(Settings(), Condition(**{n: v})) for n, v in OTHER[Condition].items()]
    for cls, values in OTHER.items():
        assert set(values) == {f.name for f in fields(cls)}
    assert len({student_address(*run) for run in runs}) == len(runs)


def test_ways_to_write_the_same_value_have_one_address():
    assert Settings(hidden=[8, 4], student_lr=1).changed() == Settings(hidden=(8, 4), student_lr=1.0).changed()
    assert Condition(window=[1, 2]) == Condition(window=(1, 2))


def test_a_field_that_is_added_enters_a_teachers_address():
    later = make_dataclass("Later", [("dropout", float, 0.0)], bases=(Settings,), frozen=True, kw_only=True)
    assert later(dropout=0.5).of_teacher() == {"dropout": 0.5}
    assert later().of_teacher() == Settings().of_teacher() == {}


def test_a_teacher_is_shared_by_all_that_only_change_the_student():
    own = {
        "task",
        "network",
        "hidden",
        "activation",
        "init",
        "pixels",
        "weighting",
        "n_aux",
        "n_train",
        "n_test",
        "batch_size",
    }
    own |= {"teacher_epochs", "teacher_lr", *OF_LANGUAGE}
    for name, value in OTHER[Settings].items():
        unchanged = changed("width", Settings.width) if name in OF_LANGUAGE else Settings()
        assert (changed(name, value).of_teacher() != unchanged.of_teacher()) == (name in own), name
