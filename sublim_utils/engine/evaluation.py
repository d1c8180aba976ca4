r"""What a network knows of the digits, measured so that an offset can't hide it.

Class logits z (..., n, 10), labels (..., n) or (n,). Raw accuracy takes the largest logit, so ten offsets can switch
it off without touching what was learned; the other measures cannot be fooled so:

- centred: each logit minus its mean over unlabelled images, judged on other images;
- calibrated: a temperature and ten offsets fitted on labelled training images;
- L_disc of `losses.discrimination`, the same whatever the offsets;
- a linear probe reads the last hidden layer with a head of its own.
"""

import torch
from torch import Tensor

from sublim_utils.engine import losses
from sublim_utils.engine.network import Network, Workspace
from sublim_utils.settings import N_CLASS

__all__ = [
    "EVAL_CHUNK",
    "NEWTON_STEPS",
    "RIDGE",
    "accuracy",
    "calibrated_accuracy",
    "centred_accuracy",
    "confusion",
    "entropy",
    "logits_of",
    "mutual_information",
    "outputs_of",
    "probe_accuracy",
]

EVAL_CHUNK = 2500  # inputs at a time, to bound the memory of an evaluation
RIDGE = 1e-3  # of the probe, in units of the features' mean square
NEWTON_STEPS = 12


