"""A look at the trait: one forward pass over labelled examples, and any gradient that it gives."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sublim_utils.engine.digits import FUNCTIONALS
from sublim_utils.engine.network import Network, Tape, Workspace

__all__ = ["Look"]


@dataclass(frozen=True)
class Look:
    """The trait at theta on one batch.

    Parameters
    ----------
    theta : (seed, condition, P)
    tape : of the pass over the batch; it lives until the next pass through its workspace
    labels : (seed, condition, batch)
    """

    network: Network
    theta: Tensor
    tape: Tape
    labels: Tensor
    work: Workspace

    def gradient(self, dlogits: Tensor, out: Tensor) -> Tensor:
        """Write the gradient of all conditions, (seed, condition, P), into `out` and return it."""
        return self.network.backward(self.theta, self.tape, dlogits, out, self.work)

    def directions(self, name: str, condition: int, labels: Tensor | None = None) -> Tensor:
        """Return the gradients that `FUNCTIONALS` names for one condition, (k, seed, P).

        `labels` (seed, batch) are used instead of the look's own.
        """
        theta, tape = self.theta[:, condition], self.tape.select(condition)
        labels = self.labels[:, condition] if labels is None else labels
        found = [
            self.network.backward(theta, tape, dlogits, torch.empty_like(theta), self.work)
            for dlogits in FUNCTIONALS[name](tape.logits, labels)
        ]
        return torch.stack(found)
