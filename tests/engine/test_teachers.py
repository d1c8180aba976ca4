"""Teachers against a single float64 model trained by autograd and textbook Adam."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from sublim_utils.engine import devices, digits, evaluation, teachers
from sublim_utils.engine.digits import Digits
from sublim_utils.engine.network import MLP
from sublim_utils.engine.seeds import epoch_orders, generator
from tests import reference, small

SETTINGS = small.SETTINGS


def plain_teacher(settings, images, seed, labels=None):
    """Return theta_T of one seed in float64."""
    theta = MLP.of(settings).initial(generator(seed, "init")).double()
    x, adam = images.train[: settings.n_train].double(), reference.Adam(settings.teacher_lr)
    y = images.train_labels[: settings.n_train] if labels is None else labels
    rng = generator(seed, "teacher-order")
    for batch in epoch_orders(settings.n_train, settings.batch_size, settings.teacher_epochs, rng):

        def loss(t, i=batch):
            logits = reference.forward(t, settings.sizes, settings.activation, x[i])
            return F.cross_entropy(logits[:, :10], y[i])

        theta = adam.step(theta, reference.gradient(loss, theta)[1])
    return theta


@pytest.mark.parametrize("activation", ["relu", "tanh", "identity"])
def test_training_is_the_references(images, activation):
    settings = replace(SETTINGS, activation=activation)
    theta, _, _ = teachers.train_teachers(Digits(settings, images), [0, 1])
    for seed in (0, 1):
        expected = plain_teacher(settings, images, seed)
        way = (expected - MLP.of(settings).initial(generator(seed, "init"))).abs().max()
        difference = (theta[seed, 0] - expected).abs().max()
        assert difference < 1e-4 * way  # float32 against float64: measured 7e-6


def test_shuffled_teacher_learns_permuted_labels(images, thetas):
    labels = digits.shuffled_labels(images.train_labels[: SETTINGS.n_train], 2)
    assert labels.bincount(minlength=10).equal(images.train_labels[: SETTINGS.n_train].bincount(minlength=10))
    expected = plain_teacher(SETTINGS, images, 2, labels)
    torch.testing.assert_close(thetas["shuffled"][2, 0].double(), expected, rtol=0, atol=2e-5)
    assert not torch.allclose(thetas["shuffled"][2], thetas["own"][2], atol=1e-3)


def test_seed_alone_is_the_seed_among_others(images, thetas):
    for seed in (3, 0):
        alone, _, _ = teachers.train_teachers(Digits(SETTINGS, images), [seed])
        torch.testing.assert_close(alone[0], thetas["own"][seed], rtol=0, atol=1e-5)  # measured 2e-7
    # bit for bit where rows are whole cache lines, as at the book's widths and batches
    book = replace(SETTINGS, hidden=(256, 256), n_train=112, n_inputs=112, batch_size=64, teacher_epochs=1)
    among, _, _ = teachers.train_teachers(Digits(book, images), [0, 1, 2])
    alone, _, _ = teachers.train_teachers(Digits(book, images), [1])
    assert torch.equal(alone[0], among[1])


def test_auxiliary_logits_are_never_trained(images, thetas):
    mlp = MLP.of(SETTINGS)
    before = digits.references(SETTINGS, range(4), torch.device("cpu"))
    for start, end in zip(mlp.unflatten(before)[-1], mlp.unflatten(thetas["own"])[-1], strict=True):
        assert torch.equal(start[..., 10:], end[..., 10:])
        assert not torch.equal(start[..., :10], end[..., :10])


def test_checkpoints_and_confusions(images, thetas):
    per = SETTINGS.steps_per_teacher_epoch
    theta, saved, evaluated = teachers.train_teachers(Digits(SETTINGS, images), [0], checkpoints=(0, per, 2 * per))
    assert torch.equal(saved[0], digits.references(SETTINGS, [0], torch.device("cpu")))
    once, _, _ = teachers.train_teachers(Digits(replace(SETTINGS, teacher_epochs=1), images), [0])
    assert torch.equal(saved[1], once)
    assert torch.equal(saved[2], theta)
    torch.testing.assert_close(theta[0], thetas["own"][0], rtol=0, atol=1e-5)  # of four seeds at once: as above
    counts, epochs = evaluated["confusion"], SETTINGS.teacher_epochs + 1
    assert counts.shape == (1, 1, epochs, 10, 10)
    assert counts.sum((-2, -1)).tolist() == [[[SETTINGS.n_test] * epochs]]
    right = counts.diagonal(dim1=-2, dim2=-1).sum(-1) / SETTINGS.n_test
    torch.testing.assert_close(evaluated["accuracy"], right)


def test_confusion_counts_each_image_once():
    rng = generator(0, "confusion")
    logits, labels = torch.randn(2, 3, 50, 13, generator=rng), torch.randint(10, (50,), generator=rng)
    counts = evaluation.confusion(logits, labels)
    expected = torch.zeros(2, 3, 10, 10)
    for s in range(2):
        for c in range(3):
            for z, y in zip(logits[s, c], labels, strict=True):
                expected[s, c, y, z[:10].argmax()] += 1
    assert torch.equal(counts, expected)


def test_logits_in_chunks_are_logits_at_once(monkeypatch, thetas, images):
    mlp = MLP.of(SETTINGS)
    whole = evaluation.logits_of(mlp, thetas["own"], images.test)
    monkeypatch.setattr(evaluation, "EVAL_CHUNK", 7)
    torch.testing.assert_close(evaluation.logits_of(mlp, thetas["own"], images.test), whole)


@pytest.mark.parametrize(("name", "momentum"), [("sgd", 0.0), ("momentum", 0.9)])
def test_gradient_descent_steps(name, momentum):
    theta, g = torch.ones(1, 2, 3), torch.empty(1, 2, 3)
    step, expected, velocity = devices.optimizer(name, theta, g, 0.1), theta.clone(), 0.0
    for k in range(3):
        g.fill_(k + 1.0)
        step.step()
        velocity = momentum * velocity + (k + 1.0)
        expected = expected - 0.1 * velocity
        torch.testing.assert_close(theta, expected)


def test_adam_steps_are_the_textbooks():
    rng, adam = generator(0, "adam"), reference.Adam(1e-2)
    theta, g = torch.randn(1, 1, 50, generator=rng), torch.empty(1, 1, 50)
    expected, step = theta[0, 0].double(), devices.optimizer("adam", theta, g, 1e-2)
    for _ in range(20):
        g.normal_(generator=rng)
        expected = adam.step(expected, g[0, 0].double())
        step.step()
    # float32 rounding of theta near 1, twenty times: measured 4e-7
    torch.testing.assert_close(theta[0, 0].double(), expected, rtol=0, atol=3e-6)


@pytest.mark.parametrize("name", ["signsgd", "rmsprop", "adamw"])
def test_what_lies_between_descent_and_adam_steps_as_its_formula_says(name):
    rng, lr = generator(0, name), 1e-2
    theta, g = torch.randn(1, 2, 50, generator=rng), torch.empty(1, 2, 50)
    expected, first, second = theta.double(), 0.0, 0.0
    step = devices.optimizer(name, theta, g, lr)
    for k in range(1, 11):
        g.normal_(generator=rng)
        exact = g.double()
        if name == "signsgd":
            expected = expected - lr * exact.sign()
        else:
            forget = 0.9 if name == "adamw" else 0.0
            first, second = forget * first + (1 - forget) * exact, 0.999 * second + 0.001 * exact**2
            expected = expected * (1 - lr * 0.01) if name == "adamw" else expected
            moment = first / (1 - forget**k)
            expected = expected - lr * moment / ((second / (1 - 0.999**k)).sqrt() + 1e-8)
        step.step()
    # float32 rounding of theta near 1, ten times; the bound is that of Adam's test
    torch.testing.assert_close(theta.double(), expected, rtol=0, atol=3e-6)
