"""Invariants of a beamline, looked at when each instant of a simulation is over.

Owns what must hold whatever is collected, aborted or broken; each rule is a class of its own. Owns no device and no
reaction: a violation is a sentence with its time, for a person or a test to read.

A shutter that is CLOSING has been told to: no rule minds what happens while it travels. One that was told to close and
does not move is open, and every rule minds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import attrs

from fsmcollect.sim.detector import Detector, State
from fsmcollect.sim.dose import Dose
from fsmcollect.sim.goniometer import Goniometer
from fsmcollect.sim.interlock import Interlock
from fsmcollect.sim.kernel import US_PER_S, Kernel
from fsmcollect.sim.motion import Axis
from fsmcollect.sim.shutter import Blade, FastShutter, SafetyShutter

#: How far a recorded angle may be from the nominal one. Assumed: a tenth of the finest image width in use (0.01 deg).
ANGLE_TOLERANCE_DEG = 0.001
#: How many sentences are kept; all are counted.
KEPT = 100
_OPEN = (Blade.OPENING, Blade.OPEN)


class Rule(Protocol):
    """One invariant of what is now."""

    def look(self) -> str | None:
        """What is wrong now, or None."""


class Robot(Protocol):
    """The sample changer, as far as rules go."""

    @property
    def is_moving(self) -> bool: ...
    @property
    def needs_distance_mm(self) -> float: ...


@attrs.define(eq=False)
class BeamOnlyOnArmedDetector:
    """Fast shutter open or opening => the detector is armed or acquires.

    A detector that has failed cannot be armed; that the shutter closes then is for `Checkers.at_rest` to see.
    """

    detector: Detector

    def look(self) -> str | None:
        state = self.detector.state
        if state in (State.ARMED, State.ACQUIRING, State.ERROR):
            return None
        return f"the fast shutter is open and the detector is {state.value}"


@attrs.define(eq=False)
class BeamOnlyInSweep:
    """Fast shutter open or opening => within a sweep of the goniometer, omega where and as fast as that has it."""

    goniometer: Goniometer

    def look(self) -> str | None:
        running, now_us = self.goniometer.running_sweep, self.goniometer.kernel.now_us
        if running is None or not running.open_us <= now_us <= running.end_us:
            return "the fast shutter is open outside of a sweep"
        omega = self.goniometer.omega
        away_deg = omega.position() - running.omega_deg(now_us)
        if abs(away_deg) > ANGLE_TOLERANCE_DEG:
            return f"the fast shutter is open and omega is {away_deg:.4f} deg from where the sweep has it"
        # A float's rounding is all that may differ.
        if abs(omega.velocity() - running.sweep.speed_deg_s) > 1e-6:
            return f"the fast shutter is open and omega runs at {omega.velocity():.4f} deg/s, not at the sweep's speed"
        return None


@attrs.define(eq=False)
class OnlyOmegaMoves:
    """Fast shutter open or opening => no axis but omega moves."""

    axes: Sequence[Axis]

    def look(self) -> str | None:
        for axis in self.axes:
            if axis.is_moving:
                return f"the fast shutter is open and {axis.name} moves"
        return None


@attrs.define(eq=False)
class NothingInTheBeam:
    """Fast shutter open or opening => what must be out of the beam's way is out.

    Attributes
    ----------
    what : str
        What stands in the way: ``the detector cover``.
    is_out : callable
    """

    what: str
    is_out: Callable[[], bool]

    def look(self) -> str | None:
        return None if self.is_out() else f"the fast shutter is open and {self.what} is in the beam"


@attrs.define(eq=False)
class HutchSearched:
    """Safety shutter open or opening => the hutch is searched."""

    shutter: SafetyShutter
    interlock: Interlock

    def look(self) -> str | None:
        if self.interlock.searched or self.shutter.blade not in _OPEN:
            return None
        return "the safety shutter is open and the hutch is not searched"


@attrs.define(eq=False)
class RobotHasRoom:
    """Robot moving => fast shutter wholly closed, and the detector as far away as the arm needs."""

    robot: Robot
    shutter: FastShutter
    distance_mm: Callable[[], float]

    def look(self) -> str | None:
        if not self.robot.is_moving:
            return None
        if not self.shutter.closed:
            return "the robot moves and the fast shutter is not closed"
        distance_mm = self.distance_mm()
        if distance_mm < self.robot.needs_distance_mm:
            return f"the robot moves and the detector is at {distance_mm:.1f} mm"
        return None


@attrs.define(eq=False)
class NoTriggerLost:
    """The gate triggers an armed detector only; one that has failed cannot answer. Looked at when a trigger is lost."""

    detector: Detector
    say: Callable[[str], None]

    def __attrs_post_init__(self) -> None:
        self.detector.trigger_lost.append(self._look)

    def _look(self) -> None:
        if self.detector.state is not State.ERROR:
            self.say(f"a trigger was lost: the detector was {self.detector.state.value}")


@attrs.define(eq=False)
class FramesAreTrue:
    """Every frame that is handed out was in the beam all its time, once, at its nominal angle. Looked at by then.

    Frames that nobody is given (those an abort cuts off) may be as they are.
    """

    detector: Detector
    dose: Dose
    goniometer: Goniometer
    say: Callable[[str], None]
    #: The sweep that each exposure of the present acquisition belongs to, in the order of their triggers.
    _nominal: list[tuple[float, float]] = attrs.field(init=False, factory=list[tuple[float, float]])

    def __attrs_post_init__(self) -> None:
        self.detector.handed_out.append(self._look)
        self.detector.armed.append(self._forget)
        self.detector.triggered.append(self._remember)

    def _remember(self) -> None:
        running = self.goniometer.running_sweep
        # What triggers outside of a sweep has no nominal angle: no recorded one will match.
        sweep = None if running is None else running.sweep
        self._nominal.append((math.nan, 0.0) if sweep is None else (sweep.omega_start_deg, sweep.width_deg))

    def _forget(self) -> None:
        self._nominal.clear()
        self.dose.forget()

    def _look(self, first: int, count: int) -> None:
        """Frame by frame only where the whole block is not plainly right: it usually is one piece of one sweep."""
        begun, ended = self.detector.exposures_of(first), self.detector.exposures_of(first + count - 1)
        if len(begun) == 1 and begun[0][0] is ended[0][0]:
            exposure, frame = begun[0]
            until_us = exposure.frame_end_us(ended[0][1])
            if self.dose.lit_frac(exposure.frame_start_us(frame), until_us) == 1.0:
                # Omega ran evenly in between, or the shutter's rules have said so.
                for image in {first, first + count - 1}:
                    self._look_at_angle(image)
                return
        for image in range(first, first + count):
            self._look_at_light(image)
            self._look_at_angle(image)

    def _look_at_light(self, image: int) -> None:
        for exposure, frame in self.detector.exposures_of(image):
            lit_frac = self.dose.lit_frac(exposure.frame_start_us(frame), exposure.frame_end_us(frame))
            if lit_frac < 1.0:
                self.say(f"image {image} was handed out and was in the beam for {100 * lit_frac:.2f} % of its time")

    def _look_at_angle(self, image: int) -> None:
        acquisition = self.detector.acquisition
        if acquisition is None:
            return
        trigger, frame = divmod(image * acquisition.triggers_per_image, acquisition.images_per_trigger)
        start_deg, width_deg = self._nominal[trigger]
        nominal_deg = start_deg + frame * width_deg / acquisition.images_per_trigger
        recorded_deg = self.detector.recorded_omega_deg(image)
        if not abs(recorded_deg - nominal_deg) <= ANGLE_TOLERANCE_DEG:
            self.say(f"image {image} was taken at {recorded_deg:.4f} deg instead of {nominal_deg:.4f} deg")


@attrs.define(eq=False, repr=False)
class Checkers:
    """Looks at every rule when an instant is over, and collects what they say.

    A rule that keeps saying the same is heard once, until it has been silent again.

    Attributes
    ----------
    shutter : FastShutter
    rules : list of Rule
        Looked at in each instant.
    open_rules : list of Rule
        Looked at while the fast shutter is open or opening.
    at_rest_rules : list of (str, callable)
        What must hold when all is over: a sentence for when it does not, and the question.
    violations : list of str
        The first of them, each with its time.
    count : int
        All of them.
    """

    kernel: Kernel
    shutter: FastShutter
    rules: list[Rule] = attrs.field(factory=list[Rule])
    open_rules: list[Rule] = attrs.field(factory=list[Rule])
    at_rest_rules: list[tuple[str, Callable[[], bool]]] = attrs.field(factory=list[tuple[str, Callable[[], bool]]])
    violations: list[str] = attrs.field(init=False, factory=list[str])
    count: int = attrs.field(init=False, default=0)
    _saying: set[Rule] = attrs.field(init=False, factory=set[Rule])

    def __attrs_post_init__(self) -> None:
        self.kernel.settled.append(self.look)

    def look(self) -> None:
        """Look at every rule that applies now."""
        for rule in self.rules:
            if (said := rule.look()) is not None or self._saying:
                self._hear(rule, said)
        if not self.shutter.closed and self.shutter.blade is not Blade.CLOSING:
            for rule in self.open_rules:
                if (said := rule.look()) is not None or self._saying:
                    self._hear(rule, said)
        elif self._saying:
            self._saying.difference_update(self.open_rules)

    def _hear(self, rule: Rule, said: str | None) -> None:
        if said is None:
            self._saying.discard(rule)
        elif rule not in self._saying:
            self._saying.add(rule)
            self.say(said)

    def at_rest(self) -> None:
        """All is over: nothing may be open, armed or moving. Call it when a run has ended."""
        for sentence, holds in self.at_rest_rules:
            if not holds():
                self.say(f"when all was over, {sentence}")

    def say(self, sentence: str) -> None:
        """Note a violation, now."""
        self.count += 1
        if len(self.violations) < KEPT:
            self.violations.append(f"at {self.kernel.now_us / US_PER_S:.6f} s: {sentence}")
