"""Our engine as the bench calls it: teachers, whose loop is timed from outside."""

import time

from bench.clock import Task, synchronise
from bench.setting import Bench
from sublim_utils.engine import teachers


class Enough(Exception):  # noqa: N818 (no error: it ends a training that has been watched long enough)
    """Enough steps were timed."""


class Watch:
    """Counts a training's steps and times `steps` of them, after a first one that fetches the memory."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.count, self.start, self.seconds = bench, 0, 0.0, 0.0

    def advance(self) -> None:
        """Be told that a step was taken."""
        self.count += 1
        if self.count == 1:
            synchronise(self.bench.device)
            self.start = time.perf_counter()
        if self.count == 1 + self.bench.size.steps:
            synchronise(self.bench.device)
            self.seconds = (time.perf_counter() - self.start) / self.bench.size.steps
            raise Enough


def teacher_task(bench: Bench, seeds: list[int]) -> Task:
    """Return a task that times steps of the engine's own teacher training, and then breaks it off."""

    def task() -> float:
        watch = Watch(bench)
        try:
            teachers.train_teachers(bench.task(), seeds, advance=watch.advance)
        except Enough:
            return watch.seconds
        raise AssertionError("a teacher's training is shorter than what is to be timed")

    return task
