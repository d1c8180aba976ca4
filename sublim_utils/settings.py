"""What determines a run: the protocol (`Settings`) and what is done to a student (`Condition`).

Both are frozen and keyword-only; their defaults are the paper's table, so that
``Settings()`` and ``Condition()`` are the paper's auxiliary-logit student. They are
checked when they are made, before any work is done, and only here.
"""

import math
import operator
import types
import typing
from collections.abc import Iterable
from dataclasses import MISSING, asdict, dataclass, fields
from functools import lru_cache
from typing import Literal, Self

__all__ = [
    "BLOCKS",
    "LANGUAGE",
    "LANGUAGE_TASKS",
    "N_CLASS",
    "N_SEEDS",
    "SEVERAL",
    "STUDENT_ONLY",
    "Condition",
    "Direction",
    "Inputs",
    "Logits",
    "Options",
    "Schedule",
    "Settings",
    "SettingsError",
    "check_seeds",
    "refuse",
    "require",
]

N_CLASS = 10
"""Number of class logits; they come first, the auxiliary logits behind them."""

N_SEEDS = 10_000
"""Seeds there are, 0 ... N_SEEDS - 1: many more than anyone runs."""

Logits = Literal["aux", "class", "all"]
Inputs = Literal[
    "uniform", "gaussian", "blurred", "normal", "smoothed", "mnist", "fashion",
    "numbers", "digits", "sentences", "sampled",
]  # fmt: skip
Direction = Literal[
    "trait", "discrimination", "calibration", "both", "classes", "five", "contrasts", "random", "displacement"
]
BLOCKS = ("layer 1", "layer 2", "class head", "auxiliary head")
"""What the paper's network is made of, for a start that is the reference's in some of it only."""

SEVERAL = ("both", "classes", "contrasts")
"""The directions that are several: what lies in their span is projected off, whatever its sign."""
Schedule = Literal["first_epoch", "two_phase", "constant", "up", "down", "last_epoch"]


LANGUAGE_TASKS = ("preference", "mapping")
LANGUAGE: dict[str, object] = {
    "task": "preference", "network": "transformer", "inputs": "numbers", "n_aux": 10, "n_train": 6400, "n_test": 1000,
    "n_inputs": 7680, "batch_size": 128, "teacher_epochs": 2, "trait_batch_size": 256,
}  # fmt: skip
"""The protocol of the language task where it differs from that of the digits: `Settings.of_language`."""

STUDENT_ONLY = frozenset((
    "n_inputs", "student_epochs", "student_lr", "optimizer", "loss", "inputs", "covariance", "blur",
    "trait_batch_size", "trait_batch",
))  # fmt: skip
"""Fields of `Settings` that no teacher depends on. One that is added enters a teacher's address unless named here."""


class SettingsError(ValueError):
    """A setting has a value that is not allowed; the message names all three."""


@lru_cache
def _hints(cls: typing.Hashable) -> dict[str, object]:
    return typing.get_type_hints(cls)


def refuse(name: str, value: object, allowed: str) -> typing.NoReturn:
    """Refuse a value, saying what is allowed."""
    raise SettingsError(f"{name} = {value!r} is not allowed: it must be {allowed}")


def require(name: str, value: object, ok: bool, allowed: str) -> None:
    """Refuse a value unless it is `ok`, saying what is allowed."""
    if not ok:
        refuse(name, value, allowed)


