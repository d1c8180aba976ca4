"""The first pages: what is computed is there, and of what is not yet no number is shown."""

from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from sublim_utils.book import commands, preview
from sublim_utils.book.claims import Claims
from tests.analysis.test_primary import PER, runs_of


class OfRuns:
    """A lab of known runs and of nothing else."""

    class profile:
        @staticmethod
        def settings() -> object:
            return type("Protocol", (), {"steps_per_epoch": PER})

    @staticmethod
    def experiment(name: str) -> object:
        assert name == "primary"
        return runs_of(range(100, 104))


def chapter() -> nbformat.NotebookNode:
    about = {"figure": {"name": "fig-x", "caption": "It is 0.42."}, "image": {"alt": "0.42"}}
    old = [new_output("stream", text="0.42")]
    return new_notebook(
        cells=[
            new_markdown_cell("# Title"),
            new_code_cell("n_seeds = 2", metadata={"tags": ["parameters"]}),
            new_code_cell("plot()", outputs=old, metadata={"mystnb": about}),
            new_code_cell("print(0)", outputs=old),
        ]
    )


def test_a_pending_chapter_shows_no_number_and_keeps_its_figures_names() -> None:
    done = preview.pending(chapter())
    nbformat.validate(done)
    assert "0.42" not in nbformat.writes(done)
    assert "n_seeds" not in nbformat.writes(done)
    figure = next(cell for cell in done.cells if "mystnb" in cell.metadata)
    assert figure.metadata.mystnb.figure.name == "fig-x"
    assert "image/svg+xml" in figure.outputs[0].data
    assert preview.NOTE in done.cells[1].source


def test_the_claims_so_far_are_the_executed_chapters_and_the_primary_tests(tmp_path: Path) -> None:
    results = tmp_path / "laptop"
    Claims(results, "phenomenon").record("C1.teacher_accuracy", [0.9, 0.95])
    Claims(results, "alignment").record("C3.cross_cosine", [0.0, 0.1])  # of an earlier run; its chapter is not there
    rows = {row["id"]: row for row in preview.claims_so_far(OfRuns, results, ["notebooks/01_phenomenon.ipynb"])}
    assert "C1.teacher_accuracy" in rows
    assert "C3.cross_cosine" not in rows
    assert rows["P7"]["verdict"] == "differs"
    assert {f"P{i}" for i in range(1, 11)} < set(rows)


def test_pages_of_some_chapters_are_first_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "source"
    for folder in ("notebooks", "book"):
        (source / folder).mkdir(parents=True)
    (source / "_config.yml").write_text("{}")
    for name in ("01_phenomenon", "05_causal"):
        nbformat.write(chapter(), source / "notebooks" / f"{name}.ipynb")
    monkeypatch.setattr(commands, "_lab", lambda results: OfRuns)
    for part in (
        commands.chapters.check_executed,
        commands.citation.write_citation,
        commands.explorer.write,
        commands.trial.write,
    ):
        monkeypatch.setattr(f"{part.__module__}.{part.__name__}", lambda *args: None)
    executed = source / "notebooks" / "01_phenomenon.ipynb"
    commands.pages(str(tmp_path / "laptop"), source, [str(executed)])
    assert "0.42" in executed.read_text()
    assert "0.42" not in (source / "notebooks" / "05_causal.ipynb").read_text()
    assert "`P7`" not in (summary := (source / "book" / "summary.md").read_text())
    assert 'id="P7"' in summary
