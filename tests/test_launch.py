"""One address, `repository.url`, decides over the buttons that need it; claims and chapters are linked by name."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
ADDRESS = "https://github.com/someone/sublim"


CHAPTER = r"""{"cells": [{"cell_type": "markdown", "metadata": {}, "source": "(chapter-some)=\n# Chapter"}],
"nbformat": 4, "nbformat_minor": 4, "metadata": {"kernelspec": {"name": "python3", "display_name": "Python"}}}"""


def built(folder: Path, url: str, text: str = "{claim}`C4.projected_accuracy`") -> subprocess.CompletedProcess:
    """Build a book of two pages with the real configuration, but for the repository's address."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    config["repository"]["url"] = url
    (folder / "book" / "extra").mkdir(parents=True)
    (folder / "notebooks").mkdir()
    (folder / "_config.yml").write_text(yaml.safe_dump(config))
    (folder / "_toc.yml").write_text("{format: jb-book, root: book/intro, chapters: [{file: notebooks/chapter}]}")
    (folder / "book" / "intro.md").write_text(f"# Intro\n\n{text}\n")
    shutil.copy(ROOT / "book" / "references.bib", folder / "book")
    shutil.copytree(ROOT / "book" / "_static", folder / "book" / "_static")
    (folder / "notebooks" / "chapter.ipynb").write_text(CHAPTER)
    command = [
        str(Path(sys.executable).with_name("jupyter-book")),
        "build",
        str(folder),
        "-q",
        "-n",
        "-W",
        "--keep-going",
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def page(folder: Path, name: str) -> str:
    return (folder / "_build" / "html" / f"{name}.html").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("url", ["", ADDRESS])
def test_buttons_need_the_address(tmp_path: Path, url: str) -> None:
    done = built(tmp_path, url)
    assert done.returncode == 0, done.stderr
    text = page(tmp_path, "notebooks/chapter")
    for button in (
        "mybinder.org/v2/gh/someone/sublim/main",
        "colab.research.google.com/github/someone/sublim",
        ADDRESS,
    ):
        assert (button in text) == bool(url), button
    assert "chapter.ipynb" in text  # the notebook can be downloaded either way


@pytest.mark.slow
def test_claims_and_chapters_are_linked_and_unknown_ones_errors(tmp_path: Path) -> None:
    link = '<a href="chapter:{}#C4.projected_accuracy">row</a>'
    assert built(tmp_path / "good", "", "{claim}`C4.projected_accuracy` " + link.format("some")).returncode == 0
    text = page(tmp_path / "good", "book/intro")
    for target in ("../book/method", "../notebooks/chapter"):
        assert f'href="{target}.html#C4.projected_accuracy"' in text
    done = built(tmp_path / "bad", "", "{claim}`C4.nonsense` " + link.format("none"))
    assert done.returncode != 0
    for message in ("'C4.nonsense' is no registered claim", "a chapter without the label (chapter-none)="):
        assert message in done.stdout + done.stderr
