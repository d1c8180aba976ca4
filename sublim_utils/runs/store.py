"""The run store: a run lies at its address (`addresses`), and its files check themselves.

Layout: ``<root>/<kind>/<address>/seeds-<first>-<last>.<sha256, 12 digits>.nc``. A file holds
one or more seeds along the dimension ``seed``; its name carries the sum of its bytes, so a
damaged file is known before it is read. Files appear by an atomic rename and never change.
"""

import hashlib
import re
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import xarray as xr

from sublim_utils.engine.files import naming, unfinished
from sublim_utils.runs import packing
from sublim_utils.runs.addresses import check_recorded

__all__ = ["DamagedFileWarning", "Store"]

_NAME = re.compile(r"seeds-(\d{4,})-(\d{4,})\.([0-9a-f]{12})\.nc")


class DamagedFileWarning(UserWarning):
    """A file of the store was not what its name says; it was set aside and counts as missing."""


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def _set_aside(path: Path) -> None:
    """Rename a damaged file and warn of it; where nothing can be renamed the warning says so.

    Raises
    ------
    FileNotFoundError
        If another process was faster.
    """
    aside = path.with_name(f"{path.name}.damaged")
    try:
        path.replace(aside)
        done = f"set aside as {aside.name}"
    except FileNotFoundError:
        raise
    except OSError as error:
        done = f"left where it is ({error.strerror})"
    warnings.warn(f"{path} is damaged; {done}, its runs count as missing", DamagedFileWarning, stacklevel=3)


@dataclass(frozen=True)
class Store:
    """A folder of runs of any kind ("students", "teachers")."""

    root: Path

    def files(self, kind: str, where: str) -> Iterator[tuple[range, Path]]:
        """Yield the intact files of an address with the seeds they span; set damaged ones aside."""
        for path in sorted((self.root / kind / where).glob("*.nc")):
            name = _NAME.fullmatch(path.name)
            try:
                if name is None or _digest(path) != name[3]:
                    _set_aside(path)
                    continue
            except FileNotFoundError:
                continue  # another process has just set it aside, or packed it
            yield range(int(name[1]), int(name[2]) + 1), path

    def seeds(self, kind: str, where: str) -> list[int]:
        """Return the seeds whose runs are there, intact, ascending."""
        return sorted({seed for span, _ in self.files(kind, where) for seed in span})

    def load(
        self, kind: str, where: str, seeds: Sequence[int], asked: Mapping[str, object] | None = None
    ) -> xr.Dataset:
        """Return the runs of `seeds` at an address, joined along the dimension seed.

        Raises
        ------
        KeyError
            If a seed is not there.
        SettingsError
            If a run's settings are not those `asked` for (`addresses.described`).
        """
        wanted, parts = set(seeds), []
        for span, path in self.files(kind, where):
            if mine := sorted(wanted.intersection(span)):
                with xr.open_dataset(path, engine="netcdf4") as dataset:
                    check_recorded(dataset.attrs, asked or {}, path)
                    parts.append(packing.unstacked(dataset.sel(seed=mine).load()))
                wanted.difference_update(mine)
        if wanted:
            raise KeyError(f"no run of seeds {sorted(wanted)} in {self.root / kind / where}")
        joined = parts[0] if len(parts) == 1 else xr.concat(parts, "seed", data_vars="all", combine_attrs="override")
        return joined.sel(seed=list(seeds))

    def save(
        self, kind: str, where: str, dataset: xr.Dataset, encoding: Mapping[str, Mapping[str, object]] | None = None
    ) -> Path:
        """Write a dataset of consecutive seeds atomically and return its path; `encoding` adds to the compression.

        Raises
        ------
        OSError
            If it can't be written; nothing of it is left.
        """
        folder, seeds = self.root / kind / where, dataset["seed"].values
        with naming(folder), unfinished(folder) as temporary:
            small = {"zlib": True, "complevel": 4, "shuffle": True}
            written = {v: {**small, **(encoding or {}).get(str(v), {})} for v in dataset.data_vars}
            try:
                dataset.to_netcdf(temporary, engine="netcdf4", encoding=written)
            except RuntimeError as error:  # so the library reports a full disk
                free = shutil.disk_usage(folder).free
                raise OSError(
                    f"seeds {seeds.tolist()} can't be written to {folder}: {error}; {free} bytes free"
                ) from error
            final = folder / f"seeds-{seeds[0]:04d}-{seeds[-1]:04d}.{_digest(temporary)}.nc"
            temporary.replace(final)
        return final

    def pack(self, kind: str, where: str) -> list[Path]:
        """Join an address's consecutive seeds into packed files, delete what they replace, and return them.

        Killed in between, both lie there and are read alike. Packing what is packed changes nothing.
        """
        packed = []
        for block in packing.blocks(self.seeds(kind, where)):
            old = [path for span, path in self.files(kind, where) if set(span) <= set(block)]
            if len(old) > 1:
                parts = [self.load(kind, where, [seed]) for seed in block]
                joined = packing.stacked(xr.concat(parts, "seed", data_vars="all", combine_attrs="drop"))
                joined.attrs = packing.joined_attributes([part.attrs for part in parts])
                packed.append(self.save(kind, where, joined, packing.rounding(joined)))
                for path in set(old) - set(packed):
                    path.unlink()
        return packed

    def kinds(self) -> list[str]:
        """Return the kinds of run there are, but for weights, which are large and can be trained again."""
        return sorted({path.parent.parent.name for path in self.root.glob("*/*/*.nc")} - {"weights"})

    def addresses(self, kind: str) -> list[str]:
        """Return the addresses of a kind, ascending."""
        return sorted({path.parent.name for path in (self.root / kind).glob("*/*.nc")})
