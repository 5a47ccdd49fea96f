"""Transition tables as frozen data: what may happen, and why.

Owns the shape of a table and every check of one. Owns no behaviour: `engine` keeps the state, `driver` runs the
activities, `diagrams` draws. A wrong table never starts: building it raises `TableError` naming every defect.

Two rules govern the tables:

1. Every edge is a row. There is no edge in code.
2. A row whose destination is its source is a *stay*: the event is heard and recorded, the activity goes on undisturbed.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar

import attrs

from fsmcollect.errors import TableError

S = TypeVar("S", bound=enum.Enum)
E = TypeVar("E", bound=enum.Enum)


class Name(enum.Enum):
    """Base of a table's states and events: members are told apart by identity, also when they are looked up."""

    # Enum's own hash is that of the name, worked out in Python: a third of the cost of a transition's look-ups.
    __hash__ = object.__hash__


class Outcome(enum.IntEnum):
    """How a run ended. Ordered by severity: a run may get worse on its way out, never better."""

    DONE = 0
    SKIPPED = 1
    FAILED = 2
    ABORTED = 3

    def __str__(self) -> str:
        return self.name.lower()


@attrs.frozen
class Row(Generic[S, E]):
    """One edge: in `source`, `event` leads to `dest`, because of `why`.

    `guard` names a predicate that the machine's owner supplies; while it is false the row does not exist.
    `outcome` is what the run's outcome becomes (at least) when the row fires.
    """

    source: S
    event: E
    dest: S
    why: str = attrs.field(kw_only=True)
    guard: str | None = attrs.field(kw_only=True, default=None)
    outcome: Outcome | None = attrs.field(kw_only=True, default=None)

    @property
    def stays(self) -> bool:
        return self.source is self.dest


def from_each(
    sources: Iterable[S], event: E, dest: S, *, why: str, outcome: Outcome | None = None
) -> tuple[Row[S, E], ...]:
    """The same edge out of several states, each a row of its own."""
    return tuple(Row(source, event, dest, why=why, outcome=outcome) for source in sources)


@attrs.frozen(kw_only=True, eq=False)
class Table(Generic[S, E]):
    """A checked transition table.

    Attributes
    ----------
    name : str
        What the diagrams and events call it.
    initial, start : S, E
        Where a run begins and the event that begins it.
    final : frozenset of S
        Where a run has ended. The initial state may be one of them.
    safety : S or None
        The state every way out leads through, shielded from cancellation. None for a child machine: only the root
        makes safe.
    urgent : mapping of E to frozenset of S
        Requests from outside and the states that must answer them, the most urgent first.
    cancelled, crashed : E
        What the driver fires when its task is cancelled from outside, and when an activity has a bug. Every state
        that has an activity answers both.
    rows : tuple of Row
        Every edge.
    """

    name: str
    initial: S
    start: E
    final: frozenset[S]
    urgent: Mapping[E, frozenset[S]]
    cancelled: E
    crashed: E
    rows: tuple[Row[S, E], ...]
    safety: S | None = None
    _index: Mapping[tuple[S, E], Row[S, E]] = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        defects = list(_defects(self))
        if defects:
            raise TableError(f"table {self.name!r}: " + "; ".join(defects))
        object.__setattr__(self, "_index", {(row.source, row.event): row for row in self.rows})

    @property
    def states(self) -> tuple[S, ...]:
        """Every state, in the order of its enum."""
        return tuple(type(self.initial))

    @property
    def events(self) -> tuple[E, ...]:
        """Every event, in the order of its enum."""
        return tuple(type(self.start))

    @property
    def active(self) -> tuple[S, ...]:
        """The states that have an activity: all that are neither the initial one nor final."""
        return tuple(state for state in self.states if state is not self.initial and state not in self.final)

    def row(self, state: S, event: E) -> Row[S, E] | None:
        """The one row that answers `event` in `state`, or None where the table says nothing."""
        return self._index.get((state, event))


def _defects(table: Table[S, E]) -> Iterable[str]:
    """Everything that is wrong with a table, each as a phrase."""
    states, events = type(table.initial), type(table.start)
    yield from _unknown_names(table, states, events)
    seen: set[tuple[S, E]] = set()
    for row in table.rows:
        if (row.source, row.event) in seen:
            yield f"two rows for {_name(row.source)} on {_name(row.event)}"
        seen.add((row.source, row.event))
        if not row.why.strip():
            yield f"the row {_name(row.source)} on {_name(row.event)} gives no reason"
    if (table.initial, table.start) not in seen:
        yield f"{_name(table.initial)} does not answer the start event {_name(table.start)}"
    if not table.final:
        yield "no final state"
    for event in set(events) - {row.event for row in table.rows}:
        yield f"event {_name(event)} is in no row"
    yield from _unreachable(table)
    yield from _no_way_out(table)
    yield from _unanswered(table, seen)


def _unknown_names(table: Table[S, E], states: type[S], events: type[E]) -> Iterable[str]:
    named_states = [s for row in table.rows for s in (row.source, row.dest)]
    named_states += [*table.final, *(s for group in table.urgent.values() for s in group)]
    if table.safety is not None:
        named_states.append(table.safety)
    for state in named_states:
        if not isinstance(state, states):
            yield f"unknown state {_name(state)}"
    for event in [*(row.event for row in table.rows), *table.urgent, table.cancelled, table.crashed]:
        if not isinstance(event, events):
            yield f"unknown event {_name(event)}"


def _unreachable(table: Table[S, E]) -> Iterable[str]:
    reached, edge = {table.initial}, [table.initial]
    while edge:
        state = edge.pop()
        for row in table.rows:
            if row.source is state and row.dest not in reached:
                reached.add(row.dest)
                edge.append(row.dest)
    for state in table.states:
        if state not in reached:
            yield f"state {_name(state)} is unreachable"


def _no_way_out(table: Table[S, E]) -> Iterable[str]:
    """States from which no path leads to the end, or (in a root table) whose way out misses the safety state."""
    goals = [("an end", set(table.final))]
    if table.safety is not None:
        goals.append((_name(table.safety), {table.safety}))
    for goal, ends in goals:
        reaching = _reaching(table, ends)
        for state in table.states:
            if state not in reaching and state not in table.final:
                yield f"state {_name(state)} has no way to {goal}"
    if table.safety is None:
        return
    for row in table.rows:
        if row.source is table.safety or row.dest not in table.final or row.stays:
            continue
        if not any(r.source is table.safety and r.dest is row.source for r in table.rows):
            yield f"{_name(row.source)} ends in {_name(row.dest)} on {_name(row.event)} without {_name(table.safety)}"


def _reaching(table: Table[S, E], ends: set[S]) -> set[S]:
    """Every state from which a path leads into `ends`."""
    reaching, grown = set(ends), True
    while grown:
        grown = False
        for row in table.rows:
            if row.dest in reaching and row.source not in reaching:
                reaching.add(row.source)
                grown = True
    return reaching


def _unanswered(table: Table[S, E], answered: set[tuple[S, E]]) -> Iterable[str]:
    always = [(event, state) for event, group in table.urgent.items() for state in table.states if state in group]
    for event, state in always:
        if (state, event) not in answered:
            yield f"state {_name(state)} does not answer the urgent event {_name(event)}"
    for event in (table.cancelled, table.crashed):
        for state in table.active:
            always.append((event, state))
            if (state, event) not in answered:
                yield f"state {_name(state)} does not answer {_name(event)}"
    for row in table.rows:
        if row.guard is not None and (row.event, row.source) in always:
            yield f"state {_name(row.source)} answers {_name(row.event)} only while {row.guard!r} holds"


def _name(member: object) -> str:
    return member.name if isinstance(member, enum.Enum) else repr(member)
