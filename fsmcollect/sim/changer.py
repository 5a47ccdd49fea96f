"""The sample changer: a robot that carries pins between a dewar of pucks and the goniometer.

Owns the arm, phase by phase, and where every pin is: in the dewar, in the gripper or on the goniometer, one of them at
any instant, whatever stops it. Owns neither detector nor shutter; that the beam is off while it works is for checkers.

A phase is a time and, at its END, at most one pin that changes hands. So a phase that is stopped has changed nothing:
a pin is where it was when the phase began. After a stop, a failure or a finished exchange the arm goes to its safe
position, holding whatever it holds; the next `load` or `unload` puts that back into the dewar first.
"""

from __future__ import annotations

import enum
import functools
import random
from collections.abc import Callable, Collection, Iterator, Sequence

import attrs
import trio

from fsmcollect.beamline import Location
from fsmcollect.errors import DeviceError
from fsmcollect.sim.kernel import Action, Kernel, Scheduled, to_us
from fsmcollect.sim.motion import ROUNDING_MM
from fsmcollect.sim.trace import Trace


class Whereabouts(enum.Enum):
    """Where a pin is."""

    DEWAR = "in the dewar"
    GRIPPER = "in the gripper"
    GONIOMETER = "on the goniometer"


@attrs.frozen
class Phase:
    """One movement of the arm or the gripper.

    Attributes
    ----------
    name : str
        As the trace and errors call it.
    duration_s : float
        Before the arm's variation is applied.
    to : Whereabouts or None
        Where the pin in hand is once the phase has ended; None where the phase moves no pin.
    gripper : bool
        The gripper's fingers must move.
    """

    name: str
    duration_s: float
    to: Whereabouts | None = None
    gripper: bool = False


# All durations are assumed (no source was found for a robot's mount but "10-30 s", itself assumed). A mount onto a free
# goniometer is 18 s, an exchange 28 s.
TO_GONIOMETER = Phase("to goniometer", 3.0)
GRASP = Phase("grasp", 2.0, Whereabouts.GRIPPER, gripper=True)
TO_DEWAR = Phase("to dewar", 3.0)
PUT_BACK = Phase("put back", 2.0, Whereabouts.DEWAR, gripper=True)
OPEN_GRIPPER = Phase("open gripper", 1.0, gripper=True)
PICK = Phase("pick", 4.0, Whereabouts.GRIPPER, gripper=True)
TRANSFER = Phase("transfer", 6.0)
PLACE = Phase("place", 3.0, Whereabouts.GONIOMETER, gripper=True)
SENSE = Phase("sense", 1.0)
RETREAT = Phase("retreat", 3.0)


_Steps = Iterator[tuple[Phase, Location | None]]


@attrs.define(eq=False)
class _Job:
    """A command under way, from its first phase until the arm is safe again.

    `steps` is a generator: it looks at where the pins are when its turn comes, and hands out a phase and its pin.
    """

    what: str
    steps: _Steps
    ended: trio.Event = attrs.field(factory=trio.Event)
    #: Why it did not succeed; empty when it did.
    failure: str = ""


def _whereabouts(self: SampleChanger) -> dict[Location, Whereabouts]:
    return _all_in_dewar(self.pucks, self.pins).copy()


def _places(self: SampleChanger) -> tuple[Location, ...]:
    return tuple(_all_in_dewar(self.pucks, self.pins))


@functools.lru_cache(maxsize=16)
def _all_in_dewar(pucks: int, pins: int) -> dict[Location, Whereabouts]:
    """Every place, with its pin in it; each robot takes a copy of its own."""
    places = (Location(puck, pin) for puck in range(1, pucks + 1) for pin in range(1, pins + 1))
    return dict.fromkeys(places, Whereabouts.DEWAR)


