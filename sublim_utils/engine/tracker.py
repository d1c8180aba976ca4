"""The alignment in a training loop of your own: the quantities of the recorder, booked by the same two functions.

    tracker = Tracker(model, trait=lambda: F.cross_entropy(model(digits), labels))
    for batch in batches:
        optimizer.zero_grad()
        loss = distillation_loss(model, batch)
        loss.backward()
        tracker.before(loss)   # looks at the gradients
        optimizer.step()
        tracker.after()        # books what the step did to the trait
    runs = tracker.runs()

`notebooks/own_model.ipynb` is such a loop, executed.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import torch
import xarray as xr
from torch import Tensor, nn
from torch.optim import LBFGS, Optimizer

from sublim_utils.engine.recorder import STEPWISE, Recorder, booked, observed
from sublim_utils.engine.vectors import by_part, project
from sublim_utils.settings import refuse, require

__all__ = ["WITHOUT_TEACHER", "Tracked", "Tracker"]

Tracked = nn.Module | Optimizer | Iterable[Tensor] | Iterable[tuple[str, Tensor]]
"""Whose parameters are followed: a module's, an optimiser's in all its groups, or those given, named or not."""

WITHOUT_TEACHER = tuple(
    name
    for name in STEPWISE
    if name not in ("reverse_kl", "inner_displacement", "progress", "travelled", "one_point", "distance")
)
"""The quantities that need no teacher's weights: those that are booked here."""


def _named(tracked: Tracked) -> Iterator[tuple[str, Tensor]]:
    """Yield name and parameter of whatever is tracked."""
    if isinstance(tracked, nn.Module):
        yield from tracked.named_parameters()
    elif isinstance(tracked, Optimizer):
        require("optimizer", type(tracked).__name__, not isinstance(tracked, LBFGS), "one that steps once a gradient")
        for i, group in enumerate(tracked.param_groups):
            yield from ((f"group {i}.{k}", p) for k, p in enumerate(group["params"]))
    else:
        for k, item in enumerate(tracked):
            yield item if isinstance(item, tuple) else (f"{k}", item)


def _by_top_name(names: Sequence[str]) -> dict[str, list[str]]:
    """Return the names grouped by what stands before their first dot, in order."""
    parts: dict[str, list[str]] = {}
    for name in names:
        parts.setdefault(name.split(".")[0], []).append(name)
    return parts


