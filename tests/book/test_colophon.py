"""How a page was made: what its last block says, and which parameters cell it keeps."""

import copy
from functools import partial

import nbformat
import pytest
import torch
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from sublim_utils.book import colophon, report

PARAMETERS = {"results": "../results/laptop", "n_seeds": 4, "n_images": 60_000, "device": "auto"}


@pytest.fixture
def executed():
    cells = [
        new_markdown_cell("# Title"),
        new_code_cell("n_seeds = 2", metadata={"tags": ["parameters"]}),
        new_code_cell("n_seeds = 4", metadata={"tags": ["injected-parameters"]}),
    ]
    about = {"parameters": PARAMETERS, "start_time": "2026-11-25T00:00:00.0", "duration": 61.2}
    made = colophon.made(torch.device("cpu"))
    return new_notebook(cells=cells, metadata={"papermill": about, colophon.KEY: made})


def test_the_block_says_how_and_with_what(executed):
    text = colophon.text("01_phenomenon", executed.metadata)
    assert "python -m sublim_utils execute notebooks/01_phenomenon.ipynb out.ipynb --profile laptop" in text
    for word in ("`laptop`", "4 (main)", "cpu (", f"torch {torch.__version__}", "python 3.", "engine", "1 min 1 s"):
        assert word in text
    assert "Colab" not in text
    assert "git+https://example.org/r" in colophon.text("01_phenomenon", executed.metadata, "https://example.org/r")


def test_only_the_injected_parameters_are_shown_folded(executed):
    done = colophon.finished(copy.deepcopy(executed), "01_phenomenon", str, str)
    assert [c.source for c in done.cells[:-1]] == ["# Title", "n_seeds = 4"]
    assert "hide-input" in done.cells[1].metadata.tags
    assert done.cells[-1].source.startswith("## How this page was made")
    nbformat.validate(done)


def test_a_chapter_without_injected_parameters_keeps_its_own(executed):
    executed.cells = executed.cells[:2]
    done = colophon.finished(executed, "01_phenomenon", str, str)
    assert "n_seeds = 2" in [c.source for c in done.cells]


def test_chapters_are_finished_in_place(executed, tmp_path):
    path, config = tmp_path / "01_phenomenon.ipynb", tmp_path / "_config.yml"
    nbformat.write(executed, path)
    config.write_text('repository: {url: "https://example.org/r"}')
    colophon.finish([path], config, str, str)
    assert "git+https://example.org/r" in nbformat.read(path, 4).cells[-1].source


def test_captions_and_texts_in_place_of_figures_quote_this_copys_claims_and_prose_the_recorded_ones(executed):
    row = {"id": "C4.projected_accuracy", "estimate": 0.101, "ci_low": 0.099, "ci_high": 0.103, "n_seeds": 7}
    quoting = "Projected [[C4.projected_accuracy]], baseline [[C4.baseline_accuracy]]."
    about = {"image": {"alt": quoting}, "figure": {"name": "fig-x", "caption": quoting}}
    executed.cells.append(new_code_cell("draw()", metadata={"mystnb": about}))
    executed.cells.append(new_markdown_cell(quoting))
    prose = partial(report.quoting, rows=[{**row, "estimate": 0.1}], run="the recorded run")
    done = colophon.finished(executed, "05_causal", prose, partial(report.quoting, rows=[row], run="here"))
    shown = next(c.metadata.mystnb for c in done.cells if "mystnb" in c.metadata)
    for said in (shown.image.alt, shown.figure.caption):
        assert said == "Projected 0.101 [0.099, 0.103] (n = 7), baseline not tested."
    assert done.cells[-2].source == "Projected 0.1 [0.099, 0.103] (n = 7), baseline not tested."
