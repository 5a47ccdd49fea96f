"""What lies between a centred crystal and the first wedge: conditions, dark image, cover, safety shutter, gains."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs

from fsmcollect.beamline import Beamline, Diodes
from fsmcollect.collecting.optics import Optics
from fsmcollect.errors import DeviceError
from fsmcollect.events import StepDone
from fsmcollect.observers import Observers
from fsmcollect.safing import Step
from fsmcollect.together import answered, asked

#: Longest waits. Assumed: several times what healthy devices need.
SHUTTER_LIMIT_S = 60.0
DARK_LIMIT_S = 60.0
GAINS_LIMIT_S = 60.0


@attrs.define(eq=False, kw_only=True)
class Readiness:
    """Makes a beamline ready to expose: the first time wholly, after a hold what may have changed meanwhile."""

    beamline: Beamline
    optics: Optics
    observers: Observers
    #: Exposure of the dark image to be taken first, seconds; None takes none.
    dark_exposure_s: float | None
    #: Settings that were changed and have to be put back, in the order in which they were changed.
    restore: list[Step] = attrs.field(init=False, factory=list[Step])
    _ready_once: bool = attrs.field(init=False, default=False)

    async def get_ready(self) -> None:
        """Return when the next wedge may be exposed.

        Raises
        ------
        DeviceError
            A device failed, or a condition is not met: hutch not searched, sample too warm.
        """
        if not self._ready_once:
            await self.optics.arrived()
        await self._check_surroundings()
        cover = self.beamline.detector_cover
        if not self._ready_once:
            await self._take_dark()
            if cover is not None:
                await answered("detector_cover", SHUTTER_LIMIT_S, cover.open())
                await self._must_be_open("detector_cover", cover.is_closed)
                self.observers.emit(StepDone, step="detector cover open")
        if (shutter := self.beamline.safety_shutter) is not None:
            await answered("safety_shutter", SHUTTER_LIMIT_S, shutter.open())
            await self._must_be_open("safety_shutter", shutter.is_closed)
            self.observers.emit(StepDone, step="safety shutter open")
        if self.beamline.diodes is not None:
            await self._adjust_gains(self.beamline.diodes)
        if self._ready_once and cover is not None:  # nobody has closed it meanwhile, but it may have closed
            await self._must_be_open("detector_cover", cover.is_closed)
        self._ready_once = True

    async def _must_be_open(self, role: str, is_closed: Callable[[], Awaitable[bool]]) -> None:
        """What only says that it has opened would leave every image dark."""
        if await asked(role, is_closed) is not False:
            raise DeviceError(role, "was opened and reads back that it is closed")

    async def _check_surroundings(self) -> None:
        """What must be true before a crystal is exposed, and is nobody's command."""
        interlock, cryo_stream = self.beamline.interlock, self.beamline.cryo_stream
        if interlock is not None and await asked("interlock", interlock.is_searched) is not True:
            raise DeviceError("interlock", "the hutch is not searched: search it, then collect again")
        limit_k = self.beamline.config.max_sample_temperature_k
        if cryo_stream is not None and limit_k is not None:
            temperature_k = await asked("cryo_stream", cryo_stream.read_temperature_k)
            if not temperature_k <= limit_k:  # so that a NaN is refused too
                raise DeviceError("cryo_stream", f"{temperature_k:.1f} K at the sample, at most {limit_k:g} K allowed")

    async def _take_dark(self) -> None:
        if self.beamline.detector is not None and self.dark_exposure_s is not None:
            dark = self.beamline.detector.take_dark(self.dark_exposure_s)
            await answered("detector", self.dark_exposure_s + DARK_LIMIT_S, dark)
            self.observers.emit(StepDone, step="dark image", detail=f"{self.dark_exposure_s:g} s")

    async def _adjust_gains(self, diodes: Diodes) -> None:
        before = await asked("diodes", diodes.read_gains)

        async def put_back() -> None:
            await diodes.set_gains(*before)

        async def are_back() -> bool:
            return await diodes.read_gains() == before

        if not self.restore:  # else a hold came in between, and what they were before the run is known
            step = Step(name="diode gains put back", command=put_back, is_verified=are_back, deadline_s=10.0)
            self.restore.append(step)
        await answered("diodes", GAINS_LIMIT_S, diodes.adjust_gains())
        self.observers.emit(StepDone, step="diode gains")