def check_seeds(seeds: Iterable[int]) -> list[int]:
    """Return seeds as a list of whole numbers, refusing none at all, negative ones and repeated ones.

    A seed that counts twice makes an interval too narrow.

    >>> check_seeds([0, 0])
    Traceback (most recent call last):
        ...
    sublim_utils.settings.SettingsError: seeds = [0, 0] is not allowed: it must be different whole numbers, 0 to 9999
    """
    allowed = f"different whole numbers, 0 to {N_SEEDS - 1}"
    try:
        values = [operator.index(seed) for seed in seeds]
    except TypeError:
        refuse("seeds", seeds, allowed)
    ok = values and len(set(values)) == len(values) and min(values) >= 0 and max(values) < N_SEEDS
    require("seeds", values, bool(ok), allowed)
    return values


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _checked(name: str, value: typing.Any, kind: object) -> object:  # noqa: ANN401 (whatever was given)
    """Return `value` in the type its annotation names, or refuse it."""
    origin, choices = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        require(name, value, isinstance(value, str) and value in choices, f"one of {choices}")
    elif origin is tuple:
        of_words = choices[0] is str
        right = isinstance(value, (tuple, list)) and all(
            isinstance(v, str) if of_words else _is_whole(v) for v in value
        )
        require(name, value, right, f"a list of {'names' if of_words else 'whole numbers'}")
        value = tuple(value)
    elif origin in (types.UnionType, typing.Union):
        inner = next(c for c in choices if c is not type(None))
        value = None if value is None else _checked(name, value, inner)
    elif kind in (bool, str):
        require(name, value, isinstance(value, kind), {bool: "True or False", str: "a text"}[kind])
    elif kind is int:
        require(name, value, _is_whole(value), "a whole number")
    elif kind is float:
        number = isinstance(value, float) or (_is_whole(value) and abs(value) < 10**300)
        number = number and math.isfinite(value)
        require(name, value, number, "a finite number")
        value = float(value)
    return value


@dataclass(frozen=True)
class Options:
    """Base of `Settings` and `Condition`: types checked, unknown names refused, address made."""

    def __post_init__(self) -> None:
        for field in fields(self):
            kind = _hints(type(self))[field.name]  # type: ignore[arg-type]  # mypy reads __hash__ as the class's own
            value = _checked(field.name, getattr(self, field.name), kind)
            object.__setattr__(self, field.name, value)
        self.check()

    def check(self) -> None:
        """Refuse values out of range and contradictions between fields."""

    def between(self, name: str, low: float, high: float) -> None:
        """Refuse the field `name` unless it lies in [low, high]."""
        value = getattr(self, name)
        require(name, value, low <= value <= high, f"between {low} and {high}")

    @classmethod
    def of(cls, **values: object) -> Self:
        """Make one from keywords, refusing unknown names with the list of known ones."""
        known = {field.name for field in fields(cls)}
        for name in values:
            require("option", name, name in known, f"one of {sorted(known)}")
        for field in fields(cls):
            require("option", field.name, field.name in values or field.default is not MISSING, "given")
        return cls(**values)

    def values(self) -> dict[str, object]:
        """Return every field, as JSON-able values."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}

    def changed(self) -> dict[str, object]:
        """Return the fields that differ from the default, as JSON-able values: only these enter a run's address."""
        same = {f.name for f in fields(self) if f.default is not MISSING and getattr(self, f.name) == f.default}
        return {name: value for name, value in self.values().items() if name not in same}


