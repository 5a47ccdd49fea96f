"""The checkers: silent while all is well, however it ends, and loud when something is not."""

from __future__ import annotations

import random

import attrs
import pytest
import trio

from fsmcollect.beamline import Acquisition, Location, Sweep
from fsmcollect.errors import DeviceError
from fsmcollect.sim.beamline import SimulatedBeamline
from fsmcollect.sim.checkers import KEPT
from fsmcollect.timing import run_up_deg


def make_sweep(images: int = 10, start_deg: float = 0.0) -> Sweep:
    return Sweep(
        omega_start_deg=start_deg,
        width_deg=0.1 * images,
        duration_s=0.01 * images,
        run_up_deg=run_up_deg(10.0, 0.1, 0.06),
        shutter_lead_s=0.06,
    )


def acquisition(images: int = 10) -> Acquisition:
    return Acquisition(images=images, images_per_trigger=images, frame_time_s=0.01, energy_ev=12_700.0)


async def open_up(simulated: SimulatedBeamline) -> None:
    await simulated.detector_cover.open()
    await simulated.safety_shutter.open()


async def expose(simulated: SimulatedBeamline, sweep: Sweep, *, images: int = 10) -> None:
    await simulated.detector.arm(acquisition(images))
    await simulated.goniometer.prepare_sweep(sweep)
    await simulated.goniometer.begin_sweep()
    await simulated.goniometer.finish_sweep()
    await simulated.detector.read_out(0, images, with_images=False)
    await simulated.detector.disarm()


async def make_safe(simulated: SimulatedBeamline) -> None:
    with trio.CancelScope(shield=True):
        await simulated.fast_shutter.close()
        await simulated.detector.disarm()
        await simulated.goniometer.stop()
        await simulated.safety_shutter.close()


def test_a_sound_wedge_violates_nothing() -> None:
    simulated = SimulatedBeamline()

    async def body() -> None:
        await open_up(simulated)
        await expose(simulated, make_sweep())
        await make_safe(simulated)
        simulated.checkers.at_rest()

    simulated.kernel.run(body)
    assert simulated.checkers.violations == []


@pytest.mark.parametrize("seed", range(40))
def test_an_abort_at_any_instant_violates_nothing(seed: int) -> None:
    simulated = SimulatedBeamline(seed=seed)
    # A wedge of 100 images takes 1.4 s with its run-up, after 4.5 s of opening up.
    abort_s = 4.5 + random.Random(seed).uniform(0.0, 1.5)

    async def body() -> None:
        with trio.move_on_after(abort_s):
            await open_up(simulated)
            await expose(simulated, make_sweep(100), images=100)
        await make_safe(simulated)
        simulated.checkers.at_rest()

    simulated.kernel.run(body)
    assert simulated.checkers.violations == []


def test_opening_the_fast_shutter_outside_of_a_sweep_is_told_once_with_its_time() -> None:
    simulated = SimulatedBeamline()

    async def body() -> None:
        await open_up(simulated)
        await simulated.detector.arm(acquisition())
        await simulated.fast_shutter.open()
        await simulated.kernel.wait(1_000_000)
        await simulated.fast_shutter.close()

    simulated.kernel.run(body)
    assert simulated.checkers.violations == ["at 4.600000 s: the fast shutter is open outside of a sweep"]


def test_beam_on_a_detector_that_is_not_armed_and_under_its_cover() -> None:
    simulated = SimulatedBeamline()

    async def body() -> None:
        await simulated.goniometer.prepare_sweep(make_sweep())
        await simulated.goniometer.begin_sweep()
        await simulated.goniometer.finish_sweep()

    simulated.kernel.run(body)
    told = "\n".join(simulated.checkers.violations)
    assert "the fast shutter is open and the detector is idle" in told
    assert "the fast shutter is open and the detector cover is in the beam" in told
    assert "a trigger was lost: the detector was idle" in told


def test_a_shutter_jammed_open_is_a_violation_now_and_at_the_end() -> None:
    simulated = SimulatedBeamline()

    async def body() -> None:
        await open_up(simulated)
        simulated.kernel.after(440_000, lambda: setattr(simulated.fast_shutter, "jammed", True))
        with pytest.raises(DeviceError, match="did not close"):
            await expose(simulated, make_sweep())
        with pytest.raises(DeviceError):
            await make_safe(simulated)
        simulated.checkers.at_rest()

    simulated.kernel.run(body)
    told = "\n".join(simulated.checkers.violations)
    assert "outside of a sweep" in told
    assert "when all was over, the fast shutter was not closed" in told
    assert "when all was over, the safety shutter was not closed" in told


