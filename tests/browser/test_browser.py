"""The built book in a real browser: opens cleanly, offline, in both modes and at both widths."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page

SCREENSHOTS = Path("_build/screenshots")
WIDTHS = {"phone": 360, "desktop": 1600}


def watched(page: Page, address: str) -> list[str]:
    """Collect console errors, failed requests and requests to other origins from now on."""
    trouble: list[str] = []
    own = urlsplit(address).netloc

    def seen(url: str) -> None:
        if urlsplit(url).scheme in ("http", "https", "ws") and urlsplit(url).netloc != own:
            trouble.append(f"other origin: {url}")

    page.on("console", lambda m: trouble.append(f"console: {m.text}") if m.type == "error" else None)
    page.on("pageerror", lambda e: trouble.append(f"script: {e}"))
    page.on("requestfailed", lambda r: trouble.append(f"failed: {r.url}"))
    page.on("response", lambda r: trouble.append(f"{r.status}: {r.url}") if r.status >= 400 else None)
    page.on("request", lambda r: seen(r.url))
    return trouble


CUT_OFF = """async () => {
  if (window.MathJax?.startup) await MathJax.startup.promise;
  const article = document.querySelector("article"), edge = article.getBoundingClientRect().right + 1.5;
  const scrolls = (e) => e && e !== document.body
    && (["auto", "scroll"].includes(getComputedStyle(e).overflowX) || scrolls(e.parentElement));
  return [...article.querySelectorAll("pre, table, img, svg, figure, p, li, mjx-container")]
    .filter((e) => e.getBoundingClientRect().right > edge && !scrolls(e))
    .map((e) => `${e.tagName} ${(e.textContent ?? "").trim().slice(0, 60)}`);
}"""


def cut_off(page: Page) -> list[str]:
    """Return what of the article is wider than its column and does not lie in a box that scrolls."""
    return page.evaluate(CUT_OFF)


@pytest.mark.parametrize("width", WIDTHS)
def test_every_page_opens_cleanly_and_fits(page: Page, address: str, pages: list[str], width: str) -> None:
    page.set_viewport_size({"width": WIDTHS[width], "height": 900})
    trouble, shots = watched(page, address), SCREENSHOTS / width
    for name in pages:
        page.goto(f"{address}/{name}", wait_until="load")
        page.wait_for_timeout(300)
        wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        if wide > 1:
            trouble.append(f"{name} is {wide} px wider than its window")
        trouble += [f"{name}, cut off: {what}" for what in cut_off(page)]
        page.screenshot(path=shots / f"{Path(name).stem}.png", full_page=True)
    assert not trouble


def test_the_first_page_is_less_than_four_screens_high(page: Page, address: str) -> None:
    page.set_viewport_size({"width": 1400, "height": 900})
    page.goto(f"{address}/book/intro.html", wait_until="load")
    assert page.evaluate("document.documentElement.scrollHeight") < 4 * 900


def test_formulas_are_typeset(page: Page, address: str) -> None:
    page.goto(f"{address}/notebooks/01_phenomenon.html")
    page.wait_for_selector("mjx-container", timeout=20_000)
    assert page.locator("mjx-merror").count() == 0


def test_every_figure_has_alt_text_and_fits_its_column(page: Page, address: str, pages: list[str]) -> None:
    page.set_viewport_size({"width": 360, "height": 900})
    trouble = []
    for name in pages:
        page.goto(f"{address}/{name}")
        for image in page.locator("article img").all():
            alt = image.get_attribute("alt") or ""
            if len(alt) < 20 or "_images" in alt or "[[" in alt:
                trouble.append(f"{name}: alt text {alt!r}")
            if image.evaluate("e => e.getBoundingClientRect().right > window.innerWidth + 1"):
                trouble.append(f"{name}: a figure is cut off")
    assert not trouble


def test_search_finds_a_word(page: Page, address: str) -> None:
    page.goto(f"{address}/search.html?q=derangement")
    page.wait_for_selector("#search-results li", timeout=20_000)
    assert page.locator("#search-results li a", has_text="Departures").count() >= 1


def test_dark_mode_switches_and_figures_turn_dark_with_it_but_images_of_digits_do_not(page: Page, address: str) -> None:
    page.goto(f"{address}/notebooks/01_phenomenon.html")
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert sum(int(v) for v in ground[4:-1].split(",")[:3]) < 200
    filters = page.locator("article :is(.cell_output, figure) img").evaluate_all(
        "all => all.map(e => [e.classList.contains('pictures'), getComputedStyle(e).filter])"
    )
    assert {kept for kept, _ in filters} == {False, True}
    assert all((how == "none") if kept else ("invert(0.9)" in how) for kept, how in filters)
