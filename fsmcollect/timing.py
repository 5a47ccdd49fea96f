"""How long a rotation and a collection take: run-up, slews, dead time, Friedel delay. Pure formulas.

Owns the formulas and `Timings`, the few numbers of a beamline that they need. Owns no clock and predicts no person, no
robot and no centring: a prediction begins with the first arming and ends with the last read-out.

References
----------
mx-bluesky, ``rotation_scan_plan``: run-up offset = 1.5 x time to speed x speed (facts/mx-collection.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs

from fsmcollect.beamline import Sweep
from fsmcollect.wedges import Pass, Plan, Wedge

#: How long before it is needed a shutter's open command may be given at the earliest once omega has its speed
#: (assumed): a motion controller tells "at speed" some ticks late.
AT_SPEED_MARGIN_S = 0.001


def trapezoidal_move_s(distance: float, max_speed: float, acceleration: float) -> float:
    """Time of a move from rest to rest.

    Parameters
    ----------
    distance : float
        Either sign, in any unit of length or angle.
    max_speed, acceleration : float
        Greater than 0, in that unit per second and per second squared.
    """
    distance = abs(distance)
    if distance * acceleration < max_speed**2:
        return 2.0 * math.sqrt(distance / acceleration)  # a triangle: the top speed is never reached
    return distance / max_speed + max_speed / acceleration


def run_up_deg(speed_deg_s: float, time_to_speed_s: float, shutter_opening_s: float = 0.0) -> float:
    """Distance from which omega is accelerated, so that it runs evenly before the first image begins; unsigned.

    Constant acceleration takes half of speed x time-to-speed. The rest is run at constant speed, in which the shutter
    opens: mx-bluesky's factor of 1.5 leaves time-to-speed for that, and a slower shutter is given what it needs.
    """
    at_speed_s = max(time_to_speed_s, shutter_opening_s + AT_SPEED_MARGIN_S if shutter_opening_s else 0.0)
    return abs(speed_deg_s) * (0.5 * time_to_speed_s + at_speed_s)


def to_sweep(wedge: Wedge, time_to_speed_s: float, shutter_opening_s: float, *, passes: int = 1) -> Sweep:
    """The wedge, or one of its `passes`, as goniometer and gate execute it.

    Here the one float of a wedge's exact start is made.
    """
    width_deg, duration_s = float(wedge.width_deg), wedge.images * wedge.exposure_s / passes
    return Sweep(
        omega_start_deg=float(wedge.omega_start_deg),
        width_deg=width_deg,
        duration_s=duration_s,
        run_up_deg=run_up_deg(width_deg / duration_s, time_to_speed_s, shutter_opening_s),
        shutter_lead_s=shutter_opening_s,
    )


# ---------------------------------------------------------------------------------------------------------------------
# A whole collection
# ---------------------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Timings:
    """What the duration of a collection depends on, besides its plan.

    Attributes
    ----------
    time_to_speed_s : float
        In which omega reaches any speed from rest.
    max_omega_speed_deg_s : float
        Speed of slews between wedges.
    omega_acceleration_deg_s2 : float or None
        Of those slews; None: the top speed is reached in `time_to_speed_s`.
    settle_s : float
        After a slew.
    arm_s, readout_s : float
        The detector's, for each wedge: before the first image, and after the last one until it may be armed again.
    shutter_opening_s, shutter_closing_s : float
        The fast shutter's.
    """

    time_to_speed_s: float
    max_omega_speed_deg_s: float
    omega_acceleration_deg_s2: float | None = None
    settle_s: float = 0.0
    arm_s: float = 0.0
    readout_s: float = 0.0
    shutter_opening_s: float = 0.0
    shutter_closing_s: float = 0.0

    def slew_s(self, distance_deg: float) -> float:
        """A move of omega from rest to rest, settled."""
        if not distance_deg:
            return 0.0
        speed, acceleration = self.max_omega_speed_deg_s, self.omega_acceleration_deg_s2
        if acceleration is None:
            acceleration = speed / self.time_to_speed_s if self.time_to_speed_s else math.inf
        if math.isinf(acceleration):
            return abs(distance_deg) / speed + self.settle_s
        return trapezoidal_move_s(distance_deg, speed, acceleration) + self.settle_s


@attrs.frozen
class _Rotation:
    """One sweep of omega with all that belongs to it: before the beam, with it, after it."""

    run_up_deg: float
    overrun_deg: float
    before_s: float
    exposing_s: float
    after_s: float

    @classmethod
    def turning(cls, width_deg: float, duration_s: float, timings: Timings) -> _Rotation:
        if not width_deg:  # a still: the gate counts time
            return cls(0.0, 0.0, timings.shutter_opening_s, duration_s, timings.shutter_closing_s)
        speed = abs(width_deg) / duration_s
        run_up = run_up_deg(speed, timings.time_to_speed_s, timings.shutter_opening_s)
        # Accelerating covers half of speed x time; what is left of the run-up goes by at full speed.
        before_s = 0.5 * timings.time_to_speed_s + run_up / speed
        after_s = max(timings.time_to_speed_s, timings.shutter_closing_s)
        overrun = 0.5 * speed * timings.time_to_speed_s
        return cls(run_up, overrun, before_s, duration_s, after_s)


class _Clock:
    """Time of wedges in turn. A wedge's time depends on few numbers, and each combination is worked out once."""

    def __init__(self, plan: Plan, timings: Timings) -> None:
        self._plan, self._timings = plan, timings
        self._known: dict[tuple[object, ...], tuple[float, float]] = {}

    def times(self, wedge: Wedge, before: Wedge | None) -> tuple[float, float]:
        """Seconds up to the beginning of the first image, and from there to the end of the read-out."""
        # Between two wedges of one plan, all that the slew depends on is a difference of integers.
        key: tuple[object, ...] = (wedge.images,)
        if before is not None:
            shift, turns = wedge.first_image - before.first_image, wedge.turn - before.turn
            key += (before.images, shift, turns, wedge.series.pass_, before.series.pass_)
        if key not in self._known:
            self._known[key] = self._times(wedge, before)
        return self._known[key]

    def _times(self, wedge: Wedge, before: Wedge | None) -> tuple[float, float]:
        timings, rotation = self._timings, self._rotation(wedge)
        slew_s = 0.0
        if before is not None:
            slew_s = timings.slew_s(self._run_up_start(wedge, rotation) - self._stop(before))
        # The detector arms while omega slews.
        before_s = max(timings.arm_s, slew_s) + rotation.before_s
        exposing_s = rotation.exposing_s + rotation.after_s
        if not self._plan.shutterless:
            exposing_s += self._further_exposures_s(wedge, rotation)
        return before_s, exposing_s + timings.readout_s

    def _rotation(self, wedge: Wedge) -> _Rotation:
        """The wedge's one sweep, or the first of those that take its images one by one."""
        plan = self._plan
        if plan.shutterless:
            return _Rotation.turning(float(wedge.width_deg), wedge.images * plan.exposure_s, self._timings)
        return _Rotation.turning(float(plan.image_width_deg), plan.exposure_s / plan.passes, self._timings)

    def _further_exposures_s(self, wedge: Wedge, rotation: _Rotation) -> float:
        """What the second and later exposures of a shuttered wedge take: each turns back and runs up again."""
        one_s = rotation.before_s + rotation.exposing_s + rotation.after_s
        back_deg = rotation.overrun_deg + rotation.run_up_deg
        next_image_s = one_s + self._timings.slew_s(back_deg)
        same_image_s = one_s + self._timings.slew_s(back_deg + abs(float(self._plan.image_width_deg)))
        repeats = (self._plan.passes - 1) * wedge.images
        return next_image_s * (wedge.images - 1) + same_image_s * repeats

    def _run_up_start(self, wedge: Wedge, rotation: _Rotation) -> float:
        return float(wedge.omega_start_deg) - self._direction() * rotation.run_up_deg

    def _stop(self, wedge: Wedge) -> float:
        return float(wedge.omega_end_deg) + self._direction() * self._rotation(wedge).overrun_deg

    def _direction(self) -> float:
        return math.copysign(1.0, self._plan.image_width_deg)


def predicted_duration_s(plan: Plan, timings: Timings, wedges: Sequence[Wedge] | None = None) -> float:
    """From the first arming to the last read-out, omega standing at the first run-up.

    Parameters
    ----------
    wedges : sequence of Wedge, optional
        What of the plan is to be taken (`fsmcollect.wedges.missing`); all of it unless given.
    """
    clock, before, total_s = _Clock(plan, timings), None, 0.0
    for wedge in plan.wedges if wedges is None else wedges:
        total_s += sum(clock.times(wedge, before))
        before = wedge
    return total_s


def friedel_delay_s(plan: Plan, timings: Timings) -> float | None:
    """From the beginning of a direct image to that of its Friedel mate, in the first wedge; None without inverse beam.

    It is the wedge's time, the slew by 180 degrees, the run-up and the arming: of short wedges the slew takes most.
    """
    if len(plan.wedges) < 2 or plan.wedges[1].series.pass_ is not Pass.INVERSE:
        return None
    direct, inverse = plan.wedges[:2]
    clock = _Clock(plan, timings)
    return clock.times(direct, None)[1] + clock.times(inverse, direct)[0]
