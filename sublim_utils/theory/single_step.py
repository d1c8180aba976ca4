r"""One step of a student from the common start, in float64: the chapter single_step.

g_T = grad L_T(theta_0) is the trait gradient, D_S = -grad L_S(theta_0) the direction of imitation, D_T the teacher's
displacement. Equation labels are that chapter's. What the chapter asks for are the `stored` functions at the end,
called as (lab, seed, advance, **arguments) with n images of the trait and of noise each.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from torch.func import grad

from sublim_utils.analysis.labels import labelled
from sublim_utils.engine import inputs
from sublim_utils.engine.architectures import network_of
from sublim_utils.engine.data import Images
from sublim_utils.engine.digits import references
from sublim_utils.engine.losses import logit_mask
from sublim_utils.engine.seeds import generator
from sublim_utils.runs.filling import Advance
from sublim_utils.runs.lab import Lab
from sublim_utils.runs.stored import stored
from sublim_utils.settings import Settings
from sublim_utils.theory import quantities

__all__ = [
    "SCALINGS",
    "STEPS",
    "VERSION",
    "FirstStep",
    "far",
    "far_teacher",
    "longer",
    "longer_step",
    "near",
    "near_teacher",
    "start_in",
    "steps_looked_at",
    "trained",
]

VERSION = 2
"""Part of the address of what is stored: raise it when a change alters what a function here returns."""

STEPS = ("SGD", "Adam")
SCALINGS = ("teacher's scaling", "own (Adam)", "none (SGD)")


@dataclass(frozen=True)
class FirstStep:
    """A seed's common start theta_0, (P,), with its trait and its imitation on as many images each.

    Parameters
    ----------
    trait : L_T on the first n training images
    imitation : softmax of the auxiliary logits on n images of uniform noise
    teacher_lr, student_lr : learning rates of Adam
    """

    trait: quantities.Trait
    imitation: quantities.Imitation
    theta_0: Tensor
    teacher_lr: float
    student_lr: float

    @classmethod
    def of(cls, settings: Settings, images: Images, seed: int, n: int, device: torch.device) -> "FirstStep":
        """Return a seed's start, in float64."""
        mlp = network_of(settings)
        trait = quantities.Trait(mlp, images.train[:n].double().to(device), images.train_labels[:n].to(device))
        noise = inputs.uniform(n, generator(seed, "single-step-noise")).double().to(device)
        imitation = quantities.Imitation(mlp, noise, logit_mask(settings, "aux"), "kl")
        theta_0 = references(settings, [seed], device)[0, 0].double()
        return cls(trait, imitation, theta_0, settings.teacher_lr, settings.student_lr)

    def step(self, kind: str, d_s: Tensor) -> Tensor:
        """Return the step u along D_S: D_S itself, or the first of Adam, equation (eq-adam-first)."""
        return d_s if kind == "SGD" else quantities.adam_step(d_s, self.student_lr)

    @cached_property
    def read(self) -> dict[str, float]:
        """What is read of the trait at theta_0: `quantities.Trait.evaluate`."""
        return self.trait.evaluate(self.theta_0)

    @cached_property
    def g_T(self) -> Tensor:
        """The trait gradient grad L_T(theta_0), (P,)."""
        return self.trait.gradient(self.theta_0)

    @cached_property
    def g_disc(self) -> Tensor:
        """The gradient of the part that tells digits apart, grad L_disc(theta_0), (P,): equation (eq-parts)."""
        return grad(lambda theta: self.trait.losses(theta)["disc"])(self.theta_0)

    def effect(self, u: Tensor) -> dict[str, float]:
        """Return what a step u does to the trait.

        ``cosine`` of u with -g_T, equation (eq-single-cosine), ``first`` = g_T . u (nats), equation (eq-first-order),
        ``length`` = |u|, ``actual`` change of L_T (nats) and of the ``accuracy``. Of the part that tells digits apart:
        ``disc_cosine`` of u with -grad L_disc, ``disc_actual`` change of L_disc (nats), and ``centred`` accuracy.
        """
        after = self.trait.evaluate(self.theta_0 + u)
        read = {"actual": "trait", "disc_actual": "disc", "accuracy": "raw", "centred": "centred"}
        return {
            "cosine": quantities.vector_cosine(u, -self.g_T),
            "disc_cosine": quantities.vector_cosine(u, -self.g_disc),
            "first": float(self.g_T @ u),
            "length": float(u.norm()),
            **{name: after[of] - self.read[of] for name, of in read.items()},
        }


def near_teacher(start: FirstStep, eps: Sequence[float]) -> xr.Dataset:
    """Return `FirstStep.effect` of both steps towards a teacher at theta_0 - eps g_T, dims (eps, kind).

    ``scaled`` (scaling,) is g_T . u (nats) of a student whose teacher takes one Adam step of full gradient,
    equation (eq-shared-scaling): u is D_S scaled by the teacher's S, by its own, or not at all.
    """
    theta_0, g_T = start.theta_0, start.g_T
    rows = []
    for e in eps:
        d_s = start.imitation.step(theta_0, theta_0 - e * g_T)
        rows += [start.effect(start.step(kind, d_s)) for kind in STEPS]
    s = 1 / (g_T.abs() + 1e-8)
    d_s = start.imitation.step(theta_0, theta_0 - start.teacher_lr * s * g_T)
    scaled = [float(g_T @ u) for u in (s * d_s, quantities.adam_step(d_s), d_s)]
    effects = labelled({"eps": eps, "kind": STEPS}, rows)
    return effects.assign_coords(scaling=list(SCALINGS)).assign(scaled=("scaling", scaled))


