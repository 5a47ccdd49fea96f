"""What stands around the sample and the detector: cold stream, detector cover, fluorescence detector.

Owns these three simulated devices. What the beam does to the crystal is not theirs (see `dose`).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence

import attrs
import trio

from fsmcollect.errors import DeviceError
from fsmcollect.sim.actuator import Actuator
from fsmcollect.sim.kernel import US_PER_S, Kernel, to_us
from fsmcollect.sim.trace import Trace

#: Line energy and absorption edge in eV of the elements that anomalous data are collected at.
#: X-ray Data Booklet (LBNL 2009), tables 1-1 and 1-2: K-alpha1 and K edge.
K_LINES_EV: Mapping[str, tuple[float, float]] = {
    "Fe": (6403.8, 7112.0),
    "Cu": (8047.8, 8979.0),
    "Zn": (8638.9, 9659.0),
    "Se": (11222.4, 12658.0),
}


@attrs.define(eq=False)
class CryoStream:
    """Cold gas over the crystal.

    Attributes
    ----------
    temperature_k : float
        The gas at the sample; 100 K is the field's usual value. Set it to let the crystal warm up.
    noise_k : float
        Standard deviation of the read-back, assumed.
    """

    kernel: Kernel
    trace: Trace
    rng: random.Random
    temperature_k: float = 100.0
    noise_k: float = 0.1
    _warming_k_s: float = attrs.field(init=False, default=0.0)
    _warming_since_us: int = attrs.field(init=False, default=0)

    @property
    def warming_k_s(self) -> float:
        """Kelvin per second by which the gas gets warmer, as when the nitrogen runs out: a state of the device.

        Set to 0 it is as cold as before; at once, assumed.
        """
        return self._warming_k_s

    @warming_k_s.setter
    def warming_k_s(self, warming_k_s: float) -> None:
        self._warming_k_s, self._warming_since_us = warming_k_s, self.kernel.now_us

    async def read_temperature_k(self) -> float:
        await trio.lowlevel.checkpoint()
        warmer_k = self._warming_k_s * (self.kernel.now_us - self._warming_since_us) / US_PER_S
        return self.rng.gauss(self.temperature_k + warmer_k, self.noise_k)


def _cover(self: DetectorCover) -> Actuator[str]:
    return Actuator(self.kernel, self.trace, self.name, "closed" if self.starts_closed else "open", self.travel_s)


@attrs.define(eq=False)
class DetectorCover:
    """Protects the detector's sensor; closed at first.

    Attributes
    ----------
    travel_s : float
        From open to closed, assumed.
    actuator : Actuator
        Its drive: ``actuator.jammed`` is the state in which it hears and does not move.
    """

    kernel: Kernel
    trace: Trace
    travel_s: float = 3.0
    name: str = "detector_cover"
    starts_closed: bool = True
    actuator: Actuator[str] = attrs.field(init=False, default=attrs.Factory(_cover, takes_self=True))

    @property
    def is_open_now(self) -> bool:
        """Wholly open: the sensor sees everything."""
        return self.actuator.setting == "open"

    async def open(self) -> None:
        await self.actuator.go("open")

    async def close(self) -> None:
        """Makes safe."""
        await self.actuator.go("closed")

    async def is_closed(self) -> bool:
        await trio.lowlevel.checkpoint()
        return self.actuator.setting == "closed"


@attrs.define(eq=False)
class FluorescenceDetector:
    """Energy-resolving detector that sees a plain spectrum: the K-alpha lines of `elements` and elastic scatter.

    Attributes
    ----------
    energy_ev : callable
        Of the incoming beam, now: a line is excited above its edge only.
    flux_ph_s : callable
        At the sample, now, read at the end of the exposure; 0 gives an empty spectrum but for the background.
    elements : sequence of str
        Names out of `K_LINES_EV`.
    channels, channel_ev : int, float
        Width of the spectrum, assumed: 1024 channels of 20 eV.
    resolution_ev : float
        Full width at half maximum: about 140 eV is what silicon drift detectors are sold with at 5.9 keV; assumed
        to be the same everywhere.
    efficiency_frac : float
        Counts in a line per photon at the sample, assumed.
    background_counts_s : float
        In each channel, assumed.
    readout_s : float
        Assumed.
    """

    kernel: Kernel
    trace: Trace
    rng: random.Random
    energy_ev: Callable[[], float]
    flux_ph_s: Callable[[], float]
    elements: Sequence[str] = ("Se",)
    channels: int = 1024
    channel_ev: float = 20.0
    resolution_ev: float = 140.0
    efficiency_frac: float = 1e-8
    background_counts_s: float = 0.5
    readout_s: float = 0.1
    name: str = "fluorescence_detector"

    async def measure(self, exposure_s: float) -> Sequence[int]:
        if not (math.isfinite(exposure_s) and exposure_s > 0.0):
            raise DeviceError(self.name, f"an exposure of {exposure_s} s: must be greater than 0 s")
        self.trace.note(self.name, f"measure {exposure_s:.6f} s")
        await self.kernel.wait(to_us(exposure_s), by=self.name)
        expected = self._expected(exposure_s)
        await self.kernel.wait(to_us(self.readout_s), by=self.name)
        return [self._count(mean) for mean in expected]

    def _expected(self, exposure_s: float) -> list[float]:
        """Mean counts per channel."""
        energy_ev = self.energy_ev()
        counts = self.flux_ph_s() * exposure_s * self.efficiency_frac
        lines_ev = [line for line, edge in map(K_LINES_EV.__getitem__, self.elements) if energy_ev > edge]
        sigma_ev = self.resolution_ev / math.sqrt(8.0 * math.log(2.0))
        height = counts * self.channel_ev / (sigma_ev * math.sqrt(2.0 * math.pi))
        spectrum = [self.background_counts_s * exposure_s] * self.channels
        for peak_ev in (*lines_ev, energy_ev):
            for channel in range(self.channels):
                away = ((channel + 0.5) * self.channel_ev - peak_ev) / sigma_ev
                if abs(away) < 6.0:
                    spectrum[channel] += height * math.exp(-0.5 * away * away)
        return spectrum

    def _count(self, mean: float) -> int:
        """Poisson noise, near enough: its normal approximation cut at 0."""
        return max(0, round(self.rng.gauss(mean, math.sqrt(mean))))
