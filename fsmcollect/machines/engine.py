"""The keeper of one machine's state: the only place that knows `transitions`.

Synchronous: an event is fired and has its effect, or is refused, before the next line runs. No work is done here and
nothing waits: an exception in a `transitions` callback would leave the new state set, and a queued trigger could be
lost, so the only callbacks are a guard (a predicate) and the record.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Callable, Mapping
from typing import Any, Generic, cast

import attrs
from transitions import EventData, Machine
from transitions import Transition as LibraryTransition

from fsmcollect.errors import TableError
from fsmcollect.machines.table import E, Outcome, Row, S, Table

Guard = Callable[[], bool]


@attrs.frozen
class Transition:
    """A row that has fired: what observers are told."""

    machine: str
    row: Row[Any, Any]
    outcome: Outcome | None


Log = Callable[[Transition], None]


class IllegalEvent(TableError):
    """An event was fired that the table does not allow in this state: a bug in an activity, never a user's fault."""


class _Transition(LibraryTransition):
    """What a table uses of a transition: the guard, the change of state, the record.

    The library walks through eight lists of callbacks and debug messages, all of them empty here: half of its time.
    """

    def execute(self, event_data: EventData) -> bool:
        if not self._eval_conditions(event_data):
            return False
        event_data.machine.set_state(cast("str", self.dest), event_data.model)
        for record in cast("list[Callable[[EventData], None]]", self.after):
            record(event_data)
        return True


class _Machine(Machine):
    transition_cls = _Transition


@functools.cache
def _compiled(table: Table[Any, Any]) -> Mapping[enum.Enum, Any]:
    """One `transitions` machine for each table, shared by every run of it: the state lives in the engine."""
    machine = _Machine(
        model=None,
        states=[state.name for state in table.states],
        initial=table.initial.name,
        auto_transitions=False,
        send_event=True,
        transitions=[
            {
                "trigger": row.event.name,
                "source": row.source.name,
                "dest": row.dest.name,
                "conditions": [functools.partial(_guarded, row)] if row.guard else [],
                "after": functools.partial(_record, row),
            }
            for row in table.rows
        ],
    )
    return {event: machine.events[event.name] for event in table.events}


def _guarded(row: Row[Any, Any], data: EventData) -> bool:
    return cast("Engine[Any, Any]", data.model).guards[row.guard or ""]()


def _record(row: Row[Any, Any], data: EventData) -> None:
    cast("Engine[Any, Any]", data.model)._arrived(row)


@attrs.define(eq=False, slots=False)
class Engine(Generic[S, E]):
    """One machine's present state and outcome.

    `log` is called once for each row that fires, after the state has changed. It must not raise.
    """

    table: Table[S, E]
    guards: Mapping[str, Guard] = attrs.field(factory=dict[str, Guard])
    log: Log | None = None
    current: S = attrs.field(init=False)
    outcome: Outcome | None = attrs.field(init=False, default=None)
    state: str = attrs.field(init=False)
    _events: Mapping[enum.Enum, Any] = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        missing = {row.guard for row in self.table.rows if row.guard} - set(self.guards)
        if missing:
            names = ", ".join(sorted(map(str, missing)))
            raise TableError(f"table {self.table.name!r}: no predicate for guard {names}")
        self.current = self.table.initial
        self.state = self.current.name
        self._events = _compiled(self.table)

    def answers(self, event: E) -> Row[S, E] | None:
        """The row that would fire now, or None: the table says nothing, or the row's guard is false."""
        row = self.table.row(self.current, event)
        if row is None or (row.guard is not None and not self.guards[row.guard]()):
            return None
        return row

    def fire(self, event: E) -> S:
        """Let `event` happen and return the new state.

        Raises
        ------
        IllegalEvent
            The table does not answer `event` in the present state.
        """
        if self.table.row(self.current, event) is None or not self._events[event].trigger(self):
            raise IllegalEvent(f"table {self.table.name!r}: {event.name} cannot happen in {self.current.name}")
        return self.current

    def _arrived(self, row: Row[S, E]) -> None:
        self.current = row.dest
        if row.outcome is not None and (self.outcome is None or row.outcome > self.outcome):
            self.outcome = row.outcome
        if self.log is not None:
            self.log(Transition(self.table.name, row, self.outcome))
