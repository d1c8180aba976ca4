r"""The single-step theory, so that every statement of it can be checked in float64.

Notation of the book: theta_0 the common start, theta_T = theta_0 + eps D_T the teacher,
L_S(theta) = E_x l(z(x; theta), z(x; theta_T)) the student's loss on the distilled logits,
D_S = -grad L_S(theta_0) its step, J the Jacobian of the logits at theta_0, and
M = d/dt of -grad_z l(z, t) at t = z. Sources: Cloud et al. (arXiv 2507.14805), section 6.1
and appendix C; equation labels are those of the theory chapter, where no other is named. Everything here
is differentiable and works on one model: theta is (P,), inputs x are (n, d_in), logits (n, n_logits).
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.func import grad, jvp, vjp

from sublim_utils.engine import evaluation
from sublim_utils.engine.network import MLP, Network
from sublim_utils.settings import N_CLASS, require

__all__ = [
    "Imitation",
    "Trait",
    "adam_step",
    "dense",
    "distance",
    "hidden",
    "layer_cosines",
    "logits",
    "metric_root",
    "order",
    "predicted_change",
    "random_like",
    "same_pattern",
    "slope_at_zero",
    "split",
    "student_inner",
    "vector_cosine",
]


def logits(network: Network, theta: Tensor, x: Tensor) -> Tensor:
    """Return z(x; theta), (n, n_logits), of any network."""
    return network.logits(theta, x)


def dense(network: Network) -> MLP:
    """Return a network made of dense layers; the formulas that hold only for these refuse any other.

    Raises
    ------
    SettingsError
        If it is no MLP.
    """
    require("network", network, isinstance(network, MLP), "an MLP: the formula holds for dense layers only")
    return network


def hidden(mlp: Network, theta: Tensor, x: Tensor) -> list[Tensor]:
    """Return [x, h_1, ..., h_(L-1)]: what each layer gets as its input, each (n, d_in of the layer); of an MLP only."""
    return dense(mlp).inputs(theta, x)


def same_pattern(mlp: Network, x: Tensor, theta: Tensor, others: list[Tensor]) -> Tensor:
    """Say for which inputs no hidden unit changes sign between theta and any of `others`, (n,) booleans.

    Where it holds a ReLU network has no kink on the way, and is as smooth as Lemma 1 asks. Of an MLP only.
    """
    signs = [[h > 0 for h in hidden(mlp, t, x)[1:]] for t in (theta, *others)]
    same = [(a == b).all(-1) for other in signs[1:] for a, b in zip(signs[0], other, strict=True)]
    return torch.stack([torch.ones(len(x), dtype=torch.bool, device=x.device), *same]).all(0)


@dataclass(frozen=True)
class Trait:
    """The trait loss L_T(theta): cross-entropy of the class logits on real images (nats).

    Parameters
    ----------
    x, y : images (n, d_in) and labels (n,); L_T is the mean over exactly these
    """

    mlp: Network
    x: Tensor
    y: Tensor

    def loss(self, theta: Tensor) -> Tensor:
        """Return L_T(theta), a scalar."""
        return self.losses(theta)["trait"]

    def losses(self, theta: Tensor) -> dict[str, Tensor]:
        """Return L_T, L_disc and L_free = L_T - L_disc at theta, scalars (nats): equation (eq-parts)."""
        return self._parts(logits(self.mlp, theta, self.x)[:, :N_CLASS])

    def _parts(self, z: Tensor) -> dict[str, Tensor]:
        shares = torch.nn.functional.one_hot(self.y, N_CLASS).to(z.dtype).mean(0)
        trait = torch.nn.functional.cross_entropy(z, self.y)
        disc = (z @ shares).mean() - z.gather(1, self.y[:, None]).mean()
        return {"trait": trait, "disc": disc, "free": trait - disc}

    def gradient(self, theta: Tensor) -> Tensor:
        """Return grad L_T(theta), (P,); the theorem's D_T is its negative at theta_0."""
        return grad(self.loss)(theta)

    def curvature(self, theta: Tensor, d: Tensor) -> Tensor:
        """Return d^T H d with H the Hessian of L_T at theta, by one Hessian-vector product."""
        return d @ jvp(grad(self.loss), (theta,), (d,))[1]

    def evaluate(self, theta: Tensor) -> dict[str, float]:
        """Return what is read at theta: the losses (nats), and the accuracies ``raw`` and ``centred`` (0 to 1)."""
        z = logits(self.mlp, theta, self.x)[:, :N_CLASS]
        accuracies = {"raw": evaluation.accuracy(z, self.y), "centred": evaluation.centred_accuracy(z, self.y)}
        return {name: float(value) for name, value in (self._parts(z) | accuracies).items()}


