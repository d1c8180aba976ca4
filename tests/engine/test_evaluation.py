"""What an evaluation measures: against plain float64 computations, and blind to offsets where it says so."""

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from sublim_utils.engine import evaluation
from sublim_utils.engine.seeds import generator

N = 200


def drawn(seed, n=N, knows=1.0):
    """Return logits (n, 13) that know the labels (n,) as well as `knows` says."""
    rng = generator(seed, "evaluation")
    labels = torch.randint(10, (n,), generator=rng)
    logits = torch.randn(n, 13, generator=rng)
    logits[:, :10] += knows * F.one_hot(labels, 10)
    return logits, labels


def offsets(seed, size):
    return F.pad(size * torch.randn(10, generator=generator(seed, "offsets")), (0, 3))


@given(st.integers(0, 99), st.sampled_from([7, 50, 51]))
def test_centred_accuracy_is_each_half_judged_with_the_others_means(seed, n):
    logits, labels = drawn(seed, n)
    z, y, half = logits[:, :10].double().numpy(), labels.numpy(), n // 2
    right = 0
    for own, other in ((slice(0, half), slice(half, n)), (slice(half, n), slice(0, half))):
        right += ((z[own] - z[other].mean(0)).argmax(1) == y[own]).sum()
    assert evaluation.centred_accuracy(logits, labels).item() == pytest.approx(right / n)


@given(st.integers(0, 99), st.floats(1, 100))
def test_offsets_change_raw_accuracy_and_neither_centred_nor_calibrated(seed, size):
    logits, labels = drawn(seed, knows=3.0)
    moved = logits + offsets(seed, size)
    for measure in (evaluation.centred_accuracy, lambda z, y: evaluation.calibrated_accuracy(z, y, z, y)):
        # a tie at rounding level may fall either way: one image in 200
        assert measure(moved, labels).item() == pytest.approx(measure(logits, labels).item(), abs=0.0051)
    hidden = logits + F.pad(torch.tensor([1000.0]), (0, 12))
    assert evaluation.accuracy(hidden, labels).item() == pytest.approx((labels == 0).float().mean().item())


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("knows", "scale"), [(1.0, 1.0), (6.0, 0.01), (3.0, 300.0)])
def test_calibration_is_the_maximum_of_the_likelihood(seed, knows, scale):
    logits, labels = drawn(seed, knows=knows)
    z, y = (logits[:, :10].double() * scale + 5.0).numpy(), labels.numpy()

    def loss(fit):
        w = fit[0] / scale * z + fit[1:]
        return float((scipy.special.logsumexp(w, axis=1) - w[np.arange(N), y]).mean())

    best = scipy.optimize.minimize(loss, np.r_[1.0, np.zeros(10)], method="BFGS").x
    expected = ((best[0] / scale * z + best[1:]).argmax(1) == y).mean()
    found = evaluation.calibrated_accuracy(*(torch.from_numpy(a) for a in (z, y, z, y))).item()
    assert found == pytest.approx(expected, abs=0.0051)


def test_logits_that_are_wrong_on_purpose_are_not_turned_round():
    logits, labels = drawn(0, 1000)
    logits[:, :10] = -10.0 * F.one_hot(labels, 10)
    assert evaluation.calibrated_accuracy(logits, labels, logits, labels).item() < 0.15


@given(st.integers(0, 99))
def test_entropy_and_information_are_scipys(seed):
    counts = torch.randint(0, 9, (3, 10, 10), generator=generator(seed, "counts")).float()
    joint = counts.double().numpy() / counts.double().sum((-2, -1), keepdim=True).numpy()
    h = [scipy.stats.entropy(joint.sum(axis).T) for axis in (1, 2)]
    both = scipy.stats.entropy(joint.reshape(3, -1).T)
    np.testing.assert_allclose(evaluation.entropy(counts).numpy(), h[0], rtol=1e-5)
    np.testing.assert_allclose(evaluation.mutual_information(counts).numpy(), h[0] + h[1] - both, atol=1e-5)


def test_one_class_always_read_has_neither_entropy_nor_information():
    counts = torch.zeros(10, 10)
    counts[:, 3] = torch.arange(10.0)
    assert evaluation.entropy(counts).item() == 0
    assert evaluation.mutual_information(counts).item() == pytest.approx(0, abs=1e-6)


def test_the_probe_is_ridge_regression():
    rng = generator(0, "probe")
    known, features = (torch.randn(n, 20, generator=rng) for n in (300, 100))
    aim = torch.randn(20, 10, generator=rng)
    labels = [(f @ aim + 0.5 * torch.randn(len(f), 10, generator=rng)).argmax(-1) for f in (known, features)]
    x = np.c_[known.double().numpy(), np.ones(300)]
    gram = x.T @ x
    ridge = evaluation.RIDGE * np.diag(gram).mean() * np.eye(21)
    weights = np.linalg.solve(gram + ridge, x.T @ np.eye(10)[labels[0].numpy()])
    read = (np.c_[features.double().numpy(), np.ones(100)] @ weights).argmax(1)
    expected = (read == labels[1].numpy()).mean()
    assert expected > 0.5
    found = evaluation.probe_accuracy(known, labels[0], features, labels[1]).item()
    assert found == pytest.approx(expected, abs=1e-6)


def test_the_probes_of_several_models_are_those_of_each_whatever_the_threads():
    """Of the paper's width: where MKL has two threads, a library's solver failed on four such matrices at once."""
    rng, threads = generator(0, "probes"), torch.get_num_threads()
    known, features = (torch.rand(1, 4, n, 256, generator=rng) for n in (600, 300))
    labels = [torch.randint(10, (n,), generator=rng) for n in (600, 300)]
    each = [evaluation.probe_accuracy(known[0, i], labels[0], features[0, i], labels[1]) for i in range(4)]
    try:
        torch.set_num_threads(2)
        together = evaluation.probe_accuracy(known, labels[0], features, labels[1])
    finally:
        torch.set_num_threads(threads)
    assert together[0].tolist() == pytest.approx([float(a) for a in each], abs=1e-6)


def test_models_are_measured_apart():
    sets = [drawn(seed, knows=2.0) for seed in range(4)]
    labels = sets[0][1]
    together = torch.stack([z for z, _ in sets]).view(2, 2, N, 13)
    measures = (
        evaluation.centred_accuracy,
        evaluation.accuracy,
        lambda z, y: evaluation.calibrated_accuracy(z, y, z, y),
        lambda z, y: evaluation.probe_accuracy(z, y, z, y),
    )
    for measure in measures:
        alone = torch.stack([measure(z, labels) for z, _ in sets]).view(2, 2)
        torch.testing.assert_close(measure(together, labels), alone, atol=0.0051, rtol=0)
