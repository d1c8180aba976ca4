"""The PDF is linked where there is one; without a browser, or with one that dies or hangs, the book is as it was."""

import pytest

from sublim_utils.book import pdf


@pytest.fixture
def html(tmp_path):
    intro = tmp_path / "html" / pdf.INTRO
    intro.parent.mkdir(parents=True)
    intro.write_text(f"<p>before</p>{pdf.PLACE}<p>after</p>")
    return tmp_path / "html"


@pytest.fixture
def printing(tmp_path, monkeypatch):
    """Put a shell script in the place of the process that prints; it gets the book's folder and the PDF's path."""

    def use(script: str) -> None:
        (tmp_path / "prints").write_text(f"#!/bin/sh\nshift 2\n{script}\n")
        (tmp_path / "prints").chmod(0o755)
        monkeypatch.setattr(pdf.sys, "executable", str(tmp_path / "prints"))

    return use


def test_the_intro_links_the_pdf_with_its_size(html, printing):
    printing('head -c 1250000 /dev/zero > "$2"')
    pdf.attach(html)
    text = (html / pdf.INTRO).read_text()
    assert f'<p>before</p><p class="pdf"><a href="../{pdf.NAME}" download>' in text
    assert "(1.2 MB)" in text


def test_the_article_has_a_pdf_of_its_own_where_it_is_a_page(html, printing):
    (html / "book" / "article.html").write_text(pdf.PLACE)
    printing('printf %s "$3" > "$2"')
    pdf.attach(html)
    assert {name: (html / name).read_text() for name in pdf.LINKED} == {name: name for name in pdf.LINKED}
    assert '<a href="../article.pdf" download>This article' in (html / "book" / "article.html").read_text()


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ('echo half > "$2"; echo log; echo "no browser here"; exit 1', "no browser here"),
        ("kill -9 $$", "ended with -9"),
        ("sleep 1000 & sleep 1000", "not done after 0 s"),
    ],
)
def test_whatever_happens_to_the_browser_the_book_is_kept(html, printing, monkeypatch, capfd, script, reason):
    printing(script)
    monkeypatch.setattr(pdf, "PATIENCE", 0.3)
    before = (html / pdf.INTRO).read_text()
    pdf.attach(html)
    said = capfd.readouterr().err
    assert said.startswith("No PDF of the book: ")
    assert reason in said
    assert said.count("\n") == 1
    assert (html / pdf.INTRO).read_text() == before
    assert [path.name for path in html.iterdir()] == ["book"]
