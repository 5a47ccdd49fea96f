"""Rules about dose: the light of every opening of the fast shutter, and of a whole run, against what was asked for.

Owns the books: what `sim.dose` has accounted is compared with what was planned, crystal in the beam or not. Light is
time in the beam, a half-open shutter counting half. It is judged when it is over: an opening at the end of the instant
at which the shutter is closed again, a run when it has ended.

That every image which is handed out was lit all its time is `FramesAreTrue`'s. So what is left to look at is the light
that belongs to no complete image, and how strong the light was.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import attrs

from fsmcollect import limits
from fsmcollect.events import Event, Failure, ImagesTaken, Moved, RunEnded, RunStarted
from fsmcollect.machines.wedge import WEDGE
from fsmcollect.machines.wedge import State as WedgeState
from fsmcollect.sim.detector import Detector, Exposure, State
from fsmcollect.sim.dose import Dose
from fsmcollect.sim.kernel import US_PER_S, to_us
from fsmcollect.sim.shutter import FastShutter

#: What rounding to whole microseconds may make of one opening: its begin, its end and every command in between.
ROUNDING_US = 10.0
#: Wedges that end like this leave an image that nobody gets.
_CUT_OFF = (WedgeState.INTERRUPTED.name, WedgeState.BROKEN.name)


@attrs.define(eq=False)
class Opening:
    """One opening of the fast shutter that is over.

    Attributes
    ----------
    lit_us : float
        Time in the beam.
    photons, unattenuated_photons : float
        At the sample's place, and what there would have been without absorbers and apertures.
    shut_us : int
        When the shutter was told to close.
    exposures : tuple of Exposure
        What was triggered meanwhile.
    has_failed : bool
        The detector was in error by then.
    """

    lit_us: float
    photons: float
    unattenuated_photons: float
    shut_us: int
    exposures: tuple[Exposure, ...]
    has_failed: bool


@attrs.define(eq=False, repr=False)
class Openings:
    """Keeps the books of the fast shutter, opening by opening, and hands each to whoever judges it."""

    dose: Dose
    shutter: FastShutter
    detector: Detector
    judges: list[Callable[[Opening], None]] = attrs.field(factory=list[Callable[[Opening], None]])
    _lit_us: float = attrs.field(init=False, default=0.0)
    _photons: float = attrs.field(init=False, default=0.0)
    _unattenuated: float = attrs.field(init=False, default=0.0)
    _exposures: list[Exposure] = attrs.field(init=False, factory=list[Exposure])

    def __attrs_post_init__(self) -> None:
        self.detector.triggered.append(self._remember)

    def _remember(self) -> None:
        self._exposures.append(self.detector.exposures[-1])

    def over(self) -> None:
        """The shutter is closed again."""
        lit_us, photons, unattenuated = self.dose.at_sample
        opening = Opening(
            lit_us - self._lit_us,
            photons - self._photons,
            unattenuated - self._unattenuated,
            self.shutter.travelling_since_us,
            tuple(self._exposures),
            self.detector.state is State.ERROR,
        )
        self._lit_us, self._photons, self._unattenuated = lit_us, photons, unattenuated
        self._exposures.clear()
        for judge in self.judges:
            judge(opening)


@attrs.define(eq=False)
class LightAsPlanned:
    """An opening's light beyond its complete frames is the shutter's travel and one interrupted frame at most.

    Before the first image the shutter may open earlier than it must by what the beamline's configuration allows for its
    travel. Frames count as complete if they had ended when the shutter was told to close. A detector that has failed
    completes none and cannot say so by itself: of such an opening only `BeamOnlyInSweep` holds, which ends it with the
    sweep.

    Attributes
    ----------
    lead_s : float
        How long before the first image the shutter may be told to open.
    """

    shutter: FastShutter
    lead_s: float
    say: Callable[[str], None]

    @property
    def travel_us(self) -> float:
        """Light of one opening and closing: half of each travel, and what the shutter was told to open too early."""
        lead_s, opening_s = self.lead_s, self.shutter.opening_s
        # One that is slower than configured is still on its way when the first image begins.
        before_s = lead_s - 0.5 * opening_s if opening_s <= lead_s else 0.5 * lead_s**2 / opening_s
        return (before_s + 0.5 * self.shutter.closing_s) * US_PER_S

    def judge(self, opening: Opening) -> None:
        if opening.has_failed:
            return
        complete_us = interrupted_us = 0.0
        for exposure in opening.exposures:
            numerator, denominator = exposure.period_us
            complete = exposure.complete(opening.shut_us)
            complete_us += complete * numerator / denominator
            interrupted_us = numerator / denominator if complete < exposure.frames else 0.0
        beyond_us = opening.lit_us - complete_us
        if beyond_us > self.travel_us + interrupted_us + ROUNDING_US:
            allowed = "its travel and one image explain" if interrupted_us else "its travel explains"
            self.say(
                f"the fast shutter let light through for {beyond_us / 1e3:.3f} ms that belong to no complete image: "
                f"{allowed} {(self.travel_us + interrupted_us) / 1e3:.3f} ms"
            )


@attrs.define(eq=False, repr=False)
class PhotonsAsAsked:
    """The light of every opening was as strong as was asked for: transmission and aperture of the request.

    What was not asked for is what stood when the run began. Without a run nothing was asked for.

    Attributes
    ----------
    transmission_frac : callable
        Of the absorbers, now.
    aperture_frac : callable
        Fraction that an aperture of a size lets through, of the present one for None; None between two: then nobody has
        said how much it shall be.
    """

    kinds: ClassVar[tuple[type[Event], ...]] = (RunStarted,)

    transmission_frac: Callable[[], float]
    aperture_frac: Callable[[float | None], float | None]
    say: Callable[[str], None]
    _asked_frac: float | None = attrs.field(init=False, default=None)
    _aperture_frac: float | None = attrs.field(init=False, default=1.0)

    def hear(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            beam = event.request.get("beam", {})
            asked_frac = beam.get("transmission_frac")
            self._asked_frac = self.transmission_frac() if asked_frac is None else float(asked_frac)
            self._aperture_frac = self.aperture_frac(beam.get("aperture_um"))

    def judge(self, opening: Opening) -> None:
        if self._asked_frac is None or self._aperture_frac is None or opening.unattenuated_photons <= 0.0:
            return
        through_frac = opening.photons / opening.unattenuated_photons
        asked_frac = self._asked_frac * self._aperture_frac
        # The sequencer takes a transmission that reads back so near for what was asked.
        tolerance_frac = limits.transmission_tolerance(self._asked_frac) * self._aperture_frac
        if not abs(through_frac - asked_frac) <= tolerance_frac:
            self.say(
                f"{100 * through_frac:.3g} % of the beam reached the sample's place, and the request says "
                f"{100 * asked_frac:.3g} %"
            )


@attrs.define(eq=False, repr=False)
class DoseOfRun:
    """A run's light is images x exposure, plus what its openings and its interruptions explain. Looked at at its end.

    Each opening may add the shutter's travel (`LightAsPlanned.travel_us`), each interrupted wedge one image. Images
    that were taken and thrown away, or taken twice, are more than that. Where something failed, images may be lost:
    then only `LightAsPlanned` holds.
    """

    kinds: ClassVar[tuple[type[Event], ...]] = (RunStarted, Moved, ImagesTaken, Failure, RunEnded)

    dose: Dose
    light: LightAsPlanned
    say: Callable[[str], None]
    _is_running: bool = attrs.field(init=False, default=False)
    _has_failed: bool = attrs.field(init=False, default=False)
    _exposure_us: int = attrs.field(init=False, default=0)
    _images: int = attrs.field(init=False, default=0)
    _cut_off: int = attrs.field(init=False, default=0)
    _openings: int = attrs.field(init=False, default=0)
    #: What was lit before the run, and by the time the last opening was over.
    _before_us: float = attrs.field(init=False, default=0.0)
    _booked_us: float = attrs.field(init=False, default=0.0)

    def judge(self, _opening: Opening) -> None:
        """One more opening is over."""
        self._openings += 1
        self._booked_us = self.dose.lit_us

    def hear(self, event: Event) -> None:
        if isinstance(event, Moved):
            if event.dest in _CUT_OFF and event.machine == WEDGE.name:
                self._cut_off += 1
        elif isinstance(event, ImagesTaken):
            self._images += event.images
        elif isinstance(event, Failure):
            self._has_failed = True
        elif isinstance(event, RunStarted):
            self._is_running, self._has_failed = True, False
            self._images = self._cut_off = self._openings = 0
            self._exposure_us = to_us(float(event.request["sweep"]["exposure_s"]))
            self._before_us = self._booked_us = self.dose.lit_us
        elif self._is_running and not self._has_failed:
            self._is_running = False
            self._look()

    def _look(self) -> None:
        lit_us = self.dose.lit_us - self._before_us
        planned_us = self._images * self._exposure_us
        # A run may end in the very instant in which its last opening does, which is over when that instant is.
        openings = self._openings + (self.dose.lit_us > self._booked_us)
        rounding_us = ROUNDING_US * (openings + 1) + 0.5 * self._images
        beyond_us = lit_us - planned_us
        explained_us = openings * self.light.travel_us + self._cut_off * self._exposure_us
        if not -rounding_us <= beyond_us <= explained_us + rounding_us:
            self.say(
                f"the beam was on for {lit_us / 1e3:.3f} ms: {self._images} images take {planned_us / 1e3:.3f} ms, and "
                f"shutter and interruptions explain at most {explained_us / 1e3:.3f} ms more"
            )
