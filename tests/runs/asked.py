"""What the chapters ask the paper's record for: run in a process of its own, which may be told to lack instructions.

Of every chapter only those statements are executed that ask the lab for something stored, and what they depend on. That
what they ask for is there, the lab sees to: into the record it computes nothing.
"""

import ast
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from sublim_utils.engine import data
from sublim_utils.runs.profiles import profile_parameters
from sublim_utils.runs.store import Store
from tests import small

ROOT = Path(__file__).parents[2]
ELSEWHERE = {"images", "seeds", "experiment", "experiments", "recorded"}
"""What a lab is asked that is not stored, or that `EXPERIMENTS` tells."""


def statements(notebook: Path) -> list[ast.stmt]:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    code = [c for c in cells if c["cell_type"] == "code" and "parameters" not in c["metadata"].get("tags", [])]
    return ast.parse("\n".join("".join(c["source"]) for c in code)).body


def names(statement: ast.stmt, context: type) -> set[str]:
    return {n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, context)}


def bound(statement: ast.stmt) -> set[str]:
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return {(a.asname or a.name).split(".")[0] for a in statement.names}
    return {statement.name} if isinstance(statement, ast.FunctionDef) else names(statement, ast.Store)


def asks(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.FunctionDef):
        return False
    calls = [n for n in ast.walk(statement) if isinstance(n, ast.Call)]
    given = any(isinstance(a, ast.Name) and a.id == "lab" for c in calls for a in c.args)
    methods = {
        c.func.attr for c in calls
        if isinstance(c.func, ast.Attribute) and isinstance(c.func.value, ast.Name) and c.func.value.id == "lab"
    }  # fmt: skip
    return given or bool(methods - ELSEWHERE)


def needed(body: list[ast.stmt], at: int, found: set[int]) -> None:
    """Add the statements that number `at` depends on, and itself, to those `found`."""
    if at not in found:
        found.add(at)
        for name in names(body[at], ast.Load):
            before = [i for i in range(at) if name in bound(body[i])]
            if before:
                needed(body, before[-1], found)


def chapters() -> Iterator[tuple[Path, list[ast.stmt]]]:
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        body, found = statements(notebook), set()
        for i, statement in enumerate(body):
            if asks(statement):
                needed(body, i, found)
        yield notebook, [body[i] for i in sorted(found)]


def main() -> None:
    loaded, load = set(), Store.load

    def noted(self, kind, where, *args):
        loaded.add((kind, where))
        return load(self, kind, where, *args)

    Store.load, data.load = noted, small.images
    parameters = profile_parameters(ROOT / "profiles.toml", "paper")
    for notebook, body in chapters():
        exec(compile(ast.Module(body, []), str(notebook), "exec"), dict(parameters))
    sys.stdout.write(json.dumps(sorted(loaded)))


if __name__ == "__main__":
    main()
