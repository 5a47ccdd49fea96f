"""Devices that never answer, that cannot be interrupted, or whose adapter has a bug."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs
import trio

from fsmcollect.sim.beamline import CONFIG, SimulatedBeamline
from tests.collecting.rehearsing import (
    INVERSE,
    LONG_WEDGE,
    SECOND_US,
    Adapter,
    Play,
    adapt,
    simulate,
)
from tests.collecting.test_stuck import deaf
from tests.collecting.test_unanswered import EVERYTHING, METHODS, WAITS_BY_CONTRACT, silence
from tests.mutants.judging import SHORT_WEDGE


def unanswered() -> None:
    """Every method of every device, one at a time, waits for ever."""
    for role, method in METHODS:
        simulated = simulate(config=attrs.evolve(CONFIG, max_sample_temperature_k=120.0))
        simulated.kernel.run(lambda simulated=simulated: simulated.detector_stage.move(150.0))  # type: ignore[misc]
        calls = silence(simulated, role, method)
        play = Play(EVERYTHING, simulated)
        play.enters("FAULT", play.scope.cancel, after_us=SECOND_US).run()
        assert play.raised is None, f"{role}.{method}: raised {play.raised!r}"
        assert not play.tasks_left, f"{role}.{method}: tasks are left"
        assert simulated.kernel.now_us < 7200 * SECOND_US, f"{role}.{method}: waited for too long"
        waits = bool(calls) and (role, method) not in WAITS_BY_CONTRACT
        assert play.outcome == ("failed" if waits else "done"), f"{role}.{method}: {play.outcome}"
        if play.result.safe:
            play.check(play.outcome)


def lost_detector() -> None:
    """A detector that cannot even say how far it is keeps no beam on, though the rotation is slow to let go."""

    class Lost(Adapter):
        @property
        def frames_complete(self) -> int:
            raise ZeroDivisionError("a bug of an adapter")

    simulated = simulate()
    adapt(simulated, "goniometer", finish_sweep=_slow_to_let_go(simulated))
    play = Play(LONG_WEDGE, simulated)
    simulated.beamline.detector = Lost(simulated.detector)
    told_us: list[int] = []

    def abort() -> None:
        told_us.append(simulated.kernel.now_us)
        play.collection.abort()

    play.enters("wedge.EXPOSING", abort, after_us=SECOND_US).enters("FAULT", play.scope.cancel).run()
    assert (told_us[0], "close") in play.commands("fast_shutter"), "the beam stayed on"


def slow_shutter() -> None:
    """An adapter that has to wait before it can send its command sends it all the same, whoever leaves."""
    for cancel in (False, True):
        simulated = simulate()
        adapt(simulated, "goniometer", finish_sweep=_slow_to_let_go(simulated))
        adapt(simulated, "fast_shutter", close=_close_after_a_wait(simulated))
        play = Play(LONG_WEDGE, simulated)
        told_us: list[int] = []

        def stop(play: Play = play, cancel: bool = cancel, told_us: list[int] = told_us) -> None:
            told_us.append(play.simulated.kernel.now_us)
            (play.scope.cancel if cancel else play.collection.abort)()

        play.enters("wedge.EXPOSING", stop, after_us=SECOND_US).run()
        play.check("aborted")
        closed = [when_us for when_us, text in play.commands("fast_shutter") if text == "close"]
        assert any(told_us[0] <= when_us < told_us[0] + 10_000 for when_us in closed), "the close command left later"


def _close_after_a_wait(simulated: SimulatedBeamline) -> Callable[[], Awaitable[None]]:
    async def close() -> None:
        await trio.sleep(0.001)
        await simulated.fast_shutter.close()

    return close


def hung_pause() -> None:
    """What was complete cannot be read out in a pause: that ends it."""
    play = Play(SHORT_WEDGE)
    silence(play.simulated, "detector", "read_out")
    play.enters("wedge.EXPOSING", play.collection.hold, after_us=SECOND_US)
    play.at(7200 * SECOND_US, play.scope.cancel).enters("FAULT", play.scope.cancel).run()
    assert play.simulated.kernel.now_us < 1000 * SECOND_US, "a pause that never got ready"
    assert play.outcome == "failed", play.outcome


def broken_adapters() -> None:
    """Every method of every device, one at a time, has a bug: it is told, and the beamline is safe or in FAULT."""
    for role, method in METHODS:
        play = Play(EVERYTHING, simulate(config=attrs.evolve(CONFIG, max_sample_temperature_k=120.0)))
        calls: list[str] = []

        async def bug(*_: object, calls: list[str] = calls, **__: object) -> None:
            calls.append("")
            await trio.lowlevel.checkpoint()
            raise ZeroDivisionError("a bug of an adapter")

        adapt(play.simulated, role, **{method: bug})
        play.enters("FAULT", play.scope.cancel, after_us=SECOND_US).run()
        assert play.outcome == ("failed" if calls else "done"), f"{role}.{method} has a bug: {play.outcome}"
        assert not play.tasks_left, f"{role}.{method}: tasks are left"
        told = isinstance(play.raised, ZeroDivisionError) or "a bug of an adapter" in " ".join(play.result.failures)
        assert told or not calls, f"{role}.{method}: nobody is told of the bug"
        if play.result.safe:
            play.check(play.outcome)
        else:
            assert not play.simulated.beamline.free, f"{role}.{method}: no fault is latched"


def deaf_adapters() -> None:
    """What cannot be interrupted is left alone, and everything else is made safe beside it."""
    simulated = simulate()
    play = Play(INVERSE, adapt(simulated, "goniometer", finish_sweep=deaf(simulated, 60.0)))
    told_us: list[int] = []
    play.enters("wedge.EXPOSING", lambda: told_us.append(simulated.kernel.now_us))
    play.enters("wedge.EXPOSING", play.collection.abort).run()
    assert play.outcome == "aborted"
    closing = [when_us for when_us, text in play.commands("safety_shutter") if text == "close"]
    assert any(told_us[0] <= when_us <= told_us[0] + 3 * SECOND_US for when_us in closing), "the safety shutter waited"
    simulated = simulate()
    play = Play(INVERSE, adapt(simulated, "safety_shutter", close=deaf(simulated, 600.0)))
    play.enters("FAULT", play.scope.cancel).run()
    assert play.states[-2:] == ["FAULT", "ABANDONED"], play.states
    covered = [when_us for when_us, text in play.commands("detector_cover") if text == "to closed"]
    assert covered[0] < 100 * SECOND_US, "the cover waited for the safety shutter"
    for cancel in (False, True):
        _stop_one_that_is_slow(cancel)


def _stop_one_that_is_slow(cancel: bool) -> None:
    """The rotation goes on for two seconds in the dark: those images are not the crystal's."""
    simulated = simulate()
    play = Play(LONG_WEDGE, adapt(simulated, "goniometer", finish_sweep=_slow_to_let_go(simulated)))
    complete: list[int] = []

    def stop() -> None:
        complete.append(simulated.detector.frames_complete)
        (play.scope.cancel if cancel else play.collection.abort)()

    play.enters("wedge.EXPOSING", stop, after_us=SECOND_US).run()
    play.check("aborted")
    assert len(play.reported) == complete[0], "images that were taken in the dark count"


def _slow_to_let_go(simulated: SimulatedBeamline) -> Callable[[], Awaitable[None]]:
    """Finishing a sweep, by an adapter that needs its time to be interrupted."""

    async def finish_sweep() -> None:
        try:
            await simulated.goniometer.finish_sweep()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(1.5)

    return finish_sweep
