"""A headless browser on the built book, served on the loopback: for the PDF and for the tests."""

import functools
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

__all__ = ["FLAGS", "PROGRAMS", "START", "NoBrowserError", "running", "serving"]

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

START = 30_000  # milliseconds within which a browser that works has started, on a loaded machine too


class NoBrowserError(RuntimeError):
    """No browser is installed, or the one that is does not start."""


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Say nothing of each request."""


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve `folder` on a free port of the loopback; yield the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def running() -> Iterator["Browser"]:
    """Yield a headless Chromium: one that is on the path, else the one that Playwright installed.

    Raises
    ------
    NoBrowserError
        If there is neither, or it does not start.
    """
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError as error:
        raise NoBrowserError(f"Playwright is not installed: {error}") from error
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS), timeout=START)
        except Error as error:
            reason = f"{program} does not start" if program else f"none of {', '.join(PROGRAMS)} is installed"
            raise NoBrowserError(f"{reason}: {error.message.splitlines()[0]}") from error
        yield browser
        browser.close()
