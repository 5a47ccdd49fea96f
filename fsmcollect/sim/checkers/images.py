"""Rules about images: each was in the beam, at its angle and as asked for, is handed out, and is reported once.

Owns no image and no file. What is looked at here lies in the past (an exposure that has ended, an event that was told),
so it is looked at when the detector or the sequencer says so, in the middle of an instant too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import ClassVar

import attrs

from fsmcollect import limits
from fsmcollect.events import Event, Failure, ImagesTaken, RunEnded, RunStarted, WedgeStarted
from fsmcollect.sim.checkers.beam import ANGLE_TOLERANCE_DEG
from fsmcollect.sim.detector import Detector, State
from fsmcollect.sim.dose import Dose
from fsmcollect.sim.goniometer import Goniometer

#: Events carry angles with six digits.
_ROUNDING_DEG = 1e-6


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

    So the lit time of complete images is images x exposure, exactly. Frames that nobody is given (those an abort cuts
    off) may be as they are; how many of them there may be is `LightAsPlanned`'s.
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
class ReportedIsHandedOut:
    """What is reported was handed out before, each image once and in order; what was handed out is reported.

    An image may be handed out again while nobody has reported it: the first time, its storing was interrupted. It may
    stay unreported where a failure was. Looked at when the detector hands out and when the sequencer reports; what is
    missing, when the next wedge begins and when the run ends.
    """

    kinds: ClassVar[tuple[type[Event], ...]] = (RunStarted, WedgeStarted, ImagesTaken, Failure, RunEnded)

    detector: Detector
    say: Callable[[str], None]
    _wedge: WedgeStarted | None = attrs.field(init=False, default=None)
    #: Of the present wedge, the images from its first up to but not including these.
    _handed_out: int = attrs.field(init=False, default=0)
    _reported: int = attrs.field(init=False, default=0)
    #: Since the present wedge began something went wrong, and was told.
    _has_failed: bool = attrs.field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        self.detector.handed_out.append(self._note)

    def hear(self, event: Event) -> None:
        if isinstance(event, ImagesTaken):
            self._look(event)
        elif isinstance(event, Failure):
            self._has_failed = True
        else:
            self._look_at_what_is_missing()
            self._wedge, self._has_failed = None, False
            if isinstance(event, WedgeStarted):
                self._wedge, self._handed_out, self._reported = event, event.first_image, event.first_image

    def _note(self, first: int, count: int) -> None:
        wedge = self._wedge
        if wedge is None:
            return
        start = wedge.first_image + first
        if start < self._reported:
            self.say(f"image {start} of {wedge.series} was handed out and had been reported")
        if start > self._handed_out:
            self.say(f"images {self._handed_out} to {start - 1} of {wedge.series} were passed over")
        self._handed_out = max(self._handed_out, start + count)

    def _look(self, event: ImagesTaken) -> None:
        start, stop, wedge = event.first_image, event.first_image + event.images, self._wedge
        if wedge is None or wedge.series != event.series:
            self.say(f"images {start} to {stop - 1} of {event.series} were reported in no wedge of it")
            return
        if start != self._reported:
            self.say(f"image {start} of {event.series} was reported where it was the turn of {self._reported}")
        if stop > self._handed_out:
            self.say(f"image {stop - 1} of {event.series} was reported and never handed out")
        self._reported = stop

    def _look_at_what_is_missing(self) -> None:
        if self._wedge is not None and not self._has_failed and self._reported < self._handed_out:
            missing = f"images {self._reported} to {self._handed_out - 1} of {self._wedge.series}"
            self.say(f"{missing} were handed out and never reported")


@attrs.define(eq=False, repr=False)
class ReportedAnglesAreNominal:
    """The angle that is reported of an image is where its wedge has it. Looked at when images are reported."""

    kinds: ClassVar[tuple[type[Event], ...]] = (RunStarted, WedgeStarted, ImagesTaken)

    say: Callable[[str], None]
    _wedge: WedgeStarted | None = attrs.field(init=False, default=None)
    _width_deg: float = attrs.field(init=False, default=0.0)

    def hear(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self._width_deg = float(Fraction(event.request["sweep"]["image_width_deg"]))  # "1/3" is an angle too
        elif isinstance(event, WedgeStarted):
            self._wedge = event
        elif isinstance(event, ImagesTaken) and self._wedge is not None:
            self._look(event, self._wedge)

    def _look(self, event: ImagesTaken, wedge: WedgeStarted) -> None:
        nominal_deg = wedge.omega_start_deg + (event.first_image - wedge.first_image) * self._width_deg
        if not abs(event.omega_recorded_deg - nominal_deg) <= ANGLE_TOLERANCE_DEG + _ROUNDING_DEG:
            self.say(
                f"image {event.first_image} of {event.series} was reported at {event.omega_recorded_deg:.4f} deg "
                f"instead of {nominal_deg:.4f} deg"
            )


@attrs.define(eq=False, repr=False)
class SettingsAsAsked:
    """Images are taken at the energy and the distance of the request. Looked at when they are reported.

    Attributes
    ----------
    energy_ev, distance_mm : callable
        Where the monochromator and the detector really stand.
    """

    kinds: ClassVar[tuple[type[Event], ...]] = (RunStarted, ImagesTaken)

    energy_ev: Callable[[], float]
    distance_mm: Callable[[], float]
    say: Callable[[str], None]
    _asked_ev: float | None = attrs.field(init=False, default=None)
    _asked_mm: float | None = attrs.field(init=False, default=None)

    def hear(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            beam = event.request.get("beam", {})
            self._asked_ev, self._asked_mm = beam.get("energy_ev"), beam.get("detector_distance_mm")
        elif isinstance(event, ImagesTaken):
            # What reads back so near the sequencer takes for what was asked.
            if self._asked_ev is not None:
                self._look(event, self.energy_ev(), self._asked_ev, limits.ENERGY_TOLERANCE * self._asked_ev, "eV")
            if self._asked_mm is not None:
                self._look(event, self.distance_mm(), self._asked_mm, limits.DISTANCE_TOLERANCE_MM, "mm")

    def _look(self, event: ImagesTaken, there: float, asked: float, tolerance: float, unit: str) -> None:
        if not abs(there - asked) <= tolerance:
            image = f"image {event.first_image} of {event.series}"
            self.say(f"{image} was taken at {there:g} {unit}, and the request says {asked:g} {unit}")
