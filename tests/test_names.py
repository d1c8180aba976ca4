"""One thing, one name; and what a function calls its values are nouns."""

import ast
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

from tests.offers import MODULES, PACKAGE, offered

ROOT = PACKAGE.parent
SOURCES = [*MODULES, *sorted((ROOT / "bench").rglob("*.py"))]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

ONCE = (
    "BASELINE",
    "EXPERIMENTS",
    "INIT_NOISES",
    "Ledger",
    "QUANTITIES",
    "Start",
    "cosine",
    "inner_products",
    "summary",
)
"""Names that have meant two things."""

NO_NOUNS = {"apart", "felt", "found", "mine", "own", "told"}

NOT_YET = ("settings", "engine/", "runs/lab", "runs/store", "runs/provenance", "02_theory")
"""What is being rewritten."""


def names(tree: ast.AST) -> Iterator[str]:
    """Yield every name that a source gives to a value or an argument."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg


def trees(path: Path) -> list[ast.Module]:
    if path.suffix == ".py":
        return [ast.parse(path.read_text(encoding="utf-8"))]
    return [ast.parse(cell.source) for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]


@pytest.mark.parametrize("name", ONCE)
def test_a_name_means_one_thing(name: str) -> None:
    places = [path for path in SOURCES if name in offered(path.read_text(encoding="utf-8"))]
    assert len(places) <= 1, f"{name} is made in {places}"


@pytest.mark.parametrize("path", [*SOURCES, *NOTEBOOKS], ids=lambda p: str(p.relative_to(ROOT).with_suffix("")))
def test_values_are_called_by_nouns(path: Path, request: pytest.FixtureRequest) -> None:
    where = str(path.relative_to(PACKAGE) if path.is_relative_to(PACKAGE) else path.name)
    said = {name for tree in trees(path) for name in names(tree)} & NO_NOUNS
    if said and where.startswith(NOT_YET):
        pytest.xfail("being rewritten")
    assert not said
