"""The committed notebooks are tested in the kernel that executes the book's chapters."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat

ROOT = Path(__file__).parents[2]
CODE = 'import matplotlib\n"inline" in matplotlib.get_backend(), matplotlib.rcParams["text.usetex"]'


def test_nbval_runs_without_the_users_settings(tmp_path: Path) -> None:
    output = nbformat.v4.new_output("execute_result", data={"text/plain": "(True, False)"}, execution_count=1)
    cell = nbformat.v4.new_code_cell(CODE, outputs=[output], execution_count=1)
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "one.ipynb")
    shutil.copy(ROOT / "notebooks" / "conftest.py", tmp_path)
    (tmp_path / "rc").write_text("text.usetex: True")
    command = [sys.executable, "-m", "pytest", "-q", "--nbval", "--nbval-current-env", str(tmp_path)]
    theirs = {"MPLBACKEND": "Agg", "MATPLOTLIBRC": str(tmp_path / "rc")}
    done = subprocess.run(command, cwd=tmp_path, env={**os.environ, **theirs, "PYTHONPATH": str(ROOT)},
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