@attrs.define(eq=False)
class SampleChanger:
    """A robot with a dewar.

    Attributes
    ----------
    distance_mm : callable
        Where the detector stands now. The arm refuses to begin a phase while that is less than `needs_distance_mm`;
        only its way to safety is never refused.
    hand_mounted : callable
        Something that is not the robot's is on the goniometer: it does not touch it.
    pucks, pins : int
        A unipuck has 16 pins; 5 pucks are assumed.
    bare_pins : collection of Location
        Places whose pin holds no sample. Only the pin sensor on the goniometer finds that out.
    needs_distance_mm : float
        Assumed.
    gripper_time_limit_s : float
        After which a gripper that does not move is reported, from the start of the phase; assumed.
    arm_time_limit_s : float
        The same for an arm that does not end a phase; assumed.
    variation_frac : float
        Every phase takes up to so much more or less; assumed.
    gripper_stuck : bool
        The state in which the fingers do not move. The arm still does.
    """

    kernel: Kernel
    trace: Trace
    rng: random.Random
    distance_mm: Callable[[], float] = lambda: float("inf")
    hand_mounted: Callable[[], bool] = lambda: False
    pucks: int = 5
    pins: int = 16
    bare_pins: Collection[Location] = frozenset()
    needs_distance_mm: float = 300.0
    gripper_time_limit_s: float = 15.0
    arm_time_limit_s: float = 30.0
    variation_frac: float = 0.1
    gripper_stuck: bool = False
    name: str = "sample_changer"
    places: Sequence[Location] = attrs.field(init=False, default=attrs.Factory(_places, takes_self=True))
    #: Of every pin, by its place in the dewar: one value each, so none can be in two places or in none.
    whereabouts: dict[Location, Whereabouts] = attrs.field(
        init=False, default=attrs.Factory(_whereabouts, takes_self=True)
    )
    _job: _Job | None = attrs.field(init=False, default=None)
    _phase_began_us: int = attrs.field(init=False, default=0)
    #: The end of the present phase; None while the arm stands.
    _due: Scheduled | None = attrs.field(init=False, default=None)
    #: Set when the arm stands at its safe position; replaced when it leaves it.
    _standing: trio.Event = attrs.field(init=False, factory=trio.Event)
    _retreating: bool = attrs.field(init=False, default=False)
    _arm_stuck: bool = attrs.field(init=False, default=False)
    #: What comes after the phase that a stuck arm cannot end.
    _left_to_do: Action | None = attrs.field(init=False, default=None)

    # -- where things are ---------------------------------------------------------------------------------------------

    @property
    def in_gripper(self) -> Location | None:
        """The pin in the gripper, bare or not."""
        return self._at(Whereabouts.GRIPPER)

    @property
    def on_goniometer(self) -> Location | None:
        """The SAMPLE that the robot has put on the goniometer: None where the pin there is bare."""
        pin = self._at(Whereabouts.GONIOMETER)
        return None if pin in self.bare_pins else pin

    @property
    def is_moving(self) -> bool:
        """The arm is away from its safe position."""
        return self._due is not None

    def _at(self, where: Whereabouts) -> Location | None:
        for pin, is_at in self.whereabouts.items():
            if is_at is where:
                return pin
        return None

    @property
    def arm_stuck(self) -> bool:
        """The arm does not move, as when its collision sensor has tripped: a state of the device.

        It stays where it is in its phase. Freed, it ends that phase, or goes to safety where it was given up meanwhile.
        """
        return self._arm_stuck

    @arm_stuck.setter
    def arm_stuck(self, stuck: bool) -> None:
        self._arm_stuck = stuck
        if not stuck and self._left_to_do is not None:
            left, self._left_to_do = self._left_to_do, None
            if self._due is not None:
                self._due.cancel()
            if self._job is None and not self._retreating:
                left = self._retreat
            self._due = self.kernel.after(0, left, by=self.name)

    def reset(self) -> None:
        """Somebody power-cycles its controller: what was under way is forgotten, and the arm goes to safety."""
        self.trace.note(self.name, "reset")
        if self._due is not None and not self._retreating:
            if self._job is not None:
                self._job.failure = f"started afresh during {self._job.what!r}{self._holding()}"
            self._retreat()

    def find_mounted(self, besides: Collection[Location | None]) -> Location | None:
        """It has mounted a sample before the run: the last that is not among `besides`; None without one to spare."""
        spare = (pin for pin in reversed(self.places) if pin not in besides and pin not in self.bare_pins)
        pin = next(spare, None)
        if pin is not None:
            self.whereabouts[pin] = Whereabouts.GONIOMETER
        return pin

    def take_off_by_hand(self) -> None:
        """A person takes the robot's pin off the goniometer and puts it back into its place in the dewar."""
        if self.is_moving:
            raise DeviceError(self.name, "nobody takes a sample off while the arm is at work")
        pin = self._at(Whereabouts.GONIOMETER)
        if pin is not None:
            self.trace.note(self.name, f"{pin} taken off by hand")
            self.whereabouts[pin] = Whereabouts.DEWAR

    # -- the role -----------------------------------------------------------------------------------------------------

    async def read_loaded(self) -> Location | None:
        await trio.lowlevel.checkpoint()
        return self.on_goniometer

    async def load(self, location: Location) -> None:
        """Exchanges what is on the goniometer for `location`; nothing moves if that is there already.

        Cancelling it leaves the arm at work: `stop` is what stops it.

        Raises
        ------
        DeviceError
            There is no such place; the pin is bare (it is put back); the gripper does not move; the detector is too
            near; the arm is at work, or was stopped; a sample mounted by hand is in the way.
        """
        if location not in self.whereabouts:
            pucks = f"{self.pucks} pucks of {self.pins} pins"
            raise DeviceError(self.name, f"there is no place {location}: the dewar has {pucks}, counted from 1")
        await self._do(_Job(f"load {location}", self._loading(location)))

    async def unload(self) -> None:
        """Puts what is on the goniometer, or in the gripper, back into the dewar. Raises as `load` does."""
        await self._do(_Job("unload", self._unloading()))

    async def stop(self) -> None:
        """Brings the arm to where it is safe, holding on to its pin; returns when it stands."""
        self.trace.note(self.name, "stop")
        if self._due is not None and not self._retreating:
            if self._job is not None:
                self._job.failure = f"was stopped during {self._job.what!r}{self._holding()}"
            self._retreat()
        await self.stand()

    async def stand(self) -> None:
        """Returns when the arm stands at its safe position."""
        if self._due is None:
            await trio.lowlevel.checkpoint()
        while self._due is not None:
            await self._standing.wait()

    async def is_still(self) -> bool:
        await trio.lowlevel.checkpoint()
        return not self.is_moving

    # -- what a command consists of -----------------------------------------------------------------------------------

    def _unloading(self) -> _Steps:
        yield from self._freeing_gripper()
        mounted = self._at(Whereabouts.GONIOMETER)
        if mounted is not None:
            yield TO_GONIOMETER, None
            yield GRASP, mounted
            yield TO_DEWAR, mounted
            yield PUT_BACK, mounted

    def _freeing_gripper(self) -> _Steps:
        """Whatever a stop or a failure left in the gripper goes back before anything else."""
        held = self.in_gripper
        if held is not None:
            yield TO_DEWAR, held
            yield PUT_BACK, held

    def _loading(self, location: Location) -> _Steps:
        if self.on_goniometer == location:
            yield from self._freeing_gripper()
            return
        yield from self._unloading()
        yield OPEN_GRIPPER, None
        yield PICK, location
        yield TRANSFER, location
        yield PLACE, location
        yield SENSE, location
        if location in self.bare_pins:
            yield GRASP, location
            yield TO_DEWAR, location
            yield PUT_BACK, location
            if self._job is not None:
                self._job.failure = f"the pin at {location} holds no sample: the pin sensor sees nothing"

    # -- the arm ------------------------------------------------------------------------------------------------------

    async def _do(self, job: _Job) -> None:
        if self._due is not None or self._job is not None:
            doing = self._job.what if self._job is not None else "going to its safe position"
            raise DeviceError(self.name, f"cannot {job.what}: the arm is at work ({doing})")
        self.trace.note(self.name, job.what)
        if self.hand_mounted():
            raise DeviceError(self.name, f"cannot {job.what}: a sample mounted by hand is on the goniometer")
        self._job = job
        self._next_phase()
        await job.ended.wait()
        if job.failure:
            raise DeviceError(self.name, job.failure)

    def _next_phase(self) -> None:
        job = self._job
        if job is None:
            return
        step = next(job.steps, None)
        if step is not None and self.distance_mm() < self.needs_distance_mm - ROUNDING_MM:
            job.failure = (
                f"refuses to {job.what}: the detector stands at {self.distance_mm():g} mm, "
                f"the arm needs {self.needs_distance_mm:g} mm{self._holding()}"
            )
            step = None
        if step is not None:
            phase, pin = step
            self._begin(phase, lambda: self._end_phase(phase, pin))
        elif self._due is not None:
            self._retreat()
        else:
            self._end_job()

    def _begin(self, phase: Phase, then: Callable[[], None]) -> None:
        if self._due is None:
            self._standing = trio.Event()
        else:
            self._due.cancel()
        self._left_to_do = None
        vary = 1.0 + self.rng.uniform(-self.variation_frac, self.variation_frac)
        self.trace.note(self.name, phase.name)
        self._phase_began_us = self.kernel.now_us
        self._due = self.kernel.after(to_us(phase.duration_s * vary), then, by=self.name)

    def _end_phase(self, phase: Phase, pin: Location | None) -> None:
        if self._arm_stuck:
            self._stick(lambda: self._end_phase(phase, pin))
            return
        if phase.gripper and self.gripper_stuck:
            limit_us = self._phase_began_us + to_us(self.gripper_time_limit_s)
            self._due = self.kernel.at(limit_us, lambda: self._gripper_limit(phase, pin), by=self.name)
            return
        if phase.to is not None and pin is not None:
            self.whereabouts[pin] = phase.to
            self.trace.note(self.name, f"{pin} {phase.to.value}")
        self._next_phase()

    def _gripper_limit(self, phase: Phase, pin: Location | None) -> None:
        if not self.gripper_stuck:
            self._end_phase(phase, pin)
            return
        if self._job is not None:
            where = f"; {pin} is {self.whereabouts[pin].value}" if pin is not None else ""
            self._job.failure = f"the gripper did not move within {self.gripper_time_limit_s:g} s{where}"
        self._retreat()

    def _stick(self, left_to_do: Action) -> None:
        self._left_to_do = left_to_do
        limit_us = self._phase_began_us + to_us(self.arm_time_limit_s)
        self._due = self.kernel.at(limit_us, self._arm_limit, by=self.name)

    def _arm_limit(self) -> None:
        """Whoever waits is told; the arm is where it is, and still counts as moving."""
        if self._job is not None:
            self._job.failure = f"the arm did not move within {self.arm_time_limit_s:g} s{self._holding()}"
        self._end_job()

    def _retreat(self) -> None:
        self._retreating = True
        self._begin(RETREAT, self._stand)

    def _stand(self) -> None:
        if self._arm_stuck:
            self._stick(self._stand)
            return
        self._retreating, self._due = False, None
        self.trace.note(self.name, "stands")
        self._standing.set()
        self._end_job()

    def _end_job(self) -> None:
        job, self._job = self._job, None
        if job is not None:
            job.ended.set()

    def _holding(self) -> str:
        held = self.in_gripper
        return f"; {held} is in the gripper" if held is not None else ""
