"""Files: where relative paths start, locks, dates, and writing so that a reader sees a file whole or not at all."""

import errno
import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

__all__ = ["BOOK", "locked", "naming", "not_in_future", "root", "unfinished", "write_atomically"]

BOOK = "profiles.toml"
"""The file by which the book's folder is known."""


def root() -> Path:
    """Return the folder that relative paths are taken from, whichever of the book's folders a program is started in.

    It is the nearest one at or above the working directory that holds ``profiles.toml``, else the package's checkout,
    else the working directory.
    """
    here = Path.cwd()
    return next((f for f in (here, *here.parents, Path(__file__).parents[2]) if (f / BOOK).is_file()), here)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an error of the system that names no file name `path`."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


@contextmanager
def unfinished(folder: Path) -> Iterator[Path]:
    """Yield a path in `folder` for a file in the making, to be renamed when it is whole.

    What still lies there at the end is deleted. The file has the rights that the umask gives a
    new file, so that others who share the folder can read it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=folder, prefix=".unfinished-")
    os.close(handle)
    os.umask(mask := os.umask(0o022))
    path = Path(name)
    try:
        path.chmod(0o666 & ~mask)
        yield path
    finally:
        path.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Write `path` so that a reader sees the whole content or no file."""
    with naming(path), unfinished(path.parent) as temporary:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)


@contextmanager
def locked(path: Path, timeout: float = -1) -> Iterator[None]:
    """Hold the lock file `path`, waiting `timeout` seconds for whoever holds it, -1: for ever.

    Raises
    ------
    filelock.Timeout
        If it is still held.
    OSError
        If the file can't be made, or the file system has no locks; it names the file.
    """
    lock = FileLock(path)
    with naming(path):
        try:
            lock.acquire(timeout=timeout)
        except NotImplementedError as error:  # so some of the library's versions report a system without locks
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS)) from error
    try:
        yield
    finally:
        with naming(path):
            lock.release()


def not_in_future(paths: Iterable[Path]) -> list[Path]:
    """Date files from the future to the present, in their order, and return them.

    A scheduler that compares dates takes what it makes from a file of the future for older than the file. What is
    not there has no date; whoever needs it says so.
    """
    now = time.time_ns()
    dates = {path: path.stat().st_mtime_ns for path in paths if path.exists()}
    late = sorted((path for path, date in dates.items() if date > now), key=dates.__getitem__)
    for before, path in zip(range(len(late), 0, -1), late, strict=True):
        os.utime(path, ns=(now - 1000 * before,) * 2)
    return late
