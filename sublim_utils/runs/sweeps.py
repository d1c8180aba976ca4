"""The sweeps of the robustness chapter: axes, on each the points at which the auxiliary student is trained anew."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from sublim_utils.runs.conditions import PROJECTED, UPDATE_PROJECTED
from sublim_utils.settings import Condition, Settings

__all__ = [
    "AXES",
    "DEFAULT",
    "FEW_NOISES",
    "OPTIMISERS",
    "PROJECTIONS",
    "SIGMAS",
    "STUDENT",
    "Axis",
    "Point",
    "init_noises",
    "multiple",
    "names",
    "network",
    "own_points",
    "point",
]

STUDENT = "student (aux)"
PROJECTIONS = {"projected": PROJECTED, "update projected": UPDATE_PROJECTED}
DEFAULT = ("sweep_init_noise", STUDENT)
"""Experiment and condition of the students that nothing is changed for: a point of every axis."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One value on an axis.

    Parameters
    ----------
    label : as figures and tables name it
    run : experiment and condition that hold its students
    settings, scaled, least_images : the experiment's, if it is this point's own
    few : run also where the profile has not the full grid
    beside : further conditions of this point's own experiment
    """

    label: str
    run: tuple[str, str] = DEFAULT
    settings: Mapping[str, object] = field(default_factory=dict)
    scaled: Mapping[str, float] = field(default_factory=dict)
    least_images: int = 0
    few: bool = False
    beside: Mapping[str, Condition] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Axis:
    """What is varied, the figure it is drawn in, and its points in their order."""

    title: str
    theme: str
    points: tuple[Point, ...]


def point(axis: str, label: str, *, few: bool = False, least_images: int = 0, **settings: object) -> Point:
    """Return a point that is an experiment of its own, named after axis and label.

    >>> point("inputs", "real digits", inputs="mnist").run
    ('sweep_inputs_real_digits', 'student (aux)')
    """
    name = re.sub(r"[^a-z0-9]+", "_", f"sweep {axis} {label}".lower()).strip("_")
    return Point(label=label, run=(name, STUDENT), settings=settings, few=few, least_images=least_images)


def multiple(setting: str, label: str, factor: float) -> Point:
    """Return a point at a multiple of the profile's own value of a setting."""
    name = re.sub(r"[^a-z0-9]+", "_", f"sweep {setting} {label}").strip("_")
    return Point(label=label, run=(name, STUDENT), scaled={setting: factor})


def network(label: str, name: str) -> Point:
    """Return a point of another network, with the two projections beside it."""
    return replace(point("network", label, network=name), beside=PROJECTIONS)


SIGMAS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0, 3.0)
"""sigma, in units of each layer's initial scale 1/sqrt(d_in); 0.1, 0.3, 1 and 3 are the liminal chapter's too."""


def init_noises() -> dict[str, Condition]:
    """Return the doses of noise on the student's initial weights: "init noise 0.1" and so on."""
    return {f"init noise {s:g}": Condition(init_noise=s) for s in SIGMAS}


