"""How to cite the book, from ``CITATION.cff``."""

from pathlib import Path

import yaml

from sublim_utils.engine.files import write_atomically

__all__ = ["bibtex", "write_citation"]


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


def write_citation(source: str | Path) -> None:
    """Write the book's own BibTeX entry into ``book/`` of a copy of its sources."""
    text = bibtex((Path(source) / "CITATION.cff").read_text(encoding="utf-8"))
    write_atomically(Path(source) / "book" / "citation.md", f"```bibtex\n{text}\n```\n".encode())
