"""Filling a store seed by seed, beside other processes that do the same."""

from collections.abc import Callable, Mapping
from pathlib import Path

from filelock import FileLock, Timeout
from tqdm import tqdm

__all__ = ["Advance", "DivergenceError", "fill"]

Advance = Callable[[int], object]
"""Called with the number of steps done, for a progress bar."""


class DivergenceError(ArithmeticError):
    """A training left the finite numbers; the message names condition, seed and step."""


def fill(
    root: Path,
    group: str,
    work: Mapping[int, int],
    missing: Callable[[int], object],
    make: Callable[[int, Advance], object],
) -> None:
    """Make what each seed lacks, first those no other process is at, then waiting for the rest.

    Parameters
    ----------
    group : processes at the same group and seed exclude each other
    work : steps to do for each seed that lacks something
    missing : seed -> whether it still lacks something, asked under the lock
    make : (seed, advance) -> None

    Raises
    ------
    DivergenceError
        If a training diverged; all other seeds are made first.
    """
    if not work:
        return  # nor is a folder of locks needed: the store may be read-only
    (root / "locks").mkdir(parents=True, exist_ok=True)
    queue, failures = [(seed, 0) for seed in work], []
    with tqdm(total=sum(work.values()), unit="step", delay=2, desc=group.split("-")[0]) as bar:
        for seed, patience in queue:
            bar.set_description(f"{group.split('-')[0]}, seed {seed}", refresh=False)
            try:
                with FileLock(root / "locks" / f"{group}-{seed:04d}.lock", timeout=patience):
                    if missing(seed):
                        make(seed, bar.update)
            except Timeout:
                queue.append((seed, -1))
            except DivergenceError as error:
                failures.append(str(error))
    if failures:
        raise DivergenceError("; ".join(failures))
