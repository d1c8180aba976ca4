"""What is recorded: names, dimensions, labels; evaluations against their confusion matrix."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from sublim_utils.engine import losses
from sublim_utils.engine.digits import EVALUATED, Digits
from sublim_utils.engine.inputs import distillation_inputs
from sublim_utils.engine.recorder import STEPWISE, Recorder
from sublim_utils.engine.students import train_students
from tests import reference, small

SETTINGS = small.SETTINGS
QUANTITIES = {**STEPWISE, "heldout_loss": (("eval",), "distillation loss on held-out inputs"), **EVALUATED}
SIZES = {"step": SETTINGS.n_steps, "layer": 3, "eval": len(SETTINGS.eval_steps()), "class": 10, "predicted": 10}


@pytest.fixture(scope="module")
def trained(images, thetas):
    conditions = {name: small.CONDITIONS[name] for name in ("baseline", "all")}
    return train_students(Digits(SETTINGS, images), conditions, [0, 3], {"own": thetas["own"][[0, 3]]})


def test_every_quantity_is_there_whole_and_named(trained):
    dataset = trained[0]
    assert set(dataset.data_vars) == set(QUANTITIES)
    for name, (dims, text) in QUANTITIES.items():
        values = dataset[name]
        assert values.dims == ("seed", "condition", *dims)
        assert values.shape == (2, 2, *(SIZES[d] for d in dims))
        assert values.dtype == ("int32" if name == "confusion" else "float32")
        assert values.attrs["long_name"] == text
        assert np.isfinite(values).all(), name
    assert dataset["seed"].values.tolist() == [0, 3]
    assert dataset["condition"].values.tolist() == ["baseline", "all"]
    assert tuple(dataset["eval"].values) == SETTINGS.eval_steps()


def test_last_evaluation_is_that_of_the_trained_students(trained, images, thetas):
    dataset, theta = trained
    last = dataset.isel(eval=-1)
    x, labels = images.test[: SETTINGS.n_test].double(), images.test_labels[: SETTINGS.n_test]
    for s, seed in enumerate([0, 3]):
        heldout = distillation_inputs(SETTINGS, seed)[1].double()
        teacher = thetas["own"][seed, 0]
        for c, name in enumerate(["baseline", "all"]):
            own = last.isel(seed=s, condition=c)
            logits = reference.forward(theta[s, c].double(), SETTINGS.sizes, "relu", x)
            right = logits[:, :10].argmax(-1) == labels
            assert own["accuracy"].item() == pytest.approx(right.double().mean().item(), rel=1e-6)
            for digit in range(10):
                share = right[labels == digit].double().mean().item() if (labels == digit).any() else 0.0
                assert own["class_accuracy"][digit].item() == pytest.approx(share, rel=1e-6)
            assert own["confusion"].sum("predicted").values.tolist() == labels.bincount(minlength=10).tolist()
            assert np.trace(own["confusion"].values) == right.sum()
            loss = F.cross_entropy(logits[:, :10], labels).item()
            assert own["test_loss"].item() == pytest.approx(loss, rel=1e-5)
            mask = losses.distilled(SETTINGS, small.CONDITIONS[name])
            z, t = (reference.forward(w.double(), SETTINGS.sizes, "relu", heldout) for w in (theta[s, c], teacher))
            loss = reference.distillation("kl", z, t, mask).item()
            assert own["heldout_loss"].item() == pytest.approx(loss, rel=1e-3)


@pytest.mark.parametrize("n_inputs", [16, 50, 160, 640])
@pytest.mark.parametrize("epochs", [1, 3])
def test_evaluations_are_dense_in_the_first_epoch_then_at_each_end(n_inputs, epochs):
    settings = replace(SETTINGS, n_train=16, trait_batch_size=16, n_inputs=n_inputs, student_epochs=epochs)
    steps, per = settings.eval_steps(), settings.steps_per_epoch
    assert steps[0] == 0
    assert steps[-1] == settings.n_steps
    assert list(steps) == sorted(set(steps))
    assert [s for s in steps if s > per] == [per * e for e in range(2, epochs + 1)]
    assert sum(s <= per for s in steps) == min(per, 10) + 1


def test_nothing_recorded_is_nan_and_a_diverged_count_stays_readable(images):
    recorder = Recorder(QUANTITIES, SIZES, 1, 1, torch.device("cpu"))
    dataset = recorder.dataset({"seed": [0], "condition": ["c"]})
    assert all(np.isnan(dataset[name]).all() for name in QUANTITIES)
