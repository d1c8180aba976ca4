"""The run store: whole files or none, and no damaged one read."""

import shutil

import numpy as np
import pytest
import xarray as xr

from sublim_utils.runs.store import DamagedFileWarning, Store


def runs(*seeds):
    """Return a dataset whose values tell its seed."""
    values = np.array([[s, s + 0.5] for s in seeds], dtype="float32")
    return xr.Dataset({"x": (("seed", "step"), values)}, coords={"seed": list(seeds)}, attrs={"torch": "2"})


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def test_what_is_saved_is_loaded_in_the_order_asked_for(store):
    for seeds in ((0, 1), (2,), (5, 6, 7)):
        store.save("students", "here", runs(*seeds))
    found = store.load("students", "here", [6, 0, 2])
    xr.testing.assert_equal(found, runs(6, 0, 2))
    assert found.attrs == {"torch": "2"}
    assert store.seeds("students", "here") == [0, 1, 2, 5, 6, 7]
    assert store.seeds("students", "elsewhere") == store.seeds("teachers", "here") == []


def test_a_missing_seed_is_named(store):
    store.save("students", "here", runs(0))
    with pytest.raises(KeyError, match=r"no run of seeds \[3, 4\]"):
        store.load("students", "here", [4, 0, 3])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "one bit flipped": flip,
    "empty": lambda path: path.write_bytes(b""),
    "foreign content": lambda path: path.write_bytes(b"not a run"),
    "extended": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_set_aside_with_a_warning_and_counts_as_missing(store, damage):
    path, other = store.save("students", "here", runs(0)), store.save("students", "here", runs(1))
    DAMAGES[damage](path)
    content = path.read_bytes()
    with pytest.warns(DamagedFileWarning, match=path.name):
        assert 0 not in store.seeds("students", "here")
    assert not path.exists()
    assert path.with_name(f"{path.name}.damaged").read_bytes() == content  # evidence is kept
    assert other.exists()
    with pytest.raises(KeyError):
        store.load("students", "here", [0])
    again = store.save("students", "here", runs(0))
    assert again == path
    xr.testing.assert_equal(store.load("students", "here", [0, 1]), runs(0, 1))


def test_foreign_files_are_set_aside_or_passed_over(store):
    path = store.save("students", "here", runs(0))
    shutil.copy(path, path.with_name("notes.nc"))
    renamed = shutil.copy(path, path.with_name(path.name.replace("0000-0000", "0001-0001").replace(".nc", "x.nc")))
    path.with_name("notes.txt").write_text("a note")
    path.with_name(".unfinished-abc").write_bytes(b"half a file")
    with pytest.warns(DamagedFileWarning) as caught:
        assert 1 not in store.seeds("students", "here")
    assert len(caught) == 2
    assert not renamed.exists()
    assert path.with_name("notes.txt").exists()
    xr.testing.assert_equal(store.load("students", "here", [0]), runs(0))


@pytest.mark.parametrize("at", ["while written", "when renamed"])
def test_a_disk_that_fails_leaves_nothing(store, monkeypatch, at):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    if at == "while written":
        write = xr.Dataset.to_netcdf

        def half(self, path, **options):
            write(self, path, **options)
            path.write_bytes(path.read_bytes()[:50])
            full()

        monkeypatch.setattr(xr.Dataset, "to_netcdf", half)
    else:
        monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(OSError, match="No space left"):
        store.save("students", "here", runs(0))
    assert not any(path.is_file() for path in store.root.rglob("*"))


def test_saving_again_changes_no_file(store):
    path = store.save("students", "here", runs(0))
    content, time = path.read_bytes(), path.stat().st_mtime_ns
    store.save("students", "elsewhere", runs(0))
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (content, time)
