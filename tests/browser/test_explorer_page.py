"""The explorer: choices change the curves and the address, and the address brings them back."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page

READY = "document.getElementById('explorer').dataset.ready"


@pytest.fixture
def explorer(page: Page, address: str) -> Callable[[str], Page]:
    def opened(state: str = "") -> Page:
        page.goto("about:blank")  # so that a new state is a new visit
        page.goto(f"{address}/book/explorer.html{state}")
        page.wait_for_function(READY)
        return page

    return opened


def curves(page: Page) -> list[str]:
    """Return the lines' paths, once the chart is that of the present state."""
    page.wait_for_function(
        f"{READY} && (!location.hash || document.getElementById('explorer').dataset.ready === location.hash)"
    )
    return page.locator("#explorer-curves .mark-line path").evaluate_all("all => all.map(e => e.getAttribute('d'))")


def test_choices_change_the_curves_and_the_address_and_are_restored(explorer) -> None:
    page = explorer()
    first = curves(page)
    assert len(first) == 3
    page.select_option("#explorer-quantity", "drive")
    second = curves(page)
    assert second != first
    page.get_by_role("checkbox", name="update projected").check()
    assert len(curves(page)) == 4
    page.get_by_label("difference from").check()
    page.select_option("#explorer-of", "projected")
    third, state = curves(page), page.evaluate("location.hash")
    assert "quantity=drive" in state
    assert "change=1" in state
    page = explorer(state)
    assert curves(page) == third
    assert page.locator("#explorer-quantity").input_value() == "drive"
    assert page.get_by_role("checkbox", name="update projected").is_checked()
    assert page.locator("#explorer-of").input_value() == "projected"
    page.click("#explorer-reset")
    assert curves(page) == first


def test_single_seeds_have_a_curve_each(explorer) -> None:
    page = explorer()
    page.get_by_label("single seeds").check()
    assert len(curves(page)) == sum(
        len(c["seeds"]) for c in page.evaluate("window.RUNS.conditions") if c["name"] in
        page.locator("#explorer-show input:checked").evaluate_all("all => all.map(e => e.value)")
    )  # fmt: skip


def test_keyboard_alone_is_enough(explorer) -> None:
    page = explorer()
    before = curves(page)
    page.locator("#explorer-quantity").focus()
    page.keyboard.press("ArrowDown")
    after = curves(page)
    assert after != before
    boxes = page.locator("#explorer-show input")
    boxes.nth(3).focus()
    page.keyboard.press("Space")
    assert len(curves(page)) == len(after) + 1
    assert boxes.nth(3).evaluate("e => e === document.activeElement")
    page.locator("#explorer-at").focus()
    now = page.locator("#explorer-now").inner_text()
    page.keyboard.press("ArrowLeft")
    assert page.locator("#explorer-now").inner_text() != now


def test_the_slider_and_play_move_what_the_student_learns(explorer) -> None:
    page = explorer()
    last = page.locator("#explorer-classes .mark-rect path").first.get_attribute("d")
    page.locator("#explorer-at").fill("0")
    page.wait_for_function("document.getElementById('explorer-now').textContent.startsWith('After 0 epochs')")
    page.wait_for_timeout(500)
    bars = page.locator("#explorer-classes .mark-rect path")
    assert bars.count() == 10
    page.click("#explorer-play")
    page.wait_for_function("!document.getElementById('explorer-now').textContent.startsWith('After 0 epochs')")
    page.click("#explorer-play")
    assert page.locator("#explorer-play").inner_text() == "Play"
    assert last is not None


GREY = "(id) => [...document.getElementById(id).getContext('2d').getImageData(0, 0, 148, 28).data].join()"


def test_the_slider_moves_the_pictures_of_what_is_learned(explorer) -> None:
    page = explorer("#quantity=accuracy&of=student+(aux)&at=0")
    teacher, start = (page.evaluate(GREY, f"explorer-{who}") for who in ("teacher", "student"))
    assert len(set(teacher.split(","))) > 50
    assert set(start.split(",")) <= {"128", "255", "0"}  # grey, opaque, and the gaps between units
    page.locator("#explorer-at").focus()
    page.keyboard.press("End")
    page.wait_for_function("!document.getElementById('explorer-weights').textContent.includes('after 0 epochs')")
    assert page.evaluate(GREY, "explorer-student") != start
    assert "times as far" in page.locator("#explorer-weights").inner_text()
    assert page.locator("#explorer-student").get_attribute("aria-label")
    page.select_option("#explorer-of", "projected")
    page.wait_for_function("document.getElementById('explorer-weights').textContent.startsWith('No pictures')")
    assert page.locator("#explorer-student").is_hidden()


def test_an_anchor_of_the_page_keeps_the_choices(explorer) -> None:
    page = explorer("#quantity=cosine&show=projected&view=mean&change=0&of=projected&at=2")
    page.evaluate("location.hash = '#curves-and-paired-differences'")
    page.wait_for_timeout(300)
    assert page.locator("#explorer-quantity").input_value() == "cosine"


@pytest.mark.parametrize("state", ["#quantity=nonsense&show=x|y&at=-3&of=z", "#quantity=drive&show="])
def test_a_state_that_is_none_is_survived(explorer, state: str) -> None:
    assert explorer(state).locator("#explorer-table caption").is_visible()


def test_dark_mode_redraws_in_light_ink(explorer) -> None:
    page = explorer()
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    page.wait_for_function(
        "document.querySelector('#explorer-curves .role-axis-label text')?.getAttribute('fill') === '#ced6dd'"
    )


def test_it_says_which_runs(explorer) -> None:
    text = explorer().locator("#explorer-runs").inner_text()
    assert "profile" in text
    assert "seeds" in text


def test_a_figure_leads_to_its_curves(page: Page, address: str) -> None:
    page.goto(f"{address}/notebooks/05_causal.html")
    link = page.locator("figure a[href*='explorer.html#']").first
    link.click()
    page.wait_for_function(f"{READY} === location.hash")
    shown = page.locator("#explorer-show input:checked").evaluate_all("all => all.map(e => e.value)")
    assert set(shown) >= {"student (aux)", "projected", "update projected"}
