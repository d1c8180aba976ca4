"""The book's kernel is this interpreter with the book's settings, whatever the user's are."""

import json
import sys
from pathlib import Path

import nbformat
import pytest

import sublim_utils
from sublim_utils.book import kernel
from sublim_utils.book.chapters import ChapterError, check_figures

SETTINGS = """
import json, os, sys
import matplotlib
from IPython import get_ipython
from matplotlib_inline.config import InlineBackend
shell = get_ipython()
found = {
    "python": sys.executable,
    "inline": "inline" in matplotlib.get_backend(),
    "tex": matplotlib.rcParams["text.usetex"],
    "interactivity": shell.ast_node_interactivity,
    "resolution": InlineBackend.instance(parent=shell).rc,
    "started": "started" in globals(),
    "history": shell.history_manager.enabled,
    "encoding": sys.flags.utf8_mode,
    "images": os.environ["SUBLIM_DATA"],
}
print(json.dumps(found))
"""


def asked(manager: kernel.KernelManager, code: str, folder: Path) -> str:
    """Start the kernel in `folder`, and return what `code` prints in it."""
    manager.start_kernel(cwd=str(folder))
    client, printed = manager.client(), []
    client.start_channels()
    try:
        client.wait_for_ready(timeout=120)

        def keep(message):
            assert message["msg_type"] != "error", message["content"]
            printed.append(message["content"].get("text", ""))

        client.execute_interactive(code, output_hook=keep, timeout=120)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    return "".join(printed)


@pytest.fixture
def hostile(tmp_path, monkeypatch):
    """Settings of the user's that would change every figure and what cells print."""
    for name in ("profile_default/startup", "kernels/python3"):
        (tmp_path / name).mkdir(parents=True)
    options = 'c.InteractiveShell.ast_node_interactivity = "all"\nc.InlineBackend.rc = {"figure.dpi": 7}\n'
    (tmp_path / "profile_default" / "ipython_config.py").write_text(options)
    (tmp_path / "profile_default" / "startup" / "0.py").write_text("started = True")
    (tmp_path / "start.py").write_text("started = True")
    (tmp_path / "matplotlibrc").write_text("text.usetex: True")
    (tmp_path / "kernels" / "python3" / "kernel.json").write_text(
        json.dumps({"argv": ["/bin/false"], "display_name": "another", "language": "python"})
    )
    for name, value in {
        "MPLBACKEND": "Agg", "MPLCONFIGDIR": tmp_path, "MATPLOTLIBRC": tmp_path / "matplotlibrc",
        "IPYTHONDIR": tmp_path, "JUPYTER_PATH": tmp_path, "JUPYTER_PREFER_ENV_PATH": "0",
        "PYTHONSTARTUP": tmp_path / "start.py", "PYTHONWARNINGS": "error", "SUBLIM_DATA": "some/images",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, str(value))


def test_nothing_of_the_users_reaches_the_kernel(tmp_path, hostile):
    manager = kernel.KernelManager(kernel_name="python3")
    found = json.loads(asked(manager, SETTINGS, tmp_path / "kernels"))
    assert found == {
        "python": sys.executable, "inline": True, "tex": False, "interactivity": "last_expr", "resolution": {},
        "started": False, "history": False, "encoding": 1, "images": str(Path(__file__).parents[2] / "some" / "images"),
    }  # fmt: skip
    assert not Path(manager.connection_file).parent.exists(), "the kernel's own folder is left behind"


def test_the_kernel_imports_the_package_that_starts_it(tmp_path, monkeypatch):
    (tmp_path / "sublim_utils").mkdir()
    (tmp_path / "sublim_utils" / "__init__.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    code = "import importlib.util; print(importlib.util.find_spec('sublim_utils').origin)"
    (tmp_path / "notebooks").mkdir()
    assert asked(kernel.KernelManager(), code, tmp_path / "notebooks").strip() == sublim_utils.__file__


def test_a_figures_cell_without_an_image_is_refused_by_name():
    about = {"mystnb": {"figure": {"name": "fig-one", "caption": "One."}}}
    image = nbformat.v4.new_output("display_data", data={"image/svg+xml": "<svg/>"})
    cells = [nbformat.v4.new_code_cell(outputs=[image], metadata=about), nbformat.v4.new_code_cell("1")]
    check_figures(nbformat.v4.new_notebook(cells=cells))
    text = nbformat.v4.new_output("display_data", data={"text/plain": "<Figure>"})
    cells[0].outputs = [text]
    with pytest.raises(ChapterError, match="fig-one"):
        check_figures(nbformat.v4.new_notebook(cells=cells))