@dataclass(frozen=True)
class Imitation:
    """The student's loss L_S: which inputs, which loss, which logits.

    Parameters
    ----------
    x : distillation inputs (n, d_in); the expectation is the mean over exactly these
    mask : which logits are distilled, (n_logits,) booleans
    loss : "mse", sum_k (z_k - t_k)^2, or "kl", KL(softmax(t) || softmax(z)), over those logits
    """

    mlp: Network
    x: Tensor
    mask: Tensor
    loss: str = "kl"

    def distilled(self, theta: Tensor) -> Tensor:
        """Return z(x; theta) on the distilled logits, (n, m)."""
        return logits(self.mlp, theta, self.x)[:, self.mask]

    def value(self, theta: Tensor, target: Tensor) -> Tensor:
        """Return L_S(theta) towards the logits `target` (n, m), equation (eq-losses), a scalar."""
        return distance(self.loss, self.distilled(theta), target).mean()

    def step(self, theta: Tensor, theta_t: Tensor) -> Tensor:
        """Return D_S = -grad L_S(theta) towards the teacher theta_T, (P,): one step of unit size."""
        target = self.distilled(theta_t)
        return -grad(self.value)(theta, target)

    def pull_to_uniform(self, theta: Tensor) -> Tensor:
        """Return E_x[J^T (u - p(z))], u uniform, (P,): the part of D_S that knows no teacher, equation (eq-own-part).

        Only for the loss "kl": it is the step towards a teacher whose distilled logits are all equal.
        """
        target = torch.zeros_like(self.distilled(theta))
        return -grad(self.value)(theta, target)

    def push(self, theta: Tensor, d: Tensor) -> Tensor:
        """Return J d, (n, m): how the distilled logits move along d."""
        return jvp(self.distilled, (theta,), (d,))[1]

    def pull(self, theta: Tensor, v: Tensor) -> Tensor:
        """Return E_x[J^T v] = J^T v / n, (P,), of one vector v(x) for each input, (n, m)."""
        return vjp(self.distilled, theta)[1](v)[0] / len(v)

    def metric(self, theta: Tensor) -> Tensor:
        """Return M(x), (n, m, m), equation (eq-metric), at z = z(x; theta)."""
        root = metric_root(self.loss, self.distilled(theta))
        return root @ root.mT

    def rate(self, theta_0: Tensor, d_t: Tensor) -> Tensor:
        """Return A = E_x[(J D_T)^T M (J D_T)], equation (eq-A): by a Jacobian-vector product, not by L_S."""
        moved = self.push(theta_0, d_t)
        return torch.einsum("ni,nij,nj->n", moved, self.metric(theta_0), moved).mean()

    def curvature(self, theta_0: Tensor, d: Tensor) -> Tensor:
        """Return K d, (P,), with K = E_x[J^T M J] of equation (eq-lazy-loss)."""
        moved = self.push(theta_0, d).unsqueeze(-1)
        return self.pull(theta_0, (self.metric(theta_0) @ moved).squeeze(-1))


def distance(loss: str, z: Tensor, t: Tensor) -> Tensor:
    """Return l(z, t) of each input, (n,), equation (eq-losses): squared error or KL(softmax t || softmax z)."""
    if loss == "mse":
        return (z - t).square().sum(-1)
    log_p, log_q = t.log_softmax(-1), z.log_softmax(-1)
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def metric_root(loss: str, z: Tensor) -> Tensor:
    """Return B(x), (n, m, m), with B B^T = M: sqrt(2) I, or diag(s) (I - s s^T) with s = sqrt(softmax z).

    Since |s| = 1, I - s s^T is a projection, and B B^T = diag(p) - p p^T.
    """
    eye = torch.eye(z.shape[-1], dtype=z.dtype, device=z.device)
    if loss == "mse":
        return (2**0.5 * eye).expand(*z.shape, -1)
    s = z.softmax(-1).sqrt()
    return s.unsqueeze(-1) * (eye - s.unsqueeze(-1) * s.unsqueeze(-2))


def student_inner(imitation: Imitation, theta_0: Tensor, d_t: Tensor, eps: np.ndarray) -> np.ndarray:
    """Return D_S . D_T for a teacher at theta_0 + eps D_T, for each eps; D_S comes from L_S's own gradient."""
    return np.array([float(imitation.step(theta_0, theta_0 + e * d_t) @ d_t) for e in eps])


