"""Filling a store seed by seed, beside other processes that do the same."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import torch
import xarray as xr
from filelock import Timeout
from tqdm import tqdm

from sublim_utils.engine.files import locked
from sublim_utils.runs.provenance import provenance
from sublim_utils.runs.store import Store

__all__ = ["ASKED", "Advance", "DivergenceError", "Make", "MissingRunsError", "Place", "computed", "fill", "refuse"]

Advance = Callable[[int], object]
"""Called with the number of steps done, for a progress bar."""

Make = Callable[[int, Advance], xr.Dataset]
"""(seed, advance) -> the seed's dataset, without the dimension seed."""

ASKED = "SUBLIM_TRAIN"
"""The environment variable that, set to "yes", lets what the recorded store lacks be computed into it."""


class DivergenceError(ArithmeticError):
    """A training left the finite numbers; the message names condition, seed and step."""


class MissingRunsError(LookupError):
    """Runs are missing in a store that nothing is computed into unasked; the message names them."""


def refuse(root: Path, what: str) -> NoReturn:
    """Say that something which is not in a store is not computed unasked."""
    raise MissingRunsError(f"{root} lacks {what}; nothing is computed into it unasked, {ASKED}=yes asks")


def fill(
    root: Path,
    group: str,
    work: Mapping[int, int],
    missing: Callable[[int], object],
    make: Callable[[int, Advance], object],
    *,
    allowed: bool,
) -> None:
    """Make what each seed lacks, first those no other process is at, then waiting for the rest.

    Parameters
    ----------
    group : processes at the same group and seed exclude each other
    work : steps to do for each seed that lacks something
    missing : seed -> whether it still lacks something, asked under the lock
    make : (seed, advance) -> None
    allowed : whether anything may be made

    Raises
    ------
    MissingRunsError
        If something is to be done that is not allowed.
    DivergenceError
        If a training diverged; all other seeds are made first.
    """
    if not work:
        return  # nor is a folder of locks needed: the store may be read-only
    if not allowed:
        refuse(root, f"{group} of {len(work)} seeds {min(work)} to {max(work)}")
    (root / "locks").mkdir(parents=True, exist_ok=True)
    queue, failures = [(seed, 0) for seed in work], []
    with tqdm(total=sum(work.values()), unit="step", delay=2, desc=group.split("-")[0]) as bar:
        for seed, patience in queue:
            bar.set_description(f"{group.split('-')[0]}, seed {seed}", refresh=False)
            try:
                with locked(root / "locks" / f"{group}-{seed:04d}.lock", patience):
                    if missing(seed):
                        make(seed, bar.update)
            except Timeout:
                queue.append((seed, -1))
            except DivergenceError as error:
                failures.append(str(error))
    if failures:
        raise DivergenceError("; ".join(failures))


@dataclass(frozen=True)
class Place:
    """Where in a store the results of one computation lie, what describes them, and what computes them."""

    kind: str
    where: str
    about: Mapping[str, object]
    device: torch.device

    def save(self, store: Store, seed: int, dataset: xr.Dataset) -> None:
        """Store one seed's dataset, which has no dimension seed."""
        attributes = provenance(self.device, **self.about)
        store.save(self.kind, self.where, dataset.expand_dims(seed=[seed]).assign_attrs(attributes))


def computed(store: Store, place: Place, seeds: Sequence[int], make: Make, steps: int, *, allowed: bool) -> xr.Dataset:
    """Return what lies at a place, made as far as it is not stored, joined along seed.

    Parameters
    ----------
    steps : number of times that `make` advances the bar, for a seed
    allowed : as `fill`
    """

    def missing(seed: int) -> bool:
        return seed not in store.seeds(place.kind, place.where)

    def save(seed: int, advance: Advance) -> None:
        place.save(store, seed, make(seed, advance))

    held = set(store.seeds(place.kind, place.where))
    work = {seed: steps for seed in seeds if seed not in held}
    fill(store.root, f"{place.kind}-{place.where}", work, missing, save, allowed=allowed)
    return store.load(place.kind, place.where, seeds, place.about)
