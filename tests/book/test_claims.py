"""Verdicts from intervals, refusals, and the order of what is collected."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sublim_utils.analysis.stats import Interval
from sublim_utils.book import claims
from sublim_utils.book.claims import Claim, Claims
from sublim_utils.engine.data import DataError
from tests.sources import ROOT


def claim(**values):
    return Claim(**{"id": "T1.x", "chapter": "t", "claim": "c", "source": "s", "quantity": "q", "paper": "p", **values})


@pytest.fixture
def register(monkeypatch):
    entries = {
        "T1.late": claim(id="T1.late", chapter="b", low=0.0),
        "T1.early": claim(id="T1.early", chapter="a", high=1.0),
        "T1.open": claim(id="T1.open", chapter="a"),
    }
    monkeypatch.setattr(claims, "registered", lambda: entries)
    return entries


@pytest.mark.parametrize(
    ("low", "high", "ci", "verdict"),
    [
        (0.5, None, (0.6, 0.7), "agrees"),
        (0.5, None, (0.5, 0.7), "agrees"),  # the ends belong to the range
        (0.5, None, (0.4, 0.7), "inconclusive"),
        (0.5, None, (0.4, 0.5), "inconclusive"),
        (0.5, None, (0.3, 0.4), "differs"),
        (None, 0.5, (0.3, 0.5), "agrees"),
        (None, 0.5, (0.5, 0.6), "inconclusive"),
        (None, 0.5, (0.6, 0.7), "differs"),
        (0.2, 0.5, (0.2, 0.5), "agrees"),
        (0.2, 0.5, (0.1, 0.6), "inconclusive"),
        (0.2, 0.5, (0.6, 0.9), "differs"),
        (0.0, 0.0, (0.0, 0.0), "agrees"),
        (None, None, (0.0, 1.0), "not tested"),
    ],
)
def test_verdict(low, high, ci, verdict):
    judged = claim(low=low, high=high, estimate=sum(ci) / 2, ci_low=ci[0], ci_high=ci[1], n_seeds=4)
    assert judged.verdict == verdict


def test_a_claim_without_estimate_is_not_tested():
    assert claim(low=0.0).verdict == "not tested"


numbers = st.floats(-10, 10)


@given(st.tuples(numbers, numbers).map(sorted), st.tuples(numbers, numbers).map(sorted))
def test_a_verdict_says_whether_the_interval_lies_in_the_range(criterion, ci):
    low, high = criterion
    judged = claim(low=low, high=high, estimate=ci[0], ci_low=ci[0], ci_high=ci[1])
    inside = [low <= end <= high for end in ci]
    apart = ci[1] < low or high < ci[0]
    assert judged.verdict == ("agrees" if all(inside) else "differs" if apart else "inconclusive")
    assert judged.verdict in claims.VERDICTS


@pytest.mark.parametrize("name", ["T1.unknown", "T1.late", ""])
def test_a_claim_that_is_not_the_chapters_is_refused(register, tmp_path, name):
    with pytest.raises(KeyError, match=r"no claim of a; registered are \['T1.early', 'T1.open'\]"):
        Claims(tmp_path, "a").record(name, [1.0, 2.0])
    assert not list(tmp_path.iterdir())


def test_no_number_that_is_none_reaches_the_file(register, tmp_path):
    with pytest.raises(ValueError, match=r"(?i)nan|finite|json"):
        Claims(tmp_path, "a").record("T1.early", [1.0, float("nan")])
    assert not list(tmp_path.rglob("*.json"))


def test_collect_joins_chapters_in_the_registers_order(register, tmp_path):
    first, second = Claims(tmp_path, "a"), Claims(tmp_path, "b")
    first.record("T1.open", [0.0, 1.0, 2.0])
    first.record("T1.early", Interval(0.5, 0.4, 0.6, 7))
    second.record("T1.late", Interval(-1.0, -2.0, 1.0, 3))
    rows = claims.collect(tmp_path)
    assert [row["id"] for row in rows] == list(register)
    assert [row["verdict"] for row in rows] == ["inconclusive", "agrees", "not tested"]
    assert claims.read(tmp_path / "claims.json") == rows
    assert rows[1] | {"estimate": 0.5, "ci_low": 0.4, "ci_high": 0.6, "n_seeds": 7} == rows[1]


def test_collect_drops_what_is_no_longer_registered(register, tmp_path):
    Claims(tmp_path, "b").record("T1.late", [1.0, 2.0])
    Claims(tmp_path, "a").record("T1.early", [1.0, 2.0])
    del register["T1.late"]
    assert [row["id"] for row in claims.collect(tmp_path)] == ["T1.early"]


@pytest.mark.parametrize("there", ["nothing", "none registered"])
def test_a_book_without_claims_is_an_error_and_leaves_no_file(register, tmp_path, there):
    if there == "none registered":
        Claims(tmp_path, "b").record("T1.late", [1.0, 2.0])
        del register["T1.late"]
    with pytest.raises(DataError, match="no claim of any chapter in .*claims"):
        claims.collect(tmp_path)
    assert not (tmp_path / "claims.json").exists()


def test_the_registers_own_criteria_are_ranges():
    for entry in claims.registered().values():
        assert entry.low is None or entry.high is None or entry.low <= entry.high
        assert entry.chapter
        assert entry.criterion


@given(
    st.lists(st.floats(-1, 1), min_size=3, max_size=3), st.lists(st.none() | st.floats(-1, 1), min_size=2, max_size=2)
)
def test_margins_say_what_the_verdict_says(found, ends):
    low, high = (*sorted(ends),) if None not in ends else ends
    ci_low, estimate, ci_high = sorted(found)
    one = claim(low=low, high=high, ci_low=ci_low, estimate=estimate, ci_high=ci_high, n_seeds=3)
    worst, middle, best = one.margins()
    if low is None and high is None:
        assert np.isnan([worst, middle, best]).all()
    else:
        assert worst <= middle <= best
        assert one.verdict == ("agrees" if worst >= 0 else "differs" if best < 0 else "inconclusive")


def test_a_recorded_row_is_its_claim_again(tmp_path):
    judged = Claims(tmp_path, "phenomenon").record("C1.student_aux_accuracy", [0.5, 0.6, 0.7])
    assert claims.recorded(judged.row()) == judged


def test_the_primary_criteria_are_those_that_the_method_page_fixed() -> None:
    page = (ROOT / "book" / "method.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (P\d+) \| .* \| ([^|]*) \|$", page, re.MULTILINE)
    assert len(rows) == 10
    for name, said in rows:
        numbers = [float(v) for v in re.findall(r"-?\d+(?:\.\d+)?", said)]
        claim = claims.registered()[name]
        assert numbers == [v for v in (claim.low, claim.high) if v is not None and abs(v) != float("inf")], name
