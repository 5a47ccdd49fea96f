"""Devices driven by hand, and who hears which rule say something: what the tests of this folder are written in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import attrs
import trio

from fsmcollect.beamline import Acquisition, Sweep
from fsmcollect.sim.beamline import SimulatedBeamline
from fsmcollect.timing import run_up_deg

Body = Callable[[SimulatedBeamline], Awaitable[None]]


def make_sweep(images: int = 10, start_deg: float = 0.0, lead_s: float = 0.06) -> Sweep:
    return Sweep(
        omega_start_deg=start_deg,
        width_deg=0.1 * images,
        duration_s=0.01 * images,
        run_up_deg=run_up_deg(10.0, 0.1, lead_s),
        shutter_lead_s=lead_s,
    )


def acquisition(images: int = 10) -> Acquisition:
    return Acquisition(images=images, images_per_trigger=images, frame_time_s=0.01, energy_ev=12_700.0)


async def open_up(simulated: SimulatedBeamline) -> None:
    await simulated.detector_cover.open()
    await simulated.safety_shutter.open()


async def rotate(simulated: SimulatedBeamline, sweep: Sweep) -> None:
    await simulated.goniometer.prepare_sweep(sweep)
    await simulated.goniometer.begin_sweep()
    await simulated.goniometer.finish_sweep()


async def expose(simulated: SimulatedBeamline, sweep: Sweep, *, images: int = 10) -> None:
    await simulated.detector.arm(acquisition(images))
    await rotate(simulated, sweep)
    await simulated.detector.read_out(0, images, with_images=False)
    await simulated.detector.disarm()


async def make_safe(simulated: SimulatedBeamline) -> None:
    with trio.CancelScope(shield=True):
        await simulated.fast_shutter.close()
        await simulated.detector.disarm()
        await simulated.goniometer.stop()
        await simulated.safety_shutter.close()


def hear_names(simulated: SimulatedBeamline) -> list[str]:
    """The name of every rule that says something from now on, each time; none is excused."""
    names: list[str] = []

    def excused(name: str) -> bool:
        names.append(name)
        return False

    simulated.checkers.excused = excused
    return names


@attrs.define
class Done:
    """What came of doing something with the devices."""

    simulated: SimulatedBeamline
    names: list[str]
    #: Without their times.
    told: list[str]


def do(body: Body, simulated: SimulatedBeamline | None = None, *, without: Sequence[str] = ()) -> Done:
    """Do something with a simulated beamline, and say what its rules said."""
    simulated = SimulatedBeamline(without=frozenset(without)) if simulated is None else simulated
    names = hear_names(simulated)
    simulated.kernel.run(lambda: body(simulated))
    violations = simulated.checkers.violations
    assert len(names) == len(violations)
    return Done(simulated, names, [said.partition(" s: ")[2] for said in violations])
