"""A table that contradicts itself cannot be built, and says everything that is wrong with it."""

from __future__ import annotations

import enum
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsmcollect.errors import TableError
from fsmcollect.machines.collection import COLLECTION
from fsmcollect.machines.table import Outcome, Row, Table, from_each
from fsmcollect.machines.wedge import WEDGE


class State(enum.Enum):
    """A machine with one thing to do and one way out."""

    IDLE = enum.auto()
    WORKING = enum.auto()
    CLOSING = enum.auto()


class Event(enum.Enum):
    """Its events."""

    START = enum.auto()
    DONE = enum.auto()
    SAFE = enum.auto()
    ABORT = enum.auto()
    CANCELLED = enum.auto()
    CRASHED = enum.auto()


class Stranger(enum.Enum):
    """Names that belong to another machine."""

    ELSEWHERE = enum.auto()


S, E = State, Event
ROWS: tuple[Row[Any, Any], ...] = (
    Row(S.IDLE, E.START, S.WORKING, why="asked for"),
    Row(S.WORKING, E.DONE, S.CLOSING, why="all is done", outcome=Outcome.DONE),
    Row(S.WORKING, E.ABORT, S.CLOSING, why="stopped", outcome=Outcome.ABORTED),
    Row(S.CLOSING, E.ABORT, S.CLOSING, why="may be repeated", outcome=Outcome.ABORTED),
    *from_each((S.WORKING, S.CLOSING), E.CANCELLED, S.CLOSING, why="leaving"),
    *from_each((S.WORKING, S.CLOSING), E.CRASHED, S.CLOSING, why="a bug"),
    Row(S.CLOSING, E.SAFE, S.IDLE, why="read back"),
)
GOOD: dict[str, Any] = {
    "name": "toy",
    "initial": S.IDLE,
    "start": E.START,
    "final": frozenset({S.IDLE}),
    "safety": S.CLOSING,
    "urgent": {E.ABORT: frozenset({S.WORKING, S.CLOSING})},
    "cancelled": E.CANCELLED,
    "crashed": E.CRASHED,
    "rows": ROWS,
}


def without(source: State, event: Event) -> tuple[Row[Any, Any], ...]:
    rows = tuple(row for row in ROWS if (row.source, row.event) != (source, event))
    assert len(rows) == len(ROWS) - 1
    return rows


def with_row(source: Any, event: Any, dest: Any, **more: Any) -> dict[str, Any]:
    return {"rows": (*ROWS, Row(source, event, dest, **{"why": "because", **more}))}


def test_a_table_without_defects_is_built_and_answers_from_its_rows() -> None:
    table: Table[Any, Any] = Table(**GOOD)
    assert table.states == tuple(State)
    assert table.events == tuple(Event)
    assert table.active == (S.WORKING, S.CLOSING)
    assert table.row(S.WORKING, E.DONE) is ROWS[1]
    assert table.row(S.IDLE, E.DONE) is None


def test_a_row_that_leads_to_its_own_source_is_a_stay() -> None:
    assert [row.stays for row in ROWS[2:4]] == [False, True]


@pytest.mark.parametrize(
    "change, defect",
    [
        (with_row(Stranger.ELSEWHERE, E.DONE, S.IDLE), "unknown state ELSEWHERE"),
        (with_row(S.IDLE, E.DONE, Stranger.ELSEWHERE), "unknown state ELSEWHERE"),
        (with_row("WORKING", E.DONE, S.IDLE), "unknown state 'WORKING'"),
        (with_row(S.IDLE, Stranger.ELSEWHERE, S.IDLE), "unknown event ELSEWHERE"),
        ({"final": frozenset({S.IDLE, Stranger.ELSEWHERE})}, "unknown state ELSEWHERE"),
        ({"safety": Stranger.ELSEWHERE}, "unknown state ELSEWHERE"),
        ({"urgent": {Stranger.ELSEWHERE: frozenset()}}, "unknown event ELSEWHERE"),
        ({"urgent": {E.ABORT: frozenset({Stranger.ELSEWHERE})}}, "unknown state ELSEWHERE"),
        ({"cancelled": Stranger.ELSEWHERE}, "unknown event ELSEWHERE"),
        ({"crashed": Stranger.ELSEWHERE}, "unknown event ELSEWHERE"),
        (with_row(S.WORKING, E.DONE, S.IDLE), "two rows for WORKING on DONE"),
        (with_row(S.IDLE, E.ABORT, S.IDLE, why=" "), "the row IDLE on ABORT gives no reason"),
        ({"rows": without(S.IDLE, E.START)}, "IDLE does not answer the start event START"),
        ({"rows": without(S.IDLE, E.START)}, "event START is in no row"),
        ({"rows": without(S.IDLE, E.START)}, "state WORKING is unreachable"),
        ({"rows": without(S.WORKING, E.DONE)}, "event DONE is in no row"),
        ({"final": frozenset()}, "no final state"),
        ({"rows": without(S.CLOSING, E.SAFE)}, "event SAFE is in no row"),
        ({"rows": without(S.WORKING, E.ABORT)}, "state WORKING does not answer the urgent event ABORT"),
        ({"rows": without(S.WORKING, E.CANCELLED)}, "state WORKING does not answer CANCELLED"),
        ({"rows": without(S.CLOSING, E.CRASHED)}, "state CLOSING does not answer CRASHED"),
        (with_row(S.WORKING, E.SAFE, S.IDLE), "WORKING ends in IDLE on SAFE without CLOSING"),
    ],
)
def test_every_defect_is_found_and_named(change: dict[str, Any], defect: str) -> None:
    with pytest.raises(TableError, match="table 'toy'") as raised:
        Table(**{**GOOD, **change})
    assert defect in str(raised.value)


