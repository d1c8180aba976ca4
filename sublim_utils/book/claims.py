"""Claims: what is claimed, the criterion fixed beforehand, the estimate, the verdict.

`claims.toml` beside this module registers every claim; a chapter records estimates
against it; ``results/<profile>/claims.json`` is all chapters' records in one list.
"""

import hashlib
import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import xarray as xr

from sublim_utils.analysis.stats import Interval, mean_interval
from sublim_utils.book import regression
from sublim_utils.engine.data import DataError
from sublim_utils.engine.files import write_atomically
from sublim_utils.runs.profiles import Profile, results_folder

__all__ = [
    "SIGNS",
    "VERDICTS",
    "VERDICT_CHAPTER",
    "Claim",
    "Claims",
    "as_json",
    "badge",
    "chapter_link",
    "collect",
    "read",
    "recorded",
    "registered",
]

SIGNS = {"agrees": "✓", "differs": "✗", "inconclusive": "?", "not tested": "–"}
VERDICTS = tuple(SIGNS)
VERDICT_CHAPTER = "verdicts"
"""The chapter of all verdicts: each claim's badge links to its row there."""


def chapter_link(chapter: str, claim: str) -> str:
    """Return where a claim stands in a chapter, as a link that the book's build turns into one between pages.

    >>> chapter_link("verdicts", "C1.x")
    'chapter:verdicts#C1.x'
    """
    return f"chapter:{chapter}#{claim}"


def badge(verdict: str, attributes: str = "") -> str:
    """Return a verdict as a badge in HTML, a link if its attributes say so; mark and word, so it needs no colour.

    >>> badge("agrees")
    '<span class="verdict agrees">✓ agrees</span>'
    """
    tag = "a" if "href" in attributes else "span"
    classes = f"verdict {verdict.replace(' ', '-')}"
    return f'<{tag} class="{classes}"{attributes and " "}{attributes}>{SIGNS[verdict]} {verdict}</{tag}>'


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One claim with the criterion it is judged by and, once recorded, its estimate.

    The criterion is a range [low, high] for the quantity: the verdict is "agrees" if the
    whole interval lies inside, "differs" if it lies outside, "inconclusive" if it straddles
    an end. A claim with neither low nor high is reported and not judged ("not tested").
    A `primary` one was fixed before a run of the seeds that judge it in the record; all else there is exploration.
    An `identity` holds by algebra, or closely at small steps: it checks the code and finds nothing out.
    """

    id: str
    chapter: str
    claim: str
    source: str
    quantity: str
    paper: str
    low: float | None = None
    high: float | None = None
    primary: bool = False
    identity: bool = False
    estimate: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    n_seeds: int = 0

    @property
    def criterion(self) -> str:
        """The criterion in words."""
        if self.low is None and self.high is None:
            return "none: reported only"
        if self.high is None:
            return f"at least {self.low:g}"
        return f"at most {self.high:g}" if self.low is None else f"{self.low:g} to {self.high:g}"

    @property
    def verdict(self) -> str:
        """One of `VERDICTS`."""
        if self.estimate is None or (self.low is None and self.high is None):
            return "not tested"
        low = -np.inf if self.low is None else self.low
        high = np.inf if self.high is None else self.high
        if low <= self.ci_low and self.ci_high <= high:
            return "agrees"
        return "differs" if self.ci_high < low or self.ci_low > high else "inconclusive"

    def margins(self) -> tuple[float, float, float]:
        """Return how far inside the criterion the interval's worse end, the estimate and its better end lie.

        In half-widths of the interval, each from the end of the range it is nearest to or furthest beyond, so that
        the claim agrees if the first is at least 0 and differs if the last is below. An interval of width 0 counts
        as one of tiny width; NaN where there is no criterion.
        """
        values = np.array([self.ci_low, self.estimate, self.ci_high])
        half = max((self.ci_high - self.ci_low) / 2, np.finfo(float).tiny)
        from_low = None if self.low is None else (values - self.low) / half
        from_high = None if self.high is None else (self.high - values[::-1]) / half
        inside = [m for m in (from_low, from_high) if m is not None]
        return tuple(map(float, np.min(inside, axis=0))) if inside else (np.nan,) * 3

    def judged(self, interval: Interval) -> "Claim":
        """Return the claim with its estimate."""
        ends = {"ci_low": interval.low, "ci_high": interval.high}
        return replace(self, estimate=interval.estimate, n_seeds=interval.n, **ends)

    def row(self) -> dict[str, object]:
        """Return what `claims.json` holds of this claim."""
        values = asdict(self)
        del values["low"], values["high"], values["primary"], values["identity"]
        return {**values, "criterion": self.criterion, "verdict": self.verdict}

    def _repr_markdown_(self) -> str:
        value = Interval(self.estimate, self.ci_low, self.ci_high, self.n_seeds)
        row = chapter_link(VERDICT_CHAPTER, self.id)
        link = f'id="{self.id}" href="{row}" title="the row of this claim on the verdict page"'
        return (
            f"{badge(self.verdict, link)} **{self.claim}** (`{self.id}`): "
            f"*{self.quantity}* {value:.3g}; criterion: {self.criterion}."
        )


@lru_cache
def registered() -> dict[str, Claim]:
    """Return every registered claim by its id, without estimates."""
    text = Path(__file__).with_name("claims.toml").read_text(encoding="utf-8")
    return {name: Claim(id=name, **entry) for name, entry in tomllib.loads(text).items()}


def recorded(row: dict[str, object]) -> Claim:
    """Return the claim of a row of ``claims.json``, with the criterion as registered.

    Raises
    ------
    KeyError
        If the claim is not registered.
    """
    estimate = {name: row[name] for name in ("estimate", "ci_low", "ci_high", "n_seeds")}
    return replace(registered()[str(row["id"])], **estimate)


class Claims:
    """A chapter's records, written to ``<results>/claims/<chapter>.json`` as they come."""

    def __init__(self, results: str | Path, chapter: str) -> None:
        self.path = results_folder(results) / "claims" / f"{chapter}.json"
        self.chapter = chapter
        self.rows: dict[str, dict[str, object]] = {}

    def record(self, name: str, values: Interval | Sequence[float] | np.ndarray | xr.DataArray) -> Claim:
        """Record an interval, or one value per seed, for a registered claim; return it judged.

        Raises
        ------
        KeyError
            If the claim is not registered for this chapter.
        ValueError
            As `stats.mean_interval`.
        """
        entry = registered().get(name)
        if entry is None or entry.chapter != self.chapter:
            known = sorted(n for n, c in registered().items() if c.chapter == self.chapter)
            raise KeyError(f"{name!r} is no claim of {self.chapter}; registered are {known}")
        judged = entry.judged(values if isinstance(values, Interval) else mean_interval(values))
        self.rows[name] = judged.row()
        write_atomically(self.path, as_json(self.rows.values()))
        return judged

    def agreement(self, profile: Profile) -> str | None:
        """Return in a sentence whether the chapter's numbers are the committed smoke run's (`regression`).

        None at another profile.
        """
        path = self.path.parents[1] / "seen" / f"{self.chapter}.json"
        scalars = {name: value for name, value in profile.values().items() if name != "results"}
        return regression.agreement(path, self.chapter, self.rows.values(), scalars)


