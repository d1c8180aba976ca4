"""Students against a single float64 model, and each alone against itself among others."""

import gc
import weakref
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from sublim_utils.engine import liminal, losses
from sublim_utils.engine.digits import Digits
from sublim_utils.engine.ensemble import Ensemble, take
from sublim_utils.engine.inputs import distillation_inputs
from sublim_utils.engine.network import MLP
from sublim_utils.engine.seeds import epoch_orders, generator
from sublim_utils.engine.students import Training, train_students
from sublim_utils.settings import BLOCKS, Condition, Settings, SettingsError
from tests import reference, small

SETTINGS, CONDITIONS = small.SETTINGS, small.CONDITIONS
CPU = torch.device("cpu")


def of_seeds(thetas, seeds):
    return {kind: theta[list(seeds)] for kind, theta in thetas.items()}


def train(conditions, seeds, images, thetas, **changes):
    return train_students(Digits(replace(SETTINGS, **changes), images), conditions, seeds, of_seeds(thetas, seeds))


def trait_batches(s, seed, steps):
    """Index batches of the trait gradient: passes over the images, remainders left out."""
    rng, per_pass = generator(seed, "trait-batches"), s.n_train // s.trait_batch_size
    passes = [torch.randperm(s.n_train, generator=rng) for _ in range(steps // per_pass + 1)]
    return [i for order in passes for i in order.split(s.trait_batch_size)[:per_pass]]


def plain_student(s, condition, seed, images, theta_t):
    """Return one student's theta after training and all it recorded, in float64."""
    start = MLP.of(s).initial(generator(seed, "init")).double()
    x = distillation_inputs(s, seed)[0].double()
    orders = epoch_orders(s.n_inputs, s.batch_size, s.student_epochs, generator(seed, "student-order"))
    real, labels = images.train[: s.n_train].double(), images.train_labels[: s.n_train]
    trait, mask = trait_batches(s, seed, len(orders)), losses.distilled(s, condition)
    liminal_mask = losses.logit_mask(s, condition.liminal_logits)

    def logits(theta, inputs):
        return reference.forward(theta, s.sizes, s.activation, inputs)

    def penalty(theta, t):
        i, temperature = orders[t], condition.temperature
        divergence = reference.distillation("kl", logits(theta, x[i]) / temperature,
                                            logits(start, x[i]) / temperature, liminal_mask)  # fmt: skip
        decay = condition.base_decay / 2 * (theta - start).square().sum()
        return liminal.weight(condition, s, t) * temperature**2 * divergence + decay

    student = reference.Student(
        start,
        lambda theta, t: reference.distillation(
            s.loss, logits(theta, x[orders[t]]), logits(theta_t.double(), x[orders[t]]), mask
        ),
        lambda theta, t: F.cross_entropy(logits(theta, real[trait[t]])[:, :10], labels[trait[t]]),
        lambda theta, t: reference.discrimination(logits(theta, real[trait[t]])[:, :10], labels[trait[t]]),
        reference.Adam(s.student_lr),
        penalty,
    )
    recorded = student.run(len(orders), theta_t.double() - start)
    reverse = [
        reference.distillation("kl", logits(theta_t.double(), x[i]), logits(theta, x[i]), mask)
        for theta, i in zip(recorded["theta"], orders, strict=True)
    ]
    recorded["reverse_kl"] = torch.stack(reverse)
    return student.theta, recorded, start


CASES = {
    "aux": (Condition(), {}),
    "tanh": (Condition(logits="all"), {"activation": "tanh"}),
    "mse": (Condition(logits="class"), {"loss": "mse"}),
    "few logits": (Condition(n_distilled=2), {}),
    "cross": (Condition(teacher="other"), {}),
    "liminal": (Condition(liminal=3.0, schedule="constant"), {}),
    "liminal, all, T": (Condition(liminal=3.0, schedule="down", liminal_logits="all", temperature=0.7), {}),
    "decay": (Condition(base_decay=0.3), {}),
    "linear": (Condition(), {"hidden": (), "activation": "identity"}),
}


@pytest.mark.parametrize("case", CASES)
def test_training_and_every_recorded_quantity_are_the_references(case, images, thetas):
    condition, changes = CASES[case]
    s, seed = replace(SETTINGS, **changes), 1
    mlp = MLP.of(s)
    theta_t = thetas[condition.teacher][seed, 0]
    if theta_t.numel() != mlp.n_parameters:
        theta_t = mlp.initial(generator(seed, "another"))
    dataset, theta = train_students(
        Digits(s, images), {"c": condition}, [seed], {condition.teacher: theta_t[None, None]}
    )
    expected, plain, start = plain_student(s, condition, seed, images, theta_t)
    found = {name: torch.from_numpy(v.values[0, 0]).double() for name, v in dataset.data_vars.items()}

    def by_layer(a, b):
        return torch.stack([(plain[a][:, p] * plain[b][:, p]).sum(-1) for p in mlp.parts.values()], dim=-1)

    def whole(a, b):
        return (plain[a] * plain[b]).sum(-1)

    wanted = {
        **{n: plain[n] for n in ("distill_loss", "trait_loss", "progress", "inner_displacement")},
        **{n: plain[n] for n in ("trait_disc", "travelled", "distance", "one_point")},
        **({"reverse_kl": plain["reverse_kl"]} if s.loss == "kl" else {}),
        "inner_disc": by_layer("disc", "distill"),
        "inner_parts": by_layer("trait", "disc"),
        "disc_norm": by_layer("disc", "disc").sqrt(),
        "drive_disc": by_layer("disc", "update"),
        "inner": by_layer("trait", "distill"),
        "trait_norm": by_layer("trait", "trait").sqrt(),
        "distill_norm": by_layer("distill", "distill").sqrt(),
        "inner_applied": whole("trait", "applied"),
        "applied_norm": whole("applied", "applied").sqrt(),
        "drive": by_layer("trait", "update"),
        "drive_end": by_layer("later", "update"),
        "update_norm": whole("update", "update").sqrt(),
    }
    away = (theta[0, 0] - expected).abs().max() / (expected - start).abs().max()
    # float32 against float64: measured at most 8e-5 in a recorded quantity, and 8e-4 in theta, where Adam
    # turns a gradient at rounding level into a step (with the smooth losses it is below 5e-5)
    assert away < 5e-3
    for name, value in wanted.items():
        assert (found[name] - value).abs().max() <= 5e-4 * value.abs().max(), name


# Alone and among others. A model's arithmetic is the same wherever it lies in memory only where
# rows are whole cache lines: at widths and batches that are multiples of 16, as all of the book's.

BOOK = replace(SETTINGS, hidden=Settings.hidden, n_train=112, n_inputs=112, batch_size=64, trait_batch_size=112,
               student_epochs=1)  # fmt: skip
AT_BOOK = {**CONDITIONS, "kept": replace(CONDITIONS["kept"], window=(1, BOOK.n_steps))}


@pytest.fixture(scope="module")
def book_thetas():
    mlp = MLP.of(BOOK)
    own = [mlp.initial(generator(k, "init")) + mlp.initial(generator(k, "learned"), 0.2) for k in range(2)]
    return {"own": torch.stack(own)[:, None], "other": torch.stack(own[::-1])[:, None]}


@pytest.fixture(scope="module")
def together(images, book_thetas):
    return train_students(Digits(BOOK, images), AT_BOOK, [0, 1], book_thetas)


def assert_same(one, other):
    """Every recorded quantity agrees bit for bit."""
    different = [name for name in one.data_vars if one[name].values.tobytes() != other[name].values.tobytes()]
    assert not different


@pytest.mark.parametrize("name", CONDITIONS)
def test_alone_is_among_others_bit_for_bit(images, book_thetas, together, name):
    dataset, theta = train_students(Digits(BOOK, images), {name: AT_BOOK[name]}, [1], of_seeds(book_thetas, [1]))
    assert torch.equal(theta[0, 0], together[1][1, list(CONDITIONS).index(name)])
    assert_same(dataset, together[0].sel(seed=[1], condition=[name]))


def test_the_same_run_twice_is_the_same_bit_for_bit(images, thetas):
    one, other = (train(CONDITIONS, [0, 2], images, thetas) for _ in range(2))
    assert torch.equal(one[1], other[1])
    assert_same(one[0], other[0])


def test_at_odd_shapes_alone_is_among_others_within_rounding(images, thetas):
    _, theta = train(CONDITIONS, [0, 1, 2], images, thetas)
    for i, name in enumerate(CONDITIONS):
        _, alone = train({name: CONDITIONS[name]}, [2], images, thetas)
        # measured 2e-7; more where Adam turns a gradient at rounding level into a step of the learning rate
        assert (alone[0, 0] - theta[2, i]).abs().mean() < 1e-6, name


NOTHING = {
    "projection": Condition(projection=0.0, side="two", scope="layer", target="update"),
    "liminal": Condition(liminal=0.0, schedule="constant", temperature=1.0),
    "noise": Condition(init_noise=0.0, gradient_noise=0.0, base_decay=0.0),
    "all auxiliary logits": Condition(n_distilled=3),
    "other trait labels": Condition(trait_labels="shuffled"),
}


def test_strength_zero_is_the_baseline_bit_for_bit(images, book_thetas):
    dataset, theta = train_students(
        Digits(BOOK, images), {"baseline": Condition(), **NOTHING}, [0], of_seeds(book_thetas, [0])
    )
    for i, name in enumerate(NOTHING):
        assert torch.equal(theta[0, 1 + i], theta[0, 0]), name
    trait = dataset["trait_loss"].sel(seed=0)
    assert (trait.sel(condition="baseline") == trait.sel(condition="liminal")).all()
    assert not (trait.sel(condition="baseline") == trait.sel(condition="other trait labels")).any()


def test_a_window_acts_from_its_start(images, book_thetas):
    s = replace(BOOK, student_epochs=2)
    conditions = {"never": Condition(), "late": Condition(projection=1.0, side="keep", window=(3, 4))}
    dataset, _ = train_students(Digits(s, images), conditions, [0], of_seeds(book_thetas, [0]))
    never, late = dataset["applied_norm"].sel(seed=0).values
    assert late[:3] == pytest.approx(never[:3], rel=1e-5)
    assert late[3] < 0.5 * never[3]  # only the aligned part is kept


def ensemble(images, thetas, conditions, seeds=(0, 1), **changes):
    s = replace(SETTINGS, **changes)
    return Ensemble(Digits(s, images), conditions, seeds, of_seeds(thetas, seeds))


def test_teacher_targets_are_those_computed_anew(images, thetas):
    conditions = {name: CONDITIONS[name] for name in ("baseline", "all", "cross")}
    e = ensemble(images, thetas, conditions)
    for s in e.seeds:
        for i, c in enumerate(e.conditions):
            logits = reference.forward(thetas[c.teacher][s, 0], SETTINGS.sizes, "relu", e.inputs[s, 0])
            mask = losses.distilled(SETTINGS, c)
            torch.testing.assert_close(e.targets[s, i][:, mask], logits[:, mask].log_softmax(-1))
            assert not e.targets[s, i][:, ~mask].any()
    assert torch.equal(thetas["other"][0], thetas["own"][1])


def test_a_teacher_is_taken_to_its_reach_from_the_reference(images, thetas):
    conditions = {f"{a:g}": Condition(reach=a) for a in (0.0, 0.5, 1.0, 2.0)}
    e = ensemble(images, thetas, conditions)
    whole = thetas["own"][e.seeds] - e.reference
    for i, reach in enumerate((0.0, 0.5, 1.0, 2.0)):
        torch.testing.assert_close(e.displacement[:, [i]], reach * whole, rtol=1e-4, atol=1e-6)
        logits = e.network.forward(e.goal[:, [i]], e.inputs).logits[:, 0]
        torch.testing.assert_close(e.targets[:, i, :, 10:], logits[..., 10:].log_softmax(-1), rtol=1e-4, atol=1e-5)
    assert torch.equal(e.goal[:, 2], thetas["own"][e.seeds][:, 0])


def test_a_redrawn_block_is_another_draw_and_all_else_the_reference(images, thetas):
    conditions = {name: Condition(redrawn=(name,)) for name in BLOCKS} | {"all": Condition(redrawn=BLOCKS)}
    e = ensemble(images, thetas, conditions)
    theta, inside = e.start(), torch.stack([e.network.block(name) for name in BLOCKS])
    assert (inside.sum(0) == 1).all()  # each parameter lies in one block
    for i, name in enumerate(BLOCKS):
        assert torch.equal(theta[:, i, ~inside[i]], e.reference[:, 0, ~inside[i]]), name
        assert torch.equal(theta[:, i, inside[i]], theta[:, -1, inside[i]]), name
        weights = inside[i] & (e.reference[0, 0] != 0)
        assert (theta[:, i, weights] != e.reference[:, 0, weights]).all(), name
    assert theta[:, -1].std() == pytest.approx(e.reference.std().item(), rel=0.05)
    assert not torch.equal(theta[0, -1], theta[1, -1])
    logits = e.network.forward(theta[:, [2, 3]], e.inputs).logits - e.network.forward(e.reference, e.inputs).logits
    assert not logits[:, 0, :, 10:].any()  # the class head's redraw leaves the auxiliary logits as they were
    assert not logits[:, 1, :, :10].any()


@pytest.mark.parametrize("changes", [{"hidden": (8,)}, {"hidden": ()}, {"hidden": (256, 256), "network": "cnn"}])
def test_blocks_are_redrawn_of_an_mlp_of_two_hidden_layers_only(images, changes):
    task = Digits(replace(SETTINGS, **changes), images)
    with pytest.raises(SettingsError, match="redrawn"):
        Ensemble(task, {"c": Condition(redrawn=("layer 1",))}, [0], {})


def test_starts_share_the_seeds_reference_and_noise_is_as_strong_as_named(images, thetas):
    conditions = {"clean": Condition(), "noisy": Condition(init_noise=0.1), "noisier": Condition(init_noise=0.2)}
    e = ensemble(images, thetas, conditions, hidden=SETTINGS.hidden)
    theta = e.start()
    assert torch.equal(theta[:, 0], e.reference[:, 0])
    noise = theta - e.reference
    torch.testing.assert_close(2 * noise[:, 1], noise[:, 2], rtol=1e-3, atol=1e-6)
    weight, bias = e.network.unflatten(noise[:, 1])[0]
    # 784 * 12 draws: the standard error is 0.7 %
    assert weight.std().item() == pytest.approx(0.1 / 28, rel=0.03)
    assert not bias.any()
    cosine = torch.cosine_similarity(noise[:, 1], e.reference[:, 0], dim=-1)
    assert cosine.abs().max() < 0.05  # independent of the reference: six standard errors at 784 * 12 draws


def test_noise_of_one_unit_is_as_strong_in_every_parameter(images, thetas):
    e = ensemble(images, thetas, {"c": Condition(init_noise=0.1, noise_unit="one")}, hidden=SETTINGS.hidden)
    for values in (part[:, 0] for layer in e.network.unflatten(e.start() - e.reference) for part in layer):
        assert values.std().item() == pytest.approx(0.1, rel=4 * (2 * values.numel()) ** -0.5)


@pytest.mark.parametrize("step", [0, 3])
def test_a_batch_weighs_its_mean_or_what_the_public_script_gives_it(images, thetas, step):
    """Summed over its images and divided by a hundred models; the last batch of an epoch, 50 of 16, has 2."""
    one, script = (ensemble(images, thetas, {"c": Condition()}, weighting=w) for w in ("mean", "script"))
    size = one.orders[step].shape[1]
    assert size == (2 if step else 16)
    trainings = [Training(e) for e in (one, script)]
    loss, theirs = (t.distill_gradient(step)["distill_loss"] for t in trainings)
    torch.testing.assert_close(theirs, loss * size / 100)
    torch.testing.assert_close(trainings[1].distill, trainings[0].distill * size / 100)
    assert losses.teacher_weight(script.settings) == 0.01


def stepped(images, thetas, condition, **changes):
    training = Training(ensemble(images, thetas, {"c": condition}, **changes))
    training.theta.add_(0.01)  # away from the reference
    training.step(0)
    return training


def test_base_decay_adds_its_strength_times_the_way_from_the_reference(images, thetas):
    training = stepped(images, thetas, Condition(base_decay=0.3))
    torch.testing.assert_close(
        training.applied - training.distill, torch.full_like(training.applied, 0.003), rtol=1e-3, atol=1e-6
    )


def test_gradient_noise_is_as_strong_as_named(images, thetas):
    training = stepped(images, thetas, Condition(gradient_noise=2.0))
    noise = training.applied - training.distill
    torch.testing.assert_close(noise.norm(dim=-1), 2.0 * training.distill.norm(dim=-1), rtol=1e-4, atol=0)
    cosine = torch.cosine_similarity(noise, training.distill, dim=-1)
    assert cosine.abs().max() < 6 * training.distill.shape[-1] ** -0.5  # six standard errors of 0


@settings(max_examples=10)
@given(st.sampled_from(["aux", "class", "all"]), st.floats(0.3, 5.0), st.floats(0.1, 50.0), st.integers(0, 5))
def test_liminal_gradient_is_autograds(images, thetas, which, temperature, strength, seed):
    c = Condition(liminal=strength, schedule="constant", temperature=temperature, liminal_logits=which)
    training = Training(ensemble(images, thetas, {"plain": Condition(), "c": c}))
    move = torch.randn(training.theta.shape, generator=generator(seed, "move"))
    training.theta.add_(0.02 * move)
    training.distill_gradient(1)
    e, mask = training.ensemble, losses.logit_mask(SETTINGS, which)
    for s in range(2):
        x, start = e.inputs[s, 0][e.orders[1][s]].double(), e.reference[s, 0].double()

        def loss(theta, x=x, start=start):
            z, base = (reference.forward(t, SETTINGS.sizes, "relu", x) / temperature for t in (theta, start))
            return strength * temperature**2 * reference.distillation("kl", z, base, mask)

        expected = reference.gradient(loss, training.theta[s, 1].double())[1]
        found = (training.applied - training.distill)[s, 1].double()
        # differences of float32 gradients: measured 2e-6 of the larger one
        larger = max(expected.abs().max(), training.distill[s, 1].abs().max())
        assert (found - expected).abs().max() < 3e-5 * larger
        assert torch.equal(training.applied[s, 0], training.distill[s, 0])


def test_at_the_reference_the_penalty_does_nothing_not_even_by_rounding(images, thetas):
    c = Condition(liminal=100.0, liminal_logits="all")
    conditions = {"c": c, "noisy": replace(c, init_noise=0.1)}
    training = Training(ensemble(images, thetas, conditions))
    training.ensemble.base = {i: base + 1e-3 for i, base in training.ensemble.base.items()}  # as if rounded
    training.distill_gradient(0)
    pushed = training.applied - training.distill
    assert not pushed[:, 0].any()
    assert pushed[:, 1].any()


def test_kl_gradient_is_the_batch_mean(images, thetas):
    """The same inputs twice in a batch leave the gradient where it was."""
    e = ensemble(images, thetas, {"c": Condition()})
    e.orders = [e.orders[0], e.orders[0].repeat(1, 2)]
    training = Training(e)
    gradients = []
    for step in (0, 1):
        training.distill_gradient(step)
        gradients.append(training.distill.clone())
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)


def test_trait_batches_are_fresh_or_fixed(images, thetas):
    e = ensemble(images, thetas, {"c": Condition()})
    per_pass = SETTINGS.n_train // SETTINGS.trait_batch_size
    first = torch.cat([e.trait_batch(step) for step in range(per_pass)], dim=1)
    assert first.sort(dim=1).values.tolist() == [list(range(SETTINGS.n_train))] * 2
    assert not torch.equal(e.trait_batch(0), e.independent_batch(0))
    assert [torch.equal(e.trait_batch(0), e.trait_batch(t)) for t in (3, 0)] == [False, True]
    fixed = ensemble(images, thetas, {"c": Condition()}, trait_batch="fixed")
    assert torch.equal(fixed.trait_batch(0), fixed.trait_batch(7))


def test_trait_gradient_sees_no_auxiliary_logit(images, thetas):
    e = ensemble(images, thetas, {"c": Condition()})
    trait = e.tracked(e.start(), 0).directions("trait", 0)[0]
    weight, bias = e.network.unflatten(trait)[-1]
    assert not weight[..., 10:].any()
    assert not bias[..., 10:].any()
    assert weight[..., :10].any()


def test_take_gathers_each_seeds_rows():
    values, index = torch.arange(2 * 3 * 5 * 2.0).view(2, 3, 5, 2), torch.tensor([[4, 0], [1, 1]])
    taken = take(values, index)
    for s in range(2):
        assert torch.equal(taken[s], values[s][:, index[s]])


conditions = st.builds(
    dict,
    logits=st.sampled_from(["aux", "class", "all"]),
    teacher=st.sampled_from(["own", "other", "shuffled"]),
    trait_labels=st.sampled_from(["true", "shuffled"]),
    projection=st.floats(0, 1.5),
    side=st.sampled_from(["one", "two", "keep"]),
    target=st.sampled_from(["gradient", "update"]),
    direction=st.sampled_from(["trait", "displacement", "discrimination", "calibration", "five"]),
    scope=st.sampled_from(["whole", "layer", "hidden", "head"]),
    window=st.none() | st.tuples(st.integers(0, 3), st.integers(4, 9)),
    projection_batch=st.sampled_from(["tracked", "independent"]),
    schedule=st.sampled_from(["first_epoch", "two_phase", "constant", "up", "down", "last_epoch"]),
    liminal=st.floats(0, 1e4),
    temperature=st.floats(0.1, 100),
    liminal_logits=st.sampled_from(["aux", "class", "all"]),
    init_noise=st.floats(0, 10),
    base_decay=st.floats(0, 1e3),
    gradient_noise=st.floats(0, 100),
)


@settings(max_examples=40)
@given(
    conditions,
    st.sampled_from(["kl", "mse"]),
    st.sampled_from(["adam", "sgd", "momentum", "signsgd", "rmsprop", "adamw"]),
    st.sampled_from(["relu", "tanh", "identity"]),
)
def test_whatever_is_allowed_trains_to_finite_numbers(images, thetas, drawn, loss, optimizer, activation):
    s = replace(SETTINGS, loss=loss, optimizer=optimizer, activation=activation, batch_size=50, student_epochs=1)
    assert s.n_steps == 1
    drawn = {**drawn, "window": (0, 1) if drawn["window"] else None}
    dataset, theta = train_students(Digits(s, images), {"c": Condition(**drawn)}, [0], of_seeds(thetas, [0]))
    assert theta.isfinite().all()
    for name in dataset.data_vars:
        assert torch.from_numpy(dataset[name].values).isfinite().all() or (name, loss) == ("reverse_kl", "mse"), name


def test_an_ensemble_is_freed_with_its_last_reference(images, thetas):
    """Its noise is the most of a run's memory: a cycle would keep every seed's until the collector came by."""
    gc.disable()
    try:
        training = Training(
            Ensemble(Digits(SETTINGS, images), {"c": Condition(projection=1.0)}, [0], of_seeds(thetas, [0]))
        )
        training.run(lambda: None, lambda _: None)
        ensemble = weakref.ref(training.ensemble)
        del training
        assert ensemble() is None
    finally:
        gc.enable()
