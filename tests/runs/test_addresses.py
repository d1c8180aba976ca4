"""Addresses: decimal fractions and no last bits; pinned defaults; records that answer for their own settings only."""

import hashlib
import json
from dataclasses import dataclass, field, fields, make_dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sublim_utils.runs import addresses
from sublim_utils.runs.addresses import DEFAULTS, address, check_recorded, decimals, described, student_address
from sublim_utils.settings import Condition, Options, Settings, SettingsError

values = st.dictionaries(st.text(max_size=4), st.integers() | st.floats(allow_nan=False, allow_infinity=False))


@given(values, values)
def test_an_address_tells_apart_exactly_what_differs_in_twelve_digits(a, b):
    same = repr(sorted(decimals(a).items())) == repr(sorted(decimals(b).items()))
    assert (address(settings=a) == address(settings=b)) == same
    assert address(settings=a) != address(condition=a)
    assert len(address(settings=a)) == 16


def test_an_address_holds_no_nan():
    with pytest.raises(ValueError, match="JSON"):
        address(settings={"x": float("nan")})


@given(st.lists(st.floats(1e-30, 1e30), min_size=1))
def test_the_last_bits_of_a_float_do_not_enter_and_the_twelfth_digit_does(grid):
    exact = [float(f"{x:.9g}") for x in grid]
    for towards in (0, np.inf):
        assert address(eps=np.nextafter(exact, towards)) == address(eps=exact)
    assert decimals(np.nextafter(exact, 0)) == exact
    assert address(eps=[x * (1 + 1e-11) for x in exact]) != address(eps=exact)


@pytest.mark.parametrize(
    "settings", [{}, {"student_lr": 1.0}, {"hidden": [64, 8], "n_train": 2400}, {"teacher_lr": 1e-5, "student_lr": 0.1}]
)
@pytest.mark.parametrize("condition", [{}, {"projection": 0.25, "window": [0, 59]}, {"base_decay": 1e-3}])
def test_plain_settings_have_the_addresses_they_had_before_there_were_decimals(settings, condition):
    about = {"engine": addresses.ENGINE, "settings": settings, "condition": condition}
    before = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
    assert student_address(Settings(**settings), Condition(**condition)) == before


def test_ways_to_write_the_same_numbers_have_one_address():
    assert address(at=(1, 2), on=True, n=np.int64(3)) == address(at=[1, 2], on=np.True_, n=3)
    assert decimals([3e-4, 0.1, 1024.0, 7]) == [3e-4, 0.1, 1024.0, 7]
    assert [type(v) for v in decimals([np.float64(1), np.int32(1), 1])] == [float, int, int]


def test_options_enter_by_what_is_changed_however_deep_and_are_described_in_full():
    conditions = {"a": Condition(projection=1.0)}
    assert address(of=conditions) == address(of={"a": {"projection": 1.0}})
    assert set(described(of=conditions)["of"]["a"]) == {f.name for f in fields(Condition)}
    assert decimals(conditions) == conditions


def defaults(cls):
    return {f.name: list(f.default) if isinstance(f.default, tuple) else f.default for f in fields(cls)}


@pytest.mark.parametrize("cls", [Settings, Condition])
def test_the_defaults_are_those_that_were_pinned(cls):
    """A changed default makes old runs answer for new ones. What was added is pinned by hand, if it is "as before"."""
    assert json.dumps(DEFAULTS[cls], sort_keys=True) == json.dumps(defaults(cls), sort_keys=True)


@dataclass(frozen=True, kw_only=True)
class Now(Options):
    rate: float = 3e-4
    widths: tuple[int, ...] = (2, 2)


def changed_default(name, value):
    return make_dataclass("Later", [(name, float, field(default=value))], bases=(Now,), frozen=True, kw_only=True)


def written(options):
    return {name: json.dumps(value) for name, value in described(settings=options, condition={}).items()}


def test_a_record_answers_for_the_settings_it_was_made_with_and_no_others():
    check_recorded(written(Now()), described(settings=Now()), "here")
    later = changed_default("rate", 2e-3)
    assert address(settings=later()) == address(settings=Now()), "no address tells them apart"
    with pytest.raises(SettingsError, match=r"^rate = 0.002 is not allowed: it must be 0.0003, by which here was made"):
        check_recorded(written(Now()), described(settings=later()), "here")
    nested = {"of": json.dumps(described(of={"a": Now()})["of"])}
    with pytest.raises(SettingsError, match="^rate = 0.002"):
        check_recorded(nested, described(of={"a": later()}), "here")


def test_an_old_record_is_compared_in_what_was_written_of_it():
    later = changed_default("rate", 2e-3)
    check_recorded({"settings": "{}"}, described(settings=later()), "here")  # only what was changed, which was nothing
    with pytest.raises(SettingsError, match="^widths = "):
        check_recorded({"settings": '{"widths": [3]}'}, described(settings=Now()), "here")
    more = changed_default("decay", 0.0)
    check_recorded(written(Now()), described(settings=more()), "here")  # of before the option was there
    with pytest.raises(SettingsError, match="^decay = 'no option'"):
        check_recorded(written(more()), described(settings=Now()), "here")


def test_another_engine_has_other_addresses(monkeypatch):
    before = address()
    monkeypatch.setattr(addresses, "ENGINE", addresses.ENGINE + 1)
    assert address() != before
