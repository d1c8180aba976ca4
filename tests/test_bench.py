"""The bench compares what computes the same thing, and its page is what its results say."""

import doctest
import json
from pathlib import Path

import pytest
import torch

from bench import bfloat16, clock, compiled, goals, language, modules, public, render, roofline, whole
from bench.candidates import PARTS, Candidate
from bench.clock import alternate
from bench.ours import teacher_task
from bench.setting import QUICK, Bench, Size, four_students
from sublim_utils.engine.architectures import MODULES
from sublim_utils.engine.digits import Digits, references
from sublim_utils.engine.network import MLP
from sublim_utils.engine.seeds import epoch_orders, generator
from sublim_utils.engine.students import Training, Untracked
from sublim_utils.engine.teachers import train_teachers
from sublim_utils.settings import Condition
from tests import small

ROOT = Path(__file__).parents[1]
SEEDS, STEPS = [0, 1], 6


@pytest.fixture
def bench(images):
    made = Bench(Size(settings=small.SETTINGS, steps=2), torch.device("cpu"))
    made.__dict__["images"] = images
    return made


def close(theta, ours, start):
    """Agree to a thousandth of the way gone: Adam makes rounding of the smallest gradients larger."""
    return bool((theta - ours).norm() < 1e-3 * (ours - start).norm())


@pytest.fixture
def plain(bench):
    training = Untracked(bench.ensemble(four_students(), SEEDS))
    for step in range(STEPS):
        training.step(step)
    return training


def test_the_public_method_trains_the_same_students(plain):
    e = plain.ensemble
    for i, condition in enumerate(e.conditions):
        given = e.teachers[condition.source][:, 0]
        students = public.Students(e.settings, condition, e.reference[:, 0], given, e.inputs[:, 0])
        for step in range(STEPS):
            students.step(e.orders[step])
        assert close(public.flat(students.networks), plain.theta[:, i], e.reference[:, 0])


def test_the_public_method_trains_the_same_teachers(images):
    settings, start = small.SETTINGS, references(small.SETTINGS, SEEDS, torch.device("cpu"))
    theta, _, evaluated = train_teachers(Digits(settings, images), SEEDS)
    teachers = public.Teachers(settings, start[:, 0], images.train[:60], images.train_labels[:60])
    orders = [
        epoch_orders(60, settings.batch_size, settings.teacher_epochs, generator(s, "teacher-order")) for s in SEEDS
    ]
    for batch in zip(*orders, strict=True):
        teachers.step(torch.stack(batch))
    assert close(public.flat(teachers.networks), theta[:, 0], start[:, 0])
    right = public.accuracy(teachers.networks, images.test[:40], images.test_labels[:40])
    torch.testing.assert_close(evaluated["accuracy"][:, 0, -1], right)


def test_vmap_trains_the_same_students(plain):
    e = plain.ensemble
    start = e.reference.expand(-1, len(e.conditions), -1)
    students = compiled.Trained(e.network, start, e.settings.student_lr, compiled.DISTILLATION)
    targets = e.targets.transpose(1, 2)
    for index in e.orders[:STEPS]:
        x, log_p = compiled.rows(e.inputs[:, 0], index), compiled.rows(targets, index).transpose(1, 2)
        students.step(x, log_p, e.mask[:, 0])
    assert close(students.flat(), plain.theta, start)


def test_plain_training_takes_the_recorded_trainings_path(bench, plain):
    tracked = Training(bench.ensemble(four_students(), SEEDS))
    for step in range(STEPS):
        tracked.step(step)
    assert torch.equal(tracked.theta, plain.theta)


def test_gradients_that_bfloat16_is_compared_with_are_the_engines(bench):
    training = Training(bench.ensemble(four_students(), SEEDS))
    trait, distill = bfloat16.gradients(training, 0, torch.float32, torch.matmul)
    training.look(0)
    torch.testing.assert_close(trait, training.trait)
    training.distill_gradient(0)
    torch.testing.assert_close(distill, training.distill)


def test_a_teachers_training_is_watched_and_broken_off(bench):
    assert 0 < teacher_task(bench, SEEDS)() < 60


def test_tasks_take_turns():
    calls = []
    tasks = {name: lambda name=name: calls.append(name) or float(len(calls)) for name in "AB"}
    assert alternate(tasks, rounds=2) == {"A": [3.0, 5.0], "B": [4.0, 6.0]}
    assert "".join(calls) == "ABABAB"


def test_the_whole_adds_up_its_parts():
    settings = small.SETTINGS  # 2 epochs of 60 images for teachers and 50 for students, in batches of 16
    candidate = Candidate(n_seeds=2, tasks={}, once={"noise": 1.0, "targets": 3.0})
    times = dict(zip(PARTS, ([16.0], [32.0], [1.0], [2.0]), strict=True))
    points = len(settings.eval_steps())
    assert whole.totals(candidate, times, settings) == [(4 + 2 * 60 + 2 * 2 * 50 + 3 * 1 + 2 * points) / 2]


def test_the_page_is_made_of_the_results():
    read = {name: ROOT / "bench" / name for name in ("results.json", "book.json")}
    results, parts = (json.loads(p.read_text()) if p.exists() else None for p in read.values())
    assert (ROOT / "book" / "measured" / "bench.md").read_text() == render.page(results or {}, parts)


def test_mlp_layout_survives_the_public_networks():
    mlp = MLP.of(small.SETTINGS)
    theta = torch.randn(3, mlp.n_parameters)
    assert torch.equal(public.flat(public.network(mlp, theta)), theta)


def test_every_way_to_run_a_network_takes_the_same_gradient():
    found = modules.ways(small.SETTINGS)
    x, dlogits = torch.randn(1, 1, 5, 784), torch.randn(1, 2, 5, 13)
    for name, (network, gradient) in found.items():
        theta = torch.stack([network.initial(generator(seed, "init")) for seed in range(2)])[None]
        expected = found[name.removesuffix(", by vmap")][1](theta, x, dlogits)
        torch.testing.assert_close(gradient(theta, x, dlogits), expected, rtol=1e-4, atol=1e-5)
    assert len(found) == 3 + 2 * len(MODULES)  # the perceptron in three ways, each module in two


@pytest.mark.parametrize("module", [clock, goals, roofline, whole])
def test_examples_in_the_bench_are_right(module):
    failed, tried = doctest.testmod(module)
    assert tried
    assert not failed


@pytest.mark.parametrize("tracked", [False, True])
def test_a_plain_loop_of_the_language_task_trains_the_engines_student(tracked):
    setting = Bench(QUICK, torch.device("cpu"))
    ensemble = language.ensemble_of(setting, {"student": Condition()})
    loop, training = language.Loop(ensemble, tracked=tracked), Training(ensemble)
    start = ensemble.reference[0, 0]
    for step in range(STEPS):
        loop.step(step)
        training.step(step)
    named = dict(loop.student.named_parameters())
    theta = torch.cat([named[name].detach().flatten() for name in ensemble.network.shapes])
    assert close(theta, training.theta[0, 0], start)
    if tracked:
        runs = training.recorder.dataset({"seed": [0], "condition": ["student"]}).isel(seed=0, condition=0)
        names = ("inner", "drive", "trait_norm", "inner_disc", "drive_disc", "disc_norm")
        ours = [(runs[n] ** 2 if "norm" in n else runs[n]).sum("layer").values[:STEPS] for n in names]
        for values, expected in zip(zip(*loop.records, strict=True), ours, strict=True):
            assert torch.stack(values).numpy() == pytest.approx(expected, rel=2e-3, abs=1e-6)
