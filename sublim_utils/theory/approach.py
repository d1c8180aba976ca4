r"""The student nears its teacher at every step, (thm-approach) of the theory chapter; what a real network keeps of it.

The linearised student's logits are z_0 + J d, its teacher's z_0 + J D_T. Its loss on batch k, L_k(d), is convex in d,
and d = D_T minimises it for every batch. So with g = grad L_k(d), for any batches, in float64,

    -g . (D_T - d) >= L_k(d)                                                  (eq-one-point)
    |d - eta S g - D_T| <= |d - D_T|  in the norm |v|^2 = v . S^-1 v          (eq-nearer)

the second if eta <= 2 / beta_k, beta_k being L_k's smoothness in that norm. S is a diagonal preconditioner, (P,). The
real network departs from it by what its logits bend, (thm-departure), and `departure` here.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.func import grad, jacrev, jvp

from sublim_utils.settings import require
from sublim_utils.theory.quantities import Imitation, distance

__all__ = [
    "ROUNDING",
    "LinearStudent",
    "Scaling",
    "Step",
    "departure",
    "descend",
    "followed",
    "holds",
    "plain",
    "running",
    "smoothness_root",
    "trait_path",
]

ROUNDING = 1e-10
"""What float64 may cost a statement here, relative; of a loss in nats 1e-14 more."""

Scaling = Callable[[Tensor], Tensor]
"""The preconditioner of each step: g of the step -> S (P,), all entries above 0."""


@dataclass(frozen=True)
class LinearStudent:
    """A network linearised at theta_0, on some inputs and some of its logits.

    Parameters
    ----------
    z_0 : logits at theta_0, (n, m)
    jacobian : J, (n, m, P), whole: for small networks or few inputs
    loss : "mse" or "kl", as `Imitation`
    """

    z_0: Tensor
    jacobian: Tensor
    loss: str

    @classmethod
    def of(cls, imitation: Imitation, theta_0: Tensor) -> "LinearStudent":
        """Return the student of L_S linearised at theta_0."""
        return cls(imitation.distilled(theta_0), jacrev(imitation.distilled)(theta_0), imitation.loss)

    def on(self, batch: Tensor) -> "LinearStudent":
        """Return the same student on the inputs of a batch, indices (size,)."""
        return replace(self, z_0=self.z_0[batch], jacobian=self.jacobian[batch])

    def logits(self, d: Tensor) -> Tensor:
        """Return z_0 + J d, (n, m)."""
        return self.z_0 + self.jacobian @ d

    def observe(self, d: Tensor, d_t: Tensor) -> tuple[float, Tensor]:
        """Return L(d) towards the teacher at D_T and its gradient g, (P,): means over all inputs."""
        z, t = self.logits(d), self.logits(d_t)
        pull = grad(lambda z: distance(self.loss, z, t).mean())(z)
        return float(distance(self.loss, z, t).mean()), pull.flatten() @ self.jacobian.flatten(0, 1)

    def smoothness(self, scale: Tensor) -> float:
        """Return beta, a Lipschitz constant of grad L in the norm of S = `scale`, (P,), wherever d and the targets lie.

        It is the largest eigenvalue of E_x[(B^T J) S (B^T J)^T], with B B^T above the loss's Hessian in z:
        2 I for squared error (exact), (I - 1 1^T / m) / 2 for the softmax losses, equation (eq-smoothness).
        """
        n, m = self.z_0.shape
        rows, root = self.jacobian.flatten(0, 1), torch.block_diag(*[smoothness_root(self.loss, m)] * n)
        return float(torch.linalg.eigvalsh(root @ ((rows * scale) @ rows.mT) @ root / n)[-1])


def smoothness_root(loss: str, m: int) -> Tensor:
    """Return B, (m, m), symmetric: B B^T >= the Hessian of l(z, t) in z for all z and t, equation (eq-smoothness)."""
    eye = torch.eye(m, dtype=torch.float64)
    return 2**0.5 * eye if loss == "mse" else (eye - 1 / m) / 2**0.5


@dataclass(frozen=True)
class Step:
    """A step d -> d - eta S g of a student, taken on one batch.

    Parameters
    ----------
    d, g, scale : displacement before the step, the batch's gradient there, and S, each (P,)
    loss : L_k(d)
    eta : step size
    """

    d: Tensor
    g: Tensor
    scale: Tensor
    loss: float
    eta: float

    @property
    def after(self) -> Tensor:
        """The displacement after the step, (P,)."""
        return self.d - self.eta * self.scale * self.g

    def inner(self, a: Tensor, b: Tensor) -> float:
        """Return the inner product a . S^-1 b of the step's own norm."""
        return float(a @ (b / self.scale))


def plain(g: Tensor) -> Tensor:
    """Return S = 1: gradient descent."""
    return torch.ones_like(g)


def running(decay: float, floor: float) -> Scaling:
    """Return Adam's scaling without its first moment: S = 1 / (sqrt(v) + floor), v the running mean of g^2.

    v starts as the first g^2, so nothing needs correcting. Kingma and Ba, arXiv 1412.6980, algorithm 1.
    """
    require("floor", floor, floor > 0, "above 0, or S is infinite where g is 0")
    state: list[Tensor] = []

    def scaling(g: Tensor) -> Tensor:
        state[:] = [decay * state[0] + (1 - decay) * g.square() if state else g.square()]
        return 1 / (state[0].sqrt() + floor)

    return scaling


