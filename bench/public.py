"""The public script's method, written anew: what everyone else's replication starts from.

M models are trained at once as stacked linear layers, by autograd and torch's Adam. Every model
has its own copy of the noise; a batch is gathered by a Python loop over models; the teacher's
targets are computed anew at every step; the four kinds of student are trained one after the other.
One thing differs: the loss is a mean over the batch for each model, as ours is, where the script
divides by the number of models. That costs the same and makes the two methods' results comparable.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sublim_utils.engine.network import MLP
from sublim_utils.settings import N_CLASS, Condition, Settings


class StackedLinear(nn.Module):
    """M linear layers side by side: weight (M, d_out, d_in), bias (M, d_out)."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.mT.clone(memory_format=torch.contiguous_format))
        self.bias = nn.Parameter(bias.clone())

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs (M, batch, d_out) of x (M, batch, d_in)."""
        return torch.einsum("moi,mbi->mbo", self.weight, x) + self.bias[:, None, :]


def network(mlp: MLP, theta: Tensor) -> nn.Sequential:
    """Return M networks with the parameters theta (M, P), as one module."""
    layers: list[nn.Module] = []
    for weight, bias in mlp.unflatten(theta):
        layers += [StackedLinear(weight, bias), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def flat(networks: nn.Sequential) -> Tensor:
    """Return the parameters of M networks as theta, (M, P)."""
    layers = [part for part in networks if isinstance(part, StackedLinear)]
    parts = [(layer.weight.mT.flatten(1), layer.bias) for layer in layers]
    return torch.cat([part.detach() for pair in parts for part in pair], dim=1)


def gather(values: Tensor, index: Tensor) -> Tensor:
    """Return the rows index (M, batch) of values (M, n, ...), model by model."""
    return torch.stack([values[m].index_select(0, index[m]) for m in range(len(index))], 0)


class Teachers:
    """M teachers in training on the class logits."""

    def __init__(self, settings: Settings, theta: Tensor, x: Tensor, y: Tensor) -> None:
        self.networks = network(MLP.of(settings), theta)
        self.x, self.y = (v.expand(len(theta), *v.shape) for v in (x, y))
        self.adam = torch.optim.Adam(self.networks.parameters(), lr=settings.teacher_lr)

    def step(self, index: Tensor) -> None:
        """Take one step on the images index, (M, batch)."""
        logits = self.networks(gather(self.x, index))[..., :N_CLASS]
        loss = F.cross_entropy(logits.flatten(0, 1), gather(self.y, index).flatten(), reduction="sum")
        self.adam.zero_grad()
        (loss / index.shape[1]).backward()
        self.adam.step()


class Students:
    """M students of one kind in training on some of their teachers' logits."""

    def __init__(
        self, settings: Settings, condition: Condition, start: Tensor, teachers: Tensor, inputs: Tensor
    ) -> None:
        mlp = MLP.of(settings)
        self.networks, self.teachers, self.inputs = network(mlp, start), network(mlp, teachers), inputs
        self.logits = slice(N_CLASS if condition.logits == "aux" else 0, None)
        self.adam = torch.optim.Adam(self.networks.parameters(), lr=settings.student_lr)

    def step(self, index: Tensor) -> None:
        """Take one step on the noise images index, (M, batch)."""
        x = gather(self.inputs, index)
        with torch.no_grad():
            target = self.teachers(x)[..., self.logits].softmax(-1)
        logits = self.networks(x)[..., self.logits]
        loss = F.kl_div(logits.log_softmax(-1), target, reduction="sum") / index.shape[1]
        self.adam.zero_grad()
        loss.backward()
        self.adam.step()


@torch.no_grad()
def accuracy(networks: nn.Sequential, x: Tensor, y: Tensor) -> Tensor:
    """Return the share of images x (n, 784) that each model reads right, (M,)."""
    n_models = len(networks[0].bias)
    predicted = networks(x.expand(n_models, *x.shape))[..., :N_CLASS].argmax(-1)
    return (predicted == y).float().mean(-1)
