"""A real Slurm of one node in a temporary folder: own key, socket and ports, gone after the test.

Nothing of it lies in a system folder, so a Slurm that is already there is not disturbed.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

PROGRAMS = ("munged", "slurmctld", "slurmd", "srun")
SYSTEM = "/usr/sbin:/usr/bin:/sbin:/bin"  # where Debian has them
PATIENCE = 300  # seconds; a loaded machine needs some

# config_overrides: the jobs' memory is declared, not measured, for a small machine to take them.
CONFIGURATION = """\
ClusterName=sublim
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=5
NodeName=here NodeHostname={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=16000
PartitionName=main Nodes=here Default=YES State=UP
"""


def wait_for(what: str, seen: Callable[[], object], logs: Iterable[Path] = ()) -> object:
    """Return the first true value of `seen`; if none comes, fail with the ends of the logs."""
    deadline = time.monotonic() + PATIENCE
    while not (value := seen()):
        if time.monotonic() > deadline:
            ends = "\n".join(f"--- {path.name}\n{path.read_text()[-3000:]}" for path in logs)
            pytest.fail(f"{what}: not within {PATIENCE} s\n{ends}")
        time.sleep(0.1)
    return value


def free_ports(n: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(n)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def end(process: subprocess.Popen) -> None:
    """End a process, by force if it takes longer than ten seconds."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Slurm:
    """A cluster in a folder: the environment that reaches it, and its jobs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = f"{folder}/bin:{Path(sys.executable).parent}:{os.environ['PATH']}:{SYSTEM}"
        self.environment = {**os.environ, "PATH": path, "SLURM_CONF": f"{folder}/slurm.conf"}

    def ask(self, *command: str) -> str:
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=False, timeout=PATIENCE
        )
        return done.stdout

    def running(self, comment: str) -> str:
        """Return the number of the running job whose comment ends so, "" if there is none."""
        rows = self.ask("squeue", "--noheader", "--states=RUNNING", "--Format=JobID:20,Comment:200").splitlines()
        return next((row.split()[0] for row in rows if row.rstrip().endswith(comment)), "")

    def configure(self) -> None:
        """Write the configuration, the key, and a srun that finds the configuration."""
        at = self.folder
        for name in ("state", "spool", "bin"):
            (at / name).mkdir()
        cpus = len(os.sched_getaffinity(0))
        text = CONFIGURATION.format(folder=at, host=socket.gethostname(), ports=free_ports(2), cpus=cpus)
        (at / "slurm.conf").write_text(text)
        release = self.ask("slurmd", "--version").split()[-1].split(".")
        if tuple(map(int, release[:2])) >= (23, 2):  # older ones don't know the word
            (at / "cgroup.conf").write_text("CgroupPlugin=disabled\n")
        (at / "munge.key").write_bytes(os.urandom(128))
        (at / "munge.key").chmod(0o600)
        # Snakemake's job step drops every SLURM_ variable before it calls srun, SLURM_CONF too.
        srun = f'#!/bin/sh\nSLURM_CONF={at}/slurm.conf exec {shutil.which("srun", path=SYSTEM)} "$@"\n'
        (at / "bin" / "srun").write_text(srun)
        (at / "bin" / "srun").chmod(0o755)

    def start(self, name: str, *flags: str) -> subprocess.Popen:
        """Start a daemon in the foreground, its output in a log."""
        with (self.folder / f"{name}.log").open("wb") as log:
            return subprocess.Popen(
                [shutil.which(name, path=SYSTEM), *flags], env=self.environment, stdout=log, stderr=log
            )

    def cancel_all(self) -> None:
        """Cancel every job and wait until none is left, for a job outlives its daemon."""
        self.ask("scancel", "--user=root")
        wait_for("an empty queue", lambda: not self.ask("squeue", "--noheader"))


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    absent = [name for name in PROGRAMS if not shutil.which(name, path=SYSTEM)]
    if absent:
        pytest.skip(f"no {', '.join(absent)} (Debian: apt-get install slurm-wlm munge)")
    if os.geteuid():
        pytest.skip("Slurm's daemons are to be started as root")
    # Not pytest's folder: a socket's path has at most 107 characters.
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder, contextlib.ExitStack() as daemons:
        cluster, at = Slurm(Path(folder)), Path(folder)
        cluster.configure()
        files = {f"--{name}-file={at}/munge.{name}" for name in ("key", "pid", "log", "seed")}
        for name, flags in {
            "munged": ("--foreground", "--force", f"--socket={at}/munge.socket", *files),
            "slurmctld": ("-D",),
            "slurmd": ("-D",),
        }.items():
            daemons.callback(end, cluster.start(name, *flags))
            if name == "munged":
                wait_for("munge's socket", (at / "munge.socket").exists, [at / "munged.log"])
        logs = [at / f"{name}.log" for name in ("slurmctld", "slurmd")]
        wait_for("an idle node", lambda: "idle" in cluster.ask("sinfo", "--noheader", "--Format=StateLong"), logs)
        daemons.callback(cluster.cancel_all)
        yield cluster
