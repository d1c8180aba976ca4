"""Part 1: the whole experiment of the first chapter, a teacher and its four students, by each candidate.

A run takes minutes, so its parts are timed in alternation and added up:

seconds per seed = (noise + targets + steps x (teacher step + student step)
                    + (epochs + 1) x teacher evaluation + points x student evaluation) / seeds at once

with steps = epochs x images / batch size, so the last, smaller batch of an epoch counts by its share.
"""

import traceback
from collections.abc import Callable, Mapping

from bench.candidates import PARTS, Candidate, of_compiled, of_jax, of_ours, of_public
from bench.clock import alternate, ratios, spread
from bench.setting import Bench
from sublim_utils.engine.students import Training, Untracked
from sublim_utils.settings import Settings

CANDIDATES: dict[str, Callable[[Bench], Candidate]] = {
    "public script's method": of_public,
    "vmap + torch.compile": of_compiled,
    "JAX jit": of_jax,
    "ours": lambda bench: of_ours(bench, Untracked),
    "ours, tracked": lambda bench: of_ours(bench, Training),
}


def counts(settings: Settings) -> dict[str, float]:
    """Return how often each of PARTS is done in the experiment.

    >>> counts(Settings())["student evaluation"]
    15
    """
    return {
        "teacher step": settings.teacher_epochs * settings.n_train / settings.batch_size,
        "student step": settings.student_epochs * settings.n_inputs / settings.batch_size,
        "teacher evaluation": settings.teacher_epochs + 1,
        "student evaluation": len(settings.eval_steps()),
    }


def totals(candidate: Candidate, times: Mapping[str, list[float]], settings: Settings) -> list[float]:
    """Return the seconds per seed of the whole experiment, by each round's times of the parts."""
    often, once = counts(settings), sum(candidate.once.values())
    rounds = zip(*(times[part] for part in PARTS), strict=True)
    return [
        (once + sum(often[part] * s for part, s in zip(PARTS, row, strict=True))) / candidate.n_seeds for row in rounds
    ]


def present(bench: Bench) -> tuple[dict[str, Candidate], dict[str, str]]:
    """Return the candidates that can be run here, and why the others can't."""
    able, absent = {}, {}
    for name, make in CANDIDATES.items():
        try:
            able[name] = make(bench)
        except Exception as error:  # noqa: BLE001 (no compiler, no JAX: whatever the reason, the page says it)
            traceback.print_exc()
            absent[name] = f"not measured: {type(error).__name__}"
    return able, absent


def measure(bench: Bench) -> dict[str, object]:
    """Return the parts' seconds, the whole's, and its ratios to ours, by candidate."""
    settings, (able, absent) = bench.size.settings, present(bench)
    tasks = {f"{name}|{part}": c.tasks[part] for part in PARTS for name, c in able.items()}
    times = alternate(tasks, bench.size.rounds)
    whole, rows = {}, {}
    for name, c in able.items():
        seconds_of = {part: times[f"{name}|{part}"] for part in PARTS}
        whole[name] = totals(c, seconds_of, settings)
        parts = {part: spread(s / c.n_seeds for s in seconds) for part, seconds in seconds_of.items()}
        rows[name] = {
            "n_seeds": c.n_seeds, "note": c.note, "compile": c.compile, "parts": parts,
            "once": {k: v / c.n_seeds for k, v in c.once.items()}, "seconds": spread(whole[name]),
        }  # fmt: skip
        c.close()
    for name, row in rows.items():
        row["over ours"] = ratios(whole[name], whole["ours"])
    return {"counts": counts(settings), "candidates": rows, "absent": absent}
