"""What the stream's table promises to the people who wait for its sets."""

from __future__ import annotations

import pytest

from fsmcollect.machines.stream import STREAM, Event, State
from fsmcollect.machines.table import Outcome

WORKING = (State.DESCRIBING, State.LISTING, State.STREAMING, State.HOLDING)


def dest(state: State, event: Event) -> State | None:
    row = STREAM.row(state, event)
    return None if row is None else row.dest


def test_a_stream_describes_lists_streams_and_closes() -> None:
    state, way = State.IDLE, []
    for event in (Event.START, Event.DESCRIBED, Event.LISTED, Event.STREAMED, Event.CLOSED):
        there = dest(state, event)
        assert there is not None
        state = there
        way.append(state)
    assert way == [State.DESCRIBING, State.LISTING, State.STREAMING, State.CLOSING, State.IDLE]


@pytest.mark.parametrize("event", [Event.FAILED, Event.ABORT, Event.STOP, Event.CANCELLED, Event.CRASHED])
@pytest.mark.parametrize("state", WORKING)
def test_every_way_out_of_work_leads_through_closing(state: State, event: Event) -> None:
    assert dest(state, event) is State.CLOSING


@pytest.mark.parametrize("state", [*WORKING, State.CLOSING])
def test_a_stream_that_was_aborted_never_ends_as_done(state: State) -> None:
    row = STREAM.row(state, Event.ABORT)
    assert row is not None
    assert row.outcome is Outcome.ABORTED


def test_only_closing_ends_a_stream() -> None:
    assert {row.source for row in STREAM.rows if row.dest is State.IDLE} == {State.CLOSING}


def test_sets_that_could_not_be_closed_make_the_stream_fail() -> None:
    row = STREAM.row(State.CLOSING, Event.UNCLOSED)
    assert row is not None
    assert row.outcome is Outcome.FAILED


def test_done_is_what_met_its_criterion_or_was_told_that_it_is_enough() -> None:
    done = {(row.source, row.event) for row in STREAM.rows if row.outcome is Outcome.DONE}
    assert done == {(State.STREAMING, Event.STREAMED), *((state, Event.STOP) for state in WORKING)}


def test_a_hold_is_ended_by_a_resume_alone() -> None:
    assert dest(State.STREAMING, Event.HOLD) is State.HOLDING
    assert [row.source for row in STREAM.rows if row.event is Event.RESUME] == [State.HOLDING]
