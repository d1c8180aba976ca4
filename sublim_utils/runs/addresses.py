"""Addresses: a hash of all that determines a run, the same on every machine and for ever.

They hash whole numbers, texts and decimal fractions of `DIGITS` digits. The last bit of a computed float depends on the
processor (numpy's powers differ between AVX-512 and AVX2), and would make a record unfindable elsewhere.
"""

import hashlib
import json
from collections.abc import Callable, Mapping

import numpy as np

from sublim_utils.settings import Condition, Options, Settings, require

__all__ = ["DEFAULTS", "DIGITS", "ENGINE", "address", "check_recorded", "decimals", "described", "student_address"]

ENGINE = 3
"""Version of the arithmetic; raise it when a change alters what a run computes."""

DIGITS = 12
"""Significant digits of a fraction in an address, and in what is computed under it."""

DEFAULTS: dict[type[Options], dict[str, object]] = {
    Settings: {
        "task": "mnist", "network": "mlp", "hidden": [256, 256], "activation": "relu", "width": 64, "n_layers": 2,
        "tied": False, "reference_steps": 600, "init": "normal", "pixels": "signed", "weighting": "mean", "blur": 0.0,
        "n_aux": 3, "n_train": 60_000, "n_test": 10_000, "n_inputs": 60_000, "batch_size": 1024, "teacher_epochs": 5,
        "student_epochs": 5, "teacher_lr": 3e-4, "student_lr": 3e-4, "optimizer": "adam", "loss": "kl",
        "inputs": "uniform", "covariance": 0.0, "trait_batch_size": 1024, "trait_batch": "fresh",
    },
    Condition: {
        "logits": "aux", "n_distilled": None, "teacher": "own", "reach": 1.0, "trait_labels": "true", "projection": 0.0,
        "side": "one", "target": "gradient", "direction": "trait", "scope": "whole", "window": None,
        "projection_batch": "tracked", "projection_labels": "true", "schedule": "first_epoch", "liminal": 0.0,
        "temperature": 2.0, "liminal_logits": "aux", "redrawn": [], "init_noise": 0.0, "noise_unit": "layer",
        "base_decay": 0.0, "gradient_noise": 0.0,
    },
}  # fmt: skip
"""The defaults under which everything recorded was made: an address leaves out what is at its default.

A test compares them with the fields. A new field, whose default means "as before", is added here by hand; a default is
never changed, as a recorded run would then answer for another one.
"""


def decimals(value: object, written: Callable[[Options], object] = lambda options: options) -> object:
    """Return a number, or all numbers of a list, array or mapping, as decimal fractions of `DIGITS` digits.

    `written` says what becomes of `Options`, which stay as they are otherwise.

    >>> decimals(np.array([9.999999999999999e-06, 0.5])), decimals({"n": 3})
    ([1e-05, 0.5], {'n': 3})
    """
    match value:
        case bool() | np.bool_():
            return bool(value)
        case float() | np.floating():
            return float(f"{value:.{DIGITS}g}")
        case np.integer():
            return int(value)
        case list() | tuple() | np.ndarray():
            return [decimals(v, written) for v in value]
        case Mapping():
            return {name: decimals(v, written) for name, v in value.items()}
        case Options() if (plain := written(value)) is not value:
            return decimals(plain)
    return value


def address(**determinants: object) -> str:
    """Return the address of a run: 16 digits of the SHA-256 of its determinants as JSON.

    Of `Options` only what differs from the default enters, so that one added later leaves every recorded run where it
    is.

    >>> address(settings=Settings(), condition={}) == address(condition={}, settings={})
    True
    """
    about = decimals({"engine": ENGINE, **determinants}, Options.changed)
    text = json.dumps(about, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def student_address(settings: Settings, condition: Condition) -> str:
    """Return a student's address, without its seed."""
    return address(settings=settings, condition=condition)


def described(**determinants: object) -> dict[str, object]:
    """Return determinants as they are written beside a run, as JSON-able values: of `Options` every field."""
    return {name: decimals(value, Options.values) for name, value in determinants.items()}


def check_recorded(attributes: Mapping[str, str], asked: Mapping[str, object], where: object) -> None:
    """Refuse a run that was made with other settings than what is asked of it.

    A record of before an option was added, or of what differed from the defaults only, is compared in what it names.

    Parameters
    ----------
    attributes : of the recorded run, JSON
    asked : as `described`
    where : what the error names

    Raises
    ------
    SettingsError
        Naming the field, its value as asked, and as recorded.
    """
    for name in asked.keys() & attributes.keys():
        _check_same(name, asked[name], decimals(json.loads(attributes[name])), where)


def _check_same(name: str, now: object, then: object, where: object) -> None:
    if isinstance(now, Mapping) and isinstance(then, Mapping):
        for field, value in then.items():
            _check_same(field, now.get(field, "no option"), value, where)
    else:
        require(name, now, now == then, f"{then!r}, by which {where} was made")
