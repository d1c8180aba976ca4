"""Part 6: the time from an empty cache to the built book, by part; writes bench/book.json and the page.

`python -m bench.parts` clones the last commit into a temporary folder, runs `make setup` and
`make book` there with an empty cache of images, and reads what snakemake noted of its jobs.
"""

import argparse
import datetime
import json
import os
import subprocess
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from bench.__main__ import BOOK, RESULTS, read, write_page
from bench.workers import ROOT
from sublim_utils.engine.files import write_atomically

NAMES = {"runs": "training", "chapter": "chapters", "first": "first pages", "claims": "claims", "html": "pages"}
"""What snakemake's rules do, in the order of the table."""


def taken(target: str, folder: Path, profile: str) -> float:
    """Return the seconds that `make target` takes in a clone with no images in its cache."""
    environment = {**os.environ, "SUBLIM_DATA": str(folder / "images")}
    start = time.monotonic()
    subprocess.run(["make", target, f"PROFILE={profile}"], cwd=folder / "clone", env=environment, check=True)
    return time.monotonic() - start


def jobs(clone: Path) -> list[dict[str, object]]:
    """Return the number and the seconds of snakemake's jobs by rule, as its own notes of each output have them."""
    spans = defaultdict(set)
    for path in (clone / ".snakemake" / "metadata").iterdir():
        note = json.loads(path.read_text(encoding="utf-8"))
        spans[note["rule"]].add((note["starttime"], note["endtime"]))
    return [
        {"name": name, "jobs": len(spans[rule]), "seconds": sum(stop - start for start, stop in spans[rule])}
        for rule, name in NAMES.items()
        if spans[rule]
    ]


def main() -> None:
    """Measure, and write the figures and the page."""
    parser = argparse.ArgumentParser(prog="bench.parts", description=__doc__)
    parser.add_argument("--profile", default="laptop")
    profile = parser.parse_args().profile
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder / "clone")], check=True)
        setup, book = taken("setup", folder, profile), taken("book", folder, profile)
        again = taken("book", folder, profile)
        parts = [{"name": "installation", "jobs": 1, "seconds": setup}, *jobs(folder / "clone")]
        whole = [("make book, whole", book), ("make book, again", again)]
        parts += [{"name": text, "jobs": 1, "seconds": seconds} for text, seconds in whole]
    made = datetime.datetime.now(datetime.UTC).date().isoformat()
    measured = {"profile": profile, "made": made, "book": book, "parts": parts}
    write_atomically(BOOK, (json.dumps(measured, indent=1) + "\n").encode())
    write_page(read(RESULTS) or {})


if __name__ == "__main__":
    main()
