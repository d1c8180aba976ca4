r"""Lemma 1 and Theorem 1 of the theory chapter on the network of the experiments, in float64, a seed at a time.

Source: Cloud et al. (arXiv 2507.14805), section 6.1 and appendix C; equation labels are that chapter's. What a
function here returns depends on its arguments, the kind of network in `settings` and `VERSION` alone. Those that a
chapter asks for are `stored`: called as (lab, seed, advance, **arguments), the images being the lab's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from sublim_utils.analysis.labels import labelled
from sublim_utils.engine import inputs
from sublim_utils.engine.data import Images
from sublim_utils.engine.losses import logit_mask
from sublim_utils.engine.network import MLP
from sublim_utils.engine.seeds import generator
from sublim_utils.runs.filling import Advance
from sublim_utils.runs.lab import Lab
from sublim_utils.runs.stored import stored
from sublim_utils.settings import Settings
from sublim_utils.theory import quantities

__all__ = [
    "DIRECTIONS",
    "KINDS",
    "LOGITS",
    "LOSSES",
    "N_CASES",
    "N_DESCENTS",
    "RESOLVED",
    "VERSION",
    "Start",
    "cases",
    "change",
    "descent",
    "expansion",
    "first_images",
    "inner_products",
    "inputs_of",
    "pair",
    "pairs",
]

VERSION = 1
"""Part of the address of what is stored: raise it when a change alters what a function here returns."""

KINDS = ("uniform noise", "blurred noise", "real images", "constant images")
LOSSES = {"mse": "squared error", "kl": "softmax"}
LOGITS = ("aux", "all")
DIRECTIONS = ("trait gradient", "random direction")

N_DESCENTS = len(KINDS) * len(LOSSES) * len(LOGITS)
N_CASES = N_DESCENTS * len(DIRECTIONS)

RESOLVED = 0.1
"""A remainder whose points lie off their power law by more than this (natural log) is lost in rounding."""


def first_images(settings: Settings, images: Images, n: int) -> quantities.Trait:
    """Return L_T on the first n training images, in float64."""
    return quantities.Trait(MLP.of(settings), images.train[:n].double(), images.train_labels[:n])


def inputs_of(images: Images, seed: int, n: int) -> dict[str, Tensor]:
    """Return n distillation inputs (n, 784) of each of `KINDS`, float64; constant: one grey value an image."""
    real = torch.randperm(len(images.train), generator=generator(seed, "theory-real"))[:n]
    drawn = (
        inputs.uniform(n, generator(seed, "theory-noise")),
        inputs.blurred(n, generator(seed, "theory-blurred")),
        images.train[real],
        torch.linspace(-1, 1, n).unsqueeze(1).expand(n, images.train.shape[1]),
    )
    return {name: x.double() for name, x in zip(KINDS, drawn, strict=True)}


@dataclass(frozen=True)
class Start:
    """A seed's common start.

    Parameters
    ----------
    theta_0 : (P,)
    directions : D_T, (P,), by the names in `DIRECTIONS`: -grad L_T(theta_0), and a random one of its length
    """

    theta_0: Tensor
    directions: dict[str, Tensor]

    @classmethod
    def of(cls, trait: quantities.Trait, seed: int) -> "Start":
        """Return the start of a seed, whose trait is `trait`."""
        theta_0 = trait.mlp.initial(generator(seed, "init")).double()
        d_t = -trait.gradient(theta_0)
        drawn = quantities.random_like(d_t, generator(seed, "direction"))
        return cls(theta_0, dict(zip(DIRECTIONS, (d_t, drawn), strict=True)))


def expansion(imitation: quantities.Imitation, theta_0: Tensor, d_t: Tensor, eps: np.ndarray) -> dict[str, float]:
    """Return A, the slope of D_S . D_T in eps over A, and the order of D_S . D_T - eps A, as fitted and if resolved.

    Equation (eq-A): they are 1 and 2 for small eps where nothing has a kink.
    """
    a, inner = float(imitation.rate(theta_0, d_t)), quantities.student_inner(imitation, theta_0, d_t, eps)
    fitted, resolved = (quantities.order(eps, inner - eps * a, scatter) for scatter in (np.inf, RESOLVED))
    return {"A": a, "ratio": quantities.slope_at_zero(eps, inner) / a, "fitted": fitted, "resolved": resolved}


@stored(kind="lemma", part="cases", version=VERSION, steps=N_CASES, device="cpu")
def cases(
    lab: Lab, seed: int, advance: Advance, *, settings: Settings, n: int, n_trait: int, eps: Sequence[float]
) -> xr.Dataset:
    """Return how well Lemma 1 holds for all inputs, losses, logits and directions.

    Variables, dims (inputs, loss, logits, direction): ``A``, ``ratio`` (fitted slope / A), ``order_kinks`` (of the
    remainder, all inputs), ``order`` (inputs for which no ReLU switches up to the largest eps; NaN where
    rounding hides it), ``kept`` (share of these inputs).

    Parameters
    ----------
    n, n_trait : distillation inputs, and labelled images of the trait
    eps : sizes of the teacher's step
    """
    images = lab.images(settings)
    eps, x_of = np.asarray(eps), inputs_of(images, seed, n)
    start, axes = Start.of(first_images(settings, images, n_trait), seed), _axes(direction=DIRECTIONS)
    mlp, theta_0, rows = MLP.of(settings), start.theta_0, []
    for kind, loss, logits, direction in product(*axes.values()):
        x, d_t, mask = x_of[kind], start.directions[direction], logit_mask(settings, logits)
        smooth = quantities.same_pattern(mlp, x, theta_0, [theta_0 + e * d_t for e in eps])
        whole = expansion(quantities.Imitation(mlp, x, mask, loss), theta_0, d_t, eps)
        without = expansion(quantities.Imitation(mlp, x[smooth], mask, loss), theta_0, d_t, eps)
        rows.append(
            {
                **{name: whole[name] for name in ("A", "ratio")},
                "order_kinks": whole["fitted"],
                "order": without["resolved"],
                "kept": float(smooth.double().mean()),
            }
        )
        advance(1)
    return labelled(axes, rows)


def _axes(**more: Sequence[object]) -> dict[str, Sequence[object]]:
    return {"inputs": KINDS, "loss": list(LOSSES), "logits": LOGITS, **more}


@stored(kind="lemma", part="inner products", version=VERSION, steps=len(KINDS), device="cpu")
def inner_products(
    lab: Lab, seed: int, advance: Advance, *, settings: Settings, n: int, n_trait: int, eps: Sequence[float]
) -> xr.Dataset:
    """Return ``inner`` = D_S . D_T (inputs, eps) and ``A`` (inputs,): softmax, auxiliary logits, D_T = -grad L_T."""
    images = lab.images(settings)
    start, x_of, rows = Start.of(first_images(settings, images, n_trait), seed), inputs_of(images, seed, n), []
    for kind in KINDS:
        imitation = quantities.Imitation(MLP.of(settings), x_of[kind], logit_mask(settings, "aux"), "kl")
        known = imitation, start.theta_0, start.directions["trait gradient"]
        rows.append(
            {"inner": quantities.student_inner(*known, np.asarray(eps)), "A": float(imitation.rate(*known[1:]))}
        )
        advance(1)
    return labelled({"inputs": KINDS}, rows, {"eps": eps})


def change(
    trait: quantities.Trait, imitation: quantities.Imitation, theta_0: Tensor, d_t: Tensor, eps: np.ndarray
) -> np.ndarray:
    """Return (L_T(theta_S) - L_T(theta_0)) / (eta eps A), eta = 1, for each eps, equation (eq-descent): -1 if small."""
    a, base = float(imitation.rate(theta_0, d_t)), trait.loss(theta_0)
    after = [trait.loss(theta_0 + imitation.step(theta_0, theta_0 + e * d_t)) for e in eps]
    return np.array([float(loss - base) / (e * a) for loss, e in zip(after, eps, strict=True)])


@stored(kind="lemma", part="descent", version=VERSION, steps=N_DESCENTS, device="cpu")
def descent(
    lab: Lab, seed: int, advance: Advance, *, settings: Settings, n: int, n_trait: int, eps: Sequence[float]
) -> xr.Dataset:
    """Return ``change``, (inputs, loss, logits, eps), of the trait loss in units of eps A: Theorem 1."""
    images = lab.images(settings)
    trait, x_of, rows = first_images(settings, images, n_trait), inputs_of(images, seed, n), []
    start = Start.of(trait, seed)
    for kind, loss, logits in product(*_axes().values()):
        imitation = quantities.Imitation(trait.mlp, x_of[kind], logit_mask(settings, logits), loss)
        known = imitation, start.theta_0, start.directions["trait gradient"]
        rows.append({"change": change(trait, *known, np.asarray(eps))})
        advance(1)
    return labelled(_axes(), rows, {"eps": eps})


def pair(settings: Settings, trait: quantities.Trait, p: int, student: str, eps: float) -> dict[str, float]:
    """Return the cosines with D_T of D_S (``step``), its own part and its teacher's part, equation (eq-own-part).

    Teacher and student start at the initialisations "init" and `student` of seed p; the inputs are as many
    images of uniform noise as `trait` has digits, and D_T = -grad L_T at the teacher's start.
    """
    mlp, n = trait.mlp, len(trait.x)
    start, elsewhere = (mlp.initial(generator(p, purpose)).double() for purpose in ("init", student))
    x, d_t = inputs.uniform(n, generator(p, "theory-noise")).double(), -trait.gradient(start)
    imitation = quantities.Imitation(mlp, x, logit_mask(settings, "aux"))
    step, own_part = imitation.step(elsewhere, start + eps * d_t), imitation.pull_to_uniform(elsewhere)
    parts = {"step": step, "own_part": own_part, "teachers_part": step - own_part}
    return {name: quantities.vector_cosine(part, d_t) for name, part in parts.items()}


@stored(kind="pairs", part="pairs", version=VERSION, steps=lambda size, **_: size, device="cpu")
def pairs(
    lab: Lab, block: int, advance: Advance, *, settings: Settings, first: int, size: int, n: int, eps: float
) -> xr.Dataset:
    """Return what `pair` does for a block of independent pairs of initialisations, dims (pair,).

    ``same`` is ``step`` of a student that starts at its teacher's own weights, for every tenth pair (tenth,).

    Parameters
    ----------
    block : the pairs first + size block ... first + size (block + 1) - 1
    n : images of noise, and labelled digits
    """
    trait, here = (
        first_images(settings, lab.images(settings), n),
        range(first + size * block, first + size * (block + 1)),
    )
    rows = []
    for p in here:
        rows.append(pair(settings, trait, p, "other-init", eps))
        advance(1)
    same = [pair(settings, trait, p, "init", eps)["step"] for p in here[::10]]
    cosines = {name: ("pair", [row[name] for row in rows]) for name in rows[0]}
    return xr.Dataset({**cosines, "same": ("tenth", same)})
