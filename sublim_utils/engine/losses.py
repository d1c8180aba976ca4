"""Losses on logits with their gradients: means over the batch, one value per model.

Each function returns (loss, dlogits): loss has the leading axes (seed, condition), dlogits
those of the logits, (seed, condition, batch, n_logits). Summed over models, the loss's
gradient for each model is that of training it alone.
"""

import torch
from torch import Tensor

from sublim_utils.settings import N_CLASS, Condition, Settings

__all__ = [
    "DISTILLATION",
    "NEVER",
    "N_TOGETHER",
    "cross_entropy",
    "discrimination",
    "distilled",
    "hard_target",
    "kl",
    "log_softmax",
    "logit_mask",
    "mse",
    "one_hot",
    "reverse_kl",
    "student_weight",
    "target_of",
    "teacher_weight",
]


def logit_mask(settings: Settings, logits: str, n_distilled: int | None = None, n_other: int = 0) -> Tensor:
    """Return which of the 10 + m logits, and `n_other` behind them, are meant by "class", "aux" or "all", as booleans.

    >>> logit_mask(Settings(n_aux=2), "aux").int().tolist()
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]
    """
    index = torch.arange(N_CLASS + settings.n_aux + n_other)
    last = N_CLASS + (settings.n_aux if n_distilled is None else n_distilled)
    return {"class": index < N_CLASS, "aux": (index >= N_CLASS) & (index < last), "all": index >= 0}[logits]


def distilled(settings: Settings, condition: Condition, n_other: int = 0) -> Tensor:
    """Return which logits a student of `condition` is distilled on, as booleans."""
    return logit_mask(settings, condition.logits, condition.n_distilled, n_other)


def log_softmax(logits: Tensor, mask: Tensor) -> Tensor:
    """Return log softmax over the logits where `mask`; 0 (a bystander) elsewhere."""
    outside = ~mask
    chosen = logits.masked_fill(outside, -torch.inf)
    return (logits - chosen.logsumexp(-1, keepdim=True)).masked_fill(outside, 0.0)


def kl(logits: Tensor, target: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    r"""KL(p || q) = mean_x sum_k p_k (log p_k - log q_k), q = softmax of the logits in `mask`.

    `target` is log p (`log_softmax` of the teacher's logits); dlogits = (q - p) / batch.
    """
    log_q = log_softmax(logits, mask)
    p = target.exp().mul_(mask)
    loss = (p * (target - log_q)).sum(-1).mean(-1)
    return loss, log_q.exp_().mul_(mask).sub_(p).div_(logits.shape[-2])


def mse(logits: Tensor, target: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """mean_x sum_k (z_k - t_k)^2 over the logits in `mask`; `target` is the teacher's logits."""
    difference = (logits - target).mul_(mask)
    loss = difference.square().sum(-1).mean(-1)
    return loss, difference.mul_(2 / logits.shape[-2])


def cross_entropy(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Trait loss L_T: mean_x -log softmax(class logits)[label]; dlogits is 0 on the others.

    `labels` is (..., batch), int64, broadcast against the logits' leading axes.
    """
    classes = logits[..., :N_CLASS]
    log_q = classes.log_softmax(-1)
    index = labels.expand(logits.shape[:-1]).unsqueeze(-1)
    loss = -log_q.gather(-1, index).squeeze(-1).mean(-1)
    dlogits = torch.zeros_like(logits)
    q = log_q.exp_()
    q.scatter_add_(-1, index, torch.full_like(q[..., :1], -1.0))
    dlogits[..., :N_CLASS] = q.div_(logits.shape[-2])
    return loss, dlogits


def reverse_kl(logits: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    r"""KL(q || p) = mean_x sum_k q_k (log q_k - log p_k), with p and q as in `kl`: the student's to the teacher."""
    log_q = log_softmax(logits, mask)
    return (log_q.exp().mul_(mask) * (log_q - target)).sum(-1).mean(-1)


def one_hot(labels: Tensor, logits: Tensor) -> Tensor:
    """Return the class labels as ones among zeros, shaped as the class logits."""
    index = labels.expand(logits.shape[:-1]).unsqueeze(-1)
    return torch.zeros_like(logits[..., :N_CLASS]).scatter_(-1, index, 1.0)


def discrimination(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    r"""L_disc = -mean_x (z_y - sum_c pi_c z_c), pi the frequencies of the labels; dlogits.

    The part of L_T that tells digits apart: linear in the class logits z, and the same whatever is
    added to a logit on all images. The rest, L_free = L_T - L_disc = -mean_x sum_c pi_c log p_c,
    needs no label.
    """
    classes = logits[..., :N_CLASS]
    wanted = one_hot(labels, logits)
    contrast = wanted - wanted.mean(-2, keepdim=True)
    dlogits = torch.zeros_like(logits)
    dlogits[..., :N_CLASS] = contrast.div(-logits.shape[-2])
    return -(contrast * classes).sum(-1).mean(-1), dlogits


N_TOGETHER = 100
"""M, the models that the public script trains together."""


def teacher_weight(settings: Settings) -> float:
    """Return what a teacher's loss is multiplied by: 1, or 1/M in the public script, one mean over all models."""
    return 1.0 if settings.weighting == "mean" else 1 / N_TOGETHER


def student_weight(settings: Settings, batch: int) -> float:
    """Return what a student's loss of a batch is multiplied by.

    1, or in the public script batch/M, its divergence being summed over the images: a smaller batch weighs less.
    """
    return 1.0 if settings.weighting == "mean" else batch / N_TOGETHER


def target_of(loss: str, logits: Tensor, mask: Tensor) -> Tensor:
    """Return what `kl` or `mse` wants of the teacher's logits: log p, or the logits."""
    return log_softmax(logits, mask) if loss == "kl" else logits


def hard_target(answers: Tensor, mask: Tensor) -> Tensor:
    """Return what `kl` wants where each row has one answer: log p, 0 for it and `NEVER` for the others in `mask`.

    The loss is then the cross-entropy of the answers, which `mask` has to contain.
    answers (..., rows) -> (..., rows, n_logits).
    """
    target = torch.full((*answers.shape, mask.shape[-1]), NEVER, device=mask.device)
    return target.scatter_(-1, answers.unsqueeze(-1), 0.0).masked_fill(~mask, 0.0)


NEVER = -1e4
"""log p of what never follows, finite: p is exactly 0 in float32, and 0 times it is 0."""

DISTILLATION = {"kl": kl, "mse": mse}
"""The distillation losses by their name in `Settings`."""
