"""Who replicates the first chapter in the bench, each as tasks of the same names."""

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from bench import compiled, public
from bench.clock import Task, synchronise, timed
from bench.ours import teacher_task
from bench.setting import Bench, four_students, stand_in_teachers
from bench.workers import ROOT, Worker
from sublim_utils.engine.digits import references
from sublim_utils.engine.ensemble import Ensemble
from sublim_utils.engine.evaluation import confusion, logits_of
from sublim_utils.engine.inputs import uniform
from sublim_utils.engine.products import fast
from sublim_utils.engine.seeds import epoch_orders, generator
from sublim_utils.engine.students import Training

PARTS = ("teacher step", "student step", "teacher evaluation", "student evaluation")
"""What is timed in alternation; "student" means all four kinds."""


@dataclass
class Candidate:
    """Someone who replicates the first chapter.

    Parameters
    ----------
    n_seeds : seeds trained at once, which the tasks' seconds are for
    tasks : by the names of PARTS
    once : seconds of what is done once for these seeds: noise, targets
    compile : seconds of compiling, which are not counted
    """

    n_seeds: int
    tasks: dict[str, Task]
    once: dict[str, float] = field(default_factory=dict)
    compile: float = 0.0
    note: str = ""
    close: Callable[[], None] = lambda: None


def stopwatch(device: torch.device, work: Callable[[], object]) -> tuple[float, object]:
    """Return the seconds that work() takes, and its result."""
    synchronise(device)
    start = time.perf_counter()
    result = work()
    synchronise(device)
    return time.perf_counter() - start, result


def noise(bench: Bench, seeds: list[int]) -> Tensor:
    """Return every seed's noise, (seed, n, 784)."""
    n = bench.size.settings.n_inputs
    return torch.stack([uniform(n, generator(seed, "inputs")) for seed in seeds]).to(bench.device)


def batches(bench: Bench, seeds: list[int], n: int) -> Callable[[int], Tensor]:
    """Return i -> the i-th full batch of indices (seed, batch), again and again."""
    settings = bench.size.settings
    orders = [epoch_orders(n, settings.batch_size, 1, generator(s, "bench-order")) for s in seeds]
    stacked = [torch.stack(b).to(bench.device) for b in zip(*orders, strict=True)]
    full = [b for b in stacked if b.shape[1] == settings.batch_size]
    return lambda i: full[i % len(full)]


def real(bench: Bench) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the training and test images and labels of the settings, on the device."""
    s, i = bench.size.settings, bench.images
    parts = (i.train[: s.n_train], i.train_labels[: s.n_train], i.test[: s.n_test], i.test_labels[: s.n_test])
    return tuple(part.to(bench.device) for part in parts)


def of_public(bench: Bench) -> Candidate:
    """Return the public script's method."""
    settings, device, seeds = bench.size.settings, bench.device, list(range(bench.size.n_seeds))
    start, given = references(settings, seeds, device)[:, 0], stand_in_teachers(settings, seeds, device)
    x, y, test_x, test_y = real(bench)
    teachers = public.Teachers(settings, start, x, y)
    seconds, inputs = stopwatch(device, partial(noise, bench, seeds))
    kinds = [public.Students(settings, c, start, given[c.teacher][:, 0], inputs) for c in four_students().values()]
    order, student_order = batches(bench, seeds, settings.n_train), batches(bench, seeds, settings.n_inputs)
    steps = bench.size.steps
    tasks = {
        "teacher step": timed(lambda i: teachers.step(order(i)), device, steps, network=None),
        "student step": timed(lambda i: [kind.step(student_order(i)) for kind in kinds], device, steps, network=None),
        "teacher evaluation": timed(lambda i: public.accuracy(teachers.networks, test_x, test_y), device, network=None),
        "student evaluation": timed(
            lambda i: [public.accuracy(k.networks, test_x, test_y) for k in kinds], device, network=None
        ),
    }
    return Candidate(len(seeds), tasks, {"noise": seconds, "targets": 0.0})


