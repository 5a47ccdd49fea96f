"""What faults do to the simulated devices themselves: controllers start afresh, things drift, motion stops half-way.

Owns which physical state of which device that is, how fast things drift, and undoing it. Owns neither the states (they
are the devices') nor when a fault begins and is over (`injector`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Protocol, TypeVar

import attrs

from fsmcollect.sim.actuator import Actuator
from fsmcollect.sim.beamline import SimulatedBeamline
from fsmcollect.sim.kernel import Action, Kernel, Scheduled, to_us
from fsmcollect.sim.motion import Axis
from fsmcollect.sim.shutter import Shutter

T = TypeVar("T")

#: Axes of the goniometer by the unit in their names, per second: slow enough that a rotation may begin before it is
#: noticed, and a crystal of 25 um leaves the beam within seconds. This and all rates below are assumed.
GONIOMETER_DRIFT_S: Mapping[str, float] = {"omega_deg": 0.003, "x_mm": 0.005, "y_mm": 0.005, "z_mm": 0.005}
#: Towards the sample, and so towards the robot.
STAGE_DRIFT_MM_S = -0.2
ENERGY_DRIFT_EV_S = 2.0
#: Absorbers slip out of the beam: it gets stronger.
SLIP_FRAC_S = 0.005
WARMING_K_S = 1.0
LEAK_MA_S = 2.0
#: In the middle of mounting a sample on a free goniometer, and of putting one back: see the phases in `sim.changer`.
HALF_OF_LOADING_S = 9.0
HALF_OF_UNLOADING_S = 5.0
#: A command is looked at when all that goes on in its instant has been done.
_AFTER_ALL = 8


class _HasReset(Protocol):
    def reset(self) -> None: ...


@attrs.frozen
class _Stop:
    """How a device stops in the middle.

    Attributes
    ----------
    half_us : callable
        The middle of what has begun; None where nothing has.
    let_stop : callable
        Told True to stop it there, and False to let it go on.
    """

    half_us: Callable[[], int | None]
    let_stop: Callable[[bool], None]


@attrs.define(eq=False)
class HalfWay:
    """A device that will stop in the middle of what it is about to be told."""

    kernel: Kernel
    _stop: _Stop
    _next: Scheduled = attrs.field(init=False)
    _has_looked: bool = attrs.field(init=False, default=False)
    _has_stopped: bool = attrs.field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        self._next = self.kernel.at(self.kernel.now_us, self._look, by="fault", priority=_AFTER_ALL)

    def undo(self) -> None:
        """It goes on, or does not stop after all."""
        self._next.cancel()
        if self._has_stopped:
            self._has_stopped = False
            self._stop.let_stop(False)

    def answered(self) -> None:
        """The command has ended: where that is in the very instant of its beginning, nothing was to be done."""
        if not self._has_looked:
            self._next.cancel()

    def _look(self) -> None:
        self._has_looked = True
        half_us = self._stop.half_us()
        if half_us is not None:
            self._next = self.kernel.at(half_us, self._stop_now, by="fault")

    def _stop_now(self) -> None:
        self._has_stopped = True
        self._stop.let_stop(True)


@attrs.frozen
class Hardware:
    """The devices of one simulated beamline, as far as faults befall them themselves."""

    simulated: SimulatedBeamline

    # -- starting afresh ----------------------------------------------------------------------------------------------

    def reset(self, role: str) -> None:
        """The device's controller starts afresh, now."""
        simulated = self.simulated
        controllers: Mapping[str, _HasReset] = {
            "goniometer": simulated.goniometer,
            "detector": simulated.detector,
            "fast_shutter": simulated.fast_shutter,
            "safety_shutter": simulated.safety_shutter,
            "sample_changer": simulated.sample_changer,
            "diodes": simulated.diodes,
            "attenuator": simulated.attenuator.actuator,
            "aperture": simulated.aperture.actuator,
            "detector_cover": simulated.detector_cover.actuator,
            "backlight": simulated.backlight.actuator,
            "detector_stage": simulated.detector_stage.axis,
            "monochromator": simulated.monochromator.axis,
        }
        controllers[role].reset()

    # -- drifting -----------------------------------------------------------------------------------------------------

    def drift(self, role: str) -> Action:
        """The device begins to drift, now. Returns what ends that; what has drifted away stays there."""
        drifting: Mapping[str, Callable[[bool], None]] = {
            "goniometer": self._drift_goniometer,
            "detector_stage": partial(_creep, self.simulated.detector_stage.axis, STAGE_DRIFT_MM_S),
            "monochromator": partial(_creep, self.simulated.monochromator.axis, ENERGY_DRIFT_EV_S),
            "attenuator": self._slip,
            "cryo_stream": self._warm,
            "ring": self._leak,
        }
        let_drift = drifting[role]
        let_drift(True)
        return partial(let_drift, False)

    def _drift_goniometer(self, drifts: bool) -> None:
        for name, speed in GONIOMETER_DRIFT_S.items():
            _creep(self.simulated.goniometer.axes[name], speed, drifts)

    def _slip(self, drifts: bool) -> None:
        self.simulated.attenuator.slip_frac_s = SLIP_FRAC_S if drifts else 0.0

    def _warm(self, drifts: bool) -> None:
        self.simulated.cryo_stream.warming_k_s = WARMING_K_S if drifts else 0.0

    def _leak(self, drifts: bool) -> None:
        self.simulated.ring.leak_ma_s = LEAK_MA_S if drifts else 0.0

    # -- stopping half-way --------------------------------------------------------------------------------------------

    def stop_half_way(self, role: str, command: str) -> HalfWay:
        """The device will stop in the middle of what it is told in this instant."""
        return HalfWay(self.simulated.kernel, self._stop_of(role, command))

    def _stop_of(self, role: str, command: str) -> _Stop:
        simulated, now_us = self.simulated, self._now_us
        stops: Mapping[str, Callable[[], _Stop]] = {
            "goniometer": self._stop_in_sweep if command == "begin_sweep" else self._stop_of_goniometer,
            "detector": self._stop_of_detector,
            "fast_shutter": lambda: _stop_of_shutter(now_us, simulated.fast_shutter),
            "safety_shutter": lambda: _stop_of_shutter(now_us, simulated.safety_shutter),
            "detector_cover": lambda: _stop_of_actuator(now_us, simulated.detector_cover.actuator),
            "detector_stage": lambda: _stop_of_axes(now_us, (simulated.detector_stage.axis,)),
            "attenuator": lambda: _stop_of_actuator(now_us, simulated.attenuator.actuator),
            "monochromator": lambda: _stop_of_axes(now_us, (simulated.monochromator.axis,)),
            "aperture": lambda: _stop_of_actuator(now_us, simulated.aperture.actuator),
            "backlight": lambda: _stop_of_actuator(now_us, simulated.backlight.actuator),
            "sample_changer": lambda: self._stop_of_robot(
                HALF_OF_LOADING_S if command == "load" else HALF_OF_UNLOADING_S
            ),
        }
        return stops[role]()

    def _now_us(self) -> int:
        return self.simulated.kernel.now_us

    def _stop_of_goniometer(self) -> _Stop:
        return _stop_of_axes(self._now_us, tuple(self.simulated.goniometer.axes.values()))

    def _stop_in_sweep(self) -> _Stop:
        """Omega stops in the middle of what is exposed; a still has nothing that could."""
        goniometer = self.simulated.goniometer

        def half_us() -> int | None:
            running = goniometer.running_sweep
            return None if running is None or running.sweep.is_still else (running.start_us + running.end_us) // 2

        def let_stop(stops: bool) -> None:
            goniometer.omega.stuck = stops

        return _Stop(half_us, let_stop)

    def _stop_of_detector(self) -> _Stop:
        detector = self.simulated.detector

        def let_stop(stops: bool) -> None:
            if stops:
                detector.fail("it stopped in the middle")
            else:
                detector.initialise()

        return _Stop(lambda: _half_us(self._now_us(), detector.ends_us), let_stop)

    def _stop_of_robot(self, half_s: float) -> _Stop:
        changer = self.simulated.sample_changer

        def let_stop(stops: bool) -> None:
            changer.arm_stuck = stops

        return _Stop(lambda: self._now_us() + to_us(half_s) if changer.is_moving else None, let_stop)


