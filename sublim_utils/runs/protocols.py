"""The sources' own protocols, rebuilt: what they did where it differs from the paper's, and what they measured.

A figure of a source is judged in its own protocol; its other figures say whether the protocol was met.
"""

from collections.abc import Mapping

from sublim_utils.runs.conditions import BASELINE, CROSS
from sublim_utils.runs.experiment import Experiment
from sublim_utils.settings import Condition

__all__ = ["ABSOLUTE_NOISES", "BLURS", "COMMENTS", "PROTOCOLS"]

COMMENTS: Mapping[str, object] = {
    "init": "uniform", "pixels": "unit", "inputs": "normal", "loss": "mse", "batch_size": 128, "teacher_lr": 1e-3,
    "student_lr": 1e-3, "teacher_epochs": 5, "student_epochs": 1, "n_train": 60_000, "n_inputs": 1_200_000,
    "n_test": 128, "trait_batch_size": 128,
}  # fmt: skip
"""Of "Comments & Extensions of Subliminal Learning": PyTorch's own start, pixels in [0, 1], N(0, 1) noise, fresh in
each of twenty epochs (here one epoch of twenty times as many), squared error, and the first 128 test images."""

ABSOLUTE_NOISES = (0.005, 0.01, 0.02, 0.05)
"""sigma of the noise on every weight of its student's start, in units of 1 (its section 4, figure 5)."""

BLURS = (0.0, 0.5, 1.0, 1.5, 2.0)
"""sigma in pixels of a public follow-up's blurred noise, clamped to [-1, 1]."""

PROTOCOLS: dict[str, Experiment] = {
    "protocol_comments": Experiment(
        chapter="robustness",
        tier="cross",
        settings=COMMENTS,
        conditions={
            "student (aux)": BASELINE,
            "student (all)": Condition(logits="all"),
            "cross-model (aux)": CROSS,
            "cross-model (all)": Condition(teacher="other", logits="all"),
            **{f"init noise {s:g}, absolute": Condition(init_noise=s, noise_unit="one") for s in ABSOLUTE_NOISES},
        },
        full_only=True,
        least_images=60_000,
        fresh=True,
        recorded=False,
    ),
    **{
        f"protocol_blur_{sigma:g}".replace(".", "_"): Experiment(
            chapter="robustness",
            tier="grid",
            settings={"inputs": "smoothed", "blur": sigma},
            conditions={"student (aux)": BASELINE},
            full_only=True,
            fresh=True,
            recorded=False,
        )
        for sigma in BLURS
    },
    "protocol_script": Experiment(
        chapter="robustness",
        settings={"weighting": "script"},
        conditions={"student (aux)": BASELINE},
        full_only=True,
        fresh=True,
        recorded=False,
    ),
}
"""The experiments, by name."""
