"""The mitigations of the liminal chapter as conditions: the liminal penalty in all its forms, and others."""

from typing import get_args

from sublim_utils.settings import Condition, Logits, Schedule

__all__ = [
    "BASE_DECAYS",
    "FAMILIES",
    "FEW",
    "FEW_PENALTIES",
    "GRADIENT_NOISES",
    "INIT_NOISES",
    "LAMBDAS",
    "PENALISED",
    "SCHEDULES",
    "family",
    "others",
    "penalties",
    "schedules",
]

SCHEDULES: tuple[Schedule, ...] = get_args(Schedule)
PENALISED: tuple[Schedule, ...] = ("first_epoch", "constant")  # of the grid of penalties
LAMBDAS = (0.1, 1.0, 10.0, 100.0)
INIT_NOISES = (0.1, 0.3, 1.0, 3.0)  # in units of each layer's initial scale
BASE_DECAYS = (1e-3, 1e-2, 1e-1)
GRADIENT_NOISES = (1.0, 10.0)


def schedules() -> dict[str, Condition]:
    """Return the penalty under every schedule at its source's lambda_0 = 1, T = 2."""
    return {f"liminal, {s.replace('_', ' ')}": Condition(liminal=1.0, schedule=s) for s in SCHEDULES}


def penalties() -> dict[str, Condition]:
    """Return logits x lambda_0 at T = 2, for the first epoch only and for the whole training.

    The temperature made no difference on the seeds 0 to 9 (at T of 1, 2 and 4): its square in the penalty makes up for
    what it takes from the divergence.
    """
    return {
        f"{schedule.replace('_', ' ')}, {logits}, x {strength:g}": Condition(
            liminal=strength, schedule=schedule, liminal_logits=logits
        )
        for schedule in PENALISED
        for logits in get_args(Logits)
        for strength in LAMBDAS
    }


def others() -> dict[str, Condition]:
    """Return the mitigations that are no penalty towards the reference's outputs."""
    return {
        **{f"init noise {s:g}": Condition(init_noise=s) for s in INIT_NOISES},
        **{f"base decay {s:g}": Condition(base_decay=s) for s in BASE_DECAYS},
        **{f"gradient noise {s:g}": Condition(gradient_noise=s) for s in GRADIENT_NOISES},
        **{f"{n} aux logits": Condition(n_distilled=n) for n in (1, 2)},
    }


FAMILIES = {
    "projection": "projection",
    "teacher": "another start",
    "liminal": "liminal training",
    "init_noise": "noise on the start",
    "base_decay": "decay to the start",
    "gradient_noise": "noise on the gradient",
    "n_distilled": "fewer logits",
}
"""What kind of mitigation a condition is, by the field that it changes."""


def family(condition: Condition) -> str:
    """Return what kind of mitigation a condition of the liminal chapter is.

    >>> family(Condition(liminal=100.0, schedule="constant")), family(Condition())
    ('liminal training', 'nothing done')
    """
    changed = condition.changed()
    return next((kind for field, kind in FAMILIES.items() if field in changed), "nothing done")


FEW = ("liminal, constant", "init noise 1")
"""Schedules and others of a profile without the full grid: 2 conditions, and the other noise."""

FEW_PENALTIES = ("constant, aux, x 100",)
"""Its points of the penalty's grid."""
