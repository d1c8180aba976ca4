"""The sources' protocols: untracked students end as tracked ones do, and each protocol is what its source says."""

import numpy as np
import pytest

from sublim_utils.settings import Settings
from sublim_utils.theory import protocols
from tests.small import SETTINGS

SMALL = {"hidden": (12, 8), "n_train": 60, "n_test": 40, "n_inputs": 50, "batch_size": 16, "trait_batch_size": 20}


@pytest.mark.parametrize("protocol", ["comments", "blur 1"])
def test_the_students_end_as_tracked_ones_do(lab, protocol):
    known = {**protocols.PROTOCOLS[protocol].settings, **SMALL}
    settings, students, steps = Settings.of(**known), protocols.PROTOCOLS[protocol].students, []
    runs = protocols.ends(lab, 2, steps.append, protocol=protocol, settings=settings)
    tracked = lab.students(settings, students, [2]).isel(seed=0)
    assert len(steps) == settings.n_steps
    for name in protocols.KEPT:
        np.testing.assert_array_equal(runs[name].transpose("student", ...), tracked[name])


def test_an_untracked_training_records_evaluations_only(lab):
    training = protocols.Untracked
    runs = lab.distilled(SETTINGS, protocols.PROTOCOLS["blur 0"].students, 2, advance=lambda: None, training=training)
    assert np.isnan(runs["inner"]).all()
    assert np.isfinite(runs["accuracy"]).all()


@pytest.mark.parametrize("protocol", protocols.PROTOCOLS)
def test_the_settings_are_allowed_and_differ_from_the_papers(protocol):
    chosen = protocols.PROTOCOLS[protocol]
    settings = Settings.of(**chosen.settings)
    assert settings != Settings()
    for condition in chosen.students.values():
        condition.check_with(settings)
    assert set(chosen.measured) <= {*chosen.students, "teacher"}


def test_the_fresh_noise_of_twenty_epochs_is_one_epoch_of_twenty_times_as_many():
    settings = Settings.of(**protocols.PROTOCOLS["comments"].settings)
    assert settings.n_steps == 20 * Settings.n_train // 128 == 9375
