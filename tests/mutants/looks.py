"""What the checkers look at: a fixed set of runs on the simulated beamline, and what must hold of each.

Owns the runs. Everything is judged from outside: by the simulator's checkers, by what devices were told and when, and
by plain arithmetic on what was asked for. No look knows which mistake it is to find, and none calls a unit test.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import trio

from fsmcollect.beamline import Location, Question
from fsmcollect.errors import BeamlineBusy, DeviceError
from fsmcollect.events import ImagesTaken, SafingStep, WedgeStarted
from fsmcollect.request import Request
from fsmcollect.sim.beamline import CONFIG, SimulatedBeamline
from fsmcollect.sim.detector import State as DetectorState
from fsmcollect.sim.person import NEVER, Answer
from tests.cancel_sweep import Case, at_every_checkpoint
from tests.collecting.rehearsing import (
    INVERSE,
    LONG_WEDGE,
    SECOND_US,
    SHUTTERLESS,
    WAYS,
    Adapter,
    Play,
    adapt,
    ask,
    simulate,
)
from tests.collecting.test_abort import check_stopped, instants, stopped
from tests.collecting.test_faults import FAULTS, strike
from tests.collecting.test_hold import exposing_instants, hold_at, lose_beam
from tests.collecting.test_stuck import deaf
from tests.collecting.test_unanswered import EVERYTHING, METHODS, WAITS_BY_CONTRACT, silence

#: How many instants of each way to expose are struck.
INSTANTS = 16
OVERLAPPING = ask(sweep={"images": 20, "wedge_images": 6, "overlap_deg": 1.0})
BACKWARDS = ask(sweep={"images": 20, "wedge_images": 6, "overlap_deg": 1.0, "image_width_deg": -0.5})
ONE_BY_ONE = ask(sweep={"images": 6, "wedge_images": 3, "shutterless": False, "passes": 2, "exposure_s": 0.2})
LONG_SLOW = ask(sweep={"images": 400, "exposure_s": 0.01, "image_width_deg": 0.5})
OTHER = {"overlapping": OVERLAPPING, "backwards": BACKWARDS, "one by one": ONE_BY_ONE, "fast": LONG_SLOW}


# -- what was asked for, by arithmetic ---------------------------------------------------------------------------------


def asked_images(request: Request) -> Iterator[tuple[tuple[str, int], float]]:
    """Every image asked for, in the order of collection, and the angle at which it begins."""
    sweep, size, stem = request.sweep, request.wedge_images, f"{request.files.prefix}_{request.files.run_number}"
    width_deg = float(sweep.image_width_deg)
    overlap_deg = float(sweep.overlap_deg) * (-1 if width_deg < 0 else 1)
    end = sweep.first_image + sweep.images
    for first in range(sweep.first_image, end, size):
        for name, turn_deg in ((stem, 0.0), (f"{stem}_inverse", 180.0)):
            if turn_deg and request.inverse_beam is None:
                continue
            for number in range(first, min(first + size, end)):
                before = number - sweep.first_image
                angle_deg = float(sweep.omega_start_deg) + turn_deg + before * width_deg
                yield (name, number), angle_deg - overlap_deg * (before // size)


def check_images(play: Play) -> None:
    """All that was asked for was reported, once, in order, at its angle."""
    asked = dict(asked_images(play.request))
    assert play.reported == list(asked), "other images than those asked for, or in another order"
    for event in play.of(ImagesTaken):
        angle_deg = asked[event.series, event.first_image]
        assert abs(event.omega_recorded_deg - angle_deg) <= 0.01, f"an image at {event.omega_recorded_deg} deg"


def check_done(play: Play) -> None:
    assert play.raised is None, f"raised {play.raised!r}"
    play.check("done")
    check_images(play)


def check_dose(play: Play) -> None:
    """The crystal was in the beam for its images and the shutter's travel, and no longer."""
    sweep = play.request.sweep
    images_us = len(play.reported) * sweep.exposure_s * SECOND_US
    openings = sum(text == "gate open" for _, text in play.commands("fast_shutter"))
    allowed_us = openings * SECOND_US * (play.simulated.fast_shutter.opening_s + play.simulated.fast_shutter.closing_s)
    exposed_us = play.simulated.dose.exposed_us
    assert 0.999 * images_us <= exposed_us <= images_us + allowed_us, f"in the beam for {exposed_us / 1e6} s"


