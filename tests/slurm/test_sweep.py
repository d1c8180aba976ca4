"""The Snakefile on a real Slurm: a killed job goes on, and the store is that of a local run."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import xarray as xr

from sublim_utils.runs.store import Store
from tests.slurm.conftest import PATIENCE, Slurm, end, wait_for
from tests.sources import copy_of_sources

LONG, SHORT = (f"results/smoke/manifests/{job}.json" for job in ("phenomenon/0-8", "alignment/0-1"))
COMMON = ("--config", "profile=smoke", "--set-threads", "runs=1")  # sums split over threads differ in the last bits
ON_SLURM = ("--profile", "cluster/slurm", "--slurm-init-seconds-before-status-checks", "3")

Snakemake = Callable[..., subprocess.Popen]


@pytest.fixture
def snakemake(slurm: Slurm) -> Iterator[Snakemake]:
    """Start snakemake for the two jobs in a folder, its output in the folder's log; none is left running."""
    started = []

    def start(folder: Path, *flags: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "snakemake", LONG, SHORT, *COMMON, *flags]
        with (folder / "log").open("w") as log:
            started.append(subprocess.Popen(command, cwd=folder, env=slurm.environment, stdout=log, stderr=log))
        return started[-1]

    yield start
    for process in started:
        end(process)


def stored(folder: Path, kind: str = "*") -> set[Path]:
    """Return the files of the store; a file's name carries the sum of its bytes."""
    return set((folder / "results" / "smoke").glob(f"{kind}/*/seeds-*.nc"))


def numbers(folder: Path) -> dict[tuple[str, str, range], dict[str, bytes]]:
    """Return all variables by kind, address and seeds; not the attributes, which say when and where."""
    root, found = folder / "results" / "smoke", {}
    for kind, where in {(path.parts[-3], path.parts[-2]) for path in stored(folder)}:
        for seeds, path in Store(root).files(kind, where):
            assert (kind, where, seeds) not in found, "a run was trained twice"
            with xr.open_dataset(path, engine="netcdf4") as dataset:
                found[kind, where, seeds] = {name: v.values.tobytes() for name, v in dataset.variables.items()}
    return found


def test_a_killed_job_goes_on_and_the_store_is_that_of_a_local_run(tmp_path: Path, slurm: Slurm, snakemake: Snakemake):
    shared = copy_of_sources(tmp_path / "shared", "cluster")
    log = shared / "log"
    first = snakemake(shared, *ON_SLURM)
    job = wait_for("the long job runs", lambda: slurm.running("phenomenon_0_8"), [log])
    wait_for("a student is stored", lambda: stored(shared, "students"), [log])
    slurm.ask("scancel", job)
    assert first.wait(PATIENCE) != 0, log.read_text()
    assert f"'{job}' failed, SLURM status is: 'CANCELLED'" in log.read_text()
    assert not (shared / LONG).exists(), "the job ended before it could be killed"
    assert (shared / SHORT).exists(), log.read_text()
    kept = stored(shared)

    assert snakemake(shared, *ON_SLURM).wait(PATIENCE) == 0, log.read_text()
    assert (shared / LONG).exists()
    assert kept < stored(shared), "what was stored before the kill stays, the rest was trained"

    local = copy_of_sources(tmp_path / "local", "cluster")
    assert snakemake(local, "--cores", "2").wait(PATIENCE) == 0, (local / "log").read_text()
    here, there = numbers(local), numbers(shared)
    assert here.keys() == there.keys()
    assert [run for run in here if here[run] != there[run]] == []
