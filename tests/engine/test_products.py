"""Products on the CPU: the faster library's only where they are float32's, and nothing of it left behind."""

from collections.abc import Iterator

import pytest
import torch

from sublim_utils.engine import products
from sublim_utils.engine.architectures import network_of
from sublim_utils.engine.network import MLP
from sublim_utils.engine.products import fast
from sublim_utils.engine.seeds import generator
from sublim_utils.settings import Settings

CPU, DENSE = torch.device("cpu"), MLP(sizes=(784, 256, 13))


@pytest.fixture(autouse=True)
def _as_found() -> Iterator[None]:
    products.are_exact.cache_clear()
    yield
    products.are_exact.cache_clear()
    torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize(
    "shapes", [((1024, 784), (784, 256)), ((4, 784, 128), (4, 128, 256)), ((3, 50, 17), (3, 17, 13))]
)
def test_products_are_as_exact_as_by_default(shapes: tuple[tuple[int, ...], ...]) -> None:
    rng = generator(1, "test")
    a, b = (torch.empty(shape).normal_(generator=rng) for shape in shapes)
    default = products.error(a, b)
    with fast(CPU, DENSE):
        assert products.error(a, b) <= products.ALLOWED * default
        assert products.error(a.mT.contiguous().mT, b) <= products.ALLOWED * default  # as a gradient has it


def test_a_library_that_rounds_is_seen_and_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    matmul = torch.matmul

    def rounding(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """As oneDNN does on a processor with AMX."""
        allowed = a.dtype == torch.float32 and torch.get_float32_matmul_precision() == "medium"
        return matmul(a.bfloat16().float(), b.bfloat16().float()) if allowed else matmul(a, b)

    monkeypatch.setattr(torch, "matmul", rounding)
    assert not products.are_exact()
    with fast(CPU, DENSE):
        assert torch.get_float32_matmul_precision() == "highest"


def test_only_within_and_only_on_a_cpu() -> None:
    inside = fast(CPU, DENSE)
    inside.__enter__()
    assert (torch.get_float32_matmul_precision() == "medium") == products.are_exact()
    assert not inside.__exit__(KeyError, KeyError(), None)
    assert torch.get_float32_matmul_precision() == "highest"
    with fast(torch.device("cuda"), DENSE):  # where it would allow TensorFloat-32
        assert torch.get_float32_matmul_precision() == "highest"


def test_a_transformers_small_products_stay_with_the_default() -> None:
    with fast(CPU, network_of(Settings.of_language())):
        assert torch.get_float32_matmul_precision() == "highest"


def test_a_precision_that_somebody_chose_is_left() -> None:
    torch.set_float32_matmul_precision("high")
    with fast(CPU, DENSE):
        assert torch.get_float32_matmul_precision() == "high"
    assert torch.get_float32_matmul_precision() == "high"