def far_teacher(start: FirstStep, d_t: Tensor, taken: Sequence[int]) -> xr.Dataset:
    """Return the step towards a teacher at theta_0 + D_T after each number of its own steps, dims (taken, ...).

    Of D_S: ``signed``, ``cross`` and ``beyond``, the parts of its cosine with -g_T, equation (eq-split),
    ``teacher_cosine`` with D_T; of D_T: its ``distance`` |D_T| and ``trait_cosine`` with -g_T. By kind of step: as
    `FirstStep.effect`, and ``layer_cosine``, the cosine with -g_T within each layer (1 ... L).

    Parameters
    ----------
    d_t : D_T after each of the `taken` steps, (k, P)
    """
    theta_0, g_T = start.theta_0, start.g_T
    mlp, d_s = start.trait.mlp, torch.stack([start.imitation.step(theta_0, theta_0 + d) for d in d_t])
    rows = []
    for d, kind in product(d_s, STEPS):
        u = start.step(kind, d)
        rows.append({**start.effect(u), "layer_cosine": quantities.layer_cosines(mlp, u, -g_T)})
    effects = labelled({"taken": taken, "kind": STEPS}, rows, {"layer": range(1, len(mlp.parts) + 1)})
    size = np.array([float(g_T.norm() * d.norm()) for d in d_s])
    parts = quantities.split(start.imitation, theta_0, g_T, d_t, d_s)
    series = {
        **{name: part / size for name, part in parts.items()},
        "teacher_cosine": [quantities.vector_cosine(a, b) for a, b in zip(d_s, d_t, strict=True)],
        "trait_cosine": [quantities.vector_cosine(d, -g_T) for d in d_t],
        "distance": [float(d.norm()) for d in d_t],
    }
    return effects.assign({name: ("taken", values) for name, values in series.items()})


def longer_step(start: FirstStep, d_t: Tensor, eta: Sequence[float]) -> xr.Dataset:
    """Return `quantities.predicted_change` along both steps towards a teacher at theta_0 + D_T, dims (kind, eta).

    Equation (eq-second-order): the steps have the directions of `FirstStep.step`'s and the lengths eta.
    """
    d_s, rows = start.imitation.step(start.theta_0, start.theta_0 + d_t), []
    for kind in STEPS:
        u = start.step(kind, d_s)
        rows.append(quantities.predicted_change(start.trait, start.theta_0, u / u.norm(), np.asarray(eta)))
    return labelled({"kind": STEPS}, rows, {"eta": eta})


def start_in(lab: Lab, settings: Settings, seed: int, n: int) -> FirstStep:
    """Return a seed's start with a lab's images and device."""
    return FirstStep.of(settings, lab.images(settings), seed, n, lab.device)


def trained(lab: Lab, settings: Settings, seed: int) -> Tensor:
    """Return theta_T of a seed's trained teacher, (1, P), float64."""
    return lab.teacher_weights(settings, seed, "own")[0].double()


def _followed(settings: Settings) -> Settings:
    """Return a training that is the teacher's own as far as the second epoch, after which only its end is looked at."""
    return replace(settings, teacher_epochs=min(2, settings.teacher_epochs))


def steps_looked_at(settings: Settings) -> list[int]:
    """Return the numbers of steps after which the chapter looks at a teacher: powers of 2, epochs 1 and 2, the end.

    >>> steps_looked_at(Settings())
    [1, 2, 4, 8, 16, 32, 59, 118, 295]
    """
    per = settings.steps_per_teacher_epoch
    powers = {2**i for i in range(per.bit_length()) if 2**i < per}
    return sorted(powers | {per, 2 * per, settings.teacher_epochs * per})


@stored(kind="single_step", part="near teacher", version=VERSION)
def near(lab: Lab, seed: int, _: Advance, *, settings: Settings, n: int, eps: Sequence[float]) -> xr.Dataset:
    """Return `near_teacher` of a seed."""
    return near_teacher(start_in(lab, settings, seed, n), eps)


@stored(
    kind="single_step",
    part="far teacher",
    version=VERSION,
    steps=lambda settings, **_: _followed(settings).teacher_epochs * settings.steps_per_teacher_epoch,
)
def far(lab: Lab, seed: int, advance: Advance, *, settings: Settings, n: int, taken: Sequence[int]) -> xr.Dataset:
    """Return `far_teacher` of a seed, `taken` being ascending and the last of it the end of the teacher's training."""
    start = start_in(lab, settings, seed, n)
    path = lab.teacher_path(_followed(settings), seed, taken[:-1], lambda: advance(1)).double()
    return far_teacher(start, torch.cat([path, trained(lab, settings, seed)]) - start.theta_0, taken)


@stored(kind="single_step", part="longer step", version=VERSION)
def longer(lab: Lab, seed: int, _: Advance, *, settings: Settings, n: int, eta: Sequence[float]) -> xr.Dataset:
    """Return `longer_step` of a seed towards its trained teacher."""
    start = start_in(lab, settings, seed, n)
    return longer_step(start, trained(lab, settings, seed)[0] - start.theta_0, eta)
