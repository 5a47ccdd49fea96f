"""Who is told what happens: in order, with the run's own time, and nobody can delay or break the run."""

from __future__ import annotations

import logging

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from fsmcollect.events import Event, EventsLost, Moved, StepDone
from fsmcollect.machines.engine import Transition
from fsmcollect.machines.wedge import WEDGE
from fsmcollect.observers import Observers
from tests.collecting.rehearsing import INVERSE, Play


def tell(observers: Observers, count: int, start: int = 0) -> None:
    for index in range(start, start + count):
        observers.emit(StepDone, step=str(index))


def seen(events: list[Event]) -> list[int]:
    return [int(event.step) if isinstance(event, StepDone) else -1 for event in events]


async def test_every_listener_is_told_every_event_at_once_and_in_order() -> None:
    first: list[Event] = []
    second: list[Event] = []
    observers = Observers([first.append, second.append])
    for index in range(5):
        observers.emit(StepDone, step=str(index))
        assert len(first) == len(second) == index + 1
    assert seen(first) == [0, 1, 2, 3, 4]
    assert all(a is b for a, b in zip(first, second, strict=True))


async def test_time_stamps_are_microseconds_since_the_run_began(autojump_clock: trio.testing.MockClock) -> None:
    events: list[Event] = []
    observers = Observers([events.append])
    for _ in range(2):
        await trio.sleep(3.0)
        observers.begin()
        tell(observers, 1)
        await trio.sleep(1.25)
        tell(observers, 1)
    assert [event.t_us for event in events] == [0, 1_250_000] * 2


async def test_a_row_that_fires_is_told_by_its_names() -> None:
    events: list[Event] = []
    row = WEDGE.rows[0]
    Observers([events.append]).transition(Transition("wedge", row, None))
    assert events == [Moved(t_us=0, machine="wedge", source="PLANNED", event="START", dest="ARMING")]


async def test_one_that_raises_is_dropped_and_logged_and_the_others_hear_everything(
    caplog: pytest.LogCaptureFixture,
) -> None:
    heard: list[Event] = []

    def broken(event: Event) -> None:
        raise ValueError("an observer's bug")

    observers = Observers([broken, heard.append])
    with caplog.at_level(logging.ERROR):
        tell(observers, 3)
    assert seen(heard) == [0, 1, 2]
    assert observers.listeners == [heard.append]
    assert len(caplog.records) == 1
    assert "an observer's bug" in caplog.text


async def test_one_that_leaves_and_raises_is_no_harm() -> None:
    heard: list[Event] = []
    observers = Observers()

    def leaves(event: Event) -> None:
        observers.listeners.remove(leaves)
        raise ValueError("after having left")

    observers.listeners += [leaves, heard.append]
    tell(observers, 2)
    assert seen(heard) == [0, 1]


async def test_one_that_comes_or_goes_in_the_middle_of_an_event_disturbs_nobody() -> None:
    heard: list[Event] = []
    late: list[Event] = []
    observers = Observers()

    def once(event: Event) -> None:
        observers.listeners.remove(once)
        observers.listeners.append(late.append)

    observers.listeners += [once, heard.append]
    tell(observers, 3)
    assert seen(heard) == [0, 1, 2]
    assert seen(late) == [1, 2]


@given(st.lists(st.integers(0, 12), max_size=12), st.integers(1, 5))
def test_a_slow_subscriber_loses_only_its_own_events_and_is_told_how_many(bursts: list[int], room: int) -> None:
    """Told in bursts, it takes one event between two of them; kept and lost ones together are all there were."""
    fast: list[Event] = []
    slow: list[Event] = []

    async def run() -> None:
        observers = Observers([fast.append])
        with observers.subscription(room) as events:
            told = 0
            for burst in bursts:
                tell(observers, burst, told)
                told += burst
                with trio.move_on_after(0.1):
                    slow.append(await anext(events))
            with trio.move_on_after(0.1):
                async for event in events:
                    slow.append(event)

    trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))
    assert seen(fast) == list(range(sum(bursts)))
    expected = 0
    for event in slow:
        if isinstance(event, EventsLost):
            expected += event.count
        else:
            assert seen([event]) == [expected], "a gap that nobody told"
            expected += 1
    assert expected == sum(bursts)


async def test_a_subscription_ends_with_its_block() -> None:
    observers = Observers()
    with observers.subscription() as events:
        tell(observers, 2)
        assert len(observers.listeners) == 1
    assert observers.listeners == []
    assert seen([event async for event in events]) == [0, 1]


def test_a_slow_subscriber_does_not_delay_a_run() -> None:
    alone = Play(INVERSE).run()
    play = Play(INVERSE)
    slow: list[Event] = []

    async def watch() -> None:
        with play.collection.observers.subscription(room=2) as events:
            async for event in events:
                slow.append(event)
                await trio.sleep(5.0)

    play.run(watch)
    play.check("done")
    assert play.simulated.kernel.now_us == alone.simulated.kernel.now_us
    assert len(play.events) == len(alone.events)
    assert any(isinstance(event, EventsLost) for event in slow)


def test_an_observer_that_raises_at_every_event_does_not_touch_a_run() -> None:
    def broken(event: Event) -> None:
        raise RuntimeError("an observer's bug")

    Play(INVERSE, listeners=[broken]).run().check("done")
