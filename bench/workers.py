"""Other processes that take part in the alternation: they wait for a line, work, and answer with one.

Only the standard library is imported here: a worker may run under an interpreter without torch.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]


class WorkerError(RuntimeError):
    """A worker ended instead of answering."""


class Worker:
    """A Python process that runs `module`, with `request` and `answer` as JSON lines."""

    def __init__(self, module: str, argument: object, python: str = sys.executable, threads: int = 0) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        if threads:
            environment["OMP_NUM_THREADS"] = str(threads)
        self.process = subprocess.Popen(
            [python, "-m", module, json.dumps(argument)],
            cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def send(self, request: str) -> None:
        """Ask for work, without waiting for it."""
        try:
            self.process.stdin.write(request + "\n")
            self.process.stdin.flush()
        except BrokenPipeError as error:
            raise WorkerError(f"{self.process.args[2]} has ended") from error

    def receive(self) -> object:
        """Wait for the answer."""
        line = self.process.stdout.readline()
        if not line:
            raise WorkerError(f"{self.process.args[2]} ended with exit code {self.process.wait()}")
        return json.loads(line)

    def ask(self, request: str) -> object:
        """Ask for work and wait for the answer."""
        self.send(request)
        return self.receive()

    def close(self) -> None:
        """Let the process end."""
        self.process.stdin.close()
        self.process.wait()


def serve(handlers: Mapping[str, Callable[[], object]]) -> None:
    """Answer requests by their handlers until there are no more."""
    for line in sys.stdin:
        sys.stdout.write(json.dumps(handlers[line.strip()]()) + "\n")
        sys.stdout.flush()
