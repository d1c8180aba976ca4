"""How far the same settings lead apart across threads, ensembles and torch versions; run by hand.

``python -m tests.faults.determinism`` trains seeds 0 and 1 of the baseline and the projected student at the
laptop's settings, with 1 and 2 threads, alone and with four conditions beside, and writes the differences to
``book/measured/determinism.json`` and ``.md``. ``--save FILE`` only keeps the runs of one thread; ``--against
NAME=FILE`` (any number of them) compares with those that were saved under another torch version, or as another
processor would make them (``ATEN_CPU_CAPABILITY=avx2 MKL_ENABLE_INSTRUCTIONS=AVX2``).

``--libraries`` adds to what was written how far a processor whose products are made by the other library leads apart,
teachers included, on more seeds: a teacher's auxiliary logits, which nothing trains, are no steadier than its rounding.
"""

import argparse
import json
import platform
from collections.abc import Iterable, Mapping
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
import xarray as xr

from sublim_utils.analysis.alignment import cosine
from sublim_utils.book.report import table
from sublim_utils.engine import data, products
from sublim_utils.engine.digits import Digits
from sublim_utils.engine.students import train_students
from sublim_utils.engine.teachers import train_teachers
from sublim_utils.runs.conditions import BASELINE, PROJECTED, UPDATE_PROJECTED
from sublim_utils.runs.verify import deviations
from sublim_utils.settings import Condition, Settings

SEEDS = (0, 1)
LIBRARY_SEEDS = range(100, 112)
MEASURED = {"baseline": BASELINE, "projected": PROJECTED}
BESIDE = {
    "all logits": Condition(logits="all"),
    "two-sided": Condition(projection=1.0, side="two"),
    "update projected": UPDATE_PROJECTED,
    "liminal": Condition(liminal=1.0),
}
MEASURES = ("accuracy", "cosine")  # after training; mean over steps


def summaries(runs: xr.Dataset) -> dict[str, xr.DataArray]:
    """Return what the claims are about: the final accuracy and the mean cosine, (seed, condition)."""
    return {"accuracy": runs["accuracy"].isel(eval=-1, drop=True), "cosine": cosine(runs).mean("step")}


def trained(
    settings: Settings, threads: int, conditions: Mapping[str, Condition], seeds: Iterable[int] = SEEDS
) -> xr.Dataset:
    """Return students trained from their teachers on, one group of conditions after another."""
    torch.set_num_threads(threads)
    images, parts = data.load("mnist"), []
    for seed in seeds:
        theta, _, _ = train_teachers(Digits(settings, images), [seed])
        parts.append(train_students(Digits(settings, images), conditions, [seed], {"own": theta})[0])
    return xr.concat(parts, "seed", data_vars="all", combine_attrs="override")


def alone(settings: Settings, threads: int) -> xr.Dataset:
    """Return the measured conditions, each trained with none beside."""
    parts = [trained(settings, threads, {name: c}) for name, c in MEASURED.items()]
    return xr.concat(parts, "condition", data_vars="all", combine_attrs="override")


def difference(a: xr.Dataset, b: xr.Dataset) -> dict[str, object]:
    """Return each quantity's largest difference of any run, as `verify` has it, and the claims'."""
    runs = [{"seed": [s], "condition": c} for s in a["seed"].values for c in a["condition"].values]
    each = [deviations(b.sel(run), a.sel(run)) for run in runs]
    return {
        "identical": all(a[n].values.tobytes() == b[n].values.tobytes() for n in a.data_vars),
        "quantities": {name: {"relative": max(one[name] for one in each)} for name in each[0]},
        "of the mean": {m: float(np.abs((summaries(a)[m] - summaries(b)[m]).mean("seed")).max()) for m in MEASURES},
        "of a run": {m: float(np.abs(summaries(a)[m] - summaries(b)[m]).max()) for m in MEASURES},
    }


def measure(settings: Settings, others: Mapping[str, Path]) -> dict[str, object]:
    """Train and compare."""
    one, found = alone(settings, 1), {}
    found["repeated, 1 thread"] = difference(one, alone(settings, 1))
    for threads in (1, 2):
        base = one if threads == 1 else alone(settings, 2)
        beside = trained(settings, threads, {**MEASURED, **BESIDE}).sel(condition=list(MEASURED))
        found[f"four conditions beside, {threads} thread{'s' * (threads > 1)}"] = difference(base, beside)
        if threads == 2:
            found["2 threads for 1"] = difference(one, base)
    for name, path in others.items():
        with xr.open_dataset(path, engine="netcdf4") as theirs:
            found[f"{name} (torch {theirs.attrs['torch']})"] = difference(one, theirs.load())
    spread = {m: float(summaries(one)[m].std("seed", ddof=1).max()) for m in MEASURES}
    about = {"torch": torch.__version__, "machine": platform.machine(), "seeds": len(SEEDS), "steps": settings.n_steps}
    return {**about, "spread of seeds": spread, "compared": found}


def by_library(settings: Settings) -> dict[str, object]:
    """Return how far products by PyTorch's default library lead apart, where the engine uses the other one."""
    conditions = {**MEASURED, "update projected": UPDATE_PROJECTED}
    fast = trained(settings, 1, conditions, LIBRARY_SEEDS)
    with patch.object(products, "are_exact", return_value=False):
        return difference(fast, trained(settings, 1, conditions, LIBRARY_SEEDS))


def render(result: Mapping[str, object]) -> str:
    """Return the comparison as Markdown."""
    rows = [
        (
            name,
            "yes" if d["identical"] else "no",
            f"{max(q['relative'] for q in d['quantities'].values()):.1e}",
            *(f"{d['of a run'][m]:.1e}" for m in MEASURES),
        )
        for name, d in result["compared"].items()
    ]
    spread = result["spread of seeds"]
    rows.append(("for comparison: standard deviation of seeds", "", "", *(f"{spread[m]:.1e}" for m in MEASURES)))
    head = ("what differs", "bit-identical", "largest relative difference of any quantity", "of an accuracy",
            "of a mean cosine")  # fmt: skip
    text = f"Torch {result['torch']}, {result['machine']}, {result['seeds']} seeds, {result['steps']} steps."
    return f"{table(head, rows)}\n\n{text}\n"


def main() -> None:
    """Measure and write."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--folder", type=Path, default=Path(__file__).parents[2] / "book" / "measured")
    words.add_argument("--against", nargs="*", default=[], metavar="NAME=FILE")
    words.add_argument("--save", type=Path)
    words.add_argument("--libraries", action="store_true")
    words.add_argument("--images", type=int, default=60_000, help="fewer for a trial")
    given = words.parse_args()
    size = {"n_train": given.images, "n_inputs": given.images, "batch_size": min(1024, given.images)}
    settings = Settings(**size, trait_batch_size=min(1024, given.images))
    if given.save:
        alone(settings, 1).assign_attrs(torch=torch.__version__).to_netcdf(given.save, engine="netcdf4")
        return
    file = given.folder / "determinism.json"
    if given.libraries:
        result = json.loads(file.read_text(encoding="utf-8"))
        result["compared"][f"MKL's products for oneDNN's, {len(LIBRARY_SEEDS)} seeds"] = by_library(settings)
    else:
        others = dict(word.split("=", 1) for word in given.against)
        result = measure(settings, {name: Path(path) for name, path in others.items()})
    given.folder.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (given.folder / "determinism.md").write_text(render(result), encoding="utf-8")


if __name__ == "__main__":
    main()
