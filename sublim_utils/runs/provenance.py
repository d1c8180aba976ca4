"""How a run was made: what a reader needs to know to make it again."""

import datetime
import json
import platform
import subprocess
from functools import lru_cache
from pathlib import Path

import torch
import xarray as xr

from sublim_utils.engine.files import write_atomically
from sublim_utils.runs.addresses import ENGINE
from sublim_utils.runs.packing import joined_attributes
from sublim_utils.runs.store import Store

__all__ = ["commit", "inventory", "provenance", "write_inventory"]


@lru_cache
def commit() -> str:
    """Return the commit of the checkout this package is a part of, "unknown" elsewhere.

    A repository that the package merely lies in, as an environment in another project's folder does, is not its own.
    "-dirty" follows if the package differs from the commit; what else does, such as results that were just packed,
    determines no run.
    """
    package = Path(__file__).resolve().parents[1]

    def git(*arguments: str) -> str:
        run = subprocess.run(["git", *arguments], cwd=package, capture_output=True, text=True, timeout=20, check=True)
        return run.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")
        own = Path(git("rev-parse", "--show-toplevel")).resolve() == package.parent
        changed = git("status", "--porcelain", "--", ".")
        return git("rev-parse", "HEAD") + ("-dirty" if changed else "") if own else "unknown"
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def provenance(device: torch.device, **about: object) -> dict[str, str]:
    """Return what a reader needs to know of how a run was made, as netCDF attributes."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "engine": str(ENGINE),
        "commit": commit(),
        "torch": torch.__version__,
        "device": f"{device.type} ({name}), {torch.get_num_threads()} threads",
        "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **{key: json.dumps(value) for key, value in about.items()},
    }


def inventory(store: Store) -> list[dict[str, object]]:
    """Return what a store holds and how it was made, one row an address.

    Each row has its kind, address, number of runs and the joined attributes of its files: settings and condition,
    device, torch, commits, when, and the mean seconds of a run where they were measured.
    """
    rows = []
    for kind in store.kinds():
        for where in store.addresses(kind):
            parts, runs = [], 0
            for span, path in store.files(kind, where):
                with xr.open_dataset(path, engine="netcdf4") as dataset:
                    parts += [dict(dataset.attrs)] * len(span)
                runs += len(span)
            rows.append({"kind": kind, "address": where, "runs": runs, **joined_attributes(parts)})
    return rows


def write_inventory(results: str | Path) -> None:
    """Write ``<results>/provenance.json``: the store's inventory, a row a line."""
    lines = ",\n".join(json.dumps(row) for row in inventory(Store(Path(results))))
    write_atomically(Path(results) / "provenance.json", f"[\n{lines}\n]\n".encode())
