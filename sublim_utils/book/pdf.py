"""The book as one PDF: its built pages joined into one in a headless browser, and printed."""

import contextlib
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from sublim_utils.book import browser
from sublim_utils.engine.files import unfinished, write_atomically

__all__ = ["FOOTER", "INTRO", "JOIN", "LINKED", "NAME", "PATIENCE", "PLACE", "attach", "link", "main", "print_to"]

NAME, INTRO = "subliminal-learning.pdf", "book/intro.html"
PLACE = '<p class="pdf" hidden></p>'
"""Where a page links its PDF, in a book that has one."""

LINKED = {
    NAME: (INTRO, "The whole book as one PDF"),
    "article.pdf": ("book/article.html", "This article as a PDF"),
}
"""What is printed, by its file beside the index: the page that links it, and how; all but the book are one page."""

PATIENCE = 300.0  # seconds for the whole, on a loaded machine too; 20 are enough on an idle one
JOIN = Path(__file__).with_name("join.js")
FOOTER = """<div style="width: 100%; font: 8px sans-serif; text-align: center">
<span class="pageNumber"></span> / <span class="totalPages"></span></div>"""


def attach(html: Path) -> None:
    """Print the book in `html`, and its article, to PDFs beside its index; link them from their pages.

    Where it can't be printed nothing is made, and a line on stderr says why: the book does not need it.
    """
    names = [name for name, (page, _) in LINKED.items() if (html / page).is_file()]
    try:
        with contextlib.ExitStack() as stack, ThreadPoolExecutor() as pool:  # a browser each, at the same time
            made = [stack.enter_context(unfinished(html)) for _ in names]
            if why := next(filter(None, pool.map(partial(_failure, html), made, names)), ""):
                sys.stderr.write(f"No PDF of the book: {why}\n")
                return
            for path, name in zip(made, names, strict=True):
                path.replace(html / name)
        for name in names:
            link(html, name)
    except OSError as error:
        sys.stderr.write(f"No PDF of the book: {error}\n")


def _failure(html: Path, target: Path, name: str) -> str:
    """Print in a process group of its own, which ends whatever the browser does; return why not, or ""."""
    command = [sys.executable, "-m", "sublim_utils.book.pdf", str(html.absolute()), str(target.absolute()), name]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "errors": "replace"}
    with subprocess.Popen(command, **pipes, start_new_session=True) as process:
        try:
            said, _ = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            return f"the browser was not done after {PATIENCE:.0f} s"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # it, or what it has left behind
    if process.returncode:
        return (said.strip().splitlines() or [f"its process ended with {process.returncode}"])[-1]
    return ""


def print_to(html: Path, target: Path, name: str = NAME) -> None:
    """Print what `LINKED` calls `name`, of the book in `html`, to the file `target`.

    Raises
    ------
    NoBrowserError
        If there is no browser, or it ends before it is done.
    """
    with browser.running() as chromium, browser.serving(html) as address:
        page = chromium.new_page()
        page.goto(f"{address}/{LINKED[name][0]}", wait_until="load")
        page.evaluate(JOIN.read_text(encoding="utf-8"), name == NAME)
        page.pdf(
            path=target, format="A4", print_background=True, tagged=True, outline=True,
            display_header_footer=True, header_template="<span></span>", footer_template=FOOTER,
            margin={"top": "16mm", "bottom": "16mm", "left": "14mm", "right": "14mm"},
        )  # fmt: skip


def link(html: Path, name: str) -> None:
    """Put the link to a PDF, with its size, into its page."""
    page, words = LINKED[name]
    size = (html / name).stat().st_size / 1e6
    text = f'<p class="pdf"><a href="../{name}" download>{words}</a> ({size:.1f} MB)</p>'
    whole = (html / page).read_text(encoding="utf-8")
    write_atomically(html / page, whole.replace(PLACE, text).encode())


def main() -> int:
    """Print, as the process of its own; say in one line why not."""
    try:
        html, target, name = sys.argv[1:]
        print_to(Path(html), Path(target), name)
    except Exception as error:  # noqa: BLE001 - a dying browser shows itself in more than one way
        reason = str(error).strip().splitlines()
        sys.stdout.write(f"{reason[0] if reason else type(error).__name__}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
