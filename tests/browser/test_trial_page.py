"""The page that runs the experiment: a real run in a real browser, its controls, its state in the address."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

RUN = "async () => (await window.trialRun()).map(({ raw, centred, cosine }) => ({ raw, centred, cosine }))"
PATIENCE = 180_000  # ms, on a loaded machine; a run takes about 20 s on an idle one


@pytest.fixture
def visit(page: Page, address: str, book: Path) -> Callable[[str], Page]:
    if (book / "trial" / "data.js").read_text(encoding="utf-8").startswith('window.TRIAL = {"missing"'):
        pytest.skip("the page was built without its library")

    def go(choices: str) -> Page:
        page.set_default_timeout(PATIENCE)
        page.goto(f"{address}/book/trial.html#{choices}")
        return page

    return go


def test_a_student_of_noise_comes_to_read_digits_here(visit: Callable[[str], Page]) -> None:
    page = visit("seed=0")
    points = page.evaluate(RUN)
    assert points[0]["centred"] < 0.25
    assert points[-1]["centred"] > 0.4
    assert all(abs(point["cosine"]) <= 1 for point in points[1:])
    expect(page.locator("#trial-now")).to_contain_text("The student reads")
    assert page.locator("#trial-accuracy polyline").count() == 2
    expect(page.locator("#trial-stop")).to_be_disabled()


def test_choices_are_in_the_address_and_work_by_keyboard(visit: Callable[[str], Page]) -> None:
    page = visit("seed=7&start=other&projection=update&logits=nonsense")
    values = [page.locator(f"#trial-{name}").input_value() for name in ("seed", "start", "projection", "logits")]
    assert values == ["7", "other", "update", "aux"]
    page.locator("#trial-seed").fill("8")
    page.locator("#trial-seed").press("Enter")
    expect(page.locator("#trial-stop")).to_be_enabled()
    assert "seed=8&start=other" in page.url
    page.locator("#trial-stop").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#trial-now")).to_have_text("Stopped.")
    expect(page.locator("#trial-run")).to_be_enabled()


def test_a_seed_out_of_range_is_refused_before_any_work(visit: Callable[[str], Page]) -> None:
    page = visit("seed=3")
    page.locator("#trial-seed").fill("-1")
    page.locator("#trial-run").click()
    expect(page.locator("#trial-stop")).to_be_disabled()
    assert not page.locator("#trial-seed").evaluate("field => field.checkValidity()")
