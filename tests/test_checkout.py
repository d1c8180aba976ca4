"""A checkout on any machine holds the files that were committed."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def git(*words: str) -> bytes:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"no git checkout: {done.stderr.decode(errors='replace')}")
    return done.stdout


def test_line_ends_are_those_committed_where_git_is_told_to_change_them(tmp_path: Path) -> None:
    """With core.autocrlf, scripts would not start and sums of claims not agree."""
    names = [n for n in git("ls-files").decode().splitlines() if not n.endswith((".nc", ".ipynb"))]
    assert {".ci/run", "postBuild", "setup.sh", "results/paper/claims.json"} <= set(names)
    git("-c", "core.autocrlf=true", "checkout-index", f"--prefix={tmp_path}/", "--", *names)
    assert [name for name in names if b"\r\n" in (tmp_path / name).read_bytes()] == []


def test_recorded_runs_are_binary() -> None:
    name = git("ls-files", "results/paper/students").decode().splitlines()[0]
    assert b": text: unset" in git("check-attr", "text", "--", name)


@pytest.mark.parametrize("name", ["_build", "results/smoke", "results/laptop", ".venv", ".snakemake", ".home"])
def test_links_to_folders_elsewhere_are_ignored_as_the_folders_are(tmp_path: Path, name: str) -> None:
    rules = (ROOT / ".gitignore").read_text(encoding="utf-8")
    git("init", "--quiet", str(tmp_path))
    (tmp_path / ".gitignore").write_text(rules)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).symlink_to(tmp_path)
    assert name not in git("-C", str(tmp_path), "status", "--porcelain", "--untracked-files=all").decode()
