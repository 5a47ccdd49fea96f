"""One wedge: the activities of the wedge machine.

Owns the order arm, run up, expose, drain of one rotation, and knows at every moment how many of its images are
complete and how many are safely stored. Makes nothing safe: whatever stops it, the collection machine does.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Protocol

import attrs
import trio

from fsmcollect.beamline import Acquisition, Detector, FrameBlock, Goniometer, Sweep
from fsmcollect.errors import DeviceError, FsmCollectError
from fsmcollect.events import ImagesTaken, WedgeStarted
from fsmcollect.machines.driver import Driver
from fsmcollect.machines.engine import Engine
from fsmcollect.machines.wedge import WEDGE, Event, State
from fsmcollect.observers import Observers
from fsmcollect.timing import to_sweep
from fsmcollect.together import asked, one_failure_as_itself, together
from fsmcollect.wedges import Wedge

#: An image whose recorded omega is further from the nominal one than this part of its width is not what was asked for.
#: Assumed; for stills and very thin images `ANGLE_TOLERANCE_DEG` is allowed all the same.
ANGLE_TOLERANCE_WIDTHS = 0.5
ANGLE_TOLERANCE_DEG = 0.01
#: Images that are read out and stored together, in one file: so many, or those of so long a time, whichever is less.
#: Assumed: what a killed process may lose, against the cost of a file.
GROUP_IMAGES = 100
GROUP_S = 10.0
#: Longest waits of a wedge's states, besides the exposure itself. Assumed, but for arming: public EIGER clients allow
#: 120 s.
ARMING_LIMIT_S = 120.0
RUN_UP_LIMIT_S = 30.0
DRAINING_LIMIT_S = 120.0
#: A wedge that lasts longer is stored while it is being exposed; a shorter one right after. Assumed: below this the
#: work of reading beside the exposure costs more than the wait saves.
STORE_WHILE_EXPOSING_S = 2.0


class ImageSink(Protocol):
    """Where images go."""

    def groups(self, wedge: Wedge, first: int, stop: int) -> Iterator[tuple[int, int]]:
        """How the images numbered `first` to ``stop - 1`` are stored together, as half-open ranges in order."""
        ...

    async def store(self, wedge: Wedge, first_image: int, block: FrameBlock) -> str:
        """Store a group; returns the file's name once it is complete on disk. Raises StorageError."""
        ...


@attrs.frozen(kw_only=True)
class Setting:
    """What is the same for every wedge of a collection."""

    goniometer: Goniometer
    detector: Detector
    observers: Observers
    energy_ev: float
    shutter_opening_s: float
    shutterless: bool
    passes: int
    sink: ImageSink | None
    #: Puts what has been told on disk; None where nothing is kept.
    commit: Callable[[], Awaitable[None]] | None