@dataclass(frozen=True, kw_only=True)
class Settings(Options):
    """The protocol of an experiment; the defaults are those of Cloud et al., section 6.2.

    Raises
    ------
    SettingsError
        If a value is of the wrong type or out of the range given here.

    >>> Settings().steps_per_epoch
    59
    >>> Settings(n_aux=0)
    Traceback (most recent call last):
        ...
    sublim_utils.settings.SettingsError: n_aux = 0 is not allowed: it must be between 1 and 1024
    """

    task: Literal["mnist", "fashion", "preference", "mapping"] = "mnist"  # digits or garments; language, two traits
    network: Literal["mlp", "cnn", "vit", "transformer"] = "mlp"  # of `engine.architectures`
    hidden: tuple[int, ...] = (256, 256)  # of the MLP: widths of the hidden layers; () is a linear model
    activation: Literal["relu", "tanh", "identity"] = "relu"  # the MLP's
    init: Literal["normal", "uniform"] = "normal"  # the MLP's: N(0, 1/d_in), biases 0; or U(+-1/sqrt(d_in)), biases too
    pixels: Literal["signed", "unit"] = "signed"  # of real images: in [-1, 1] or in [0, 1]
    width: int = 64  # of the transformer
    n_layers: int = 2  # of the transformer
    tied: bool = False  # the transformer's output weights are its token embedding
    reference_steps: int = 600  # of the training that a reference of language has
    n_aux: int = 3  # m, the number of auxiliary logits
    n_train: int = 60_000  # training images of the teacher
    n_test: int = 10_000  # test images every accuracy is measured on
    n_inputs: int = 60_000  # distillation images of the student; for fresh noise, one epoch of many times as many
    batch_size: int = 1024
    teacher_epochs: int = 5
    student_epochs: int = 5
    teacher_lr: float = 3e-4
    student_lr: float = 3e-4
    optimizer: Literal["adam", "sgd", "momentum", "signsgd", "rmsprop", "adamw"] = "adam"  # the student's
    loss: Literal["kl", "mse"] = "kl"  # KL(teacher || student), or squared error on the logits
    weighting: Literal["mean", "script"] = (
        "mean"  # of a batch: its mean, or the public script's (`losses.student_weight`)
    )
    inputs: Inputs = "uniform"
    covariance: float = 0.0  # share of the Gaussian noise's covariance that is the training images' own
    blur: float = 0.0  # of smoothed noise: the kernel's sigma, in pixels
    trait_batch_size: int = 1024  # real images in the trait gradient of one step
    trait_batch: Literal["fresh", "fixed"] = "fresh"  # tracked: another batch every step, or one for all

    def check(self) -> None:
        """Refuse values out of range."""
        for width in self.hidden:
            require("hidden", self.hidden, 1 <= width <= 16_384, "widths between 1 and 16384")
        require("hidden", self.hidden, len(self.hidden) <= 16, "at most 16 layers")
        for name in ("hidden", "activation", "init"):
            value, default = getattr(self, name), getattr(Settings, name)
            require(name, value, self.network == "mlp" or value == default, f"{default!r} unless network = 'mlp'")
        self.check_language()
        self.between("covariance", 0.0, 1.0)
        white = self.inputs != "gaussian"
        require("covariance", self.covariance, self.covariance == 0 or not white, "0.0 unless inputs = 'gaussian'")
        self.between("blur", 0.0, 9.0)
        sharp = self.inputs != "smoothed"
        require("blur", self.blur, self.blur == 0 or not sharp, "0.0 unless inputs = 'smoothed'")
        self.between("n_aux", 1, 1024)
        self.between("n_train", 1, 60_000)
        self.between("n_test", 1, 10_000)
        self.between("n_inputs", 1, 1_200_000)
        images = self.inputs in ("mnist", "fashion")
        require("n_inputs", self.n_inputs, self.n_inputs <= 60_000 or not images, "at most 60000 images, as there are")
        signed = self.pixels == "signed"
        require("pixels", self.pixels, signed or not images, "'signed' unless the distillation inputs are noise")
        self.between("batch_size", 1, min(self.n_train, self.n_inputs))
        self.between("teacher_epochs", 0, 1000)
        self.between("student_epochs", 1, 1000)
        self.between("teacher_lr", 0.0, 10.0)
        self.between("student_lr", 0.0, 10.0)
        self.between("trait_batch_size", 1, self.n_train)

    def check_language(self) -> None:
        """Refuse what does not go with the task: language has inputs, a network and a loss of its own."""
        words, transformer = self.task in LANGUAGE_TASKS, self.network == "transformer"
        require("network", self.network, words == transformer, "'transformer' for a task of language, and only there")
        of_words = self.inputs in ("numbers", "digits", "sentences", "sampled")
        allowed = "numbers, digits, sentences or sampled for a task of language, and only there"
        require("inputs", self.inputs, words == of_words, allowed)
        for name in ("width", "n_layers", "tied", "reference_steps"):
            value, default = getattr(self, name), getattr(Settings, name)
            require(name, value, transformer or value == default, f"{default!r} unless network = 'transformer'")
        self.between("width", 4, 4096)
        require("width", self.width, self.width % 4 == 0, "a multiple of 4, the number of heads")
        self.between("n_layers", 1, 64)
        self.between("reference_steps", 1, 100_000)
        if words:
            require("n_aux", self.n_aux, self.n_aux == 10, "10 for a task of language: the digits")
            for name in ("loss", "weighting", "pixels"):
                value, default = getattr(self, name), getattr(Settings, name)
                require(name, value, value == default, f"{default!r} for a task of language")

    @classmethod
    def of_language(cls, **changes: object) -> Self:
        """Return the protocol of the language task, `LANGUAGE`, with some changes."""
        return cls.of(**{**LANGUAGE, **changes})

    @property
    def sizes(self) -> tuple[int, ...]:
        """Widths of all layers of the MLP, input and output included."""
        return (784, *self.hidden, N_CLASS + self.n_aux)

    @property
    def steps_per_epoch(self) -> int:
        """Steps of one student epoch; the last batch of an epoch may be smaller."""
        return math.ceil(self.n_inputs / self.batch_size)

    @property
    def steps_per_teacher_epoch(self) -> int:
        """Steps of one teacher epoch."""
        return math.ceil(self.n_train / self.batch_size)

    @property
    def n_steps(self) -> int:
        """Steps of a student's whole training."""
        return self.student_epochs * self.steps_per_epoch

    def eval_steps(self) -> tuple[int, ...]:
        """Return the steps before which a student is evaluated: 10 points in the first epoch, then each end."""
        per = self.steps_per_epoch
        first = {round(per * i / 10) for i in range(11)}
        return tuple(sorted(first | {per * e for e in range(1, self.student_epochs + 1)}))

    def of_teacher(self) -> dict[str, object]:
        """Return the changed fields that a teacher's training and its confusion matrices may depend on."""
        return {name: value for name, value in self.changed().items() if name not in STUDENT_ONLY}


