r"""The lazy student: the network linearised at theta_0, whose whole training is known in closed form.

This is the book's own theorem, (thm-lazy) in the theory chapter. The student's logits are
z_0 + J d, its loss is L_S(d) = (d - eps D_T)^T K (d - eps D_T) / 2 with K = E_x[J^T M J]
(exactly so for squared error; for the softmax loss to second order). With Phi = B^T J / sqrt(n),
B B^T = M, we have K = Phi^T Phi (P x P), and all that is asked for follows from the tangent
kernel Theta = Phi Phi^T on the distilled logits (nm x nm).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import repeat

import numpy as np
import scipy.integrate
import scipy.linalg
import torch
from torch import Tensor
from torch.func import grad

from sublim_utils.theory.quantities import Imitation, dense, hidden, metric_root

__all__ = [
    "SLOPE",
    "LazyStudent",
    "adam_on",
    "descend",
    "descend_adam",
    "descend_linearised",
    "flow_linearised",
    "followed",
    "linearised_gradient",
    "tangent_kernel",
]

SLOPE = {"relu": lambda h: (h > 0).to(h), "tanh": lambda h: 1 - h.square(), "identity": torch.ones_like}
"""The derivative of each activation, as a function of its output h."""


def tangent_kernel(imitation: Imitation, theta: Tensor) -> Tensor:
    """Return Theta = Phi Phi^T, (nm, nm), float as theta, without ever forming Phi (nm, P).

    A layer's gradient of one logit is the outer product of its input h and its backpropagated
    sensitivity delta, so Theta = sum over layers of (h . h' + 1) (delta . delta') / n; the 1 is the bias.
    Of an MLP only.
    """
    mlp, x = dense(imitation.mlp), imitation.x
    inputs, weights = hidden(mlp, theta, x), mlp.unflatten(theta)
    root = metric_root(imitation.loss, imitation.distilled(theta))
    n, m = root.shape[:2]
    delta = torch.zeros(n, m, mlp.sizes[-1], dtype=theta.dtype, device=theta.device)
    delta[:, :, imitation.mask] = root.mT
    kernel = torch.zeros(n * m, n * m, dtype=theta.dtype, device=theta.device)
    for layer in reversed(range(len(weights))):
        h, flat = inputs[layer], delta.flatten(0, 1)
        gram = (h @ h.mT + 1).repeat_interleave(m, 0).repeat_interleave(m, 1)
        kernel += gram * (flat @ flat.mT) / n
        if layer:
            delta = (delta @ weights[layer][0].mT) * SLOPE[mlp.activation](h).unsqueeze(1)
    return kernel


@dataclass(frozen=True)
class LazyStudent:
    """The linearised student in the eigenbasis of its tangent kernel: Theta q_i = lambda_i q_i.

    Parameters
    ----------
    eigenvalues : lambda_i, (nm,), >= 0
    weights : c_i = (q_i . Phi D_T)^2, (nm,); their sum is A
    size : |D_T|
    """

    eigenvalues: np.ndarray
    weights: np.ndarray
    size: float

    @classmethod
    def of(cls, imitation: Imitation, theta_0: Tensor, d_t: Tensor) -> "LazyStudent":
        """Return the lazy student of L_S at theta_0 whose teacher is displaced along D_T."""
        values, vectors = scipy.linalg.eigh(tangent_kernel(imitation, theta_0).cpu().numpy())
        root = metric_root(imitation.loss, imitation.distilled(theta_0))
        moved = imitation.push(theta_0, d_t).unsqueeze(-1)
        v = (root.mT @ moved).flatten() / len(moved) ** 0.5
        return cls(values.clip(min=0), (vectors.T @ v.cpu().numpy()) ** 2, float(d_t.norm()))

    def flow(self, t: np.ndarray) -> dict[str, np.ndarray]:
        """Return what `_along` does after time t of gradient flow: the decay is exp(-lambda t)."""
        exponent = -np.multiply.outer(np.asarray(t, dtype=float), self.eigenvalues)
        return self._along(np.exp(exponent), -np.expm1(exponent), np.asarray(t, dtype=float))

    def descent(self, eta: float, k: np.ndarray) -> dict[str, np.ndarray]:
        """Return what `_along` does after k steps of gradient descent: the decay is (1 - eta lambda)^k."""
        k = np.asarray(k)
        decay = (1 - eta * self.eigenvalues) ** k[:, None]
        return self._along(decay, 1 - decay, eta * k)

    def _along(self, decay: np.ndarray, learned: np.ndarray, time: np.ndarray) -> dict[str, np.ndarray]:
        """Return the quantities of equation (eq-lazy), in units of eps (loss: eps^2), one value a time.

        overlap = d . D_T, rate = -grad L_S(d) . D_T, cosine of the latter, loss = L_S(d).
        A direction with lambda = 0 is never learned, but its overlap would grow as c_i t.
        """
        c, lam = self.weights, self.eigenvalues
        flat = lam < 1e-14 * lam.max()
        per_weight = np.where(flat, time[:, None], learned / np.where(flat, 1.0, lam))
        rate, size = decay @ c, np.sqrt(decay**2 @ (c * lam))
        cosine = rate / (self.size * size)
        return {"overlap": per_weight @ c, "rate": rate, "cosine": cosine, "loss": decay**2 @ c / 2}


def linearised_gradient(imitation: Imitation, theta_0: Tensor, d: Tensor, moved_t: Tensor) -> Tensor:
    """Return grad L_S(d) = E_x[J^T M (J d - J eps D_T)] in parameter space, given J eps D_T, (n, m)."""
    gap = (imitation.push(theta_0, d) - moved_t).unsqueeze(-1)
    return imitation.pull(theta_0, (imitation.metric(theta_0) @ gap).squeeze(-1))


def descend_linearised(
    imitation: Imitation, theta_0: Tensor, d_t: Tensor, eta: float, steps: int
) -> dict[str, np.ndarray]:
    """Train the linearised student (eps = 1) step by step in parameter space: the formula's independent check.

    Returns overlap, rate and cosine before each step 0 ... steps, named as in `LazyStudent`.
    """
    d, moved_t, rows = torch.zeros_like(theta_0), imitation.push(theta_0, d_t), []
    for _ in range(steps + 1):
        down = -linearised_gradient(imitation, theta_0, d, moved_t)
        rows.append((float(d @ d_t), float(down @ d_t), float(down @ d_t / (down.norm() * d_t.norm()))))
        d = d + eta * down
    return dict(zip(("overlap", "rate", "cosine"), np.array(rows).T, strict=True))


def flow_linearised(imitation: Imitation, theta_0: Tensor, d_t: Tensor, times: np.ndarray) -> np.ndarray:
    """Return the overlap d(t) . D_T (eps = 1) of the linearised student, its flow integrated numerically.

    Dormand and Prince's method of order 8 in parameter space, relative tolerance 1e-9.
    """
    moved_t = imitation.push(theta_0, d_t)

    def down(_: float, d: np.ndarray) -> np.ndarray:
        return -linearised_gradient(imitation, theta_0, torch.from_numpy(d), moved_t).numpy()

    start, scale = np.zeros(len(theta_0)), float(d_t.norm()) / len(theta_0) ** 0.5
    solution = scipy.integrate.solve_ivp(
        down, (0, times[-1]), start, method="DOP853", t_eval=times, rtol=1e-9, atol=1e-10 * scale
    )
    return solution.y.T @ d_t.numpy()


def descend(
    imitation: Imitation, theta_0: Tensor, theta_t: Tensor, eta: float, steps: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (theta_k, -grad L_S(theta_k)) of the real student under full-batch gradient descent, k = 0 ... steps."""
    theta, target = theta_0, imitation.distilled(theta_t)
    for _ in range(steps + 1):
        down = -grad(imitation.value)(theta, target)
        yield theta, down
        theta = theta + eta * down


