"""The built book, served on the loopback, and a real headless browser on it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from sublim_utils.book.browser import NoBrowserError, running, serving


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


@pytest.fixture(scope="session")
def address(book: Path) -> Iterator[str]:
    with serving(book) as address:
        yield address


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    try:
        with running() as browser:
            yield browser
    except NoBrowserError as error:
        pytest.skip(f"no browser: {error}")


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page()
    yield page
    page.close()
