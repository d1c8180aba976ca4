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


class Watched(mediation.Exchange):
    """An exchange that keeps the drives of each step after it, (step, part, arm)."""

    def intervene(self, update, look, known, step):
        changed = super().intervene(update, look, known, step)
        parts = known["discrimination"], known["trait"] - known["discrimination"]
        self.drives = [*getattr(self, "drives", []), torch.stack([dot(update, part)[0] for part in parts])]
        return changed


def trained(kind):
    training = kind(Ensemble(TASK, CONDITIONS, [2], TEACHERS))
    training.run(lambda: None, lambda _: None)
    return training


@pytest.fixture(scope="module")
def exchange():
    return trained(Watched)


def test_drives_are_the_donors_where_given_and_the_other_stays(exchange):
    drives, names = torch.stack(exchange.drives), list(mediation.ARMS)
    for i, arm in enumerate(mediation.ARMS.values()):
        donor = names.index("cross" if arm.teacher == "own" else "own")
        for part, name in enumerate(mediation.PARTS):
            if name in arm.given:
                torch.testing.assert_close(drives[:, part, i], drives[:, part, donor], rtol=1e-3, atol=1e-6)


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
    for i in training.intervene(update, look, known, 0):
        added = (update - before)[0, i].double()
        basis = torch.stack([known["trait"][0, i], known["discrimination"][0, i]]).double()
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
