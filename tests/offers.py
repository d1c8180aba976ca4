"""What each module of the package offers: read from its source, and written into it by ``python -m tests.offers``."""

import ast
from itertools import takewhile
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "sublim_utils"
MODULES = sorted(PACKAGE.rglob("*.py"))


def imported(text: str) -> list[str]:
    """Return the modules and names of the package that a source imports, anywhere in it, by their dotted names."""
    names: list[str] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return [name for name in names if name.split(".")[0] == "sublim_utils"]


def _names(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    parts = [one for target in targets for one in (target.elts if isinstance(target, ast.Tuple) else [target])]
    return [one.id for one in parts if isinstance(one, ast.Name)]


def offered(text: str) -> list[str]:
    """Return the public names that a source makes: constants, classes, then functions, each in order."""
    names = {name for node in ast.parse(text).body for name in _names(node) if not name.startswith("_")}
    return sorted(names, key=_order)


def handed_on(text: str) -> list[str]:
    """Return the names that a package's ``__init__`` imports, in the same order."""
    return sorted((name.rpartition(".")[2] for name in imported(text)), key=_order)


def _order(name: str) -> tuple[int, str]:
    return 0 if name.isupper() else 1 if name[0].isupper() else 2, name


def declared(text: str) -> list[str] | None:
    """Return a source's ``__all__``, None if it has none."""
    for node in ast.parse(text).body:
        if _names(node) == ["__all__"]:
            return ast.literal_eval(node.value)
    return None


def written(text: str) -> str:
    """Return a source with its ``__all__`` made anew, after its imports."""
    body, lines = ast.parse(text).body, text.splitlines(keepends=True)
    line = "__all__ = [" + ", ".join(f'"{name}"' for name in offered(text)) + "]\n"
    if old := next((node for node in body if _names(node) == ["__all__"]), None):
        return "".join([*lines[: old.lineno - 1], line, *lines[old.end_lineno :]])
    opening = takewhile(lambda node: isinstance(node, ast.Import | ast.ImportFrom | ast.Expr), body)
    end = max(node.end_lineno or 0 for node in opening)
    return "".join([*lines[:end], "\n", line, *lines[end:]])


if __name__ == "__main__":
    for path in MODULES:
        source = path.read_text(encoding="utf-8")
        if path.name != "__init__.py" and offered(source):
            path.write_text(written(source), encoding="utf-8")
