"""How a figure is taken and printed: medians, each beside the bare floor of the same run."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One line of the table; ``goal`` is the architecture page's, in words."""

    name: str
    value: str
    floor: str
    ratio: str
    goal: str


def median_ms(samples: Sequence[float]) -> float:
    """Return the median of seconds, in milliseconds."""
    return statistics.median(samples) * 1000


def percentile_ms(samples: Sequence[float], percent: float) -> float:
    """Return a percentile of seconds, in milliseconds."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] * 1000


def timed(work: Callable[[], object]) -> float:
    """Return how many seconds ``work`` took."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def print_table(title: str, figures: Sequence[Figure]) -> None:
    """Print the figures of one stack."""
    rows = [("what", "measured", "bare floor", "ratio / overhead", "goal")]
    rows += [(f.name, f.value, f.floor, f.ratio, f.goal) for f in figures]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    print(f"\n{title}")
    for number, row in enumerate(rows):
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        if number == 0:
            print("  " + "  ".join("-" * width for width in widths))