AXES = (
    Axis(
        title="auxiliary logits",
        theme="what is distilled",
        points=(
            point("aux", "1", n_aux=1, few=True),
            point("aux", "2", n_aux=2),
            Point(label="3"),
            *(point("aux", f"{m}", n_aux=m, few=m == 10) for m in (5, 10, 20, 50)),
        ),
    ),
    Axis(
        title="loss and logits",
        theme="what is distilled",
        points=(
            Point(label="KL 3"),
            point("loss", "MSE 1", loss="mse", n_aux=1),
            point("loss", "MSE 3", loss="mse"),
            point("loss", "MSE 10", loss="mse", n_aux=10),
        ),
    ),
    Axis(
        title="width",
        theme="the network",
        points=(
            *(point("width", f"{w}", hidden=(w, w)) for w in (32, 64, 128)),
            Point(label="256"),
            *(point("width", f"{w}", hidden=(w, w)) for w in (512, 1024)),
        ),
    ),
    Axis(
        title="hidden layers",
        theme="the network",
        points=(
            Point(label="0", run=("linear", "linear student (aux)")),
            point("depth", "1", hidden=(256,)),
            Point(label="2"),
            *(point("depth", f"{n}", hidden=(256,) * n) for n in (3, 4)),
        ),
    ),
    Axis(
        title="architecture",
        theme="the network",
        points=(Point(label="MLP"), network("CNN", "cnn"), network("ViT", "vit")),
    ),
    Axis(
        title="activation",
        theme="the network",
        points=(Point(label="relu"), *(point("activation", a, activation=a) for a in ("tanh", "identity"))),
    ),
    Axis(
        title="distillation inputs",
        theme="the images",
        points=(
            Point(label="uniform"),
            point("inputs", "Gaussian", inputs="gaussian"),
            Point(label="blurred", run=("blurred", "blurred noise")),
            point("inputs", "digits", inputs="mnist"),
            point("inputs", "fashion", inputs="fashion", least_images=Settings.n_inputs),
        ),
    ),
    Axis(
        title="task",
        theme="the images",
        points=(
            Point(label="MNIST"),
            point("task", "Fashion", task="fashion", least_images=Settings.n_train),
        ),
    ),
    Axis(
        title="optimiser",
        theme="the training",
        points=(
            Point(label="Adam"),
            Point(label="SGD", run=("causal_sgd", STUDENT)),
            Point(label="mom.", run=("causal_momentum", STUDENT)),
        ),
    ),
    Axis(
        title="learning rate",
        theme="the training",
        points=(
            point("lr", "1e-4", student_lr=1e-4),
            Point(label="3e-4"),
            *(point("lr", f"{r:g}", student_lr=r) for r in (1e-3, 3e-3)),
        ),
    ),
    Axis(
        title="teacher's epochs",
        theme="the training",
        points=(
            *(multiple("teacher_epochs", f"x {f:g}", f) for f in (0.2, 0.4)),
            Point(label="x 1"),
            *(multiple("teacher_epochs", f"x {f}", f) for f in (2, 4)),
        ),
    ),
    Axis(
        title="batch size",
        theme="the training",
        points=(
            multiple("batch_size", "x 1/4", 0.25),
            Point(label="x 1"),
            multiple("batch_size", "x 4", 4),
        ),
    ),
    Axis(
        title="noise on the initialisation",
        theme="the common start",
        points=(
            Point(label="0"),
            *(Point(label=n.removeprefix("init noise "), run=(DEFAULT[0], n)) for n in init_noises()),
        ),
    ),
)
"""Every axis; on each, one point is the protocol itself."""

FEW_NOISES = (STUDENT, "init noise 1")
"""The doses of a profile without the full grid."""


OPTIMISERS: Mapping[str, Mapping[str, object]] = {
    "SGD": {"optimizer": "sgd", "student_lr": 0.5},
    "momentum": {"optimizer": "momentum", "student_lr": 0.2},
    "SignSGD": {"optimizer": "signsgd"},
    "RMSprop": {"optimizer": "rmsprop"},
    "AdamW": {"optimizer": "adamw"},
}
"""From SGD to Adam: what each arm changes of the protocol, by its name.

The first two learning rates lower the held-out loss to about a third within two epochs on one seed; twice the rate
makes plain SGD overshoot.
"""


def own_points() -> dict[str, Point]:
    """Return the points that are experiments of their own, by the experiment's name."""
    points = [p for axis in AXES for p in axis.points if p.settings or p.scaled]
    return {p.run[0]: p for p in points}


def names() -> dict[tuple[str, str], str]:
    """Return every setting of the sweeps once, by its run: "width 64"; the protocol itself is "default".

    >>> names()[("sweep_aux_10", "student (aux)")]
    'auxiliary logits 10'
    """
    named = {p.run: f"{axis.title} {p.label}" for axis in AXES for p in axis.points}
    return {**named, DEFAULT: "default"}
