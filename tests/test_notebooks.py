"""The committed notebooks: checked by nbval only if they are whole, so wholeness is a test."""

import ast
import inspect
import tomllib
from pathlib import Path

import nbformat
import pytest
import yaml

from sublim_utils.book import report
from sublim_utils.book.chapters import check_parameters
from sublim_utils.book.claims import registered
from sublim_utils.book.opening import open_chapter
from sublim_utils.runs.experiments import EXPERIMENTS, chapter_of
from sublim_utils.settings import SettingsError

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SMOKE = tomllib.loads((ROOT / "profiles.toml").read_text(encoding="utf-8"))["smoke"]
each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)


def tagged(path: Path, tag: str) -> list[nbformat.NotebookNode]:
    return [c for c in nbformat.read(path, 4).cells if tag in c.metadata.get("tags", [])]


def code_cells(path: Path) -> list[nbformat.NotebookNode]:
    return [c for c in nbformat.read(path, 4).cells if c.cell_type == "code"]


@each
def test_outputs_are_there_and_clean(path: Path) -> None:
    for cell in code_cells(path):
        assert cell.execution_count is not None, f"a stripped cell passes nbval unchecked: {cell.source[:60]!r}"
        for output in cell.outputs:
            assert output.output_type != "error", output
            assert output.get("name") != "stderr", f"stderr in the committed output: {output.get('text', '')[:200]}"
    assert any(cell.outputs for cell in code_cells(path))


@each
def test_one_parameters_cell_holds_the_smoke_profile(path: Path) -> None:
    (cell,) = tagged(path, "parameters")
    values = {node.targets[0].id: ast.literal_eval(node.value) for node in ast.parse(cell.source).body}
    assert values == SMOKE


@each
def test_some_output_is_compared(path: Path) -> None:
    cells = tagged(path, "nbval-check-output")
    assert cells
    assert all(cell.outputs for cell in cells)


@each
def test_cells_stay_small(path: Path) -> None:
    for cell in code_cells(path):
        tree = ast.parse("\n".join(line for line in cell.source.splitlines() if not line.startswith("%")))
        for node in ast.walk(tree):
            assert not isinstance(node, ast.ClassDef), f"a class in a notebook: {node.name}"
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 8, f"a long function in a notebook: {node.name}"


@each
def test_every_figure_has_alt_text_and_a_caption(path: Path) -> None:
    for cell in code_cells(path):
        if any("image/svg+xml" in o.get("data", {}) or "image/png" in o.get("data", {}) for o in cell.outputs):
            about = cell.metadata.get("mystnb", {})
            alt = about.get("image", {}).get("alt", "")
            assert len(alt) > 20, cell.source[:80]
            assert report.quoting(alt, [], "here"), "quotes a claim that is not registered: KeyError"
            assert about.get("figure", {}).keys() >= {"name", "caption"}, cell.source[:80]


def test_toc_names_exactly_the_files() -> None:
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    named = {toc["root"], *(entry["file"] for part in toc["parts"] for entry in part["chapters"])}
    pages = {f"book/{p.stem}" for p in (ROOT / "book").glob("*.md")}
    assert named == pages | {f"notebooks/{p.stem}" for p in NOTEBOOKS}


def test_every_experiment_and_claim_has_its_chapter() -> None:
    chapters = set(map(chapter_of, NOTEBOOKS))
    assert {name for e in EXPERIMENTS.values() for name in (e.chapter, *e.also)} <= chapters
    assert {c.chapter for c in registered().values()} <= chapters


@each
def test_a_chapter_opens_by_its_own_name_with_all_parameters_in_their_order(path: Path) -> None:
    calls = [
        node for cell in code_cells(path) for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Call)
    ]
    (call,) = [c for c in calls if getattr(c.func, "id", "") == "open_chapter"]
    chapter, *scalars = call.args
    assert chapter.value == chapter_of(path)
    assert [scalar.id for scalar in scalars] == list(SMOKE) == list(inspect.signature(open_chapter).parameters)[1:]


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"n_seedz": 3}, "n_seedz"),
        ({"results": "r", "n_seeds": "three"}, "n_seeds"),
        ({"results": "r", "n_seeds": 1}, "n_seeds"),
        ({"results": "r", "batch_size": 0}, "batch_size"),
        ({"results": "r", "device": "tpu"}, "device"),
        ({"results": "r", "full_grid": 1}, "full_grid"),
    ],
)
def test_bad_parameters_are_refused_by_name(parameters: dict[str, object], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        check_parameters(NOTEBOOKS[0], parameters)