def slope_at_zero(eps: np.ndarray, inner: np.ndarray) -> float:
    """Return a of the least-squares fit inner / eps = a + b eps: the measured slope in eps at 0.

    >>> round(slope_at_zero(np.array([0.1, 0.2, 0.3]), np.array([0.31, 0.64, 0.99])), 6)
    3.0
    """
    return float(np.polynomial.polynomial.polyfit(eps, inner / eps, 1)[0])


def order(eps: np.ndarray, remainder: np.ndarray, scatter: float = np.inf) -> float:
    """Return k of the log-log fit |remainder| = c eps^k, NaN if points lie off it by more than `scatter` (natural log).

    A remainder that is lost in rounding follows no power, and scatters.

    >>> round(order(np.array([0.1, 0.2, 0.4]), np.array([0.01, 0.04, 0.16]), 0.1), 6)
    2.0
    """
    x, y = np.log(eps), np.log(np.abs(remainder))
    line = np.polynomial.Polynomial.fit(x, y, 1).convert()
    return float(line.coef[1]) if np.abs(y - line(x)).max() <= scatter else float("nan")


def vector_cosine(a: Tensor, b: Tensor) -> float:
    """Return <a, b> / (|a| |b|), NaN where one of them is 0."""
    size = float(a.norm() * b.norm())
    return float(a @ b) / size if size else float("nan")


def random_like(d: Tensor, rng: torch.Generator) -> Tensor:
    """Return a direction uniform on the sphere of radius |d|, (P,)."""
    drawn = torch.randn(d.shape, generator=rng, dtype=d.dtype)
    return drawn * (d.norm() / drawn.norm())


def layer_cosines(network: Network, a: Tensor, b: Tensor) -> np.ndarray:
    """Return the cosine of a and b within each layer, (n_layers,); NaN where one of them is 0 there."""
    return np.array([vector_cosine(a[part], b[part]) for part in network.parts.values()])


def adam_step(d_s: Tensor, lr: float = 1.0) -> Tensor:
    """Return Adam's first step along D_S = -grad L, (P,): lr D_S / (|D_S| + 1e-8), element by element.

    Equation (eq-adam-first) of the chapter single_step: Adam's two running means are then the gradient and its square.

    >>> adam_step(torch.tensor([3.0, -2.0, 0.0]), lr=0.5).tolist()
    [0.5, -0.5, 0.0]
    """
    return lr * d_s / (d_s.abs() + 1e-8)


def split(imitation: Imitation, theta_0: Tensor, g_T: Tensor, d_t: Tensor, d_s: Tensor) -> dict[str, np.ndarray]:
    """Return the parts of -g_T . D_S, g_T = grad L_T(theta_0), for some teachers theta_0 + D_T; they add up to it.

    With D_T = -c g_T + R and R . g_T = 0, equation (eq-split) of the chapter single_step:
    signed = c g_T^T K g_T has c's sign by Lemma 1; cross = -g_T^T K R has none; beyond = what is left,
    of second order in D_T. d_t, d_s : D_T and D_S of each teacher, (k, P); each part is (k,).
    """
    k_g = imitation.curvature(theta_0, g_T)
    near, whole = -(d_t @ k_g), -(d_s @ g_T)
    signed = -(d_t @ g_T) / (g_T @ g_T) * (g_T @ k_g)
    parts = {"signed": signed, "cross": near - signed, "beyond": whole - near}
    return {name: part.numpy(force=True) for name, part in parts.items()}


def predicted_change(trait: Trait, theta: Tensor, d: Tensor, sizes: np.ndarray) -> dict[str, np.ndarray]:
    """Return the change of L_T along a step eta d, for each eta: first order, second order, and measured.

    first = eta g_T . d, second = first + eta^2 d^T H d / 2, actual = L_T(theta + eta d) - L_T(theta), equation
    (eq-second-order) of the chapter single_step, with g_T and H the gradient and the Hessian of L_T at theta;
    `accuracy` is its change on the same images.
    """
    first = sizes * float(trait.gradient(theta) @ d)
    second = first + sizes**2 * float(trait.curvature(theta, d)) / 2
    read = [trait.evaluate(theta + eta * d) for eta in (0.0, *sizes)]
    actual, accuracy = (np.array([one[name] - read[0][name] for one in read[1:]]) for name in ("trait", "raw"))
    return {"first": first, "second": second, "actual": actual, "accuracy": accuracy}