@attrs.define(eq=False)
class WedgeRun:
    """Takes `wedge` once. After an interruption, `salvage` stores the images that were complete by then."""

    setting: Setting
    wedge: Wedge
    #: Images handed over and (with a sink) on disk, counted from the wedge's first.
    stored: int = attrs.field(init=False, default=0)
    #: What went wrong, where the machine ended in BROKEN.
    failure: FsmCollectError | None = attrs.field(init=False, default=None)
    #: Images whose exposure had ended when the beam went off; None while it is on.
    _complete: int | None = attrs.field(init=False, default=None)
    _armed: bool = attrs.field(init=False, default=False)
    #: The rotation itself went wrong: what the detector still holds was not taken as asked.
    _spoilt: bool = attrs.field(init=False, default=False)
    #: The rotation under way or about to begin: the whole wedge, or one image of it in shuttered mode.
    _sweep: Sweep = attrs.field(init=False)
    _omega_start_deg: float = attrs.field(init=False)
    #: In shuttered mode, the exposures (image by image, pass by pass) that have been made.
    _exposures: int = attrs.field(init=False, default=0)
    #: The rotation is over and was what was asked for.
    _exposed: bool = attrs.field(init=False, default=False)
    #: One scope for the whole wedge, whose deadline each state puts anew: nothing may hang with the beam on.
    _limit: trio.CancelScope = attrs.field(init=False, factory=trio.CancelScope)
    _limit_s: float = attrs.field(init=False, default=math.inf)
    _doing: State = attrs.field(init=False, default=State.PLANNED)
    _all_stored: trio.Event | None = attrs.field(init=False, default=None)
    _nursery: trio.Nursery | None = attrs.field(init=False, default=None)

    async def take(self) -> State:
        """Drive the wedge machine to its end.

        Raises
        ------
        FsmCollectError
            Storing failed while the wedge was still being exposed.
        """
        wedge = self.wedge
        self._sweep = self._next_sweep()
        self._omega_start_deg = self._sweep.omega_start_deg
        self.setting.observers.emit(
            WedgeStarted,
            wedge=wedge.index,
            series=wedge.series.name,
            omega_start_deg=self._omega_start_deg,
            first_image=wedge.first_image,
            images=wedge.images,
        )
        engine = Engine(WEDGE, log=self.setting.observers.transition)
        driver = Driver(
            engine,
            {
                State.ARMING: self._arming,
                State.RUNNING_UP: self._running_up,
                State.EXPOSING: self._exposing,
                State.DRAINING: self._draining,
            },
        )
        ended = State.INTERRUPTED
        try:
            with self._limit:
                # In shuttered mode each image has a run-up: its exposure says little about how long a wedge lasts.
                if self.setting.shutterless and wedge.images * wedge.exposure_s <= STORE_WHILE_EXPOSING_S:
                    ended = await driver.run()
                else:
                    ended = await self._take_storing_meanwhile(driver)
        finally:
            self.beam_goes_off()
        if self._limit.cancelled_caught:
            self._spoilt = self._spoilt or not self._exposed
            limit = f"no answer within {self._limit_s:g} s while {self._doing.name}"
            self.failure = DeviceError("goniometer or detector", limit)
        return ended

    async def _take_storing_meanwhile(self, driver: Driver[State, Event]) -> State:
        self._all_stored = trio.Event()
        with one_failure_as_itself():
            async with trio.open_nursery() as self._nursery:  # owns the task that stores, begun once armed
                ended = await driver.run()
                if ended is not State.TAKEN:  # its images are not what was asked for, and may never come
                    self._nursery.cancel_scope.cancel()
        return ended

    def _enter(self, state: State, limit_s: float) -> None:
        """From now on the wedge does `state`, and may take so long for it."""
        self._doing, self._limit_s = state, limit_s
        self._limit.deadline = trio.current_time() + limit_s

    def beam_goes_off(self) -> None:
        """Count what is complete: what the detector completes from now on, while tasks unwind, is taken in the dark."""
        if self._complete is None and self._armed:
            self._complete = min(self.setting.detector.frames_complete, self.wedge.images)

    async def salvage(self) -> None:
        """Store what was complete when the wedge was interrupted. Call it once the beam is off.

        Images of a rotation that went wrong (a shutter that did not open, an omega that stuck) are left alone.

        Raises
        ------
        FsmCollectError
            An image that was complete cannot be read or stored.
        """
        if self._complete is not None and self._complete > self.stored and not self._spoilt:
            await self._store(self._complete)

    # -- activities ---------------------------------------------------------------------------------------------------

    async def _arming(self) -> Event:
        setting, wedge = self.setting, self.wedge
        self._enter(State.ARMING, ARMING_LIMIT_S)
        shuttered = not setting.shutterless
        acquisition = Acquisition(
            images=wedge.images,
            images_per_trigger=1 if shuttered else wedge.images,
            frame_time_s=wedge.exposure_s / (setting.passes if shuttered else 1),
            triggers_per_image=setting.passes if shuttered else 1,
            energy_ev=setting.energy_ev,
        )

        try:
            await together(
                lambda: setting.detector.arm(acquisition), lambda: setting.goniometer.prepare_sweep(self._sweep)
            )
        except FsmCollectError as error:
            return self._failed(error)
        self._armed = True
        if self._nursery is not None:
            self._nursery.start_soon(self._store_meanwhile)
        return Event.ARMED

    async def _running_up(self) -> Event:
        self._enter(State.RUNNING_UP, RUN_UP_LIMIT_S)
        try:
            if self._exposures:
                self._sweep = self._next_sweep()
                await self.setting.goniometer.prepare_sweep(self._sweep)
            # A detector that only said yes, or has failed since: the crystal would be burnt for images nobody takes.
            if await asked("detector", self.setting.detector.is_idle) is not False:
                raise DeviceError("detector", "was armed, and just before the beam it reads back that it is not")
            await self.setting.goniometer.begin_sweep()
        except DeviceError as error:
            self._spoilt = True
            return self._failed(error)
        return Event.AT_SPEED

    async def _exposing(self) -> Event:
        self._enter(State.EXPOSING, self._sweep.duration_s + RUN_UP_LIMIT_S)
        try:
            await self.setting.goniometer.finish_sweep()
        except DeviceError as error:
            self._spoilt = True
            return self._failed(error)
        self._exposures += 1
        if self.setting.shutterless or self._exposures == self.wedge.images * self.setting.passes:
            self._exposed = True
            return Event.EXPOSED
        return Event.IMAGE_EXPOSED

    async def _draining(self) -> Event:
        self._enter(State.DRAINING, DRAINING_LIMIT_S)
        try:
            if self._all_stored is not None:
                await self._all_stored.wait()
            else:
                await self._store(self.wedge.images)
            await self.setting.detector.disarm()
        except FsmCollectError as error:
            return self._failed(error)
        return Event.DRAINED

    # -- their parts --------------------------------------------------------------------------------------------------

    def _next_sweep(self) -> Sweep:
        setting, wedge = self.setting, self.wedge
        if setting.shutterless:
            return to_sweep(wedge, setting.goniometer.time_to_speed_s, setting.shutter_opening_s)
        image = wedge.part(wedge.first_image + self._exposures // setting.passes, 1)
        return to_sweep(image, setting.goniometer.time_to_speed_s, setting.shutter_opening_s, passes=setting.passes)

    async def _store_meanwhile(self) -> None:
        await self._store(self.wedge.images)
        if self._all_stored is not None:
            self._all_stored.set()

    async def _store(self, until: int) -> None:
        """Read out and store the images from the first one not yet stored up to `until`."""
        wedge, sink = self.wedge, self.setting.sink
        origin = wedge.first_image
        divide = sink.groups if sink is not None else _groups
        for first, stop in divide(wedge, origin + self.stored, origin + until):
            await self._store_group(first - origin, stop - origin, sink)

    async def _store_group(self, first: int, stop: int, sink: ImageSink | None) -> None:
        """Read out and store the images with indices `first` to ``stop - 1``; they appear together."""
        setting, wedge = self.setting, self.wedge
        block = await setting.detector.read_out(first, stop - first, with_images=sink is not None)
        if self._spoilt:
            raise DeviceError("goniometer", "the rotation went wrong: its images are refused")
        if block.first != first:
            raise DeviceError("detector", f"handed out images from {block.first} on where {first} was asked for")
        omega_deg = block.omega_deg
        if len(omega_deg) != stop - first:
            raise DeviceError("detector", f"{len(omega_deg)} images came of the {stop - first} that were complete")
        number = wedge.first_image + first
        self._check_angles(number, omega_deg)
        file = await sink.store(wedge, number, block) if sink is not None else ""
        self.stored = stop
        setting.observers.emit(
            ImagesTaken,
            series=wedge.series.name,
            first_image=number,
            images=stop - first,
            omega_recorded_deg=round(omega_deg[0], 6),
            file=file,
        )
        if setting.commit is not None:
            await setting.commit()

    def _check_angles(self, first_image: int, recorded_deg: Sequence[float]) -> None:
        """Refuse images that were not taken at the angles asked for."""
        wedge = self.wedge
        width_deg = float(wedge.image_width_deg)
        start_deg = self._omega_start_deg + (first_image - wedge.first_image) * width_deg
        tolerance_deg = max(abs(width_deg) * ANGLE_TOLERANCE_WIDTHS, ANGLE_TOLERANCE_DEG)
        for index, omega_deg in enumerate(recorded_deg):
            # Written so that an angle that is not a number is refused too.
            if not abs(omega_deg - (start_deg + index * width_deg)) <= tolerance_deg:
                self._spoilt = True
                image = f"image {first_image + index} of {wedge.series.name}"
                wanted_deg = start_deg + index * width_deg
                raise DeviceError(
                    "goniometer", f"{image} was taken at omega {omega_deg:.4f} deg instead of {wanted_deg:.4f} deg"
                )

    def _failed(self, error: FsmCollectError) -> Event:
        self.failure = error
        return Event.FAILED


def images_together(exposure_s: float) -> int:
    """How many images at most are read out and stored together."""
    return max(1, min(GROUP_IMAGES, int(GROUP_S / exposure_s)))


def _groups(wedge: Wedge, first: int, stop: int) -> Iterator[tuple[int, int]]:
    """The groups of a run that keeps no files."""
    images = images_together(wedge.exposure_s)
    for start in range(first, stop, images):
        yield start, min(start + images, stop)
