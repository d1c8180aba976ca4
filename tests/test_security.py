"""Nothing is unpickled or extracted, what is installed is hashed, and workflows may do little."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
REFUSED = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
LOADERS = {"load", "loads", "Unpickler"}
SOURCES = sorted(p for folder in ("sublim_utils", "notebooks", "bench") for p in (ROOT / folder).rglob("*")
                 if p.suffix in (".py", ".ipynb") and ".ipynb_checkpoints" not in p.parts)  # fmt: skip
REFUSED_CALLS = {"torch.load", "np.load", "numpy.load", "eval", "exec", "yaml.load"}
REFUSED_METHODS = {"extract", "extractall", "read_pickle", "unpack_archive"}


def code_of(path: Path) -> str:
    """Return a module's code, or a notebook's without its magics."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        return text
    cells = ["".join(c["source"]) for c in json.loads(text)["cells"] if c["cell_type"] == "code"]
    return "\n".join(line for line in "\n".join(cells).splitlines() if not line.lstrip().startswith(("%", "!")))


def name_of(node: ast.expr) -> str:
    """Return a dotted name, or what of it can be known."""
    if isinstance(node, ast.Attribute):
        return f"{name_of(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def unsafe(code: str) -> Iterator[str]:
    """Yield every import or call that unpickles, runs text as code, or extracts an archive to paths."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.split(".")[0] in REFUSED)
        elif isinstance(node, ast.ImportFrom):
            if (node.module or "").split(".")[0] in REFUSED:
                yield str(node.module)
            yield from (f"{node.module}.{a.name}" for a in node.names
                        if node.module in ("torch", "numpy") and a.name in LOADERS)  # fmt: skip
        elif isinstance(node, ast.keyword):
            allowed = isinstance(node.value, ast.Constant) and node.value.value
            if (node.arg, allowed) in (("allow_pickle", True), ("weights_only", False)):
                yield str(node.arg)
        elif isinstance(node, ast.Call):
            name = name_of(node.func)
            method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            if name in REFUSED_CALLS or method in REFUSED_METHODS:
                yield name


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_is_unpickled_or_extracted(path: Path) -> None:
    assert list(unsafe(code_of(path))) == []


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from joblib import load",
        "from torch import load",
        "x = torch.load(p)",
        "np.load(p)",
        "f(p, allow_pickle=True)",
        "torch.hub.load(p, weights_only=False)",
        "archive.extractall(p)",
        "eval(text)",
        "pd.read_pickle(p)",
    ],
)
def test_what_is_unsafe_is_found(code: str) -> None:
    assert list(unsafe(code))


def test_every_requirement_is_pinned_and_hashed() -> None:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    pins = [line for line in lines if line.strip() and not line.startswith("#")]
    assert len(pins) > 50
    for line in pins:
        assert re.match(r"[A-Za-z0-9._-]+(\[[a-z,]+\])?==[^ ;]+", line), line
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", line), line
        assert not re.search(r"https?://|git\+|--(extra-)?index-url|--find-links", line), line


def test_installing_checks_hashes_and_builds_nothing_from_an_index() -> None:
    installs = [line for line in (ROOT / "setup.sh").read_text(encoding="utf-8").splitlines() if "pip install" in line]
    assert installs
    for line in installs:
        assert "--require-hashes" in line or ("--no-deps" in line and "--no-index" in line), line


WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.y*ml"))
MAY_WRITE = {"publish": {"pages", "id-token"}}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda p: p.name)
def test_workflows_pin_actions_and_may_do_little(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}
    assert "pull_request_target" not in text
    assert "${{ github.event." not in text  # text from outside in a command
    for name, job in workflow["jobs"].items():
        rights = job.get("permissions", {})
        assert {k for k, v in rights.items() if v != "read"} <= MAY_WRITE.get(name, set()), name
        for step in job["steps"]:
            if uses := step.get("uses"):
                assert re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}", uses), uses
                checkout = uses.startswith("actions/checkout@")
                assert not checkout or step["with"]["persist-credentials"] is False


def test_there_are_workflows() -> None:
    assert WORKFLOWS
