"""The language chapter's conditions, and the points at which its students are trained anew."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from sublim_utils.runs.conditions import BASELINE, CROSS, OFF_DISC, PROJECTED, UPDATE_PROJECTED
from sublim_utils.runs.experiment import Experiment, of_points
from sublim_utils.runs.sweeps import STUDENT, Point, point
from sublim_utils.settings import Condition

__all__ = [
    "BESIDE",
    "FEW",
    "LANGUAGE_EXPERIMENTS",
    "MAPPING",
    "MAPPINGS",
    "PENALTIES",
    "PREFERENCE",
    "PREFERENCES",
    "SIZES",
    "STRENGTHS",
    "TOKENS",
]

PREFERENCE: Mapping[str, object] = {"task": "preference"}
MAPPING: Mapping[str, object] = {"task": "mapping", "inputs": "sentences"}
"""Settings of the two main students: a preference by number sequences, a mapping by sentences; digits in both."""

_LIMINAL = Condition(liminal=1.0, schedule="two_phase")

PREFERENCES = {
    STUDENT: BASELINE,
    "cross-model (aux)": CROSS,
    "projected": PROJECTED,
    "update projected": UPDATE_PROJECTED,
    "update, random direction": replace(UPDATE_PROJECTED, direction="random"),
    "liminal, two phase": _LIMINAL,
}
"""On a preference: shuffled labels are the labels, and there is no L_disc to project off."""

MAPPINGS = {
    **PREFERENCES,
    "update off L_disc": OFF_DISC,
    "update off shuffled labels": replace(UPDATE_PROJECTED, projection_labels="shuffled"),
}
FEW = (STUDENT, "cross-model (aux)", "update projected")
"""The conditions of a profile without the full grid; of a mapping, the projection off L_disc as well."""

_TWO = {STUDENT: BASELINE, "cross-model (aux)": CROSS}
_ALL = {"student (all)": Condition(logits="all"), "cross-model (all)": replace(CROSS, logits="all")}

STRENGTHS = (0.1, 1.0, 10.0, 100.0)
"""lambda_0 of the liminal penalty, a grid on a logarithmic scale."""

PENALTIES = {
    STUDENT: BASELINE,
    **{
        f"liminal {strength:g}, {logits}": replace(_LIMINAL, liminal=strength, liminal_logits=logits)
        for logits in ("aux", "all")
        for strength in STRENGTHS
    },
}

TOKENS = {STUDENT: BASELINE, **{f"{n} digits": Condition(n_distilled=n) for n in (2, 3, 5)}}
"""Students that imitate some of the ten digits."""

BESIDE: Mapping[str, tuple[Mapping[str, object], Mapping[str, Condition]]] = {
    "language_mapping_by_numbers": ({"task": "mapping"}, _TWO),
    "language_preference_by_digits": ({**PREFERENCE, "inputs": "digits"}, _TWO),
    "language_preference_by_sentences": ({**PREFERENCE, "inputs": "sentences"}, _TWO),
    "language_preference_all": (PREFERENCE, _ALL),
    "language_liminal": (PREFERENCE, PENALTIES),
    "language_tokens": (PREFERENCE, TOKENS),
    "language_preference_sampled": ({**PREFERENCE, "inputs": "sampled"}, _ALL),
}
"""Other inputs, logits and penalties than the main ones', experiments by name: settings, conditions."""


def _preference(label: str, **settings: object) -> Point:
    """Return a network of another size: student and cross-model student of a preference."""
    size = point("language", label)
    return replace(size, settings={**PREFERENCE, **settings}, beside={"cross-model (aux)": CROSS})


SIZES = {
    size.run[0]: size
    for size in (
        *(_preference(f"width {w}", width=w) for w in (32, 128, 256)),
        _preference("1 layer", n_layers=1),
        _preference("4 layers", n_layers=4),
        _preference("tied", tied=True),
    )
}
"""The sizes beside the protocol's own at which a preference is taught anew, by their experiments' names."""

_experiment = partial(Experiment, chapter="language")

LANGUAGE_EXPERIMENTS: dict[str, Experiment] = {
    "language_preference": _experiment(tier="grid", settings=PREFERENCE, conditions=PREFERENCES, few=FEW),
    "language_mapping": _experiment(
        tier="grid", settings=MAPPING, conditions=MAPPINGS, few=(*FEW, "update off L_disc")
    ),
    **{
        name: _experiment(tier="sweep", settings=changes, conditions=conditions, full_only=True)
        for name, (changes, conditions) in BESIDE.items()
    },
    **of_points("language", SIZES),
}  # fmt: skip
"""The experiments of the language chapter, by name."""