# -- the looks ---------------------------------------------------------------------------------------------------------


def undisturbed() -> None:
    for request in (*WAYS.values(), *OTHER.values()):
        play = Play(request)
        gains = play.simulated.kernel.run(play.simulated.diodes.read_gains)
        play.run()
        check_done(play)
        check_dose(play)
        assert play.simulated.kernel.run(play.simulated.diodes.read_gains) == gains, "gains that were not put back"
        assert not play.simulated.detector_cover.is_open_now, "the detector cover stayed open"


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
    play = Play(INVERSE)
    assert play.collection.abort()
    play.run().check("aborted")
    assert not play.commands("goniometer"), "something moved after an abort that came before the run"
    assert not play.collection.abort(), "an abort after the end was answered with yes"


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


#: What a detector that fails in the beam makes of the light until the shutter has closed.
LIGHT_FOR_NOTHING = "that belong to no complete image"


def faulty() -> None:
    """Every single fault of the devices: never done, safe or told, and no beam before a crystal is ready for it."""
    for name, fault in FAULTS.items():
        play = Play(fault.request, simulate(config=attrs.evolve(CONFIG, max_sample_temperature_k=120.0)))
        strike(fault, play)
        play.enters("FAULT", play.scope.cancel, after_us=SECOND_US).run()
        assert play.raised is None, f"{name}: raised {play.raised!r}"
        assert play.result.safe is fault.safe, f"{name}: ended as {play.states[-1]}"
        assert bool(play.of(WedgeStarted)) == fault.exposes, f"{name}: exposed, or not"
        assert play.result.failures, f"{name}: nobody is told"
        own = (*fault.violates, *((LIGHT_FOR_NOTHING,) if name.startswith("detector fails") else ()))
        play.violations[:] = [said for said in play.violations if not any(words in said for words in own)]
        if fault.safe:
            play.check("failed")
        else:
            assert str(play.result.outcome) == "failed", f"{name}: ended as {play.result.outcome}"
            fault_told = str(play.simulated.beamline.fault)
            assert any(step.step in fault_told for step in play.of(SafingStep) if not step.verified), fault_told


def lied_to() -> None:
    """Devices that answer something else than what is."""
    for role, method, lie, safe, exposes in LIES:
        simulated = simulate(config=attrs.evolve(CONFIG, max_sample_temperature_k=120.0))
        play = Play(INVERSE, adapt(simulated, role, **{method: _always(lie)}))
        play.enters("FAULT", play.scope.cancel).run()
        case = f"{role}.{method} says {lie}"
        assert play.raised is None, f"{case}: raised {play.raised!r}"
        assert play.outcome == "failed", f"{case}: ended as {play.outcome}"
        assert bool(play.of(WedgeStarted)) is exposes, f"{case}: exposed, or not"
        assert play.result.safe is safe, f"{case}: ended in {play.states[-1]}"
        denied = [step.step for step in play.of(SafingStep) if not step.verified]
        assert bool(denied) is not safe, f"{case}: {denied} are told as not verified"


def _always(answer: object) -> object:
    async def say(*_: object) -> object:
        return answer

    return say


_NAN = float("nan")
#: Device, question, what it answers always, whether the beamline can be verified safe all the same, and whether
#: anything is exposed: what is asked before robot or person come near ends the run there.
LIES: tuple[tuple[str, str, object, bool, bool], ...] = (
    ("fast_shutter", "is_closed", False, False, False),
    ("fast_shutter", "is_closed", "closed?", False, False),
    ("safety_shutter", "is_closed", _NAN, False, False),
    ("goniometer", "is_still", False, False, False),
    ("detector", "is_idle", False, False, False),
    ("detector_cover", "is_closed", False, False, True),
    ("detector_stage", "is_still", False, False, True),
    ("sample_changer", "is_still", False, False, True),
    ("backlight", "is_in", True, False, False),
    ("attenuator", "read_transmission_frac", 1.0, True, False),
    ("attenuator", "read_transmission_frac", _NAN, True, False),
    ("monochromator", "read_energy_ev", 9_000.0, True, False),
    ("detector_stage", "read_distance_mm", 350.0, True, False),
    ("cryo_stream", "read_temperature_k", _NAN, True, False),
    ("interlock", "is_searched", False, True, False),
    ("sample_changer", "read_loaded", Location(2, 3), True, False),
    ("goniometer", "read_positions", {"omega_deg": 12.3, "x_mm": 0.0, "y_mm": 0.0, "z_mm": 0.0}, True, False),
    ("goniometer", "read_positions", {"x_mm": 0.0, "y_mm": 0.0, "z_mm": 0.0}, True, False),
)


