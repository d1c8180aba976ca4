"""The commands that need the book's dependencies: ``execute | collect | pages | pdf | readme | expect``."""

import argparse
import sys
from functools import partial
from pathlib import Path

from sublim_utils.book import (
    chapters,
    citation,
    claims,
    colophon,
    explorer,
    landing,
    pdf,
    preview,
    regression,
    report,
    sentences,
    trial,
)
from sublim_utils.engine.files import write_atomically
from sublim_utils.runs.lab import Lab
from sublim_utils.runs.profiles import Profile, profile_parameters
from sublim_utils.runs.provenance import write_inventory

__all__ = ["act", "execute", "pages", "readme"]


def _lab(results: str) -> Lab:
    """Return a lab of a profile's results, which trains nothing."""
    profile = Profile.of_parameters(**profile_parameters("profiles.toml", Path(results).name))
    return Lab(profile, "cpu", trains=False)


def pages(results: str, source: Path, notebooks: list[str]) -> None:
    """Write the generated parts of the book's source, a copy, and finish its chapters in place.

    Chapters of the source that are not among the executed `notebooks` are still being computed (`preview`).
    """
    chapters.check_executed(notebooks)
    for fault in sentences.check(notebooks):
        sys.stderr.write(f"A sentence to mend: {fault}\n")
    every, executed = sorted(source.glob("notebooks/*.ipynb")), {Path(path).name for path in notebooks}
    waiting = [path for path in every if path.name not in executed]
    preview.suspend(waiting)
    records = preview.claims_so_far(_lab(results), results, notebooks) if waiting else report.load_claims(results)
    prose = report.for_prose(results, records)
    report.write_pages(records, prose, source / "book")
    citation.write_citation(source)
    shown = partial(report.quoting, rows=records, run="this copy's run")
    colophon.finish(every, source / "_config.yml", prose, shown)
    explorer.write(results, source / "book" / "extra" / "explorer")
    trial.write(source / "book" / "extra" / "trial")


def readme(results: str) -> None:
    """Make the README's table, the first page's figure and the article's metadata anew."""
    text = report.with_claims(Path("README.md").read_text(encoding="utf-8"), results)
    landing.write(_lab(results))
    write_atomically(Path("README.md"), text.encode())
    write_atomically(Path("metadata.yaml"), citation.described(results).encode())


def execute(notebook: str, output: str, parameters: dict[str, object]) -> int:
    """Execute a chapter; return the exit code, 1 if a cell failed."""
    try:
        chapters.execute(notebook, output, parameters)
    except chapters.ChapterError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    return 0


def act(arguments: argparse.Namespace) -> int:
    """Do what the command line asks for; return the exit code."""
    match arguments.command:
        case "collect":
            claims.collect(arguments.results)
            write_inventory(arguments.results)
        case "pages":
            pages(arguments.results, Path(arguments.source), arguments.notebooks)
        case "pdf":
            pdf.attach(Path(arguments.html))
        case "readme":
            readme(arguments.results)
        case "expect":
            regression.expect([Path(folder) for folder in arguments.folders])
        case "execute":
            parameters = profile_parameters(arguments.profiles, arguments.profile)
            return execute(arguments.what, arguments.output, parameters)
    return 0
