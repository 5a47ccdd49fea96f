"""Rules of what moves."""

from __future__ import annotations

import pytest
import trio

from fsmcollect.beamline import Location
from fsmcollect.errors import DeviceError
from fsmcollect.sim.beamline import SimulatedBeamline
from tests.sim.checkers.bench import expose, make_safe, make_sweep, open_up


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
