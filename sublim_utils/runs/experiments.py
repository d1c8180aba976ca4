"""Every experiment of the book by name: under which protocol, and what is done to the students.

A chapter asks the lab for an experiment; the Snakefile runs the same ones as jobs. Two
experiments that share a condition share its runs.
"""

from dataclasses import replace
from pathlib import Path

from sublim_utils.runs import language_runs, mitigations, sweeps
from sublim_utils.runs.conditions import (
    BASELINE,
    CONTROLS,
    COVARIANCES,
    CROSS,
    HIDDEN_TRAIT,
    OFF_DISC,
    PROJECTED,
    REACHES,
    SHARED_LAYERS,
    UPDATE_PROJECTED,
    Conditions,
    causal_grid,
)
from sublim_utils.runs.experiment import Experiment, of_points
from sublim_utils.runs.profiles import Profile
from sublim_utils.settings import Condition

__all__ = ["EXPERIMENTS", "chapter_of", "of_chapter", "on_fixed_set", "run_at", "under"]


def under(optimizer: str, few: tuple[str, ...]) -> Experiment:
    """Return the baseline and the paper's projection under another optimiser of the student.

    They are tracked on a fixed set and projected against fresh batches, so that the ledger can book them.
    `optimizer` is a name in `sweeps.OPTIMISERS`, which has the learning rates.
    """
    projected = Condition(projection=1.0, projection_batch="independent")
    return Experiment(
        chapter="causal",
        tier="grid",
        settings={**sweeps.OPTIMISERS[optimizer], "trait_batch": "fixed"},
        conditions={
            "student (aux)": BASELINE,
            "projected": projected,
            "two-sided": replace(projected, side="two"),
            "random direction": replace(projected, direction="random"),
        },
        few=few,
        also=("ledger", "robustness"),
    )


def on_fixed_set(conditions: Conditions, **changes: object) -> Experiment:
    """Return students tracked on one fixed set of real images, where the changes of L_T add up.

    A projection against independent batches, fresh at every step, is then watched from outside.
    """
    return Experiment(
        chapter="ledger", tier="grid", settings={"trait_batch": "fixed", **changes}, conditions=conditions
    )


