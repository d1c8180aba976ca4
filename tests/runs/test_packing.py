"""Packed files: smaller, the same runs, to the bits that are said to be kept."""

import json

import numpy as np
import pytest
import xarray as xr

from sublim_utils.runs import packing
from sublim_utils.runs.addresses import student_address
from sublim_utils.runs.store import Store
from tests.small import FEW, SETTINGS

KIND = "students"


@pytest.fixture
def filled(lab):
    lab.students(SETTINGS, {"baseline": FEW["baseline"]}, [0, 1, 2, 3])
    return lab.store, student_address(SETTINGS, FEW["baseline"])


def test_stacking_is_undone(filled):
    store, where = filled
    dataset = store.load(KIND, where, [0, 1])
    stacked = packing.stacked(dataset)
    assert {"by_step", "by_layer"} < set(stacked.data_vars)
    assert len(stacked.data_vars) < len(dataset.data_vars) / 2
    xr.testing.assert_equal(packing.unstacked(stacked)[list(dataset.data_vars)], dataset)


def test_packed_runs_are_the_runs_to_the_bits_kept(filled):
    store, where = filled
    before, size = store.load(KIND, where, [0, 1, 2, 3]), sum(p.stat().st_size for _, p in store.files(KIND, where))
    [path] = store.pack(KIND, where)
    assert [p for _, p in store.files(KIND, where)] == [path]
    assert path.stat().st_size < size / 3
    after = store.load(KIND, where, [0, 1, 2, 3])
    assert set(after.data_vars) == set(before.data_vars)
    for name, values in before.data_vars.items():
        bits = packing.KEPT_BITS.get(values.dims[-1]) if "step" in values.dims else None
        error = np.abs(after[name].transpose(*values.dims) - values)
        assert (error <= (0 if bits is None else 2.0 ** -(bits + 1)) * np.abs(values)).all(), name
        assert after[name].dtype == values.dtype, name
    assert float(after.attrs["seconds"]) > 0
    assert json.loads(after.attrs["condition"]) == FEW["baseline"].values()


def test_a_pack_grows_and_packing_again_changes_nothing(filled, lab):
    store, where = filled
    store.pack(KIND, where)
    first = store.load(KIND, where, [0, 1, 2, 3])
    assert store.pack(KIND, where) == []
    lab.students(SETTINGS, {"baseline": FEW["baseline"]}, [4])
    [path] = store.pack(KIND, where)
    assert path.name.startswith("seeds-0000-0004.")
    xr.testing.assert_equal(store.load(KIND, where, [0, 1, 2, 3]), first)  # rounded once, not twice


def test_killed_before_it_deletes_the_runs_are_read_alike(filled, monkeypatch):
    store, where = filled
    singles = {p: p.read_bytes() for _, p in store.files(KIND, where)}
    store.pack(KIND, where)
    for path, content in singles.items():
        path.write_bytes(content)
    assert store.seeds(KIND, where) == [0, 1, 2, 3]
    assert store.load(KIND, where, [0, 1, 2, 3]).sizes["seed"] == 4
    store.pack(KIND, where)
    assert len(list(store.files(KIND, where))) == 1


def test_blocks_do_not_cross_multiples(monkeypatch):
    monkeypatch.setattr(packing, "BLOCK", 4)
    assert packing.blocks(range(2, 9)) == [[2, 3], [4, 5, 6, 7], [8]]


def test_kinds_leave_out_what_is_large(tmp_path):
    store = Store(tmp_path)
    one = xr.Dataset({"x": ("seed", [1.0])}, {"seed": [0]})
    for kind in ("students", "weights", "lemma"):
        store.save(kind, "a", one)
    assert store.kinds() == ["lemma", "students"]
    assert store.addresses("lemma") == ["a"]


def test_runs_recorded_with_the_changed_settings_only_are_packed_with_those_recorded_in_full():
    old, new = '{"liminal": 2.0}', '{"liminal": 2.0, "side": "one"}'
    for values in ([old, new], [new, old], [new, new], [old, new, old]):
        joined = packing.joined_attributes([{"condition": value, "torch": "2"} for value in values])
        assert json.loads(joined["condition"]) == json.loads(new)
    assert packing.joined_attributes([{"condition": old}] * 2)["condition"] == old


@pytest.mark.parametrize("count", [1, 2, 3])
def test_runs_made_at_one_time_have_that_time_and_others_the_span_of_all(count):
    at = [{"made": "2026-11-25T12:00:00+00:00"}] * count
    assert packing.joined_attributes(at)["made"] == "2026-11-25T12:00:00+00:00"
    spans = [{"made": "2026-11-25T09:00:00 to 2026-11-25T13:00:00+00:00"}, {"made": "2026-11-25T10:00:00+00:00"}]
    whole = packing.joined_attributes([*at, *spans])["made"]
    assert whole == "2026-11-25T09:00:00 to 2026-11-25T13:00:00+00:00"
    assert packing.joined_attributes([{"made": whole}, *at])["made"] == whole
