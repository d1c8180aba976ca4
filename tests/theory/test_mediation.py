"""The exchange of drives, on small networks: exact at every step, and the identity where nothing is exchanged."""

import pytest
import torch
import xarray as xr

from sublim_utils.engine.digits import Digits
from sublim_utils.engine.ensemble import Ensemble
from sublim_utils.engine.students import Training
from sublim_utils.engine.teachers import train_teachers
from sublim_utils.engine.vectors import dot
from sublim_utils.settings import Condition
from sublim_utils.theory import mediation
from tests.small import SETTINGS, images

TASK = Digits(SETTINGS, images())
TEACHERS = {
    "own": train_teachers(TASK, [2])[0],
    "other": train_teachers(TASK, [3])[0],
}
CONDITIONS = {name: Condition(teacher=arm.teacher) for name, arm in mediation.ARMS.items()}


def where(training, arm):
    return slice(None) if arm.layer is None else training.parts[arm.layer]


class Watched(mediation.Exchange):
    """An exchange that keeps, of each step, what it changed and the drives after it, within each arm's layer.

    `drives` are (step, arm, "own" or donor, part), `outside` the largest change of any arm outside its layer.
    """

    drives, outside = (), 0.0

    def intervene(self, update, look, known, step):
        before, names = update.clone(), list(mediation.ARMS)
        changed = super().intervene(update, look, known, step)
        parts = known["discrimination"], known["trait"] - known["discrimination"]
        rows = []
        for i, arm in enumerate(mediation.ARMS.values()):
            span, donor = where(self, arm), names.index("cross" if arm.teacher == "own" else "own")
            pairs = [(update, i), (before, i), (before, donor)]
            rows.append([[float(dot(u[:, j, span], part[:, j, span])[0]) for part in parts] for u, j in pairs])
            moved = (update - before)[:, i].abs()
            moved[:, span] = 0
            self.outside = max(self.outside, float(moved.max()))
        self.drives = [*self.drives, rows]
        return changed


def trained(kind):
    training = kind(Ensemble(TASK, CONDITIONS, [2], TEACHERS))
    training.run(lambda: None, lambda _: None)
    return training


@pytest.fixture(scope="module")
def exchange():
    return trained(Watched)


def test_drives_are_the_donors_where_given_and_the_other_stays(exchange):
    drives = torch.tensor(exchange.drives)
    for i, arm in enumerate(mediation.ARMS.values()):
        for part, name in enumerate(mediation.PARTS):
            wanted = drives[:, i, 2 if name in arm.given else 1, part]
            torch.testing.assert_close(drives[:, i, 0, part], wanted, rtol=1e-3, atol=1e-6)


def test_an_exchange_within_a_layer_leaves_the_other_layers_alone(exchange):
    assert exchange.outside == 0.0


def test_drives_in_the_layers_add_up_and_the_last_layer_has_none():
    """Why no arm exchanges the last layer: what imitates auxiliary logits never moves the class head."""
    plain = trained(Training)
    gradients = plain.trait[0, 0], plain.disc[0, 0]
    for gradient in gradients:
        inner = [float(plain.update[0, 0, part] @ gradient[part]) for part in plain.parts]
        assert inner[-1] == 0.0
        assert sum(inner) == pytest.approx(float(plain.update[0, 0] @ gradient), rel=1e-4)


def test_donors_are_as_trained_alone_and_the_others_are_not(exchange):
    plain = trained(Training)
    torch.testing.assert_close(exchange.theta[:, :2], plain.theta[:, :2], rtol=0, atol=0)
    moved = (exchange.theta - plain.theta).norm(dim=-1)[0, 2:]
    assert (moved > 1e-4).all()


def test_no_change_is_smaller(exchange):
    """The rest of the update is untouched: what is added lies in the span of the two gradients."""
    del exchange
    training = mediation.Exchange(Ensemble(TASK, CONDITIONS, [2], TEACHERS))
    look = training.look(0)[0]
    known = {"trait": training.trait, "discrimination": training.disc}
    update = torch.randn(training.theta.shape, generator=torch.Generator().manual_seed(0))
    before = update.clone()
    arms = list(mediation.ARMS.values())
    for i in training.intervene(update, look, known, 0):
        span = where(training, arms[i])
        added = (update - before)[0, i, span].double()
        basis = torch.stack([known["trait"][0, i, span], known["discrimination"][0, i, span]]).double()
        rest = added - torch.linalg.lstsq(basis.T, added[:, None]).solution[:, 0] @ basis
        assert float(rest.norm()) < 1e-4 * float(added.norm())


def test_what_is_stored_has_every_arm_and_reading(lab):
    steps = []
    stored = mediation.exchanged(lab, 2, steps.append, settings=SETTINGS)
    assert list(stored["arm"].values) == list(mediation.ARMS)
    assert set(stored.data_vars) == set(mediation.KEPT)
    assert len(steps) == mediation.exchanged.stored.steps_of({"settings": SETTINGS}) == SETTINGS.n_steps


def test_share_of_gap():
    ends = xr.DataArray([[[0.1, 0.9], [0.1, 0.3], [0.1, 0.6]]], dims=("seed", "arm", "eval"))
    gap = mediation.share_of_gap(ends.assign_coords(arm=["own", "cross", "x"]), "x")
    assert [float(g[0]) for g in gap] == pytest.approx([0.3, 0.6])
