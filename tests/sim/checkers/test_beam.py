"""Rules of the light: silent while all is well, however it ends, and loud when something is not."""

from __future__ import annotations

import random

import pytest
import trio

from fsmcollect.errors import DeviceError
from fsmcollect.sim.beamline import SimulatedBeamline
from tests.sim.checkers.bench import acquisition, expose, make_safe, make_sweep, open_up


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
    assert [said.partition(" that belong")[0] for said in simulated.checkers.violations] == [
        "at 4.600000 s: the fast shutter is open outside of a sweep",
        "at 5.680000 s: the fast shutter let light through for 1040.000 ms",
    ]


def test_beam_on_a_detector_that_is_not_armed_and_under_its_cover() -> None:
    simulated = SimulatedBeamline()

    async def body() -> None:
        await simulated.safety_shutter.open()
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
