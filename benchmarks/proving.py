"""What proofs promise: scenarios each second, and a whole sweep in minutes."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks.figure import RUNS, Figure
from fsmcollect.sim.scenario import library
from fsmcollect.simulate.playing import play
from fsmcollect.testing import sweep

#: Scenarios that are played for one value, and the cores that a whole sweep may use.
PLAYED = 300
CORES = 2


def scenarios() -> Iterator[Figure]:
    """Scenarios from the first call to the verdict, one process: the least there is, and one through every state."""
    yield Figure(name="one still, one core", unit="1/s", at_least=500, values=_played_each_second("one_still"))
    yield Figure(name="two images, robot, ring, hutch", unit="1/s", values=_played_each_second("short"))


def _played_each_second(name: str) -> list[float]:
    scenario = library.read(name)
    values: list[float] = []
    for _ in range(RUNS + 1):
        began_s = time.perf_counter()
        for _ in range(PLAYED):
            played = play(scenario)
            if not played.as_expected:
                raise RuntimeError(f"the benchmark's own scenario went wrong: {played}")
        values.append(PLAYED / (time.perf_counter() - began_s))
    return values[1:]


def whole_sweep() -> Iterator[Figure]:
    """Inverse beam: cancelled at every checkpoint, aborted at every event, every fault and 2,000 pairs of them."""
    report = sweep("inverse_beam", pairs=2000, jobs=CORES)
    if report.violations:
        raise RuntimeError(f"the sequencer is not safe: {report.violations}")
    yield Figure(name=f"inverse beam swept, {CORES} cores", unit="s", at_most=300, values=[report.seconds])
    yield Figure(name="  runs", unit="1/s", values=[report.runs / report.seconds])
