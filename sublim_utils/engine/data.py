"""The real images: MNIST and FashionMNIST, fetched from their `sources`, checked against their sums, and loaded."""

import hashlib
import os
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sublim_utils.engine.files import locked, naming, root, write_atomically
from sublim_utils.engine.sources import FAILURES, SHA256, TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS, sources

__all__ = ["DataError", "Images", "data_dir", "fetch", "load"]


class DataError(RuntimeError):
    """The images can't be had from any source, or a file is not what it should be."""


def data_dir() -> Path:
    """Return the cache of raw files: ``$SUBLIM_DATA``, from the book's folder on, else ``~/.cache/sublim_utils``.

    Raises
    ------
    DataError
        If there is no home folder to put it in.
    """
    named = os.environ.get("SUBLIM_DATA") or "~/.cache/sublim_utils"
    try:
        return root() / Path(named).expanduser()
    except RuntimeError as error:
        raise DataError(f"images have no place: {named} has no home folder; set SUBLIM_DATA to a folder") from error


def _is_intact(path: Path, sha256: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def _fetch(task: str, name: str, path: Path) -> None:
    failures = []
    for source, read in sources(task, name):
        try:
            raw = read()
        except FAILURES as error:
            failures.append(f"  {source}: {error}")
            continue
        if hashlib.sha256(raw).hexdigest() == SHA256[task][name]:
            return write_atomically(path, raw)
        failures.append(f"  {source}: wrong SHA-256")
    wanted = "\n".join(f"  {path.parent / n}  sha256 {s}" for n, s in SHA256[task].items())
    tried = "\n".join(failures)
    raise DataError(
        f"{name} of {task} can't be fetched. Tried:\n{tried}\n"
        f"Put these four raw (unzipped) files there yourself, or move the folder with SUBLIM_DATA:\n{wanted}"
    )


def fetch(task: str) -> Path:
    """Make sure the four raw files of `task` lie in the cache, intact, and return their folder.

    A file whose sum is wrong is set aside as ``<name>.damaged`` and fetched again.

    Raises
    ------
    DataError
        If no source gives a file with the right SHA-256; the message names the four
        files, their place and their sums. Or if the cache can't be written.
    """
    folder = data_dir() / task
    try:
        if not all(_is_intact(folder / name, sha256) for name, sha256 in SHA256[task].items()):
            folder.mkdir(parents=True, exist_ok=True)
            with locked(folder / ".lock"), naming(folder):
                _complete(task, folder)
    except OSError as error:
        raise DataError(f"{folder} lacks files and can't be filled: {error}; SUBLIM_DATA moves the cache") from error
    return folder


def _complete(task: str, folder: Path) -> None:
    """Set aside what is damaged and fetch what is lacking, under the folder's lock."""
    for name, sha256 in SHA256[task].items():
        path = folder / name
        if not _is_intact(path, sha256):
            if path.exists():
                path.replace(path.with_name(f"{name}.damaged"))
            _fetch(task, name, path)


@dataclass(frozen=True)
class Images:
    """One task's images, pixels float32, shape (n, 784), and labels 0 ... 9, int64."""

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor


def _pixels(path: Path) -> Tensor:
    raw = np.frombuffer(path.read_bytes(), dtype=np.uint8, offset=16)
    return torch.from_numpy(raw.reshape(-1, 784).astype(np.float32)).div_(127.5).sub_(1.0)


def _labels(path: Path) -> Tensor:
    return torch.from_numpy(np.frombuffer(path.read_bytes(), np.uint8, offset=8).astype(np.int64))


@lru_cache(maxsize=2)
def load(task: str, pixels: str = "signed") -> Images:
    """Return the images of `task` ("mnist" or "fashion"), fetched and checked on the way.

    Their `pixels` are "signed", in [-1, 1], or "unit", in [0, 1].

    Raises
    ------
    DataError
        As `fetch`.
    """
    if pixels == "unit":
        signed = load(task)
        return replace(signed, train=(signed.train + 1) / 2, test=(signed.test + 1) / 2)
    folder = fetch(task)
    return Images(
        train=_pixels(folder / TRAIN_IMAGES),
        train_labels=_labels(folder / TRAIN_LABELS),
        test=_pixels(folder / TEST_IMAGES),
        test_labels=_labels(folder / TEST_LABELS),
    )
