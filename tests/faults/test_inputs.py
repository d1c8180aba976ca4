"""Wrong input, tried at the real command and by hypothesis: refused by name before any work, or it trains."""

import re
from dataclasses import fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sublim_utils.engine import data
from sublim_utils.engine.architectures import network_of
from sublim_utils.engine.digits import Digits
from sublim_utils.engine.ensemble import Ensemble
from sublim_utils.engine.recorder import STEPWISE
from sublim_utils.engine.seeds import generator
from sublim_utils.engine.students import Training
from sublim_utils.settings import Condition, Settings, SettingsError
from tests.faults import tally
from tests.faults.conftest import PROFILES

FILE = ("--profiles", "profiles.toml", "--profile", "results")
WRONG_WORDS = {
    "experiment": (("run", "phenomenom", "m.json", *FILE), "experiment = 'phenomenom'", "alignment_controls"),
    "profile": (("run", "alignment", "m.json", *FILE[:3], "huge"), "profile = 'huge'", "['results']"),
    "profiles": (("run", "alignment", "m.json", "--profiles", "absent.toml"), "absent.toml", "No such file"),
    **{
        f"seeds {text}": (("run", "alignment", "m.json", *FILE, "--seeds", text), f"seeds = {text!r}", "first < stop")
        for text in (
            "3:3",
            "5:2",
            "1",
            "a:b",
            "1:",
            ":",
            "1:2:3",
            "0:10001",
            "0:99999999999",
            "²:5",
            "1.5:3",
            "nan:2",
            "",
        )
    },
    "seeds -1": (("run", "alignment", "m.json", *FILE, "--seeds=-1:2"), "seeds = '-1:2'", "first < stop"),
    "output": (("run", "alignment", ".", *FILE), "output = '.'", "folder"),
    "executed": (("execute", "absent.ipynb", "o.ipynb", *FILE), "absent.ipynb"),
    "task": (("fetch", "mnist", "imagenet"), "task = 'imagenet'", "['fashion', 'mnist']"),
    "collect": (("collect", "absent"), "results = 'absent'", "existing folder"),
    "pages": (("pages", "absent", "out"), "results = 'absent'", "existing folder"),
    "readme": (("readme", "absent"), "results = 'absent'", "existing folder"),
}
WRONG_PARAMETERS = {
    "n_seeds": ("0", "1", "-3", "10001", "2.0", "nan", "'2'", "true", "[2]"),
    "n_grid_seeds": ("1", "4", "inf", "'x'"),
    "n_images": ("59", "60001", "nan", "1e3", "'all'"),
    "batch_size": ("0", "193", "-1", "nan", "false"),
    "epochs": ("1", "1001", "nan", "2.5"),
    "full_grid": ("0", "1", "'yes'", "nan"),
    "device": ("'tpu'", "'cuda:7'", "1", "''"),
    "results": ("''", "1", "'/'", '"a\\u0007b"'),
    "n_seedz": ("3",),
}


def started(place) -> set[str]:
    return {path.name for path in place.folder.iterdir()} - {"profiles.toml"}


@pytest.mark.parametrize("case", WRONG_WORDS)
def test_wrong_words_are_refused_by_name(place, case):
    words, *mentioned = WRONG_WORDS[case]
    place.call(*words).failed(*mentioned)
    assert not started(place)
    tally.counts["refused"] += 1


@pytest.mark.parametrize("words", [("run",), ("train",), (), ("run", "alignment", "m", "--sedes", "0:1"), ("collect",)])
def test_what_the_grammar_lacks_ends_with_its_usage(place, words):
    done = place.call(*words)
    assert done.code == 2
    assert done.output.startswith("usage: ")
    tally.counts["refused"] += 1


@pytest.mark.parametrize("name", WRONG_PARAMETERS)
def test_wrong_parameters_are_refused_by_name(place, name):
    for value in WRONG_PARAMETERS[name]:
        lines = [line for line in PROFILES.splitlines() if not line.startswith(f"{name} =")]
        (place.folder / "profiles.toml").write_text("\n".join([*lines, f"{name} = {value}"]))
        place.call("run", "alignment", "m.json", *FILE).failed("SettingsError", name, "is not allowed")
        assert not started(place)
        tally.counts["refused"] += 1
    (place.folder / "profiles.toml").write_text(PROFILES.replace("results =", "# results ="))
    place.call("run", "alignment", "m.json", *FILE).failed("SettingsError", "results", "given")


# Whatever is allowed trains. Sizes stay small; every field has values inside, at and beyond its ends.

