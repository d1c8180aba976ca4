"""The page's run and the package's of the same small protocol: other random numbers, the same experiment."""

from pathlib import Path

import pytest

from sublim_utils.analysis.stats import mean_interval
from sublim_utils.book import browser, trial
from sublim_utils.engine import data
from sublim_utils.engine.students import train_students
from sublim_utils.engine.teachers import train_teachers
from sublim_utils.settings import Condition

ROOT = Path(__file__).parents[2]
SEEDS = list(range(20))
CONDITIONS = {
    "off": Condition(),
    "gradient": Condition(projection=1.0),
    "update": Condition(projection=1.0, target="update"),
    "discriminative": Condition(projection=1.0, target="update", side="two", direction="discrimination"),
}
RUN = "async () => (await window.trialRun()).at(-1)"


@pytest.fixture(scope="module")
def of_package():
    task = trial.task(data.load("mnist"))
    theta, _, _ = train_teachers(task, SEEDS)
    return train_students(task, CONDITIONS, SEEDS, {"own": theta})[0].isel(eval=-1)


@pytest.fixture(scope="module")
def of_page(tmp_path_factory):
    """Return the page's end of a run, by its choices: the scripts alone, in a page of nothing but their elements."""
    folder = tmp_path_factory.mktemp("site")
    for name in ("book", "trial"):
        (folder / name).mkdir()
    for script in (ROOT / "book" / "extra" / "trial").glob("*.js"):
        (folder / "trial" / script.name).write_text(script.read_text(encoding="utf-8"), encoding="utf-8")
    trial.write(folder / "trial")
    html = (ROOT / "book" / "trial.md").read_text(encoding="utf-8").split("```{raw} html")[1].split("```")[0]
    (folder / "book" / "trial.html").write_text(f"<!doctype html><body>{html}</body>", encoding="utf-8")
    with browser.running() as chromium, browser.serving(folder) as address:
        page = chromium.new_page()

        def run(seed: int, projection: str) -> dict[str, float]:
            page.goto("about:blank")
            page.goto(f"{address}/book/trial.html#seed={seed}&projection={projection}")
            return page.evaluate(RUN)

        yield run


@pytest.mark.parametrize("name", CONDITIONS)
def test_twenty_seeds_of_both_end_alike(name, of_package, of_page):
    ends = [of_page(seed, name) for seed in SEEDS]
    for quantity, reading in (("raw", "accuracy"), ("centred", "centred_accuracy")):
        here, there = (
            mean_interval([end[quantity] for end in ends]),
            mean_interval(of_package[reading].sel(condition=name)),
        )
        print(f"{name}, {quantity}: page {here:.3f}, package {there:.3f}")
        assert here.low <= there.high, (name, quantity)
        assert there.low <= here.high, (name, quantity)
