"""The seeded faults of ``mutants.toml``, and a copy of the sources to seed them in."""

import shutil
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path

from tests.sources import ROOT

GOALS = {"notebooks": 0.9, "unit tests": 1.0}
"""The share of the faults that each is to notice alone."""


@dataclass(frozen=True)
class Fault:
    """`before` in `file` becomes `after`; `chapter` and `tests` ought to notice."""

    name: str
    file: str
    before: str
    after: str
    chapter: str
    tests: str

    def seed(self, folder: Path) -> None:
        """Change the file in a copy of the sources.

        Raises
        ------
        ValueError
            If what is to be changed is not there exactly once.
        """
        path = folder / self.file
        text = path.read_text(encoding="utf-8")
        if (times := text.count(self.before)) != 1:
            raise ValueError(f"{self.name}: {self.before!r} stands {times} times in {self.file}, not once")
        path.write_text(text.replace(self.before, self.after), encoding="utf-8")


FAULTS = {
    name: Fault(name, **entry)
    for name, entry in tomllib.loads(Path(__file__).with_name("mutants.toml").read_text(encoding="utf-8")).items()
}


def scratch(folder: Path) -> Path:
    """Copy every file of the repository that git knows or would add into `folder`; return it."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder
