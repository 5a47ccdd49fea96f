"""The driver: whatever happens, the way out leads through the safety state, and a stop beats everything."""

from __future__ import annotations

import enum
import signal
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from fsmcollect.errors import DeviceError, TableError
from fsmcollect.machines.collection import COLLECTION
from fsmcollect.machines.collection import Event as E
from fsmcollect.machines.collection import State as S
from fsmcollect.machines.driver import Driver
from fsmcollect.machines.engine import Engine, IllegalEvent, Transition
from fsmcollect.machines.table import Outcome, Row, Table, from_each
from fsmcollect.machines.wedge import WEDGE
from fsmcollect.machines.wedge import Event as WE
from fsmcollect.machines.wedge import State as WS
from tests.cancel_sweep import Case, at_every_checkpoint, repeatable_schedule

Activity = Callable[[], Awaitable[Any]]

WORKING = (S.MOUNTING, S.CENTRING, S.OSCILLATING, S.HOLDING, S.HOLDING_FOR_BEAM)


class Bug(Exception):
    """What no activity expects."""


@attrs.define(eq=False)
class World:
    """A collection with activities that only wait, and what became of it.

    Each state takes a second. `HOLDING` and `FAULT` wait for a request. Tests put other activities in their place.
    """

    activities: dict[S, Activity] = attrs.field(factory=dict)
    beam_off: Activity | None = None
    #: (time in s, words) of what happened.
    trace: list[tuple[float, str]] = attrs.field(factory=list)
    driver: Driver[S, E] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        usual: dict[S, Activity] = {
            S.MOUNTING: self.takes(1, E.MOUNTED),
            S.CENTRING: self.takes(1, E.CENTRED),
            S.OSCILLATING: self.takes(1, E.COLLECTED),
            S.HOLDING: waits,
            S.HOLDING_FOR_BEAM: self.takes(1, E.BEAM_BACK),
            S.CLOSING: self.takes(1, E.SAFE),
            S.FAULT: waits,
        }
        engine = Engine(COLLECTION, guards={"beamline_claimed": lambda: True}, log=self._heard)
        self.driver = Driver(engine, usual | self.activities, beam_off=self.beam_off)

    def takes(self, seconds: float, event: E) -> Activity:
        async def activity() -> E:
            await trio.sleep(seconds)
            return event

        return activity

    def note(self, words: str) -> None:
        self.trace.append((trio.current_time(), words))

    def _heard(self, transition: Transition) -> None:
        self.note(f"{transition.row.event.name}>{transition.row.dest.name}")

    @property
    def way(self) -> list[str]:
        return [words for _, words in self.trace]

    @property
    def outcome(self) -> Outcome | None:
        return self.driver.engine.outcome

    @property
    def state(self) -> S:
        return self.driver.engine.current

    def run(self, *beside: Callable[[], Awaitable[None]]) -> None:
        """Run in virtual time from 0 s, with other tasks beside it."""

        async def main() -> BaseException | None:
            raised = None
            async with trio.open_nursery() as nursery:
                for task in beside:
                    nursery.start_soon(task)
                try:
                    await self.driver.run()
                except Exception as error:
                    raised = error
                nursery.cancel_scope.cancel()
            return raised

        raised = virtually(main)
        if raised is not None:
            raise raised

    def asks(self, at_s: float, *events: E) -> Callable[[], Awaitable[None]]:
        async def person() -> None:
            await trio.sleep(at_s)
            for event in events:
                answer = self.driver.request(event)
                self.note(f"asked {event.name}: {answer}")

        return person


async def waits() -> Any:
    await trio.sleep_forever()


def virtually(main: Callable[..., Awaitable[Any]]) -> Any:
    # trio counts virtual time from 0, so the traces' times are those of the run.
    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def raises(error: BaseException) -> Activity:
    async def activity() -> Any:
        raise error

    return activity


def driver_with(activities: Mapping[S, Activity]) -> Driver[S, E]:
    return World(dict(activities)).driver


#: When the usual activities are in each state that a run comes through on its own.
DURING = {S.MOUNTING: 0.5, S.CENTRING: 1.5, S.OSCILLATING: 2.5, S.CLOSING: 3.5}


# -- the loop ---------------------------------------------------------------------------------------------------------