def lost_once() -> None:
    """One answer is lost, of a question or of a step of making safe: that costs nobody anything."""
    for role, method in LOST:
        play = Play(INVERSE)
        ask_device = getattr(getattr(play.simulated, role), method)
        calls: list[str] = []

        async def lose_first(calls: list[str] = calls, ask_device: Callable[[], Any] = ask_device) -> Any:
            calls.append("")
            if len(calls) == 1:
                await trio.lowlevel.checkpoint()
                raise DeviceError("a device", "its answer was lost")
            return await ask_device()

        adapt(play.simulated, role, **{method: lose_first})
        play.run()
        assert calls, f"{role}.{method} is not called"
        check_done(play)


LOST = (
    ("sample_changer", "read_loaded"),
    ("detector_stage", "read_distance_mm"),
    ("monochromator", "read_energy_ev"),
    ("attenuator", "read_transmission_frac"),
    ("interlock", "is_searched"),
    ("diodes", "read_gains"),
    ("goniometer", "read_positions"),
    ("fast_shutter", "is_closed"),
    ("safety_shutter", "close"),
    ("goniometer", "stop"),
    ("detector", "is_idle"),
    ("detector_cover", "close"),
)


def hung_once() -> None:
    """The first command of a step of making safe hangs: the second attempt makes it safe."""
    for role, method in (("safety_shutter", "close"), ("detector_cover", "close"), ("goniometer", "stop")):
        play = Play(INVERSE)
        command = getattr(getattr(play.simulated, role), method)
        calls: list[str] = []

        async def hang_first(calls: list[str] = calls, command: Callable[[], Any] = command) -> None:
            calls.append("")
            if len(calls) == 1:
                await trio.sleep_forever()
            await command()

        adapt(play.simulated, role, **{method: hang_first})
        play.run()
        check_done(play)


def wrong_blocks() -> None:
    """A detector whose answer is not the block asked for, or was taken elsewhere."""

    def shifted(block: Any) -> Any:
        return attrs.evolve(block, omega_deg=[angle + 2.0 for angle in block.omega_deg])

    def unknown(block: Any) -> Any:
        return attrs.evolve(block, omega_deg=[_NAN] * len(block.omega_deg))

    def elsewhere(block: Any) -> Any:
        return attrs.evolve(block, first=block.first + 40)

    def short(block: Any) -> Any:
        return attrs.evolve(block, omega_deg=block.omega_deg[:-1])

    for way in ("inverse beam", "long wedge"):
        for wrong in (shifted, unknown, elsewhere, short):
            simulated = simulate()

            async def read_out(
                first: int, count: int, *, with_images: bool, of: Any = simulated, wrong: Callable[..., Any] = wrong
            ) -> Any:
                return wrong(await of.detector.read_out(first, count, with_images=with_images))

            play = Play(WAYS[way], adapt(simulated, "detector", read_out=read_out)).run()
            play.check("failed")
            assert not play.reported, f"{wrong.__name__} blocks are told as images"


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
    """A detector that cannot even say how far it is keeps no beam on."""

    class Lost(Adapter):
        @property
        def frames_complete(self) -> int:
            raise ZeroDivisionError("a bug of an adapter")

    play = Play(LONG_WEDGE)
    play.simulated.beamline.detector = Lost(play.simulated.detector)
    told_us: list[int] = []

    def abort() -> None:
        told_us.append(play.simulated.kernel.now_us)
        play.collection.abort()

    play.enters("wedge.EXPOSING", abort, after_us=SECOND_US).enters("FAULT", play.scope.cancel).run()
    assert (told_us[0], "close") in play.commands("fast_shutter"), "the beam stayed on"


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

    async def finish_sweep() -> None:
        try:
            await simulated.goniometer.finish_sweep()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(1.5)

    play = Play(LONG_WEDGE, adapt(simulated, "goniometer", finish_sweep=finish_sweep))
    complete: list[int] = []

    def stop() -> None:
        complete.append(simulated.detector.frames_complete)
        (play.scope.cancel if cancel else play.collection.abort)()

    play.enters("wedge.EXPOSING", stop, after_us=SECOND_US).run()
    play.check("aborted")
    assert len(play.reported) == complete[0], "images that were taken in the dark count"


