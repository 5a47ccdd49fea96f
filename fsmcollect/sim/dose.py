"""What the crystal gets: angle, flux and photons at any instant, and how much of each frame saw the beam.

Owns the combination of all that stands between the ring and the crystal. Owns no device, and does not tick: photons
are integrated over what lies between two instants at which something happened, shutter ramps included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import attrs

from fsmcollect.sim.kernel import US_PER_S, Kernel
from fsmcollect.sim.motion import Axis
from fsmcollect.sim.shutter import FastShutter, SafetyShutter

#: The ring's current is taken as constant for so long at most; it decays by some 0.2 % in that time.
_CONSTANT_US = 10 * US_PER_S


class RingCurrent(Protocol):
    """The ring, as far as the dose goes."""

    @property
    def nominal_ma(self) -> float: ...
    def current_ma(self, at_us: int | None = None) -> float: ...
    def has_beam(self, at_us: int | None = None) -> bool: ...


@attrs.frozen(kw_only=True)
class BeamPath:
    """What shapes the beam on its way; what a beamline lacks is None or left out.

    Attributes
    ----------
    full_flux_ph_s : float
        At the ring's nominal current with everything open.
    fractions : sequence of callables
        Each the fraction that one device lets through now: attenuator, aperture, backlight, monochromator.
    in_beam : callable
        A crystal is where the beam is; asked when the shutter begins to open after it has been closed for a time.
    """

    full_flux_ph_s: float
    omega: Axis
    fast_shutter: FastShutter
    safety_shutter: SafetyShutter | None = None
    ring: RingCurrent | None = None
    fractions: Sequence[Callable[[], float]] = ()
    in_beam: Callable[[], bool] = lambda: True


@attrs.define(eq=False, repr=False)
class Dose:
    """Dose and exposure, accounted from the kernel's instants.

    Between two instants nothing changes but what is a formula of time: the shutters' travel and the ring's current.
    """

    kernel: Kernel
    path: BeamPath
    _photons: float = attrs.field(init=False, default=0.0)
    _exposed_us: float = attrs.field(init=False, default=0.0)
    #: The same at the sample's place, whether or not there is a sample; the last without what absorbs.
    _lit_us: float = attrs.field(init=False, default=0.0)
    _sample_photons: float = attrs.field(init=False, default=0.0)
    _unattenuated_photons: float = attrs.field(init=False, default=0.0)
    #: Up to here all is accounted for; `_let_through_us` is what the fast shutter had let through by then.
    _until_us: int = attrs.field(init=False, default=0)
    _let_through_us: float = attrs.field(init=False, default=0.0)
    _safety_let_through_us: float = attrs.field(init=False, default=0.0)
    #: What held since then.
    _fraction: float = attrs.field(init=False, default=0.0)
    _crystal: bool = attrs.field(init=False, default=False)
    _closed: bool = attrs.field(init=False, default=True)
    #: Since when there is no beam before the fast shutter, and such times in the past; seen while it is not closed.
    _dark_since_us: int | None = attrs.field(init=False, default=None)
    _dark_spans: list[tuple[int, int]] = attrs.field(init=False, factory=list[tuple[int, int]])

    def __attrs_post_init__(self) -> None:
        self.kernel.settled.append(self._settle)

    # -- now ----------------------------------------------------------------------------------------------------------

    @property
    def omega_deg(self) -> float:
        return self.path.omega.position()

    @property
    def hutch_flux_ph_s(self) -> float:
        """Flux before the fast shutter: what the i0 diode stands in."""
        path, safety = self.path, self.path.safety_shutter
        safety_frac = 1.0 if safety is None else safety.aperture_frac()
        return path.full_flux_ph_s * self._ring_frac(self.kernel.now_us) * safety_frac * self._through()

    @property
    def flux_ph_s(self) -> float:
        """Flux at the sample's place, whether or not there is a sample."""
        return self.hutch_flux_ph_s * self.path.fast_shutter.aperture_frac()

    @property
    def crystal_hit(self) -> bool:
        """Photons hit a crystal now."""
        return not self.path.fast_shutter.closed and self.flux_ph_s > 0.0 and self.path.in_beam()

    # -- up to now ----------------------------------------------------------------------------------------------------

    @property
    def photons(self) -> float:
        """On crystals, up to now."""
        self._account()
        return self._photons

    @property
    def exposed_us(self) -> float:
        """Time that crystals spent in the beam, up to now; a half-open shutter counts half, absorbers do not count."""
        self._account()
        return self._exposed_us

    @property
    def lit_us(self) -> float:
        """As `exposed_us`, whether or not a crystal was in the beam."""
        self._account()
        return self._lit_us

    @property
    def at_sample(self) -> tuple[float, float, float]:
        """`lit_us`, photons at the sample's place whether or not there is a sample, and the same without absorbers."""
        self._account()
        return self._lit_us, self._sample_photons, self._unattenuated_photons

    # -- frames -------------------------------------------------------------------------------------------------------

    def lit_frac(self, start_us: int, end_us: int) -> float:
        """Fraction of a time in which the fast shutter was wholly open and there was beam before it.

        The time must lie within the detector's present acquisition (`forget`). Absorbers do not matter: a transmission
        of 0 may be asked for.
        """
        lit_us = 0
        for open_us, shut_us in self.path.fast_shutter.open_spans(start_us, end_us):
            dark = (min(shut_us, end) - max(open_us, begin) for begin, end in self._darkness())
            lit_us += shut_us - open_us - sum(us for us in dark if us > 0)
        return lit_us / (end_us - start_us)

    def forget(self) -> None:
        """A new acquisition begins: nobody will ask about earlier frames."""
        self.path.fast_shutter.forget_spans()
        self._dark_spans.clear()

    def _darkness(self) -> Iterator[tuple[int, int]]:
        yield from self._dark_spans
        if self._dark_since_us is not None:
            yield self._dark_since_us, self.kernel.now_us

    # -- accounting ---------------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """An instant is over: account for what lies behind, note what holds from now on."""
        closed = self.path.fast_shutter.closed
        if closed and self._closed:
            return
        # One wedge is one piece, unless something changes meanwhile: asking everybody at each instant would cost more
        # than all the rest of a short wedge. Nothing moves the crystal while the shutter is open (see `checkers`).
        fraction, since_us = self._through(), self.kernel.now_us
        if self._closed:
            since_us = self._begin()
            self._fraction = fraction
        elif closed or fraction != self._fraction:
            self._account()
            self._fraction = fraction
        self._closed = closed
        self._note_darkness(since_us)

    def _begin(self) -> int:
        """The shutter has begun to open: account from there on. Returns that instant, which paced may lie behind."""
        path = self.path
        self._until_us = since_us = path.fast_shutter.travelling_since_us
        if path.safety_shutter is not None:
            behind_us = self.kernel.now_us - since_us
            let_through_us = path.safety_shutter.let_through_us()
            self._safety_let_through_us = let_through_us - behind_us * path.safety_shutter.aperture_frac()
        self._crystal = path.in_beam()
        return since_us

    def _note_darkness(self, since_us: int) -> None:
        ring, safety = self.path.ring, self.path.safety_shutter
        dark = (ring is not None and not ring.has_beam()) or (safety is not None and not safety.wholly_open)
        if dark and self._dark_since_us is None:
            self._account()
            self._dark_since_us = since_us
        elif not dark and self._dark_since_us is not None:
            self._account()
            self._dark_spans.append((self._dark_since_us, since_us))
            self._dark_since_us = None

    def _account(self) -> None:
        """Integrate from `_until_us` to now, with what held in between."""
        now_us, path = self.kernel.now_us, self.path
        let_through_us = path.fast_shutter.let_through_us()
        safety_us = 0.0 if path.safety_shutter is None else path.safety_shutter.let_through_us()
        passed_us = now_us - self._until_us
        open_us = let_through_us - self._let_through_us
        if open_us > 0.0 and passed_us > 0:
            safety_frac = 1.0
            if path.safety_shutter is not None:
                safety_frac = (safety_us - self._safety_let_through_us) / passed_us
            ring_frac = self._mean_ring_frac(self._until_us, now_us)
            lit_us = open_us * safety_frac if ring_frac > 0.0 else 0.0
            unattenuated = path.full_flux_ph_s * ring_frac * safety_frac * open_us / US_PER_S
            photons = unattenuated * self._fraction
            self._lit_us += lit_us
            self._unattenuated_photons += unattenuated
            self._sample_photons += photons
            if self._crystal:
                self._exposed_us += lit_us
                self._photons += photons
        self._until_us, self._let_through_us, self._safety_let_through_us = now_us, let_through_us, safety_us

    def _mean_ring_frac(self, from_us: int, to_us: int) -> float:
        """Mean over pieces short enough to be taken at their middle."""
        pieces = 1 + (to_us - from_us) // _CONSTANT_US
        step_us = (to_us - from_us) / pieces
        return sum(self._ring_frac(int(from_us + (piece + 0.5) * step_us)) for piece in range(pieces)) / pieces

    def _ring_frac(self, at_us: int) -> float:
        ring = self.path.ring
        return 1.0 if ring is None else ring.current_ma(at_us) / ring.nominal_ma

    def _through(self) -> float:
        fraction = 1.0
        for let_through in self.path.fractions:
            fraction *= let_through()
        return fraction
