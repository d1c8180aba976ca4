"""The chapters' conditions by name, and how some of them are picked: by what is done, not by what they are called."""

from collections.abc import Mapping
from dataclasses import fields, replace
from itertools import combinations
from typing import Any, Literal

from sublim_utils.settings import BLOCKS, Condition, Settings, require

__all__ = [
    "BASELINE",
    "CONTROLS",
    "COVARIANCES",
    "CROSS",
    "CUTS",
    "HIDDEN_TRAIT",
    "OFF_DISC",
    "PROJECTED",
    "REACHES",
    "SHARED_LAYERS",
    "STRENGTHS",
    "UPDATE_PROJECTED",
    "WINDOWS",
    "Conditions",
    "Target",
    "causal_grid",
    "doses",
    "timings",
    "where",
]

Conditions = Mapping[str, Condition]
"""Conditions by the names that figures and tables give them."""

Target = Literal["gradient", "update"]
"""What is projected, as `Condition.target`."""


def where(conditions: Conditions, **asked: object) -> list[str]:
    """Return the names of the conditions whose fields have the values asked for, or pass the test that is asked.

    Raises
    ------
    SettingsError
        If a condition has no such field.

    >>> where({"a": Condition(), "b": Condition(liminal=1.0), "c": Condition(liminal=2.0)}, liminal=2.0)
    ['c']
    >>> where({"a": Condition(window=(0, 5)), "b": Condition()}, window=bool, projection=0.0)
    ['a']
    """
    known = [field.name for field in fields(Condition)]
    for name in asked:
        require("field", name, name in known, f"one of {known}")

    def is_asked_for(condition: Condition) -> bool:
        values = ((getattr(condition, name), value) for name, value in asked.items())
        return all(value(has) if callable(value) else has == value for has, value in values)

    return [name for name, condition in conditions.items() if is_asked_for(condition)]


BASELINE = Condition()
CROSS = Condition(teacher="other")
PROJECTED = Condition(projection=1.0)
UPDATE_PROJECTED = Condition(projection=1.0, target="update")

STRENGTHS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
"""Points of the dose-response, beside 0: the baseline."""

CUTS = (0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 4.0)
"""Epochs at which the projection ends ("first") or begins ("after")."""

WINDOWS = (0.5, 1.0, 2.0, 3.0)
"""Epochs at which a projection of one epoch's length begins ("window"); one at 4 is "after 4"."""


def doses(target: Target, **more: Any) -> dict[str, Condition]:  # noqa: ANN401 (fields of `Condition`)
    """Return the projection of `target` at every strength: "gradient x 0.5" and so on; `more` are further fields."""
    return {f"{target} x {s:g}": Condition(projection=s, target=target, **more) for s in STRENGTHS}


def timings(settings: Settings, target: Target, **more: Any) -> dict[str, Condition]:  # noqa: ANN401 (fields of `Condition`)
    """Return the projection of `target` in the first k steps only, after them only, and in windows.

    A name gives epochs ("update, first 0.5"); points past the end of training are left out. `more` are further fields.
    """
    per, last = settings.steps_per_epoch, settings.n_steps
    spans = {
        **{f"first {e:g}": (0, round(per * e)) for e in CUTS},
        **{f"after {e:g}": (round(per * e), last) for e in CUTS},
        **{f"window {e:g}": (round(per * e), round(per * (e + 1))) for e in WINDOWS},
    }
    return {
        f"{target}, {name}": Condition(projection=1.0, target=target, window=span, **more)
        for name, span in spans.items()
        if span[0] < min(span[1], last) and span[1] <= last
    }


CONTROLS = {
    "keep only aligned": Condition(projection=1.0, side="keep"),
    "per layer": Condition(projection=1.0, scope="layer"),
    "displacement": Condition(projection=1.0, direction="displacement"),
    "independent batch": Condition(projection=1.0, projection_batch="independent"),
    "update, two-sided": Condition(projection=1.0, target="update", side="two"),
    "update, random direction": Condition(projection=1.0, target="update", direction="random"),
    "update, independent batch": Condition(projection=1.0, target="update", projection_batch="independent"),
}
"""What could explain the causal chapter's finding away."""


def causal_grid(settings: Settings) -> dict[str, Condition]:
    """Return the doses and timings of the causal chapter."""
    return {
        **doses("gradient"),
        **doses("update"),
        **timings(settings, "gradient"),
        **timings(settings, "update"),
    }


OFF_DISC = Condition(projection=1.0, target="update", direction="discrimination", side="two")
"""The update keeps L_disc where it is, to first order."""

HIDDEN_TRAIT = {
    "gradient off L_disc": replace(OFF_DISC, target="gradient"),
    "two-sided": Condition(projection=1.0, side="two"),
    "random direction": Condition(projection=1.0, direction="random"),
    "update, random direction": CONTROLS["update, random direction"],
    "update off shuffled labels": replace(UPDATE_PROJECTED, projection_labels="shuffled"),
    "update off L_disc, shuffled labels": replace(OFF_DISC, projection_labels="shuffled"),
}
"""Beside the primary conditions: what may remove what the student knows, and the controls that should not."""

SHARED_LAYERS = {
    f"redrawn: {', '.join(names)}": Condition(redrawn=names)
    for n in range(1, len(BLOCKS) + 1)
    for names in combinations(BLOCKS, n)
}
"""Students whose start is the reference's but for some blocks: every subset of them."""


REACHES = {f"reach {alpha:g}": Condition(reach=alpha) for alpha in (0.25, 0.5, 1.0, 2.0)}
"""Teachers theta_0 + alpha D_T."""

COVARIANCES = {"reach_white": 0.0, "reach_third": 0.333, "reach_two_thirds": 0.667, "reach_coloured": 1.0}
"""Experiments with those teachers on Gaussian noise: the share of its covariance that is the digits' own."""
