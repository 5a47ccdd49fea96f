"""Every rule says something when what it forbids is done to the simulated devices; and there is no other rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio

from fsmcollect.beamline import FrameBlock, Location
from fsmcollect.errors import DeviceError
from fsmcollect.events import Event, ImagesTaken, RunEnded
from fsmcollect.sim.beamline import SimulatedBeamline
from tests.collecting.rehearsing import LONG_WEDGE, SHUTTERLESS, Play, adapt, ask, simulate
from tests.sim.checkers.bench import (
    acquisition,
    do,
    expose,
    hear_names,
    make_safe,
    make_sweep,
    open_up,
    rotate,
)

# ---------------------------------------------------------------------------------------------------------------------
# With the devices alone
# ---------------------------------------------------------------------------------------------------------------------


async def the_shutter_opens_and_the_detector_is_idle(s: SimulatedBeamline) -> None:
    await open_up(s)
    await rotate(s, make_sweep())


async def the_shutter_is_opened_outside_of_a_sweep(s: SimulatedBeamline) -> None:
    await open_up(s)
    await s.detector.arm(acquisition())
    await s.fast_shutter.open()


async def the_sweep_goes_on_behind_the_last_frame(s: SimulatedBeamline) -> None:
    await open_up(s)
    await s.detector.arm(acquisition(5))
    for after_us in range(0, 600_000, 5_000):  # something happens elsewhere now and then
        s.kernel.after(after_us, lambda: None)
    await rotate(s, make_sweep(10))


async def the_cover_stays_closed(s: SimulatedBeamline) -> None:
    await s.safety_shutter.open()
    await expose(s, make_sweep())


async def the_safety_shutter_is_jammed_open_when_the_hutch_is_opened(s: SimulatedBeamline) -> None:
    await s.safety_shutter.open()
    s.safety_shutter.jammed = True
    s.interlock.open_door()
    await s.kernel.wait(1_000_000)


async def nobody_turns_the_beam_off_when_the_hutch_is_opened(s: SimulatedBeamline) -> None:
    await open_up(s)
    s.kernel.after(500_000, s.interlock.open_door)
    await s.detector.arm(acquisition(100))
    await rotate(s, make_sweep(100))


async def another_axis_moves_under_the_beam(s: SimulatedBeamline) -> None:
    await open_up(s)
    s.kernel.after(360_000, lambda: s.goniometer.axes["x_mm"].start(1.0))
    await expose(s, make_sweep())


async def _during_a_mount(s: SimulatedBeamline, deed: Callable[[], Any]) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(s.sample_changer.load, Location(1, 1))
        await s.kernel.wait(1_000_000)
        await deed()


async def the_detector_comes_near_while_the_robot_moves(s: SimulatedBeamline) -> None:
    async def near() -> None:
        await s.detector_stage.move(200.0)
        await s.detector_stage.move(400.0)

    await _during_a_mount(s, near)


async def the_fast_shutter_opens_while_the_robot_moves(s: SimulatedBeamline) -> None:
    await _during_a_mount(s, s.fast_shutter.open)


async def the_safety_shutter_opens_while_the_robot_moves(s: SimulatedBeamline) -> None:
    await _during_a_mount(s, s.safety_shutter.open)


async def omega_turns_while_the_robot_moves(s: SimulatedBeamline) -> None:
    await _during_a_mount(s, lambda: s.goniometer.move({"omega_deg": 90.0}))


async def the_detector_is_armed_while_the_robot_moves(s: SimulatedBeamline) -> None:
    await _during_a_mount(s, lambda: s.detector.arm(acquisition()))


async def the_beam_is_lost_under_frames_that_are_handed_out(s: SimulatedBeamline) -> None:
    await open_up(s)
    s.ring.lose_beam(s.kernel.now_us + 460_000)
    await expose(s, make_sweep())


async def the_shutter_opens_long_before_the_first_image(s: SimulatedBeamline) -> None:
    await open_up(s)
    await expose(s, make_sweep(lead_s=0.3))


async def the_shutter_is_stuck_for_a_while_when_the_sweep_is_over(s: SimulatedBeamline) -> None:
    await open_up(s)
    begun_us = s.kernel.now_us
    s.kernel.at(begun_us + 420_000, lambda: setattr(s.fast_shutter, "jammed", True))
    s.kernel.at(begun_us + 600_000, lambda: setattr(s.fast_shutter, "jammed", False))
    with pytest.raises(DeviceError, match="did not close"):
        await expose(s, make_sweep())
    await make_safe(s)


BY_HAND = {
    "BeamOnlyOnArmedDetector": [the_shutter_opens_and_the_detector_is_idle],
    "BeamOnlyInSweep": [the_shutter_is_opened_outside_of_a_sweep],
    "LightOnlyInFrames": [
        the_sweep_goes_on_behind_the_last_frame,
        the_shutter_opens_long_before_the_first_image,
        the_shutter_opens_and_the_detector_is_idle,
    ],
    "NothingInTheBeam": [the_cover_stays_closed],
    "HutchSearched": [the_safety_shutter_is_jammed_open_when_the_hutch_is_opened],
    "NoExposureInOpenHutch": [nobody_turns_the_beam_off_when_the_hutch_is_opened],
    "OnlyOmegaMoves": [another_axis_moves_under_the_beam],
    "RobotHasRoom": [the_detector_comes_near_while_the_robot_moves],
    "RobotOnlyInTheDark": [
        the_fast_shutter_opens_while_the_robot_moves,
        the_safety_shutter_opens_while_the_robot_moves,
    ],
    "RobotOnlyWhileGoniometerStands": [omega_turns_while_the_robot_moves],
    "RobotOnlyWithDetectorAtRest": [the_detector_is_armed_while_the_robot_moves],
    "NoTriggerLost": [the_shutter_opens_and_the_detector_is_idle],
    "FramesAreTrue": [the_beam_is_lost_under_frames_that_are_handed_out],
    "LightAsPlanned": [
        the_sweep_goes_on_behind_the_last_frame,
        the_shutter_opens_long_before_the_first_image,
        the_shutter_is_stuck_for_a_while_when_the_sweep_is_over,
    ],
}


@pytest.mark.parametrize(("rule", "body"), [(rule, body) for rule, bodies in BY_HAND.items() for body in bodies])
def test_a_rule_of_physics_bites(rule: str, body: Callable[[SimulatedBeamline], Any]) -> None:
    assert rule in do(body).names


@pytest.mark.parametrize(
    "body",
    [
        the_shutter_is_opened_outside_of_a_sweep,
        the_cover_stays_closed,
        another_axis_moves_under_the_beam,
        the_safety_shutter_opens_while_the_robot_moves,
        omega_turns_while_the_robot_moves,
        the_beam_is_lost_under_frames_that_are_handed_out,
    ],
)
def test_a_rule_bites_alone_or_with_those_of_the_light_and_images(body: Callable[[SimulatedBeamline], Any]) -> None:
    """What is wrong is told by whom it concerns: the others stay silent."""
    rule = next(rule for rule, bodies in BY_HAND.items() if body in bodies)
    assert {*do(body).names} - {"LightAsPlanned"} == {rule}


# ---------------------------------------------------------------------------------------------------------------------
# With a collection
# ---------------------------------------------------------------------------------------------------------------------


def images_come_from_elsewhere_than_the_detector() -> Play:
    async def read_out(first: int, count: int, *, with_images: bool) -> FrameBlock:
        omega_deg = [detector.recorded_omega_deg(image) for image in range(first, first + count)]
        return FrameBlock(first, [], omega_deg)

    play = Play(SHUTTERLESS)
    detector = play.simulated.detector
    adapt(play.simulated, "detector", read_out=read_out)
    return play


def images_are_handed_out_again_when_they_were_reported() -> Play:
    play = Play(SHUTTERLESS)
    detector = play.simulated.detector

    def tell_again(event: Event) -> None:
        if isinstance(event, ImagesTaken):
            for tell in detector.handed_out:
                tell(0, 1)

    play.collection.observers.listeners.append(tell_again)
    return play


def images_are_handed_out_and_nobody_reports_them() -> Play:
    """Whoever reads them out beside the sequencer has them; the sequencer never asks, for nothing is complete."""
    play = adapted("detector", frames_complete=0)
    detector = play.simulated.detector

    def read_beside() -> None:
        for tell in detector.handed_out:
            tell(0, 1)
        play.collection.abort()

    return play.enters("wedge.EXPOSING", read_beside, after_us=200_000)


def adapted(role: str, **methods: object) -> Play:
    play = Play(SHUTTERLESS)
    adapt(play.simulated, role, **methods)
    return play


def angles_are_reported_that_are_a_little_off() -> Play:
    play = Play(SHUTTERLESS)
    detector = play.simulated.detector

    async def read_out(first: int, count: int, *, with_images: bool) -> FrameBlock:
        block = await detector.read_out(first, count, with_images=with_images)
        return FrameBlock(block.first, block.chunks, [omega_deg + 0.1 for omega_deg in block.omega_deg])

    adapt(play.simulated, "detector", read_out=read_out)
    return play


def the_absorbers_fall_out_while_a_wedge_is_exposed() -> Play:
    play = Play(LONG_WEDGE)
    actuator = play.simulated.attenuator.actuator
    return play.enters("wedge.EXPOSING", lambda: setattr(actuator, "setting", 1.0), after_us=2_000_000)


def the_aperture_is_another_than_is_said() -> Play:
    play = adapted("aperture", select=_nothing, read_size_um=_ten)
    play.simulated.aperture.actuator.setting = 100.0
    return Play(ask(beam={"aperture_um": 10.0}), play.simulated)


def the_energy_is_another_than_is_said() -> Play:
    play = adapted("monochromator", move=_nothing, read_energy_ev=_energy_ev)
    return Play(ask(beam={"energy_ev": 12_000.0}), play.simulated)


def the_detector_stands_elsewhere_than_is_said() -> Play:
    play = adapted("detector_stage", move=_nothing, read_distance_mm=_distance_mm)
    return Play(ask(beam={"detector_distance_mm": 400.0}), play.simulated)


async def _energy_ev() -> float:
    await trio.lowlevel.checkpoint()
    return 12_000.0


async def _distance_mm() -> float:
    await trio.lowlevel.checkpoint()
    return 400.0


async def _nothing(*_: object) -> None:
    await trio.lowlevel.checkpoint()


async def _ten() -> float:
    await trio.lowlevel.checkpoint()
    return 10.0


async def _yes() -> bool:
    await trio.lowlevel.checkpoint()
    return True


def images_are_taken_twice() -> Play:
    """A hold at which the detector says that nothing is complete: the wedge is taken again, and the crystal paid."""
    play = Play(LONG_WEDGE)

    async def forget(first: int, count: int, *, with_images: bool) -> FrameBlock:
        if play.simulated.kernel.now_us < held_us[0]:
            await trio.sleep_forever()
        return await play.simulated.detector.read_out(first, count, with_images=with_images)

    held_us = [10**12]

    def hold() -> None:
        held_us[0] = play.simulated.kernel.now_us
        play.collection.hold()

    adapt(play.simulated, "detector", frames_complete=0, read_out=forget)
    play.enters("wedge.EXPOSING", hold, after_us=3_000_000)
    return play.enters("HOLDING", play.collection.resume, after_us=1_000_000)


COLLECTING = {
    "ReportedIsHandedOut": [
        images_come_from_elsewhere_than_the_detector,
        images_are_handed_out_again_when_they_were_reported,
        images_are_handed_out_and_nobody_reports_them,
    ],
    "ReportedAnglesAreNominal": [angles_are_reported_that_are_a_little_off],
    "PhotonsAsAsked": [the_absorbers_fall_out_while_a_wedge_is_exposed, the_aperture_is_another_than_is_said],
    "DoseOfRun": [images_are_taken_twice],
    "SettingsAsAsked": [the_energy_is_another_than_is_said, the_detector_stands_elsewhere_than_is_said],
}


@pytest.mark.parametrize(("rule", "make"), [(rule, make) for rule, plays in COLLECTING.items() for make in plays])
def test_a_rule_of_a_collection_bites_alone_or_with_that_of_the_whole_dose(rule: str, make: Callable[[], Play]) -> None:
    play = make()
    names = hear_names(play.simulated)
    play.run()
    assert {rule} <= {*names} <= {rule, "DoseOfRun"}, play.violations


# ---------------------------------------------------------------------------------------------------------------------
# At rest
# ---------------------------------------------------------------------------------------------------------------------

AT_REST: dict[str, Callable[[SimulatedBeamline], Any]] = {
    "FastShutterClosed": lambda s: s.fast_shutter.open(),
    "SafetyShutterClosed": lambda s: s.safety_shutter.open(),
    "DetectorAtRest": lambda s: s.detector.arm(acquisition()),
    "GoniometerStands": lambda s: _begun(lambda: s.goniometer.move({"omega_deg": 90.0})),
    "DetectorStageStands": lambda s: _begun(lambda: s.detector_stage.move(400.0)),
    "MonochromatorStands": lambda s: _begun(lambda: s.monochromator.move(9_000.0)),
    "RobotStands": lambda s: _begun(lambda: s.sample_changer.load(Location(1, 1))),
}


async def _begun(command: Callable[[], Any]) -> None:
    with trio.move_on_after(0.1):
        await command()


@pytest.mark.parametrize("rule", AT_REST)
def test_a_rule_at_rest_bites_alone(rule: str) -> None:
    async def body(simulated: SimulatedBeamline) -> None:
        await AT_REST[rule](simulated)
        simulated.checkers.at_rest()

    assert do(body).names == [rule]


def test_a_deadline_that_is_left_is_found() -> None:
    async def body(simulated: SimulatedBeamline) -> None:
        with trio.move_on_after(5.0):
            await trio.lowlevel.checkpoint()
            simulated.checkers.at_rest()

    done = do(body)
    assert done.names == ["NoTimerLeft"]
    assert done.told == ["when all was over, a deadline was left, due in 5 s"]


def test_a_run_that_only_says_that_it_is_safe_is_found_out() -> None:
    play = adapted("safety_shutter", close=_nothing, is_closed=_yes)
    names = hear_names(play.simulated)
    play.run()
    assert play.of(RunEnded)[0].safe
    assert "SafetyShutterClosed" in names
    assert any("the run ended as safe, and the safety shutter was not closed" in said for said in play.violations)


def test_these_are_all_the_rules_there_are() -> None:
    shown = {*BY_HAND, *COLLECTING, *AT_REST, "NoTimerLeft"}
    assert shown == SimulatedBeamline().checkers.names == simulate().checkers.names