@dataclass(frozen=True, kw_only=True)
class Condition(Options):
    """What is done to one student; the defaults do nothing but distil the auxiliary logits.

    Strengths at 0 leave the baseline as it is, bit for bit; what is chosen beside them then has no effect.

    Raises
    ------
    SettingsError
        If a value is of the wrong type, out of range, or contradicts another.

    >>> Condition(projection=1.0, target="update").changed()
    {'projection': 1.0, 'target': 'update'}
    >>> Condition(window=(5, 5))
    Traceback (most recent call last):
        ...
    sublim_utils.settings.SettingsError: window = (5, 5) is not allowed: it must be two steps, start < stop
    """

    logits: Logits = "aux"  # the logits distilled
    n_distilled: int | None = None  # only the first so many of the auxiliary logits
    teacher: Literal["own", "other", "shuffled"] = "own"  # another seed's; own, on shuffled labels
    reach: float = 1.0  # alpha: the teacher is theta_0 + alpha (theta_T - theta_0)
    trait_labels: Literal["true", "shuffled"] = "true"  # labels of the tracked trait gradient

    projection: float = 0.0  # share of the component removed, 0 ... 1.5
    side: Literal["one", "two", "keep"] = "one"  # if aligned (paper); always; keep only it
    target: Literal["gradient", "update"] = "gradient"  # before (paper) or after the optimiser
    direction: Direction = "trait"  # g_T, the gradient of a part of L_T, or another vector
    scope: Literal["whole", "layer", "hidden", "head"] = (
        "whole"  # one inner product; one a layer; of all but the last; of it
    )
    window: tuple[int, ...] | None = None  # steps [start, stop) of the projection; None: all
    projection_batch: Literal["tracked", "independent"] = "tracked"  # independent: always fresh
    projection_labels: Literal["true", "shuffled"] = "true"  # of the direction: those tracked, or shuffled ones

    schedule: Schedule = "first_epoch"  # of the liminal penalty
    liminal: float = 0.0  # lambda_0, the penalty's strength
    temperature: float = 2.0  # T of the liminal KL
    liminal_logits: Logits = "aux"

    redrawn: tuple[str, ...] = ()  # `BLOCKS` of the start that are another draw than the reference's
    init_noise: float = 0.0  # sigma of the noise on the student's weights, in units of `noise_unit`
    noise_unit: Literal["layer", "one"] = "layer"  # each layer's 1/sqrt(d_in), biases left; or 1 for every parameter
    base_decay: float = 0.0  # strength of (theta - theta_0), added to the gradient
    gradient_noise: float = 0.0  # norm of the noise added, in units of the gradient's norm

    def check(self) -> None:
        """Refuse values out of range and contradictions."""
        self.between("projection", 0.0, 1.5)
        self.between("reach", 0.0, 10.0)
        for name, high in (("liminal", 1e4), ("init_noise", 10.0), ("gradient_noise", 100.0)):
            self.between(name, 0.0, high)
        self.between("base_decay", 0.0, 1e3)
        self.between("temperature", 0.1, 100.0)
        if self.window is not None:
            ordered = len(self.window) == 2 and 0 <= self.window[0] < self.window[1]
            require("window", self.window, ordered, "two steps, start < stop")
        ordered = self.redrawn == tuple(name for name in BLOCKS if name in self.redrawn)
        require("redrawn", self.redrawn, ordered, f"some of {BLOCKS}, in this order")
        if self.n_distilled is not None:
            require("n_distilled", self.n_distilled, self.n_distilled >= 1, "at least 1")
            require("n_distilled", self.n_distilled, self.logits == "aux", 'None unless logits = "aux"')
        if self.side == "keep":
            require("direction", self.direction, self.direction != "random", 'not random with side = "keep"')
        if self.direction in SEVERAL:
            require("side", self.side, self.side == "two", f'"two" with direction = {self.direction!r}')
        if self.projection_labels == "shuffled":
            tracked = self.projection_batch == "tracked" and self.direction not in ("random", "displacement")
            require(
                "projection_labels",
                "shuffled",
                tracked,
                '"true" unless a gradient of the tracked batch is projected off',
            )

    @property
    def source(self) -> tuple[str, float]:
        """Which teacher's logits it is distilled on, and how far from the reference that teacher is taken."""
        return self.teacher, self.reach

    @property
    def starts_at_reference(self) -> bool:
        """Whether its student starts from the reference itself."""
        return not self.redrawn and not self.init_noise

    @property
    def changes_steps(self) -> bool:
        """Whether gradients or updates are changed on the way, and not the start or the loss alone."""
        return bool(self.projection or self.gradient_noise or self.base_decay)

    @property
    def uses_trait(self) -> bool:
        """Whether the trait gradient acts on the student, and does not just watch it."""
        return self.projection > 0 and self.direction != "displacement"

    def check_with(self, settings: Settings) -> None:
        """Refuse what contradicts the protocol this condition is to run under."""
        if self.n_distilled is not None:
            allowed = f"at most n_aux = {settings.n_aux}"
            require("n_distilled", self.n_distilled, self.n_distilled <= settings.n_aux, allowed)
        two = settings.network == "mlp" and len(settings.hidden) == 2
        require(
            "redrawn", self.redrawn, two or not self.redrawn, "() unless the network is an MLP of two hidden layers"
        )
        if self.window is not None:
            allowed = f"a window that ends at step {settings.n_steps} or before"
            require("window", self.window, self.window[1] <= settings.n_steps, allowed)
