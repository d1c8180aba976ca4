"""How a run was made: what a reader needs to know to make it again."""

import datetime
import json
import platform
import subprocess
from functools import lru_cache
from pathlib import Path

import torch

from sublim_utils.store import ENGINE


@lru_cache
def commit() -> str:
    """Return the commit of the checkout this package lies in, "-dirty" if it was changed; "unknown" elsewhere."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip()


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
