"""A photon-counting area detector in the manner of an EIGER.

Owns its states, the instants at which its frames begin and end, and the angles recorded for them. Frames are worked out
from the time of their trigger and never ticked: a wedge of one image and one of a million cost the same. Owns no image:
whoever wants files gives a source of compressed frames.
"""

from __future__ import annotations

import enum
import functools
import math
from collections.abc import Callable
from fractions import Fraction

import attrs
import trio

from fsmcollect.beamline import Acquisition, DetectorInfo, FrameBlock
from fsmcollect.errors import DeviceError
from fsmcollect.sim.kernel import US_PER_S, Action, Kernel, to_us
from fsmcollect.sim.motion import Watch
from fsmcollect.sim.trace import Trace

#: Assumed; public clients allow 120 s for it.
ARM_S = 0.1
#: When there is something to give up. Assumed.
DISARM_S = 0.01
#: From the end of a frame until it can be read. Assumed.
READOUT_S = 0.005

#: DECTRIS EIGER X 1M: size, pixels and sensor as in its data sheet, 3 us between frames; the serial number is made up.
EIGER_1M = DetectorInfo(
    description="Eiger 1M (simulated)",
    serial_number="E-01-SIM",
    pixels_fast=1030,
    pixels_slow=1065,
    pixel_size_m=75e-6,
    sensor_material="Si",
    sensor_thickness_m=450e-6,
    saturation_value=(1 << 16) - 2,  # assumed: the two highest values mark saturated and masked pixels
    bit_depth=16,
    beam_centre_px=(515.0, 532.5),
    dead_time_s=3e-6,
    min_frame_time_s=1 / 3000,  # 3 kHz, the same data sheet
)

#: Omega at any instant from now on, whatever is commanded in between.
OmegaRecord = Callable[[float], float]


class State(enum.Enum):
    """What the detector does."""

    IDLE = "idle"
    ARMING = "arming"
    ARMED = "armed"
    ACQUIRING = "acquiring"
    DARK = "dark"
    DISARMING = "disarming"
    ERROR = "error"


#: States that end by themselves, and in what.
_ENDS_IN = {
    State.ARMING: State.ARMED,
    State.ACQUIRING: State.ARMED,
    State.DARK: State.IDLE,
    State.DISARMING: State.IDLE,
}


