"""The engine lets exactly the table's rows happen, and nothing else."""

from __future__ import annotations

import enum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsmcollect.errors import TableError
from fsmcollect.machines.collection import COLLECTION
from fsmcollect.machines.collection import Event as E
from fsmcollect.machines.collection import State as S
from fsmcollect.machines.engine import Engine, IllegalEvent, Transition
from fsmcollect.machines.table import Outcome, Table
from fsmcollect.machines.wedge import WEDGE

AnyTable = Table[Any, Any]
TABLES: tuple[AnyTable, ...] = (COLLECTION, WEDGE)


def engine_of(table: AnyTable, *, allowed: bool = True, log: Any = None) -> Engine[Any, Any]:
    guards = {row.guard: lambda: allowed for row in table.rows if row.guard}
    return Engine(table, guards=guards, log=log)


def path_to(table: AnyTable, goal: enum.Enum) -> list[enum.Enum]:
    """The shortest way there, as events from the initial state."""
    paths: dict[enum.Enum, list[enum.Enum]] = {table.initial: []}
    for _ in table.states:
        for row in table.rows:
            if row.source in paths:
                paths.setdefault(row.dest, [*paths[row.source], row.event])
    return paths[goal]


def engine_in(table: AnyTable, state: enum.Enum, **options: Any) -> Engine[Any, Any]:
    engine = engine_of(table, **options)
    for event in path_to(table, state):
        engine.fire(event)
    assert engine.current is state
    return engine


@pytest.mark.parametrize(
    "table, state, event",
    [pytest.param(t, s, e, id=f"{t.name}-{s.name}-{e.name}") for t in TABLES for s in t.states for e in t.events],
)
def test_exactly_the_rows_fire(table: AnyTable, state: enum.Enum, event: enum.Enum) -> None:
    heard: list[Transition] = []
    engine = engine_in(table, state)
    before, engine.log = engine.outcome, heard.append
    row = table.row(state, event)
    assert engine.answers(event) is row
    if row is None:
        with pytest.raises(IllegalEvent, match=rf"'{table.name}': {event.name} cannot happen in {state.name}"):
            engine.fire(event)
        assert (engine.current, engine.outcome, heard) == (state, before, [])
        return
    assert engine.fire(event) is row.dest
    assert engine.current is row.dest
    assert heard == [Transition(table.name, row, engine.outcome)]


def test_an_event_of_another_machine_is_illegal() -> None:
    from fsmcollect.machines.wedge import Event as WedgeEvent

    engine: Engine[Any, Any] = engine_of(COLLECTION)
    with pytest.raises(IllegalEvent):
        engine.fire(WedgeEvent.START)
    assert engine.current is S.IDLE


def test_a_row_whose_guard_is_false_does_not_exist() -> None:
    engine = engine_of(COLLECTION, allowed=False)
    assert engine.answers(E.START) is None
    with pytest.raises(IllegalEvent):
        engine.fire(E.START)
    assert engine.current is S.IDLE


def test_a_guard_is_asked_every_time() -> None:
    free = False
    engine = Engine(COLLECTION, guards={"beamline_claimed": lambda: free})
    assert engine.answers(E.START) is None
    free = True
    assert engine.fire(E.START) is S.MOUNTING


def test_a_guard_without_a_predicate_is_refused_when_the_engine_is_made() -> None:
    with pytest.raises(TableError, match="no predicate for guard beamline_claimed"):
        Engine(COLLECTION)


def test_two_engines_of_one_table_do_not_share_their_state() -> None:
    one, other = engine_of(COLLECTION), engine_of(COLLECTION, allowed=False)
    one.fire(E.START)
    assert (one.current, other.current) == (S.MOUNTING, S.IDLE)
    assert other.answers(E.START) is None


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_nobody_can_jump_to_a_state_past_the_table(table: AnyTable) -> None:
    engine = engine_of(table)
    for state in table.states:
        assert not hasattr(engine, f"to_{state.name}")
        assert f"to_{state.name}" not in {event.name for event in engine._events}


def test_the_record_says_the_state_before_the_log_is_told() -> None:
    engine = engine_of(COLLECTION)
    seen: list[enum.Enum] = []
    engine.log = lambda transition: seen.append(engine.current)
    engine.fire(E.START)
    engine.fire(E.MOUNTED)
    assert seen == [S.MOUNTING, S.CENTRING]


def test_there_is_no_outcome_before_a_row_gives_one() -> None:
    assert engine_in(COLLECTION, S.OSCILLATING).outcome is None


def test_an_outcome_only_gets_worse() -> None:
    engine = engine_in(COLLECTION, S.OSCILLATING)
    outcomes = []
    for event in (E.COLLECTED, E.UNVERIFIED, E.ACKNOWLEDGE, E.ABORT, E.UNVERIFIED, E.ACKNOWLEDGE, E.SAFE):
        engine.fire(event)
        outcomes.append(engine.outcome)
    done, failed, aborted = Outcome.DONE, Outcome.FAILED, Outcome.ABORTED
    assert outcomes == [done, failed, failed, aborted, aborted, aborted, aborted]


@given(st.sampled_from(TABLES), st.data())
def test_on_any_walk_the_state_is_the_last_row_and_the_outcome_the_worst(table: AnyTable, data: st.DataObject) -> None:
    engine = engine_of(table)
    worst: Outcome | None = None
    for _ in range(data.draw(st.integers(0, 30), label="steps")):
        rows = [row for row in table.rows if row.source is engine.current]
        if not rows:
            break
        row = data.draw(st.sampled_from(rows))
        engine.fire(row.event)
        if row.outcome is not None:
            worst = row.outcome if worst is None else max(worst, row.outcome)
        assert engine.current is row.dest
        assert engine.outcome is worst
