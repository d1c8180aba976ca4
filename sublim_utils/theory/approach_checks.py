r"""(thm-approach) and (thm-departure) of the theory chapter on networks, a seed at a time, in float64.

All students learn the auxiliary logits of images of uniform noise from the common start of `lemma.Start`. The
`stored` functions are called as (lab, seed, advance, **arguments).
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import cycle, islice, product

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from sublim_utils.analysis.labels import labelled
from sublim_utils.engine import inputs
from sublim_utils.engine.losses import logit_mask
from sublim_utils.engine.seeds import generator
from sublim_utils.runs.filling import Advance
from sublim_utils.runs.lab import Lab
from sublim_utils.runs.stored import stored
from sublim_utils.settings import Settings
from sublim_utils.theory import approach, lazy, quantities
from sublim_utils.theory.approach import LinearStudent, Scaling
from sublim_utils.theory.lazy_checks import SHARE, imitation_of
from sublim_utils.theory.lemma import DIRECTIONS, LOSSES, Start, first_images

__all__ = [
    "BELOW",
    "BEYOND",
    "N_LINEAR",
    "REAL",
    "SCALINGS",
    "STATEMENTS",
    "VERSION",
    "batches_of",
    "fresh_batches",
    "linear",
    "near_teacher",
    "real",
    "scaling_of",
]

VERSION = 1
"""Part of the address of what is stored: raise it when a change alters what a function here returns."""

SCALINGS = ("none", "fixed", "varying")
STATEMENTS = ("one point", "distance", "overlap", "trait")
BELOW, BEYOND = 0.9, 3.0
"""Step sizes of the linearised students, in units of 2 / beta_k: inside the theorem and outside."""

N_LINEAR = len(DIRECTIONS) * len(LOSSES) * len(SCALINGS) * 2
REAL = ("descent", "Adam", "Adam, fresh noise", "Adam, fresh noise, other start")


def scaling_of(name: str, g_t: Tensor) -> Scaling:
    """Return a preconditioner: none, Adam's first one of the teacher, or one of the student's own that varies.

    "fixed" is S = 1 / (|g_T| + root mean square of g_T); "varying" is `approach.running` with Adam's decay for g^2
    a hundred times faster, 0.9, so that it varies within these few steps, and the same floor.
    """
    floor = float(g_t.square().mean().sqrt())
    fixed = 1 / (g_t.abs() + floor)
    return {"none": approach.plain, "fixed": lambda _: fixed, "varying": approach.running(0.9, floor)}[name]


def batches_of(seed: int, n: int, size: int, steps: int) -> list[Tensor]:
    """Return the inputs' indices at each step, (size,): a seed's shuffled batches, over and over."""
    order = torch.randperm(n, generator=generator(seed, "approach-batches"))
    return list(islice(cycle(order.split(size)), steps))


def near_teacher(
    trait: quantities.Trait, classes: LinearStudent, theta_0: Tensor, scaling: str
) -> tuple[Tensor, float]:
    """Return D_T = -eps S g_T, (P,), and eps = 1 / (2 beta_T), half of what equation (eq-trait-bound) allows.

    S is the student's own if it is fixed, and 1 beside a varying one. `classes` are the class logits of `trait`.
    """
    g_t = trait.gradient(theta_0)
    scale = scaling_of("fixed" if scaling == "fixed" else "none", g_t)(g_t)
    eps = 0.5 / classes.smoothness(scale)
    return -eps * scale * g_t, eps


def _row(
    steps: Sequence[approach.Step], d_t: Tensor, classes: LinearStudent, labels: Tensor, eps: float | None
) -> dict[str, np.ndarray]:
    """Return the variables of `linear` for one student; eps is None where nothing is stated on the trait."""
    series = approach.followed(steps, d_t)
    held, nothing = approach.holds(series), np.full(len(steps), np.nan)
    trait = {"loss": nothing, "bound": nothing}
    if eps is not None:
        trait = approach.trait_path(classes, labels, steps, eps)
        held["trait"] = trait["loss"] <= trait["bound"] + approach.ROUNDING
    holds = np.stack([np.asarray(held.get(name, nothing), dtype=float) for name in STATEMENTS], -1)
    return {**series, **{f"trait_{name}": values for name, values in trait.items()}, "holds": holds}


@stored(kind="approach", part="linear", version=VERSION, steps=N_LINEAR, device="cpu")
def linear(
    lab: Lab, seed: int, advance: Advance, *, settings: Settings, hidden: Sequence[int], n: int, batch: int,
    n_trait: int, n_steps: int,
) -> xr.Dataset:  # fmt: skip
    """Return linearised students trained on minibatches, dims (teacher, loss, scaling, share, ..., k).

    Variables: those of `approach.followed`, ``trait_loss`` and ``trait_bound`` of `approach.trait_path`, and ``holds``
    (..., k, statement), 1 where a statement of the theorem holds, NaN where it makes none. Teachers: `near_teacher`,
    and a random direction half as long as theta_0, for whom the softmax is far from its quadratic form.

    Parameters
    ----------
    hidden : widths of the hidden layers, small enough for a whole Jacobian
    n, batch, n_trait : distillation inputs, those in a batch, and labelled images
    """
    narrow, images = replace(settings, hidden=tuple(hidden)), lab.images(settings)
    trait = first_images(narrow, images, n_trait)
    theta_0, batches = Start.of(trait, seed).theta_0, batches_of(seed, n, batch, n_steps)
    students = {name: LinearStudent.of(imitation_of(narrow, images, seed, n, name), theta_0) for name in LOSSES}
    classes = LinearStudent.of(quantities.Imitation(trait.mlp, trait.x, logit_mask(narrow, "class")), theta_0)
    far = 0.5 * quantities.random_like(theta_0, generator(seed, "approach-teacher"))
    nears = {name: near_teacher(trait, classes, theta_0, name) for name in SCALINGS}
    axes, rows = {"teacher": DIRECTIONS, "loss": list(LOSSES), "scaling": SCALINGS, "share": (BELOW, BEYOND)}, []
    for teacher, loss, scaling, share in product(*axes.values()):
        near, eps = nears[scaling]
        d_t = near if teacher == DIRECTIONS[0] else far
        scale = scaling_of(scaling, trait.gradient(theta_0))
        steps = list(approach.descend(students[loss], d_t, batches, share, scale))
        rows.append(_row(steps, d_t, classes, trait.y, eps if d_t is near and scaling != "varying" else None))
        advance(1)
    return labelled(axes, rows, {"k": range(n_steps), "statement": STATEMENTS})


@stored(kind="approach", part="real", version=VERSION, steps=len(REAL), device="cpu")
def real(lab: Lab, seed: int, advance: Advance, *, settings: Settings, n: int, n_steps: int) -> xr.Dataset:
    """Return the terms of equation (eq-departure) along trainings of the real network, dims (run, k), runs `REAL`.

    Variables: those of `approach.departure` on the batch of step k, and ``distance`` = |theta - theta_T|. Softmax.
    Descent, at `lazy_checks.SHARE` / lambda_max, and the first Adam see the same n inputs at every step, the others n
    new ones. Teachers are the trained one and, in the last run, that of another start.
    """
    whole = imitation_of(settings, lab.images(settings), seed, n, "kl")
    theta_0 = whole.mlp.initial(generator(seed, "init")).double()
    eta = SHARE / float(torch.linalg.eigvalsh(lazy.tangent_kernel(whole, theta_0))[-1])
    same, fresh, rows = [whole] * (n_steps + 1), fresh_batches(whole, seed, n, n_steps + 1), []
    for name in REAL:
        kind = "other" if name.endswith("other start") else "own"
        teacher = lab.teacher_weights(settings, seed, kind)[0, 0].cpu().double()
        seen = fresh if "fresh" in name else same
        path = (
            lazy.descend(whole, theta_0, teacher, eta, n_steps)
            if name == "descent"
            else lazy.adam_on(seen, theta_0, teacher, settings.student_lr)
        )
        rows.append(_departures(seen, (theta for theta, _ in path), teacher))
        advance(1)
    return labelled({"run": REAL}, rows, {"k": range(n_steps + 1)})


def fresh_batches(imitation: quantities.Imitation, seed: int, n: int, steps: int) -> list[quantities.Imitation]:
    """Return the same loss on n new images of uniform noise for each step."""
    drawn = inputs.uniform(n * steps, generator(seed, "approach-noise")).double()
    return [replace(imitation, x=x) for x in drawn.split(n)]


def _departures(
    imitations: Iterable[quantities.Imitation], path: Iterable[Tensor], theta_t: Tensor
) -> dict[str, list[float]]:
    """Return `approach.departure` and the distance to the teacher at each point of a path."""
    terms = [
        {**approach.departure(imitation, theta, theta_t), "distance": float((theta - theta_t).norm())}
        for imitation, theta in zip(imitations, path, strict=True)
    ]
    return {name: [row[name] for row in terms] for name in terms[0]}
