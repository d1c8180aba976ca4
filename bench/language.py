"""Part 8: a student of the language task beside the same one in plain PyTorch, as one would write it."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.clock import alternate, ratios, spread, timed
from bench.setting import Bench, projected
from sublim_utils.engine.architectures import Transformer
from sublim_utils.engine.ensemble import Ensemble
from sublim_utils.engine.students import Training, Untracked
from sublim_utils.engine.tasks import task_of
from sublim_utils.engine.teachers import train_teachers
from sublim_utils.settings import N_CLASS, Condition

N_TRACKED = 4
"""Students of one seed that the engine trains and tracks together."""


class Loop:
    """One student in a loop of its own: torch's module, optimiser and autograd, KL over the digits.

    With `tracked`, each step also takes the trait's gradient and that of L_disc, and their products with the
    distillation gradient and with the update.
    """

    def __init__(self, ensemble: Ensemble, *, tracked: bool) -> None:
        self.ensemble, self.tracked, s = ensemble, tracked, ensemble.settings
        self.student = Transformer(s.width, s.n_layers, s.tied).to(ensemble.device)
        self.teacher = Transformer(s.width, s.n_layers, s.tied).to(ensemble.device)
        for module, theta in ((self.student, ensemble.reference), (self.teacher, ensemble.goal)):
            self.load(module, theta[0, 0])
        self.parameters = list(self.student.parameters())
        self.adam = torch.optim.Adam(self.parameters, lr=s.student_lr, fused=True)
        self.digits = slice(N_CLASS, N_CLASS + s.n_aux)
        self.records: list[list[Tensor]] = []

    def load(self, module: nn.Module, theta: Tensor) -> None:
        """Copy the engine's flat theta into a module."""
        with torch.no_grad():
            for name, values in self.ensemble.network.unflatten(theta).items():
                module.get_parameter(name).copy_(values)

    def trait_gradients(self, step: int) -> list[list[Tensor]]:
        """Return the gradients of the trait loss and of L_disc on the step's labelled sentences."""
        e = self.ensemble
        index = e.trait_batch(step)[0]
        logits, y = self.student(e.task.x[index])[:, :N_CLASS], e.labels["true"][0, index]
        contrast = F.one_hot(y, N_CLASS).float()
        disc = -((contrast - contrast.mean(0)) * logits).sum(-1).mean()
        whole = torch.autograd.grad(F.cross_entropy(logits, y), self.parameters, retain_graph=True)
        return [list(whole), list(torch.autograd.grad(disc, self.parameters))]

    def step(self, step: int) -> None:
        """Take one step."""
        x = self.ensemble.inputs[0, 0, self.ensemble.orders[step][0]]
        with torch.no_grad():
            target = self.teacher(x)[:, self.digits].log_softmax(-1)
        log_q = self.student(x)[:, self.digits].log_softmax(-1)
        self.adam.zero_grad()
        F.kl_div(log_q, target, reduction="batchmean", log_target=True).backward()
        if not self.tracked:
            self.adam.step()
            return
        traits = self.trait_gradients(step)
        before = [p.detach().clone() for p in self.parameters]
        self.adam.step()
        moved = [p.detach() - b for p, b in zip(self.parameters, before, strict=True)]
        distill = [p.grad for p in self.parameters]
        self.records.append([self.product(g, other) for g in traits for other in (distill, moved, g)])

    @staticmethod
    def product(a: list[Tensor], b: list[Tensor]) -> Tensor:
        """Return the inner product of two lists of parameters' values."""
        return torch.stack([(one * other).sum() for one, other in zip(a, b, strict=True)]).sum()


def ensemble_of(bench: Bench, conditions: dict[str, Condition]) -> Ensemble:
    """Return students of the language task, with teachers that are trained for a moment."""
    task = task_of(bench.size.language, bench.device)
    return Ensemble(task, conditions, [0], {"own": train_teachers(task, [0])[0]})


def measure(bench: Bench) -> dict[str, object]:
    """Return the seconds of a step for one student, and the plain loop's over the engine's, plain and tracked."""
    one, four = ensemble_of(bench, {"student": Condition()}), ensemble_of(bench, projected(N_TRACKED))
    full = len(one.orders)
    steps = {
        "plain: a loop in PyTorch": Loop(one, tracked=False).step,
        "plain: the engine": Untracked(one).step,
        "tracked: a loop in PyTorch": Loop(one, tracked=True).step,
        f"tracked: the engine, {N_TRACKED} together": Training(four).step,
    }
    units = bench.size.steps
    tasks = {n: timed(lambda i, s=step: s(i % full), bench.device, units, network=None) for n, step in steps.items()}
    times = alternate(tasks, bench.size.rounds)
    shares = {n: [t / (N_TRACKED if "together" in n else 1) for t in seconds] for n, seconds in times.items()}
    plain_loop, plain, tracked_loop, tracked = shares.values()
    return {
        "seconds": {name: spread(t) for name, t in shares.items()},
        "loop over engine": {"plain": ratios(plain_loop, plain), "tracked": ratios(tracked_loop, tracked)},
    }
