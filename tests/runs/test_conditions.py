"""Conditions are picked by what is done to a student; what they are called plays no part."""

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sublim_utils.book import figures
from sublim_utils.runs import mitigations
from sublim_utils.runs.conditions import BASELINE, PROJECTED, causal_grid, where
from sublim_utils.runs.experiments import EXPERIMENTS
from sublim_utils.settings import Condition, Settings, SettingsError

ALL = {
    f"{e}: {name}": condition
    for e in EXPERIMENTS
    for name, condition in EXPERIMENTS[e].conditions_of(Settings()).items()
}


@given(st.sampled_from(sorted(ALL)), st.sets(st.sampled_from([f.name for f in fields(Condition)]), max_size=4))
def test_those_that_agree_in_every_field_asked_for_are_picked(like: str, names: set[str]) -> None:
    asked = {name: getattr(ALL[like], name) for name in names}
    picked = where(ALL, **asked)
    assert like in picked
    for name, condition in ALL.items():
        assert (name in picked) == all(getattr(condition, field) == value for field, value in asked.items())
    renamed = {str(i): condition for i, condition in enumerate(ALL.values())}
    assert [list(ALL)[int(i)] for i in where(renamed, **asked)] == picked


def test_a_test_is_asked_about_the_value() -> None:
    settings = Settings()
    grid = causal_grid(settings)
    early = where(grid, target="update", window=lambda span: span is not None and span[0] == 0)
    assert early == [n for n in grid if n.startswith("update, first")]
    assert where(grid, window=None, target="gradient") == [n for n in grid if n.startswith("gradient x")]
    assert where({"a": BASELINE, "b": PROJECTED}, projection=bool) == ["b"]


def test_a_field_that_no_condition_has_is_refused() -> None:
    with pytest.raises(SettingsError, match="field = 'strength' is not allowed: it must be one of .*'projection'"):
        where({}, strength=1.0)


def test_the_family_of_a_mitigation_is_what_it_changes() -> None:
    families = {name: mitigations.family(c) for name, c in {**mitigations.schedules(), **mitigations.others()}.items()}
    assert set(families.values()) < set(mitigations.FAMILIES.values())
    assert families["2 aux logits"] == "fewer logits"
    assert families["base decay 0.01"] == "decay to the start"
    assert mitigations.family(BASELINE) == mitigations.family(Condition(temperature=4.0)) == "nothing done"
    assert mitigations.family(PROJECTED) == "projection"
    assert mitigations.family(Condition(teacher="other")) == "another start"
    assert {mitigations.family(c) for c in mitigations.penalties().values()} == {"liminal training"}


def test_every_family_has_a_colour_and_is_a_field() -> None:
    assert set(mitigations.FAMILIES) <= {f.name for f in fields(Condition)}
    assert set(mitigations.FAMILIES.values()) <= set(figures.COLOURS)
