"""The goals on two cores, and whether a figure meets one."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Goal:
    """A limit that a figure must reach (`least`) or keep below."""

    limit: float
    unit: str = ""
    least: bool = False

    def verdict(self, value: float) -> str:
        """Return the goal in words and whether `value` meets it; a miss in percent of the goal.

        >>> Goal(2.0, least=True).verdict(1.5)
        'at least 2: missed by 25 %'
        >>> Goal(15.0, " min").verdict(12.0)
        'at most 15 min: met'
        """
        excess = (self.limit - value if self.least else value - self.limit) / self.limit
        outcome = "met" if excess <= 0 else f"missed by {100 * excess:.0f} %"
        return f"at {'least' if self.least else 'most'} {self.limit:g}{self.unit}: {outcome}"


OVER_PUBLIC = Goal(2.0, least=True)
OVER_BEST_OTHER = Goal(1.3, least=True)
TRACKED_OVER_PUBLIC = Goal(1.3)
PRODUCT_SHARE = Goal(80.0, " %", least=True)
LANGUAGE_PLAIN, LANGUAGE_TRACKED = Goal(1.0, least=True), Goal(1.5, least=True)
MEMORY = Goal(1.0, " GB")
HUNDRED_SEEDS = Goal(60.0, " min")
LAPTOP = Goal(15.0, " min")
HUNDRED_SEEDS_GPU = Goal(10.0, " s")


def significant(value: float) -> str:
    """Return three significant digits, never an exponent for what a table holds.

    >>> significant(0.01234), significant(1234.5)
    ('0.0123', '1234')
    """
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:#.3g}".rstrip(".")


def ranged(values: dict[str, float], scale: float = 1.0) -> str:
    """Return a spread as "median (min ... max)".

    >>> ranged({"min": 1.0, "median": 2.0, "max": 4.0})
    '2.00 (1.00 ... 4.00)'
    """
    low, middle, high = (significant(scale * values[k]) for k in ("min", "median", "max"))
    return f"{middle} ({low} ... {high})"


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table; its first column is text, the others are figures."""
    lines = [head, ["---", *("---:" for _ in head[1:])], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