def test_omega_sticking_under_the_beam() -> None:
    simulated = SimulatedBeamline()

    async def body() -> None:
        await open_up(simulated)
        simulated.kernel.after(360_000, lambda: setattr(simulated.goniometer.omega, "stuck", True))
        with pytest.raises(DeviceError, match="omega does not follow"):
            await expose(simulated, make_sweep())
        await make_safe(simulated)

    simulated.kernel.run(body)
    assert "omega runs at 0.0000 deg/s, not at the sweep's speed" in simulated.checkers.violations[0]


def test_another_axis_moving_under_the_beam() -> None:
    simulated = SimulatedBeamline()

    async def body() -> None:
        await open_up(simulated)
        simulated.kernel.after(360_000, lambda: simulated.goniometer.axes["x_mm"].start(1.0))
        await expose(simulated, make_sweep())
        await make_safe(simulated)

    simulated.kernel.run(body)
    assert [line.partition(": ")[2] for line in simulated.checkers.violations] == [
        "the fast shutter is open and x_mm moves"
    ]


def test_the_robot_moves_while_the_detector_is_near() -> None:
    simulated = SimulatedBeamline()

    async def body() -> None:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def load() -> None:
                with pytest.raises(DeviceError):
                    await simulated.sample_changer.load(Location(1, 1))

            await simulated.kernel.wait(1_000)
            await simulated.detector_stage.move(200.0)
        await simulated.sample_changer.stop()

    simulated.kernel.run(body)
    assert "the robot moves and the detector is at" in simulated.checkers.violations[0]


def test_breaking_the_interlock_drops_the_safety_shutter_and_violates_nothing_but_a_jammed_one_does() -> None:
    for jammed in (False, True):
        simulated = SimulatedBeamline()
        simulated.kernel.run(lambda: _break_in(simulated, jammed))  # noqa: B023  (run at once)
        told = [line.partition(": ")[2] for line in simulated.checkers.violations]
        assert told == (["the safety shutter is open and the hutch is not searched"] if jammed else [])


async def _break_in(simulated: SimulatedBeamline, jammed: bool) -> None:
    await simulated.safety_shutter.open()
    simulated.safety_shutter.jammed = jammed
    simulated.interlock.open_door()
    await simulated.kernel.wait(5_000_000)


def test_frames_that_are_handed_out_though_the_beam_was_lost_under_them() -> None:
    simulated = SimulatedBeamline()

    async def body() -> None:
        await open_up(simulated)
        # The sweep begins 0.1 s (arming) + 0.2 s (run-up) + 0.025 s later; the beam fails within its 10 images.
        simulated.ring.lose_beam(simulated.kernel.now_us + 460_000)
        await expose(simulated, make_sweep())
        await make_safe(simulated)

    simulated.kernel.run(body)
    assert simulated.checkers.violations
    assert all("was handed out and was in the beam for" in line for line in simulated.checkers.violations)


def test_frames_taken_at_other_angles_than_the_sweep_has() -> None:
    simulated = SimulatedBeamline()
    simulated.detector.follow_omega = lambda: lambda at_us: 77.0

    async def body() -> None:
        await open_up(simulated)
        await expose(simulated, make_sweep())
        await make_safe(simulated)

    simulated.kernel.run(body)
    assert "image 0 was taken at 77.0000 deg instead of 0.0000 deg" in simulated.checkers.violations[0]


def test_a_sweep_shorter_than_its_images_is_found_out() -> None:
    simulated = SimulatedBeamline()

    async def body() -> None:
        await open_up(simulated)
        await expose(simulated, attrs.evolve(make_sweep(), duration_s=0.08, width_deg=0.8))
        await make_safe(simulated)

    simulated.kernel.run(body)
    told = "\n".join(simulated.checkers.violations)
    assert "image 9 was handed out and was in the beam for 0.00 %" in told


def test_at_rest_finds_an_armed_detector() -> None:
    simulated = SimulatedBeamline()

    async def body() -> None:
        await simulated.detector.arm(acquisition())
        simulated.checkers.at_rest()

    simulated.kernel.run(body)
    assert simulated.checkers.violations == [
        "at 0.100000 s: when all was over, the detector was neither idle nor in error"
    ]


def test_all_violations_are_counted_and_some_are_kept() -> None:
    simulated = SimulatedBeamline()
    for _ in range(KEPT + 50):
        simulated.checkers.say("nonsense")
    assert simulated.checkers.count == KEPT + 50
    assert len(simulated.checkers.violations) == KEPT
