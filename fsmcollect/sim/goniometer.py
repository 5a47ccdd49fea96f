"""The goniometer: its axes, and the sweep with its hardware gate.

Owns the kinematics of a sweep and the gate that opens the fast shutter, triggers the detector and closes the shutter
by omega alone. Software has no part in that once the sweep has begun; so the gate's three moments are worked out when
it begins, and each is one callback, however many images there are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import attrs
import trio

from fsmcollect.beamline import Range, Sweep
from fsmcollect.errors import DeviceError
from fsmcollect.sim.kernel import US_PER_S, Kernel, Scheduled, to_us
from fsmcollect.sim.motion import Axis, Segment, Watch
from fsmcollect.sim.shutter import FastShutter
from fsmcollect.sim.trace import Trace

#: mx-bluesky's default maximum.
MAX_OMEGA_SPEED_DEG_S = 120.0
#: Assumed.
TIME_TO_SPEED_S = 0.1
#: Assumed: an air-bearing spindle settles within some 20 ms.
OMEGA_SETTLE_S = 0.02
#: Assumed: omega turns without end; the limit is the encoder's, not the cable's.
OMEGA_LIMITS_DEG = Range(-10_000.0, 10_000.0)
#: Between `begin_sweep` of a still and the gate's open command. Assumed.
STILL_DELAY_US = 1_000
#: Farther from where the sweep has it, and the controller reports a following error. Assumed.
OMEGA_IN_POSITION_DEG = 0.001
#: name: (limits, speed per second, time to speed in s, settling in s); all assumed.
OTHER_AXES: Mapping[str, tuple[Range, float, float, float]] = {
    "kappa_deg": (Range(-5.0, 245.0), 30.0, 0.1, 0.05),
    "phi_deg": (Range(-10_000.0, 10_000.0), 30.0, 0.1, 0.05),
    "x_mm": (Range(-5.0, 5.0), 2.0, 0.05, 0.02),
    "y_mm": (Range(-5.0, 5.0), 2.0, 0.05, 0.02),
    "z_mm": (Range(-5.0, 5.0), 2.0, 0.05, 0.02),
}
#: Comparing floats that were computed in two ways: far below an encoder's count.
_TOLERANCE = 1e-9


@attrs.define(eq=False, kw_only=True)
class RunningSweep:
    """A sweep that has begun.

    Attributes
    ----------
    start_us, end_us : int
        When omega passes the start of the first image and the end of the last one: exactly then.
    open_us : int
        When the gate tells the shutter to open.
    gate_off : bool
        The gate was taken off before it had done all its work.
    failure : DeviceError or None
        What the gate's electronics saw go wrong: a shutter that was not open at the start, an omega that was not where
        the sweep has it.
    """

    sweep: Sweep
    open_us: int
    start_us: int
    end_us: int
    gate: Scheduled | None = None
    gate_off: bool = False
    failure: DeviceError | None = None

    def omega_deg(self, at_us: float) -> float:
        """Where omega must be from a little before `open_us` until a little after `end_us`."""
        return self.sweep.omega_start_deg + self.sweep.speed_deg_s * (at_us - self.start_us) / US_PER_S


@attrs.define(eq=False, repr=False)
class Goniometer:
    """Role `fsmcollect.beamline.Goniometer`.

    Attributes
    ----------
    fast_shutter : FastShutter or None
        What the gate opens and closes.
    trigger : callable or None
        What the gate calls at the start of the first image: the detector's trigger input.
    """

    kernel: Kernel
    trace: Trace
    time_to_speed_s: float = TIME_TO_SPEED_S
    max_omega_speed_deg_s: float = MAX_OMEGA_SPEED_DEG_S
    fast_shutter: FastShutter | None = None
    trigger: Callable[[], None] | None = None
    axes: dict[str, Axis] = attrs.field(init=False)
    omega: Axis = attrs.field(init=False)
    #: The sweep that `begin_sweep` would start.
    _prepared: Sweep | None = attrs.field(init=False, default=None)
    _running: RunningSweep | None = attrs.field(init=False, default=None)
    _watch: Watch = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.omega = Axis(
            self.kernel,
            self.trace,
            "omega_deg",
            OMEGA_LIMITS_DEG,
            max_speed=self.max_omega_speed_deg_s,
            time_to_speed_s=self.time_to_speed_s,
            settle_s=OMEGA_SETTLE_S,
            device="goniometer",
        )
        self.axes = {"omega_deg": self.omega}
        for name, (limits, speed, time_to_speed_s, settle_s) in OTHER_AXES.items():
            self.axes[name] = Axis(
                self.kernel,
                self.trace,
                name,
                limits,
                max_speed=speed,
                time_to_speed_s=time_to_speed_s,
                settle_s=settle_s,
                device="goniometer",
            )
        self._watch = Watch(self.kernel, "goniometer")

    # -- what it does now ---------------------------------------------------------------------------------------------

    @property
    def limits(self) -> Mapping[str, Range]:
        """See the role."""
        return {name: axis.limits for name, axis in self.axes.items()}

    @property
    def running_sweep(self) -> RunningSweep | None:
        """The sweep that began last, until the next motion of omega is commanded."""
        return self._running

    @property
    def is_moving(self) -> bool:
        return any(axis.is_moving for axis in self.axes.values())

    async def read_positions(self) -> Mapping[str, float]:
        """See the role."""
        return {name: axis.position() for name, axis in self.axes.items()}

    async def is_still(self) -> bool:
        """See the role."""
        return not self.is_moving

    # -- moving -------------------------------------------------------------------------------------------------------

    async def move(self, targets: Mapping[str, float]) -> None:
        """See the role. Refused while a sweep is under way; checks every target before anything moves."""
        for name, target in targets.items():
            if name not in self.axes:
                raise DeviceError("goniometer", f"there is no axis {name}; there are {', '.join(self.axes)}")
            self.axes[name].check(target)
        if "omega_deg" in targets:
            self._refuse_while_sweeping()
        for name, target in targets.items():
            if name == "omega_deg":
                self._start_omega(target)
            else:
                self.axes[name].start(target)
        for name, target in targets.items():
            await self.axes[name].arrive(target)

    async def stop(self) -> None:
        """See the role."""
        self.take_gate_off()
        self._prepared = None
        for axis in self.axes.values():
            axis.halt()
        await trio.lowlevel.checkpoint_if_cancelled()
        for axis in self.axes.values():
            if axis.is_moving:
                await axis.stand()

    # -- sweeping -----------------------------------------------------------------------------------------------------

    async def prepare_sweep(self, sweep: Sweep) -> None:
        """See the role. Refused while another sweep is under way, beyond the limits, or with too short a run-up.

        If omega still runs down from the last sweep, the way to this one begins when it stands.
        """
        run_up_deg = math.copysign(sweep.run_up_deg, sweep.width_deg)
        self._check(sweep, run_up_deg)
        self._refuse_while_sweeping()
        target = sweep.omega_start_deg - (0.0 if sweep.is_still else run_up_deg)
        self._start_omega(target)
        await self.omega.arrive(target)
        self._prepared = sweep

    async def begin_sweep(self) -> None:
        """See the role."""
        sweep, self._prepared = self._prepared, None
        if sweep is None:
            raise DeviceError("goniometer", "no sweep is prepared")
        lead_us = to_us(sweep.shutter_lead_s)
        now_us = self.kernel.now_us
        if sweep.is_still:
            at_speed_us, start_us = now_us, now_us + STILL_DELAY_US + lead_us
        else:
            at_speed_us, start_us = self._accelerate(sweep, lead_us)
        running = RunningSweep(
            sweep=sweep, open_us=start_us - lead_us, start_us=start_us, end_us=start_us + to_us(sweep.duration_s)
        )
        self._running = running
        running.gate = self.kernel.at(running.open_us, self._gate_opens, by="goniometer", quiet=True)
        self.trace.note("goniometer", f"sweep {sweep.omega_start_deg:.6f}")
        await trio.lowlevel.checkpoint_if_cancelled()
        while self.kernel.now_us < at_speed_us and not running.gate_off:
            await self._watch.until(at_speed_us)
        self._check_not_stopped(running)
        # One that does not turn: a small error shows in where it is when the gate opens.
        if abs(self.omega.velocity() - sweep.speed_deg_s) > 0.5 * abs(sweep.speed_deg_s):
            raise self._omega_failure()

    async def finish_sweep(self) -> None:
        """See the role.

        Raises `DeviceError`, as soon as it is seen, where the shutter was not open at the start or is not closed after
        the end, and where omega was not where the sweep has it: hardware would go on regardless, and nobody would know.
        """
        running, shutter = self._running, self.fast_shutter
        if running is None or shutter is None:
            raise DeviceError("goniometer", "no sweep is under way")
        closed_us = running.end_us + to_us(shutter.closing_s)
        await trio.lowlevel.checkpoint_if_cancelled()
        while self.kernel.now_us < closed_us and not running.gate_off and running.failure is None:
            await self._watch.until(closed_us)
        self._check_not_stopped(running)
        if running.failure is not None:
            raise running.failure
        if not shutter.closed:
            raise DeviceError("fast_shutter", "did not close at the end of the sweep")

    def take_gate_off(self) -> None:
        """The gate opens, triggers and closes nothing any more. Does not touch the shutter, nor omega."""
        running = self._running
        if running is not None and running.gate is not None:
            running.gate.cancel()
            running.gate, running.gate_off = None, True
            self.trace.note("goniometer", "gate off")
            self._watch.changed()

    def reset(self) -> None:
        """Somebody power-cycles the controller: every axis comes to a stand, and what was prepared is forgotten.

        The gate's line to the shutter drops, which closes what it had opened.
        """
        self.trace.note("goniometer", "reset")
        running = self._running
        gate_was_on = running is not None and running.gate is not None
        self.take_gate_off()
        if gate_was_on and self.fast_shutter is not None:
            self.fast_shutter.gate_close()
        self._prepared = None
        for axis in self.axes.values():
            axis.halt()

    def shutter_left_open(self) -> None:
        """The shutter's read-back line: within a sweep, only the gate itself may close it."""
        running = self._running
        if running is not None and running.gate is not None and running.failure is None:
            running.failure = DeviceError("fast_shutter", "closed before the end of the sweep")
            self._watch.changed()

    # -- the gate -----------------------------------------------------------------------------------------------------

    def _gate_opens(self) -> None:
        running = self._running
        if running is None or self.fast_shutter is None:
            return
        if self._omega_is_off(running, running.open_us):
            # The gate compares angles: where omega never comes, nothing opens.
            running.failure = self._omega_failure()
            running.gate = None
            self._watch.changed()
            return
        self.fast_shutter.gate_open()
        running.gate = self.kernel.at(running.start_us, self._gate_triggers, by="goniometer", quiet=True)

    def _gate_triggers(self) -> None:
        running = self._running
        if running is None or self.fast_shutter is None or self.trigger is None:
            return
        if not self.fast_shutter.wholly_open:
            running.failure = DeviceError("fast_shutter", "was not wholly open at the start of the sweep")
            self._watch.changed()
        self.trigger()
        running.gate = self.kernel.at(running.end_us, self._gate_closes, by="goniometer", quiet=True)

    def _gate_closes(self) -> None:
        running = self._running
        if running is None or self.fast_shutter is None:
            return
        # An omega that stuck on its way never comes here; the controller's following error closes all the same.
        if running.failure is None and self._omega_is_off(running, running.end_us):
            running.failure = self._omega_failure()
        running.gate = None
        self.fast_shutter.gate_close()

    # -- how ----------------------------------------------------------------------------------------------------------

    def _accelerate(self, sweep: Sweep, lead_us: int) -> tuple[int, int]:
        """Start omega; returns when it has its speed and when it passes the start of the first image.

        The whole microsecond at which omega passes the start is chosen first and everything else follows backwards
        and forwards from it, so that omega(t) = start + speed * (t - start_us) holds exactly at constant speed. Behind
        the end it slows down at once: the shutter closes meanwhile, and no image sees that.
        """
        omega, speed = self.omega, sweep.speed_deg_s
        ramp_us = self.time_to_speed_s * US_PER_S
        ramp_deg = 0.5 * speed * self.time_to_speed_s
        run_up_deg = math.copysign(sweep.run_up_deg, speed)
        cruise_us = max((run_up_deg - ramp_deg) / speed * US_PER_S, float(lead_us))
        now_us = self.kernel.now_us
        start_us = now_us + math.ceil(ramp_us + cruise_us)
        at_speed_us = start_us - cruise_us
        slow_down_us = start_us + sweep.duration_s * US_PER_S
        stand_us = math.ceil(slow_down_us + ramp_us)
        acceleration = speed / self.time_to_speed_s
        before_deg = sweep.omega_start_deg - run_up_deg
        omega.follow(
            (
                Segment(now_us, before_deg),
                Segment(at_speed_us - ramp_us, before_deg, 0.0, acceleration),
                # Anchored at the start itself: the positions of images must not carry the rounding of the run-up.
                Segment(at_speed_us, sweep.omega_start_deg - speed * cruise_us / US_PER_S, speed),
                Segment(start_us, sweep.omega_start_deg, speed),
                Segment(slow_down_us, sweep.omega_end_deg, speed, -acceleration),
                Segment(slow_down_us + ramp_us, sweep.omega_end_deg + ramp_deg),
            ),
            stand_us,
        )
        return math.ceil(at_speed_us), start_us

    def _start_omega(self, target: float) -> None:
        running, self._running, self._prepared = self._running, None, None
        runs_down = running is not None and not running.gate_off
        self.omega.start(target, start_us=self.omega.standing_us if runs_down else None)

    def _check(self, sweep: Sweep, run_up_deg: float) -> None:
        if self.fast_shutter is None or self.trigger is None:
            raise DeviceError("goniometer", "no fast shutter and detector are wired to its gate")
        speed = abs(sweep.speed_deg_s)
        if speed > self.max_omega_speed_deg_s * (1 + _TOLERANCE):
            limit = self.max_omega_speed_deg_s
            raise DeviceError("goniometer", f"omega speed = {speed:g}: must be at most {limit:g} deg/s")
        if not sweep.is_still:
            need_deg = speed * (0.5 * self.time_to_speed_s + sweep.shutter_lead_s)
            if sweep.run_up_deg < need_deg * (1 - _TOLERANCE):
                raise DeviceError(
                    "goniometer",
                    f"run-up = {sweep.run_up_deg:g}: must be at least {need_deg:g} deg for omega to have its speed "
                    "before the shutter opens",
                )
            self.omega.check(sweep.omega_start_deg - run_up_deg)
            self.omega.check(sweep.omega_end_deg + run_up_deg)

    def _omega_is_off(self, running: RunningSweep, at_us: int) -> bool:
        return abs(self.omega.position() - running.omega_deg(at_us)) > OMEGA_IN_POSITION_DEG

    def _omega_failure(self) -> DeviceError:
        return DeviceError("goniometer", f"omega does not follow: it is at {self.omega.position():g} deg")

    def _refuse_while_sweeping(self) -> None:
        running = self._running
        if running is not None and running.gate is not None:
            raise DeviceError("goniometer", "a sweep is under way")

    def _check_not_stopped(self, running: RunningSweep) -> None:
        if running.gate_off:
            raise DeviceError("goniometer", "the sweep was stopped")
