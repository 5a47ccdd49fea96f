"""What holds when the first image begins, read back from the devices: it goes into the files."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Mapping

import attrs
import trio

from fsmcollect.beamline import Beamline
from fsmcollect.errors import DeviceError
from fsmcollect.together import asked

#: How long what an interrupted run has left on its way may take to arrive. Assumed: some times what an aperture takes.
SETTLING_S = 10


@attrs.frozen(kw_only=True)
class Conditions:
    """What was there, not what was asked. None: the beamline has no device that would know.

    Attributes
    ----------
    distance_mm, energy_ev : float or None
        Of the detector stage and the monochromator.
    transmission_frac : float or None
    aperture_um : float or None
        Diameter.
    temperature_k : float or None
        Of the gas at the sample.
    ring_current_ma : float or None
    kappa_deg, phi_deg : float or None
        None where the goniometer has no such axis.
    """

    distance_mm: float | None = None
    energy_ev: float | None = None
    transmission_frac: float | None = None
    aperture_um: float | None = None
    temperature_k: float | None = None
    ring_current_ma: float | None = None
    kappa_deg: float | None = None
    phi_deg: float | None = None


async def read_conditions(beamline: Beamline) -> Conditions:
    """Ask every device that knows something about the experiment.

    Raises
    ------
    DeviceError
        One does not answer.
    """
    stage, monochromator, attenuator = beamline.detector_stage, beamline.monochromator, beamline.attenuator
    aperture, cryo_stream, ring = beamline.aperture, beamline.cryo_stream, beamline.ring
    axes: Mapping[str, float] = {}
    if beamline.goniometer is not None:
        axes = await asked("goniometer", beamline.goniometer.read_positions)
    return Conditions(
        distance_mm=None if stage is None else await _read("detector_stage", stage.read_distance_mm),
        energy_ev=None if monochromator is None else await _read("monochromator", monochromator.read_energy_ev),
        transmission_frac=None if attenuator is None else await _read("attenuator", attenuator.read_transmission_frac),
        aperture_um=None if aperture is None else await _settled("aperture", aperture.read_size_um),
        temperature_k=None if cryo_stream is None else await _read("cryo_stream", cryo_stream.read_temperature_k),
        ring_current_ma=None if ring is None else await _read("ring", ring.read_current_ma),
        kappa_deg=axes.get("kappa_deg"),
        phi_deg=axes.get("phi_deg"),
    )


async def _read(role: str, read: Callable[[], Awaitable[float]]) -> float:
    return await asked(role, read)


async def _settled(role: str, read: Callable[[], Awaitable[float]]) -> float:
    """Of what nothing stops: a run that was interrupted may have left it on its way, where it has no answer."""
    for _ in range(SETTLING_S):
        with contextlib.suppress(DeviceError):
            return await asked(role, read)
        await trio.sleep(1.0)
    return await asked(role, read)
