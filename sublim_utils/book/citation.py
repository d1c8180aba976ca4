"""How to cite the book, from ``CITATION.cff``."""

from pathlib import Path

import yaml

from sublim_utils.book import report
from sublim_utils.engine.files import root, write_atomically

__all__ = ["METADATA", "bibtex", "described", "write_citation"]

METADATA = Path(__file__).with_name("metadata.yaml")
"""What ReScience C asks of an article, with claims quoted by their ids."""


def bibtex(cff: str) -> str:
    """Return a BibTeX entry for the book itself, from the text of its CITATION.cff.

    >>> print(bibtex("{title: T, authors: [{name: A}], date-released: 2026-01-02, version: 0.1}"))
    @software{sublim2026,
      author  = {{A}},
      title   = {T},
      year    = {2026},
      version = {0.1}
    }
    """
    about = yaml.safe_load(cff)
    names = (a.get("name") or f"{a['family-names']}, {a.get('given-names', '')}".strip(", ") for a in about["authors"])
    year = str(about["date-released"])[:4]
    fields = {
        "author": " and ".join(f"{{{name}}}" for name in names),
        "title": about["title"],
        "year": year,
        "version": about["version"],
        **({"url": about["repository-code"]} if "repository-code" in about else {}),
    }
    lines = ",\n".join(f"  {name:7} = {{{value}}}" for name, value in fields.items())
    return f"@software{{sublim{year},\n{lines}\n}}"


def described(results: str | Path) -> str:
    """Return the text of ``metadata.yaml``, in ReScience C's form, with the claims of `results` and the authors cited.

    Raises
    ------
    ValueError
        If title or authors are not those of ``CITATION.cff``.
    """
    text = report.quoting(METADATA.read_text(encoding="utf-8"), report.load_claims(results), "")
    about, cited = yaml.safe_load(text), yaml.safe_load((root() / "CITATION.cff").read_text(encoding="utf-8"))
    names = [author["name"] for author in about["authors"]]
    title, of_paper = about["title"].removeprefix("[Re] "), cited["references"][0]["title"]
    if title != of_paper or names != [author.get("name") for author in cited["authors"]]:
        raise ValueError(f"{METADATA.name} has {title!r} by {names}, CITATION.cff another title or other authors")
    return text


def write_citation(source: str | Path) -> None:
    """Write the book's own BibTeX entry into ``book/`` of a copy of its sources."""
    text = bibtex((Path(source) / "CITATION.cff").read_text(encoding="utf-8"))
    write_atomically(Path(source) / "book" / "citation.md", f"```bibtex\n{text}\n```\n".encode())