def test_a_run_enters_each_state_of_the_spine_once_and_ends_as_done() -> None:
    world = World()
    world.run()
    assert world.trace == [
        (0, "START>MOUNTING"),
        (1, "MOUNTED>CENTRING"),
        (2, "CENTRED>OSCILLATING"),
        (3, "COLLECTED>CLOSING"),
        (4, "SAFE>IDLE"),
    ]
    assert world.outcome is Outcome.DONE


def test_the_final_state_is_what_run_returns() -> None:
    world = World()
    assert virtually(world.driver.run) is S.IDLE


def test_a_state_without_an_activity_is_refused_before_anything_runs() -> None:
    with pytest.raises(TableError, match="no activity for RUNNING_UP, EXPOSING"):
        Driver(Engine(WEDGE), {WS.ARMING: waits, WS.DRAINING: waits})


def test_a_start_that_its_guard_refuses_raises_and_can_be_tried_again() -> None:
    world, free = World(), False
    world.driver.engine.guards = {"beamline_claimed": lambda: free}
    with pytest.raises(IllegalEvent, match="START cannot happen in IDLE"):
        world.run()
    assert world.trace == []
    assert not world.driver.request(E.RESUME)
    free = True
    world.run()
    assert world.outcome is Outcome.DONE


def test_a_driver_runs_once() -> None:
    world = World()
    world.run()
    with pytest.raises(IllegalEvent, match="has run before"):
        world.run()
    assert len(world.trace) == 5


# -- requests ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", DURING)
def test_a_stop_is_heard_in_every_state_and_ends_as_aborted(state: S) -> None:
    world = World()
    world.run(world.asks(DURING[state], E.ABORT))
    assert (DURING[state], "ABORT>CLOSING") in world.trace
    assert world.trace[-1][1] == "SAFE>IDLE"
    assert world.outcome is Outcome.ABORTED


@pytest.mark.parametrize("held", [S.HOLDING, S.HOLDING_FOR_BEAM])
def test_a_stop_is_heard_while_the_collection_is_held(held: S) -> None:
    world = World()
    hold = E.HOLD if held is S.HOLDING else E.BEAM_LOST
    world.run(world.asks(2.5, hold), world.asks(2.75, E.ABORT))
    assert world.trace[3:] == [
        (2.5, f"asked {hold.name}: True"),
        (2.5, f"{hold.name}>{held.name}"),
        (2.75, "asked ABORT: True"),
        (2.75, "ABORT>CLOSING"),
        (3.75, "SAFE>IDLE"),
    ]


def test_a_stop_is_heard_in_a_fault_and_does_not_end_it() -> None:
    world = World()
    world.driver.activities = {**world.driver.activities, S.CLOSING: _verified_at_the_second_attempt()}
    world.run(world.asks(10, E.ABORT), world.asks(20, E.ACKNOWLEDGE))
    assert world.way[-6:] == [
        "UNVERIFIED>FAULT",
        "ABORT>FAULT",
        "asked ABORT: True",
        "asked ACKNOWLEDGE: True",
        "ACKNOWLEDGE>CLOSING",
        "SAFE>IDLE",
    ]
    assert world.outcome is Outcome.ABORTED


def _verified_at_the_second_attempt() -> Activity:
    answers = iter([E.UNVERIFIED, E.SAFE])

    async def closing() -> E:
        await trio.lowlevel.checkpoint()
        return next(answers)

    return closing


def test_a_stop_beats_an_outcome_of_the_same_instant() -> None:
    """In every order in which trio may run two tasks that wake together."""
    for seed in range(40):
        world = World()
        with repeatable_schedule(seed):
            world.run(world.asks(3.0, E.ABORT))
        assert world.outcome is Outcome.ABORTED, f"seed {seed}: {world.trace}"
        assert world.state is S.IDLE


def test_a_stop_that_comes_after_the_activity_has_returned_still_wins() -> None:
    world = World()

    async def oscillating() -> E:
        await trio.sleep(1)
        assert world.driver.request(E.ABORT)
        return E.COLLECTED

    world.driver.activities = {**world.driver.activities, S.OSCILLATING: oscillating}
    world.run()
    assert "COLLECTED>CLOSING" not in world.way
    assert world.outcome is Outcome.ABORTED


def test_a_stop_may_be_repeated_at_once_and_changes_nothing() -> None:
    world = World()
    world.run(world.asks(1.5, E.ABORT, E.ABORT, E.ABORT), world.asks(2.0, E.ABORT))
    assert world.way.count("SAFE>IDLE") == 1
    assert world.trace[-1] == (2.5, "SAFE>IDLE")


@given(st.permutations([E.ABORT, E.SKIP, E.BEAM_LOST, E.HOLD]))
def test_of_requests_at_one_instant_the_most_urgent_wins(order: list[E]) -> None:
    world = World()
    world.run(world.asks(2.5, *order))
    assert world.trace[-2:] == [(2.5, "ABORT>CLOSING"), (3.5, "SAFE>IDLE")]


def test_a_request_that_stays_does_not_disturb_the_activity() -> None:
    entered = 0
    world = World()

    async def holding() -> E:
        nonlocal entered
        entered += 1
        return await waits()

    world.driver.activities = {**world.driver.activities, S.HOLDING: holding}
    world.run(world.asks(2.5, E.HOLD), world.asks(3, E.HOLD), world.asks(4, E.HOLD), world.asks(5, E.RESUME))
    assert entered == 1
    assert world.trace[-3:] == [(5, "RESUME>OSCILLATING"), (6, "COLLECTED>CLOSING"), (7, "SAFE>IDLE")]


def test_a_request_without_a_row_answers_false_and_changes_nothing() -> None:
    world = World()
    world.run(world.asks(0.5, E.RESUME, E.HOLD, E.ACKNOWLEDGE))
    assert [words for words in world.way if words.startswith("asked")] == [
        "asked RESUME: False",
        "asked HOLD: False",
        "asked ACKNOWLEDGE: False",
    ]
    assert world.trace[-1] == (4, "SAFE>IDLE")
    assert world.outcome is Outcome.DONE


def test_a_stop_that_comes_before_the_run_ends_it_before_any_activity_has_begun() -> None:
    for event, outcome in ((E.ABORT, Outcome.ABORTED), (E.SKIP, Outcome.SKIPPED)):
        world = World()
        assert world.driver.request(event)
        world.run()
        assert world.outcome is outcome
        assert world.state is S.IDLE
        assert world.way[:2] == ["START>MOUNTING", f"{event.name}>CLOSING"]


def test_before_a_run_only_a_stop_is_kept_and_after_it_every_request_answers_false() -> None:
    world = World()
    assert not any(world.driver.request(event) for event in set(E) - {E.ABORT, E.SKIP})
    world.run()
    assert not any(world.driver.request(event) for event in E)
    assert world.state is S.IDLE
    assert len(world.trace) == 5


def test_a_request_made_while_a_transition_is_told_stops_the_next_activity_before_it_begins() -> None:
    world, begun = World(), []

    async def oscillating() -> E:
        begun.append(trio.current_time())
        return await waits()

    def listener(transition: Transition) -> None:
        world._heard(transition)
        if transition.row.dest is S.OSCILLATING:
            assert world.driver.request(E.ABORT)

    world.driver.activities = {**world.driver.activities, S.OSCILLATING: oscillating}
    world.driver.engine.log = listener
    world.run()
    assert begun == []
    assert world.trace[-2:] == [(2, "ABORT>CLOSING"), (3, "SAFE>IDLE")]


def test_a_stop_made_while_the_start_is_told_is_kept() -> None:
    world = World()

    def listener(transition: Transition) -> None:
        world._heard(transition)
        if transition.row.event is E.START:
            assert world.driver.request(E.ABORT)

    world.driver.engine.log = listener
    world.run()
    assert world.trace == [(0, "START>MOUNTING"), (0, "ABORT>CLOSING"), (1, "SAFE>IDLE")]


# -- the beam ---------------------------------------------------------------------------------------------------------


def slow_to_unwind(world: World, event: E = E.COLLECTED) -> Activity:
    async def activity() -> E:
        try:
            await trio.sleep(1)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(5)
                world.note("unwound")
        return event

    return activity


def world_with_beam(**activities: Activity) -> World:
    world = World()

    async def beam_off() -> None:
        world.note("beam off")

    world.driver.beam_off = beam_off
    world.driver.activities = {**world.driver.activities, S.OSCILLATING: slow_to_unwind(world), **by_state(activities)}
    return world


def by_state(activities: Mapping[str, Activity]) -> dict[S, Activity]:
    return {S[name]: activity for name, activity in activities.items()}


