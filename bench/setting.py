"""The size of a bench and what all its parts share: images, settings, stand-in teachers."""

from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from sublim_utils.engine import data
from sublim_utils.engine.architectures import network_of
from sublim_utils.engine.digits import Digits, references
from sublim_utils.engine.ensemble import Ensemble
from sublim_utils.engine.seeds import generator
from sublim_utils.runs.experiments import EXPERIMENTS
from sublim_utils.settings import Condition, Settings

TEACHER_SHIFT = 0.1
"""Size of the stand-in teachers' displacement, in units of the initial weights'."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is measured.

    Parameters
    ----------
    n_seeds : models that batching candidates train at once; even, so that seeds pair up
    rounds, steps : rounds of alternation, and steps in each
    seeds_grown, conditions_grown : points of the growth tables
    grown_inputs : noise images a seed where 64 seeds are batched: all of them would not fit
    cosines : steps on which bfloat16 is compared with float32
    """

    settings: Settings = Settings()
    language: Settings = field(default_factory=Settings.of_language)
    n_seeds: int = 4
    rounds: int = 10
    steps: int = 3
    seeds_grown: tuple[int, ...] = (1, 4, 16, 64)
    conditions_grown: tuple[int, ...] = (1, 4, 16)
    grown_inputs: int = 2048
    cosines: int = 60


FULL = Size()
QUICK = Size(
    settings=Settings(
        hidden=(64, 64), n_train=4096, n_inputs=4096, n_test=1000, batch_size=256, trait_batch_size=256,
        teacher_epochs=2, student_epochs=2,
    ),
    language=Settings.of_language(
        width=8, n_layers=1, n_train=64, n_test=40, n_inputs=64, batch_size=32, trait_batch_size=32, reference_steps=2,
    ),
    n_seeds=2, rounds=3, steps=2, seeds_grown=(1, 2, 4), conditions_grown=(1, 2), grown_inputs=512, cosines=8,
)  # fmt: skip
"""Seconds: shows that every part works, and nothing about speed."""


def stand_in_teachers(settings: Settings, seeds: list[int], device: torch.device) -> dict[str, Tensor]:
    """Return something like teachers, (seed, 1, P), by kind: how far a teacher got does not change a step's time."""
    network, start = network_of(settings), references(settings, seeds, device)
    shifts = torch.stack([network.initial(generator(s, "bench-teacher"), TEACHER_SHIFT) for s in seeds])
    thetas = start + shifts.unsqueeze(1).to(device)
    return {"own": thetas, "other": thetas.roll(1, 0) if len(seeds) > 1 else thetas.flip(-1)}


def four_students() -> dict[str, Condition]:
    """Return the students of the first chapter."""
    return dict(EXPERIMENTS["phenomenon"].conditions)


def projected(n: int) -> dict[str, Condition]:
    """Return n students whose gradient is projected, each at a strength of its own."""
    return {f"projected {i}": Condition(projection=1.0 - 0.5 * i / n) for i in range(n)}


@dataclass(frozen=True)
class Bench:
    """One bench: its size, its device, and the images."""

    size: Size
    device: torch.device

    @cached_property
    def images(self) -> data.Images:
        """The real images."""
        return data.load("mnist")

    def task(self, **changes: int) -> Digits:
        """Return the task under the bench's settings with some changes."""
        return Digits(replace(self.size.settings, **changes), self.images, self.device)

    def ensemble(self, conditions: dict[str, Condition], seeds: list[int], **changes: int) -> Ensemble:
        """Return our ensemble of these students with stand-in teachers, under settings with some changes."""
        settings = replace(self.size.settings, **changes)
        teachers = stand_in_teachers(settings, seeds, self.device)
        return Ensemble(self.task(**changes), conditions, seeds, teachers)
