"""A copy of what the pipeline needs, and the way the Makefile calls it."""

import shutil
from pathlib import Path

ROOT = Path(__file__).parents[1]
PIPELINE = ("Snakefile", "profiles.toml", "_toc.yml", "sublim_utils")


def copy_of_sources(folder: Path, *more: str) -> Path:
    """Copy the pipeline's files, and more of the repository's, into `folder`; the repository's own results stay."""
    folder.mkdir(exist_ok=True)
    for name in (*PIPELINE, *more):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        copy(ROOT / name, folder / name)
    return folder


def makefile_flags() -> list[str]:
    """Return the flags with which the Makefile calls snakemake, without its display; they end with ``--config``."""
    lines = (ROOT / "Makefile").read_text(encoding="utf-8").splitlines()
    line = next(line for line in lines if line.startswith("SNAKEMAKE :="))
    return line.replace("--logger rich ", "").split()[5:]
