"""Fixtures of all tests; one thread, so that times and last bits are those of one machine."""

import hypothesis
import pytest
import torch

from sublim_utils.engine import data, teachers
from sublim_utils.engine.digits import Digits
from tests import small

hypothesis.settings.register_profile("sublim", deadline=None, derandomize=True)
hypothesis.settings.load_profile("sublim")


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """One thread for fixtures of every scope: a sum split over threads differs in its last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def images():
    return small.images()


@pytest.fixture(scope="session")
def thetas(images):
    """theta_T of seeds 0 ... 3 by kind of teacher, (seed, 1, P)."""
    own, _, _ = teachers.train_teachers(Digits(small.SETTINGS, images), range(4))
    shuffled, _, _ = teachers.train_teachers(Digits(small.SETTINGS, images), range(4), shuffled=True)
    return {"own": own, "other": own[[1, 0, 3, 2]], "shuffled": shuffled}


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """A lab with an empty store and small images."""
    monkeypatch.setattr(data, "load", small.images)
    return small.new_lab(tmp_path / "results")
