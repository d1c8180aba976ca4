"""The PDF is linked where there is one; without a browser the book is as it was."""

import pytest

from sublim_utils.book import browser, pdf


@pytest.fixture
def html(tmp_path):
    intro = tmp_path / pdf.INTRO
    intro.parent.mkdir()
    intro.write_text(f"<p>before</p>{pdf.PLACE}<p>after</p>")
    return tmp_path


def test_the_intro_links_the_pdf_with_its_size(html):
    (html / pdf.NAME).write_bytes(bytes(1_250_000))
    pdf.link(html)
    text = (html / pdf.INTRO).read_text()
    assert f'<p>before</p><p class="pdf"><a href="../{pdf.NAME}" download>' in text
    assert "(1.2 MB)" in text


def test_without_a_browser_nothing_changes_and_a_line_says_so(html, monkeypatch, capsys):
    def none():
        raise browser.NoBrowserError("none of them is installed")

    monkeypatch.setattr(browser, "running", none)
    before = (html / pdf.INTRO).read_text()
    pdf.attach(html)
    assert "No PDF of the book: none of them is installed" in capsys.readouterr().err
    assert (html / pdf.INTRO).read_text() == before
    assert not (html / pdf.NAME).exists()
