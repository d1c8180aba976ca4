"""`python -m bench`: measure, write bench/results.json and the page book/measured/bench.md."""

import argparse
import datetime
import json
import os
import platform
import sys
import traceback
from pathlib import Path

import torch

from bench import bfloat16, growth, language, modules, processes, render, roofline, tracked, whole
from bench.setting import FULL, QUICK, Bench
from sublim_utils.engine.files import write_atomically

HERE = Path(__file__).parent
RESULTS, BOOK = HERE / "results.json", HERE / "book.json"
PAGE = HERE.parent / "book" / "measured" / "bench.md"
QUICK_FOLDER = HERE.parent / "_build" / "bench"
MEASURES = {
    "whole": whole.measure, "tracked": tracked.measure, "roofline": roofline.measure, "growth": growth.measure,
    "processes": processes.measure, "bfloat16": bfloat16.measure, "modules": modules.measure,
    "language": language.measure,
}  # fmt: skip


def processor() -> str:
    """Return the CPU's name and the number of its cores."""
    path, name = Path("/proc/cpuinfo"), platform.machine()
    if path.exists():
        names = [line.split(": ")[1] for line in path.read_text().splitlines() if line.startswith("model name")]
        name = names[0] if names else name
    return f"{name} ({os.cpu_count()} cores)"


def measured(bench: Bench, name: str) -> dict[str, object]:
    """Return one part's results, or why there are none."""
    sys.stderr.write(f"bench: {name}\n")
    try:
        return MEASURES[name](bench)
    except Exception as error:  # noqa: BLE001 (the other parts are still worth having)
        traceback.print_exc()
        return {"not measured": f"{type(error).__name__}: {error}".splitlines()[0]}


def about(bench: Bench) -> dict[str, object]:
    """Return what a reader needs to know of how it was measured."""
    cuda = bench.device.type == "cuda"
    return {
        "quick": bench.size == QUICK,
        "device": torch.cuda.get_device_name(bench.device) if cuda else processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "made": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def read(path: Path) -> dict | None:
    """Return a JSON file's content, None if there is no such file."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def write_page(results: dict[str, object], path: Path = PAGE) -> None:
    """Write the page of these results and of the book's parts."""
    write_atomically(path, render.page(results, read(BOOK)).encode())


def main() -> None:
    """Run the parts asked for; the other device's results, and parts not asked for, stay."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, into _build/bench: does it work?")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--only", nargs="*", default=list(MEASURES), choices=list(MEASURES))
    parser.add_argument("--render", action="store_true", help="measure nothing: write the page anew")
    chosen = parser.parse_args()
    quick, device = chosen.quick, chosen.device
    path, page = (QUICK_FOLDER / "results.json", QUICK_FOLDER / "bench.md") if quick else (RESULTS, PAGE)
    results = read(path) or {}
    if not chosen.render:
        if not quick:  # a compile time that the last run's cache made is none
            os.environ["TORCHINDUCTOR_FORCE_DISABLE_CACHES"] = "1"
        bench = Bench(QUICK if quick else FULL, torch.device(device))
        kept = results.get(device, {}) | {name: measured(bench, name) for name in chosen.only}
        parts = {name: kept[name] for name in MEASURES if name in kept}
        results[device] = {"about": about(bench), **parts}
        write_atomically(path, (json.dumps(results, indent=1) + "\n").encode())
    write_page(results, page)


if __name__ == "__main__":
    main()