def _sum(row: Mapping[str, object]) -> str:
    text = json.dumps({k: v for k, v in row.items() if k != "sum"}, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def as_json(rows: Iterable[Mapping[str, object]]) -> bytes:
    """Return rows as the bytes of a JSON file, each with the sum of its own content."""
    return (json.dumps([{**row, "sum": _sum(row)} for row in rows], indent=1, allow_nan=False) + "\n").encode()


def read(path: str | Path) -> list[dict[str, object]]:
    """Return the rows of a file that `as_json` wrote.

    Raises
    ------
    DataError
        If the file is damaged; the message names it and says what to do.
    """
    path = Path(path)
    try:
        rows = json.loads(path.read_bytes())
        if not all(row.pop("sum") == _sum(row) and isinstance(row["id"], str) for row in rows):
            raise ValueError("a row is not what its sum says")
        if not (isinstance(rows, list) and path.stat().st_size == len(as_json(rows))):
            raise ValueError("it is not a list of claims as written")
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise DataError(
            f"{path} is damaged ({error}): delete it and make the book again, which executes its chapter anew"
        ) from error
    return rows


def collect(results: str | Path) -> list[dict[str, object]]:
    """Join all chapters' records, in the order of the register, into ``<results>/claims.json``.

    Raises
    ------
    DataError
        As `read`, or if there is no claim: a book without any says nothing.
    """
    records: dict[object, dict[str, object]] = {}
    for path in sorted((Path(results) / "claims").glob("*.json")):
        records |= {row["id"]: row for row in read(path)}
    rows = [records[name] for name in registered() if name in records]
    if not rows:
        raise DataError(f"no claim of any chapter in {Path(results) / 'claims'}: the book would have no verdicts")
    write_atomically(Path(results) / "claims.json", as_json(rows))
    return rows