class Tracker:
    """Books the alignment and the drive of every step of any PyTorch training loop.

    Frozen parameters are left out; one that is shared counts once; one without a gradient counts as 0. The
    trait is looked at under a random state of its own, so that a tracked training takes the very steps it would take.

    Parameters
    ----------
    parameters : a module, an optimiser (all its groups), or parameters, named or not
    trait : () -> L_T at the present parameters, a differentiable number
    discrimination : () -> L_disc, the part of L_T that tells classes apart; without it its columns are NaN
    parts : names of the parameters in each part; by default those with the same name before the first dot

    Raises
    ------
    SettingsError
        If there is nothing to follow, a part names no parameter or leaves one out, or the optimiser is LBFGS,
        which evaluates its closure several times a step.
    """

    def __init__(
        self,
        parameters: Tracked,
        trait: Callable[[], Tensor],
        parts: Mapping[str, Sequence[str]] | None = None,
        *,
        discrimination: Callable[[], Tensor] | None = None,
    ) -> None:
        unique: dict[int, tuple[str, Tensor]] = {}
        for name, parameter in _named(parameters):
            if parameter.requires_grad:
                unique.setdefault(id(parameter), (name, parameter))
        named = dict(unique.values())
        require("parameters", sorted(named), bool(named), "at least one parameter that requires a gradient")
        parts = _by_top_name(list(named)) if parts is None else parts
        order = [name for names in parts.values() for name in names]
        require("parts", parts, sorted(order) == sorted(named), f"each of {sorted(named)} once")
        self.parameters, self.parts, stop = [named[name] for name in order], {}, 0
        for part, names in parts.items():
            start, stop = stop, stop + sum(named[name].numel() for name in names)
            self.parts[part] = slice(start, stop)
        self.trait, self.discrimination = trait, discrimination
        self.rows: list[dict[str, Tensor]] = []
        self.open: dict[str, Tensor] | None = None

    def _flat(self, tensors: Iterable[Tensor | None]) -> Tensor:
        """Return tensors shaped as the parameters, None for 0, as one vector (1, 1, P)."""
        pairs = zip(tensors, self.parameters, strict=True)
        return torch.cat([(torch.zeros_like(p) if t is None else t).detach().flatten() for t, p in pairs])[None, None]

    def _write(self, vector: Tensor, into: Iterable[Tensor | None]) -> None:
        """Copy a vector (1, 1, P) into tensors shaped as the parameters."""
        start = 0
        for tensor, parameter in zip(into, self.parameters, strict=True):
            if tensor is not None:
                tensor.copy_(vector[0, 0, start : start + parameter.numel()].view_as(parameter))
            start += parameter.numel()

    def _look(self, loss: Callable[[], Tensor]) -> tuple[Tensor, Tensor]:
        """Return a loss (1, 1) at the present parameters and its gradient (1, 1, P)."""
        devices = {p.device for p in self.parameters if p.device.type == "cuda"}
        with torch.random.fork_rng(devices=devices), torch.enable_grad():
            value = loss()
            gradient = self._flat(torch.autograd.grad(value, self.parameters, allow_unused=True))
        return value.detach().view(1, 1), gradient

    def _trait(self) -> dict[str, Tensor]:
        """Return L_T and L_disc with their gradients."""
        loss, trait = self._look(self.trait)
        known = {"trait_loss": loss, "trait": trait}
        if self.discrimination is None:
            return {**known, "trait_disc": torch.full_like(loss, torch.nan), "disc": torch.full_like(trait, torch.nan)}
        disc_loss, disc = self._look(self.discrimination)
        return {**known, "trait_disc": disc_loss, "disc": disc}

    def _close(self, now: Mapping[str, Tensor]) -> None:
        """Complete the last step's row by what is known of its end."""
        if self.rows and (update := self.rows[-1].pop("update", None)) is not None:
            self.rows[-1]["drive_end"] = by_part(now["trait"], update, self.parts.values())
            self.rows[-1]["trait_loss_end"] = now["trait_loss"]

    @torch.no_grad()
    def before(self, loss: Tensor | None = None, *, projection: float = 0.0, side: str = "one") -> None:
        """Look at the gradients: call it after ``loss.backward()``, before the optimiser's step.

        Parameters
        ----------
        loss : the loss minimised, if it is to be recorded
        projection, side : project the gradients off the trait gradient first, as `vectors.project`

        Raises
        ------
        SettingsError
            If the step before was not closed by `after`, as within a closure.
        """
        require("before()", "called twice", self.open is None, "called once a step, before `after()`")
        now, distill = self._trait(), self._flat(p.grad for p in self.parameters)
        self._close(now)
        if projection:
            applied = project(distill[:, 0].clone(), now["trait"][:, 0], now["trait"][:, 0], projection, side)
            self._write(applied[:, None], (p.grad for p in self.parameters))
        loss = torch.full_like(now["trait_loss"], torch.nan) if loss is None else loss.detach().view(1, 1)
        self.open = {**now, "distill": distill, "distill_loss": loss, "theta": self._flat(self.parameters)}

    @torch.no_grad()
    def after(self, *, projection: float = 0.0, side: str = "one") -> None:
        """Book the step: call it after ``optimizer.step()``, before the gradients are cleared.

        Parameters
        ----------
        projection, side : project the update off the trait gradient, as `vectors.project`, and the parameters with it

        Raises
        ------
        SettingsError
            If `before` was not called.
        """
        step, self.open = self.open, None
        if step is None:
            refuse("after()", "called first", "called after `before()`")
        applied = self._flat(p.grad for p in self.parameters)  # as the optimiser saw it, clipped or not
        if projection:
            descent = step["theta"] - self._flat(self.parameters)
            project(descent[:, 0], step["trait"][:, 0], step["trait"][:, 0], projection, side)
            self._write(step["theta"] - descent, self.parameters)
        update = self._flat(self.parameters) - step["theta"]
        parts = list(self.parts.values())
        row = observed(step["trait"], step["disc"], step["distill"], applied, parts)
        row |= booked(step["trait"], step["disc"], update, parts)
        self.rows.append(
            {**row, "update": update, **{n: step[n] for n in ("distill_loss", "trait_loss", "trait_disc")}}
        )

    def runs(self, seed: int = 0, condition: str = "student") -> xr.Dataset:
        """Return what was booked, labelled as `train_students` does: dims (seed, condition, step, layer).

        The last step is closed by one more look at the trait.

        Raises
        ------
        SettingsError
            If no step was booked.
        """
        require("steps", len(self.rows), bool(self.rows), "at least 1, each between before() and after()")
        if "update" in self.rows[-1]:
            self._close(dict(zip(("trait_loss", "trait"), self._look(self.trait), strict=True)))
        quantities = {name: STEPWISE[name] for name in WITHOUT_TEACHER}
        sizes = {"step": len(self.rows), "layer": len(self.parts)}
        recorder = Recorder(quantities, sizes, 1, 1, self.parameters[0].device)
        for step, row in enumerate(self.rows):
            recorder.write(step, row)
        return recorder.dataset({"seed": [seed], "condition": [condition], "layer": list(self.parts)})
