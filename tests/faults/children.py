"""What runs in a process of its own: the command line, after a fault was put in its way.

The processes are forked from a server that has imported the library once; `python -m sublim_utils`
itself, with its three seconds of imports, is what test_killed.py starts.
"""

import ctypes
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
import torchvision.datasets

from sublim_utils import __main__
from sublim_utils.engine import sources

CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000


def unshare(flags: int) -> None:
    """Leave the namespaces named; raise OSError where that isn't allowed."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags):
        raise OSError(ctypes.get_errno(), "unshare")


def no_network() -> None:
    """Leave the process not even the loopback."""
    unshare(CLONE_NEWNET)


def mirrors(urls: Iterable[str], patience: float = 20.0, deadline: float = 60.0) -> None:
    """Put other mirrors in place of torchvision's, and leave no package manager."""
    for task in (torchvision.datasets.MNIST, torchvision.datasets.FashionMNIST):
        task.mirrors = list(urls)
    sources.SOCKET_TIMEOUT, sources.FETCH_DEADLINE = patience, deadline
    os.environ["PATH"] = "/nonexistent"


def command(
    arguments: Iterable[str], folder: Path, log: Path, environment: Mapping[str, str], faults: Iterable[tuple]
) -> None:
    """Run ``python -m sublim_utils``'s `main` in `folder`, its output in `log`, behind some faults."""
    with log.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.chdir(folder)
    os.environ.update(environment)
    torch.set_num_threads(1)
    for fault, *given in faults:
        fault(*given)
    sys.argv = ["sublim_utils", *arguments]
    sys.exit(__main__.main())