@pytest.mark.parametrize("event", [E.ABORT, E.SKIP, E.HOLD, E.BEAM_LOST])
def test_the_beam_goes_off_at_the_instant_of_an_urgent_request(event: E) -> None:
    world = world_with_beam(HOLDING=World().takes(1, E.FAILED))
    world.run(world.asks(2.5, event))
    assert world.trace.index((2.5, "beam off")) < world.trace.index((7.5, "unwound"))
    assert world.way.count("beam off") == 1


def test_the_beam_goes_off_at_the_instant_of_a_cancellation_from_outside() -> None:
    world = world_with_beam()

    async def main() -> None:
        with trio.move_on_at(2.5):
            await world.driver.run()

    virtually(main)
    assert world.trace[3:] == [
        (2.5, "beam off"),
        (7.5, "unwound"),
        (7.5, "CANCELLED>CLOSING"),
        (8.5, "SAFE>IDLE"),
    ]


def test_a_run_that_nobody_interrupts_sends_no_beam_off_of_its_own() -> None:
    world = world_with_beam()
    world.run()
    assert "beam off" not in world.way


def test_each_hold_turns_the_beam_off_anew() -> None:
    world = world_with_beam(OSCILLATING=World().takes(1, E.COLLECTED))
    world.run(world.asks(2.5, E.HOLD), world.asks(3, E.RESUME), world.asks(3.5, E.HOLD), world.asks(4, E.RESUME))
    assert [at for at, words in world.trace if words == "beam off"] == [2.5, 3.5]
    assert world.outcome is Outcome.DONE


def test_a_shutter_that_refuses_does_not_break_the_way_out() -> None:
    world = world_with_beam()
    world.driver.beam_off = raises(DeviceError("fast_shutter", "no answer"))
    world.run(world.asks(2.5, E.ABORT))
    assert world.trace[-2:] == [(7.5, "ABORT>CLOSING"), (8.5, "SAFE>IDLE")]
    assert world.outcome is Outcome.ABORTED


def test_a_bug_in_the_beam_off_command_is_raised_after_the_way_out() -> None:
    world = world_with_beam()
    world.driver.beam_off = raises(Bug("beam off"))
    with pytest.raises(Bug, match="beam off"):
        world.run(world.asks(2.5, E.ABORT))
    assert world.trace[-2:] == [(7.5, "ABORT>CLOSING"), (8.5, "SAFE>IDLE")]
    assert world.outcome is Outcome.ABORTED


@pytest.mark.parametrize("late", [False, True], ids=["at once", "when the hold has begun"])
def test_a_bug_in_the_beam_off_command_of_a_hold_ends_the_run_as_any_bug_does(late: bool) -> None:
    async def beam_off() -> None:
        if late:
            await trio.sleep(0.5)
        raise Bug("beam off")

    world = world_with_beam()
    world.driver.beam_off = beam_off
    with pytest.raises(Bug, match="beam off"):
        world.run(world.asks(2.5, E.HOLD), world.asks(20, E.RESUME))
    assert world.trace[-2][1] == "CRASHED>CLOSING"
    assert world.outcome is Outcome.FAILED


def test_a_beam_off_command_that_never_answers_is_not_waited_for_once_the_beamline_is_safe() -> None:
    world = world_with_beam()
    world.driver.beam_off = waits
    world.run(world.asks(2.5, E.ABORT))
    assert world.trace[-1] == (8.5, "SAFE>IDLE")


# -- bugs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [S.MOUNTING, S.CENTRING, S.OSCILLATING])
@pytest.mark.parametrize("with_beam", [False, True])
def test_a_bug_is_raised_after_the_safety_state_and_the_run_has_failed(state: S, with_beam: bool) -> None:
    bug = Bug("first")
    world = World({state: raises(bug)}, beam_off=waits if with_beam else None)
    with pytest.raises(Bug) as raised:
        world.run()
    assert raised.value is bug
    assert world.way[-2:] == ["CRASHED>CLOSING", "SAFE>IDLE"]
    assert world.outcome is Outcome.FAILED


def test_an_event_that_the_table_does_not_allow_is_a_bug_and_leaves_through_the_safety_state() -> None:
    world = World({S.CENTRING: World().takes(1, E.COLLECTED)})
    with pytest.raises(IllegalEvent, match=r"activity of CENTRING returned Event\.COLLECTED"):
        world.run()
    assert world.way[-2:] == ["CRASHED>CLOSING", "SAFE>IDLE"]


