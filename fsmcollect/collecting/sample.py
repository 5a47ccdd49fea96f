"""Getting the sample onto the goniometer and the crystal into the beam: what MOUNTING and CENTRING do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import attrs
import trio

from fsmcollect import limits
from fsmcollect.beamline import Beamline, Question
from fsmcollect.collecting.centring import Centring, CentringFailed
from fsmcollect.collecting.moving import move
from fsmcollect.errors import DeviceError
from fsmcollect.events import StepDone
from fsmcollect.observers import Observers
from fsmcollect.request import CentringMethod, Request
from fsmcollect.together import answered, asked

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

#: Longest wait for the robot. Assumed: ten times a usual exchange.
ROBOT_TIMEOUT_S = 300.0
#: Longest waits for other devices. Assumed: several times the longest they need.
BACKLIGHT_LIMIT_S = 30.0
CAMERA_LIMIT_S = 30.0
#: Longest wait for a person to mount a sample by hand. Assumed: half an hour.
PERSON_TIMEOUT_S = 1800.0


class SnapshotSink(Protocol):
    """Where pictures of the sample go."""

    async def store_snapshot(self, number: int, picture: npt.NDArray[np.uint8]) -> None:
        """Store one picture. Raises StorageError."""


@attrs.frozen(kw_only=True)
class Sample:
    """Mounts and centres the sample of one request."""

    beamline: Beamline
    request: Request
    observers: Observers
    store: SnapshotSink | None

    async def needs_robot(self) -> bool:
        """The sample changer will have to move: what is asked for is not what is loaded."""
        changer, location = self.beamline.sample_changer, self.request.sample.location
        if changer is None or location is None:
            return False
        return await asked("sample_changer", changer.read_loaded) != location

    async def mount(self) -> None:
        """Have the sample asked for on the goniometer, by the robot or by a person.

        Raises
        ------
        DeviceError
            The robot failed or took too long, or the pin is empty.
        CentringFailed
            The person said no or did not answer in time.
        """
        changer, location = self.beamline.sample_changer, self.request.sample.location
        if self.request.sample.mounted:
            self.observers.emit(StepDone, step="sample mounted", detail="already there, as asked")
            return
        if location is None:
            await self._to_mounting()
            await self._centring().ask(Question.MOUNT_BY_HAND, PERSON_TIMEOUT_S)
            self.observers.emit(StepDone, step="sample mounted", detail="by hand")
            return
        if changer is None:
            raise DeviceError("sample_changer", f"{location} was asked for, but there is none")
        if await asked("sample_changer", changer.read_loaded) == location:
            self.observers.emit(StepDone, step="sample mounted", detail=f"{location}, already there")
            return
        await self._to_mounting()
        await answered("sample_changer", ROBOT_TIMEOUT_S, changer.load(location))
        loaded = await asked("sample_changer", changer.read_loaded)
        if loaded != location:
            raise DeviceError("sample_changer", f"{location} was asked for, but {loaded or 'nothing'} is mounted")
        self.observers.emit(StepDone, step="sample mounted", detail=str(location))

    async def _to_mounting(self) -> None:
        """Where the camera will look, wherever the sample before had to be moved: before robot or person come."""
        positions = self.beamline.config.mount_positions
        if positions and self.beamline.goniometer is not None:
            await move(self.beamline.goniometer, positions)

    async def centre(self) -> None:
        """Move to the asked positions, centre as asked, have it validated as asked, and take the snapshots.

        Raises
        ------
        CentringFailed
            The crystal is not, or not known to be, in the beam.
        DeviceError
            A device failed.
        """
        request, goniometer = self.request, self.beamline.goniometer
        if request.positions and goniometer is not None:
            await move(goniometer, request.positions)
            self.observers.emit(StepDone, step="goniometer positions")
        wanted = request.centring
        looks = wanted.method is not CentringMethod.NONE or wanted.validate or request.snapshots.count > 0
        backlight = self.beamline.backlight
        if looks and backlight is not None:
            await answered("backlight", BACKLIGHT_LIMIT_S, backlight.move_in())
        await self._centre()
        if request.centring.validate:
            await self._centring().ask(Question.VALIDATE_CENTRING, request.centring.timeout_s)
            self.observers.emit(StepDone, step="centring validated")
        await self._take_snapshots()
        if backlight is not None:
            await answered("backlight", BACKLIGHT_LIMIT_S, backlight.move_out())
            if await asked("backlight", backlight.is_in) is not False:
                raise DeviceError("backlight", "was moved out and reads back that it is in: it would be in the beam")

    async def _centre(self) -> None:
        wanted = self.request.centring
        if wanted.method is CentringMethod.NONE:
            return
        if wanted.method is CentringMethod.MANUAL:
            await self._centring().ask(Question.CENTRE_BY_HAND, wanted.timeout_s)
            self.observers.emit(StepDone, step="centred", detail="by hand")
            return
        with trio.move_on_after(wanted.timeout_s) as limit:
            left = await self._centring().automatic()
            self.observers.emit(
                StepDone, step="centred", detail=f"{left.along_um:.1f} um, {left.across_um:.1f} um off the beam"
            )
        if limit.cancelled_caught:
            raise CentringFailed(f"not centred within centring.timeout_s = {wanted.timeout_s:g} s")

    async def _take_snapshots(self) -> None:
        """Pictures 90 degrees apart, from the omega at which the sweep begins."""
        camera, goniometer, count = self.beamline.camera, self.beamline.goniometer, self.request.snapshots.count
        if camera is None or goniometer is None:
            return
        angles_deg = limits.snapshot_angles_deg(self.request, goniometer)
        for number, omega_deg in enumerate(angles_deg[:count]):
            await move(goniometer, {"omega_deg": omega_deg})
            picture = await answered("camera", CAMERA_LIMIT_S, camera.snapshot())
            if self.store is not None:
                await self.store.store_snapshot(number + 1, picture)
            self.observers.emit(StepDone, step="snapshot", detail=f"omega {omega_deg:g} deg")

    def _centring(self) -> Centring:
        return Centring(beamline=self.beamline, observers=self.observers)
