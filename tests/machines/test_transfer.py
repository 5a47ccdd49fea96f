"""What the transfer's table promises to the stream around it."""

from __future__ import annotations

import pytest

from fsmcollect.machines.transfer import TRANSFER, Event, State


def dest(state: State, event: Event) -> State | None:
    row = TRANSFER.row(state, event)
    return None if row is None else row.dest


def test_a_file_is_fetched_verified_and_registered_in_this_order() -> None:
    state, way = State.QUEUED, []
    for event in (Event.START, Event.FETCHED, Event.VERIFIED, Event.RECORDED):
        there = dest(state, event)
        assert there is not None
        state = there
        way.append(state)
    assert way == [State.FETCHING, State.VERIFYING, State.REGISTERING, State.REGISTERED]


def test_nothing_is_registered_that_was_not_verified() -> None:
    assert {row.source for row in TRANSFER.rows if row.dest is State.REGISTERING} == {State.VERIFYING}
    assert {row.source for row in TRANSFER.rows if row.dest is State.REGISTERED} == {State.REGISTERING}


def test_a_failure_waits_before_it_is_tried_again() -> None:
    assert dest(State.FETCHING, Event.FETCH_FAILED) is State.BACKING_OFF
    assert dest(State.VERIFYING, Event.DOUBTFUL) is State.BACKING_OFF
    assert dest(State.BACKING_OFF, Event.WAITED) is State.FETCHING


@pytest.mark.parametrize("state", TRANSFER.active)
def test_whatever_stops_a_transfer_ends_it(state: State) -> None:
    assert dest(state, Event.CANCELLED) is State.INTERRUPTED
    assert dest(state, Event.CRASHED) is State.GIVEN_UP


def test_a_transfer_closes_nothing_and_decides_no_outcome() -> None:
    assert TRANSFER.safety is None
    assert not TRANSFER.urgent
    assert [row for row in TRANSFER.rows if row.outcome is not None] == []
