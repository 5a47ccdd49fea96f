"""Every row of every table can be driven: by what an activity returns, by a request, by a bug, by a cancellation."""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import pytest
import trio

from fsmcollect.machines.driver import Driver
from fsmcollect.machines.engine import Engine
from fsmcollect.machines.table import Row, Table
from tests.table_coverage import TABLES, name_of

EVERY = [(table, row) for table in TABLES for row in table.rows]


def way_to(table: Table[Any, Any], state: enum.Enum) -> list[Row[Any, Any]]:
    """The shortest way from the start, by rows that neither a bug nor a cancellation fires."""
    ways: dict[enum.Enum, list[Row[Any, Any]]] = {table.initial: []}
    edge = deque([table.initial])
    while edge:
        here = edge.popleft()
        for row in table.rows:
            if row.source is here and row.dest not in ways and row.event not in (table.cancelled, table.crashed):
                ways[row.dest] = [*ways[here], row]
                edge.append(row.dest)
    return ways[state]


def way_on(table: Table[Any, Any], state: enum.Enum) -> list[Row[Any, Any]]:
    """From there to an end."""
    ways: dict[enum.Enum, list[Row[Any, Any]]] = {state: []}
    edge = deque([state])
    while edge:
        here = edge.popleft()
        if here in table.final:
            return ways[here]
        for row in table.rows:
            if row.source is here and row.dest not in ways and row.event not in (table.cancelled, table.crashed):
                ways[row.dest] = [*ways[here], row]
                edge.append(row.dest)
    raise AssertionError(f"no way on from {state.name}")


@attrs.define(eq=False)
class Script:
    """Fires the rows in this order, each in the way that its event has."""

    table: Table[Any, Any]
    rows: deque[Row[Any, Any]]
    fired: list[Row[Any, Any]] = attrs.field(init=False, factory=list[Row[Any, Any]])
    driver: Driver[Any, Any] = attrs.field(init=False)
    scope: trio.CancelScope = attrs.field(init=False, factory=trio.CancelScope)

    def __attrs_post_init__(self) -> None:
        guards = {row.guard: lambda: True for row in self.table.rows if row.guard is not None}
        engine = Engine(self.table, guards=guards, log=lambda transition: self.fired.append(transition.row))
        activity: Callable[[], Awaitable[Any]] = self._activity
        self.driver = Driver(engine, dict.fromkeys(self.table.active, activity))

    async def _activity(self) -> enum.Enum:
        row = self.rows.popleft()
        while row.stays and row.event not in (self.table.cancelled, self.table.crashed):
            assert self.driver.request(row.event), "a request that stays was refused"
            row = self.rows.popleft()
        if row.event is self.table.crashed:
            raise ZeroDivisionError("a bug")
        if row.event is self.table.cancelled:
            await self._be_cancelled(row)
        await trio.lowlevel.checkpoint()
        return row.event

    async def _be_cancelled(self, row: Row[Any, Any]) -> None:
        if row.source is not self.table.safety:
            self.scope.cancel()
            return
        # Shielded: no cancellation reaches it. One of its own that it lets out stands for the impossible.
        escaped: list[trio.Cancelled] = []
        with trio.CancelScope() as own:
            own.cancel()
            try:
                await trio.lowlevel.checkpoint()
            except trio.Cancelled as error:
                escaped.append(error)
        raise escaped[0]


@pytest.mark.parametrize(("table", "row"), EVERY, ids=[name_of(table, row) for table, row in EVERY])
async def test_a_row_can_be_driven(table: Table[Any, Any], row: Row[Any, Any]) -> None:
    way = [*way_to(table, row.source), row, *way_on(table, row.dest)]
    script = Script(table, deque(way[1:]))
    with script.scope:
        try:
            await script.driver.run()
        except ZeroDivisionError:
            assert row.event is table.crashed
    if row.source is table.safety and row.event is table.cancelled:
        way.remove(row)  # the driver carries the activity out again and needs no row for that
    assert script.fired == way
    assert not script.rows
    assert script.driver.engine.current in table.final
    outcomes = [fired.outcome for fired in way if fired.outcome is not None]
    assert script.driver.engine.outcome == (max(outcomes) if outcomes else None)
