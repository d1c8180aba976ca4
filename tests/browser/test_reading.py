"""What a reader does with the built pages: read by any sense, open, copy, download, weigh."""

import shutil
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from sublim_utils.book import pdf

MEGABYTE = 1e6


def chapters(pages: list[str]) -> list[str]:
    return [p for p in pages if p.startswith("notebooks/")]


@pytest.mark.parametrize(("width", "theme"), [(360, "light"), (1600, "dark")])
def test_axe_finds_no_serious_problem(page: Page, address: str, pages: list[str], width: int, theme: str) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=theme)
    trouble = []
    for name in pages:
        page.goto(f"{address}/{name}")
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.dataset.theme") == theme
        for found in Axe().run(page).response["violations"]:
            if found["impact"] in ("serious", "critical"):
                trouble.append(f"{name}: {found['id']}: {found['nodes'][0]['html'][:200]}")
    assert not trouble


def test_every_page_weighs_less_than_three_megabytes(page: Page, address: str, pages: list[str]) -> None:
    weights = {}
    for name in pages:
        page.goto(f"{address}/{name}", wait_until="networkidle")
        weights[name] = page.evaluate(
            "[...performance.getEntriesByType('resource'), ...performance.getEntriesByType('navigation')]"
            ".reduce((sum, entry) => sum + entry.encodedBodySize, 0)"
        )
    print({name: round(weight / MEGABYTE, 2) for name, weight in weights.items()})  # noqa: T201 pytest shows it with -s
    assert not {name: weight for name, weight in weights.items() if weight >= 3 * MEGABYTE}


def test_setup_code_is_folded_and_opens(page: Page, address: str) -> None:
    page.goto(f"{address}/notebooks/01_phenomenon.html")
    folded = page.locator("details.hide").first
    code = folded.locator(".highlight").first
    assert not code.is_visible()
    folded.locator("summary").click()
    assert code.is_visible()


def test_copy_button_copies_the_cell(page: Page, address: str) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"{address}/book/reproduce.html")
    block = page.locator("article div.highlight").first
    block.hover()
    block.locator("button.copybtn").click()
    page.wait_for_function("navigator.clipboard.readText().then(text => text.includes('make book'))", timeout=5000)


def test_every_chapter_says_how_it_was_made(page: Page, address: str, pages: list[str]) -> None:
    for name in chapters(pages):
        page.goto(f"{address}/{name}")
        block = page.locator("#how-this-page-was-made")
        text = block.inner_text()
        for word in ("profile", "seeds", "device", "torch", "engine", "run time"):
            assert word in text, (name, word)
        assert f"python -m sublim_utils execute notebooks/{Path(name).stem}.ipynb out.ipynb --profile" in text
        links = [a.get_attribute("href") or "" for a in block.locator("a.download").all()]
        for file in (f"{Path(name).stem}.ipynb", "environment.yml", "requirements.lock"):
            assert any(link.endswith(file) for link in links), (name, file)


def test_badges_are_words_and_lead_to_the_verdict_and_back(page: Page, address: str) -> None:
    page.goto(f"{address}/notebooks/05_causal.html")
    badge = page.locator("a.verdict").first
    name = badge.get_attribute("id")
    assert badge.inner_text()[2:] in ("agrees", "differs", "inconclusive", "not tested")
    badge.click()
    page.wait_for_url(f"**/09_verdicts.html#{name}")
    row = page.locator(f'[id="{name}"]')
    assert row.is_visible()
    row.click()
    page.wait_for_url(f"**/05_causal.html#{name}")


def test_tables_scroll_on_a_phone(page: Page, address: str) -> None:
    page.set_viewport_size({"width": 360, "height": 900})
    page.goto(f"{address}/book/method.html")
    boxes = page.locator(".pst-scrollable-table-container").all()
    wide = [box for box in boxes if box.evaluate("e => e.scrollWidth > e.clientWidth")]
    assert wide, "no table of the page is wider than a phone: nothing is tested here"
    assert {box.evaluate("e => getComputedStyle(e).overflowX") for box in wide} == {"auto"}
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_words_of_the_glossary_have_anchors(page: Page, address: str) -> None:
    page.goto(f"{address}/book/glossary.html")
    for word in ("alignment", "drive", "trait", "derangement"):
        assert page.locator(f"dt#term-{word}").count() == 1
    assert page.locator("#notation table").count() == 1


def test_the_intro_links_the_whole_book_as_one_pdf(page: Page, address: str, book: Path, pages: list[str]) -> None:
    page.goto(f"{address}/{pdf.INTRO}")
    assert page.locator(f'a[href="../{pdf.NAME}"]').is_visible()
    content = (book / pdf.NAME).read_bytes()
    assert content.startswith(b"%PDF")
    assert b"/Outlines" in content
    assert len(content) < 10e6
    assert b"/Outlines" in content
    if reader := shutil.which("pdftotext"):
        import subprocess

        text = subprocess.run([reader, book / pdf.NAME, "-"], capture_output=True, text=True, check=True).stdout
        assert all(word in text for word in ("Theory: why one step", "Glossary", "Bibliography"))


def test_the_article_links_itself_as_a_short_pdf(page: Page, address: str, book: Path) -> None:
    page.goto(f"{address}/book/article.html")
    assert page.locator('a[href="../article.pdf"]').is_visible()
    content = (book / "article.pdf").read_bytes()
    assert content.startswith(b"%PDF")
    assert 2 <= content.count(b"/Type /Page\n") <= 6
