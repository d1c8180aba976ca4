"""A replication of seconds on real MNIST, its undisturbed result, and ways to run commands on it."""

import gzip
import multiprocessing
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import forkserver
from pathlib import Path
from threading import Thread

import pytest
import xarray as xr

from sublim_utils.engine import data, sources
from sublim_utils.runs.store import Store
from tests.faults import children, tally

ROOT = Path(__file__).parents[2]
# All sizes are multiples of 16, at which a student's last bits don't depend on those trained beside it.
PROFILES = """\
[results]
results = "results"
n_seeds = 3
n_grid_seeds = 2
n_images = 192
batch_size = 64
epochs = 2
full_grid = false
device = "cpu"
"""
PATIENCE = 300  # seconds for one command on a loaded machine
ENVIRONMENT = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "SUBLIM_DATA": str(data.data_dir())}
RUN = ("run", "phenomenon", "manifest.json", "--profiles", "profiles.toml", "--profile", "results")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Write the figures if every test of this folder ran and none failed or was skipped."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    ran = {Path(report.fspath).name for report in reporter.stats.get("passed", [])}
    all_files = {path.name for path in Path(__file__).parent.glob("test_*.py")}
    if not exitstatus and ran == all_files and not {"skipped", "deselected"} & set(reporter.stats):
        tally.write(tally.counts)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what was counted."""
    terminalreporter.write_line(f"faults: {dict(tally.counts)}")


@dataclass(frozen=True)
class Done:
    """A command that ended."""

    code: int
    output: str
    seconds: float

    def failed(self, *mentioned: object) -> str:
        """Check that it ended with code 1 and one line that mentions all this, and return the line."""
        assert self.code == 1, self.output
        assert "Traceback" not in self.output, self.output
        (line,) = re.findall(r"^\w+Error: .*$", self.output, re.MULTILINE)
        for word in mentioned:
            assert str(word) in self.output, (word, self.output)
        return line


class Forked:
    """A forked process with the few methods of `subprocess.Popen` that the tests use."""

    def __init__(self, process: object) -> None:
        self.process = process
        process.start()

    def poll(self) -> int | None:
        return self.process.exitcode

    def kill(self) -> None:
        self.process.kill()

    def wait(self, timeout: float | None = None) -> int | None:
        self.process.join(timeout)
        return self.process.exitcode


@dataclass
class Workplace:
    """A folder with a profiles file, in which commands are run."""

    folder: Path
    forks: object
    n: int = field(default=0)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)
        (self.folder / "profiles.toml").write_text(PROFILES)

    @property
    def store(self) -> Store:
        return Store(self.folder / "results")

    def start(self, *arguments: str) -> subprocess.Popen:
        """Start ``python -m sublim_utils`` as a reader would."""
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "sublim_utils", *arguments],
                cwd=self.folder, env={**os.environ, **ENVIRONMENT}, stdout=log, stderr=log,
            )  # fmt: skip

    @property
    def log(self) -> Path:
        """The output of the forked command started last."""
        return self.folder.parent / f"{self.folder.name}-{self.n}.log"

    def logged(self) -> str:
        """Return the output of all commands so far."""
        logs = [self.folder / "log", *self.folder.parent.glob(f"{self.folder.name}-*.log")]
        return "\n".join(path.read_text() for path in logs if path.exists())

    def forked(self, *arguments: object, faults: tuple = (), **environment: object) -> Forked:
        """Start a command in a forked process."""
        self.n += 1
        given = {name: str(value) for name, value in {**ENVIRONMENT, **environment}.items()}
        words = list(map(str, arguments))
        return Forked(self.forks.Process(target=children.command, args=(words, self.folder, self.log, given, faults)))

    def call(self, *arguments: object, faults: tuple = (), **environment: object) -> Done:
        """Run a command in a forked process and wait for its end."""
        begun, child = time.monotonic(), self.forked(*arguments, faults=faults, **environment)
        if (code := child.wait(PATIENCE)) is None:
            child.kill()
            child.wait()
            pytest.fail(f"{arguments} did not end: {self.log.read_text()}")
        return Done(code, self.log.read_text(), time.monotonic() - begun)

    def numbers(self) -> dict[tuple[str, str, int], dict[str, bytes]]:
        """Return every variable of every run, refusing damaged files and runs that are there twice."""
        found = {}
        for path in (self.folder / "results").glob("*/*/*.nc"):
            kind, where = path.parts[-3:-1]
            spans = {p: span for span, p in self.store.files(kind, where)}
            assert path in spans, f"a reader would have seen {path}, which is not whole"
            assert (kind, where, spans[path][0]) not in found, "a run was trained twice"
            with xr.open_dataset(path, engine="netcdf4") as dataset:
                found[kind, where, spans[path][0]] = {n: v.values.tobytes() for n, v in dataset.variables.items()}
        return found


@pytest.fixture(scope="session")
def no_mounts() -> str:
    """Give this process and its children mounts of their own, which end with them; return why not, or ""."""
    try:
        children.unshare(children.CLONE_NEWNS)
        subprocess.run(["mount", "--make-rprivate", "/"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        return f"mounts of one's own need root: {error}"
    return ""


@pytest.fixture(scope="session")
def forks(no_mounts):
    """A server of child processes that has imported the library once, and no thread."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.faults.children"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *filter(None, sys.path)]))
        patch.setenv("OMP_NUM_THREADS", "1")
        forkserver.ensure_running()
    return context


@pytest.fixture(scope="session")
def mnist():
    """The cache of real MNIST."""
    return data.fetch("mnist")


@pytest.fixture
def place(tmp_path, forks, mnist):
    return Workplace(tmp_path / "here", forks)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory, forks, mnist):
    """The workplace of a run that nothing happened to."""
    place = Workplace(tmp_path_factory.mktemp("undisturbed") / "here", forks)
    done = place.call(*RUN)
    assert done.code == 0, done.output
    place.seconds = done.seconds
    return place


@pytest.fixture(scope="session")
def server(mnist):
    """The URL of a mirror on this machine that serves MNIST."""
    packed = {f"/{name}.gz": gzip.compress((mnist / name).read_bytes(), 1) for name in sources.SHA256["mnist"]}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            content = packed[self.path]
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    Thread(target=http.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{http.server_port}/"
    http.shutdown()
    http.server_close()
