"""What a store lacks of the runs that a profile asks for, and how long it would take to train."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sublim_utils.runs.addresses import student_address
from sublim_utils.runs.experiments import EXPERIMENTS, run_at
from sublim_utils.runs.profiles import Profile
from sublim_utils.runs.store import Store
from sublim_utils.settings import require

__all__ = ["Lack", "about", "lacking", "recorded_seconds", "report", "unasked"]


@dataclass(frozen=True)
class Lack:
    """Students of an experiment that are not there; `seconds`: of training by one process, None if not known."""

    experiment: str
    students: int
    seconds: float | None

    def __str__(self) -> str:
        return f"{self.experiment:<24} {self.students:>6} students{about(self.seconds)}"


def about(seconds: float | None) -> str:
    """Return a time in words.

    >>> about(5400.0), about(None)
    (', about 1.5 h', '')
    """
    if seconds is None:
        return ""
    return f", about {seconds / 3600:.1f} h" if seconds >= 3600 else f", about {max(1, round(seconds / 60))} min"


def recorded_seconds(results: Path) -> dict[str, float]:
    """Return the mean seconds of a student's training by address, as far as ``provenance.json`` tells."""
    try:
        rows = json.loads((results / "provenance.json").read_text(encoding="utf-8"))
        return {row["address"]: float(row["seconds"]) for row in rows if "seconds" in row}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def lacking(profile: Profile, results: Path) -> list[Lack]:
    """Return what the store in `results` lacks, an experiment a row; a student that several share counts once."""
    store, seconds = Store(results), recorded_seconds(results)
    lacks: list[Lack] = []
    seen: set[tuple[str, int]] = set()
    usual = sum(seconds.values()) / len(seconds) if seconds else None
    for name in run_at(profile):
        settings, conditions = EXPERIMENTS[name].at(profile)
        wanted = set(EXPERIMENTS[name].seeds(profile))
        where = {student_address(settings, condition) for condition in conditions.values()}
        absent = {(w, seed) for w in where for seed in wanted - set(store.seeds("students", w))} - seen
        seen |= absent
        if absent:
            time = None if usual is None else sum(seconds.get(w, usual) for w, _ in absent)
            lacks.append(Lack(name, len(absent), time))
    return lacks


def unasked(lacks: Iterable[Lack], asked: str) -> list[Lack]:
    """Return what is missing and is not asked for by "yes" (all), "no" (nothing), or names joined by commas.

    Raises
    ------
    SettingsError
        If a name is no experiment's.

    >>> [lack.experiment for lack in unasked([Lack("causal", 2, None), Lack("liminal", 4, None)], "causal")]
    ['liminal']
    """
    names = () if asked in ("yes", "no") else tuple(asked.split(","))
    for name in names:
        require("TRAIN", name, name in EXPERIMENTS, f"yes, no, or of {sorted(EXPERIMENTS)} some joined by commas")
    return [lack for lack in lacks if asked != "yes" and lack.experiment not in names]


def report(lacks: Iterable[Lack], results: Path) -> str:
    """Return what is missing, in words, and how to have it trained."""
    rows = list(lacks)
    times = [row.seconds for row in rows if row.seconds is not None]
    whole = Lack("in all", sum(row.students for row in rows), sum(times) if len(times) == len(rows) else None)
    lines = "\n".join(f"  {row}" for row in (*rows, whole))
    return (
        f"{results} lacks runs, and nothing is trained into it unasked (times are those of one process):\n{lines}\n"
        "`make paper TRAIN=yes` trains them, TRAIN=name,name those of some experiments; "
        "`git checkout` brings back what was deleted."
    )
