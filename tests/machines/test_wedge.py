"""What the wedge's table promises to the collection around it."""

from __future__ import annotations

import pytest

from fsmcollect.machines.wedge import WEDGE, Event, State


def dest(state: State, event: Event) -> State | None:
    row = WEDGE.row(state, event)
    return None if row is None else row.dest


def test_a_wedge_is_armed_run_up_exposed_and_drained_in_this_order() -> None:
    state, way = State.PLANNED, []
    for event in (Event.START, Event.ARMED, Event.AT_SPEED, Event.EXPOSED, Event.DRAINED):
        there = dest(state, event)
        assert there is not None
        state = there
        way.append(state)
    assert way == [State.ARMING, State.RUNNING_UP, State.EXPOSING, State.DRAINING, State.TAKEN]


def test_in_shuttered_mode_each_image_has_a_run_up_of_its_own() -> None:
    assert dest(State.EXPOSING, Event.IMAGE_EXPOSED) is State.RUNNING_UP


@pytest.mark.parametrize("state", WEDGE.active)
def test_whatever_stops_a_wedge_ends_it(state: State) -> None:
    assert dest(state, Event.FAILED) is State.BROKEN
    assert dest(state, Event.CRASHED) is State.BROKEN
    assert dest(state, Event.CANCELLED) is State.INTERRUPTED


def test_a_wedge_makes_nothing_safe_and_decides_no_outcome() -> None:
    assert WEDGE.safety is None
    assert not WEDGE.urgent
    assert [row for row in WEDGE.rows if row.outcome is not None] == []
