"""Where a profile's results lie, wherever a notebook is run."""

import pytest

from sublim_utils.book.claims import Claims
from sublim_utils.book.report import load_claims
from sublim_utils.runs.lab import Lab
from sublim_utils.runs.profiles import Profile


@pytest.mark.parametrize("inside", [".", "notebooks"])
def test_a_notebook_finds_its_results_from_any_working_directory(tmp_path, monkeypatch, inside):
    """Editors run a notebook in the repository's root, servers in the notebook's folder."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "profiles.toml").touch()
    (tmp_path / "results" / "mine").mkdir(parents=True)
    (tmp_path / "results" / "mine" / "claims.json").write_text("[]")
    monkeypatch.chdir(tmp_path / inside)
    for results in ("../results/mine", "results/mine"):
        assert Lab(Profile(results=results), "cpu").store.root == tmp_path / "results" / "mine"
        assert Claims(results, "01_phenomenon").path.parent == tmp_path / "results" / "mine" / "claims"
    monkeypatch.setattr("sublim_utils.book.report.read", lambda path: [str(path)])
    assert load_claims("../results/mine") == [str(tmp_path / "results" / "mine" / "claims.json")]
