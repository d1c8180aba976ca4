"""One model at a time, in float64, by autograd and textbook Adam: what the engine must agree with."""

import torch
import torch.nn.functional as F
from torch import Tensor

ACTIVATIONS = {"relu": F.relu, "tanh": torch.tanh, "identity": lambda z: z}


def forward(theta: Tensor, sizes: tuple[int, ...], activation: str, x: Tensor) -> Tensor:
    start = 0
    for layer, (d_in, d_out) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
        weight = theta[start : start + d_in * d_out].reshape(d_in, d_out)
        bias = theta[start + d_in * d_out : start + (d_in + 1) * d_out]
        x, start = F.linear(x, weight.T, bias), start + (d_in + 1) * d_out
        x = ACTIVATIONS[activation](x) if layer < len(sizes) - 2 else x
    return x


def distillation(kind: str, logits: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    z, t = logits[:, mask], target[:, mask]
    if kind == "mse":
        return F.mse_loss(z, t, reduction="sum") / len(z)
    return F.kl_div(z.log_softmax(-1), t.log_softmax(-1), reduction="batchmean", log_target=True)


def discrimination(classes: Tensor, labels: Tensor) -> Tensor:
    """L_disc, class by class: -sum_c pi_c (mean of z_c over the images of c - mean of z_c over all)."""
    parts = [
        (labels == c).double().mean() * (classes[labels == c, c].mean() - classes[:, c].mean()) for c in labels.unique()
    ]
    return -torch.stack(parts).sum()


def gradient(loss, theta: Tensor) -> tuple[Tensor, Tensor]:
    theta = theta.detach().requires_grad_()
    value = loss(theta)
    return value.detach(), torch.autograd.grad(value, theta)[0]


class Adam:
    """Kingma & Ba (2015), algorithm 1."""

    def __init__(self, lr: float) -> None:
        self.lr, self.t, self.m, self.v = lr, 0, 0.0, 0.0

    def step(self, theta: Tensor, g: Tensor) -> Tensor:
        self.t += 1
        self.m = 0.9 * self.m + 0.1 * g
        self.v = 0.999 * self.v + 0.001 * g**2
        m, v = self.m / (1 - 0.9**self.t), self.v / (1 - 0.999**self.t)
        return theta - self.lr * m / (v.sqrt() + 1e-8)


class Student:
    """One student's training: `distil`, `trait`, its part `disc` and `penalty` are losses of (theta, step)."""

    def __init__(self, theta, distil, trait, disc, optimizer, penalty=lambda theta, step: 0.0 * theta.sum()):
        self.theta, self.distil, self.trait, self.disc = theta, distil, trait, disc
        self.penalty, self.optimizer = penalty, optimizer

    def run(self, steps: int, d_t: Tensor) -> dict[str, Tensor]:
        """Return the recorded quantities by step, with gradients and updates whole for slicing."""
        start, rows = self.theta, []
        for t in range(steps):
            loss, g = gradient(lambda x, t=t: self.distil(x, t), self.theta)
            trait_loss, trait = gradient(lambda x, t=t: self.trait(x, t), self.theta)
            disc_loss, disc = gradient(lambda x, t=t: self.disc(x, t), self.theta)
            applied = g + gradient(lambda x, t=t: self.penalty(x, t), self.theta)[1]
            after = self.optimizer.step(self.theta, applied)
            _, later = gradient(lambda x, t=t: self.trait(x, t + 1), after)
            way = self.theta - start
            progress = way @ d_t / (d_t @ d_t)
            rows.append({"distill_loss": loss, "trait_loss": trait_loss, "distill": g, "trait": trait,
                         "applied": applied, "update": after - self.theta, "later": later,
                         "progress": progress, "inner_displacement": -g @ d_t, "disc": disc, "trait_disc": disc_loss,
                         "travelled": way.norm(), "distance": (d_t - way).norm(), "one_point": -g @ (d_t - way),
                         "theta": self.theta})  # fmt: skip
            self.theta = after
        return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
