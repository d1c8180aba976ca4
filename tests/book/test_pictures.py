"""Pictures of the first layer: the weights of the units that changed most, by plain slicing."""

import numpy as np
import pytest
import torch

from sublim_utils.book import pictures
from sublim_utils.engine.network import MLP
from sublim_utils.engine.seeds import generator
from sublim_utils.runs.experiments import EXPERIMENTS
from sublim_utils.settings import Condition
from tests.small import SETTINGS


def test_pictures_are_the_changes_of_the_units_that_changed_most_in_the_teacher():
    mlp = MLP(sizes=(784, 9, 5, 12))
    theta_0, theta_t, *thetas = (mlp.initial(generator(seed, "picture")) for seed in range(8))
    path = torch.stack(thetas).view(3, 2, -1)
    found = pictures.first_layer(mlp, theta_0, theta_t, path, ["a", "b"], 4)

    def columns(theta):
        return (theta - theta_0).numpy()[: 784 * 9].reshape(784, 9)

    largest = np.argsort(-np.linalg.norm(columns(theta_t), axis=0))[:4]
    assert found["unit"].values.tolist() == largest.tolist()
    np.testing.assert_array_equal(found["teacher"], columns(theta_t).T[largest].reshape(4, 28, 28))
    d_t = (theta_t - theta_0).numpy()
    for point, index in np.ndindex(3, 2):
        one, moved = found.isel(eval=point, condition=index), (path[point, index] - theta_0).numpy()
        shown = columns(path[point, index]).T[largest].reshape(4, 28, 28)
        np.testing.assert_array_equal(one["picture"], shown)
        assert float(one["ratio"]) == pytest.approx(np.linalg.norm(moved) / np.linalg.norm(d_t), rel=1e-5)
        cosine = moved @ d_t / np.linalg.norm(moved) / np.linalg.norm(d_t)
        assert float(one["cosine"]) == pytest.approx(cosine, rel=1e-4)


def test_a_student_that_moved_half_as_far_the_same_way_has_that_ratio_and_cosine_one():
    mlp = MLP(sizes=(784, 3, 12))
    theta_0, move = torch.zeros(mlp.n_parameters), mlp.initial(generator(0, "move"))
    found = pictures.first_layer(mlp, theta_0, move, torch.stack([theta_0, move / 2]).unsqueeze(1), ["student"], 1)
    assert np.isnan(found["cosine"].values[0, 0])
    assert found["ratio"].values.ravel().tolist() == pytest.approx([0.0, 0.5])
    assert float(found["cosine"][0, 1]) == pytest.approx(1.0, rel=1e-6)


def test_pictures_are_of_the_conditions_asked_for_and_not_those_stored_before(lab, monkeypatch):
    first = lab.ask(pictures.looked_at, [0], settings=SETTINGS, conditions={"student": Condition()})
    other = lab.ask(pictures.looked_at, [0], settings=SETTINGS, conditions={"student": Condition(logits="all")})
    assert not np.array_equal(first["picture"], other["picture"])
    assert first.sizes["eval"] == len(SETTINGS.eval_steps())
    asked = {}
    monkeypatch.setattr(lab, "ask", lambda function, seeds, **arguments: asked.update(arguments, seeds=seeds) or first)
    pictures.over_training(lab)
    assert asked["conditions"] == EXPERIMENTS["phenomenon"].conditions
    assert asked["seeds"] == lab.seeds("main")[:1]