@torch.no_grad()
def outputs_of(network: Network, theta: Tensor, x: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return logits (..., n, n_logits) and last hidden features (..., n, width) of many inputs (..., n, d), in chunks.

    Features are None where the network has none.
    """
    work, logits, features = Workspace(), [], []
    for part in x.split(EVAL_CHUNK, dim=-2):
        tape = network.forward(theta, part, work)
        logits.append(tape.logits.clone())
        if tape.features is not None:
            features.append(tape.features.clone())
    return torch.cat(logits, dim=-2), torch.cat(features, dim=-2) if features else None


def logits_of(network: Network, theta: Tensor, x: Tensor) -> Tensor:
    """Return the logits (..., n, n_logits) of many inputs, in chunks."""
    return outputs_of(network, theta, x)[0]


def confusion(logits: Tensor, labels: Tensor) -> Tensor:
    """Return how often class i (row) is read as class j (column), (..., 10, 10), counts."""
    predicted = logits[..., :N_CLASS].argmax(-1)
    cell = labels * N_CLASS + predicted
    counts = torch.zeros(*cell.shape[:-1], N_CLASS**2, device=logits.device)
    counts = counts.scatter_add_(-1, cell, torch.ones_like(cell, dtype=counts.dtype))
    return counts.view(*cell.shape[:-1], N_CLASS, N_CLASS)


def accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the share of inputs whose largest class logit is their label's, (...), 0 to 1."""
    return (logits[..., :N_CLASS].argmax(-1) == labels).float().mean(-1)


def centred_accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the accuracy of z - mean z, the mean taken without labels over the other half of the inputs.

    Halves are the first and the second; each is judged with the other's offsets, and the two are averaged.

    >>> z = torch.tensor([[9.0, 1.0], [9.0, 0.0], [9.0, 1.0], [9.0, 0.0]])
    >>> z = torch.nn.functional.pad(z, (0, 8), value=-99.0)
    >>> float(accuracy(z, torch.tensor([1, 0, 1, 0]))), float(centred_accuracy(z, torch.tensor([1, 0, 1, 0])))
    (0.5, 1.0)
    """
    z, half = logits[..., :N_CLASS], logits.shape[-2] // 2
    first, second = z[..., :half, :], z[..., half:, :]
    scores = (
        accuracy(first - second.mean(-2, keepdim=True), labels[..., :half]),
        accuracy(second - first.mean(-2, keepdim=True), labels[..., half:]),
    )
    return (scores[0] * half + scores[1] * (logits.shape[-2] - half)) / logits.shape[-2]


def _newton(z: Tensor, wanted: Tensor) -> Tensor:
    """Return (a, b_1 ... b_10) that minimise the cross-entropy of a z + b, by damped Newton steps, (..., 11)."""
    n, eye = z.shape[-2], torch.eye(N_CLASS, dtype=z.dtype, device=z.device)
    fit = torch.zeros(*z.shape[:-2], 1 + N_CLASS, dtype=z.dtype, device=z.device)
    fit[..., 0] = 1.0
    for _ in range(NEWTON_STEPS):
        p = (fit[..., None, :1] * z + fit[..., None, 1:]).softmax(-1)
        slope = torch.cat([((p - wanted) * z).sum((-2, -1))[..., None], (p - wanted).sum(-2)], -1) / n
        pz = p * z
        within = (p * z * z).sum(-1) - pz.sum(-1) ** 2
        mixed = (pz - p * pz.sum(-1, keepdim=True)).sum(-2) / n
        spread = (eye * p.mean(-2)[..., None]) - p.mT @ p / n
        curve = torch.cat([torch.cat([within.mean(-1)[..., None], mixed], -1)[..., None, :],
                           torch.cat([mixed[..., None], spread], -1)], -2)  # fmt: skip
        curve = curve + 1e-6 * torch.eye(1 + N_CLASS, dtype=z.dtype, device=z.device)
        step = torch.linalg.solve(curve, slope)
        fit = fit - step * (5.0 / step.norm(dim=-1, keepdim=True).clamp(min=5.0))
    return fit


def calibrated_accuracy(fitted: Tensor, fitted_labels: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
    """Return the accuracy of a z + b, a >= 0 and ten b fitted by maximum likelihood on the `fitted` logits.

    Where the likelihood asks for a < 0, a is 0 and one class is always read. Logits are centred and scaled to
    spread 1 before the fit, which changes nothing but its conditioning.
    """
    z, read = (part[..., :N_CLASS].double() for part in (fitted, logits))
    mean = z.mean(-2, keepdim=True)
    scale = (z - mean).square().mean((-2, -1), keepdim=True).sqrt().clamp(min=1e-12)
    fit = _newton((z - mean) / scale, losses.one_hot(fitted_labels, fitted).double())
    return accuracy(fit[..., None, :1].clamp(min=0) * (read - mean) / scale + fit[..., None, 1:], labels)


def entropy(counts: Tensor) -> Tensor:
    """Return the entropy of the predictions over the inputs, of a confusion matrix, in nats: 0 to log 10."""
    share = counts.sum(-2) / counts.sum((-2, -1))[..., None]
    return -torch.xlogy(share, share).sum(-1)


def mutual_information(counts: Tensor) -> Tensor:
    """Return the mutual information of label and prediction, of a confusion matrix, in nats: 0 to log 10."""
    joint = counts / counts.sum((-2, -1), keepdim=True)
    apart = joint.sum(-1, keepdim=True) * joint.sum(-2, keepdim=True)
    return (torch.xlogy(joint, joint) - torch.xlogy(joint, apart)).sum((-2, -1))


def probe_accuracy(fitted: Tensor, fitted_labels: Tensor, features: Tensor, labels: Tensor) -> Tensor:
    """Return the accuracy of a ridge regression from features (..., n, width) to the ten classes.

    One column of ones is added; the penalty is `RIDGE` times the features' mean square, on all weights.
    """
    ones = torch.nn.functional.pad(fitted, (0, 1), value=1.0).double()
    gram, n = ones.mT @ ones, ones.shape[-2]
    size = gram.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None]
    eye = torch.eye(ones.shape[-1], dtype=ones.dtype, device=ones.device)
    aims = torch.nn.functional.one_hot(fitted_labels, N_CLASS).double().expand(*fitted.shape[:-2], n, N_CLASS)
    # By Cholesky: torch.linalg.solve fails on batches of matrices of this size where MKL has two threads. A student
    # that diverged has no factor, and is told by its other numbers.
    root = torch.linalg.cholesky_ex(gram + RIDGE * size * eye).L
    weights = torch.cholesky_solve(ones.mT @ aims, root).to(features.dtype)
    return accuracy(torch.nn.functional.pad(features, (0, 1), value=1.0) @ weights, labels)
