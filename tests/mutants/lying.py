"""Devices that fail, that lie, or whose answer is lost once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import trio

from fsmcollect.beamline import Location
from fsmcollect.errors import DeviceError
from fsmcollect.events import SafingStep, WedgeStarted
from fsmcollect.sim.beamline import CONFIG
from tests.collecting.rehearsing import (
    INVERSE,
    SECOND_US,
    WAYS,
    Play,
    adapt,
    simulate,
)
from tests.collecting.test_faults import FAULTS, strike
from tests.mutants.judging import check_done

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
    ("backlight", "is_in", None, False, False),
    ("attenuator", "read_transmission_frac", 1.0, True, False),
    ("attenuator", "read_transmission_frac", _NAN, True, False),
    ("monochromator", "read_energy_ev", 9_000.0, True, False),
    ("detector_stage", "read_distance_mm", 350.0, True, False),
    ("cryo_stream", "read_temperature_k", _NAN, True, False),
    ("interlock", "is_searched", False, True, False),
    ("interlock", "is_searched", "no", True, False),
    ("sample_changer", "read_loaded", Location(2, 3), True, False),
    ("goniometer", "read_positions", {"omega_deg": 12.3, "x_mm": 0.0, "y_mm": 0.0, "z_mm": 0.0}, True, False),
    ("goniometer", "read_positions", {"x_mm": 0.0, "y_mm": 0.0, "z_mm": 0.0}, True, False),
)


def lost_axis() -> None:
    """A goniometer that has lost an axis moves nothing that anybody could rely on."""
    simulated = simulate()

    async def read_positions() -> Any:
        there = await simulated.goniometer.read_positions()
        return {axis: value for axis, value in there.items() if axis != "omega_deg"}

    play = Play(INVERSE, adapt(simulated, "goniometer", read_positions=read_positions)).run()
    play.check("failed")
    assert not play.of(WedgeStarted)


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
