"""Playing points, and what is wrong with how one ended.

Owns what a sweep knows more than the player of one scenario: the undisturbed run. Owns no process (`crew`).
"""

from __future__ import annotations

import functools
import signal
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import Protocol, TypeVar

import attrs

from fsmcollect.machines.table import Outcome
from fsmcollect.sim.scenario.values import Scenario
from fsmcollect.simulate.played import Played
from fsmcollect.testing.sweeping.points import Kind, Point
from fsmcollect.testing.sweeping.report import RowName

#: Struck here, all is decided: a cancellation waits until it is safe, and changes nothing any more.
_DECIDED = frozenset({"CLOSING", "FAULT", "IDLE", "ABANDONED"})
#: Struck here, there may be nothing left to stop.
_OVER = frozenset({"IDLE", "ABANDONED"})
#: A run takes milliseconds; one that takes so long of real time will never end. Assumed.
PATIENCE_S = 60.0
#: Once it is lost: how often it is told so, for a run that hangs may hang in its clean-up too.
_INSISTS_S = 2.0

T = TypeVar("T")


class Player(Protocol):
    """Plays a scenario: `fsmcollect.simulate.playing.play`."""

    def __call__(self, scenario: Scenario, /) -> Played: ...


@attrs.frozen
class Undisturbed:
    """How the base scenario ends when nothing is added."""

    outcome: Outcome
    safe: bool


@attrs.frozen(kw_only=True)
class Base:
    """What every point is played with; each worker has it once.

    Attributes
    ----------
    undisturbed : mapping of int to Undisturbed
        By schedule.
    """

    scenario: Scenario
    player: Player
    undisturbed: Mapping[int, Undisturbed]


@attrs.frozen
class Wrong:
    """Something wrong with the `index`-th point of the sweep, which has struck in `state`."""

    index: int
    what: str
    state: str


@attrs.frozen(kw_only=True)
class Tried:
    """What came of a batch of points, as small as it can be: it travels between processes."""

    points: int
    wrong: tuple[Wrong, ...]
    states: Mapping[str, int]
    rows: frozenset[RowName]
    pairs: frozenset[tuple[str, str]]


def try_points(base: Base, first: int, points: Sequence[Point], patience_s: float | None = None) -> Tried:
    """Play each point.

    Parameters
    ----------
    first : int
        The index of the first of them in the sweep.
    patience_s : float or None
        A run that takes longer, real time, is interrupted and is wrong. Only in the main thread of a process of one's
        own, whose alarm it takes.
    """
    wrong: list[Wrong] = []
    states, rows, pairs = Counter[str](), set[RowName](), set[tuple[str, str]]()
    for index, point in enumerate(points, first):
        try:
            played = _patiently(functools.partial(base.player, point.of(base.scenario)), patience_s)
        except (Exception, _Stuck) as error:  # noqa: BLE001  (a bug of sequencer or simulator: that is looked for)
            what = f"the run raised {type(error).__name__}: {error}"
            wrong.append(Wrong(index, str(error) if isinstance(error, _Stuck) else what, ""))
            states[""] += 1
            continue
        sentences = [*played.violations, *_misjudged(base, point, played)]
        wrong += [Wrong(index, what, played.struck_in) for what in sentences]
        states[played.struck_in] += 1
        rows |= played.rows
        pairs |= played.pairs
    return Tried(points=len(points), wrong=tuple(wrong), states=states, rows=frozenset(rows), pairs=frozenset(pairs))


def _misjudged(base: Base, point: Point, played: Played) -> list[str]:
    """What only someone who knows the undisturbed run can see."""
    if point.kind in (Kind.CANCEL, Kind.ABORT):
        return _wrong_with_stop(base, point, played)
    if point.kind is Kind.FAULT and not base.scenario.faults and not played.struck_in:
        # The call was made in the undisturbed run; up to it nothing differs.
        return [f"the fault never came to pass, and the undisturbed run has made its call: {point.faults[0]}"]
    return []


def _wrong_with_stop(base: Base, point: Point, played: Played) -> list[str]:
    undisturbed, state = base.undisturbed[point.schedule], played.struck_in
    if not state or any(problem.field.startswith("strike.") for problem in played.never):
        return ["it was never struck, and the undisturbed run has come to this point"]
    wrong: list[str] = []
    is_late = state in (_DECIDED if point.kind is Kind.CANCEL else _OVER)
    # What its operator has asked for before is carried out; whether it was, the player has judged.
    allowed = {Outcome.ABORTED, undisturbed.outcome} if is_late or base.scenario.operator else {Outcome.ABORTED}
    if played.outcome not in allowed:
        wrong.append(f"it was stopped in {state} and ended as {played.outcome}")
    if undisturbed.safe and not played.safe and not base.scenario.faults:
        wrong.append(f"it was stopped in {state} and the beamline could not be verified safe")
    return wrong


class _Stuck(BaseException):
    """Raised within a run that does not end; nothing that expects errors may take it for one."""


def _patiently(run: Callable[[], T], patience_s: float | None) -> T:
    """What `run` returns; raises `_Stuck` where it takes too long."""
    if patience_s is None:
        return run()
    told = f"the run was not over after {patience_s:g} s of real time"
    is_stuck = False

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        nonlocal is_stuck
        is_stuck = True
        raise _Stuck(told)

    signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, patience_s, _INSISTS_S)
    try:
        played = run()
    except BaseException as error:
        if is_stuck:  # whatever trio has made of it
            raise _Stuck(told) from error
        raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
    if is_stuck:
        raise _Stuck(told)
    return played
