"""The lab: read or train, after faults that really happen: kills, rivals, damage, divergence."""

import json
import multiprocessing
import os
import random
import shutil
import sys
import time
from collections import Counter
from dataclasses import replace
from itertools import product
from multiprocessing import forkserver

import numpy as np
import pytest
import torch
import xarray as xr

from sublim_utils.engine import digits, evaluation, teachers
from sublim_utils.engine.digits import Digits
from sublim_utils.engine.network import MLP
from sublim_utils.runs import lab as module
from sublim_utils.runs.addresses import student_address
from sublim_utils.runs.experiments import EXPERIMENTS
from sublim_utils.runs.filling import DivergenceError, MissingRunsError
from sublim_utils.runs.lab import Lab, diverged
from sublim_utils.runs.profiles import RECORDED, Profile
from sublim_utils.runs.store import DamagedFileWarning, Store, _digest
from sublim_utils.runs.stored import stored
from sublim_utils.settings import Condition, Settings, SettingsError
from tests import small
from tests.small import FEW, SETTINGS

SEEDS = [0, 1, 2, 3]


@pytest.fixture(scope="module")
def processes():
    """A server of child processes that has imported the library once, and no thread."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.small"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        forkserver.ensure_running()
    return context


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.data, "load", small.images)
        lab = small.new_lab(tmp_path_factory.mktemp("undisturbed"))
        begun = time.monotonic()
        dataset = lab.students(SETTINGS, FEW, SEEDS)
    return dataset, lab.store.root, time.monotonic() - begun


def assert_intact(root):
    """Every file that a reader would open is what its name says."""
    for path in root.rglob("*.nc"):
        assert _digest(path) == path.name.split(".")[1], path


def assert_close(found, expected):
    """Equal, but for last bits where a resumed seed trains fewer conditions side by side."""
    for name in expected.data_vars:
        a, b = found[name].values, expected[name].values
        assert np.abs(a - b).max() <= 1e-4 * np.abs(b).max(), name
    assert found["condition"].values.tolist() == expected["condition"].values.tolist()
    assert found["seed"].values.tolist() == expected["seed"].values.tolist()


@pytest.mark.slow
def test_killed_at_random_moments_a_run_goes_on_to_the_undisturbed_result(processes, tmp_path, lab, undisturbed):
    expected, _, _ = undisturbed
    root, moments, killed = lab.store.root, random.Random(0), 0
    for attempt in range(5):
        log = tmp_path / str(attempt)
        child = processes.Process(target=small.fill, args=(root, SEEDS, log))
        child.start()
        while child.is_alive() and not log.exists():
            time.sleep(0.005)  # until it trains its first student
        child.join(moments.uniform(0, 0.1))  # seconds: a few per cent of the work
        child.kill()
        child.join()
        killed += child.exitcode == -9
        assert_intact(root)
    assert killed >= 2
    assert_close(lab.students(SETTINGS, FEW, SEEDS), expected)
    assert_intact(root)


def test_killed_between_seeds_the_result_is_the_undisturbed_one_bit_for_bit(lab, undisturbed):
    lab.students(SETTINGS, FEW, SEEDS[1:2])
    again = small.new_lab(lab.store.root).students(SETTINGS, FEW, SEEDS)
    xr.testing.assert_equal(again, undisturbed[0])


def test_two_processes_fill_one_store_without_loss_or_double_work(processes, tmp_path, lab, undisturbed):
    logs = [tmp_path / "a", tmp_path / "b"]
    children = [processes.Process(target=small.fill, args=(lab.store.root, SEEDS, log)) for log in logs]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
        assert child.exitcode == 0
    trained = Counter(line for log in logs if log.exists() for line in log.read_text().split())
    assert trained == {str(seed): 1 for seed in SEEDS}
    files = Counter(path.parent for path in lab.store.root.rglob("*.nc"))
    assert sum(files.values()) == len(SEEDS) * len(FEW) + 2 * 4  # weights and confusions of teachers 0 ... 3
    xr.testing.assert_equal(lab.students(SETTINGS, FEW, SEEDS), undisturbed[0])


def test_what_is_stored_is_not_trained_again(lab, monkeypatch):
    first = lab.students(SETTINGS, FEW, [0, 1])
    before = {path: path.stat().st_mtime_ns for path in lab.store.root.rglob("*.nc")}
    for name in ("train_students", "train_teachers"):
        monkeypatch.setattr(module, name, lambda *_, **__: pytest.fail("trained"))
    xr.testing.assert_equal(lab.students(SETTINGS, FEW, [0, 1]), first)
    few = lab.students(SETTINGS, {"again": FEW["baseline"]}, [1])
    assert few["condition"].values.tolist() == ["again"]
    assert few["inner"].values.tobytes() == first["inner"].sel(seed=[1], condition=["baseline"]).values.tobytes()
    assert {path: path.stat().st_mtime_ns for path in lab.store.root.rglob("*.nc")} == before


@pytest.fixture
def trained(monkeypatch):
    """What students are trained from now on, as (conditions, seeds) of each training."""
    each, train = [], module.train_students

    def noted(settings, conditions, seeds, *args, **options):
        each.append((list(conditions), seeds))
        return train(settings, conditions, seeds, *args, **options)

    monkeypatch.setattr(module, "train_students", noted)
    return each


def test_only_what_lacks_is_trained(lab, trained):
    two = {name: FEW[name] for name in ("baseline", "liminal")}
    lab.students(SETTINGS, {"baseline": two["baseline"]}, [0, 1])
    trained.clear()
    dataset = lab.students(SETTINGS, two, [2, 0])
    assert sorted(trained) == [(["baseline", "liminal"], [2]), (["liminal"], [0])]
    assert dataset.sizes == lab.students(SETTINGS, two, [0, 2]).sizes
    assert dataset["seed"].values.tolist() == [2, 0]


def test_no_more_students_train_side_by_side_than_stated(lab, trained, monkeypatch):
    three = {f"decay {d:g}": Condition(base_decay=d) for d in (1e-3, 1e-2, 1e-1)}
    together = lab.students(SETTINGS, three, [0])
    monkeypatch.setattr(module, "SIDE_BY_SIDE", 2)
    shutil.rmtree(lab.store.root / "students")
    by_twos = lab.students(SETTINGS, three, [0])
    assert [len(names) for names, _ in trained] == [3, 2, 1]
    xr.testing.assert_allclose(by_twos, together, rtol=1e-5, atol=1e-5)  # rounding: 1e-6 at most


@pytest.mark.parametrize("kind", ["students", "teachers"])
def test_a_damaged_run_is_trained_again_to_the_same_result(lab, kind):
    def result():
        if kind == "teachers":
            return lab.teachers(SETTINGS, [0, 1])
        return lab.students(SETTINGS, {"baseline": Condition()}, [0, 1])

    first = result()
    path = sorted((lab.store.root / kind).rglob("*.nc"))[0]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.warns(DamagedFileWarning):
        again = result()
    xr.testing.assert_equal(again, first)
    assert_intact(lab.store.root)


@pytest.mark.parametrize("side_by_side", [1, 8])
def test_a_diverging_student_is_named_and_the_others_are_kept(lab, side_by_side, monkeypatch):
    monkeypatch.setattr(module, "SIDE_BY_SIDE", side_by_side)
    s = replace(SETTINGS, optimizer="sgd", student_lr=0.1)
    conditions = {"pulled": Condition(base_decay=1e3), "baseline": Condition()}
    with pytest.raises(DivergenceError) as caught:
        lab.students(s, conditions, [0, 1])
    for seed in (0, 1):
        step = first_step_lost(lab, s, conditions["pulled"], seed)
        assert 0 < step < s.n_steps
        assert f"pulled of seed {seed} diverged at step {step}" in str(caught.value)
        assert seed not in lab.store.seeds("students", student_address(s, conditions["pulled"]))
    assert "baseline" not in str(caught.value)
    kept = lab.students(s, {"baseline": Condition()}, [0, 1])
    assert np.isfinite(kept["trait_loss"]).all()


def first_step_lost(lab, settings, condition, seed):
    thetas = {"own": lab.teacher_weights(settings, seed, "own")}
    dataset, _ = module.train_students(Digits(settings, small.images()), {"c": condition}, [seed], thetas)
    bad = ~np.isfinite(dataset["distill_loss"] + dataset["trait_loss"] + dataset["update_norm"]).values[0, 0]
    return int(np.flatnonzero(bad)[0])


def test_divergence_is_found_in_each_series():
    fine = {name: ("step", np.ones(4)) for name in ("distill_loss", "trait_loss", "update_norm")}
    assert diverged(xr.Dataset(fine)) is None
    for name in fine:
        for lost in (np.nan, np.inf):
            bad = xr.Dataset({**fine, name: ("step", np.array([1, 1, lost, 1]))})
            assert diverged(bad) == "step 2"


def test_teachers_are_those_trained_and_other_ones_are_the_partners(lab, images):
    theta, _, evaluated = teachers.train_teachers(Digits(SETTINGS, images), [1])
    dataset = lab.teachers(SETTINGS, [0, 1])
    assert torch.equal(lab.teacher_weights(SETTINGS, 1, "own")[0], theta[0])
    assert dataset["confusion"].sel(seed=1).values.tolist() == evaluated["confusion"][0, 0].int().tolist()
    share = evaluated["confusion"][0, 0, -1].trace() / SETTINGS.n_test
    centred = dataset["centred_accuracy"].sel(seed=1).values
    assert centred == pytest.approx(evaluated["centred_accuracy"][0, 0].numpy())
    assert dataset["accuracy"].sel(seed=1).values[-1] == pytest.approx(share.item())
    assert torch.equal(lab.teacher_weights(SETTINGS, 0, "other"), lab.teacher_weights(SETTINGS, 1, "own"))
    shuffled = lab.teacher_weights(SETTINGS, 1, "shuffled")
    assert torch.equal(shuffled[0], teachers.train_teachers(Digits(SETTINGS, images), [1], shuffled=True)[0][0])


def test_a_teachers_path_leads_from_its_reference_to_the_teacher_and_leaves_nothing_in_the_store(lab):
    steps = (0, 1, SETTINGS.steps_per_teacher_epoch, SETTINGS.teacher_epochs * SETTINGS.steps_per_teacher_epoch)
    done = []
    path = lab.teacher_path(SETTINGS, 1, steps, lambda: done.append(1))
    assert not list(lab.store.root.rglob("*.nc"))
    assert len(done) == steps[-1]
    assert torch.equal(path[0], digits.references(SETTINGS, [1], lab.device)[0, 0])
    assert torch.equal(path[-1], lab.teacher_weights(SETTINGS, 1, "own")[0, 0])
    assert not torch.equal(path[0], path[1])


@pytest.mark.parametrize("is_plain", [True, False])
def test_a_students_path_is_that_of_the_recorded_students_and_leaves_nothing_in_the_store(lab, is_plain):
    names = ("baseline", "liminal", "projected", "noisy")[: 2 if is_plain else 4]
    conditions, done = {name: small.CONDITIONS[name] for name in names}, []
    path = lab.student_path(SETTINGS, conditions, 0, lambda: done.append(1))
    assert len(done) == SETTINGS.n_steps
    assert "students" not in lab.store.kinds()
    assert torch.equal(path[0, :2], digits.references(SETTINGS, [0], lab.device)[0].expand(2, -1))
    recorded, x = lab.students(SETTINGS, conditions, [0]).isel(seed=0), small.images()
    labels = x.test_labels[: SETTINGS.n_test]
    for point, condition in product(range(len(path)), range(len(names))):
        logits = evaluation.logits_of(MLP.of(SETTINGS), path[point, condition], x.test[: SETTINGS.n_test])
        counts, run = evaluation.confusion(logits, labels), recorded.isel(condition=condition)
        assert float(run["accuracy"][point]) == pytest.approx(float(counts.trace() / len(labels)))
    assert run["confusion"].values.tolist() == counts.int().tolist()


def test_provenance_says_how_a_run_was_made(lab):
    attributes = lab.students(SETTINGS, {"liminal": FEW["liminal"]}, [0]).attrs
    assert attributes["torch"] == torch.__version__
    assert json.loads(attributes["condition"]) == FEW["liminal"].values()  # in full, defaults and all
    assert json.loads(attributes["settings"])["student_lr"] == SETTINGS.student_lr
    assert attributes["device"].startswith("cpu")
    assert float(attributes["seconds"]) > 0


@pytest.mark.parametrize("seeds", [[], [0, 0], [-1], [10_000], [0.5], "01"])
def test_seeds_that_repeat_or_are_none_are_refused_before_any_work(lab, seeds):
    for ask in (lambda: lab.students(SETTINGS, FEW, seeds), lambda: lab.teachers(SETTINGS, seeds)):
        with pytest.raises(SettingsError, match="^seeds = .*different whole numbers"):
            ask()
    assert not lab.store.root.exists()


def test_contradictions_are_refused_before_any_work(lab):
    late = Condition(projection=1.0, window=(0, SETTINGS.n_steps + 1))
    with pytest.raises(SettingsError, match=r"^window = \(0, 9\).*ends at step 8"):
        lab.students(SETTINGS, {"baseline": Condition(), "late": late}, [0])
    assert not lab.store.root.exists()


def test_what_is_all_there_needs_no_folder_of_locks(lab):
    first = lab.students(SETTINGS, {"baseline": Condition()}, [0])
    shutil.rmtree(lab.store.root / "locks")
    xr.testing.assert_equal(lab.students(SETTINGS, {"baseline": Condition()}, [0]), first)
    assert not (lab.store.root / "locks").exists()


def test_seeds_of_a_tier(lab):
    assert lab.seeds("main") == lab.seeds("grid") == lab.seeds("sweep") == [0, 1]


def test_recorded_runs_are_read_beside_the_profiles_own_and_only_at_the_papers_protocol(tmp_path):
    conditions, store = EXPERIMENTS["phenomenon"].conditions, Store(tmp_path / RECORDED)
    for name, seeds in (("student (aux)", (0, 1, 5)), ("cross-model (aux)", (0,))):
        for seed in seeds:
            run = xr.Dataset({"accuracy": (("seed", "eval"), [[seed / 10]])}, {"seed": [seed]})
            store.save("students", student_address(Settings(), conditions[name]), run)
    found = Lab(Profile(results=str(tmp_path / "laptop")), "cpu").recorded("phenomenon")
    assert list(found) == ["student (aux)"]  # one seed makes no interval
    assert found["student (aux)"]["accuracy"].values.ravel().tolist() == [0.0, 0.1, 0.5]
    assert not Lab(Profile(results=str(tmp_path / "laptop"), n_images=600, batch_size=64), "cpu").recorded("phenomenon")
    assert not Lab(Profile(results=str(tmp_path / RECORDED)), "cpu").recorded("phenomenon"), "its own runs, once more"


def asked(lab, seed, advance, *, n, grid=(), wait=False):
    """A stored function that notes what it was called with, and is interrupted once."""
    if seed == 2 and len(lab.made) < 3:
        raise KeyboardInterrupt
    lab.made.append(seed)
    advance(1)
    return xr.Dataset({"twice": ("k", [2.0 * seed, -seed]), "grid": ("g", list(grid))})


def test_what_is_asked_is_made_seed_by_seed_as_far_as_it_lacks_and_with_another_argument_anew(lab):
    lab.made, doubles = [], stored(kind="doubles", part="twice", version=1)(asked)
    with pytest.raises(KeyboardInterrupt):
        lab.ask(doubles, [0, 1, 2], n=1)
    lab.made.append("again")
    found = lab.ask(doubles, [2, 0, 1], n=1)
    assert lab.made == [0, 1, "again", 2]
    assert found["seed"].values.tolist() == [2, 0, 1]
    assert found["twice"].values[:, 0].tolist() == [4.0, 0.0, 2.0]
    assert found.attrs["n"] == "1"
    lab.ask(doubles, [0], n=2)
    lab.ask(stored(kind="doubles", part="twice", version=2)(asked), [0], n=2)
    lab.ask(stored(kind="doubles", part="thrice", version=2)(asked), [0], n=2)
    assert lab.made[-3:] == [0, 0, 0]


def test_what_is_computed_uses_the_decimal_fractions_of_its_address(lab):
    lab.made, grid = [], np.nextafter([1e-5, 0.1], 0)
    grids = stored(kind="grids", part="grid", version=1)(asked)
    found = lab.ask(grids, [0], n=1, grid=grid)
    assert found["grid"].values.tolist() == [[1e-5, 0.1]]
    assert lab.ask(grids, [0], n=1, grid=np.nextafter([1e-5, 0.1], 1)).identical(found)
    assert lab.made == [0]


@pytest.mark.parametrize("device", [None, "cpu"])
def test_the_device_recorded_is_the_one_that_computed(lab, device):
    lab.made, lab.device = [], torch.device("meta")
    found = lab.ask(stored(kind="k", part="p", version=1, device=device)(asked), [0], n=1)
    assert found.attrs["device"].startswith(device or "meta")


def test_into_the_recorded_store_nothing_is_computed_unasked(lab, monkeypatch, tmp_path):
    root = tmp_path / RECORDED
    monkeypatch.delenv("SUBLIM_TRAIN", raising=False)
    for trained in ("train_students", "train_teachers"):
        monkeypatch.setattr(module, trained, lambda *_, **__: pytest.fail("trained"))
    recorded = small.new_lab(root)
    for ask in (
        lambda: recorded.students(SETTINGS, FEW, [3, 4]),
        lambda: recorded.teachers(SETTINGS, [3, 4]),
        lambda: recorded.ask(stored(kind="k", part="p", version=1)(asked), [3, 4], n=1),
        lambda: recorded.student_path(SETTINGS, FEW, 3),
        lambda: recorded.teacher_path(SETTINGS, 3, [0]),
    ):
        with pytest.raises(MissingRunsError, match=r"seeds? 3.*SUBLIM_TRAIN=yes"):
            ask()
    assert not root.exists()
    assert not recorded.trains
    monkeypatch.setenv("SUBLIM_TRAIN", "yes")
    assert small.new_lab(root).trains
    assert lab.trains


@pytest.mark.parametrize(
    ("kind", "name", "field"),
    [
        ("students", "settings", "student_lr"),
        ("students", "condition", "temperature"),
        ("teachers", "teacher", "hidden"),
        ("weights", "teacher", "teacher_lr"),
        ("doubles", "settings", "loss"),
    ],
)
def test_a_run_made_with_other_settings_than_its_address_says_is_refused_naming_the_field(lab, kind, name, field):
    """As after a default was changed: the address leaves it out, the file does not."""
    doubles = stored(kind="doubles", part="twice", version=1)(lambda *_, **__: xr.Dataset({"x": 1.0}))
    asks = {
        "students": lambda: lab.students(SETTINGS, {"baseline": Condition()}, [0]),
        "teachers": lambda: lab.teachers(SETTINGS, [0]),
        "weights": lambda: lab.teacher_weights(SETTINGS, 0, "own"),
        "doubles": lambda: lab.ask(doubles, [0], settings=SETTINGS),
    }
    asks[kind]()
    [path] = (lab.store.root / kind).rglob("*.nc")
    run = lab.store.load(kind, path.parent.name, [0])
    about = json.loads(run.attrs[name])
    path.unlink()
    for then in ("another", about[field]):
        lab.store.save(kind, path.parent.name, run.assign_attrs({name: json.dumps({**about, field: then})}))
        if then == "another":
            with pytest.raises(SettingsError, match=f"^{field} = .*must be 'another', by which .*{path.parent.name}"):
                asks[kind]()
            next(path.parent.glob("*.nc")).unlink()
    asks[kind]()


def test_an_optional_experiment_is_left_out_where_its_images_cannot_be_had(lab, monkeypatch):
    def load(task, pixels):
        if task == "fashion":
            raise module.data.DataError("no source\nthey were")
        return small.images()

    monkeypatch.setattr(module.data, "load", load)
    changes = {"conditions": FEW, "settings": {"hidden": (4,)}}
    digits = replace(EXPERIMENTS["phenomenon"], **changes)
    garments = replace(digits, settings={"hidden": (4,), "task": "fashion"})
    monkeypatch.setattr(module, "EXPERIMENTS", {"digits": digits, "garments": garments})
    monkeypatch.setattr(lab, "profile", replace(lab.profile, n_images=60, batch_size=16, epochs=2))
    found, left_out = lab.experiments(["digits", "garments"], [0])
    assert (list(found), left_out) == (["digits"], {"garments": "no source"})
    monkeypatch.setattr(module.data, "load", lambda *_: (_ for _ in ()).throw(module.data.DataError("no digits")))
    with pytest.raises(module.data.DataError, match="no digits"):
        lab.experiments(["digits"], [1])
