"""What CONTRIBUTING names is there, and the hooks run what `make test` runs."""

import re
import shlex
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_every_file_that_the_guide_names_is_there() -> None:
    named = re.findall(r"`((?:[\w.]+/)*[\w.]+\.(?:py|toml|md|yml|ipynb|lock))`", GUIDE)
    named = [name for name in named if "NN_" not in name]
    assert len(named) > 15
    assert not [name for name in named if not (ROOT / name).is_file()]


def test_the_guide_is_a_page() -> None:
    assert len(GUIDE.splitlines()) < 80
    assert {f"## {part}" for part in ("An intervention", "A network", "A claim", "A chapter")} <= set(
        GUIDE.splitlines()
    )


def test_the_hooks_use_the_projects_own_tools() -> None:
    repositories = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    hooks = [hook for repository in repositories for hook in repository["hooks"]]
    assert {repository["repo"] for repository in repositories} == {"local"}
    tools = {re.split(r"[>=<\[]", name)[0] for name in PROJECT["project"]["optional-dependencies"]["test"]}
    for hook in hooks:
        program, *words = shlex.split(hook["entry"])
        assert (words[1] if program == "python" else program) in tools
        assert all((ROOT / word).is_file() for word in words if "/" in word)


def test_the_changelog_has_the_version() -> None:
    assert f"## {PROJECT['project']['version']}\n" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_types_travel_with_the_package() -> None:
    assert (ROOT / "sublim_utils" / "py.typed").is_file()
    assert "py.typed" in PROJECT["tool"]["setuptools"]["package-data"]["sublim_utils"]
