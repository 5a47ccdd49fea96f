"""Playing points, and what is wrong with how one ended.

Owns what a sweep knows more than the player of one scenario: the undisturbed run. Owns no process (`crew`).
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Protocol

import attrs

from fsmcollect.machines.table import Outcome
from fsmcollect.sim.scenario.values import Scenario
from fsmcollect.simulate.played import Played
from fsmcollect.testing.sweeping.patience import PATIENCE_S, Stuck, within
from fsmcollect.testing.sweeping.points import Kind, Point
from fsmcollect.testing.sweeping.report import RowName

#: Struck here, all is decided: a cancellation waits until it is safe, and changes nothing any more.
_DECIDED = frozenset({"CLOSING", "FAULT", "IDLE", "ABANDONED"})
#: Struck here, there may be nothing left to stop.
_OVER = frozenset({"IDLE", "ABANDONED"})


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


def try_points(base: Base, first: int, points: Sequence[Point], patience_s: float = PATIENCE_S) -> Tried:
    """Play each point.

    Parameters
    ----------
    first : int
        The index of the first of them in the sweep.
    patience_s : float
        A run that takes longer, real time, is interrupted and is wrong (where `within` can).
    """
    wrong: list[Wrong] = []
    states, rows, pairs = Counter[str](), set[RowName](), set[tuple[str, str]]()
    for index, point in enumerate(points, first):
        try:
            played = within(patience_s, functools.partial(base.player, point.of(base.scenario)))
        except (Exception, Stuck) as error:  # noqa: BLE001  (a bug of sequencer or simulator: that is looked for)
            what = f"the run raised {type(error).__name__}: {error}"
            wrong.append(Wrong(index, str(error) if isinstance(error, Stuck) else what, ""))
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
