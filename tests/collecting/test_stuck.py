"""Adapters that cannot even be interrupted, that lie about what they did, and runs that get in each other's way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import attrs
import pytest
import trio

from fsmcollect.beamline import FrameBlock
from fsmcollect.errors import StorageError
from fsmcollect.events import Moved, SafingStep
from fsmcollect.machines.collection import State
from fsmcollect.sim.beamline import SimulatedBeamline
from tests.collecting.rehearsing import INVERSE, LONG_WEDGE, SECOND_US, Play, adapt, ask, simulate


def deaf(simulated: SimulatedBeamline, seconds: float) -> Callable[..., Awaitable[None]]:
    """Something that hears no cancellation: a blocking call in a thread, as it looks from here."""

    async def wait(*_: object) -> None:
        with trio.CancelScope(shield=True):
            await simulated.kernel.wait(round(seconds * SECOND_US))

    return wait


def test_beside_an_activity_that_does_not_let_go_everything_else_is_made_safe() -> None:
    simulated = simulate()
    adapt(simulated, "goniometer", finish_sweep=deaf(simulated, 60.0))
    play = Play(INVERSE, simulated)
    stopped: list[int] = []

    def abort() -> None:
        stopped.append(simulated.kernel.now_us)
        play.collection.abort()

    play.enters("wedge.EXPOSING", abort).run()
    assert play.outcome == "aborted"
    assert play.result.safe
    within = [
        (when_us, text) for when_us, text in play.commands("safety_shutter") if when_us <= stopped[0] + 3 * SECOND_US
    ]
    assert within[-1][1] == "close"
    assert (stopped[0], "close") in play.commands("fast_shutter")
    assert (
        "leaving: what was going on in OSCILLATING cannot be interrupted: made safe beside it" in play.result.failures
    )
    closing_us = next(move.t_us for move in play.of(Moved) if move.dest == "CLOSING")
    told = [step.step for step in play.of(SafingStep) if stopped[0] < step.t_us < closing_us]
    assert {"fast shutter closed", "safety shutter closed", "detector idle"} <= set(told), "what is done beside is told"


def test_a_pause_whose_shutter_cannot_be_interrupted_is_no_pause_and_ends_in_time() -> None:
    simulated = simulate()
    play = Play(LONG_WEDGE, simulated)
    close = simulated.fast_shutter.close
    told: list[int] = []

    async def close_or_not() -> None:
        await (deaf(simulated, 3600.0)() if told else close())

    def hold() -> None:
        told.append(simulated.kernel.now_us)
        play.collection.hold()

    adapt(simulated, "fast_shutter", close=close_or_not)
    play.enters("wedge.EXPOSING", hold, after_us=SECOND_US).enters("FAULT", play.scope.cancel).run()
    assert play.states[-4:] == ["HOLDING", "CLOSING", "FAULT", "ABANDONED"]
    closed = [when_us for when_us, text in play.commands("safety_shutter") if text == "close"]
    assert any(told[0] < when_us < told[0] + 10 * SECOND_US for when_us in closed)


def test_a_safing_step_that_cannot_be_interrupted_is_told_as_failed_and_the_others_go_on() -> None:
    simulated = simulate()
    play = Play(INVERSE, simulated)
    adapt(simulated, "detector_cover", close=deaf(simulated, 600.0))
    play.enters("FAULT", play.scope.cancel).run()
    assert (play.outcome, play.result.safe) == ("failed", False)
    steps = {step.step: step for step in play.of(SafingStep)}
    assert "cannot be interrupted" in steps["detector cover closed"].message
    others = set(steps) - {"detector cover closed"}
    assert {"fast shutter closed", "safety shutter closed", "goniometer still"} <= others
    assert all(steps[name].verified for name in others)


@pytest.mark.parametrize(
    "role, method, lie",
    [
        ("attenuator", "read_transmission_frac", 1.0),
        ("monochromator", "read_energy_ev", 9_000.0),
        ("detector_stage", "read_distance_mm", 350.0),
        ("attenuator", "read_transmission_frac", float("nan")),
    ],
)
def test_optics_that_read_back_something_else_than_was_set_end_the_run_unexposed(
    role: str, method: str, lie: float
) -> None:
    async def read() -> float:
        return lie

    play = Play(INVERSE, adapt(simulate(), role, **{method: read})).run()
    play.check("failed")
    assert f"{role}: was set to " in play.result.failures[0]
    assert " and reads back " in play.result.failures[0]
    assert not play.reported
    assert "OSCILLATING" in play.states


def test_after_an_abort_no_optics_begin_to_move() -> None:
    """The monochromator does not hear the stop and arrives long after it: the absorbers, which wait for it, stay."""
    simulated = simulate()

    async def hear_nothing() -> None:
        await trio.lowlevel.checkpoint()

    absorbers: list[float] = []

    async def note(transmission_frac: float) -> None:
        absorbers.append(transmission_frac)
        await simulated.attenuator.set_transmission(transmission_frac)

    adapt(simulated, "monochromator", stop=hear_nothing)
    adapt(simulated, "attenuator", set_transmission=note)
    play = Play(
        ask(beam={"energy_ev": 9_000.0, "detector_distance_mm": None}, sample={"location": None, "mounted": True}),
        simulated,
    )
    play.enters("CENTRING", play.collection.abort, after_us=100_000)
    play.enters("FAULT", play.scope.cancel, after_us=600 * SECOND_US).run()
    assert play.outcome == "aborted"
    assert simulated.monochromator.energy_ev == 9_000.0
    assert absorbers == []


def test_a_block_that_begins_elsewhere_than_asked_is_refused() -> None:
    simulated = simulate()
    detector = simulated.detector

    async def read_out(first: int, count: int, *, with_images: bool) -> FrameBlock:
        return attrs.evolve(await detector.read_out(first, count, with_images=with_images), first=first + 40)

    play = Play(INVERSE, adapt(simulated, "detector", read_out=read_out)).run()
    play.check("failed")
    assert not play.reported


def test_what_a_listener_brings_about_is_told_after_its_cause() -> None:
    play = Play(INVERSE, simulate())
    play.enters("CENTRING", play.collection.abort).run()
    play.check("aborted")
    order = [(event.source, event.dest) for event in play.of(Moved) if event.machine == "collection"]
    assert order[:3] == [("IDLE", "MOUNTING"), ("MOUNTING", "CENTRING"), ("CENTRING", "CLOSING")]
    assert [event.t_us for event in play.events] == sorted(event.t_us for event in play.events)


def test_a_sample_that_is_mounted_needs_neither_robot_nor_person() -> None:
    request = ask(sample={"location": None, "mounted": True})
    play = Play(request, simulate(without={"sample_changer", "person"}))
    play.simulated.head.mount_by_hand()
    play.run().check("done")
    assert play.reported == play.planned


def test_of_two_runs_into_one_directory_the_second_is_refused_in_words(tmp_path: Path) -> None:
    first = Play(INVERSE, simulate(), directory=tmp_path)
    seconds: list[Play] = []

    def begin_another() -> None:
        store = first.collection._store
        assert store is not None
        with pytest.raises(StorageError, match="another run is writing here"):
            attrs.evolve(store)._claim_directory()
        seconds.append(first)

    first.enters("CENTRING", begin_another).run()
    assert seconds
    first.check("done")
    assert first.collection.state is State.IDLE
