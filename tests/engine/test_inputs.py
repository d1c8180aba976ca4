"""The distillation inputs: distribution, correlation, and each seed's own."""

from dataclasses import replace

import pytest
import scipy.ndimage
import torch

from sublim_utils.engine import data, inputs
from sublim_utils.engine.seeds import generator
from sublim_utils.settings import Settings

SETTINGS = Settings(n_inputs=300, batch_size=10)
NOISE = ("uniform", "gaussian", "blurred")


@pytest.mark.parametrize("kind", NOISE)
def test_noise_has_mean_zero_and_variance_one_third(kind):
    x = inputs.draw(replace(SETTINGS, inputs=kind), 2000, generator(0, "inputs"))
    assert x.shape == (2000, 784)
    assert x.dtype == torch.float32
    # standard errors: 2000 images with 784 independent pixels, or about 784/50 where blurred
    assert x.mean().item() == pytest.approx(0, abs=0.02)
    assert x.var().item() == pytest.approx(1 / 3, rel=0.02)


def test_uniform_noise_lies_in_its_range():
    x = inputs.uniform(500, generator(0, "inputs"))
    assert x.min() >= -1
    assert x.max() <= 1
    assert x.abs().max() > 0.999


@pytest.mark.parametrize("sigma", [0.0, 1.0, 2.0])
def test_smoothed_noise_is_scipys_filter_of_the_same_noise_clamped(sigma):
    x = inputs.smoothed(50, generator(0, "inputs"), sigma).view(-1, 28, 28).numpy()
    white = inputs.normal(50, generator(0, "inputs")).view(-1, 28, 28).double().numpy()
    axes = (0.0, sigma, sigma)  # scipy's "mirror" is torch's "reflect"
    wanted = scipy.ndimage.gaussian_filter(white, axes, mode="mirror", truncate=3.0)
    assert abs(x - wanted.clip(-1, 1)).max() < 1e-6
    assert abs(white).max() > 3


@pytest.mark.parametrize("distance", [0, 1, 2, 4, 8])
def test_blurred_noise_has_the_named_correlation(distance):
    """White noise seen through a Gaussian of width sigma has correlation exp(-d^2 / 4 sigma^2)."""
    x = inputs.blurred(4000, generator(0, "inputs"), sigma=2.0).view(-1, 28, 28)
    for axis in (1, 2):
        found = 3 * (x * x.roll(distance, axis)).mean()
        expected = torch.tensor(-(distance**2) / 16).exp()
        # standard error about 1 / sqrt(4000 * 784 / 50) = 0.004
        assert found.item() == pytest.approx(expected.item(), abs=0.016)


def test_blurred_noise_in_chunks_is_that_of_one(monkeypatch):
    few = inputs.blurred(10, generator(0, "inputs"))
    many = inputs.blurred(5000, generator(0, "inputs"))
    assert not torch.equal(few[5], few[6])
    assert many[4095:4097].std() == pytest.approx(3**-0.5, rel=0.2)  # the edge between two chunks


@pytest.mark.parametrize("kind", NOISE)
def test_seeds_and_purposes_have_inputs_of_their_own(kind):
    settings = replace(SETTINGS, inputs=kind)
    train, heldout = inputs.distillation_inputs(settings, 0)
    again, _ = inputs.distillation_inputs(settings, 0)
    assert train.shape == (300, 784)
    assert heldout.shape == (inputs.N_HELDOUT, 784)
    assert torch.equal(train, again)
    assert not (train == heldout[:300]).any(dim=1).all()
    assert not torch.allclose(train, inputs.distillation_inputs(settings, 1)[0])


def test_images_as_inputs_are_real_images_in_a_seeds_own_order():
    settings, real = replace(SETTINGS, inputs="mnist"), data.load("mnist").train
    a, _ = inputs.distillation_inputs(settings, 0)
    b, _ = inputs.distillation_inputs(settings, 1)
    known = {row.numpy().tobytes() for row in real}
    assert all(row.numpy().tobytes() in known for row in a)
    assert not torch.equal(a, b)


def test_coloured_noise_has_the_digits_covariance_as_far_as_is_named():
    digits = torch.cov(data.load("mnist").train.double().mT)
    digits *= 784 / 3 / digits.trace()
    white = torch.eye(784, dtype=torch.float64) / 3
    n = 8000
    for share in (0.0, 0.5, 1.0):
        settings = replace(SETTINGS, inputs="gaussian", covariance=share)
        found = torch.cov(inputs.draw(settings, n, generator(0, "inputs")).double().mT)
        wanted = (1 - share) * white + share * digits
        # a Wishart matrix's entries: standard error sqrt((w_ij^2 + w_ii w_jj) / n)
        error = ((wanted**2 + wanted.diagonal()[:, None] * wanted.diagonal()) / n).sqrt()
        assert ((found - wanted).abs() <= 6 * error + 1e-6).all(), share
        assert found.trace().item() == pytest.approx(784 / 3, rel=0.02)


def test_white_noise_is_what_it_was_before_it_could_be_coloured():
    settings, (drawn, before) = replace(SETTINGS, inputs="gaussian"), (generator(0, "inputs") for _ in range(2))
    assert torch.equal(inputs.draw(settings, 9, drawn), inputs.gaussian(9, before))
    assert torch.equal(drawn.get_state(), before.get_state())  # and no more is drawn for it
