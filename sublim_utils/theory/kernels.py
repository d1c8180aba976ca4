r"""What a lazy student's class logits become, foreseen at theta_0 from the change of its teacher's auxiliary logits.

A network linearised at theta_0 that fits the change dz of the distilled logits on n inputs, from d = 0 by gradient
descent, ends at the shortest d that does, and its class logits move by

    J_class d = Theta_class,aux Theta_aux^-1 dz,   Theta_ab = J_a J_b^T       (tangent kernels at theta_0).

No student is trained and no kernel is formed: with as many inputs as the experiments have, Theta_aux would take 115 GB,
and a few of them won't do, for |d| grows with their number. d is found by Jacobian-vector products instead.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import scipy.linalg
import scipy.sparse.linalg
import torch
from torch import Tensor

from sublim_utils.settings import N_CLASS, require
from sublim_utils.theory.quantities import Imitation

__all__ = ["CHUNK", "class_logits", "displacement", "seen"]

CHUNK = 2048
"""Inputs in one product: what bounds the memory, about 8 kB an input and layer of 256 in float32."""


def seen(loss: str, m: int) -> Tensor:
    """Return an orthonormal basis Q of what the loss sees of m logits, (m, k): all, or for "kl" what sums to 0."""
    basis = scipy.linalg.helmert(m).T if loss == "kl" else np.eye(m)
    return torch.as_tensor(basis)


def displacement(
    imitation: Imitation, theta_0: Tensor, change: Tensor, steps: int, advance: Callable[[int], object] = lambda _: None
) -> Tensor:
    """Return d, (P,), that changes the distilled logits by `change` as far as the loss sees, the shortest such.

    By `steps` of LSMR (Fong and Saunders, arXiv 1006.0758) from d = 0 on the least squares of Q^T (J d - dz); few steps
    stop short of all that is hard to fit, as a training does, and |d| grows with them.

    Parameters
    ----------
    theta_0 : (P,); its float type is that of the products, LSMR's own vectors are float64
    change : dz of each input, (n, m), say the teacher's distilled logits less the reference's
    advance : called with 1 after each product with J^T

    Raises
    ------
    SettingsError
        If `steps` is below 1.
    """
    require("steps", steps, steps >= 1, "at least 1")
    q = seen(imitation.loss, change.shape[1]).to(theta_0)
    parts = [replace(imitation, x=x) for x in imitation.x.split(CHUNK)]

    def forward(d: np.ndarray) -> np.ndarray:
        at = torch.from_numpy(d).to(theta_0)
        return torch.cat([part.push(theta_0, at) @ q for part in parts]).flatten().double().numpy(force=True)

    def backward(r: np.ndarray) -> np.ndarray:
        pulls = (torch.from_numpy(r).to(theta_0).view(len(change), -1) @ q.mT).split(CHUNK)
        total = sum(part.pull(theta_0, pull) * len(pull) for part, pull in zip(parts, pulls, strict=True))
        advance(1)
        return total.double().numpy(force=True)

    target = (change.to(theta_0) @ q).flatten().double().numpy(force=True)
    jacobian = scipy.sparse.linalg.LinearOperator(
        (len(target), len(theta_0)), matvec=forward, rmatvec=backward, dtype=target.dtype
    )
    solution = scipy.sparse.linalg.lsmr(jacobian, target, atol=0, btol=0, conlim=0, maxiter=steps)
    return torch.from_numpy(solution[0]).to(theta_0)


def class_logits(imitation: Imitation, theta_0: Tensor, d: Tensor, x: Tensor) -> Tensor:
    """Return the class logits of the lazy student at theta_0 + d on other inputs x, (n_x, 10)."""
    classes = torch.arange(imitation.mlp.sizes[-1], device=x.device) < N_CLASS
    parts = [replace(imitation, x=part, mask=classes) for part in x.split(CHUNK)]
    return torch.cat([part.distilled(theta_0) + part.push(theta_0, d) for part in parts])
