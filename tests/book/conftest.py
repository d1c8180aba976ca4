"""The built book, served on the loopback, and a real headless browser on it."""

import functools
import os
import shutil
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def book() -> Path:
    folder = os.environ.get("SUBLIM_BOOK")
    if not folder:
        pytest.skip("SUBLIM_BOOK does not name a built book")
    path = Path(folder).resolve()
    assert (path / "index.html").is_file(), f"no index.html in SUBLIM_BOOK = {path}"
    return path


@pytest.fixture(scope="session")
def pages(book: Path) -> list[str]:
    found = sorted(str(p.relative_to(book)) for p in book.rglob("*.html") if "_static" not in p.parts)
    return [p for p in found if p not in ("genindex.html", "search.html", "index.html")]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Keep the test's output to the tests."""


@pytest.fixture(scope="session")
def address(book: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(book)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield running
        running.close()
