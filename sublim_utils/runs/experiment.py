"""What an experiment is: some conditions under one protocol, on the seeds of a tier."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sublim_utils.runs import sweeps
from sublim_utils.runs.addresses import student_address
from sublim_utils.runs.conditions import BASELINE, Conditions
from sublim_utils.runs.profiles import Profile
from sublim_utils.runs.store import Store
from sublim_utils.settings import Condition, Settings

__all__ = ["Experiment", "of_points"]


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Some conditions under one protocol.

    Parameters
    ----------
    chapter : the chapter that shows it, by the name of its notebook without the number
    tier : how many seeds, by the names of `Profile.tiers`
    settings : changes to the paper's protocol
    conditions : by name, or a function of the settings where they depend on the step count
    few : the conditions that a profile without the full grid runs; empty: all
    scaled : multiples of the profile's own settings, such as {"batch_size": 4}
    full_only : left out by a profile without the full grid
    least_images : left out by a profile of fewer images, such as one that tests run
    also : other chapters that read it
    """

    chapter: str
    tier: str = "main"
    settings: Mapping[str, object] = field(default_factory=dict)
    conditions: Conditions | Callable[[Settings], Conditions]
    few: tuple[str, ...] = ()
    scaled: Mapping[str, float] = field(default_factory=dict)
    full_only: bool = False
    least_images: int = 0
    also: tuple[str, ...] = ()

    @property
    def is_optional(self) -> bool:
        """Whether it needs images other than the digits: where they can't be had, the book goes without it."""
        return "fashion" in (self.settings.get("task"), self.settings.get("inputs"))

    def is_run_at(self, profile: Profile) -> bool:
        """Say whether a profile runs this experiment."""
        return (profile.full_grid or not self.full_only) and profile.n_images >= self.least_images

    def seeds(self, profile: Profile) -> range:
        """Return the seeds that it is run on at a profile."""
        return profile.seeds(self.tier)

    def settings_of(self, profile: Profile) -> Settings:
        """Return the protocol at a profile's size, with this experiment's changes."""
        size = profile.settings()
        scaled = {name: max(1, round(factor * getattr(size, name))) for name, factor in self.scaled.items()}
        return profile.settings(**self.settings, **scaled)

    def conditions_of(self, settings: Settings, *, full: bool = True) -> dict[str, Condition]:
        """Return the conditions, all or the few, under given settings."""
        chosen = dict(self.conditions(settings) if callable(self.conditions) else self.conditions)
        return chosen if full or not self.few else {name: chosen[name] for name in self.few}

    def at(self, profile: Profile, *, full: bool | None = None) -> tuple[Settings, dict[str, Condition]]:
        """Return protocol and conditions at a profile; `full` overrides its choice of all or few."""
        settings = self.settings_of(profile)
        return settings, self.conditions_of(settings, full=profile.full_grid if full is None else full)

    def held(self, store: Store, profile: Profile) -> set[int]:
        """Return the seeds of which a store holds every run of this experiment at a profile."""
        settings, conditions = self.at(profile)
        return set.intersection(
            *(set(store.seeds("students", student_address(settings, c))) for c in conditions.values())
        )


def of_points(chapter: str, points: Mapping[str, sweeps.Point]) -> dict[str, Experiment]:
    """Return the experiments that points of sweeps are: the baseline, and what is beside it."""
    return {
        name: Experiment(
            chapter=chapter,
            tier="sweep",
            settings=point.settings,
            scaled=point.scaled,
            conditions={"student (aux)": BASELINE, **point.beside},
            full_only=not point.few,
            least_images=point.least_images,
        )
        for name, point in points.items()
    }