def test_an_activity_that_returns_nothing_is_a_bug_and_leaves_through_the_safety_state() -> None:
    async def forgetful() -> Any:
        await trio.lowlevel.checkpoint()

    world = World({S.CENTRING: forgetful})
    with pytest.raises(IllegalEvent, match="activity of CENTRING returned None"):
        world.run()
    assert world.way[-2:] == ["CRASHED>CLOSING", "SAFE>IDLE"]


def test_a_bug_in_the_safety_state_latches_the_fault() -> None:
    world = World()
    attempts = iter([raises(Bug("closing")), world.takes(1, E.SAFE)])

    async def closing() -> Any:
        return await next(attempts)()

    world.driver.activities = {**world.driver.activities, S.CLOSING: closing}
    with pytest.raises(Bug, match="closing"):
        world.run(world.asks(10, E.ACKNOWLEDGE))
    assert world.way[-4:] == ["CRASHED>FAULT", "asked ACKNOWLEDGE: True", "ACKNOWLEDGE>CLOSING", "SAFE>IDLE"]


def test_of_two_bugs_the_first_is_raised_and_the_second_is_its_note() -> None:
    world = World({S.OSCILLATING: raises(Bug("first")), S.CLOSING: raises(Bug("second"))})
    world.driver.activities = {**world.driver.activities, S.FAULT: raises(Bug("third"))}
    with pytest.raises(Bug, match="first") as raised:
        world.run()
    assert world.state is S.ABANDONED
    assert [note.count(word) for note, word in zip(raised.value.__notes__, ("second", "third"), strict=True)] == [1, 1]


def test_a_bug_that_meets_a_stop_does_not_undo_it_and_is_still_raised() -> None:
    async def oscillating() -> E:
        try:
            await trio.sleep_forever()
        finally:
            raise Bug("while unwinding")

    world = World({S.OSCILLATING: oscillating})
    with pytest.raises(Bug, match="while unwinding"):
        world.run(world.asks(2.5, E.ABORT))
    assert world.way[-2:] == ["ABORT>CLOSING", "SAFE>IDLE"]
    assert world.outcome is Outcome.ABORTED


@pytest.mark.parametrize("with_beam", [False, True])
def test_a_bug_outranks_the_cancellation_that_follows_it(with_beam: bool) -> None:
    world = World({S.OSCILLATING: raises(Bug("first"))}, beam_off=waits if with_beam else None)

    async def main() -> None:
        with trio.move_on_at(2.5):
            await world.driver.run()

    with pytest.raises(Bug, match="first"):
        virtually(main)
    assert world.state is S.IDLE


def test_a_bug_outranks_the_cancellation_before_it() -> None:
    """A cancellation alone would be caught where it came from, and nobody would hear of the bug."""
    world = World({S.CLOSING: raises(Bug("while making safe"))})

    async def main() -> None:
        with trio.move_on_at(2.5):
            await world.driver.run()

    with pytest.raises(Bug, match="while making safe"):
        virtually(main)
    assert world.state is S.ABANDONED


def test_a_bug_in_a_nursery_of_an_activity_is_raised_as_itself() -> None:
    async def oscillating() -> E:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(raises(Bug("inside")))
            await trio.sleep_forever()
        return E.COLLECTED

    world = World({S.OSCILLATING: oscillating})
    with pytest.raises(Bug, match="inside"):
        virtually(world.driver.run)


def test_two_bugs_at_once_are_raised_as_a_group() -> None:
    async def late() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise Bug("two")

    async def oscillating() -> E:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(late)
            await trio.lowlevel.checkpoint()
            raise Bug("one")

    world = World({S.OSCILLATING: oscillating})
    with pytest.raises(ExceptionGroup) as raised:
        virtually(world.driver.run)
    assert sorted(map(str, raised.value.exceptions)) == ["one", "two"]
    assert world.state is S.IDLE


# -- leaving ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [S.MOUNTING, S.CENTRING, S.OSCILLATING])
def test_a_cancellation_from_outside_goes_through_the_safety_state_and_on_to_its_scope(state: S) -> None:
    world, reached = World(), False

    async def main() -> None:
        nonlocal reached
        with trio.move_on_at(DURING[state]) as scope:
            await world.driver.run()
            reached = True
        assert scope.cancelled_caught

    virtually(main)
    assert not reached
    assert world.trace[-2:] == [(DURING[state], "CANCELLED>CLOSING"), (DURING[state] + 1, "SAFE>IDLE")]
    assert world.outcome is Outcome.ABORTED


