"""What a chapter's numbers were when it was last looked at, so that a wrong one is noticed.

A chapter's numbers are the claims that it records and the data behind its figures. The committed ones of the smoke
profile, ``notebooks/expected/<chapter>.json``, come with tolerances that are measured: `expect` takes them from several
executions of all chapters, on processors and thread counts that differ. The last cell of a chapter compares, through
nbval in a test, or before the eyes of whoever executes it.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.artist import Artist
from matplotlib.collections import Collection, PathCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from sublim_utils.engine.files import root, write_atomically
from sublim_utils.settings import require

__all__ = [
    "FLOOR",
    "MARGIN",
    "OF_CLAIMS",
    "WATCH",
    "agreement",
    "drawn",
    "expect",
    "expected_path",
    "figures_seen",
    "watch",
]

MARGIN = 4.0
"""A tolerance, in units of the largest difference between the executions, of any number of the same group."""

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")

FLOOR = 2e-2
"""The least tolerance, in units of the group's largest number.

Two executions do not show all that others will: half of a chapter's numbers came out alike in them, and one test image
more or less is a hundredth of an accuracy at chance, of two students with 400 images.
"""

WATCH: list[Figure] = []
"""The figures made since the chapter was opened, in their order."""


def watch(figure: Figure) -> None:
    """Note a new figure: matplotlib's hook ``figure.hooks``."""
    WATCH.append(figure)


OF_CLAIMS = "claims"
"""The gid of a panel that draws claims, which are compared where they are recorded, and not a second time."""


def expected_path(chapter: str) -> Path:
    """Return where a chapter's committed numbers lie."""
    return root() / "notebooks" / "expected" / f"{chapter}.json"


def _data(artist: Artist) -> np.ndarray:
    """Return the points that an artist of a panel is drawn from, (n, 2); of a bar its end."""
    if isinstance(artist, Line2D):
        return np.asarray(artist.get_xydata(), dtype=float)
    if isinstance(artist, Rectangle):
        return np.array([[artist.get_x() + artist.get_width(), artist.get_y() + artist.get_height()]])
    if isinstance(artist, PathCollection):
        return np.asarray(artist.get_offsets(), dtype=float)
    paths = artist.get_paths() if isinstance(artist, Collection) else []
    return np.concatenate([path.vertices for path in paths] or [np.empty((0, 2))])


def drawn(artist: Artist) -> list[float]:
    """Return the means and the standard deviations of an artist's finite points, x and y: 4 numbers, or none."""
    points = _data(artist)
    points = points[np.isfinite(points).all(-1)]
    return [*points.mean(0), *points.std(0)] if len(points) else []


def figures_seen(figures: Iterable[Figure]) -> Iterator[tuple[str, list[float]]]:
    """Yield what each panel's artists are drawn from, by name: "figure 2, panel 1, line 3"; an image's mean and sd."""
    for f, figure in enumerate(figures, 1):
        for p, ax in enumerate(figure.axes, 1):
            if ax.get_gid() == OF_CLAIMS:
                continue
            kinds = {"line": ax.lines, "area": ax.collections, "bar": ax.patches}
            for kind, artists in kinds.items():
                for a, artist in enumerate(artists, 1):
                    if numbers := drawn(artist):
                        yield f"figure {f}, panel {p}, {kind} {a}", numbers
            for i, image in enumerate(ax.images, 1):
                values = np.ma.filled(image.get_array(), np.nan)
                yield f"figure {f}, panel {p}, image {i}", [float(np.nanmean(values)), float(np.nanstd(values))]


def _seen(rows: Iterable[Mapping[str, object]]) -> dict[str, list[float]]:
    """Return all numbers of a chapter, by what they are of."""
    rows = list(rows)
    claims = {str(row["id"]): [row[k] for k in ("estimate", "ci_low", "ci_high", "n_seeds")] for row in rows}
    criteria = {f"{row['id']}, criterion": _NUMBER.findall(str(row["criterion"])) for row in rows}
    together = {**claims, **criteria, **dict(figures_seen(WATCH))}
    return {name: [float(f"{float(v):.6g}") for v in values] for name, values in together.items() if values}


