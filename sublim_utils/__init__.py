"""Shared code of the book: a replication of arXiv 2604.25779 on subliminal learning."""

from sublim_utils.runs.experiment import Experiment
from sublim_utils.runs.experiments import EXPERIMENTS
from sublim_utils.runs.lab import Lab
from sublim_utils.runs.profiles import Profile
from sublim_utils.settings import Condition, Settings, SettingsError

__all__ = ["EXPERIMENTS", "Condition", "Experiment", "Lab", "Profile", "Settings", "SettingsError"]
