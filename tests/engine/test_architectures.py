"""The networks of the settings: their shapes, their start, and that students of them are trained as the MLP's are."""

from dataclasses import replace

import pytest
import torch

from sublim_utils.engine import inputs
from sublim_utils.engine.architectures import MODULES, network_of
from sublim_utils.engine.digits import Digits
from sublim_utils.engine.network import MLP
from sublim_utils.engine.seeds import generator
from sublim_utils.engine.students import train_students
from sublim_utils.engine.teachers import train_teachers
from sublim_utils.settings import Condition, Settings, SettingsError
from tests import small

SMALL = {n: replace(small.SETTINGS, network=n, hidden=Settings.hidden, student_lr=3e-4) for n in MODULES}


def test_the_default_is_the_papers_mlp():
    assert network_of(Settings()) == MLP(sizes=(784, 256, 256, 13))


@pytest.mark.parametrize("name", MODULES)
def test_weights_start_with_variance_one_over_what_they_read_and_biases_at_zero(name):
    network = network_of(Settings(network=name, n_aux=7))
    for parameter, values in network.unflatten(network.initial(generator(0, "init"))).items():
        if parameter.endswith("bias"):
            assert not values.any()
        else:
            width = values[0].numel()
            # a standard deviation of n draws has a standard error of 1 / sqrt(2 n)
            tolerance = 4 * (2 * values.numel()) ** -0.5
            assert values.std().item() == pytest.approx(width**-0.5, rel=tolerance), parameter


@pytest.mark.parametrize("name", MODULES)
def test_both_kinds_of_logits_come_from_one_last_linear_layer(name):
    network = network_of(Settings(network=name, n_aux=7))
    theta = network.initial(generator(0, "init"))
    tape, own = network.forward(theta, torch.zeros(3, 784)), network.unflatten(theta)
    assert tape.logits.shape == (3, 17)
    torch.testing.assert_close(tape.features @ own["head.weight"].T + own["head.bias"], tape.logits)
    assert list(network.parts)[-1] == "head"


@pytest.mark.parametrize("name", MODULES)
def test_every_pixel_and_every_parameter_counts(name):
    network = network_of(Settings(network=name))
    theta, x = network.initial(generator(0, "init")), torch.randn(64, 784, generator=generator(0, "x"))
    x.requires_grad_()
    network.logits(theta, x).square().sum().backward()
    assert (x.grad.abs().sum(0) > 0).all()
    tape = network.forward(theta, x.detach())
    gradient = network.backward(theta, tape, tape.logits, torch.empty_like(theta))
    for parameter, own in network.unflatten(gradient).items():
        assert own.abs().max() > 0, parameter


@pytest.mark.slow
@pytest.mark.parametrize("name", MODULES)
def test_teacher_and_students_are_trained_and_recorded_part_by_part(name, images, monkeypatch):
    monkeypatch.setattr(inputs, "N_HELDOUT", 32)
    conditions = {
        "baseline": Condition(),
        "by part": Condition(projection=1.0, side="two", target="update", scope="layer"),
        "liminal": Condition(liminal=2.0, schedule="constant"),
    }
    task = Digits(SMALL[name], images)
    own, _, _ = train_teachers(task, [0, 1])
    runs, theta = train_students(task, conditions, [0, 1], {"own": own})
    assert runs.sizes["layer"] == len(network_of(SMALL[name]).parts)
    assert theta.isfinite().all()
    drive, scale = runs["drive"], (runs["trait_norm"] * runs["update_norm"]).max()
    assert abs(drive.sel(condition="by part")).max() < 1e-5 * scale
    assert abs(drive.sel(condition="baseline")).max() > 1e-3 * scale
    loss = runs["distill_loss"].sel(condition="baseline").mean("seed")  # held out it may rise: the inputs are few
    half = loss.sizes["step"] // 2
    assert loss[half:].mean() < 0.9 * loss[:half].mean()
    _, alone = train_students(task, {"baseline": Condition()}, [1], {"own": own[1:]})
    assert torch.equal(alone[0, 0], theta[1, 0])


def test_what_only_the_mlp_has_is_refused_for_others():
    with pytest.raises(SettingsError, match=r"hidden = \(8,\) is not allowed: it must be \(256, 256\) unless network"):
        Settings(network="cnn", hidden=(8,))
    with pytest.raises(SettingsError, match="activation = 'tanh' is not allowed: it must be 'relu' unless network"):
        Settings(network="vit", activation="tanh")
