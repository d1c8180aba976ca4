"""Each loss and its gradient in the logits against autograd of torch.nn.functional, in float64."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from sublim_utils.engine import losses
from sublim_utils.engine.seeds import generator
from sublim_utils.settings import Condition, Settings
from tests import reference

SETTINGS = Settings(n_aux=4)


def drawn(seed, batch=3, lead=(2, 2)):
    """Return logits and teacher's logits, (*lead, batch, 14)."""
    rng = generator(seed, "losses")
    return (3 * torch.randn(*lead, batch, 14, generator=rng, dtype=torch.float64) for _ in range(2))


cases = given(
    st.sampled_from(["kl", "mse"]), st.sampled_from(["aux", "class", "all"]), st.integers(1, 6), st.integers(0, 999)
)


@cases
def test_distillation_loss_and_gradient_are_autograds(kind, which, batch, seed):
    logits, teacher = drawn(seed, batch)
    mask = losses.logit_mask(SETTINGS, which)
    loss, dlogits = losses.DISTILLATION[kind](logits, losses.target_of(kind, teacher, mask), mask)
    for s in range(2):
        for c in range(2):
            value, gradient = reference.gradient(
                lambda z, t=teacher[s, c]: reference.distillation(kind, z, t, mask), logits[s, c]
            )
            torch.testing.assert_close(loss[s, c], value)
            torch.testing.assert_close(dlogits[s, c], gradient)


@given(st.integers(1, 6), st.integers(0, 999))
def test_cross_entropy_and_gradient_are_autograds(batch, seed):
    logits, _ = drawn(seed, batch)
    labels = torch.randint(10, (2, 1, batch), generator=generator(seed, "labels"))
    loss, dlogits = losses.cross_entropy(logits, labels)
    for s in range(2):
        for c in range(2):
            value, gradient = reference.gradient(lambda z, y=labels[s, 0]: F.cross_entropy(z[:, :10], y), logits[s, c])
            torch.testing.assert_close(loss[s, c], value)
            torch.testing.assert_close(dlogits[s, c], gradient)


@cases
def test_a_batch_twice_gives_the_same_loss_and_half_the_gradient_on_each_copy(kind, which, batch, seed):
    logits, teacher = drawn(seed, batch)
    mask = losses.logit_mask(SETTINGS, which)
    target = losses.target_of(kind, teacher, mask)
    once, twice = (
        losses.DISTILLATION[kind](logits.repeat(1, 1, n, 1), target.repeat(1, 1, n, 1), mask) for n in (1, 2)
    )
    torch.testing.assert_close(once[0], twice[0])
    torch.testing.assert_close(once[1] / 2, twice[1][..., :batch, :])


@cases
def test_the_model_axes_do_not_divide(kind, which, batch, seed):
    logits, teacher = drawn(seed, batch, (3, 2))
    mask = losses.logit_mask(SETTINGS, which)
    target = losses.target_of(kind, teacher, mask)
    _, together = losses.DISTILLATION[kind](logits, target, mask)
    _, alone = losses.DISTILLATION[kind](logits[1:2, :1], target[1:2, :1], mask)
    torch.testing.assert_close(together[1:2, :1], alone)


def test_losses_vanish_at_the_teacher_and_never_see_a_bystander():
    logits, teacher = drawn(0)
    mask = losses.logit_mask(SETTINGS, "aux")
    for kind, loss in losses.DISTILLATION.items():
        target = losses.target_of(kind, teacher, mask)
        at_teacher, gradient = loss(teacher.clone(), target, mask)
        torch.testing.assert_close(at_teacher, torch.zeros(2, 2, dtype=torch.float64))
        torch.testing.assert_close(gradient, torch.zeros_like(gradient))
        assert not loss(logits, target, mask)[1][..., ~mask].any()


def test_kl_stays_finite_at_extreme_logits():
    logits, teacher = (1e4 * z.float() for z in drawn(0))
    mask = losses.logit_mask(SETTINGS, "all")
    loss, gradient = losses.kl(logits, losses.log_softmax(teacher, mask), mask)
    assert loss.isfinite().all()
    assert gradient.isfinite().all()


@pytest.mark.parametrize(
    ("condition", "chosen"),
    [
        (Condition(), range(10, 14)),
        (Condition(n_distilled=2), range(10, 12)),
        (Condition(logits="class"), range(10)),
        (Condition(logits="all"), range(14)),
    ],
)
def test_distilled_logits(condition, chosen):
    assert losses.distilled(SETTINGS, condition).nonzero().flatten().tolist() == list(chosen)


@given(st.integers(2, 40), st.integers(0, 999))
def test_discrimination_and_its_gradient_are_autograds(batch, seed):
    logits, _ = drawn(seed, batch)
    labels = torch.randint(10, (2, 1, batch), generator=generator(seed, "labels"))
    loss, dlogits = losses.discrimination(logits, labels)
    for s in range(2):
        for c in range(2):
            value, gradient = reference.gradient(
                lambda z, y=labels[s, 0]: reference.discrimination(z[:, :10], y), logits[s, c]
            )
            torch.testing.assert_close(loss[s, c], value)
            torch.testing.assert_close(dlogits[s, c], gradient)


@given(st.integers(2, 40), st.integers(0, 999), st.floats(-50, 50))
def test_offsets_move_the_label_free_part_only(batch, seed, size):
    logits, _ = drawn(seed, batch)
    labels = torch.randint(10, (2, 1, batch), generator=generator(seed, "labels"))
    offsets = torch.zeros(14, dtype=logits.dtype)
    offsets[:10] = size * torch.randn(10, generator=generator(seed, "offsets"), dtype=logits.dtype)
    before, after = (losses.discrimination(z, labels)[0] for z in (logits, logits + offsets))
    torch.testing.assert_close(after, before, rtol=1e-9, atol=1e-9)
    free = losses.cross_entropy(logits, labels)[0] - before
    log_p = logits[..., :10].log_softmax(-1)
    frequencies = torch.nn.functional.one_hot(labels, 10).double().mean(-2, keepdim=True)
    torch.testing.assert_close(free, -(frequencies * log_p).sum(-1).mean(-1))


@given(st.sampled_from(["aux", "class", "all"]), st.integers(0, 999))
def test_the_reverse_kl_is_the_kl_with_the_roles_exchanged(which, seed):
    logits, teacher = drawn(seed)
    mask = losses.logit_mask(SETTINGS, which)
    reverse = losses.reverse_kl(logits, losses.log_softmax(teacher, mask), mask)
    torch.testing.assert_close(reverse, losses.kl(teacher, losses.log_softmax(logits, mask), mask)[0])


def test_kl_to_a_hard_target_is_the_cross_entropy_with_it():
    logits, mask = torch.randn(2, 1, 6, 13, generator=generator(0, "z")), torch.arange(13) >= 10
    answers = torch.randint(10, 13, (2, 1, 6), generator=generator(0, "a"))
    logits.requires_grad_()
    loss, dlogits = losses.kl(logits, losses.hard_target(answers, mask), mask)
    exact = torch.nn.functional.cross_entropy(logits[..., 10:].flatten(0, 2), answers.flatten() - 10, reduction="none")
    torch.testing.assert_close(loss, exact.view(2, 1, 6).mean(-1))
    (expected,) = torch.autograd.grad(exact.sum() / 6, logits)
    torch.testing.assert_close(dlogits, expected)
