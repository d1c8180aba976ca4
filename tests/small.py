"""A replication of a few milliseconds: small images that can be learned, settings, conditions."""

import os
from pathlib import Path
from types import SimpleNamespace

import torch

from sublim_utils.engine import data
from sublim_utils.engine.seeds import generator
from sublim_utils.runs import lab
from sublim_utils.runs.profiles import Profile
from sublim_utils.settings import Condition, Settings

SETTINGS = Settings(
    hidden=(12, 8), n_train=60, n_test=40, n_inputs=50, batch_size=16, teacher_epochs=2, student_epochs=2,
    teacher_lr=3e-3, student_lr=3e-3, trait_batch_size=20,
)  # fmt: skip
CONDITIONS = {
    "baseline": Condition(),
    "all": Condition(logits="all"),
    "cross": Condition(teacher="other"),
    "projected": Condition(projection=1.0),
    "by layer": Condition(projection=0.5, scope="layer", target="update", side="two"),
    "kept": Condition(projection=1.0, side="keep", window=(1, 5)),
    "random": Condition(projection=1.0, direction="random", projection_batch="independent"),
    "liminal": Condition(liminal=2.0, schedule="two_phase"),
    "noisy": Condition(init_noise=0.1, gradient_noise=0.5, base_decay=0.1),
}
FEW = {name: CONDITIONS[name] for name in ("baseline", "cross", "liminal")}


def images(task: str = "mnist", pixels: str = "signed") -> data.Images:
    """Return 120 training and 60 test images: a random pattern for each class, and noise."""
    rng = generator(0, f"test-images-{task}")
    patterns = torch.empty(10, 784).uniform_(-1, 1, generator=rng)

    def some(n):
        labels = torch.randint(10, (n,), generator=rng)
        noise = torch.empty(n, 784).uniform_(-1, 1, generator=rng)
        values = 0.3 * patterns[labels] + 0.7 * noise
        return values if pixels == "signed" else (values + 1) / 2, labels

    return data.Images(*some(120), *some(60))


def new_lab(root: Path) -> lab.Lab:
    """Return a lab whose store lies in `root`."""
    return lab.Lab(Profile(results=str(root), n_seeds=2), "cpu")


def lab_of(theta_t: torch.Tensor | None = None) -> SimpleNamespace:
    """Return what a stored function asks of a lab: the images, and a teacher (P,), the same for every seed."""
    return SimpleNamespace(
        images=lambda _: images(), device=torch.device("cpu"), teacher_weights=lambda *_: theta_t.view(1, 1, -1)
    )


def fill(root: Path, seeds: list[int], log: Path) -> None:
    """Fill a store in a process of its own, writing each training's seed into `log`."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    torch.set_num_threads(1)
    data.load, train = images, lab.train_students

    def logged(settings, conditions, trained, *args, **options):
        with log.open("a") as file:
            file.write(f"{trained[0]}\n")
        return train(settings, conditions, trained, *args, **options)

    lab.train_students = logged
    new_lab(root).students(SETTINGS, FEW, seeds)
