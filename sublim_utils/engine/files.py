"""Files that a reader sees whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
