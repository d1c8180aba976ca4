"""Products of float32 matrices on a CPU: by the library that is faster, where it is as exact.

PyTorch multiplies by MKL, which keeps its AVX-512 kernels for Intel's processors; oneDNN's, which PyTorch has as well,
are about twice as fast on AMD's for products of a dense layer's size, slower for a transformer's small ones. PyTorch
uses them only where products may be rounded to bfloat16, and oneDNN rounds on processors with AMX, which multiply such
numbers. So it is looked at, once a process, whether the products are float32's; where they are not, everything stays
with MKL.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import torch
from torch import Tensor

from sublim_utils.engine.network import MLP, Network
from sublim_utils.engine.seeds import generator

__all__ = ["ALLOWED", "SHAPES", "are_exact", "error", "fast"]

ALLOWED = 10.0
"""Largest error of a product, in units of that of PyTorch's default. One of bfloat16 is thousands."""

SHAPES = (((256, 784), (784, 256)), ((2, 256, 96), (2, 96, 13)), ((2, 96, 512), (2, 512, 64)))
"""Of the products looked at: as of a layer, of a head of several models, and of a layer's gradient."""


@contextmanager
def _bfloat16_allowed() -> Iterator[None]:
    torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision("highest")


def error(a: Tensor, b: Tensor) -> float:
    """Return the largest error of the product of two float32 matrices, or batches of them, on the CPU."""
    return float((torch.matmul(a, b).double() - torch.matmul(a.double(), b.double())).abs().max())


@lru_cache(maxsize=1)
def are_exact() -> bool:
    """Say whether products stay float32's where PyTorch may round them to bfloat16: on this processor it does not."""
    rng = generator(0, "products")
    for shapes in SHAPES:
        a, b = (torch.empty(shape).uniform_(-1, 1, generator=rng) for shape in shapes)
        default = error(a, b)
        with _bfloat16_allowed():
            if error(a, b) > ALLOWED * default:
                return False
    return True


@contextmanager
def fast(device: torch.device, network: Network) -> Iterator[None]:
    """Let a network's products on `device` be made by the faster library.

    That is so of the MLP on a CPU where they are exact. A precision that was chosen outside is left as it is.
    """
    try:
        chosen = torch.get_float32_matmul_precision() != "highest"
    except RuntimeError:  # by PyTorch's newer names
        chosen = True
    if chosen or device.type != "cpu" or not isinstance(network, MLP) or not are_exact():
        yield
        return
    with _bfloat16_allowed():
        yield
