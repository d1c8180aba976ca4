"""A real browser that is killed while it prints, and one that hangs: the book stays, and a line says so."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sublim_utils.book import browser, pdf

PAGE = '<nav class="bd-links"><a href="hangs.html">next</a></nav>' + pdf.PLACE + "<article><h1>Book</h1></article>"


@pytest.fixture
def html(tmp_path: Path) -> Path:
    """A book, the second page of which is never delivered, so that its browser is still at it when it is killed."""
    if not any(map(shutil.which, browser.PROGRAMS)):
        pytest.skip("no browser is installed")
    (tmp_path / "html" / "book").mkdir(parents=True)
    (tmp_path / "html" / pdf.INTRO).write_text(PAGE)
    os.mkfifo(tmp_path / "html" / "book" / "hangs.html")
    return tmp_path / "html"


def kept(html: Path, said: str) -> None:
    assert said.startswith("No PDF of the book: ")
    assert said.count("\n") == 1
    assert (html / pdf.INTRO).read_text() == PAGE
    assert [path.name for path in html.iterdir()] == ["book"]


def children_of(folder: Path) -> list[str]:
    """Return the processes that were started with `folder` on their command line."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(folder).encode() in (process / "cmdline").read_bytes():
                found.append(process.name)
        except OSError:
            continue  # it has just ended
    return [number for number in found if number != str(os.getpid())]


def test_one_that_is_killed_while_it_prints(html: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, number = next(filter(None, map(shutil.which, browser.PROGRAMS))), tmp_path / "number"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / browser.PROGRAMS[0]).write_text(f"#!/bin/sh\necho $$ > '{number}'\nexec {real} \"$@\"\n")
    (tmp_path / "bin" / browser.PROGRAMS[0]).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    code = f"import sys; from pathlib import Path; from sublim_utils.book import pdf; pdf.attach(Path({str(html)!r}))"
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True) as printing:
        fifo = os.open(html / "book" / "hangs.html", os.O_WRONLY)  # returns when the page is asked for
        os.kill(int(number.read_text()), 9)
        said = printing.communicate(timeout=120)[1]
        os.close(fifo)
    assert printing.returncode == 0
    kept(html, said)


def test_one_that_hangs(html: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(pdf, "PATIENCE", 20.0)
    begun = time.monotonic()
    pdf.attach(html)
    assert time.monotonic() - begun < 40
    kept(html, capfd.readouterr().err)
    assert children_of(html) == []
