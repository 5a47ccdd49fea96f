"""What a sweep has found: how many points, which violations, and what of the tables it has come through.

Owns the values, what counts as the same violation, and the JSON. Owns no words for people (`fsmcollect.console`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

import attrs

from fsmcollect.machines.collection import COLLECTION
from fsmcollect.machines.wedge import WEDGE
from fsmcollect.sim.faults.values import Effect

#: (machine, source, event) of a row that has fired.
RowName = tuple[str, str, str]
_WHEN = re.compile(r"^at \d+(\.\d+)? s: ")
#: How a sentence on a run's ending begins; the faults that it met follow its last colon.
_ENDED = "it ended as "
_NUMBER = re.compile(r"\d+(\.\d+)?")


@attrs.frozen
class Violation:
    """Something that must not be, and how to see it again.

    Attributes
    ----------
    replay : str
        A shell's command that plays this very run and tells its story.
    what : str
        One sentence, with its simulated time where it has one.
    state : str
        The state that was struck: ``MOUNTING``, ``wedge.EXPOSING``; empty for the undisturbed run.
    times : int
        How many points say the same; `replay` is of the first.
    """

    replay: str
    what: str
    state: str
    times: int = 1


@attrs.frozen
class Covered:
    """How much of something was visited."""

    visited: int
    of: int
    missed: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.visited} of {self.of}"


@attrs.frozen(kw_only=True)
class Coverage:
    """What the runs of a sweep came through, of the tables of collection and wedge.

    Attributes
    ----------
    states : Covered
        Active states: those that have an activity.
    rows : Covered
        Edges.
    fault_x_state : Covered
        Every effect of a fault in force in every active state.
    """

    states: Covered
    rows: Covered
    fault_x_state: Covered


@attrs.frozen(kw_only=True)
class Report:
    """The result of a sweep.

    Attributes
    ----------
    scenario : str
    cancel_points, abort_points, fault_points, pair_points : int
        Disturbed runs of each kind, over all schedules.
    schedules : int
        Orders of tasks.
    violations : tuple of Violation
        Those of the undisturbed runs first; one for all points that say the same.
    points_by_state : mapping of str to int
        Disturbed runs by the state that was struck; empty name: the strike never came to pass.
    coverage : Coverage
    never : tuple of str
        What of the scenario itself (its faults, what its operator does) never came to pass in an undisturbed run.
    seconds : float
        Real time.
    runs : int
        All runs, the undisturbed ones too.
    """

    scenario: str
    cancel_points: int
    abort_points: int
    fault_points: int
    pair_points: int
    schedules: int
    violations: tuple[Violation, ...]
    points_by_state: Mapping[str, int]
    coverage: Coverage
    never: tuple[str, ...] = ()
    seconds: float
    runs: int

    def to_json_dict(self) -> dict[str, object]:
        """What ``fsmcollect sweep --json`` prints."""
        return {
            "scenario": self.scenario,
            "cancel_points": self.cancel_points,
            "abort_points": self.abort_points,
            "fault_points": self.fault_points,
            "pair_points": self.pair_points,
            "schedules": self.schedules,
            "runs": self.runs,
            "seconds": round(self.seconds, 3),
            "violations": [attrs.asdict(violation) for violation in self.violations],
            "points_by_state": dict(self.points_by_state),
            "coverage": attrs.asdict(self.coverage),
            "never": list(self.never),
        }


def gist(what: str) -> str:
    """A violation without its time, its numbers and the faults of an ending: two that differ in these say the same."""
    said = _WHEN.sub("", what)
    if said.startswith(_ENDED):
        said = said.rpartition(": ")[0] or said
    return _NUMBER.sub("#", said)


def without_repetitions(violations: Iterable[Violation]) -> tuple[Violation, ...]:
    """One for all that say the same of the same state: the first, with the count of all.

    What the undisturbed runs say already is counted there, whatever state the point has struck.
    """
    kept: dict[tuple[str, str], Violation] = {}
    for violation in violations:
        of_base, key = ("", gist(violation.what)), (violation.state, gist(violation.what))
        if of_base in kept:
            key = of_base
        first = kept.get(key)
        kept[key] = violation if first is None else attrs.evolve(first, times=first.times + violation.times)
    return tuple(kept.values())


def coverage(rows: Collection[RowName], pairs: Collection[tuple[str, str]]) -> Coverage:
    """What `rows` (that have fired) and `pairs` (of a fault's effect and a state) are of all there are."""
    every_row = {
        (table.name, row.source.name, row.event.name): row.dest.name
        for table in (COLLECTION, WEDGE)
        for row in table.rows
    }
    states = [_state(COLLECTION.name, state.name) for state in COLLECTION.active]
    states += [_state(WEDGE.name, state.name) for state in WEDGE.active]
    visited = {_state(row[0], dest) for row in rows if (dest := every_row.get(row)) is not None}
    return Coverage(
        states=_covered(states, visited),
        rows=_covered(list(map(_row, every_row)), set(map(_row, rows))),
        fault_x_state=_covered(
            [f"{effect.value} in {state}" for effect in Effect for state in states],
            {f"{effect} in {state}" for effect, state in pairs},
        ),
    )


def _state(machine: str, name: str) -> str:
    return name if machine == COLLECTION.name else f"{machine}.{name}"


def _row(row: RowName) -> str:
    machine, source, event = row
    return f"{_state(machine, source)} on {event}"


def _covered(every: Collection[str], visited: Collection[str]) -> Covered:
    missed = tuple(name for name in every if name not in visited)
    return Covered(len(every) - len(missed), len(every), missed)