@attrs.define(eq=False)  # never changed; `frozen` would make building one three times dearer
class Exposure:
    """What one trigger started: frames from `start_us` on."""

    start_us: int
    omega: OmegaRecord
    #: Start to start of two frames is an exact number of microseconds, not always a whole one: a numerator over a
    #: denominator.
    period_us: tuple[int, int]
    frames: int
    dead_us: int

    def frame_start_us(self, frame: int) -> int:
        """To the nearest microsecond of the exact time, so that nothing drifts."""
        numerator, denominator = self.period_us
        return self.start_us + (2 * frame * numerator + denominator) // (2 * denominator)

    def frame_end_us(self, frame: int) -> int:
        """The counters close a dead time before the next frame."""
        return self.frame_start_us(frame + 1) - self.dead_us

    @property
    def end_us(self) -> int:
        return self.frame_end_us(self.frames - 1)

    def complete(self, at_us: int) -> int:
        """How many frames have ended by `at_us`."""
        passed, (numerator, denominator) = at_us + self.dead_us - self.start_us, self.period_us
        frames = max(0, min(self.frames, passed * denominator // numerator + 1))
        while frames > 0 and self.frame_end_us(frames - 1) > at_us:
            frames -= 1
        return frames


@functools.lru_cache(maxsize=16)
def _exact_us(frame_time_s: float) -> tuple[int, int]:
    """What a person meant by a float: 0.01 is 1/100, not the binary number next to it."""
    return (Fraction(frame_time_s).limit_denominator(1_000_000_000) * US_PER_S).as_integer_ratio()


def _no_omega() -> OmegaRecord:
    return lambda at_us: 0.0


@attrs.define(eq=False, repr=False)
class Detector:
    """Role `fsmcollect.beamline.Detector`.

    Attributes
    ----------
    frame_source : callable or None
        Gives the compressed image of an index within the acquisition. None: no image data.
    follow_omega : callable
        Called at a trigger; gives the function by which omega is recorded. The assembly wires it to the goniometer.
    handed_out, armed, triggered, trigger_lost : lists of callables
        Told of images that `read_out` gives away (first, count), of an acquisition's beginning, of each trigger that
        was answered and of each that was not.
    lost_triggers : int
        Triggers that came while it could not answer.
    """

    kernel: Kernel
    trace: Trace
    info: DetectorInfo = EIGER_1M
    arm_s: float = ARM_S
    disarm_s: float = DISARM_S
    readout_s: float = READOUT_S
    frame_source: Callable[[int], bytes] | None = None
    follow_omega: Callable[[], OmegaRecord] = _no_omega
    handed_out: list[Callable[[int, int], None]] = attrs.field(factory=list[Callable[[int, int], None]])
    armed: list[Action] = attrs.field(factory=list[Action])
    triggered: list[Action] = attrs.field(factory=list[Action])
    trigger_lost: list[Action] = attrs.field(factory=list[Action])
    lost_triggers: int = attrs.field(init=False, default=0)
    exposures: list[Exposure] = attrs.field(init=False, factory=list[Exposure])
    _state: State = attrs.field(init=False, default=State.IDLE)
    #: When the present state ends by itself.
    _ends_us: int = attrs.field(init=False, default=0)
    _acquisition: Acquisition | None = attrs.field(init=False, default=None)
    _period_us: tuple[int, int] = attrs.field(init=False, default=(0, 1))
    #: When the acquisition was given up; frames that had not ended by then never will.
    _given_up_us: int | None = attrs.field(init=False, default=None)
    _failure: str = attrs.field(init=False, default="")
    _watch: Watch = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._watch = Watch(self.kernel, "detector")

    # -- what it is now -----------------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """Worked out from time: nothing ticks. Stays ARMED after its last frame, until `disarm`."""
        if self._state in _ENDS_IN and self.kernel.now_us >= self._ends_us:
            self._state = _ENDS_IN[self._state]
        return self._state

    @property
    def frames_complete(self) -> int:
        """See the role."""
        return self._complete(self.kernel.now_us)

    @property
    def acquisition(self) -> Acquisition | None:
        """What it was armed for last."""
        return self._acquisition

    async def is_idle(self) -> bool:
        """See the role. A detector in ERROR neither is armed nor acquires."""
        return self.state in (State.IDLE, State.ERROR)

    # -- commands -----------------------------------------------------------------------------------------------------

    async def arm(self, acquisition: Acquisition) -> None:
        """See the role."""
        self._must_be_idle("arm")
        if not self.info.min_frame_time_s <= acquisition.frame_time_s < math.inf:
            raise DeviceError(
                "detector",
                f"frame time = {acquisition.frame_time_s:g}: must be at least {self.info.min_frame_time_s:g} s",
            )
        images, of_one_trigger = acquisition.images, acquisition.images_per_trigger
        if not 1 <= of_one_trigger <= images or images % of_one_trigger:
            raise DeviceError("detector", f"images = {images}: must be a multiple of the {of_one_trigger} per trigger")
        self._acquisition, self._given_up_us = acquisition, None
        self._period_us = _exact_us(acquisition.frame_time_s)
        self.exposures = []
        for begin in self.armed:
            begin()
        self.trace.note("detector", f"arm {images}")
        await self._pass_through(State.ARMING, self.arm_s, "arm")

    async def take_dark(self, exposure_s: float) -> None:
        """See the role."""
        self._must_be_idle("take a dark image")
        if not 0.0 < exposure_s < math.inf:
            raise DeviceError("detector", f"exposure of the dark image = {exposure_s:g}: must be greater than 0 s")
        self.trace.note("detector", "dark")
        await self._pass_through(State.DARK, exposure_s + self.readout_s, "take a dark image")

    def trigger(self) -> None:
        """The hardware trigger input. One that cannot be answered is lost: noted, counted, and no more."""
        if self.state is not State.ARMED or self._acquisition is None or self._is_exhausted(self._acquisition):
            self.lost_triggers += 1
            self.trace.note("detector", f"trigger lost while {self.state.value}")
            for tell in self.trigger_lost:
                tell()
            return
        self.trace.note("detector", "trigger")
        dead_us = to_us(self.info.dead_time_s)
        frames = self._acquisition.images_per_trigger
        exposure = Exposure(self.kernel.now_us, self.follow_omega(), self._period_us, frames, dead_us)
        self.exposures.append(exposure)
        self._state, self._ends_us = State.ACQUIRING, exposure.end_us
        for tell in self.triggered:
            tell()
        self._watch.changed()

    async def disarm(self) -> None:
        """See the role. After its last frame there is nothing to give up, and it is idle at once."""
        self.trace.note("detector", "disarm")
        if self.state is State.ARMED and self._acquisition is not None and self._is_exhausted(self._acquisition):
            self._state = State.IDLE
        elif self._state in (State.ARMING, State.ARMED, State.ACQUIRING, State.DARK):
            self._give_up()
            self._state, self._ends_us = State.DISARMING, self.kernel.now_us + to_us(self.disarm_s)
            self._watch.changed()
        await trio.lowlevel.checkpoint_if_cancelled()
        while self.state is State.DISARMING:
            await self._watch.until(self._ends_us)

    def fail(self, message: str) -> None:
        """The detector goes into ERROR: a state of the device. What was complete stays readable."""
        self._give_up()
        self._state, self._failure = State.ERROR, message
        self.trace.note("detector", "error")
        self._watch.changed()

    def reset(self) -> None:
        """Somebody power-cycles it: idle, no acquisition, and what was not read out is lost."""
        self.trace.note("detector", "reset")
        self._state, self._failure = State.IDLE, "it started afresh"
        self._acquisition, self._given_up_us, self.exposures = None, None, []
        self._watch.changed()

    @property
    def ends_us(self) -> int | None:
        """When what it does now will end by itself; None where it does nothing that ends."""
        return self._ends_us if self.state in _ENDS_IN else None

    def initialise(self) -> None:
        """Leave ERROR."""
        if self.state is State.ERROR:
            self._state = State.IDLE
            self.trace.note("detector", "initialised")

    # -- reading ------------------------------------------------------------------------------------------------------

    async def read_out(self, first: int, count: int, *, with_images: bool) -> FrameBlock:
        """See the role."""
        acquisition, source = self._acquisition, self.frame_source
        end = first + count
        if acquisition is None or not 0 <= first < end <= acquisition.images:
            images = 0 if acquisition is None else acquisition.images
            raise DeviceError("detector", f"images {first} to {end - 1} of {images} cannot be read")
        if with_images and source is None:
            raise DeviceError("detector", "has no source of images")
        await self._until_readable(acquisition, end)
        chunks = [source(image) for image in range(first, end)] if with_images and source is not None else ()
        for tell in self.handed_out:
            tell(first, count)
        return FrameBlock(first, chunks, self._recorded(acquisition, first, end))

    def exposures_of(self, image: int) -> list[tuple[Exposure, int]]:
        """The exposures (several, where passes are summed) that made an image, each with the frame within it."""
        acquisition = self._acquisition
        if acquisition is None:
            return []
        passes, frames = acquisition.triggers_per_image, acquisition.images_per_trigger
        trigger, frame = (image * passes, 0) if passes > 1 else divmod(image, frames)
        return [(exposure, frame) for exposure in self.exposures[trigger : trigger + passes]]

    def recorded_omega_deg(self, image: int) -> float:
        """Where omega really was when the image began; of several passes, the first."""
        exposure, frame = self.exposures_of(image)[0]
        return exposure.omega(exposure.frame_start_us(frame))

    # -- how ----------------------------------------------------------------------------------------------------------

    def _recorded(self, acquisition: Acquisition, first: int, until: int) -> list[float]:
        frames = acquisition.images_per_trigger
        if first // frames != (until - 1) // frames or acquisition.triggers_per_image > 1:
            return [self.recorded_omega_deg(image) for image in range(first, until)]
        trigger, frame = divmod(first, frames)
        exposure = self.exposures[trigger]
        return [exposure.omega(exposure.frame_start_us(f)) for f in range(frame, frame + until - first)]

    async def _until_readable(self, acquisition: Acquisition, images: int) -> None:
        """Wait until so many images can be read; raises once they never will."""
        await trio.lowlevel.checkpoint_if_cancelled()
        latency_us = to_us(self.readout_s)
        while True:
            if self._acquisition is None:
                raise DeviceError("detector", "started afresh: what was not read out is lost")
            if self._acquisition is not acquisition:
                raise DeviceError("detector", "was armed anew while it was being read out")
            if self._given_up_us is not None and (came := self._complete(self._given_up_us)) < images:
                reason = self._failure or "it was disarmed"
                raise DeviceError("detector", f"only {came} of {acquisition.images} images came: {reason}")
            due_us = self._complete_us(acquisition, images)
            if due_us is not None and self.kernel.now_us >= due_us + latency_us:
                return
            await self._watch.until(None if due_us is None else due_us + latency_us)

    def _complete_us(self, acquisition: Acquisition, images: int) -> int | None:
        """When the last of so many images ends; None while its trigger has not come."""
        passes = acquisition.triggers_per_image
        made_by = self.exposures_of(images - 1)
        if len(made_by) < passes:
            return None
        exposure, frame = made_by[-1]
        return exposure.frame_end_us(frame)

    def _complete(self, at_us: int) -> int:
        acquisition = self._acquisition
        if acquisition is None or not self.exposures:
            return 0
        if self._given_up_us is not None:
            at_us = min(at_us, self._given_up_us)
        before, last = len(self.exposures) - 1, self.exposures[-1]
        frames = before * acquisition.images_per_trigger + last.complete(at_us)
        return frames // acquisition.triggers_per_image

    def _is_exhausted(self, acquisition: Acquisition) -> bool:
        wanted = acquisition.images // acquisition.images_per_trigger * acquisition.triggers_per_image
        return len(self.exposures) >= wanted

    def _must_be_idle(self, wish: str) -> None:
        if self.state is State.ERROR:
            raise DeviceError("detector", f"cannot {wish}: it is in error ({self._failure}); initialise it")
        if self.state is not State.IDLE:
            raise DeviceError("detector", f"cannot {wish} while {self.state.value}: disarm it first")

    async def _pass_through(self, state: State, duration_s: float, wish: str) -> None:
        """Enter a state that ends by itself and wait for that; raises if it ended otherwise."""
        ends_us = self.kernel.now_us + to_us(duration_s)
        self._state, self._ends_us, self._failure = state, ends_us, ""
        await trio.lowlevel.checkpoint_if_cancelled()
        while self._state is state and self.kernel.now_us < ends_us:
            await self._watch.until(ends_us)
        if self._failure or self.state is not _ENDS_IN[state]:
            raise DeviceError("detector", f"could not {wish}: {self._failure or 'it was disarmed'}")

    def _give_up(self) -> None:
        if self._acquisition is not None and self._given_up_us is None:
            self._given_up_us = self.kernel.now_us
