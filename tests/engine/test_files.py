"""Where relative paths start, locks that fail, and files dated in the future."""

import errno
import os
import time
from pathlib import Path

import filelock
import pytest

from sublim_utils.engine import files


@pytest.fixture
def book(tmp_path):
    (tmp_path / "book" / "notebooks").mkdir(parents=True)
    (tmp_path / "book" / files.BOOK).touch()
    return tmp_path / "book"


@pytest.mark.parametrize("inside", [".", "notebooks"])
def test_relative_paths_start_at_the_book_from_any_of_its_folders(book, monkeypatch, inside):
    monkeypatch.chdir(book / inside)
    assert files.root() == book


def test_from_elsewhere_they_start_at_the_packages_checkout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert files.root() == Path(__file__).parents[2]
    monkeypatch.setattr(files, "BOOK", "no such file")  # as where the package is installed without one
    assert files.root() == tmp_path


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EIO])
def test_a_lock_that_fails_names_its_file(tmp_path, monkeypatch, number):
    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", fail)
    with pytest.raises(OSError, match=r"x\.lock") as failed, files.locked(tmp_path / "x.lock"):
        pass
    assert failed.value.errno == number


def test_a_file_system_without_locks_is_named_too(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise NotImplementedError("use SoftFileLock instead")

    monkeypatch.setattr(filelock.FileLock, "acquire", fail)
    with pytest.raises(OSError, match=r"x\.lock"), files.locked(tmp_path / "x.lock"):
        pass


def test_a_lock_excludes_until_it_is_released(tmp_path):
    path = tmp_path / "x.lock"
    with files.locked(path), pytest.raises(filelock.Timeout), files.locked(path, 0):
        pass
    with files.locked(path, 0):
        pass


def test_a_lock_is_waited_for_for_ever_unless_a_time_is_named(tmp_path, monkeypatch):
    asked, acquire = [], filelock.FileLock.acquire

    def noted(self, timeout):
        asked.append(timeout)
        return acquire(self, timeout)

    monkeypatch.setattr(filelock.FileLock, "acquire", noted)
    for more in ((), (3,)):
        with files.locked(tmp_path / "x.lock", *more):
            pass
    assert asked == [-1, 3]


def test_files_of_the_future_get_the_present_and_keep_their_order(tmp_path):
    now, names = time.time(), ("past", "next year", "next day")
    for name, ahead in zip(names, (-100, 3e7, 9e4), strict=True):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (now + ahead, now + ahead))
    past, year, day = (tmp_path / name for name in names)
    assert files.not_in_future([past, year, tmp_path / "not there", day]) == [day, year]
    assert past.stat().st_mtime == pytest.approx(now - 100)
    assert now - 1 < day.stat().st_mtime < year.stat().st_mtime <= time.time()
    assert files.not_in_future([past, year, day]) == []
