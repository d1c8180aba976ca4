"""Liminal training: a penalty that holds the student near the reference's outputs for a while."""

from torch import Tensor

from sublim_utils.engine import losses
from sublim_utils.settings import Condition, Settings

__all__ = ["penalty_logits", "weight"]


def weight(condition: Condition, settings: Settings, step: int) -> float:
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


def penalty_logits(logits: Tensor, base: Tensor, mask: Tensor, temperature: float) -> Tensor:
    """Return dP/dlogits of the penalty P = T^2 KL(softmax(base / T) || softmax(logits / T)).

    `base` is log softmax(base / T) over the logits in `mask`; the batch is averaged over.

    >>> import torch
    >>> even = torch.full((1, 2), 0.5).log()
    >>> penalty_logits(torch.zeros(1, 2), even, torch.ones(2, dtype=bool), 2.0)
    tensor([[0., 0.]])
    """
    return losses.kl(logits / temperature, base, mask)[1] * temperature
