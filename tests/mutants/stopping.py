"""Runs that are stopped, held, or lose the beam, at many instants."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import trio

from fsmcollect.events import Event
from fsmcollect.sim.detector import State as DetectorState
from tests.cancel_sweep import Case, at_every_checkpoint
from tests.collecting.rehearsing import (
    INVERSE,
    LONG_WEDGE,
    SECOND_US,
    WAYS,
    Play,
    ask,
)
from tests.collecting.test_abort import Stop, check_stopped, check_the_rest_is_taken, instants, stopped
from tests.collecting.test_hold import exposing_instants, hold_at, lose_beam
from tests.mutants.judging import ONE_BY_ONE, check_done

#: How many instants of each way to expose are struck.
INSTANTS = 16


def aborted() -> None:
    for cancel in (False, True):
        for way in ("inverse beam", "shuttered", "long wedge", "stills"):
            for when_us in instants(way, INSTANTS):
                check_stopped(*stopped(WAYS[way], when_us, cancel=cancel), when_us)


def aborted_at_events() -> None:
    play = Play(INVERSE).run()
    for when_us in sorted({event.t_us for event in play.events if event.t_us}):
        if when_us < play.simulated.kernel.now_us:
            check_stopped(*stopped(INVERSE, when_us), when_us)
    for state in ("MOUNTING", "CENTRING", "OSCILLATING", "CLOSING"):
        for urge in ("abort", "hold"):
            play = Play(INVERSE)
            play.enters(state, getattr(play.collection, urge)).enters(state, play.collection.abort).run()
            play.check("aborted")
            _stop_at_once(state, urge)
    play = Play(INVERSE)
    assert play.collection.abort()
    play.run().check("aborted")
    assert not play.commands("goniometer"), "something moved after an abort that came before the run"
    assert not play.collection.abort(), "an abort after the end was answered with yes"


def aborted_after_a_hold() -> None:
    """The second alarm of a run, and the third, are heard as the first one was."""
    play = Play(LONG_WEDGE)
    stop = Stop(play)
    struck: list[int] = []

    def strike() -> None:
        struck.append(play.simulated.kernel.now_us)
        stop()

    play.enters("wedge.EXPOSING", play.collection.hold, after_us=SECOND_US)
    play.enters("HOLDING", play.collection.resume, after_us=SECOND_US)
    play.enters("wedge.EXPOSING", play.simulated.ring.lose_beam, after_us=SECOND_US, count=2)
    play.enters("HOLDING_FOR_BEAM", play.simulated.ring.restore_beam, after_us=SECOND_US)
    play.enters("wedge.EXPOSING", strike, after_us=SECOND_US, count=3).run()
    play.check("aborted")
    assert (struck[0], "close") in play.commands("fast_shutter"), "the close command left later"


def _stop_at_once(state: str, urge: str) -> None:
    """Two requests in one breath: the more urgent one counts, whichever comes first."""
    for abort_first in (False, True):
        play = Play(INVERSE)
        requests = [getattr(play.collection, urge), play.collection.abort]

        def ask_both(requests: list[Callable[[], bool]] = requests[:: -1 if abort_first else 1]) -> None:
            for request in requests:
                request()

        play.enters(state, ask_both).run()
        play.check("aborted")


def aborted_in_events() -> None:
    """Whoever is told of an event aborts in that very moment, in the middle of what the sequencer does."""
    for request in (INVERSE, ONE_BY_ONE):
        whole = Play(request).run()
        for number in range(len(whole.events)):
            play = Play(request)
            accepted: list[bool] = []

            def abort_at(_: Event, play: Play = play, number: int = number, accepted: list[bool] = accepted) -> None:
                if len(play.events) == number + 1:
                    accepted.append(play.collection.abort())

            play.collection.observers.listeners.append(abort_at)
            play.run()
            play.check("aborted" if accepted[0] else "done")
            assert accepted[0] or number >= len(whole.events) - 2, f"an abort at event {number} was refused"


def held() -> None:
    for way in ("inverse beam", "shuttered", "long wedge"):
        for number, when_us in enumerate(exposing_instants(way, INSTANTS, "held")):
            play = Play(WAYS[way])
            answers = hold_at(play, when_us, (2, 20_000, 40 * SECOND_US)[number % 3])
            if number % 3 == 2:
                play.at(when_us + 30 * SECOND_US, lambda play=play: _check_pause(play))  # type: ignore[misc]
            play.run()
            assert not answers[0] or answers[1], "what was held could not be resumed"
            check_done(play)


def _check_pause(play: Play) -> None:
    if play.collection.state.name != "HOLDING":
        return
    simulated = play.simulated
    assert simulated.fast_shutter.closed, "held with the beam on"
    assert not simulated.goniometer.is_moving, "held and turning"
    assert simulated.detector.state is DetectorState.IDLE, "held and armed"


def jammed_while_held() -> None:
    """A hold or a lost beam with a shutter that does not close is no pause."""
    for by_ring in (False, True):
        play = Play(LONG_WEDGE)

        def pause(play: Play = play, by_ring: bool = by_ring) -> None:
            play.simulated.fast_shutter.jammed = True
            (play.simulated.ring.lose_beam if by_ring else play.collection.hold)()

        play.enters("wedge.EXPOSING", pause, after_us=SECOND_US)
        play.enters("FAULT", play.scope.cancel)
        play.at(7200 * SECOND_US, play.scope.cancel).run()
        assert play.states[-2:] == ["FAULT", "ABANDONED"], play.states
        assert play.simulated.kernel.now_us < 1000 * SECOND_US, "held with the beam on"
        closed = [when_us for when_us, text in play.commands("safety_shutter") if text == "close"]
        assert len(closed) > 1, "the safety shutter was left open behind a jammed one"


def held_to_the_end() -> None:
    """Whoever leaves a pause leaves it safely, and a hold lasts until it is ended."""
    for end in ("abort", "skip"):
        play = Play(LONG_WEDGE)
        play.enters("wedge.EXPOSING", play.collection.hold, after_us=SECOND_US)
        play.enters("HOLDING", lambda play=play: _check_pause(play), after_us=500 * SECOND_US)  # type: ignore[misc]
        play.enters("HOLDING", getattr(play.collection, end), after_us=501 * SECOND_US).run()
        play.check({"abort": "aborted", "skip": "skipped"}[end])
        assert play.states.count("HOLDING") == 1, "a hold that ended by itself"


def beam_lost() -> None:
    for way in ("inverse beam", "shuttered", "long wedge"):
        for when_us in exposing_instants(way, INSTANTS // 2, "lost"):
            play = lose_beam(Play(WAYS[way]), when_us, 100 * SECOND_US).run()
            check_done(play)
            assert play.states.count("HOLDING_FOR_BEAM") <= 1, "tried again without beam"
    play = Play(LONG_WEDGE)
    play.enters("wedge.EXPOSING", play.simulated.ring.lose_beam, after_us=SECOND_US)
    play.enters("HOLDING_FOR_BEAM", play.collection.hold, after_us=SECOND_US)
    play.enters("HOLDING", play.simulated.ring.restore_beam, after_us=SECOND_US)
    play.enters("HOLDING", play.collection.resume, after_us=100 * SECOND_US).run()
    check_done(play)
    assert play.states.count("HOLDING") == play.states.count("HOLDING_FOR_BEAM") == 1, play.states
    for urge, outcome in (("abort", "aborted"), ("skip", "skipped")):
        play = Play(LONG_WEDGE)
        play.enters("wedge.EXPOSING", play.simulated.ring.lose_beam, after_us=SECOND_US)
        play.enters("HOLDING_FOR_BEAM", getattr(play.collection, urge), after_us=SECOND_US)
        play.enters("HOLDING_FOR_BEAM", play.simulated.ring.restore_beam, after_us=5 * SECOND_US).run()
        play.check(outcome)


def struck_at_every_checkpoint() -> None:
    for abort in (False, True):
        plays: list[Play] = []

        def prepare(abort: bool = abort, plays: list[Play] = plays) -> Case:
            play = Play(ask(sweep={"images": 4, "wedge_images": 2}))
            plays.append(play)
            kernel = play.simulated.kernel
            return Case(
                run=lambda: kernel._run(play.run_here),
                verdict=lambda raised: _verdict(play, raised),
                strike=play.collection.abort if abort else None,
                clock=kernel.clock,
            )

        sweep = at_every_checkpoint(prepare)
        assert not sweep.violations, sweep.violations[0]
        assert sweep.points > 50


def _verdict(play: Play, raised: BaseException | None) -> str | None:
    if raised is not None and not isinstance(raised, trio.Cancelled):
        return f"raised {raised!r}"
    if play.violations or play.tasks_left:
        return f"{play.violations} {play.tasks_left}"
    if not play.collection._has_run:
        return None
    if not play.result.safe or not play.simulated.beamline.free:
        return f"not safe: {play.result.failures}"
    if play.outcome not in ("done", "aborted"):
        return f"ended as {play.outcome}"
    return None


def taken_up_again() -> None:
    """Stopped with files, and asked again: exactly what is missing is taken."""
    for way in ("inverse beam", "shuttered"):
        for when_us in instants(way, 2):
            with tempfile.TemporaryDirectory() as folder:
                play, stop = stopped(WAYS[way], when_us, Path(folder))
                check_stopped(play, stop, when_us)
                check_the_rest_is_taken(play)
