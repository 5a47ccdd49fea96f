"""Rules about light: what must hold while the shutters let it through.

Owns no moment: `watching` says when they are looked at. A shutter that is CLOSING has been told to: no rule minds what
happens while it travels. One that was told to close and does not move is open, and every rule minds.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from fsmcollect.sim.detector import Detector, State
from fsmcollect.sim.goniometer import Goniometer
from fsmcollect.sim.interlock import Interlock
from fsmcollect.sim.shutter import Blade, SafetyShutter

#: How far omega, or a recorded angle, may be from the nominal one. Assumed: a tenth of the finest image width in use
#: (0.01 deg).
ANGLE_TOLERANCE_DEG = 0.001
#: Two instants that follow from each other by rounding to microseconds may differ by so much.
ROUNDING_US = 2


@attrs.define(eq=False)
class BeamOnlyOnArmedDetector:
    """Light can pass => the detector is armed or acquires.

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
    """Light can pass => within a sweep of the goniometer, omega where and as fast as that has it."""

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
class LightOnlyInFrames:
    """Light can pass => a frame is being exposed, or the first one is not longer away than the shutter's lead.

    Looked at when an instant is over: in the middle of the one at which a sweep reaches its first image, the gate may
    have the trigger still before it. A detector that has failed exposes no frame; `BeamOnlyOnArmedDetector` says why
    that is none of the light's rules.

    Attributes
    ----------
    lead_us : int
        How long before the first image the shutter may be told to open: its travel, as the beamline's configuration
        has it.
    """

    detector: Detector
    goniometer: Goniometer
    lead_us: int

    def look(self) -> str | None:
        running, now_us = self.goniometer.running_sweep, self.goniometer.kernel.now_us
        if running is None or self.detector.state is State.ERROR:
            return None
        if now_us < running.start_us:
            lead_us = running.start_us - now_us
            if lead_us > self.lead_us + ROUNDING_US:
                return f"the fast shutter is open {lead_us / 1e3:g} ms before the first image"
            return None
        exposure = self.detector.exposures[-1] if self.detector.exposures else None
        if exposure is None or exposure.start_us < running.start_us:
            return "the fast shutter is open and no frame was begun"
        if now_us > exposure.end_us + exposure.dead_us + ROUNDING_US:
            return "the fast shutter is open and the last frame has ended"
        return None


@attrs.define(eq=False)
class NothingInTheBeam:
    """Light can pass => what must be out of the beam's way is out.

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
        if self.interlock.searched or self.shutter.blade not in (Blade.OPENING, Blade.OPEN):
            return None
        return "the safety shutter is open and the hutch is not searched"


@attrs.define(eq=False)
class NoExposureInOpenHutch:
    """Light can pass => the hutch is searched: the safety shutter, which drops by itself, needs seconds for that.

    Looked at when an instant is over: in the middle of the one at which somebody opens the door, the sequencer may not
    have heard of it yet. When it is over, the fast shutter has been told to close.

    Attributes
    ----------
    notice_us : int or None
        How much later the sequencer may notice; None where a safety shutter tells it at once.
    """

    interlock: Interlock
    notice_us: int | None = None

    def look(self) -> str | None:
        if self.interlock.searched or (self.notice_us is not None and self.interlock.open_for_us <= self.notice_us):
            return None
        return "the fast shutter is open and the hutch is not searched"
