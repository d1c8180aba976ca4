"""What can be done to a student's gradient or update: small maps, each the identity at strength 0.

Vectors are (seed, condition, P); a strength is a tensor (condition,), so one call acts on
all conditions at once, each with its own.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sublim_utils.engine.seeds import generator
from sublim_utils.settings import Condition, Settings

TINY = torch.finfo(torch.float32).tiny


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Return the inner product of each model, (seed, condition).

    One sum per model: a batched product would depend, in the last bit, on how many there are, and
    the matrix library's dot on where they lie in memory; torch's cascaded sum does on neither.
    """
    pairs = zip(a.flatten(0, -2), b.expand_as(a).flatten(0, -2), strict=True)
    return torch.stack([(x * y).sum() for x, y in pairs]).view(a.shape[:-1])


def project(vector: Tensor, direction: Tensor, along: Tensor, strength: Tensor, side: Sequence[str]) -> Tensor:
    r"""Replace g by g - s max(<g, t>, 0) / |t|^2 t in place: the paper's projection (side "one").

    Side "two" removes the component whatever its sign; "keep" removes all the rest:
    g - s (g - max(<g, t>, 0) / |t|^2 t). What is removed lies along a, scaled to the norm
    of t; a = t is the projection, a random a the control that removes as much elsewhere.
    With a = t, s = 1 and side "two", <result, t> = 0 within float error; with side "one"
    it is min(<g, t>, 0). A zero t removes nothing.

    Parameters
    ----------
    vector, direction, along : g, t, a, each (seed, condition, P)
    strength : s, (condition,), 0 ... 1.5
    side : "one", "two" or "keep" for each condition
    """
    inner, norm = dot(vector, direction), dot(direction, direction)
    two, keep = (torch.tensor([s == name for s in side], device=vector.device) for name in ("two", "keep"))
    component = torch.where(two, inner, inner.clamp(min=0)) / norm.clamp(min=TINY)
    if along is not direction:
        component = component * (norm / dot(along, along).clamp(min=TINY)).sqrt()
    scale = torch.where(keep, 1 - strength, 1.0)
    added = torch.where(keep, strength, -strength) * component
    return vector.mul_(scale[:, None]).addcmul_(along, added[..., None])


def in_window(condition: Condition, step: int) -> bool:
    """Say whether the projection of `condition` acts at `step`."""
    return condition.window is None or condition.window[0] <= step < condition.window[1]


def liminal_weight(condition: Condition, settings: Settings, step: int) -> float:
    """Return lambda(t), the liminal penalty's weight at `step`, in [0, max(1, lambda_0)].

    With u = steps since the start / steps per epoch, E epochs in all:

    - "first_epoch": lambda_0 for u < 1, then 0;
    - "two_phase": lambda_0 -> 1 linearly for u < 1, then 1 -> 0 linearly until u = E (a
      lambda_0 below 1 is never raised: it stays for u < 1 and falls to 0 from there);
    - "constant": lambda_0; "up": 0 -> lambda_0; "down": lambda_0 -> 0 (all linear);
    - "last_epoch": 0 until u = E - 1, then lambda_0.
    """
    strength, epochs = condition.liminal, settings.student_epochs
    u, knee = step / settings.steps_per_epoch, min(1.0, strength)
    fall = knee * (epochs - u) / max(epochs - 1, 1)
    return {
        "first_epoch": strength if u < 1 else 0.0,
        "two_phase": strength + (knee - strength) * u if u < 1 else fall,
        "constant": strength,
        "up": strength * u / epochs,
        "down": strength * (1 - u / epochs),
        "last_epoch": strength if u >= epochs - 1 else 0.0,
    }[condition.schedule]


class Interventions:
    """The projections and perturbations of an ensemble's conditions.

    Parameters
    ----------
    layers : where each layer lies in a vector, for the scope "layer"
    displacement : D_T = theta_T - theta_0 of each student's teacher
    trait_gradient : (theta, step, which) -> trait gradient of the conditions `which` on a
        batch independent of the tracked one
    """

    def __init__(
        self,
        settings: Settings,
        conditions: Sequence[Condition],
        seeds: Sequence[int],
        layers: Sequence[slice],
        displacement: Tensor,
        trait_gradient: Callable[[Tensor, int, list[int]], Tensor],
    ) -> None:
        self.settings, self.conditions, self.seeds = settings, conditions, seeds
        self.layers, self.displacement, self.trait_gradient = layers, displacement, trait_gradient
        self.direction, self.along = (torch.zeros_like(displacement) for _ in range(2))

    def random(self, step: int, purpose: str) -> Tensor:
        """Return normal noise (seed, P), the same for all conditions of a seed at a step."""
        size = self.displacement.shape[-1]
        rngs = [generator(seed, f"{purpose}-{step}") for seed in self.seeds]
        drawn = [torch.randn(size, generator=rng) for rng in rngs]
        return torch.stack(drawn).to(self.displacement.device)

    def directions(self, theta: Tensor, trait: Tensor, step: int, active: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return t and a of `project`: the trait gradient, or what the `active` conditions name."""
        special = {
            kind: [i for i in active if kind in (self.conditions[i].direction, self.conditions[i].projection_batch)]
            for kind in ("displacement", "independent", "random")
        }
        if not any(special.values()):
            return trait, trait
        self.direction.copy_(trait)
        if special["independent"]:
            own = self.trait_gradient(theta, step, special["independent"])
            self.direction[:, special["independent"]] = own
        for i in special["displacement"]:
            torch.neg(self.displacement[:, i], out=self.direction[:, i])
        self.along.copy_(self.direction)
        if special["random"]:
            self.along[:, special["random"]] = self.random(step, "random-direction").unsqueeze(1)
        return self.direction, self.along

    def active(self, target: str, step: int) -> list[int]:
        """Return the conditions that project their "gradient" or "update" at `step`."""
        return [i for i, c in enumerate(self.conditions) if c.projection and c.target == target and in_window(c, step)]

    def projected(self, target: str, vector: Tensor, theta: Tensor, trait: Tensor, step: int) -> list[int]:
        """Project `vector` ("gradient" or "update") in place; return the conditions acted on."""
        active = self.active(target, step)
        if active:
            direction, along = self.directions(theta, trait, step, active)
            sides = [c.side for c in self.conditions]
            for scope, parts in (("whole", [slice(None)]), ("layer", self.layers)):
                own = {i for i in active if self.conditions[i].scope == scope}
                acting = [c.projection if i in own else 0.0 for i, c in enumerate(self.conditions)]
                if own:
                    strength = torch.tensor(acting, device=vector.device)
                    for p in parts:
                        same = direction[..., p]
                        other = same if along is direction else along[..., p]
                        project(vector[..., p], same, other, strength, sides)
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
