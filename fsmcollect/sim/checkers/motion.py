"""Rules about what moves: axes under the beam, and the robot.

Owns no moment: `watching` says when they are looked at; the robot's while it is away from its safe position.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from fsmcollect.sim.checkers.watching import Robot
from fsmcollect.sim.detector import Detector, State
from fsmcollect.sim.goniometer import Goniometer
from fsmcollect.sim.motion import ROUNDING_MM, Axis
from fsmcollect.sim.shutter import FastShutter, SafetyShutter


@attrs.define(eq=False)
class OnlyOmegaMoves:
    """Light can pass => no axis but omega moves."""

    axes: Sequence[Axis]

    def look(self) -> str | None:
        for axis in self.axes:
            if axis.is_moving:
                return f"the fast shutter is open and {axis.name} moves"
        return None


@attrs.define(eq=False)
class RobotHasRoom:
    """Robot moving => the detector is as far away as the arm needs."""

    robot: Robot
    distance_mm: Callable[[], float]

    def look(self) -> str | None:
        distance_mm = self.distance_mm()
        if distance_mm < self.robot.needs_distance_mm - ROUNDING_MM:
            return f"the robot moves and the detector is at {distance_mm:.1f} mm"
        return None


@attrs.define(eq=False)
class RobotOnlyInTheDark:
    """Robot moving => both shutters wholly closed: one of them may leak, or be told to open by mistake."""

    shutter: FastShutter
    safety_shutter: SafetyShutter | None

    def look(self) -> str | None:
        if not self.shutter.closed:
            return "the robot moves and the fast shutter is not closed"
        if self.safety_shutter is not None and not self.safety_shutter.closed:
            return "the robot moves and the safety shutter is not closed"
        return None


@attrs.define(eq=False)
class RobotOnlyWhileGoniometerStands:
    """Robot moving => no axis of the goniometer moves: the arm reaches for a place, not for a thing that turns."""

    goniometer: Goniometer

    def look(self) -> str | None:
        return "the robot moves and the goniometer moves" if self.goniometer.is_moving else None


@attrs.define(eq=False)
class RobotOnlyWithDetectorAtRest:
    """Robot moving => the detector is not armed, does not arm and does not acquire: nobody is about to expose."""

    detector: Detector

    def look(self) -> str | None:
        state = self.detector.state
        if state in (State.ARMING, State.ARMED, State.ACQUIRING):
            return f"the robot moves and the detector is {state.value}"
        return None
