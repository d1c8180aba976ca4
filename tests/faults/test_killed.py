"""Processes killed at random moments, two at once: what is read in the end is the undisturbed result."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from sublim_utils.book import chapters
from sublim_utils.runs.store import Store
from tests.faults import tally
from tests.faults.conftest import ENVIRONMENT, PROFILES, ROOT, RUN, Forked, Workplace
from tests.sources import copy_of_sources, makefile_flags

KILLS = 20


def unfinished(folder: Path) -> bool:
    return any(folder.glob("results/*/*/.unfinished-*"))


def killed(child: subprocess.Popen | Forked, folder: Path, after: float, while_writing: bool) -> bool:
    """Kill a process after some seconds, or then at the next file it writes; say whether it was still there."""
    deadline = time.monotonic() + after
    before = {path.name for path in folder.glob("results/*/*/.unfinished-*")}
    while child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)
    while while_writing and child.poll() is None:
        if {path.name for path in folder.glob("results/*/*/.unfinished-*")} - before:
            break
    child.kill()
    return child.wait() == -signal.SIGKILL


def test_a_run_killed_at_random_moments_goes_on_to_the_undisturbed_result(tmp_path, forks, undisturbed):
    expected, moments, kills, rounds, writing = undisturbed.numbers(), random.Random(8), 0, 0, 0
    latest = undisturbed.seconds  # follows what the machine and the store leave to do, so that most kills meet a run
    while kills < KILLS:
        place, rounds = Workplace(tmp_path / f"round {rounds}", forks), rounds + 1
        ended = False
        while kills < KILLS and not ended:
            # Every fifth is a fresh interpreter, which spends most of its time on imports; the rest are forked.
            child = place.start(*RUN) if kills % 5 == 0 else place.forked(*RUN)
            moment = moments.uniform(0, latest) + (kills % 5 == 0)
            ended = not killed(child, place.folder, 0 if kills % 4 == 3 else moment, kills % 4 == 3)
            assert not ended or child.poll() == 0, place.logged()
            latest *= 0.7 if ended else 1.2
            kills += not ended
            writing += not ended and unfinished(place.folder)
            held = place.numbers()
            assert held.items() <= expected.items()
            assert ended or not (place.folder / "manifest.json").exists() or len(held) == len(expected)
        assert place.call(*RUN).code == 0
        assert place.numbers() == expected
        assert (place.folder / "manifest.json").read_bytes() == (undisturbed.folder / "manifest.json").read_bytes()
    assert writing, "no kill met a file in the making"
    tally.counts["kills"] += kills


def test_two_processes_fill_one_store_without_loss_or_double_work(place, undisturbed):
    children = [place.start(*RUN) for _ in range(2)]
    assert [child.wait() for child in children] == [0, 0], (place.folder / "log").read_text()
    assert place.numbers() == undisturbed.numbers()  # which refuses what is there twice


def test_a_killed_chapter_leaves_no_notebook_and_is_executed_again(place):
    shutil.copytree(ROOT / "notebooks", place.folder / "notebooks")
    (place.folder / "profiles.toml").write_text(PROFILES.replace('"results"', '"../results"'))
    words = (
        "execute",
        "notebooks/01_phenomenon.ipynb",
        "out/01.ipynb",
        "--profiles",
        "profiles.toml",
        "--profile",
        "results",
    )
    child, output = place.start(*words), place.folder / "out" / "01.ipynb"
    while child.poll() is None and not list(place.folder.glob("results/students/*/*.nc")):
        time.sleep(0.01)
    child.kill()
    assert child.wait() == -signal.SIGKILL, (place.folder / "log").read_text()
    assert not output.exists()
    kept = place.numbers()
    done = place.call(*words)
    assert done.code == 0, done.output
    chapters.check_executed([output])
    assert kept.items() <= place.numbers().items()
    assert place.call("collect", "results").code == 0
    tally.counts["kills"] += 1


def test_a_killed_snakemake_goes_on_when_the_command_is_repeated(tmp_path, mnist):
    copy_of_sources(tmp_path)
    wanted = "results/smoke/manifests/phenomenon/0-2.json"
    command = [sys.executable, "-m", "snakemake", wanted, *makefile_flags(), "profile=smoke"]
    environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": str(tmp_path)}
    environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    quiet = {"cwd": tmp_path, "env": environment, "stdout": subprocess.DEVNULL}
    with (tmp_path / "log").open("ab") as log:
        child = subprocess.Popen(command, start_new_session=True, stderr=log, **quiet)
        while child.poll() is None and not list(tmp_path.glob("results/smoke/students/*/*.nc")):
            time.sleep(0.01)
        os.killpg(child.pid, signal.SIGKILL)  # it, its job and the job's command at once
        assert child.wait() == -signal.SIGKILL, (tmp_path / "log").read_text()
        assert not (tmp_path / wanted).exists()
        held = set(tmp_path.glob("results/smoke/*/*/*.nc"))
        done = subprocess.run(command, stderr=log, check=False, **quiet)
    assert done.returncode == 0, (tmp_path / "log").read_text()
    assert (tmp_path / wanted).exists()
    assert held < set(tmp_path.glob("results/smoke/*/*/*.nc"))
    store = Store(tmp_path / "results" / "smoke")
    assert [store.seeds("students", where) for where in store.addresses("students")] == [[0, 1]] * 4
    tally.counts["kills"] += 1
