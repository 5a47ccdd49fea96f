"""What the collection's table promises to the people around a beamline."""

from __future__ import annotations

import pytest

from fsmcollect.machines.collection import COLLECTION, Event, State
from fsmcollect.machines.table import Outcome

RUNNING = tuple(state for state in State if state not in COLLECTION.final)
WORKING = tuple(state for state in RUNNING if state not in (State.CLOSING, State.FAULT))


def dest(state: State, event: Event) -> State | None:
    row = COLLECTION.row(state, event)
    return None if row is None else row.dest


def test_a_collection_goes_from_idle_to_idle() -> None:
    state, way = State.IDLE, [State.IDLE]
    for event in (Event.START, Event.MOUNTED, Event.CENTRED, Event.COLLECTED, Event.SAFE):
        there = dest(state, event)
        assert there is not None
        state = there
        way.append(state)
    spine = [State.MOUNTING, State.CENTRING, State.OSCILLATING, State.CLOSING]
    assert way == [State.IDLE, *spine, State.IDLE]


@pytest.mark.parametrize("state", RUNNING)
def test_a_stop_is_answered_wherever_something_runs_and_makes_the_outcome_aborted(state: State) -> None:
    row = COLLECTION.row(state, Event.ABORT)
    assert row is not None
    assert row.outcome is Outcome.ABORTED
    assert row.dest is (State.FAULT if state is State.FAULT else State.CLOSING)


@pytest.mark.parametrize("event", [Event.FAILED, Event.ABORT, Event.SKIP, Event.CANCELLED, Event.CRASHED])
@pytest.mark.parametrize("state", WORKING)
def test_every_way_out_of_work_leads_through_closing(state: State, event: Event) -> None:
    assert dest(state, event) is State.CLOSING


def test_only_a_verified_closing_ends_in_idle() -> None:
    assert [(row.source, row.event) for row in COLLECTION.rows if row.dest is State.IDLE] == [
        (State.CLOSING, Event.SAFE)
    ]


def test_a_fault_is_latched_until_somebody_acknowledges_it_and_then_closes_again() -> None:
    assert dest(State.CLOSING, Event.UNVERIFIED) is State.FAULT
    leaving = {row.event: row.dest for row in COLLECTION.rows if row.source is State.FAULT and not row.stays}
    assert leaving == {
        Event.ACKNOWLEDGE: State.CLOSING,
        Event.CANCELLED: State.ABANDONED,
        Event.CRASHED: State.ABANDONED,
    }


def test_the_return_of_the_beam_does_not_end_a_persons_hold() -> None:
    assert dest(State.OSCILLATING, Event.BEAM_LOST) is State.HOLDING_FOR_BEAM
    assert dest(State.HOLDING_FOR_BEAM, Event.BEAM_BACK) is State.OSCILLATING
    assert dest(State.HOLDING_FOR_BEAM, Event.HOLD) is State.HOLDING
    assert dest(State.HOLDING, Event.BEAM_BACK) is None
    assert dest(State.HOLDING, Event.RESUME) is State.OSCILLATING


def test_a_resume_alone_does_not_bring_the_beam_back() -> None:
    assert dest(State.HOLDING_FOR_BEAM, Event.RESUME) is None


def test_a_stop_is_the_most_urgent_request() -> None:
    assert next(iter(COLLECTION.urgent)) is Event.ABORT


def test_only_a_whole_collection_ends_as_done() -> None:
    assert [row.event for row in COLLECTION.rows if row.outcome is Outcome.DONE] == [Event.COLLECTED]


def test_a_start_is_guarded_by_the_beamline_being_free() -> None:
    row = COLLECTION.row(State.IDLE, Event.START)
    assert row is not None
    assert row.guard == "beamline_claimed"