number = st.sampled_from([0, 1, -1, 0.5, 1.0, 1.5, 1e-30, 1e3, 1e4, 1e300, float("nan"), float("inf"), None, "1", True])
small_number = number | st.floats(0, 1.5)
SETTINGS = {
    "task": st.sampled_from(["mnist", "fashion", "preference", "cifar", 1]),
    "network": st.sampled_from(["mlp", "cnn", "vit", "transformer", "lstm", 0]),
    "hidden": st.sampled_from([(256, 256), (), (1,), (8, 4), [4], (3,) * 16, (0,), (4,) * 17, 8, (1.5,)]),
    "activation": st.sampled_from(["relu", "tanh", "identity", "gelu"]),
    "width": st.sampled_from([64, 32, "64"]),
    "n_layers": st.sampled_from([2, 1, 0]),
    "tied": st.sampled_from([False, True, 1]),
    "reference_steps": st.sampled_from([600, 1, 0]),
    "n_aux": st.sampled_from([1, 2, 3, 40, 1024, 0, 1025, 2.0]),
    "n_train": st.sampled_from([1, 2, 60, 120, 0, 60_001]),
    "n_test": st.sampled_from([1, 40, 60, 0, 10_001]),
    "n_inputs": st.sampled_from([1, 2, 50, 0, 1_200_001]),
    "init": st.sampled_from(["normal", "uniform", "he"]),
    "pixels": st.sampled_from(["signed", "unit", 255]),
    "weighting": st.sampled_from(["mean", "script", "sum"]),
    "blur": st.sampled_from([0.0, 1.5, 9, -1, 9.1]),
    "batch_size": st.sampled_from([1, 2, 16, 50, 0, -1]),
    "teacher_epochs": st.sampled_from([0, 1, 1000, -1, 1001]),
    "student_epochs": st.sampled_from([1, 2, 0, 1001]),
    "teacher_lr": small_number,
    "student_lr": small_number | st.sampled_from([10.0, 10.1]),
    "optimizer": st.sampled_from(["adam", "sgd", "momentum", "signsgd", "rmsprop", "adamw", "lion"]),
    "loss": st.sampled_from(["kl", "mse", "l1"]),
    "inputs": st.sampled_from(["uniform", "gaussian", "blurred", "normal", "smoothed", "mnist", "numbers", "zeros"]),
    "covariance": st.sampled_from([0.0, 0.5, 1, -0.1, 1.1]),
    "trait_batch_size": st.sampled_from([1, 20, 0, 121]),
    "trait_batch": st.sampled_from(["fresh", "fixed", None]),
}
CONDITIONS = {
    "logits": st.sampled_from(["aux", "class", "all", "none"]),
    "n_distilled": st.sampled_from([None, 1, 2, 3, 4, 0, 1.0]),
    "teacher": st.sampled_from(["own", "other", "shuffled", "mine"]),
    "reach": number,
    "trait_labels": st.sampled_from(["true", "shuffled", True]),
    "projection": small_number,
    "side": st.sampled_from(["one", "two", "keep", "none"]),
    "target": st.sampled_from(["gradient", "update", "both"]),
    "direction": st.sampled_from(["trait", "discrimination", "both", "classes", "random", "displacement", ""]),
    "scope": st.sampled_from(["whole", "layer", "hidden", "head", "neuron"]),
    "projection_labels": st.sampled_from(["true", "shuffled", "false"]),
    "window": st.sampled_from([None, (0, 1), [0, 1], (0, 2), (1, 1), (2, 1), (-1, 1), (0, 10**9), (0, 1, 2), ()]),
    "projection_batch": st.sampled_from(["tracked", "independent", 0]),
    "schedule": st.sampled_from(["first_epoch", "two_phase", "constant", "up", "down", "last_epoch", "never"]),
    "liminal": small_number,
    "temperature": number | st.floats(0.1, 100),
    "liminal_logits": st.sampled_from(["aux", "class", "all", 3]),
    "redrawn": st.sampled_from(
        [(), ("layer 1",), ["class head"], ("class head", "layer 1"), ("layer 3",), "layer 1", (1,)]
    ),
    "init_noise": small_number,
    "noise_unit": st.sampled_from(["layer", "one", "two"]),
    "base_decay": small_number,
    "gradient_noise": small_number,
}


def some(values: dict) -> st.SearchStrategy[dict]:
    """Return few of the fields, so that a draw is as often allowed as refused."""
    return st.sets(st.sampled_from(sorted(values)), max_size=4).flatmap(
        lambda names: st.fixed_dictionaries({name: values[name] for name in sorted(names)})
    )


NAMES = [f.name for cls in (Settings, Condition) for f in fields(cls)]


def refused_or_made(protocol: dict, done: dict) -> tuple[Settings, Condition] | tuple[None, str]:
    """Return the two, or None and the message that refuses them."""
    try:
        s, condition = Settings.of(**{**BASE, **protocol}), Condition.of(**done)
        condition.check_with(s)
    except SettingsError as error:
        return None, str(error)
    return s, condition


BASE = {"hidden": (8, 4), "n_train": 60, "n_test": 40, "n_inputs": 50, "batch_size": 16, "trait_batch_size": 20}
outcomes: list[bool] = []


@settings(max_examples=1000, database=None)
@given(some(SETTINGS), some(CONDITIONS))
def test_every_value_is_refused_by_name_or_trains_one_step_to_finite_numbers(protocol, done):
    tally.counts["fuzzed"] += 1
    s, condition = refused_or_made(protocol, done)
    outcomes.append(s is not None)
    if s is None:
        assert re.match(rf"({'|'.join(NAMES)}) = .* is not allowed: it must be ", condition)
        return
    images = data.load("mnist")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "load", lambda task, pixels="signed": images)  # garments are not needed
        network = network_of(s)
        theta = network.initial(generator(0, "init")) + network.initial(generator(1, "init"), 0.1)
        ensemble = Ensemble(Digits(s, images), {"c": condition}, [0], {condition.teacher: theta[None, None]})
    training = Training(ensemble)
    training.step(0)
    assert training.theta.isfinite().all()
    for name, values in training.recorder.values.items():
        known = (name, s.loss) != ("reverse_kl", "mse") and not name.endswith("_end")  # an end is known a step later
        if name in STEPWISE and known:
            assert values[:, :, 0].isfinite().all(), name


def test_the_draws_were_of_both_kinds():
    assert 0.2 < sum(outcomes) / len(outcomes) < 0.8
