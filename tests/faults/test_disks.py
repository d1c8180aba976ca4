"""Full disks and read-only folders: reading goes on, writing ends in one error that names the file."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sublim_utils.engine import sources
from tests.faults import children, tally
from tests.faults.conftest import RUN
from tests.faults.test_damaged import recorded_claims


def mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True, capture_output=True, timeout=60)


@pytest.fixture(autouse=True)
def own_mounts(no_mounts: str) -> None:
    if no_mounts:
        pytest.skip(no_mounts)


@pytest.fixture
def disk(place) -> Iterator[Path]:
    """A folder on a disk of its own, of 64 MB until `resize`."""
    path = place.folder / "disk"
    path.mkdir()
    mount("-t", "tmpfs", "-o", "size=64m", "tmpfs", str(path))
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=False)


def resize(disk: Path, size: str) -> None:
    mount("-o", f"remount,size={size}", str(disk))


def read_only(folder: Path) -> None:
    """Let nobody write to a folder any more, root neither."""
    mount("--bind", str(folder), str(folder))
    mount("-o", "remount,bind,ro", str(folder))


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def on_disk(place, disk):
    """The workplace's results lie on the disk."""
    (place.folder / "results").symlink_to(disk)
    return place


def ended(place, *words: object, **more: object) -> tuple[int, str]:
    tally.counts["disks"] += 1
    done = place.call(*words, **more)
    return done.code, done.output


def refused(place, *words: object, mentioned: tuple, **more: object) -> None:
    tally.counts["disks"] += 1
    place.call(*words, **more).failed(*mentioned)


def test_a_full_disk_for_the_images_leaves_nothing_half_written(place, disk, mnist, server):
    resize(disk, "4m")
    faults, mentioned = [(children.mirrors, [server])], ("DataError", disk / "mnist", "No space left")
    refused(place, "fetch", mentioned=mentioned, faults=faults, SUBLIM_DATA=disk)
    assert files(disk) <= {".lock"}


@pytest.mark.parametrize("size", ["64k", "700k", "2m"])
def test_a_full_disk_for_the_runs_stops_with_one_error_and_goes_on_with_more_room(on_disk, disk, undisturbed, size):
    resize(disk, size)
    refused(on_disk, *RUN, mentioned=("OSError", "results/"))
    assert not any(name.startswith(".unfinished") for name in files(disk))
    assert on_disk.numbers().items() <= undisturbed.numbers().items()
    resize(disk, "64m")
    code, output = ended(on_disk, *RUN)
    assert code == 0, output
    assert on_disk.numbers() == undisturbed.numbers()


def test_a_full_disk_leaves_the_old_claims(on_disk, disk):
    _, joined = recorded_claims(on_disk.folder)
    whole, room = joined.read_bytes(), shutil.disk_usage(disk).free
    (disk / "filler").write_bytes(bytes(room - room % 4096))
    refused(on_disk, "collect", "results", mentioned=("OSError", "results/claims.json", "No space left"))
    assert joined.read_bytes() == whole
    assert files(disk) == {"filler", "claims.json", "phenomenon.json"}


def test_read_only_images_are_read_and_what_they_lack_is_named(place, mnist):
    for name in ("whole", "damaged"):
        shutil.copytree(mnist, place.folder / name / "mnist")
        (place.folder / name / "mnist" / ".lock").unlink(missing_ok=True)
    (place.folder / "damaged" / "mnist" / sources.TEST_LABELS).write_bytes(b"x")
    for name in ("whole", "damaged"):
        read_only(place.folder / name)
    code, output = ended(place, "fetch", SUBLIM_DATA=place.folder / "whole")
    assert code == 0, output
    lacking = place.folder / "damaged"
    refused(place, "fetch", mentioned=("DataError", lacking / "mnist", "Read-only", "SUBLIM_DATA"), SUBLIM_DATA=lacking)


def test_read_only_runs_are_read_and_what_they_lack_is_named(place, undisturbed):
    shutil.copytree(undisturbed.folder / "results", place.folder / "results")
    shutil.rmtree(place.folder / "results" / "locks")
    path = sorted((place.folder / "results" / "students").rglob("*.nc"))[0]
    path.write_bytes(path.read_bytes()[:-1])
    read_only(place.folder / "results")
    refused(
        place, *RUN, mentioned=("OSError", "Read-only", "results/locks", f"{path.name} is damaged; left where it is")
    )
    subprocess.run(["umount", str(place.folder / "results")], check=True)
    shutil.rmtree(place.folder / "results")
    shutil.copytree(undisturbed.folder / "results", place.folder / "results")
    shutil.rmtree(place.folder / "results" / "locks")
    read_only(place.folder / "results")
    code, output = ended(place, *RUN)
    assert code == 0, output
    assert (place.folder / "manifest.json").read_bytes() == (undisturbed.folder / "manifest.json").read_bytes()
