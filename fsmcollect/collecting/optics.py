"""The optics of a collection: what moves WHILE the sample is mounted and centred, where that is safe.

Detector distance, energy, transmission and aperture do not touch the sample, so they need not wait for it. The one
thing they share with whoever mounts it is room: the detector keeps the distance that the robot's arm needs until the
sample is on the goniometer, and does not move at all while a person's hands are there. Nothing here opens a shutter.
"""

from __future__ import annotations

import math

import attrs
import trio

from fsmcollect import limits
from fsmcollect.beamline import Beamline
from fsmcollect.collecting.moving import agree
from fsmcollect.events import StepDone
from fsmcollect.observers import Observers
from fsmcollect.together import answered, asked, together

#: Longest wait for any one of the optics. Assumed: several times the longest travel.
MOVE_LIMIT_S = 300.0
#: Sizes on offer are whole micrometres: assumed, half of one tells them apart.
APERTURE_TOLERANCE_UM = 0.5


@attrs.define(eq=False, kw_only=True)
class OpticsTargets:
    """Where the optics are wanted; None leaves a device as it stands."""

    distance_mm: float | None
    energy_ev: float | None
    transmission_frac: float | None
    aperture_um: float | None


@attrs.define(eq=False, kw_only=True)
class Optics:
    """Moves the optics in a nursery that the run owns, and is waited for before anything is exposed."""

    beamline: Beamline
    targets: OpticsTargets
    observers: Observers
    #: The detector does not go nearer than this until the room is free: nowhere at all where a person mounts.
    _keeps_mm: float = attrs.field(init=False, default=math.inf)
    #: Set once robot or person have left: the detector may go anywhere.
    _room_is_free: trio.Event = attrs.field(init=False, factory=trio.Event)
    _scope: trio.CancelScope = attrs.field(init=False, factory=trio.CancelScope)
    _ended: trio.Event = attrs.field(init=False, factory=trio.Event)
    #: A bug too: it is raised where the optics are waited for, so that the run ends as with any other bug.
    _failure: Exception | None = attrs.field(init=False, default=None)

    def start(self, nursery: trio.Nursery) -> None:
        nursery.start_soon(self._run, name="optics")

    def room_is_free(self) -> None:
        """Robot or person have left the sample position, or never come."""
        self._room_is_free.set()

    def stop(self) -> None:
        """Give up what is under way; safing stops the motors."""
        self._scope.cancel()

    async def make_room(self) -> None:
        """Move the detector away from where the robot's arm will be; nothing where it is far enough."""
        changer, stage = self.beamline.sample_changer, self.beamline.detector_stage
        if changer is None:
            return
        self._keeps_mm = changer.needs_distance_mm
        if stage is None:
            return
        here_mm = await asked("detector_stage", stage.read_distance_mm)
        if here_mm < changer.needs_distance_mm:
            if self.targets.distance_mm is None:  # nobody asked for another: it goes back to where it stood
                self.targets.distance_mm = here_mm
            away_mm = max(changer.needs_distance_mm, self.targets.distance_mm)
            await answered("detector_stage", MOVE_LIMIT_S, stage.move(away_mm))
            self.observers.emit(StepDone, step="detector makes room for the sample changer")

    async def arrived(self) -> None:
        """Return when everything stands where it is wanted, or raise what went wrong."""
        await self._ended.wait()
        if self._failure is not None:
            raise self._failure

    async def _run(self) -> None:
        with self._scope:
            try:
                await together(self._distance, self._energy_and_transmission, self._aperture)
            except Exception as error:  # noqa: BLE001
                self._failure = error
        self._ended.set()

    async def _distance(self) -> None:
        stage, target_mm = self.beamline.detector_stage, self.targets.distance_mm
        if stage is None or target_mm is None:
            return
        if target_mm < self._keeps_mm and not self._room_is_free.is_set():
            await self._room_is_free.wait()
        await answered("detector_stage", MOVE_LIMIT_S, stage.move(target_mm))
        there_mm = await asked("detector_stage", stage.read_distance_mm)
        agree("detector_stage", target_mm, there_mm, limits.DISTANCE_TOLERANCE_MM, "mm")
        self.observers.emit(StepDone, step="detector distance", detail=f"{target_mm:g} mm")

    async def _energy_and_transmission(self) -> None:
        # One after the other: which absorbers let a fraction through depends on the energy.
        await self._energy()
        await self._transmission()

    async def _energy(self) -> None:
        monochromator, target_ev = self.beamline.monochromator, self.targets.energy_ev
        if monochromator is not None and target_ev is not None:
            await answered("monochromator", MOVE_LIMIT_S, monochromator.move(target_ev))
            there_ev = await asked("monochromator", monochromator.read_energy_ev)
            agree("monochromator", target_ev, there_ev, limits.ENERGY_TOLERANCE * target_ev, "eV")
            self.observers.emit(StepDone, step="energy", detail=f"{self.targets.energy_ev:g} eV")

    async def _transmission(self) -> None:
        attenuator, target_frac = self.beamline.attenuator, self.targets.transmission_frac
        if attenuator is not None and target_frac is not None:
            await answered("attenuator", MOVE_LIMIT_S, attenuator.set_transmission(target_frac))
            await self.check_transmission()
            self.observers.emit(StepDone, step="transmission", detail=f"{self.targets.transmission_frac:g}")

    async def check_transmission(self) -> None:
        """Return where the beam is as strong as asked for; before each wedge, for absorbers that slip burn a crystal.

        Raises
        ------
        DeviceError
            It is not, or nobody can tell.
        """
        attenuator, target_frac = self.beamline.attenuator, self.targets.transmission_frac
        if attenuator is not None and target_frac is not None:
            there_frac = await asked("attenuator", attenuator.read_transmission_frac)
            agree("attenuator", target_frac, there_frac, limits.transmission_tolerance(target_frac), "")

    async def _aperture(self) -> None:
        aperture, target_um = self.beamline.aperture, self.targets.aperture_um
        if aperture is not None and target_um is not None:
            await answered("aperture", MOVE_LIMIT_S, aperture.select(target_um))
            there_um = await asked("aperture", aperture.read_size_um)
            agree("aperture", target_um, there_um, APERTURE_TOLERANCE_UM, "um")
            self.observers.emit(StepDone, step="aperture", detail=f"{self.targets.aperture_um:g} um")
