"""What is done to a student's gradient or update: small maps, each the identity at strength 0."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from sublim_utils.engine.look import Look
from sublim_utils.engine.seeds import generator
from sublim_utils.engine.vectors import dot, project, project_off
from sublim_utils.settings import Condition

__all__ = ["Interventions", "in_window"]


def in_window(condition: Condition, step: int) -> bool:
    """Say whether the projection of `condition` acts at `step`."""
    return condition.window is None or condition.window[0] <= step < condition.window[1]


class Interventions:
    """The projections and perturbations of an ensemble's conditions.

    Parameters
    ----------
    parts : where each part of the network lies in a vector, in order; the last one holds the class logits
    displacement : D_T = theta_T - theta_0 of each student's teacher, (seed, condition, P)
    independent : (theta, step, condition) -> a look at one condition on a batch that is not the tracked one
    shuffled : step -> the shuffled labels (seed, batch) of the tracked batch
    """

    def __init__(
        self,
        conditions: Sequence[Condition],
        seeds: Sequence[int],
        parts: Mapping[str, slice],
        displacement: Tensor,
        independent: Callable[[Tensor, int, int], Look],
        shuffled: Callable[[int], Tensor],
    ) -> None:
        self.conditions, self.seeds, self.displacement = conditions, seeds, displacement
        self.independent, self.shuffled = independent, shuffled
        layers = list(parts.values())
        head = layers[-1]
        self.scopes = {"whole": [slice(None)], "layer": layers, "hidden": [slice(0, head.start)], "head": [head]}

    def random(self, step: int, purpose: str) -> Tensor:
        """Return normal noise (seed, P), the same for all conditions of a seed at a step."""
        size = self.displacement.shape[-1]
        rngs = [generator(seed, f"{purpose}-{step}") for seed in self.seeds]
        return torch.stack([torch.randn(size, generator=rng) for rng in rngs]).to(self.displacement.device)

    def basis(self, i: int, look: Look, known: Mapping[str, Tensor], step: int) -> Tensor:
        """Return the directions that condition i projects off, (k, seed, P).

        `known` holds gradients (seed, condition, P) of the tracked batch that are there already, by the names of
        `Condition.direction`.
        """
        c = self.conditions[i]
        name = "trait" if c.direction == "random" else c.direction
        if name == "displacement":
            return -self.displacement[None, :, i]
        if c.projection_batch == "independent":
            return self.independent(look.theta, step, i).directions(name, 0)
        if c.projection_labels == "shuffled":
            return look.directions(name, i, self.shuffled(step))
        return known[name][None, :, i] if name in known else look.directions(name, i)

    def active(self, target: str, step: int) -> list[int]:
        """Return the conditions that project their "gradient" or "update" at `step`."""
        return [i for i, c in enumerate(self.conditions) if c.projection and c.target == target and in_window(c, step)]

    def projected(self, target: str, vector: Tensor, look: Look, known: Mapping[str, Tensor], step: int) -> list[int]:
        """Project `vector` (seed, condition, P), "gradient" or "update", in place; return the conditions acted on."""
        active = self.active(target, step)
        for i in active:
            c, basis = self.conditions[i], self.basis(i, look, known, step)
            noise = self.random(step, "random-direction") if c.direction == "random" else None
            for part in self.scopes[c.scope]:
                own, rows = vector[:, i, part], basis[..., part]
                if len(rows) > 1:
                    project_off(own, rows, c.projection)
                    continue
                (direction,) = rows
                project(own, direction, direction if noise is None else noise[..., part], c.projection, c.side)
        return active

    def perturb(self, gradient: Tensor, theta: Tensor, reference: Tensor, step: int) -> None:
        """Add base_decay (theta - theta_0) and gradient_noise |g| r / |r| to the gradient, in place."""
        for i, c in enumerate(self.conditions):
            own = gradient[:, i]
            if c.gradient_noise:
                noise = self.random(step, "gradient-noise")
                size = (dot(own, own) / dot(noise, noise)).sqrt()
                own += c.gradient_noise * size[:, None] * noise
            if c.base_decay:
                own += c.base_decay * (theta[:, i] - reference[:, 0])