def test_all_defects_are_told_at_once() -> None:
    with pytest.raises(TableError) as raised:
        Table(**{**GOOD, "final": frozenset(), "rows": without(S.WORKING, E.ABORT)})
    assert "no final state" in str(raised.value)
    assert "urgent event ABORT" in str(raised.value)


def test_a_state_that_cannot_reach_safety_is_found() -> None:
    rows = tuple(attrs.evolve(row, dest=S.WORKING) if row.source is S.WORKING else row for row in ROWS)
    with pytest.raises(TableError, match="state WORKING has no way to CLOSING"):
        Table(**{**GOOD, "rows": rows})


def test_a_safety_state_that_cannot_be_left_is_found() -> None:
    rows = tuple(attrs.evolve(row, dest=S.CLOSING) if row.event is E.SAFE else row for row in ROWS)
    with pytest.raises(TableError, match="CLOSING"):
        Table(**{**GOOD, "rows": rows})


def test_a_child_machine_needs_a_way_to_an_end_and_no_safety_state() -> None:
    child = {**GOOD, "safety": None}
    assert Table(**child).safety is None
    rows = tuple(attrs.evolve(row, dest=S.CLOSING) if row.event is E.SAFE else row for row in ROWS)
    with pytest.raises(TableError, match="state CLOSING has no way to an end"):
        Table(**{**child, "rows": rows})


@pytest.mark.parametrize("event", [E.ABORT, E.CANCELLED, E.CRASHED])
def test_what_must_always_be_answered_has_no_guard(event: Event) -> None:
    rows = tuple(
        attrs.evolve(row, guard="sometimes") if (row.source, row.event) == (S.WORKING, event) else row for row in ROWS
    )
    with pytest.raises(TableError, match=f"state WORKING answers {event.name} only while 'sometimes' holds"):
        Table(**{**GOOD, "rows": rows})


def test_from_each_makes_a_row_for_every_source() -> None:
    rows = from_each((S.IDLE, S.WORKING), E.ABORT, S.CLOSING, why="stopped", outcome=Outcome.ABORTED)
    assert [(row.source, row.event, row.dest, row.outcome) for row in rows] == [
        (S.IDLE, E.ABORT, S.CLOSING, Outcome.ABORTED),
        (S.WORKING, E.ABORT, S.CLOSING, Outcome.ABORTED),
    ]


# -- chance -----------------------------------------------------------------------------------------------------------


class Letter(enum.Enum):
    """States without a meaning."""

    A = enum.auto()
    B = enum.auto()
    C = enum.auto()
    D = enum.auto()


class Greek(enum.Enum):
    """Events without a meaning."""

    ALPHA = enum.auto()
    BETA = enum.auto()
    GAMMA = enum.auto()
    DELTA = enum.auto()


letters, greeks = st.sampled_from(Letter), st.sampled_from(Greek)
rows_of_chance = st.lists(st.builds(Row, letters, greeks, letters, why=st.just("chance")), min_size=4, max_size=16)
tables_of_chance = st.fixed_dictionaries(
    {
        "name": st.just("chance"),
        "initial": letters,
        "start": greeks,
        "final": st.frozensets(letters, min_size=1, max_size=2),
        "safety": st.none() | letters,
        "urgent": st.dictionaries(greeks, st.frozensets(letters, max_size=2), max_size=1),
        "cancelled": greeks,
        "crashed": greeks,
        "rows": st.one_of(
            rows_of_chance.map(tuple),
            # Total tables (every state answers everything) get past the first checks much more often.
            st.tuples(
                *(st.builds(Row, st.just(s), st.just(e), letters, why=st.just("c")) for s in Letter for e in Greek)
            ),
        ),
    }
)


def reachable(table: Table[Any, Any], origin: enum.Enum) -> set[enum.Enum]:
    found = {origin}
    for _ in table.states:
        found |= {row.dest for row in table.rows if row.source in found}
    return found


@given(tables_of_chance)
def test_a_random_table_is_refused_or_keeps_every_promise(fields: dict[str, Any]) -> None:
    try:
        table: Table[Any, Any] = Table(**fields)
    except TableError:
        return
    pairs = [(row.source, row.event) for row in table.rows]
    assert len(set(pairs)) == len(pairs)
    assert (table.initial, table.start) in pairs
    assert reachable(table, table.initial) == set(Letter)
    for state in Letter:
        if state not in table.final:
            goals = table.final if table.safety is None else {table.safety}
            assert reachable(table, state) & goals
            assert reachable(table, state) & table.final
    for state in table.active:
        assert (state, table.cancelled) in pairs
        assert (state, table.crashed) in pairs
    for event, group in table.urgent.items():
        assert all((state, event) in pairs for state in group)


@given(st.sampled_from([COLLECTION, WEDGE]), st.data())
def test_without_any_one_of_its_rows_a_table_loses_an_edge_and_nothing_else(table: Table[Any, Any], data: Any) -> None:
    lost = data.draw(st.sampled_from(table.rows))
    rows = tuple(row for row in table.rows if row is not lost)
    try:
        smaller = attrs.evolve(table, rows=rows)
    except TableError:
        return
    assert smaller.row(lost.source, lost.event) is None
    assert all(smaller.row(row.source, row.event) is row for row in rows)