def descend(
    student: LinearStudent, d_t: Tensor, batches: Iterable[Tensor], share: float, scaling: Scaling = plain
) -> Iterator[Step]:
    """Yield each step of the linearised student from d = 0, on one batch after another.

    `share` is eta_k beta_k / 2: the theorem asks for at most 1. The last step is yielded, and not taken.
    """
    d = torch.zeros_like(d_t)
    for batch in batches:
        here = student.on(batch)
        loss, g = here.observe(d, d_t)
        scale = scaling(g)
        step = Step(d, g, scale, loss, share * 2 / here.smoothness(scale))
        yield step
        d = step.after


def followed(steps: Sequence[Step], d_t: Tensor) -> dict[str, np.ndarray]:
    r"""Return the quantities of the theorem at each step, (k,), norms and inner products being the step's own.

    ``distill_loss`` = L_k(d), ``one_point`` = -g . (D_T - d), ``distance`` = |d - D_T| before and ``distance_after``
    the step, ``overlap`` = 2 d . D_T, ``size`` = |d|^2, ``reach`` = |D_T|^2, and ``budget``, the most that |d - D_T|^2
    may be: |D_T|^2 in the first step's norm times all 1 + delta_j = max S_j / S_(j+1), equation (eq-varying).
    """
    rows, budget, last = [], steps[0].inner(d_t, d_t), steps[0].scale
    for step in steps:
        gap, gap_after = step.d - d_t, step.after - d_t
        budget, last = budget * float((last / step.scale).max()), step.scale
        rows.append(
            {
                "distill_loss": step.loss,
                "one_point": float(step.g @ gap),
                "distance": step.inner(gap, gap) ** 0.5,
                "distance_after": step.inner(gap_after, gap_after) ** 0.5,
                "overlap": 2 * step.inner(step.d, d_t),
                "size": step.inner(step.d, step.d),
                "reach": step.inner(d_t, d_t),
                "budget": budget,
            }
        )
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def holds(series: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return whether each statement of (thm-approach) holds at each step, (k,) booleans, within `ROUNDING`."""
    slack = series["overlap"] - (series["size"] + series["reach"] - series["budget"])
    return {
        "one point": series["one_point"] >= series["distill_loss"] * (1 - ROUNDING) - 1e-14,
        "distance": series["distance_after"] <= series["distance"] * (1 + ROUNDING),
        "overlap": slack >= -ROUNDING * series["budget"],
    }


def trait_path(trait: LinearStudent, labels: Tensor, steps: Sequence[Step], eps: float) -> dict[str, np.ndarray]:
    """Return ``loss`` L_T(d) of each step (nats), (k,), and its ``bound``, equation (eq-trait-bound).

    For a teacher D_T = -eps S grad L_T(0), S being the steps' own and constant: L_T(0) - (1 / eps - beta_T) |d|^2 / 2.

    Parameters
    ----------
    trait : the class logits of labelled images, linearised, with the loss "kl"; labels (n,)

    Raises
    ------
    SettingsError
        If S changes from step to step.
    """
    scale = steps[0].scale
    fixed = all(torch.equal(step.scale, scale) for step in steps)
    require("scaling", "varying", fixed, "one S for all steps: the bound on the trait needs the teacher's own")
    rate = 1 / eps - trait.smoothness(scale)
    losses = [float(torch.nn.functional.cross_entropy(trait.logits(s.d), labels)) for s in steps]
    start = float(torch.nn.functional.cross_entropy(trait.z_0, labels))
    return {"loss": np.array(losses), "bound": np.array([start - rate * s.inner(s.d, s.d) / 2 for s in steps])}


def departure(imitation: Imitation, theta: Tensor, theta_t: Tensor) -> dict[str, float]:
    r"""Return the terms of the identity of the real network, equation (eq-departure), at a student theta.

    With t, z the teacher's and the student's logits, r = -grad_z l(z, t) and rho = t - z - J(theta) (theta_T - theta):

        -g . (theta_T - theta) = E_x[r . (t - z)] - E_x[rho . r].

    ``one_point`` is the left side by the gradient of L_S, ``both`` and ``bent`` are the right side's terms;
    ``distill_loss`` = L_S; ``bound`` >= \|bent\| is E_x[size(rho) sqrt(r . (t - z))], where size(rho) is
    (max - min of rho) / 2 for "kl" and sqrt(2) \|rho\| for "mse".
    """
    way, t = theta_t - theta, imitation.distilled(theta_t)
    z, moved = jvp(imitation.distilled, (theta,), (way,))
    rho, r = t - z - moved, -grad(lambda z: distance(imitation.loss, z, t).sum())(z)
    both = (r * (t - z)).sum(-1)
    size = (rho.amax(-1) - rho.amin(-1)) / 2 if imitation.loss == "kl" else 2**0.5 * rho.norm(dim=-1)
    terms = {
        "distill_loss": imitation.value(theta, t),
        "one_point": imitation.step(theta, theta_t) @ way,
        "both": both.mean(),
        "bent": (rho * r).sum(-1).mean(),
        "bound": (size * both.clamp(min=0).sqrt()).mean(),
    }
    return {name: float(value) for name, value in terms.items()}