@pytest.mark.parametrize("last_word", [E.COLLECTED, E.FAILED])
def test_a_cancellation_in_the_instant_of_the_last_word_beats_it(last_word: E) -> None:
    async def oscillating() -> E:
        await trio.sleep(1)
        scope.cancel()
        return last_word

    async def main() -> None:
        with scope:
            await world.driver.run()

    scope, world = trio.CancelScope(), World({S.OSCILLATING: oscillating})
    virtually(main)
    assert scope.cancelled_caught
    assert world.trace[-2:] == [(3, "CANCELLED>CLOSING"), (4, "SAFE>IDLE")]
    assert world.outcome is Outcome.ABORTED


def test_a_bug_in_the_instant_of_a_cancellation_is_raised_and_the_run_was_stopped_all_the_same() -> None:
    async def oscillating() -> E:
        scope.cancel()
        raise Bug

    async def main() -> None:
        with scope, pytest.raises(Bug):
            await world.driver.run()

    scope, world = trio.CancelScope(), World({S.OSCILLATING: oscillating})
    virtually(main)
    assert world.trace[-2:] == [(2, "CANCELLED>CLOSING"), (3, "SAFE>IDLE")]
    assert world.outcome is Outcome.ABORTED


@pytest.mark.parametrize("request_", [E.HOLD, E.BEAM_LOST])
def test_a_failure_in_the_instant_of_a_hold_is_not_forgotten(request_: E) -> None:
    async def oscillating() -> E:
        await trio.sleep(1)
        assert world.driver.request(request_)
        return E.FAILED

    held = raises(AssertionError("it holds"))
    world = World({S.OSCILLATING: oscillating, S.HOLDING: held, S.HOLDING_FOR_BEAM: held})
    world.run()
    assert world.trace[-2:] == [(3, "FAILED>CLOSING"), (4, "SAFE>IDLE")]
    assert world.outcome is Outcome.FAILED


@pytest.mark.parametrize("with_beam", [False, True])
def test_the_safety_state_is_shielded(with_beam: bool) -> None:
    async def nothing() -> None:
        pass

    world = World(beam_off=nothing if with_beam else None)

    async def main() -> None:
        with trio.move_on_at(3.5):
            await world.driver.run()

    virtually(main)
    assert world.trace[-1] == (4, "SAFE>IDLE")
    assert world.outcome is Outcome.DONE


def test_a_program_that_leaves_while_the_fault_is_latched_abandons_it() -> None:
    world = World({S.CLOSING: World().takes(1, E.UNVERIFIED)})

    async def main() -> None:
        with trio.move_on_at(10):
            await world.driver.run()

    virtually(main)
    assert world.trace[-2:] == [(4, "UNVERIFIED>FAULT"), (10, "CANCELLED>ABANDONED")]
    assert world.state is S.ABANDONED


@pytest.mark.parametrize("state", [S.MOUNTING, S.OSCILLATING])
def test_ctrl_c_goes_through_the_safety_state(state: S) -> None:
    async def interrupted() -> E:
        signal.raise_signal(signal.SIGINT)
        return await waits()

    world = World({state: interrupted})
    with pytest.raises(KeyboardInterrupt):
        virtually(world.driver.run)
    assert world.way[-2:] == ["CRASHED>CLOSING", "SAFE>IDLE"]


def test_ctrl_c_while_making_safe_changes_nothing_until_safe() -> None:
    world, verified = World(), []

    async def closing() -> E:
        for _ in range(3):
            signal.raise_signal(signal.SIGINT)
            await trio.sleep(1)
        verified.append(trio.current_time())
        return E.SAFE

    world.driver.activities = {**world.driver.activities, S.CLOSING: closing}
    with pytest.raises(KeyboardInterrupt):
        virtually(world.driver.run)
    assert verified == [6]
    assert world.way[-2:] == ["COLLECTED>CLOSING", "SAFE>IDLE"]


def test_ctrl_c_in_a_task_beside_the_main_one_goes_through_the_safety_state() -> None:
    async def interrupted() -> E:
        signal.raise_signal(signal.SIGINT)
        return await waits()

    world = World({S.OSCILLATING: interrupted})

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.driver.run)

    with pytest.raises(BaseExceptionGroup) as raised:
        virtually(main)
    assert raised.group_contains(KeyboardInterrupt)
    assert world.way[-2:] == ["CANCELLED>CLOSING", "SAFE>IDLE"]