def descend_adam(
    imitation: Imitation, theta_0: Tensor, theta_t: Tensor, lr: float, steps: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the same of the real student under full-batch Adam, at learning rate `lr`."""
    return adam_on(repeat(imitation, steps + 1), theta_0, theta_t, lr)


def adam_on(
    imitations: Iterable[Imitation], theta_0: Tensor, theta_t: Tensor, lr: float
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the same of the real student under Adam, on other inputs at each step k."""
    theta = theta_0.clone()
    theta.grad = torch.zeros_like(theta)
    adam = torch.optim.Adam([theta], lr=lr)
    for imitation in imitations:
        down = imitation.step(theta.detach(), theta_t)
        yield theta.clone(), down
        theta.grad.copy_(-down)
        adam.step()


def followed(path: Iterator[tuple[Tensor, Tensor]], theta_0: Tensor, d_t: Tensor) -> dict[str, np.ndarray]:
    """Return overlap and cosine along a real student's path, with D_T of any size, as `LazyStudent` names them.

    `progress` is the overlap in units of |D_T|^2.
    """
    size, rows = float(d_t @ d_t), []
    for theta, down in path:
        overlap = float((theta - theta_0) @ d_t)
        rows.append((overlap, float(down @ d_t), float(down @ d_t / (down.norm() * d_t.norm())), overlap / size))
    return dict(zip(("overlap", "rate", "cosine", "progress"), np.array(rows).T, strict=True))
