"""The tracker in loops of one's own: the engine's series, the same training with and without it, what it refuses."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sublim_utils.analysis.alignment import cosine
from sublim_utils.engine.digits import Digits
from sublim_utils.engine.ensemble import Ensemble, take
from sublim_utils.engine.network import MLP
from sublim_utils.engine.students import train_students
from sublim_utils.engine.tracker import Tracker
from sublim_utils.settings import Condition, SettingsError
from sublim_utils.theory import account
from tests import small

SETTINGS = small.SETTINGS


class Plain(nn.Module):
    """The MLP as anyone would write it, with the weights of a theta."""

    def __init__(self, theta):
        super().__init__()
        mlp = MLP.of(SETTINGS)
        self.layers = nn.ModuleList(nn.Linear(*shape) for shape in mlp.shapes)
        with torch.no_grad():
            for layer, (weight, bias) in zip(self.layers, mlp.unflatten(theta), strict=True):
                layer.weight.copy_(weight.T)
                layer.bias.copy_(bias)

    def forward(self, x):
        for layer in self.layers[:-1]:
            x = layer(x).relu()
        return self.layers[-1](x)


PARTS = {f"layer {i + 1}": [f"layers.{i}.weight", f"layers.{i}.bias"] for i in range(3)}


@pytest.mark.parametrize(
    ("condition", "before", "after"),
    [
        (Condition(), {}, {}),
        (Condition(projection=1.0), {"projection": 1.0}, {}),
        (Condition(projection=0.5, side="two", target="update"), {}, {"projection": 0.5, "side": "two"}),
    ],
    ids=["plain", "gradient", "update"],
)
def test_the_series_are_those_of_the_engine(images, thetas, condition, before, after):
    own = {"own": thetas["own"][:1]}
    recorded, theta = train_students(Digits(SETTINGS, images), {"student": condition}, [0], own)
    e = Ensemble(Digits(SETTINGS, images), {"student": condition}, [0], own)
    model, step = Plain(e.reference[0, 0]), 0
    optimizer = torch.optim.Adam(model.parameters(), lr=SETTINGS.student_lr)

    def logits_and_labels():
        index = e.trait_batch(step)[0]
        return model(e.task.x[index]), e.task.labels[index]

    tracker = Tracker(
        model,
        lambda: F.cross_entropy(*shortened(logits_and_labels())),
        PARTS,
        discrimination=lambda: discrimination(*logits_and_labels()),
    )
    for step in range(SETTINGS.n_steps):
        index = e.orders[step]
        optimizer.zero_grad()
        z = model(take(e.inputs, index)[0, 0])[:, 10:]
        loss = F.kl_div(z.log_softmax(-1), take(e.targets, index)[0, 0][:, 10:], reduction="batchmean", log_target=True)
        loss.backward()
        tracker.before(loss, **before)
        optimizer.step()
        tracker.after(**after)
    step = SETTINGS.n_steps
    runs = tracker.runs()
    assert set(runs.data_vars) < set(recorded.data_vars)
    for name in runs.data_vars:
        wanted = recorded[name].values
        # float32 sums in another order, and Adam on top: measured at most 3e-5 of the largest value
        np.testing.assert_allclose(runs[name].values, wanted, atol=5e-4 * np.abs(wanted).max(), rtol=0, err_msg=name)
    end = torch.cat([torch.cat([w.T.flatten(), b]) for w, b in ((m.weight, m.bias) for m in model.layers)])
    torch.testing.assert_close(end, theta[0, 0], atol=1e-4, rtol=0)
    np.testing.assert_allclose(cosine(runs).values, cosine(recorded).values, atol=1e-3)
    assert np.isfinite(account.first_order(runs)).all()
    assert np.isfinite(account.trapezoid(runs)).all()


def shortened(pair):
    return pair[0][:, :10], pair[1]


def discrimination(logits, labels):
    wanted = F.one_hot(labels, 10).float()
    return -((wanted - wanted.mean(0)) * logits[:, :10]).sum(-1).mean()


def toy(seed=0, dropout=0.0):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(6, 5), nn.Dropout(dropout), nn.Tanh(), nn.Linear(5, 4))
    x, y = torch.randn(20, 6), torch.randint(4, (20,))
    return model, x, y


def trained(model, x, y, optimizer, tracker=None, steps=5, clip=None):
    torch.manual_seed(1)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        if tracker:
            tracker.before(loss)
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        if tracker:
            tracker.after()
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_a_tracked_training_takes_the_steps_it_would_have_taken(dropout):
    def run(tracked):
        model, x, y = toy(dropout=dropout)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.1)
        tracker = Tracker(model, lambda: F.cross_entropy(model(x), y)) if tracked else None
        return trained(model, x, y, optimizer, tracker)

    assert torch.equal(run(True), run(False))


def test_groups_decay_and_clipping_show_in_what_was_applied_and_in_the_update():
    model, x, y = toy()
    groups = [{"params": model[0].parameters(), "lr": 0.3}, {"params": model[3].parameters(), "weight_decay": 0.5}]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    tracker = Tracker(optimizer, lambda: F.cross_entropy(model(x), y))
    assert list(tracker.parts) == ["group 0", "group 1"]
    start = torch.cat([p.detach().flatten() for p in model.parameters()])
    end = trained(model, x, y, optimizer, tracker, steps=1, clip=1e-3)
    runs = tracker.runs()
    assert runs["applied_norm"].item() == pytest.approx(1e-3, rel=1e-3)
    assert float((runs["distill_norm"] ** 2).sum()) ** 0.5 > 2e-3
    assert runs["update_norm"].item() == pytest.approx((end - start).norm().item(), rel=1e-4)


def test_frozen_parameters_are_left_out_shared_ones_count_once_and_unused_ones_are_zero():
    model, x, y = toy()
    model[0].bias.requires_grad_(False)
    model.tied, model.unused = model[3], nn.Linear(2, 2)
    tracker = Tracker(model, lambda: F.cross_entropy(model[3](model[0](x)), y))
    assert list(tracker.parts) == ["0", "3", "unused"]
    assert tracker.parts["unused"].stop == 30 + 24 + 6
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    optimizer.zero_grad()
    model[0](x).square().mean().backward()
    tracker.before()
    optimizer.step()
    tracker.after()
    runs = tracker.runs()
    assert (runs["distill_norm"][0, 0, 0] > 0).values.tolist() == [True, False, False]
    assert (runs["trait_norm"][0, 0, 0] > 0).values.tolist() == [True, True, False]


def test_looking_in_between_closes_the_last_step_and_training_goes_on():
    model, x, y = toy()
    tracker = Tracker(model, lambda: F.cross_entropy(model(x), y))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    trained(model, x, y, optimizer, tracker, steps=2)
    early = tracker.runs()
    trained(model, x, y, optimizer, tracker, steps=2)
    late = tracker.runs()
    assert early.sizes["step"] == 2
    assert late.sizes["step"] == 4
    assert np.isfinite(late["drive_end"]).all()
    np.testing.assert_allclose(late["trait_loss"][0, 0, 1:], late["trait_loss_end"][0, 0, :-1], rtol=1e-6)


def test_what_cannot_be_tracked_is_refused_by_name():
    model, x, y = toy()

    def trait():
        return F.cross_entropy(model(x), y)

    with pytest.raises(SettingsError, match="optimizer = 'LBFGS' is not allowed"):
        Tracker(torch.optim.LBFGS(model.parameters()), trait)
    with pytest.raises(SettingsError, match="parameters = .* at least one parameter that requires a gradient"):
        Tracker([], trait)
    with pytest.raises(SettingsError, match="parts = .* once"):
        Tracker(model, trait, {"first": ["0.weight"]})
    tracker = Tracker(model, trait)
    with pytest.raises(SettingsError, match=r"steps = 0 is not allowed"):
        tracker.runs()
    with pytest.raises(SettingsError, match=r"after\(\) = 'called first'"):
        tracker.after()
    model(x).sum().backward()
    tracker.before()
    with pytest.raises(SettingsError, match=r"before\(\) = 'called twice'"):
        tracker.before()
    for close in (tracker.before, tracker.after):  # a projection is named where it is asked for
        with pytest.raises(TypeError, match="positional"):
            close(None, 1.0)
