"""Command line: `python -m sublim_utils` and a command; without one it says which there are."""

import argparse
import json
import re
import sys
import warnings
from pathlib import Path

from sublim_utils.engine import data, sources
from sublim_utils.engine.files import write_atomically
from sublim_utils.runs.experiments import EXPERIMENTS
from sublim_utils.runs.filling import DivergenceError, MissingRunsError
from sublim_utils.runs.jobs import JOINT
from sublim_utils.runs.lab import Lab
from sublim_utils.runs.profiles import Profile, profile_parameters
from sublim_utils.runs.store import Store
from sublim_utils.runs.verify import verify
from sublim_utils.settings import N_SEEDS, SettingsError, check_seeds, require

__all__ = ["act", "check", "check_output", "check_results", "fetch", "main", "pack", "parser", "run", "seed_range"]


def parser() -> argparse.ArgumentParser:
    """Return the command line's grammar."""
    root = argparse.ArgumentParser(prog="sublim_utils", description=__doc__)
    commands = root.add_subparsers(dest="command", required=True)
    fetch = commands.add_parser("fetch", help="fetch and check the images")
    fetch.add_argument("task", nargs="*", default=["mnist"], help="mnist, fashion")
    for name, text in (("run", "train what an experiment lacks"), ("execute", "execute a chapter")):
        command = commands.add_parser(name, help=text)
        command.add_argument("what", help="an experiment, or several joined by +" if name == "run" else "a notebook")
        command.add_argument("output", help="manifest of the runs" if name == "run" else "executed notebook")
        command.add_argument("--profiles", default="profiles.toml", help="file of profiles")
        command.add_argument("--profile", default="laptop")
    commands.choices["run"].add_argument("--seeds", help="first:stop, such as 0:10; else all of its tier")
    collect = commands.add_parser("collect", help="join the chapters' claims into claims.json; write provenance.json")
    pages = commands.add_parser("pages", help="write the generated parts of the book's source, and finish its chapters")
    readme = commands.add_parser("readme", help="make the README's table and the first page's figure anew")
    pack = commands.add_parser("pack", help="join the store's runs into small files, to be committed")
    verify = commands.add_parser("verify", help="compute some recorded runs again and compare")
    for command in (collect, pages, readme, pack, verify):
        command.add_argument("results", help="folder of a profile's results")
    pages.add_argument("source", help="the book's source, a copy: chapters in it are changed in place")
    pages.add_argument("notebooks", nargs="*", help="executed notebooks that go with them, to be checked")
    expect = commands.add_parser(
        "expect", help="write the chapters' expected numbers from executions at the smoke profile"
    )
    expect.add_argument("folders", nargs="+", help="folders of results, of different processors or thread counts")
    printed = commands.add_parser("pdf", help="print a built book as one PDF and link it, if there is a browser")
    printed.add_argument("html", help="folder of the built book")
    verify.add_argument("--sample", type=int, default=5, help="how many runs")
    verify.add_argument("--seed", type=int, default=0, help="of the choice of runs")
    return root


def seed_range(text: str) -> list[int]:
    """Return the seeds of "first:stop".

    >>> seed_range("2:5")
    [2, 3, 4]
    """
    match = re.fullmatch(r"([0-9]{1,9}):([0-9]{1,9})", text)
    first, stop = map(int, match.groups()) if match else (0, 0)
    require("seeds", text, 0 <= first < stop <= N_SEEDS, f"first:stop, first < stop <= {N_SEEDS}")
    return check_seeds(range(first, stop))


def check_output(path: Path) -> None:
    """Refuse, before any work, an output that can't be a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    require("output", str(path), not path.is_dir(), "a file's path, and this is a folder")


def check_results(folder: str) -> None:
    """Refuse a folder of results that isn't there."""
    require("results", folder, Path(folder).is_dir(), "an existing folder of results")


def fetch(tasks: list[str]) -> None:
    """Fetch and check the images of some tasks."""
    for task in tasks:
        require("task", task, task in sources.SHA256, f"one of {sorted(sources.SHA256)}")
    for task in tasks:
        data.fetch(task)


def run(what: str, output: Path, parameters: dict[str, object], seeds: str | None) -> None:
    """Train what some experiments lack, "name" or "name+name", and write the manifest of their runs."""
    names = what.split(JOINT)
    for name in names:
        require("experiment", name, name in EXPERIMENTS, f"one of {sorted(EXPERIMENTS)}")
    lab = Lab(Profile.of_parameters(**parameters), str(parameters.get("device", "auto")), trains=True)
    rows = []
    for name in names:
        chosen = list(EXPERIMENTS[name].seeds(lab.profile)) if seeds is None else seed_range(seeds)
        students, left_out = lab.experiments([name], chosen)
        conditions = [str(c) for runs in students.values() for c in runs["condition"].values]
        rows += [{"experiment": name, "seeds": chosen, "conditions": conditions, "left out": left_out.get(name)}]
    write_atomically(output, (json.dumps(rows, indent=1) + "\n").encode())


def pack(results: str) -> None:
    """Join a store's runs into small files."""
    store = Store(Path(results))
    for kind in store.kinds():
        for where in store.addresses(kind):
            store.pack(kind, where)


def check(results: str, sample: int, seed: int) -> int:
    """Compute recorded runs again, say how each compares, and return 1 if any differs."""
    differ = 0
    for one in verify(results, sample, seed):
        sys.stdout.write(f"{one}\n")
        differ += bool(one.beyond)
    sys.stdout.write(f"{sample - differ} of {sample} runs agree with what is recorded\n")
    return int(differ > 0)


def act(arguments: argparse.Namespace) -> int:
    """Do what the command line asks for; return the exit code."""
    if "results" in arguments:
        check_results(arguments.results)
        arguments.results = str(Path(arguments.results).absolute())  # from here on, and not from the book's folder
    if "output" in arguments:
        check_output(Path(arguments.output))
    match arguments.command:
        case "fetch":
            fetch(arguments.task)
        case "run":
            parameters = profile_parameters(arguments.profiles, arguments.profile)
            run(arguments.what, Path(arguments.output), parameters, arguments.seeds)
        case "pack":
            pack(arguments.results)
        case "verify":
            return check(arguments.results, arguments.sample, arguments.seed)
        case _:  # the book's, whose dependencies the others do without
            from sublim_utils.book import commands

            return commands.act(arguments)
    return 0


def main() -> int:
    """Run the command line; return the exit code."""
    warnings.simplefilter("default")
    arguments = parser().parse_args()
    try:
        return act(arguments)
    except (SettingsError, data.DataError, DivergenceError, MissingRunsError, OSError) as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
