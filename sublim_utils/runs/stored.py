"""What is computed once and stored: declared at the function that computes it, asked for by `Lab.ask`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
import xarray as xr

__all__ = ["Function", "Stored", "stored"]


@dataclass(frozen=True, kw_only=True)
class Stored:
    """How a function's result is stored.

    Parameters
    ----------
    kind : the store's folder for it
    part : what it is, of its kind; it and `version` are parts of the address, beside the function's arguments
    version : raised when a change alters what the function returns
    steps : how often a seed advances the progress bar, a number or a function of the arguments
    device : where it is computed whatever the lab's device is; None: on the lab's
    """

    kind: str
    part: str
    version: int
    steps: int | Callable[..., int] = 1
    device: str | None = None

    def steps_of(self, arguments: Mapping[str, object]) -> int:
        """Return how often one seed advances the bar."""
        return self.steps(**arguments) if callable(self.steps) else self.steps

    def device_of(self, labs: torch.device) -> torch.device:
        """Return where it is computed in a lab of this device."""
        return labs if self.device is None else torch.device(self.device)


class Function(Protocol):
    """A function whose result is stored, (lab, seed, advance, **arguments) -> the seed's dataset."""

    stored: Stored

    def __call__(self, *known: Any, **arguments: Any) -> xr.Dataset:  # noqa: ANN401 (each function's own)
        """Compute one seed's dataset, without the dimension seed."""


def stored(
    *, kind: str, part: str, version: int, steps: int | Callable[..., int] = 1, device: str | None = None
) -> Callable[[Callable[..., xr.Dataset]], Function]:
    """Declare how a function's result is stored (`Stored`)."""
    how = Stored(kind=kind, part=part, version=version, steps=steps, device=device)

    def declare(function: Callable[..., xr.Dataset]) -> Function:
        function.stored = how  # type: ignore[attr-defined]
        return cast(Function, function)

    return declare