def of_compiled(bench: Bench) -> Candidate:
    """Return torch.func.vmap and torch.compile; raises if there is no compiler."""
    device, seeds, settings = bench.device, list(range(bench.size.n_seeds)), bench.size.settings
    seconds, _ = stopwatch(device, partial(noise, bench, seeds))
    e = bench.ensemble(four_students(), seeds)
    inputs = e.inputs[:, 0]
    targeting, targets = stopwatch(device, lambda: e.distill_targets(e.inputs).transpose(1, 2).contiguous())
    mask, start = e.mask[:, 0], e.reference.expand(-1, len(e.conditions), -1)
    x, y, test_x, test_y = real(bench)
    students = compiled.Trained(e.network, start, settings.student_lr, torch.compile(compiled.DISTILLATION))
    teachers = compiled.Trained(e.network, e.reference, settings.teacher_lr, torch.compile(compiled.TRAIT))
    order, student_order = batches(bench, seeds, settings.n_train), batches(bench, seeds, settings.n_inputs)

    def student(i: int) -> None:
        index = student_order(i)
        students.step(compiled.rows(inputs, index), compiled.rows(targets, index).transpose(1, 2), mask)

    def teacher(i: int) -> None:
        teachers.step(x[order(i)], y[order(i)])

    compiling, _ = stopwatch(device, lambda: (student(0), teacher(0)))
    tasks = {
        "teacher step": timed(teacher, device, bench.size.steps, network=None),
        "student step": timed(student, device, bench.size.steps, network=None),
        "teacher evaluation": timed(lambda i: compiled.accuracy(teachers.layers, test_x, test_y), device, network=None),
        "student evaluation": timed(lambda i: compiled.accuracy(students.layers, test_x, test_y), device, network=None),
    }
    return Candidate(len(seeds), tasks, {"noise": seconds, "targets": targeting}, compiling)


JAX = "jax==0.10.2"
"""Installed into an environment of its own: nothing of the book needs it."""


def jax_python() -> str:
    """Return the interpreter of an environment with JAX, made if there is none; raises if it can't be had."""
    folder = ROOT / "_build" / "jax"
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    if subprocess.run([python, "-c", "import jax"], capture_output=True).returncode:
        subprocess.run([python, "-m", "pip", "install", "--quiet", JAX], check=True, capture_output=True)
    return str(python)


def of_jax(bench: Bench) -> Candidate:
    """Return JAX's jit, in a process of its own; raises if JAX is not installed."""
    if bench.device.type != "cpu":
        raise RuntimeError("measured on the CPU only")
    s, size = bench.size.settings, bench.size
    about = {"n_train": s.n_train, "n_test": s.n_test, "n_inputs": s.n_inputs, "batch": s.batch_size,
             "lr": s.student_lr, "sizes": s.sizes, "n_seeds": size.n_seeds, "steps": size.steps}  # fmt: skip
    worker = Worker("bench.jaxed", about, jax_python())
    about = worker.ask("about")
    tasks = {name: partial(worker.ask, name) for name in PARTS}
    once = {name: about[name] for name in ("noise", "targets")}
    return Candidate(size.n_seeds, tasks, once, about["compile"], f"JAX {about['version']}", worker.close)


def of_ours(bench: Bench, training: type[Training]) -> Candidate:
    """Return our engine with a training: on a CPU one seed at a time, as the lab does; on a GPU all at once."""
    device, seeds = bench.device, [0] if bench.device.type == "cpu" else list(range(bench.size.n_seeds))
    seconds, _ = stopwatch(device, partial(noise, bench, seeds))
    e: Ensemble = bench.ensemble(four_students(), seeds)
    with fast(device, e.network):
        targeting, _ = stopwatch(device, lambda: e.distill_targets(e.inputs))
    students = training(e)
    full = [i for i, index in enumerate(e.orders) if index.shape[1] == e.settings.batch_size]

    def evaluate(theta: Tensor) -> Tensor:
        return confusion(logits_of(e.network, theta, e.task.test), e.task.test_labels)

    tasks = {
        "teacher step": teacher_task(bench, seeds),
        "student step": timed(lambda i: students.step(full[i % len(full)]), device, bench.size.steps),
        "teacher evaluation": timed(lambda i: evaluate(e.reference), device),
        "student evaluation": timed(lambda i: evaluate(students.theta), device),
    }
    return Candidate(len(seeds), tasks, {"noise": seconds, "targets": targeting})
