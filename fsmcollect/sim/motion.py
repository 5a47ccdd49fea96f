"""Motion computed from time: trapezoidal profiles, an axis that follows them, and waiting for an instant.

Owns how one axis moves. Owns no task and no tick: a motion is a handful of segments, made when the command is given,
and the position at any instant is worked out from them when somebody asks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs
import trio

from fsmcollect.beamline import Range
from fsmcollect.errors import DeviceError
from fsmcollect.sim.kernel import US_PER_S, Kernel, Scheduled
from fsmcollect.sim.trace import Trace

#: A motor that was stopped where it was going stands a rounding short of it. Assumed: a micrometre hurts nobody.
ROUNDING_MM = 0.001


@attrs.define(eq=False, repr=False)
class Watch:
    """Waiting for an instant, or for a change before it. Of one device: `by` orders its callbacks in the kernel."""

    kernel: Kernel
    by: str
    _sleepers: list[_Sleeper] = attrs.field(init=False, factory=list["_Sleeper"])

    async def until(self, when_us: int | None) -> None:
        """Returns at `when_us`, or when `changed` is called before. None: only then. Look again at what you wait for.

        Can be cancelled, which changes nothing about the device.
        """
        sleeper = _Sleeper(self.kernel, trio.lowlevel.current_task())
        if when_us is not None:
            sleeper.due = self.kernel.at(when_us, sleeper.wake, by=self.by, quiet=True)
        self._sleepers.append(sleeper)
        try:
            await trio.lowlevel.wait_task_rescheduled(sleeper.abort)
        finally:
            self._sleepers.remove(sleeper)

    def changed(self) -> None:
        """Wake everybody who waits: what they wait for is no longer what it was."""
        for sleeper in self._sleepers:
            sleeper.wake()


@attrs.define(eq=False)
class _Sleeper:
    kernel: Kernel
    task: trio.lowlevel.Task
    due: Scheduled | None = None
    awake: bool = False

    def wake(self) -> None:
        # trio forbids waking a task twice: the due instant and a change may fall into one instant.
        if not self.awake:
            self.awake = True
            if self.due is not None:
                self.due.cancel()
            self.kernel.wake(self.task)

    def abort(self, _: object) -> trio.lowlevel.Abort:
        self.awake = True
        if self.due is not None:
            self.due.cancel()
        return trio.lowlevel.Abort.SUCCEEDED


@attrs.define(eq=False)  # never changed; `frozen` would make building one three times dearer
class Segment:
    """Constant acceleration from an instant on: where, how fast. Seconds inside, microseconds at the edge."""

    #: Need not be whole: a sweep's constant speed is fixed to the microsecond, what leads up to it follows from that.
    start_us: float
    position: float
    velocity: float = 0.0
    acceleration: float = 0.0

    def position_at(self, at_us: float) -> float:
        dt_s = (at_us - self.start_us) / US_PER_S
        return self.position + dt_s * (self.velocity + 0.5 * self.acceleration * dt_s)

    def velocity_at(self, at_us: float) -> float:
        return self.velocity + self.acceleration * (at_us - self.start_us) / US_PER_S


@attrs.define(eq=False)
class Trajectory:
    """Where an axis is from one command on; knows the command that replaced it, so it stays right for ever.

    Whoever holds the trajectory of one instant can ask for the position at any later one (a detector that records
    angles does), and nobody has to keep a history.
    """

    segments: Sequence[Segment]
    _replaced_us: float = attrs.field(init=False, default=math.inf)
    _next: Trajectory | None = attrs.field(init=False, default=None)

    def replace(self, at_us: float, following: Trajectory) -> None:
        self._replaced_us, self._next = at_us, following

    def segment_at(self, at_us: float) -> Segment:
        """The segment that holds at `at_us`; of two that meet there, the later."""
        trajectory = self
        while at_us >= trajectory._replaced_us and trajectory._next is not None:
            trajectory = trajectory._next
        segments = trajectory.segments
        for segment in reversed(segments):
            if segment.start_us <= at_us:
                return segment
        return segments[0]

    def position_at(self, at_us: float) -> float:
        return self.segment_at(at_us).position_at(at_us)


def trapezoid(start_us: int, origin: float, target: float, speed: float, acceleration: float) -> tuple[Segment, ...]:
    """From rest to rest; triangular where the way is too short for `speed`.

    The three times are rounded up to whole microseconds and the peak speed follows from them, so that neither limit is
    exceeded and the end is the target exactly. The last segment stands at the target, its start is the arrival.
    """
    way = abs(target - origin)
    if way == 0.0:
        return (Segment(start_us, target),)
    if way * acceleration > speed * speed:
        ramp_us = max(1, math.ceil(speed / acceleration * US_PER_S))
        cruise_us = max(0, math.ceil(way / speed * US_PER_S - ramp_us))
    else:
        ramp_us, cruise_us = max(1, math.ceil(math.sqrt(way / acceleration) * US_PER_S)), 0
    ramp_s = ramp_us / US_PER_S
    peak = math.copysign(way / ((ramp_us + cruise_us) / US_PER_S), target - origin)
    ramp_way = 0.5 * peak * ramp_s
    return (
        Segment(start_us, origin, 0.0, peak / ramp_s),
        Segment(start_us + ramp_us, origin + ramp_way, peak),
        Segment(start_us + ramp_us + cruise_us, target - ramp_way, peak, -peak / ramp_s),
        Segment(start_us + 2 * ramp_us + cruise_us, target),
    )


def _creeping(trajectory: Trajectory, from_us: int, creep: float) -> tuple[Segment, ...]:
    """What is left of a motion from an instant on, with a creep on top of it."""
    now = trajectory.segment_at(from_us)
    left = [Segment(from_us, now.position_at(from_us), now.velocity_at(from_us) + creep, now.acceleration)]
    for segment in trajectory.segments:
        if segment.start_us > from_us:
            crept = creep * (segment.start_us - from_us) / US_PER_S
            velocity = segment.velocity + creep
            left.append(Segment(segment.start_us, segment.position + crept, velocity, segment.acceleration))
    return tuple(left)


@attrs.define(eq=False)
class Axis:
    """One motor. Its unit is the last part of its name (``omega_deg``).

    A new move while it moves lets it come to a stand first and then go on to the new target; whoever waited for the
    old target is told so by a `DeviceError`. Cancelling `move` leaves the axis moving.

    Parameters
    ----------
    name : str
        What the trace and errors call it, unit last.
    limits : Range
        Allowed targets.
    max_speed : float
        In units per second.
    time_to_speed_s : float
        From rest to `max_speed`; the acceleration follows from it.
    settle_s : float
        After arrival, before `move` returns.
    position : float
        Where it stands at first.
    device : str
        The role that errors name; the axis's own name where it is a device by itself.
    """

    kernel: Kernel
    trace: Trace
    name: str
    limits: Range
    max_speed: float = attrs.field(kw_only=True)
    time_to_speed_s: float = attrs.field(kw_only=True)
    settle_s: float = attrs.field(kw_only=True, default=0.0)
    device: str = attrs.field(kw_only=True, default="")
    start_position: float = attrs.field(kw_only=True, default=0.0, alias="position")
    acceleration: float = attrs.field(init=False)
    unit: str = attrs.field(init=False)
    _trajectory: Trajectory = attrs.field(init=False)
    #: When the motion that was last commanded has arrived and settled.
    _standing_us: int = attrs.field(init=False, default=0)
    #: What `move` was last told; None after `stop` and while a sweep is followed.
    _goal: float | None = attrs.field(init=False, default=None)
    _stuck: bool = attrs.field(init=False, default=False)
    _creep: float = attrs.field(init=False, default=0.0)
    _watch: Watch = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.device = self.device or self.name
        self.unit = self.name.rpartition("_")[2]
        self.acceleration = self.max_speed / self.time_to_speed_s
        self._trajectory = Trajectory((Segment(0, self.start_position),))
        self._watch = Watch(self.kernel, self.name)

    # -- what it does now ---------------------------------------------------------------------------------------------

    def position(self, at_us: int | None = None) -> float:
        """Position now, or at an instant not before the last command."""
        return self._trajectory.position_at(self.kernel.now_us if at_us is None else at_us)

    def velocity(self, at_us: int | None = None) -> float:
        """Signed, in units per second."""
        now_us = self.kernel.now_us if at_us is None else at_us
        return self._trajectory.segment_at(now_us).velocity_at(now_us)

    @property
    def trajectory(self) -> Trajectory:
        """What it follows now; stays right for every later instant, whatever is commanded in between."""
        return self._trajectory

    @property
    def is_moving(self) -> bool:
        """On its way or settling."""
        return not self._stuck and self.kernel.now_us < self._standing_us

    @property
    def is_at_constant_speed(self) -> bool:
        """It stands, or moves without acceleration."""
        return self._trajectory.segment_at(self.kernel.now_us).acceleration == 0.0

    @property
    def standing_us(self) -> int:
        """When the motion that was last commanded has arrived and settled; in the past if it stands."""
        return self._standing_us

    @property
    def arrives_us(self) -> float:
        """When the motion that was last commanded comes to its end, before it settles."""
        return self._trajectory.segments[-1].start_us

    @property
    def stuck(self) -> bool:
        """The motor does not turn, whatever it is told: a state of the device. It stays where that began."""
        return self._stuck

    @stuck.setter
    def stuck(self, stuck: bool) -> None:
        if stuck:
            self._follow((Segment(self.kernel.now_us, self.position()),))
        else:
            self._standing_us = self.kernel.now_us
            self._watch.changed()
        self._stuck = stuck

    @property
    def creep(self) -> float:
        """Units per second by which it leaves where it stands, and the sweep that it follows: a state of the device.

        A move arrives all the same, for it is regulated until it has settled; then it creeps from there.
        """
        return self._creep

    @creep.setter
    def creep(self, creep: float) -> None:
        more, self._creep = creep - self._creep, creep
        now_us = self.kernel.now_us
        if self._stuck:
            return
        if not self.is_moving:
            self._follow((Segment(now_us, self.position(), creep),))
        elif self._goal is None:
            self._follow(_creeping(self._trajectory, now_us, more))
        else:
            self._follow(self._resting(self._trajectory.segments))

    def reset(self) -> None:
        """Somebody power-cycles its controller: it comes to a stand, and its target is forgotten."""
        self.trace.note(self.name, "reset")
        self.halt()

    # -- commands, synchronous ----------------------------------------------------------------------------------------

    def check(self, target: float) -> None:
        """Raises `DeviceError` where `target` is beyond the limits."""
        if target not in self.limits:
            low, high, unit = self.limits.low, self.limits.high, self.unit
            raise DeviceError(self.device, f"{self.name} = {target:g}: must be from {low:g} to {high:g} {unit}")

    def start(self, target: float, speed: float | None = None, *, start_us: int | None = None) -> None:
        """Command a move and return at once. With `start_us` the present motion goes on until then, and ends then."""
        self.check(target)
        now_us = self.kernel.now_us
        before: tuple[Segment, ...] = ()
        if start_us is None:
            before = self._brake(now_us)
            start_us, origin = int(before[-1].start_us), before[-1].position
        else:
            start_us = max(start_us, now_us)
            before = tuple(self._trajectory.segments) if start_us > now_us else ()
            origin = self.position(start_us)
        limit = self.max_speed if speed is None else min(speed, self.max_speed)
        segments = trapezoid(start_us, origin, target, limit, self.acceleration)
        self.trace.note(self.name, f"move {target:.6f}")
        arrival_us = int(segments[-1].start_us)
        settle_us = round(self.settle_s * US_PER_S) if len(segments) > 1 else 0
        self._command((*before, *segments), target, arrival_us + settle_us)

    def follow(self, segments: Sequence[Segment], standing_us: int) -> None:
        """Command a motion made elsewhere (a sweep); it begins now where the axis is, and stands at `standing_us`."""
        if self._creep:
            segments = _creeping(Trajectory(segments), self.kernel.now_us, self._creep)
        self._command(segments, None, standing_us)

    def halt(self) -> None:
        """Command a stop and return at once. Nothing happens if it stands."""
        if not self.is_moving:
            return
        self.trace.note(self.name, "stop")
        segments = self._brake(self.kernel.now_us)
        self._command(segments, None, int(segments[-1].start_us))

    # -- commands that wait -------------------------------------------------------------------------------------------

    async def move(self, target: float, speed: float | None = None) -> None:
        """Returns when it has arrived and settled.

        Raises
        ------
        DeviceError
            The target is beyond the limits; the axis was stopped or sent elsewhere on its way; it does not move.
        """
        self.start(target, speed)
        await self.arrive(target)

    async def arrive(self, target: float) -> None:
        """Wait for the end of a move that `start` began. Raises as `move` does."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while self._goal == target and self.kernel.now_us < self._standing_us:
            await self._watch.until(self._standing_us)
        # Where it came to rest: it may have crept since.
        position = self.position(self._standing_us) if self._creep else self.position()
        if position == target and not self.is_moving:
            return
        if self._goal is None:
            raise DeviceError(self.device, f"{self.name} was stopped on its way to {target:g} {self.unit}")
        if self._goal != target:
            raise DeviceError(
                self.device, f"{self.name} was sent to {self._goal:g} {self.unit} on its way to {target:g} {self.unit}"
            )
        raise DeviceError(
            self.device, f"{self.name} stands at {position:g} {self.unit} and not at {target:g} {self.unit}"
        )

    async def stop(self) -> None:
        """Decelerates; returns when it stands. Idempotent, commanded before the first checkpoint."""
        self.halt()
        await self.stand()

    async def stand(self) -> None:
        """Returns when it stands, whatever it was told."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while self.is_moving:
            await self._watch.until(self._standing_us)

    # -- how -----------------------------------------------------------------------------------------------------------

    def _brake(self, now_us: int) -> tuple[Segment, ...]:
        """From the present speed to rest; the last segment stands."""
        position, velocity = self.position(now_us), self.velocity(now_us)
        ramp_us = math.ceil(abs(velocity) / self.acceleration * US_PER_S)
        if ramp_us == 0:
            return (Segment(now_us, position),)
        ramp_s = ramp_us / US_PER_S
        return (
            Segment(now_us, position, velocity, -velocity / ramp_s),
            Segment(now_us + ramp_us, position + 0.5 * velocity * ramp_s),
        )

    def _command(self, segments: Sequence[Segment], goal: float | None, standing_us: int) -> None:
        self._goal, self._standing_us = goal, standing_us
        if self._creep and goal is not None:
            segments = self._resting(segments)
        if not self._stuck:
            self._follow(segments)
        self._watch.changed()

    def _resting(self, segments: Sequence[Segment]) -> tuple[Segment, ...]:
        """The same motion, but it creeps once it has settled."""
        rest_us = self._standing_us
        moving = tuple(segment for segment in segments if segment.start_us < rest_us)
        return (*moving, Segment(rest_us, Trajectory(segments).position_at(rest_us), self._creep))

    def _follow(self, segments: Sequence[Segment]) -> None:
        following = Trajectory(segments)
        self._trajectory.replace(self.kernel.now_us, following)
        self._trajectory = following