def people() -> None:
    for question, request in QUESTIONS.items():
        for answer in (NEVER, Answer(5.0, False)):
            play = Play(request)
            play.simulated.person.answers = {**play.simulated.person.answers, question: answer}
            play.run().check("failed")
            assert not play.of(WedgeStarted), f"{question.name}: exposed against a person's word"


QUESTIONS = {
    Question.MOUNT_BY_HAND: ask(sample={"location": None}),
    Question.CENTRE_BY_HAND: ask(centring={"method": "manual"}),
    Question.VALIDATE_CENTRING: ask(centring={"validate": True}),
}


def one_at_a_time() -> None:
    """A beamline belongs to one run, is free after it, and is refused while a fault is latched."""
    play = Play(INVERSE)
    refused: list[bool] = []

    async def another() -> None:
        await play.simulated.kernel.wait(30 * SECOND_US)
        refused.append(await _is_refused(play.simulated.beamline))

    play.run(another)
    check_done(play)
    assert refused == [True], "two collections at once"
    following = Play(SHUTTERLESS, play.simulated).run()
    assert following.outcome == "done", "a second collection is not done as the first was"
    for jammed in (False, True):
        play = Play(INVERSE)
        strike(FAULTS["fast shutter jammed open"], play)
        answers: list[bool] = []
        latched = trio.Event()
        play.enters("FAULT", latched.set)

        async def mend(
            play: Play = play, answers: list[bool] = answers, jammed: bool = jammed, latched: trio.Event = latched
        ) -> None:
            await latched.wait()
            answers.append(await _is_refused(play.simulated.beamline))
            answers.append(play.collection.abort())
            await trio.sleep(60.0)
            assert play.collection.state.name == "FAULT", "a fault that nobody has acknowledged is over"
            play.simulated.fast_shutter.jammed = jammed
            answers.append(play.collection.acknowledge())
            await trio.sleep(100.0)
            play.scope.cancel()

        play.run(mend)
        assert answers == [True, True, True], answers
        assert play.outcome == "aborted", play.outcome
        assert play.result.safe is not jammed
        assert play.simulated.beamline.free is not jammed, "a fault that is not latched, or does not end"


async def _is_refused(beamline: Any) -> bool:
    from fsmcollect.collecting.collection import Collection

    try:
        await Collection(beamline=beamline, request=ask(files={"prefix": "other"})).run()
    except BeamlineBusy:
        return True
    return False


def found_open() -> None:
    """Somebody has left the beam on and the detector near: nothing comes near before it is off."""

    async def leave_open(simulated: SimulatedBeamline) -> None:
        await simulated.detector_stage.move(150.0)
        await simulated.safety_shutter.open()
        await simulated.fast_shutter.open()

    for jammed in (False, True):
        simulated = simulate()
        simulated.kernel.run(functools.partial(leave_open, simulated))
        simulated.fast_shutter.jammed = jammed
        simulated.checkers.violations.clear()
        play = Play(ask(sweep={"images": 20}, beam={"detector_distance_mm": 150.0}), simulated)
        play.enters("FAULT", play.scope.cancel).run()
        assert "load 1:5" not in [text for _, text in play.commands("sample_changer")] or not jammed, "robot in beam"
        said = [said for said in simulated.checkers.violations if "robot" in said]
        assert not said, said
        assert play.outcome == ("failed" if jammed else "done"), play.result.failures


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
        assert sweep.points > 100


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


#: In the order in which they are looked at: what is quick and finds much comes first.
LOOKS: tuple[Callable[[], None], ...] = (
    undisturbed,
    aborted,
    held,
    beam_lost,
    lied_to,
    lost_once,
    hung_once,
    jammed_while_held,
    one_at_a_time,
    faulty,
    wrong_blocks,
    held_to_the_end,
    found_open,
    people,
    deaf_adapters,
    lost_detector,
    broken_adapters,
    unanswered,
    aborted_at_events,
    struck_at_every_checkpoint,
)
