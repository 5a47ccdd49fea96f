"""Sweeps: a scenario played again and again, struck at every point at which it can be.

Owns the order of things: the undisturbed runs, the points that they give, the crew that plays them, the report. Owns no
run (`fsmcollect.simulate.playing`) and no rule (`fsmcollect.sim.checkers`).
"""

from __future__ import annotations

import functools
import operator
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import SupportsIndex

import attrs

from fsmcollect.errors import FsmCollectError, InvalidRequest, Problem
from fsmcollect.sim.scenario import library, reading
from fsmcollect.sim.scenario.values import Scenario, Strike
from fsmcollect.simulate.played import Played
from fsmcollect.simulate.playing import play
from fsmcollect.testing.sweeping.crew import try_all
from fsmcollect.testing.sweeping.patience import PATIENCE_S, Stuck, within
from fsmcollect.testing.sweeping.points import Kind, Point, Wanted, every_point, struck
from fsmcollect.testing.sweeping.replaying import replay
from fsmcollect.testing.sweeping.report import Report, RowName, Violation, coverage, without_repetitions
from fsmcollect.testing.sweeping.trying import Base, Player, Tried, Undisturbed, Wrong

Progress = Callable[[int, int], object]


def sweep(
    scenario: Scenario | str,
    *,
    cancel: bool = True,
    faults: bool = True,
    pairs: int = 0,
    schedules: int = 1,
    limit: int | None = None,
    jobs: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Report:
    """Strike a scenario at every point at which it can be struck, and report what must not be.

    The undisturbed run says which points there are: checkpoints, events, calls of devices. Each point is then a run of
    its own. Equal arguments give equal reports, whatever the number of processes.

    Parameters
    ----------
    scenario : Scenario or str
        A bundled scenario's name, a file's path, or a scenario.
    cancel : bool
        Cancel it at every checkpoint and abort it at every event.
    faults : bool
        Every declared fault at every call of every device.
    pairs : int
        So many random pairs of those faults.
    schedules : int
        All of that in so many orders of tasks that wake together.
    limit : int or None
        At most so many points of each kind (cancelled, aborted, with a fault, with a pair), evenly spread; None tries
        all.
    jobs : int or None
        Processes; None takes as many as there are cores, 1 plays in this process.
    seed : int
        Of the draws of pairs and of points.
    progress : callable, optional
        Told how many points were played, and of how many. What it raises ends the sweep.

    Raises
    ------
    InvalidRequest
        There is no such scenario, or a number is wrong.
    FsmCollectError
        A worker process has died; the undisturbed run does not end.
    """
    _check(pairs=(pairs, 0), schedules=(schedules, 1), limit=(limit, 1), jobs=(jobs, 1))
    base = _read(scenario) if isinstance(scenario, str) else scenario
    return Sweep(
        scenario=base,
        called=scenario if isinstance(scenario, str) else "",
        wanted=Wanted(cancel=cancel, faults=faults, pairs=pairs, limit=limit, seed=seed),
        schedules=schedules,
        jobs=jobs or os.cpu_count() or 1,
    ).run(progress)


def _check(**numbers: tuple[object, int]) -> None:
    problems = [
        Problem(field=name, value=repr(number), allowed=f"must be a whole number, at least {least}")
        for name, (number, least) in numbers.items()
        if number is not None and not (isinstance(number, SupportsIndex) and operator.index(number) >= least)
    ]
    if problems:
        raise InvalidRequest(problems)


def _read(name: str) -> Scenario:
    if name in library.names():
        return library.read(name)
    path = Path(name)
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        allowed = "is neither a bundled scenario nor a file that can be read: `fsmcollect scenarios` lists the former"
        raise InvalidRequest([Problem(field="SCENARIO", value=name, allowed=allowed)]) from error
    return reading.parse_scenario(text, name, name=path.stem)


def _record(scenario: Scenario, /) -> Played:
    return play(scenario, record_calls=True, count_checkpoints=True)


@attrs.define(eq=False, kw_only=True, repr=False)
class Sweep:
    """One sweep.

    Attributes
    ----------
    called : str
        What the command line calls the scenario: its name or its file. Empty where only this process has it.
    player, recording_player : callable
        Play a point, and an undisturbed run: that fills in calls, checkpoints and events.
    """

    scenario: Scenario
    called: str = ""
    wanted: Wanted
    schedules: int = 1
    jobs: int = 1
    player: Player = play
    recording_player: Player = _record
    _states: Counter[str] = attrs.field(init=False, factory=Counter[str])
    _rows: set[RowName] = attrs.field(init=False, factory=set[RowName])
    _pairs: set[tuple[str, str]] = attrs.field(init=False, factory=set[tuple[str, str]])
    _wrong: list[Wrong] = attrs.field(init=False, factory=list[Wrong])
    _done: int = attrs.field(init=False, default=0)

    def run(self, progress: Progress | None = None) -> Report:
        """Play all of it."""
        began_s = time.perf_counter()
        references = [self._undisturbed(schedule) for schedule in range(self.schedules)]
        for reference in references:
            self._rows |= reference.rows
            self._pairs |= reference.pairs
        points = every_point(references, self.wanted)
        base = Base(
            scenario=self.scenario,
            player=self.player,
            undisturbed={n: Undisturbed(reference.outcome, reference.safe) for n, reference in enumerate(references)},
        )

        def told(tried: Tried) -> None:
            self._add(tried)
            if progress is not None:
                progress(self._done, len(points))

        if progress is not None:
            progress(0, len(points))
        try_all(base, points, self.jobs, told)
        kinds = Counter(point.kind for point in points)
        return Report(
            scenario=self.called or self.scenario.name,
            cancel_points=kinds[Kind.CANCEL],
            abort_points=kinds[Kind.ABORT],
            fault_points=kinds[Kind.FAULT],
            pair_points=kinds[Kind.PAIR],
            schedules=self.schedules,
            violations=without_repetitions([*self._of_references(references), *self._of_points(points)]),
            points_by_state=dict(sorted(self._states.items())),
            coverage=coverage(self._rows, self._pairs),
            never=tuple(dict.fromkeys(str(problem) for reference in references for problem in reference.never)),
            seconds=time.perf_counter() - began_s,
            runs=len(references) + len(points),
        )

    def _undisturbed(self, schedule: int) -> Played:
        # A scenario that a sweep has left is swept undisturbed: its own strike is one point of many.
        scenario = struck(self.scenario, (), Strike(schedule=schedule))
        try:
            return within(PATIENCE_S, functools.partial(self.recording_player, scenario))
        except Stuck as stuck:
            raise FsmCollectError(f"undisturbed, and with nothing struck, {stuck}") from stuck

    def _add(self, tried: Tried) -> None:
        self._done += tried.points
        self._states.update(tried.states)
        self._rows |= tried.rows
        self._pairs |= tried.pairs
        self._wrong += tried.wrong

    def _of_references(self, references: Sequence[Played]) -> Iterator[Violation]:
        for schedule, reference in enumerate(references):
            unmet = [f"undisturbed, it does not end as expected: {problem}" for problem in reference.unmet]
            for what in [*reference.violations, *unmet]:
                yield Violation(replay(self.scenario, self.called, (), Strike(schedule=schedule)), what, "")

    def _of_points(self, points: Sequence[Point]) -> Iterator[Violation]:
        for wrong in sorted(self._wrong, key=lambda wrong: wrong.index):
            point = points[wrong.index]
            command = replay(self.scenario, self.called, point.faults, point.strike)
            yield Violation(command, wrong.what, wrong.state)
