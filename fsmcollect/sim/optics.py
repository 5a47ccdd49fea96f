"""What shapes and measures the beam: attenuator, monochromator, aperture, detector stage, diodes.

Owns these simulated devices and what each does to the beam. Owns no flux: that is put together elsewhere from the
ring's current and the fractions that these devices let through.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import attrs
import trio

from fsmcollect.beamline import Range
from fsmcollect.errors import DeviceError
from fsmcollect.sim.actuator import Actuator
from fsmcollect.sim.kernel import US_PER_S, Kernel, to_us
from fsmcollect.sim.motion import Axis
from fsmcollect.sim.trace import Trace

#: Assumed: what tunable beamlines for crystallography usually span.
ENERGY_LIMITS_EV = Range(6000.0, 20000.0)
#: Assumed.
DISTANCE_LIMITS_MM = Range(60.0, 1000.0)
#: Powers of ten of an amplifier in V/A; assumed: what common current amplifiers offer.
GAINS = Range(3, 11)
#: Gains of i0 and i1 after power has come on. Assumed.
FIRST_GAINS = (6, 4)


def _attenuator_drive(self: Attenuator) -> Actuator[float]:
    return Actuator(self.kernel, self.trace, self.name, self.start_transmission_frac, self.move_s)


@attrs.define(eq=False)
class Attenuator:
    """Absorbers in the beam. While they change, the beam is as weak as the weaker of the two settings.

    Attributes
    ----------
    move_s : float
        From any transmission to any other, assumed.
    """

    kernel: Kernel
    trace: Trace
    start_transmission_frac: float = 1.0
    move_s: float = 1.0
    name: str = "attenuator"
    actuator: Actuator[float] = attrs.field(init=False, default=attrs.Factory(_attenuator_drive, takes_self=True))
    #: The weakest setting since the absorbers last stood.
    _least_frac: float = attrs.field(init=False, default=1.0)
    _slip_frac_s: float = attrs.field(init=False, default=0.0)
    #: How far they had slipped by `_slipped_us`.
    _slipped_frac: float = attrs.field(init=False, default=0.0)
    _slipped_us: int = attrs.field(init=False, default=0)

    @property
    def transmission_frac(self) -> float:
        """Fraction that is let through now."""
        setting = self.actuator.setting
        if setting is None:
            return self._least_frac
        slipped = self._slipped() if self._slip_frac_s or self._slipped_frac else 0.0
        return min(1.0, setting + slipped) if slipped else setting

    @property
    def slip_frac_s(self) -> float:
        """Fraction per second by which absorbers that stand slip out of the beam: a state of the device.

        The next command puts them right; where they still slip, they begin anew.
        """
        return self._slip_frac_s

    @slip_frac_s.setter
    def slip_frac_s(self, slip_frac_s: float) -> None:
        self._slipped_frac, self._slipped_us = self._slipped(), self.kernel.now_us
        self._slip_frac_s = slip_frac_s

    def _slipped(self) -> float:
        since_us = max(self._slipped_us, self.actuator.stands_since_us)
        return self._slipped_frac + self._slip_frac_s * (self.kernel.now_us - since_us) / US_PER_S

    async def read_transmission_frac(self) -> float:
        await trio.lowlevel.checkpoint()
        return self.transmission_frac

    async def set_transmission(self, transmission_frac: float) -> None:
        """Returns when the absorbers stand; 0 is a value like any other."""
        if not 0.0 <= transmission_frac <= 1.0:
            raise DeviceError(self.name, f"transmission_frac = {transmission_frac}: must be from 0 to 1")
        self._least_frac = min(self.transmission_frac, transmission_frac)
        self._slipped_frac, self._slipped_us = 0.0, self.kernel.now_us
        await self.actuator.go(float(transmission_frac))


def _energy_axis(self: Monochromator) -> Axis:
    return Axis(
        self.kernel,
        self.trace,
        f"{self.name}.energy_ev",
        self.limits_ev,
        max_speed=self.speed_ev_s,
        time_to_speed_s=0.5,
        settle_s=self.settle_s,
        position=self.start_energy_ev,
        device=self.name,
    )


@attrs.define(eq=False)
class Monochromator:
    """Photon energy, with the undulator gaps that follow it.

    Attributes
    ----------
    speed_ev_s, settle_s : float
        Assumed: moves take seconds.
    """

    kernel: Kernel
    trace: Trace
    start_energy_ev: float = 12700.0
    limits_ev: Range = ENERGY_LIMITS_EV
    speed_ev_s: float = 500.0
    settle_s: float = 2.0
    name: str = "monochromator"
    axis: Axis = attrs.field(init=False, default=attrs.Factory(_energy_axis, takes_self=True))

    @property
    def energy_ev(self) -> float:
        """What comes out now."""
        return self.axis.position()

    async def read_energy_ev(self) -> float:
        await trio.lowlevel.checkpoint()
        return self.energy_ev

    async def move(self, energy_ev: float) -> None:
        await self.axis.move(energy_ev)

    async def stop(self) -> None:
        await self.axis.stop()

    async def is_still(self) -> bool:
        await trio.lowlevel.checkpoint()
        return not self.axis.is_moving


def _distance_axis(self: DetectorStage) -> Axis:
    return Axis(
        self.kernel,
        self.trace,
        f"{self.name}.distance_mm",
        self.limits_mm,
        max_speed=self.speed_mm_s,
        time_to_speed_s=1.0,
        settle_s=self.settle_s,
        position=self.start_distance_mm,
        device=self.name,
    )


@attrs.define(eq=False)
class DetectorStage:
    """Distance from sample to detector. Limits, speed and settling are assumed."""

    kernel: Kernel
    trace: Trace
    start_distance_mm: float = 500.0
    limits_mm: Range = DISTANCE_LIMITS_MM
    speed_mm_s: float = 50.0
    settle_s: float = 0.5
    name: str = "detector_stage"
    axis: Axis = attrs.field(init=False, default=attrs.Factory(_distance_axis, takes_self=True))

    @property
    def distance_mm(self) -> float:
        """Where it is now."""
        return self.axis.position()

    async def read_distance_mm(self) -> float:
        await trio.lowlevel.checkpoint()
        return self.distance_mm

    async def move(self, distance_mm: float) -> None:
        await self.axis.move(distance_mm)

    async def stop(self) -> None:
        await self.axis.stop()

    async def is_still(self) -> bool:
        await trio.lowlevel.checkpoint()
        return not self.axis.is_moving


def _aperture_drive(self: Aperture) -> Actuator[float]:
    return Actuator(self.kernel, self.trace, self.name, self.start_size_um, self.move_s)


@attrs.define(eq=False)
class Aperture:
    """Beam-defining aperture; sizes are diameters. Sizes, times and the beam's width are assumed.

    Attributes
    ----------
    beam_fwhm_um : float
        Full width at half maximum of the round Gaussian beam that arrives.
    """

    kernel: Kernel
    trace: Trace
    sizes_um: Sequence[float] = (10.0, 20.0, 50.0, 100.0)
    start_size_um: float = 50.0
    move_s: float = 2.0
    beam_fwhm_um: float = 50.0
    name: str = "aperture"
    actuator: Actuator[float] = attrs.field(init=False, default=attrs.Factory(_aperture_drive, takes_self=True))

    @property
    def size_um(self) -> float | None:
        """What is in the beam now; None between two apertures, where the plate blocks it."""
        return self.actuator.setting

    @property
    def through_frac(self) -> float:
        """Fraction that passes now."""
        size_um = self.size_um
        return 0.0 if size_um is None else self.frac_through(size_um)

    def frac_through(self, size_um: float) -> float:
        """Fraction of a round Gaussian beam that passes an aperture of this size: 1 - 2**-(size / fwhm)**2."""
        return 1.0 - math.pow(2.0, -((size_um / self.beam_fwhm_um) ** 2))

    async def select(self, size_um: float) -> None:
        if size_um not in self.sizes_um:
            sizes = ", ".join(f"{size:g}" for size in self.sizes_um)
            raise DeviceError(self.name, f"there is no aperture of {size_um:g} um: there are {sizes} um")
        await self.actuator.go(float(size_um))

    async def read_size_um(self) -> float:
        """Raises `DeviceError` between two apertures."""
        await trio.lowlevel.checkpoint()
        size_um = self.size_um
        if size_um is None:
            raise DeviceError(self.name, "is between two apertures")
        return size_um


@attrs.define(eq=False)
class Diodes:
    """Beam monitors: i0 thin and before the fast shutter, i1 in the beamstop, behind the sample.

    A gain is the power of ten of an amplifier in V/A; counts come from a converter behind it, per second.

    Attributes
    ----------
    flux_ph_s : callable
        Of the beam in the hutch now, whether or not the fast shutter lets it on to the sample.
    energy_ev : callable
        Of that beam, now.
    safety_shutter_open : callable
        Without it neither diode sees anything.
    at_sample : callable
        The fast shutter is open now: i1 sees the beam.
    i0_absorbed_frac, i1_seen_frac : float
        Fractions of the flux that end in i0 and in i1. Assumed.
    full_scale_v, counts_per_v : float
        10 V are a million counts per second; assumed.
    adjust_s, set_s : float
        Assumed.
    """

    kernel: Kernel
    trace: Trace
    flux_ph_s: Callable[[], float]
    energy_ev: Callable[[], float] = lambda: 12700.0
    safety_shutter_open: Callable[[], bool] = lambda: True
    at_sample: Callable[[], bool] = lambda: True
    i0_absorbed_frac: float = 0.01
    i1_seen_frac: float = 0.9
    gains: Range = GAINS
    full_scale_v: float = 10.0
    counts_per_v: float = 1e5
    adjust_s: float = 0.5
    set_s: float = 0.1
    name: str = "diodes"
    _gains: tuple[int, int] = attrs.field(init=False, default=FIRST_GAINS)

    def reset(self) -> None:
        """Somebody power-cycles the amplifiers: their gains are forgotten."""
        self.trace.note(self.name, "reset")
        self._gains = FIRST_GAINS

    async def adjust_gains(self) -> None:
        """The highest gains that do not saturate; i1's is chosen for the beam that will come through the sample."""
        self._needs_beam()
        self.trace.note(self.name, "adjust gains")
        await self.kernel.wait(to_us(self.adjust_s), by=self.name)
        self._needs_beam()
        flux_ph_s = self.flux_ph_s()
        self._gains = (
            self._best(self._amperes(flux_ph_s * self.i0_absorbed_frac)),
            self._best(self._amperes(flux_ph_s * self.i1_seen_frac)),
        )
        self.trace.note(self.name, f"gains {self._gains[0]} {self._gains[1]}")

    async def read_gains(self) -> tuple[int, int]:
        await trio.lowlevel.checkpoint()
        return self._gains

    async def set_gains(self, i0: int, i1: int) -> None:
        for diode, gain in (("i0", i0), ("i1", i1)):
            if gain not in self.gains:
                low, high = self.gains.low, self.gains.high
                raise DeviceError(self.name, f"gain of {diode} = {gain}: must be from {low:g} to {high:g}")
        self.trace.note(self.name, f"set gains {i0} {i1}")
        await self.kernel.wait(to_us(self.set_s), by=self.name)
        self._gains = (i0, i1)

    async def read_counts(self) -> tuple[float, float]:
        """Counts per second of i0 and i1, cut off where the amplifier saturates."""
        await trio.lowlevel.checkpoint()
        if not self.safety_shutter_open():
            return 0.0, 0.0
        flux_ph_s = self.flux_ph_s()
        behind_ph_s = flux_ph_s * self.i1_seen_frac if self.at_sample() else 0.0
        i0 = self._counts(flux_ph_s * self.i0_absorbed_frac, self._gains[0])
        return i0, self._counts(behind_ph_s, self._gains[1])

    def _needs_beam(self) -> None:
        if not self.safety_shutter_open():
            raise DeviceError(self.name, "cannot adjust the gains: the safety shutter is not open")

    def _amperes(self, absorbed_ph_s: float) -> float:
        """3.66 eV make an electron-hole pair in silicon; 1.602e-19 C is one electron."""
        return absorbed_ph_s * self.energy_ev() / 3.66 * 1.602176634e-19

    def _best(self, amperes: float) -> int:
        highest = int(self.gains.high)
        if amperes <= 0.0:
            return highest
        return max(int(self.gains.low), min(highest, math.floor(math.log10(self.full_scale_v / amperes))))

    def _counts(self, absorbed_ph_s: float, gain: int) -> float:
        volts: float = self._amperes(absorbed_ph_s) * math.pow(10.0, gain)
        return min(volts, self.full_scale_v) * self.counts_per_v
