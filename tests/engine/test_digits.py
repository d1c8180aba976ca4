"""The directions that are gradients, by their functionals of the logits: sums, contrasts, what they leave alone."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sublim_utils.engine.digits import FUNCTIONALS, Digits
from sublim_utils.engine.seeds import generator
from tests import reference, small


def drawn(seed, n=60):
    rng = generator(seed, "functionals")
    return torch.randn(n, 13, generator=rng, dtype=torch.float64), torch.randint(10, (n,), generator=rng)


def test_the_parts_add_up_to_the_trait():
    z, y = drawn(0)
    (trait,) = FUNCTIONALS["trait"](z, y)
    parts = [FUNCTIONALS[name](z, y)[0] for name in ("discrimination", "calibration")]
    torch.testing.assert_close(sum(parts), trait)
    torch.testing.assert_close(sum(FUNCTIONALS["classes"](z, y)), trait)
    torch.testing.assert_close(torch.stack(FUNCTIONALS["both"](z, y)), torch.stack([trait, parts[0]]))


@pytest.mark.parametrize(("name", "n"), [("trait", 1), ("both", 2), ("classes", 10), ("five", 1), ("contrasts", 45)])
def test_there_are_as_many_as_named_and_none_touches_an_auxiliary_logit(name, n):
    found = FUNCTIONALS[name](*drawn(1))
    assert len(found) == n
    assert not any(d[:, 10:].any() for d in found)


@pytest.mark.parametrize("name", FUNCTIONALS)
def test_models_side_by_side_have_each_its_own(name):
    (z, y), (other, its) = drawn(3), drawn(4)
    both = FUNCTIONALS[name](torch.stack([z, other]), torch.stack([y, its]))
    for i, alone in enumerate((FUNCTIONALS[name](z, y), FUNCTIONALS[name](other, its))):
        torch.testing.assert_close(torch.stack([d[i] for d in both]), torch.stack(list(alone)))


@given(st.integers(0, 99))
def test_a_contrast_is_the_discrimination_among_its_classes(seed):
    z, y = drawn(seed)
    pairs = [(i, j) for i in range(10) for j in range(i)]
    for classes, dlogits in (
        (tuple(range(5)), FUNCTIONALS["five"](z, y)[0]),
        (pairs[7], FUNCTIONALS["contrasts"](z, y)[7]),
    ):
        inside, order = torch.isin(y, torch.tensor(classes)), sorted(classes)
        renamed = torch.tensor([order.index(c) if c in order else -1 for c in range(10)])[y[inside]]
        expected = torch.zeros_like(z)
        _, gradient = reference.gradient(lambda w, r=renamed: reference.discrimination(w, r), z[inside][:, order])
        rows = torch.zeros(int(inside.sum()), 13, dtype=z.dtype)
        rows[:, order] = gradient
        expected[inside] = rows
        torch.testing.assert_close(dlogits, expected)


def test_five_digits_leave_the_others_logits_and_images_alone():
    z, y = drawn(2)
    (dlogits,) = FUNCTIONALS["five"](z, y)
    assert not dlogits[:, 5:].any()
    assert not dlogits[y >= 5].any()
    assert dlogits[y < 5].any()


def test_a_network_is_judged_on_test_images_and_fitted_on_training_images(images):
    task = Digits(small.SETTINGS, images)
    assert torch.equal(task.test, images.test[: small.SETTINGS.n_test])
    assert torch.equal(task.test_labels, images.test_labels[: small.SETTINGS.n_test])
    theta = task.references([0])
    z = task.network.logits(theta[0, 0], images.test[: small.SETTINGS.n_test])[:, :10]
    right = (z.argmax(-1) == images.test_labels[: small.SETTINGS.n_test]).float().mean()
    assert float(task.evaluate(theta, [0])["accuracy"]) == pytest.approx(float(right))