EXPERIMENTS: dict[str, Experiment] = {
    "primary": Experiment(
        chapter="phenomenon",
        conditions={
            "student (aux)": BASELINE,
            "cross-model (aux)": CROSS,
            "projected": PROJECTED,
            "update projected": UPDATE_PROJECTED,
            "update off L_disc": OFF_DISC,
            "liminal, first epoch": Condition(liminal=1.0, schedule="first_epoch"),
        },
        also=("alignment", "causal", "liminal", "language", "exercises"),
    ),
    "phenomenon": Experiment(
        chapter="phenomenon",
        tier="beside",
        conditions={
            "student (aux)": BASELINE,
            "student (all)": Condition(logits="all"),
            "cross-model (aux)": CROSS,
            "cross-model (all)": Condition(teacher="other", logits="all"),
        },
    ),
    "alignment": Experiment(
        chapter="alignment",
        conditions={"student (aux)": BASELINE, "cross-model (aux)": CROSS},
        also=("ledger", "causal"),
    ),
    "alignment_controls": Experiment(
        chapter="alignment",
        tier="grid",
        conditions={
            "student (aux)": BASELINE,
            "cross-model (aux)": CROSS,
            "shuffled-label teacher": Condition(teacher="shuffled"),
            "shuffled trait labels": Condition(trait_labels="shuffled"),
        },
    ),
    "alignment_fixed_batch": Experiment(
        chapter="alignment",
        tier="grid",
        settings={"trait_batch": "fixed"},
        conditions={"fixed trait batch": BASELINE},
    ),
    "alignment_small_batch": Experiment(
        chapter="alignment",
        tier="grid",
        settings={"trait_batch_size": 64},
        conditions={"trait batch of 64": BASELINE},
    ),
    "linear": Experiment(
        chapter="theory",
        tier="grid",
        settings={"hidden": ()},
        conditions={"linear student (aux)": BASELINE},
        also=("robustness",),
    ),
    "causal": Experiment(
        chapter="causal",
        tier="beside",
        conditions={
            "student (aux)": BASELINE,
            "projected": PROJECTED,
            "random direction": Condition(projection=1.0, direction="random"),
            "two-sided": Condition(projection=1.0, side="two"),
            "update projected": UPDATE_PROJECTED,
        },
    ),
    "causal_controls": Experiment(
        chapter="causal",
        tier="grid",
        conditions=CONTROLS,
        few=("keep only aligned", "independent batch"),
    ),
    "causal_grid": Experiment(
        chapter="causal",
        tier="sweep",
        conditions=causal_grid,
        few=(
            *(f"gradient x {s:g}" for s in (0.5, 1.0)),
            *(f"update, {name} 1" for name in ("first", "after")),
        ),
    ),
    "hidden_trait": Experiment(chapter="causal", tier="sweep", conditions=HIDDEN_TRAIT, few=("gradient off L_disc",)),
    "causal_sgd": under("SGD", few=("student (aux)", "projected")),
    "causal_momentum": under("momentum", few=("student (aux)",)),
    "liminal": Experiment(
        chapter="liminal",
        tier="beside",
        conditions={
            "student (aux)": BASELINE,
            "projected": PROJECTED,
            "update projected": UPDATE_PROJECTED,
            "cross-model (aux)": CROSS,
            "liminal, first epoch": Condition(liminal=1.0, schedule="first_epoch"),
            "liminal, two phase": Condition(liminal=1.0, schedule="two_phase"),
        },
    ),
    "liminal_schedules": Experiment(
        chapter="liminal",
        tier="sweep",
        conditions={**mitigations.schedules(), **mitigations.others()},
        few=mitigations.FEW,
    ),
    "liminal_grid": Experiment(
        chapter="liminal",
        tier="sweep",
        conditions=mitigations.penalties(),
        few=mitigations.FEW_PENALTIES,
    ),
    "blurred": Experiment(
        chapter="robustness",
        tier="grid",
        settings={"inputs": "blurred"},
        conditions={"blurred noise": BASELINE},
    ),
    "ledger": on_fixed_set(
        {
            "student (aux)": BASELINE,
            "projected": Condition(projection=1.0, projection_batch="independent"),
            "update projected": Condition(projection=1.0, target="update", projection_batch="independent"),
            "liminal, first epoch": Condition(liminal=1.0, schedule="first_epoch"),
        }
    ),
    "ledger_sgd_large": on_fixed_set({"student (aux)": BASELINE}, optimizer="sgd", student_lr=1.0),
    "sweep_init_noise": Experiment(
        chapter="robustness",
        tier="sweep",
        conditions={"student (aux)": BASELINE, **sweeps.init_noises()},
        few=sweeps.FEW_NOISES,
    ),
    **of_points("robustness", sweeps.own_points()),
    **{
        f"optimiser_{changes['optimizer']}": Experiment(
            chapter="robustness",
            tier="sweep",
            settings=changes,
            conditions={"student (aux)": BASELINE},
            full_only=name != "SignSGD",
            also=("alignment",),
        )
        for name, changes in sweeps.OPTIMISERS.items()
    },
    "shared_layers": Experiment(
        chapter="robustness",
        tier="cross",
        conditions={"student (aux)": BASELINE, **SHARED_LAYERS},
        few=("student (aux)", "redrawn: layer 1, layer 2"),
    ),
    **{
        name: Experiment(
            chapter="alignment",
            tier="cross",
            settings={"inputs": "gaussian", "covariance": share},
            conditions=REACHES,
            few=("reach 0.25", "reach 1"),
            full_only=share not in (0.0, 1.0),
        )
        for name, share in COVARIANCES.items()
    },
    "approach_shuffled": Experiment(
        chapter="alignment",
        tier="sweep",
        conditions={"shuffled-label teacher": Condition(teacher="shuffled")},
        full_only=True,
    ),
    "reach_digits": Experiment(
        chapter="alignment",
        tier="cross",
        settings={"inputs": "mnist"},
        conditions={"reach 1": BASELINE},
        full_only=True,
    ),
    **language_runs.LANGUAGE_EXPERIMENTS,
}


def run_at(profile: Profile) -> list[str]:
    """Return the names of the experiments that a profile runs."""
    return [name for name, e in EXPERIMENTS.items() if e.is_run_at(profile)]


def chapter_of(notebook: str | Path) -> str:
    """Return the chapter that a notebook is: its file's name without the number, which only orders the files.

    >>> chapter_of("notebooks/00_some_thing.ipynb")
    'some_thing'
    """
    return Path(notebook).stem.lstrip("0123456789").removeprefix("_")


def of_chapter(chapter: str, profile: Profile) -> list[str]:
    """Return the names of the experiments that a chapter reads at a profile, its own and others'.

    >>> of_chapter("phenomenon", Profile(results="results/laptop"))
    ['primary', 'phenomenon']
    """
    return [name for name in run_at(profile) if chapter in (EXPERIMENTS[name].chapter, *EXPERIMENTS[name].also)]
