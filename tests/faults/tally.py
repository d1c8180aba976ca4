"""What the faults' tests count, and the part of the reproduce page made from it."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

MEASURED = Path(__file__).parents[2] / "book" / "measured"
KINDS = {
    "kills": "processes killed (SIGKILL) at random moments or while writing, each resumed to the undisturbed result",
    "damaged": "files truncated, emptied, replaced or with one bit flipped, each detected by name",
    "disks": "writes to full disks and uses of read-only folders",
    "mirrors": "downloads from mirrors that lie, stall or are not there",
    "refused": "wrong options, parameters and seeds, each refused by name before any work",
    "fuzzed": "random settings and conditions, each refused by name or trained one step to finite numbers",
}

counts: Counter[str] = Counter()


def render(figures: Mapping[str, int]) -> str:
    """Return the figures as a Markdown table."""
    rows = [f"| {KINDS[kind]} | {figures[kind]} |" for kind in KINDS]
    return "\n".join(["| faults injected by `make test-faults`, all survived | times |", "| --- | --- |", *rows, ""])


def write(figures: Mapping[str, int], folder: Path = MEASURED) -> None:
    """Write faults.json and faults.md."""
    folder.mkdir(exist_ok=True)
    ordered = {kind: figures[kind] for kind in KINDS}
    (folder / "faults.json").write_text(json.dumps(ordered, indent=1) + "\n", encoding="utf-8")
    (folder / "faults.md").write_text(render(ordered), encoding="utf-8")
