"""`make setup` with a real pip, in a folder whose package needs nothing, under settings that break pip."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECT = """[project]
name = "hello"
version = "1"
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""
BACKEND = '''"""Build an editable wheel without any package."""
import pathlib, zipfile
def build_editable(folder, *_):
    at = "hello-1.dist-info"
    with zipfile.ZipFile(pathlib.Path(folder, "hello-1-py3-none-any.whl"), "w") as wheel:
        wheel.writestr("hello.pth", str(pathlib.Path.cwd()))
        wheel.writestr(f"{at}/METADATA", "Metadata-Version: 2.1\\nName: hello\\nVersion: 1\\n")
        wheel.writestr(f"{at}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{at}/RECORD", "")
    return "hello-1-py3-none-any.whl"
'''


def set_up(folder: Path, **environment: str) -> str:
    """Run `make setup` with this interpreter; return what it said."""
    base = Path(sys.base_prefix, "bin", f"python{sys.version_info[0]}.{sys.version_info[1]}")
    done = subprocess.run(["make", "--silent", "setup", f"PYTHON={base}"], cwd=folder, capture_output=True, text=True,
                          env={**os.environ, **environment}, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def imported(folder: Path) -> Path:
    """Return the folder of the module that the environment in `folder` imports."""
    command = [str(folder / ".venv" / "bin" / "python"), "-c", "import hello; print(hello.__file__)"]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=True)
    return Path(done.stdout.strip()).parent


def test_it_installs_under_pips_settings_and_a_copy_imports_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "it's here"
    folder.mkdir()
    for name in ("Makefile", "setup.sh"):
        shutil.copy(ROOT / name, folder)
    contents = {"requirements.lock": "", "pyproject.toml": PROJECT, "backend.py": BACKEND, "hello.py": ""}
    for name, text in contents.items():
        (folder / name).write_text(text)
    (tmp_path / "pip.conf").write_text("[global]\nuser = true\n[install]\nuser = true\n")
    in_file = {"PIP_CONFIG_FILE": str(tmp_path / "pip.conf")}
    set_up(folder, **in_file)
    assert imported(folder) == folder
    assert set_up(folder, **in_file) == ""

    copy = shutil.copytree(folder, tmp_path / "copy", symlinks=True)
    theirs = {"PIP_USER": "1", "PIP_REQUIRE_VIRTUALENV": "1", "PIP_REQUIRE_HASHES": "1", "PIP_TARGET": "elsewhere"}
    assert "made anew" in set_up(copy, **theirs, PYTHONPATH="elsewhere")
    assert imported(copy) == copy
