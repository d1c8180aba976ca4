"""The kernel of the book's notebooks: this interpreter and this package, and nothing of the user's settings.

Papermill, which executes chapters, and nbval, which tests the committed ones, start the same.
"""

import os
import re
import sys
import tempfile
from pathlib import Path

from jupyter_client import AsyncKernelManager
from jupyter_client import KernelManager as SyncKernelManager
from jupyter_client.kernelspec import KernelSpec

from sublim_utils.engine.data import data_dir

__all__ = ["FOREIGN", "LAUNCH", "ChapterKernelManager", "KernelManager", "environment"]

# A kernel reads its options, start-up files and history in IPYTHONDIR; and more options in folders of the whole system.
LAUNCH = """\
from ipykernel.kernelapp import IPKernelApp
IPKernelApp.load_config_file = lambda *_, **__: None
IPKernelApp.launch_instance()
"""
FOREIGN = re.compile("(I?PYTHON|JUPYTER|MPLBACKEND|MATPLOTLIB).*")
"""Names of what is set for other Pythons, kernels and figures."""


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of the book's kernels, whose IPython writes into `folder`."""
    kept = {name: value for name, value in os.environ.items() if not FOREIGN.fullmatch(name)}
    return {
        **kept,
        "IPYTHONDIR": str(folder),
        "MATPLOTLIBRC": str(Path(__file__).with_name("book.mplstyle")),
        "PYTHONNOUSERSITE": "1",
        "PYTHONPATH": str(Path(__file__).parents[2]),  # the package that starts the kernel, not another copy of it
        "PYTHONUTF8": "1",
        "SUBLIM_DATA": str(data_dir()),  # absolute: the kernel's working directory is another one
    }


class _Own:
    """What the book's kernel managers have in common; they take any kernel's name, and ignore it."""

    def __init__(self, **options: object) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="sublim-kernel-")
        super().__init__(**options, connection_file=str(Path(self._folder.name, "connection.json")))

    @property
    def kernel_spec(self) -> KernelSpec:
        """The command that starts the kernel."""
        options = ("-f", "{connection_file}", "--HistoryManager.enabled=False", "--log-level=ERROR")
        return KernelSpec(argv=[sys.executable, "-c", LAUNCH, *options], language="python")

    async def _async_pre_start_kernel(self, **options: object) -> tuple[list[str], dict[str, object]]:
        options["env"] = environment(Path(self._folder.name))
        return await super()._async_pre_start_kernel(**options)

    async def _async_cleanup_resources(self, restart: bool = False) -> None:
        await super()._async_cleanup_resources(restart)
        if not restart:
            self._folder.cleanup()


class KernelManager(_Own, SyncKernelManager):
    """For nbval."""


class ChapterKernelManager(_Own, AsyncKernelManager):
    """For papermill."""
