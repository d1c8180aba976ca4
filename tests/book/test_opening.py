"""The opening of a chapter: what it returns, and that bad scalars are refused before anything is made."""

from pathlib import Path

import matplotlib.pyplot as plt
import pytest

from sublim_utils.book.opening import open_chapter
from sublim_utils.settings import SettingsError

SCALARS = {
    "results": "results/small",
    "n_seeds": 3,
    "n_grid_seeds": 2,
    "n_images": 120,
    "batch_size": 16,
    "epochs": 2,
    "full_grid": True,
    "device": "cpu",
}


def test_a_chapter_opens_with_its_profile_its_claims_and_its_look(tmp_path: Path) -> None:
    results = str(tmp_path / "small")
    with plt.rc_context():
        plt.rcdefaults()
        lab, claims, settings = open_chapter("alignment", *{**SCALARS, "results": results}.values())
        assert plt.rcParams["axes.grid"]  # the book's style
    assert (lab.profile.name, lab.device.type, lab.profile.full_grid) == ("small", "cpu", True)
    assert lab.profile.tiers == {"main": 3, "beside": 3, "grid": 2, "cross": 2, "sweep": 2}
    assert settings == lab.profile.settings()
    assert (settings.n_train, settings.batch_size, settings.student_epochs) == (120, 16, 2)
    assert claims.path == tmp_path / "small" / "claims" / "alignment.json"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "value"), [("n_seeds", 1), ("n_images", "many"), ("full_grid", 1), ("device", "tpu"), ("epochs", 0)]
)
def test_a_bad_scalar_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(SettingsError, match=name):
        open_chapter("alignment", *{**SCALARS, name: value}.values())
