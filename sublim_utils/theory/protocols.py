"""The sources' own protocols, rebuilt: what they did where it differs from the paper's, and what they measured.

A figure of a source is judged in its own protocol; its other figures say whether the protocol was met. Of their
students only the evaluations are kept: nothing is tracked.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import xarray as xr

from sublim_utils.engine.students import Untracked
from sublim_utils.runs.conditions import BASELINE, CROSS
from sublim_utils.runs.filling import Advance
from sublim_utils.runs.lab import Lab
from sublim_utils.runs.stored import stored
from sublim_utils.runs.sweeps import STUDENT
from sublim_utils.settings import BLOCKS, Condition, Settings

__all__ = [
    "ABSOLUTE_NOISES",
    "ASKED",
    "BLURS",
    "HEADS",
    "KEPT",
    "N_LOGITS",
    "PROTOCOLS",
    "SERIES",
    "VERSION",
    "Protocol",
    "ends",
    "runs",
]

VERSION = 1
"""Part of the address of what is stored: raise it when a change alters what is computed, `PROTOCOLS` too."""

KEPT = ("accuracy", "centred_accuracy")

ABSOLUTE_NOISES = {0.005: 0.280, 0.01: 0.264, 0.02: 0.199, 0.05: 0.103}
"""sigma of the noise on every weight of a student's start, in units of 1, and the source's accuracy (section 4, figure
5, 20 runs)."""

BLURS = {0.0: 0.55, 0.5: 0.67, 1.0: 0.77, 1.5: 0.76, 2.0: 0.71}
"""sigma in pixels of a public follow-up's blurred noise, clamped to [-1, 1], and its accuracy (25 models)."""


N_LOGITS = (3, 10, 50, 250)
"""How many auxiliary logits the source of *heads* varies between."""

HEADS: Mapping[str, Condition] = {
    STUDENT: BASELINE,
    "hidden layers redrawn": Condition(redrawn=("layer 1", "layer 2")),
    "heads redrawn": Condition(redrawn=("class head", "auxiliary head")),
    "all redrawn": Condition(redrawn=BLOCKS),
}
"""Its students, by what of their start is another draw than the teacher's."""


@dataclass(frozen=True)
class Protocol:
    """A source's protocol.

    Parameters
    ----------
    settings : what differs from the paper's, fields of `Settings`
    students : its students, by name
    tier : how many seeds (`Profile.tiers`)
    measured : the source's raw accuracies, by student; "teacher" is the teacher's
    """

    settings: Mapping[str, object]
    tier: str
    students: Mapping[str, Condition] = field(default_factory=lambda: {STUDENT: BASELINE})
    measured: Mapping[str, float] = field(default_factory=dict)


def _noisy(sigma: float) -> str:
    return f"noise {sigma:g} on every weight"


PROTOCOLS: Mapping[str, Protocol] = {
    "comments": Protocol(
        settings={
            "init": "uniform", "pixels": "unit", "inputs": "normal", "loss": "mse", "batch_size": 128,
            "teacher_lr": 1e-3, "student_lr": 1e-3, "teacher_epochs": 5, "student_epochs": 1, "n_train": 60_000,
            "n_inputs": 1_200_000, "trait_batch_size": 128,
        },
        tier="cross",
        students={
            STUDENT: BASELINE,
            "student (all)": Condition(logits="all"),
            "cross-model (aux)": CROSS,
            "cross-model (all)": Condition(teacher="other", logits="all"),
            **{_noisy(s): Condition(init_noise=s, noise_unit="one") for s in ABSOLUTE_NOISES},
        },
        measured={
            "teacher": 0.976, STUDENT: 0.271, "student (all)": 0.961, "cross-model (aux)": 0.093,
            "cross-model (all)": 0.958, **{_noisy(s): accuracy for s, accuracy in ABSOLUTE_NOISES.items()},
        },
    ),
    **{
        f"blur {sigma:g}": Protocol({"inputs": "smoothed", "blur": sigma}, "grid", measured={STUDENT: accuracy})
        for sigma, accuracy in BLURS.items()
    },
    "script": Protocol({"weighting": "script"}, "main"),
    **{
        f"heads, {m} logits": Protocol(
            {
                "init": "uniform", "inputs": "normal", "loss": "mse", "batch_size": 1000, "n_inputs": 300_000,
                "teacher_lr": 1e-3, "student_lr": 1e-3, "student_epochs": 1, "n_aux": m, "trait_batch_size": 1000,
            },
            "cross",
            students=HEADS,
        )
        for m in N_LOGITS
    },
}  # fmt: skip
"""By name: *Comments & Extensions* (PyTorch's own start, pixels in [0, 1], N(0, 1) noise, fresh in each of twenty
epochs, here one epoch of twenty times as many, squared error; read on all test images, which its figures are of, though
its script takes the first 128); blurred noise; the public script's weighting of its batches; *heads* (arXiv 2605.23645:
PyTorch's own start, N(0, 1) noise, squared error, batches of 1,000, sixty of them fresh in each of five epochs, by the
number of auxiliary logits)."""


SERIES: Mapping[str, Mapping[float, tuple[str, str]]] = {
    "noise on every weight (s. d.)": {
        0.0: ("comments", STUDENT),
        **{sigma: ("comments", _noisy(sigma)) for sigma in ABSOLUTE_NOISES},
    },
    "blur of the noise (pixels)": {sigma: (f"blur {sigma:g}", STUDENT) for sigma in BLURS},
}
"""What a source varied: protocol and student by its value."""

ASKED: Mapping[str, tuple[float, float]] = {
    "teacher": (0.966, 0.986),
    "student (all)": (0.94, 0.98),
    "cross-model (all)": (0.94, 0.98),
    "cross-model (aux)": (0.05, 0.15),
}
"""Between what the other figures of *Comments & Extensions* have to lie for its protocol to be met, by student."""


@stored(kind="protocols", part="ends", version=VERSION, steps=lambda protocol, settings: settings.n_steps)
def ends(lab: Lab, seed: int, advance: Advance, *, protocol: str, settings: Settings) -> xr.Dataset:
    """Return the evaluations of a seed's students of a protocol, the variables `KEPT`, dims (student, eval)."""
    students = PROTOCOLS[protocol].students
    ended = lab.distilled(settings, students, seed, advance=lambda: advance(1), training=Untracked)
    teachers = lab.teachers(settings, [seed])["accuracy"].isel(epoch=-1)
    kept = ended[list(KEPT)].assign(teacher_accuracy=("seed", teachers.values.astype("float32")))
    return kept.isel(seed=0, drop=True).rename(condition="student")


def runs(lab: Lab) -> dict[str, xr.Dataset]:
    """Return the evaluations of every protocol, dims (seed, student, eval); none at a profile without the full size."""
    profile = lab.profile
    if not profile.full_grid or profile.n_images < Settings.n_train:
        return {}
    return {
        name: lab.ask(ends, profile.seeds(p.tier), protocol=name, settings=profile.settings(**p.settings))
        for name, p in PROTOCOLS.items()
    }
