"""Variants of the projection off grad L_disc: read as they are trained, and the reading among five digits by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sublim_utils.engine.digits import Digits
from sublim_utils.engine.evaluation import logits_of
from sublim_utils.engine.students import train_students
from sublim_utils.engine.teachers import train_teachers
from sublim_utils.runs.conditions import OFF_DISC
from sublim_utils.settings import Condition, Settings
from sublim_utils.theory import removals
from tests.small import SETTINGS, images

FIVE_ONLY = replace(OFF_DISC, direction="five")


def by_hand(z, y, digits):
    """Return the centred accuracy among digits, one image at a time, in numpy."""
    place = [i for i, label in enumerate(y) if label in digits]
    z, y = z[place][:, list(digits)].astype(float), [list(digits).index(label) for label in y[place]]
    half = len(place) // 2
    offsets = z[half:].mean(0), z[:half].mean(0)
    return np.mean([np.argmax(row - offsets[i >= half]) == y[i] for i, row in enumerate(z)])


@pytest.mark.parametrize("digits", [*removals.FIVES.values(), (3, 8)])
def test_the_reading_among_some_digits_is_that_of_their_images_and_logits(digits):
    rng = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(2, 3, 101, 13, generator=rng), torch.randint(10, (101,), generator=rng)
    logits += 2 * torch.nn.functional.one_hot(labels, 13)
    logits[..., digits[0]] += 5  # an offset, which it must not see
    read = removals.among(logits, labels, digits)
    assert read.shape == (2, 3)
    for at in np.ndindex(2, 3):
        assert float(read[at]) == pytest.approx(by_hand(logits[at].numpy(), labels.numpy(), digits), abs=1e-6)
    assert float(read.mean()) > 1.5 / len(digits)


@pytest.fixture(scope="module")
def read():
    task = Digits(SETTINGS, images())
    teachers = {"own": train_teachers(task, [2])[0]}
    conditions = {"baseline": Condition(), "five": FIVE_ONLY}
    trained = train_students(task, conditions, [2], teachers, training=removals.Read)
    return task, conditions, teachers, trained


def test_gains_among_digits_are_from_the_reference_to_the_trained_student(read):
    task, conditions, teachers, (dataset, theta) = read
    plain, _ = train_students(task, conditions, [2], teachers)
    for name in plain:
        np.testing.assert_array_equal(dataset[name], plain[name])
    ends = [
        {d: by_hand(z.numpy(), task.test_labels.numpy(), c) for d, c in removals.FIVES.items()}
        for z in (logits_of(task.network, t, task.test)[0, 0] for t in (task.references([2]), theta[:, :1]))
    ]
    for d in removals.FIVES:
        gain = float(dataset["gain_among"].sel(condition="baseline", digits=d, seed=2))
        assert gain == pytest.approx(ends[1][d] - ends[0][d], abs=1e-6)


def test_what_is_stored_has_every_student_and_reading(lab):
    for arms, (students, changes) in removals.SETS.items():
        settings = replace(SETTINGS, **dict.fromkeys(changes, 30))
        steps = []
        stored = removals.ends(lab, 2, steps.append, arms=arms, settings=settings)
        assert list(stored["arm"].values) == list(students(settings))
        assert set(stored.data_vars) == {*removals.KEPT, "gain_among"}
        assert sum(steps) == settings.n_steps
        assert np.isfinite(stored["gain_among"]).all()


@pytest.mark.parametrize("arms", removals.SETS)
def test_no_student_is_trained_twice_and_each_can_be_in_the_papers_protocol(arms):
    students, changes = removals.SETS[arms]
    settings = Settings.of(**changes)
    conditions = students(settings)
    assert len(set(conditions.values())) == len(conditions)
    for condition in conditions.values():
        condition.check_with(settings)


def test_doses_and_timings_are_found_by_their_values():
    settings = Settings()
    variants = removals.variants(settings)
    doses, first, after = (by(settings) for by in (removals.by_strength, removals.by_last, removals.by_first))
    for found in (doses, first, after):
        assert list(found) == sorted(found)
        assert len(found) >= 5
    assert all(variants[name].projection == strength for strength, name in doses.items())
    assert all(variants[name].window == (0, k) for k, name in [*first.items()][1:-1])
    assert all(variants[name].window == (k, settings.n_steps) for k, name in [*after.items()][1:-1])
    ends = {0.0: removals.BASE, 1.0: removals.OFF}
    assert {k: doses[k] for k in ends} == ends
    assert [*first.values()][:: len(first) - 1] == [*after.values()][:: 1 - len(after)] == [*ends.values()]


def test_a_learner_differs_from_its_projected_self_in_the_projection_alone():
    variants = removals.variants(Settings())
    for name, condition in variants.items():
        learner = variants[removals.learner_of(name)]
        assert (learner.teacher, learner.logits) == (condition.teacher, condition.logits)
        assert not learner.projection


def test_a_profile_without_the_full_grid_leaves_them_out(lab):
    assert removals.runs(lab) is None
