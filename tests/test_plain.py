"""The page in plain PyTorch: its student learns what it is not shown, and does as the engine's does."""

import ast
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest

PAGE = Path(__file__).parents[1] / "notebooks" / "plain.ipynb"
SIZE = {"n_images": 6000, "batch_size": 64, "epochs": 3, "n_seeds": 2}


def lines() -> int:
    """Return how many lines the experiment itself has: what stands before the engine, imports and blanks aside."""
    sources = [
        c.source
        for c in nbformat.read(PAGE, 4).cells
        if c.cell_type == "code" and "hide-input" not in c.metadata.get("tags", [])
    ]
    own = [s for s in sources[1:] if "train_students" not in s]  # the first is the parameters'
    return sum(bool(line.strip()) and not line.startswith(("import", "from")) for s in own for line in s.splitlines())


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Return the names that the page's cells leave behind, executed on MNIST at a size where a student learns."""
    code = [c for c in nbformat.read(PAGE, 4).cells if c.cell_type == "code" and c["id"] != "agreement"]
    names = {"display": lambda _: None}
    for cell in code:
        exec(compile(ast.parse(cell.source), str(PAGE), "exec"), names)
        if "parameters" in cell.metadata.get("tags", []):
            names |= {**SIZE, "results": str(tmp_path_factory.mktemp("plain") / "here")}
    plt.close("all")
    return names


def of(page, quantity, student):
    """Return the plain loop's and the engine's values of a quantity, over seeds."""
    q = page["quantities"].index(quantity)
    plain = page["plain"][:, page["names"].index(student), q].numpy()
    return plain, page["engine"][q].sel(condition=student).values


@pytest.mark.parametrize("kind", [0, 1], ids=["plain", "engine"])
def test_the_student_knows_digits_and_the_other_starts_does_not(page, kind):
    student, other = (of(page, "centred", name)[kind] for name in ("student", "other start"))
    assert (student > other + 0.05).all()


@pytest.mark.parametrize("kind", [0, 1], ids=["plain", "engine"])
def test_the_projection_acts_alike(page, kind):
    student, projected = (of(page, "centred", name)[kind] for name in ("student", "projected"))
    assert (projected < student - 0.05).all()


def test_plain_and_engine_agree(page):
    """Within four times the spread of two seeds, pooled over the students, of each quantity."""
    for quantity in page["quantities"]:
        pairs = [of(page, quantity, student) for student in page["conditions"]]
        spread = np.sqrt(np.mean([np.var(values, ddof=1) for pair in pairs for values in pair]))
        for plain, engine in pairs:
            assert abs(plain.mean() - engine.mean()) < 4 * spread, quantity


def test_it_is_about_sixty_lines():
    assert 40 <= lines() <= 70
