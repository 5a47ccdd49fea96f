"""A measured figure and its limit."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import attrs

RUNS = 7


@attrs.frozen(kw_only=True)
class Figure:
    """One measured figure.

    Attributes
    ----------
    values : list of float
        One for each run.
    at_most, at_least : float or None
        The limit; one of them is given, or none for a baseline.
    """

    name: str
    unit: str
    values: list[float]
    at_most: float | None = None
    at_least: float | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def is_met(self) -> bool:
        return (self.at_most is None or self.median < self.at_most) and (
            self.at_least is None or self.median >= self.at_least
        )


def timed(work: Callable[[], object], runs: int = RUNS) -> list[float]:
    """Milliseconds of each run, after one that does not count."""
    work()
    times_ms: list[float] = []
    for _ in range(runs):
        began = time.perf_counter()
        work()
        times_ms.append((time.perf_counter() - began) * 1e3)
    return times_ms
