"""The book as one PDF: its built pages joined into one in a headless browser, and printed."""

import sys
from pathlib import Path

from sublim_utils.book import browser
from sublim_utils.engine.files import write_atomically

__all__ = ["FOOTER", "INTRO", "JOIN", "NAME", "PLACE", "attach", "link"]

NAME, INTRO = "subliminal-learning.pdf", "book/intro.html"
PLACE = '<p class="pdf" hidden></p>'
"""Where the intro links the PDF, in a book that has one."""

JOIN = Path(__file__).with_name("join.js")
FOOTER = """<div style="width: 100%; font: 8px sans-serif; text-align: center">
<span class="pageNumber"></span> / <span class="totalPages"></span></div>"""


def attach(html: Path) -> None:
    """Print the book in `html` to a PDF beside its index and link it from the intro.

    Without a browser nothing is made, and a line on stderr says so: the book does not need it.
    """
    try:
        with browser.running() as chromium, browser.serving(html) as address:
            page = chromium.new_page()
            page.goto(f"{address}/{INTRO}", wait_until="load")
            page.evaluate(JOIN.read_text(encoding="utf-8"))
            page.pdf(
                path=html / NAME, format="A4", print_background=True, tagged=True, outline=True,
                display_header_footer=True, header_template="<span></span>", footer_template=FOOTER,
                margin={"top": "16mm", "bottom": "16mm", "left": "14mm", "right": "14mm"},
            )  # fmt: skip
    except browser.NoBrowserError as error:
        sys.stderr.write(f"No PDF of the book: {error}\n")
        return
    link(html)


def link(html: Path) -> None:
    """Put the link to the PDF, with its size, into the intro."""
    size = (html / NAME).stat().st_size / 1e6
    text = f'<p class="pdf"><a href="../{NAME}" download>The whole book as one PDF</a> ({size:.1f} MB)</p>'
    page = (html / INTRO).read_text(encoding="utf-8")
    write_atomically(html / INTRO, page.replace(PLACE, text).encode())