# -- guards that change their mind ------------------------------------------------------------------------------------


class Toy(enum.Enum):
    """A machine with a request that has a guard."""

    IDLE = enum.auto()
    WORKING = enum.auto()
    PAUSED = enum.auto()
    OVER = enum.auto()


class Toys(enum.Enum):
    """Its events."""

    START = enum.auto()
    PAUSE = enum.auto()
    DONE = enum.auto()
    LEAVE = enum.auto()
    BUG = enum.auto()


TOY = Table(
    name="toy",
    initial=Toy.IDLE,
    start=Toys.START,
    final=frozenset({Toy.OVER}),
    urgent={},
    cancelled=Toys.LEAVE,
    crashed=Toys.BUG,
    rows=(
        Row(Toy.IDLE, Toys.START, Toy.WORKING, why="begin"),
        Row(Toy.WORKING, Toys.PAUSE, Toy.PAUSED, guard="may_pause", why="asked, where pausing is allowed"),
        *from_each((Toy.WORKING, Toy.PAUSED), Toys.DONE, Toy.OVER, why="done"),
        *from_each((Toy.WORKING, Toy.PAUSED), Toys.LEAVE, Toy.OVER, why="cancelled"),
        *from_each((Toy.WORKING, Toy.PAUSED), Toys.BUG, Toy.OVER, why="bug"),
    ),
)


def test_a_state_is_entered_again_when_the_guard_of_an_accepted_request_has_become_false() -> None:
    allowed, entered = True, []

    async def working() -> Toys:
        nonlocal allowed
        entered.append(trio.current_time())
        try:
            await trio.sleep(2)
        except trio.Cancelled:
            allowed = False
            raise
        return Toys.DONE

    driver = Driver(Engine(TOY, guards={"may_pause": lambda: allowed}), {Toy.WORKING: working, Toy.PAUSED: waits})

    async def main() -> Toy:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pause)
            return await driver.run()

    async def pause() -> None:
        await trio.sleep(1)
        assert driver.request(Toys.PAUSE)

    assert virtually(main) is Toy.OVER
    assert entered == [0, 1]


# -- a child machine --------------------------------------------------------------------------------------------------


def child_of(trace: list[tuple[float, str]], **activities: Activity) -> Driver[WS, WE]:
    def takes(event: WE) -> Activity:
        async def activity() -> WE:
            await trio.sleep(1)
            return event

        return activity

    def heard(transition: Transition) -> None:
        trace.append((trio.current_time(), f"wedge {transition.row.event.name}>{transition.row.dest.name}"))

    usual = {
        WS.ARMING: takes(WE.ARMED),
        WS.RUNNING_UP: takes(WE.AT_SPEED),
        WS.EXPOSING: takes(WE.EXPOSED),
        WS.DRAINING: takes(WE.DRAINED),
    }
    return Driver(Engine(WEDGE, log=heard), {**usual, **{WS[name]: activity for name, activity in activities.items()}})


def world_with_wedges(count: int = 2, **activities: Activity) -> World:
    world = World()

    async def oscillating() -> E:
        for _ in range(count):
            if await child_of(world.trace, **activities).run() is not WS.TAKEN:
                return E.FAILED
        return E.COLLECTED

    world.driver.activities = {**world.driver.activities, S.OSCILLATING: oscillating}
    return world


def test_wedges_are_taken_one_after_the_other_inside_oscillating() -> None:
    world = world_with_wedges(2)
    world.run()
    assert world.way.count("wedge DRAINED>TAKEN") == 2
    assert world.trace[-2:] == [(10, "COLLECTED>CLOSING"), (11, "SAFE>IDLE")]


def test_a_stop_interrupts_the_wedge_and_only_the_collection_makes_safe() -> None:
    world = world_with_wedges()
    world.run(world.asks(4.5, E.ABORT))
    assert world.trace[-4:] == [
        (4.5, "asked ABORT: True"),
        (4.5, "wedge CANCELLED>INTERRUPTED"),
        (4.5, "ABORT>CLOSING"),
        (5.5, "SAFE>IDLE"),
    ]