def agreement(
    path: Path, chapter: str, rows: Iterable[Mapping[str, object]], profile: Mapping[str, object]
) -> str | None:
    """Write a chapter's numbers to `path`; return in a sentence how they compare with the committed ones.

    None, which a page does not show, at another profile than the committed ones'.

    Parameters
    ----------
    rows : of the claims that it recorded
    profile : the scalars that it was executed at
    """
    seen = {"profile": dict(profile), "numbers": _seen(rows)}
    write_atomically(path, (json.dumps(seen, indent=1) + "\n").encode())
    if not seen["numbers"]:
        return "Nothing to compare: all numbers here are other chapters'."
    if not (place := expected_path(chapter)).is_file():
        return f"No expected numbers of this chapter: {place.name} is not in notebooks/expected."
    expected = json.loads(place.read_text(encoding="utf-8"))
    if expected["profile"] != seen["profile"]:
        return None
    wrong = list(_departures(expected["numbers"], seen["numbers"]))
    if wrong:
        return "Differs from the committed smoke run: " + "; ".join(wrong)
    count = sum(len(entry["values"]) for entry in expected["numbers"].values())
    return f"Agrees with the committed smoke run: {count} numbers, each within its measured tolerance."


def _departures(expected: Mapping[str, Mapping], seen: Mapping[str, Sequence[float]]) -> Iterator[str]:
    """Yield what is lacking, new, or further from what is expected than its tolerance."""
    for name in sorted(expected.keys() | seen.keys()):
        if name not in seen or name not in expected:
            yield f"{name} is {'lacking' if name in expected else 'new'}"
            continue
        values, tolerance = np.array(expected[name]["values"]), expected[name]["tolerance"]
        here = np.array(seen[name])
        if here.shape != values.shape or not (np.abs(here - values) <= tolerance).all():
            yield f"{name} is {here.tolist()}, not {values.tolist()} within {tolerance}"


def _tolerance(executions: np.ndarray) -> float:
    """Return the tolerance of a group of numbers from its executions (execution, number)."""
    return float(f"{max(MARGIN * np.ptp(executions, axis=0).max(), FLOOR * np.abs(executions).max()):.3g}")


def expect(folders: Sequence[Path]) -> list[Path]:
    """Write every chapter's expected numbers, those of the first folder, from the executions in several.

    A folder is one of results in which all chapters were executed at the smoke profile.

    Raises
    ------
    SettingsError
        If there are fewer than two folders, or they don't hold the same chapters and numbers at the same profile.
    """
    require("folders", [str(f) for f in folders], len(folders) > 1, "two or more, executed on different processors")
    names = [sorted(path.name for path in (folder / "seen").glob("*.json") if _has_numbers(path)) for folder in folders]
    require("chapters", names[1:], bool(names[0]) and all(n == names[0] for n in names), f"the same in all: {names[0]}")
    return [_expect_chapter(Path(name).stem, folders) for name in names[0]]


def _has_numbers(path: Path) -> bool:
    return bool(json.loads(path.read_text(encoding="utf-8"))["numbers"])


def _expect_chapter(chapter: str, folders: Sequence[Path]) -> Path:
    """Write one chapter's expected numbers; return where."""
    runs = [json.loads((folder / "seen" / f"{chapter}.json").read_text(encoding="utf-8")) for folder in folders]
    first = runs[0]
    alike = all(r["profile"] == first["profile"] and r["numbers"].keys() == first["numbers"].keys() for r in runs)
    require("numbers", chapter, alike, "the same ones, at the same profile, in all folders")
    groups = {name: np.array([run["numbers"][name] for run in runs]) for name in first["numbers"]}
    numbers = {name: {"values": g[0].tolist(), "tolerance": _tolerance(g)} for name, g in groups.items()}
    how = (
        f"values of the first of {len(runs)} executions on different processors and thread counts; a tolerance is "
        f"{MARGIN:g} times the largest difference of its group between them, at least {FLOOR:g} of the largest number"
    )
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(entry)}" for name, entry in numbers.items())
    about = (
        f'{{"how": {json.dumps(how)},\n "profile": {json.dumps(first["profile"])},\n "numbers": {{\n{lines}\n }}}}\n'
    )
    write_atomically(expected_path(chapter), about.encode())
    return expected_path(chapter)
