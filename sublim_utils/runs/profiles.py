"""A profile: how large a replication is. A set of papermill parameters and nothing else."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sublim_utils.engine.files import root
from sublim_utils.settings import LANGUAGE_TASKS, N_SEEDS, Options, Settings, SettingsError, require

__all__ = ["FIRST_FRESH", "RECORDED", "Profile", "profile_parameters", "results_folder"]

RECORDED = "paper"
"""The profile, and the folder of results, whose runs are committed: that of the paper's scale."""

FIRST_FRESH = 100
"""In the recorded run, the first of the seeds that nobody had looked at when the primary tests' criteria were fixed."""


def results_folder(results: str | Path) -> Path:
    """Return the folder that `results` names, as a notebook sees it or the book's root, whatever the working directory.

    >>> results_folder("../results/laptop") == results_folder("results/laptop")
    True
    """
    return root() / str(results).removeprefix("../")


@dataclass(frozen=True, kw_only=True)
class Profile(Options):
    """The parameters of every chapter, checked before any work.

    Parameters
    ----------
    results : folder of the run store and the claims; its name is the profile's name
    n_seeds, n_grid_seeds : seeds of the ten tests' conditions, and of the others; the headline conditions beside the
        tests have the former where the grid is full; a point of a sweep has a third of the latter, a point of two
        axes two thirds, at least two each
    n_images : training images, and distillation inputs; the test set is a sixth of it
    batch_size, epochs : of teacher and students alike
    full_grid : every point of the grids, or the few that `Experiment.few` names

    Raises
    ------
    SettingsError
        If a parameter is unknown, of the wrong type or out of range.

    >>> Profile(results="results/laptop", n_seeds=0)
    Traceback (most recent call last):
        ...
    sublim_utils.settings.SettingsError: n_seeds = 0 is not allowed: it must be between 2 and 10000
    """

    results: str
    n_seeds: int = 4
    n_grid_seeds: int = 2
    n_images: int = 60_000
    batch_size: int = 1024
    epochs: int = 5
    full_grid: bool = False

    def check(self) -> None:
        """Refuse values out of range."""
        require("results", self.results, bool(self.name) and self.results.isprintable(), "a folder's path")
        self.between("n_seeds", 2, N_SEEDS)
        self.between("n_grid_seeds", 2, self.n_seeds)
        self.between("n_images", 60, 60_000)
        self.between("batch_size", 1, self.n_images)
        self.between("epochs", 2, 1000)

    @property
    def tiers(self) -> dict[str, int]:
        """How many seeds the experiments of each tier have.

        >>> Profile(results="results/paper", n_seeds=100, n_grid_seeds=30, full_grid=True).tiers
        {'main': 100, 'beside': 100, 'grid': 30, 'cross': 20, 'sweep': 10}
        """
        beside = self.n_seeds if self.full_grid else self.n_grid_seeds
        few = {"cross": max(2, self.n_grid_seeds * 2 // 3), "sweep": max(2, self.n_grid_seeds // 3)}
        return {"main": self.n_seeds, "beside": beside, "grid": self.n_grid_seeds, **few}

    def seeds(self, tier: str) -> range:
        """Return the seeds of a tier: from 0, in the recorded run from `FIRST_FRESH`.

        >>> recorded = Profile(results="results/paper", n_seeds=100, n_grid_seeds=30)
        >>> recorded.seeds("grid"), Profile(results="results/laptop").seeds("sweep")
        (range(100, 130), range(0, 2))
        """
        first = FIRST_FRESH if self.name == RECORDED else 0
        return range(first, first + self.tiers[tier])

    @property
    def name(self) -> str:
        """The profile's name: the last part of the results folder."""
        return self.results.rstrip("/").rsplit("/", 1)[-1]

    @classmethod
    def of_parameters(cls, *, device: str = "auto", **parameters: object) -> Self:
        """Return the profile of a set of papermill parameters, which name a device beside it.

        `results` is written as a notebook sees it, one folder down; here it is seen from the book's root.
        """
        del device
        if isinstance(results := parameters.get("results"), str):
            parameters["results"] = results.removeprefix("../")
        return cls.of(**parameters)

    def settings(self, **changes: object) -> Settings:
        """Return the paper's settings at this profile's size, with some changes; of a task of language its own."""
        if changes.get("task") in LANGUAGE_TASKS:
            return Settings.of_language(**{**self.language_size(), **changes})
        size = {
            "n_train": self.n_images,
            "n_inputs": self.n_images,
            "n_test": self.n_images // 6,
            "batch_size": self.batch_size,
            "trait_batch_size": min(Settings.trait_batch_size, self.batch_size),
            "teacher_epochs": self.epochs,
            "student_epochs": self.epochs,
        }
        return Settings.of(**{**size, **changes})

    def language_size(self) -> dict[str, int]:
        """Return the sizes of the language task: its own, fewer in proportion to this profile's images and batches.

        >>> Profile(results="results/laptop").language_size() == {"student_epochs": 5}
        True
        """
        full, images, batch = Settings.of_language(), self.n_images / 60_000, self.batch_size / Settings.batch_size
        numbers = ("n_train", "n_test", "n_inputs", "reference_steps")
        size = {name: max(1, round(getattr(full, name) * images)) for name in numbers}
        most = min(size["n_train"], size["n_inputs"])
        for name in ("batch_size", "trait_batch_size"):
            size[name] = min(most, max(1, round(getattr(full, name) * min(1.0, batch))))
        changed = {name: n for name, n in size.items() if n != getattr(full, name)}
        return {**changed, "student_epochs": self.epochs}


def profile_parameters(path: str | Path, name: str) -> dict[str, object]:
    """Return the papermill parameters that ``profiles.toml`` gives a profile.

    Raises
    ------
    SettingsError
        If there is no such profile, its folder of results has not its name, such as another's that was copied with
        the rest, or the file is damaged.
    """
    try:
        profiles = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:  # of TOML, or of UTF-8
        raise SettingsError(f"{path} can't be read as TOML: {error}") from error
    known = sorted(n for n, values in profiles.items() if isinstance(values, dict))
    if name not in known:
        raise SettingsError(f"profile = {name!r} is not allowed: it must be one of {known}, which {path} has")
    results = profiles[name].get("results", name)
    is_its_own = not isinstance(results, str) or results.rstrip("/").rsplit("/", 1)[-1] == name
    require("results", results, is_its_own, f"a folder named {name}, the profile's own")
    parameters: dict[str, object] = profiles[name]
    return parameters