def test_a_bug_in_a_wedge_breaks_it_and_is_raised_by_the_collection_after_the_safety_state() -> None:
    world = world_with_wedges(EXPOSING=raises(Bug("exposing")))
    with pytest.raises(Bug, match="exposing"):
        world.run()
    assert world.way[-3:] == ["wedge CRASHED>BROKEN", "CRASHED>CLOSING", "SAFE>IDLE"]


def test_a_wedge_that_fails_lets_the_collection_decide() -> None:
    async def no_answer() -> WE:
        await trio.lowlevel.checkpoint()
        return WE.FAILED

    world = world_with_wedges(ARMING=no_answer)
    world.run()
    assert world.way[-3:] == ["wedge FAILED>BROKEN", "FAILED>CLOSING", "SAFE>IDLE"]
    assert world.outcome is Outcome.FAILED


# -- struck at every checkpoint ---------------------------------------------------------------------------------------


@attrs.define(eq=False)
class Shutter:
    """Opens and closes in a tenth of a second, and counts who is not done with it."""

    is_open: bool = False

    async def open(self) -> None:
        self.is_open = True
        await trio.sleep(0.1)

    async def close(self) -> None:
        self.is_open = False
        await trio.sleep(0.1)


def exposing_world() -> tuple[World, Shutter]:
    """A collection that exposes for three blocks, with a device stage moving meanwhile."""
    shutter, world = Shutter(), World()

    async def oscillating() -> E:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, 0.25)
            await shutter.open()
            for _ in range(3):
                await trio.sleep(0.1)
            await shutter.close()
        return E.COLLECTED

    async def closing() -> E:
        await shutter.close()
        return E.SAFE if not shutter.is_open else E.UNVERIFIED

    world.driver.beam_off = shutter.close
    world.driver.activities = {**world.driver.activities, S.OSCILLATING: oscillating, S.CLOSING: closing}
    return world, shutter


def expected_end(world: World, shutter: Shutter, raised: BaseException | None) -> str | None:
    if raised is not None:
        return f"raised {raised!r}"
    if shutter.is_open:
        return "the shutter is open"
    if world.state is not S.IDLE:
        return f"ended in {world.state.name}"
    if world.way[-1] != "SAFE>IDLE":
        return f"the last row was {world.way[-1]}"
    return None


@pytest.mark.parametrize("seed", range(4))
def test_cancelled_at_any_checkpoint_it_is_safe_when_it_ends(seed: int) -> None:
    def prepare() -> Case:
        world, shutter = exposing_world()
        return Case(run=world.driver.run, verdict=lambda raised: expected_end(world, shutter, raised))

    sweep = at_every_checkpoint(prepare, seed=seed)
    assert sweep.violations == ()
    assert sweep.points >= 10


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("event", [E.ABORT, E.SKIP])
def test_a_request_at_any_checkpoint_is_answered_or_refused_and_it_is_safe_when_it_ends(event: E, seed: int) -> None:
    promised = {E.ABORT: Outcome.ABORTED, E.SKIP: Outcome.SKIPPED}[event]

    def prepare() -> Case:
        world, shutter = exposing_world()
        accepted: list[bool] = []

        def verdict(raised: BaseException | None) -> str | None:
            if accepted == [True] and world.outcome is not promised:
                return f"accepted, but ended as {world.outcome}"
            if accepted == [False] and world.outcome is not Outcome.DONE:
                return f"refused, but ended as {world.outcome}"
            return expected_end(world, shutter, raised)

        return Case(run=world.driver.run, verdict=verdict, strike=lambda: accepted.append(world.driver.request(event)))

    sweep = at_every_checkpoint(prepare, seed=seed)
    assert sweep.violations == ()
    assert sweep.points >= 10


def test_the_sweep_finds_a_routine_that_forgets_its_shield() -> None:
    def prepare() -> Case:
        shutter = Shutter()

        async def careless() -> None:
            await shutter.open()
            try:
                await trio.sleep(1)
            finally:
                await trio.sleep(0.05)
                await shutter.close()

        return Case(run=careless, verdict=lambda raised: "the shutter is open" if shutter.is_open else None)

    sweep = at_every_checkpoint(prepare)
    assert {violation.what for violation in sweep.violations} == {"the shutter is open"}
    assert [violation.point for violation in sweep.violations] == [1, 2, 3]
    assert "sleep" in sweep.violations[0].where
