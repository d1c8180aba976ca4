"""Pictures of the first layer: the weights of the units that changed most, by plain slicing."""

import numpy as np
import pytest
import torch

from sublim_utils import pictures
from sublim_utils.mlp import MLP
from sublim_utils.seeds import generator


def test_pictures_are_the_changes_of_the_units_that_changed_most_in_the_teacher():
    mlp = MLP(sizes=(784, 9, 5, 12))
    theta_0, theta_t, theta_s = (mlp.initial(generator(seed, "picture")) for seed in range(3))
    found = pictures.first_layer(mlp, theta_0, theta_t, theta_s, 4)
    changed = {name: (theta - theta_0).numpy() for name, theta in (("teacher", theta_t), ("student", theta_s))}
    columns = {name: d[: 784 * 9].reshape(784, 9) for name, d in changed.items()}
    largest = np.argsort(-np.linalg.norm(columns["teacher"], axis=0))[:4]
    assert found["unit"].values.tolist() == largest.tolist()
    for name, weights in columns.items():
        shown = found["picture"].sel(network=name).values
        np.testing.assert_array_equal(shown, weights.T[largest].reshape(4, 28, 28))
    a, b = changed.values()
    assert float(found["ratio"]) == pytest.approx(np.linalg.norm(b) / np.linalg.norm(a), rel=1e-6)
    assert float(found["cosine"]) == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), rel=1e-5)


def test_a_student_that_moved_half_as_far_the_same_way_has_that_ratio_and_cosine_one():
    mlp = MLP(sizes=(784, 3, 12))
    theta_0, move = torch.zeros(mlp.n_parameters), mlp.initial(generator(0, "move"))
    found = pictures.first_layer(mlp, theta_0, move, move / 2, 1)
    assert (float(found["ratio"]), float(found["cosine"])) == pytest.approx((0.5, 1.0), rel=1e-6)