def _half_us(now_us: int, ends_us: int | None) -> int | None:
    return None if ends_us is None or ends_us <= now_us else now_us + (ends_us - now_us) // 2


def _creep(axis: Axis, speed: float, drifts: bool) -> None:
    axis.creep = speed if drifts else 0.0


def _stop_of_axes(now_us: Callable[[], int], axes: Sequence[Axis]) -> _Stop:
    """Those that move in the middle of the whole motion stop there."""
    stopped: list[Axis] = []

    def let_stop(stops: bool) -> None:
        if stops:
            stopped.extend(axis for axis in axes if axis.is_moving)
        for axis in stopped:
            axis.stuck = stops

    return _Stop(lambda: _half_us(now_us(), int(max(axis.arrives_us for axis in axes))), let_stop)


def _stop_of_actuator(now_us: Callable[[], int], actuator: Actuator[T]) -> _Stop:
    def let_stop(stops: bool) -> None:
        actuator.jammed = stops

    return _Stop(lambda: _half_us(now_us(), actuator.arrives_us), let_stop)


def _stop_of_shutter(now_us: Callable[[], int], shutter: Shutter) -> _Stop:
    def let_stop(stops: bool) -> None:
        shutter.jammed = stops

    return _Stop(lambda: _half_us(now_us(), shutter.travelling_until_us), let_stop)
