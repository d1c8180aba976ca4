"""What a network is trained on: what the engine asks of a task, and the task that settings name."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from sublim_utils.engine import data
from sublim_utils.engine.digits import Digits
from sublim_utils.engine.network import Network
from sublim_utils.engine.words import Words
from sublim_utils.settings import LANGUAGE_TASKS, Condition, Settings

__all__ = ["Task", "task_of"]


class Task(Protocol):
    """A network's start, the labelled examples behind the trait, what a student is distilled on, how it is judged.

    An input gives one row of logits or several; a labelled example gives one.
    """

    settings: Settings
    device: torch.device
    network: Network
    x: Tensor
    """The labelled examples, (n_train, ...)."""
    evaluated: Mapping[str, tuple[tuple[str, ...], str]]
    """What an evaluation measures: dimensions beside (seed, condition), and what it is."""
    sizes: Mapping[str, int]
    """The lengths of these dimensions, but for "eval"."""

    def references(self, seeds: Sequence[int]) -> Tensor:
        """Return theta_0 of each seed, (seed, 1, P)."""

    def answers(self, seed: int, kind: str) -> Tensor:
        """Return the labels (n_train,) of a seed, "true" or "shuffled"."""

    def inputs(self, seed: int) -> tuple[Tensor, Tensor]:
        """Return a seed's distillation inputs (n_inputs, ...) and held-out ones."""

    def written(self, seed: int, theta: Tensor) -> tuple[Tensor, Tensor] | None:
        """Return inputs (n_inputs, ...) that a teacher (P,) makes itself, and the logit that each row asks for.

        None where it makes none: then students imitate its probabilities on `inputs`.
        """

    def distilled(self, condition: Condition) -> Tensor:
        """Return which logits a student is distilled on, as booleans."""

    def named_logits(self, name: str) -> Tensor:
        """Return which logits "aux", "class" or "all" means, as booleans."""

    def evaluate(self, theta: Tensor, seeds: Sequence[int]) -> dict[str, Tensor]:
        """Return every quantity of `evaluated` for theta (seed, condition, P)."""


def task_of(settings: Settings, device: torch.device = torch.device("cpu")) -> Task:
    """Return the task that settings name, on a device; images are fetched if need be."""
    if settings.task in LANGUAGE_TASKS:
        return Words(settings, device)
    return Digits(settings, data.load(settings.task, settings.pixels), device)
