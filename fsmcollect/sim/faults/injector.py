"""The faults of one run: when each begins, what it befalls, and when it is over.

Owns the course of every fault and the lines over which the sequencer reaches the devices; devices know nothing of it.
Owns neither the effects (`line`, `hardware`) nor which faults must be survived (`survival`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import attrs
import trio

from fsmcollect.sim.beamline import SimulatedBeamline
from fsmcollect.sim.faults.commands import COMMANDS, DEVICE_WIDE, Call
from fsmcollect.sim.faults.hardware import Hardware
from fsmcollect.sim.faults.line import Line
from fsmcollect.sim.faults.values import FOR_EVER_S, ONCE_S, Effect, Fault
from fsmcollect.sim.kernel import Action, to_us
from fsmcollect.sim.moments import Moments

__all__ = ["Call", "Injector"]

#: Of one instant, a fault is over before any device or task does anything.
_OVER_FIRST = -1


def _no_state() -> str:
    return ""


@attrs.define(eq=False)
class _Course:
    """One fault in the course of the run: waiting, in force (perhaps several times), over."""

    fault: Fault
    injector: Injector
    #: None until it first began.
    began_us: int | None = None
    #: When it was over last; None while it is in force and before.
    over_us: int | None = None
    #: It will befall nothing any more.
    is_spent: bool = False
    has_struck: bool = False
    #: Its moment has come, and what it befalls has not (ONCE).
    _is_due: bool = False
    _calls: int = 0
    #: What undoes that which it did to the device itself.
    _undo: list[Action] = attrs.field(factory=list[Action])

    # -- beginning ----------------------------------------------------------------------------------------------------

    def moment_has_come(self) -> None:
        """What befalls a command once waits for its next call; all else begins now."""
        if self.fault.effect in DEVICE_WIDE:
            self._befall_device()
        elif self.fault.lasts_s == ONCE_S:
            self._is_due = True
        else:
            self._begin()

    def _begin(self) -> None:
        kernel, fault = self.injector.simulated.kernel, self.fault
        self.began_us, self.over_us = kernel.now_us, None
        self.injector.has_begun(self)
        if fault.lasts_s not in (ONCE_S, FOR_EVER_S):
            kernel.at(self._ends_us(), self._end, by="fault", priority=_OVER_FIRST)

    def _befall_device(self) -> None:
        fault, injector = self.fault, self.injector
        self._begin()
        self._note()
        if fault.effect is Effect.RESETS:
            injector.hardware.reset(fault.device)
            if fault.lasts_s == ONCE_S:
                self._end()
            return
        self._undo.append(injector.hardware.drift(fault.device))
        if fault.lasts_s == ONCE_S:
            injector.lines[fault.device].mend_at_next_command(self._end)

    # -- a call (see `line.Course`) -----------------------------------------------------------------------------------

    def befalls(self, number: int) -> bool:
        """See `line.Course`."""
        fault = self.fault
        if self.is_spent or fault.effect is Effect.DRIFTS:
            return False
        return self.began_us is not None or self._is_due or fault.call == number

    def strike(self) -> None:
        """See `line.Course`."""
        self._is_due = False
        self._calls += 1
        if self.began_us is None:
            self._begin()
        if self.fault.lasts_s == ONCE_S:
            self.is_spent = True
        self._note()

    def leave(self) -> None:
        """See `line.Course`. A device that stopped half-way stays so until it is commanded again."""
        self._calls -= 1
        if self.fault.lasts_s == ONCE_S and not self._undo:
            self._end()

    async def over(self) -> None:
        """See `line.Course`."""
        if self.fault.lasts_s in (ONCE_S, FOR_EVER_S):
            await trio.sleep_forever()
        kernel = self.injector.simulated.kernel
        await kernel.wait(max(0, self._ends_us() - kernel.now_us), by="fault")

    def before_sending(self) -> Action:
        """See `line.Course`."""
        fault, injector = self.fault, self.injector
        half_way = injector.hardware.stop_half_way(fault.device, fault.command)
        self._undo.append(half_way.undo)
        if fault.lasts_s == ONCE_S:
            injector.lines[fault.device].mend_at_next_command(self._end)
        return half_way.answered

    # -- ending -------------------------------------------------------------------------------------------------------

    def _ends_us(self) -> int:
        return (self.began_us or 0) + to_us(self.fault.lasts_s)

    def _end(self) -> None:
        self.is_spent = True
        self.over_us = self.injector.simulated.kernel.now_us
        for undo in self._undo:
            undo()
        self._undo.clear()
        self.injector.is_over(self)

    def _note(self) -> None:
        self.has_struck = True
        self.injector.note(self.fault)


@attrs.define(eq=False, repr=False)
class Injector:
    """Has the faults of one run strike. Building it puts lines before the devices of `simulated.beamline`.

    Parameters
    ----------
    simulated : SimulatedBeamline
        Used once.
    faults : sequence of Fault
        Of one call, the first is nearest to the sequencer.
    moments : Moments
        Must hear the run's events.
    record : bool
        Fill `calls`: every device gets a line then, else those that have a fault.
    state : callable
        The name of the state in which a call falls.

    Attributes
    ----------
    calls : list of Call
    struck : list of (int, Fault)
        When (microseconds) a fault befell a call, or a device as a whole.
    on_struck : list of callables
        Told of each at once.
    """

    simulated: SimulatedBeamline
    faults: Sequence[Fault]
    moments: Moments
    record: bool = attrs.field(default=False, kw_only=True)
    state: Callable[[], str] = attrs.field(default=_no_state, kw_only=True)
    calls: list[Call] = attrs.field(init=False, factory=list[Call])
    struck: list[tuple[int, Fault]] = attrs.field(init=False, factory=list[tuple[int, Fault]])
    on_struck: list[Callable[[Fault], object]] = attrs.field(init=False, factory=list[Callable[[Fault], object]])
    hardware: Hardware = attrs.field(init=False)
    lines: dict[str, Line] = attrs.field(init=False, factory=dict[str, Line])
    _courses: list[_Course] = attrs.field(init=False, factory=list[_Course])
    _in_force: tuple[_Course, ...] = attrs.field(init=False, default=())
    _faults_in_force: tuple[Fault, ...] = attrs.field(init=False, default=())

    def __attrs_post_init__(self) -> None:
        self.hardware = Hardware(self.simulated)
        wired = COMMANDS if self.record else {fault.device: None for fault in self.faults}
        for role in wired:
            self._wire(role)
        for fault in self.faults:
            self._expect(fault)

    # -- what is and was ----------------------------------------------------------------------------------------------

    def in_force(self) -> tuple[Fault, ...]:
        """Faults that have begun and are not over now."""
        return self._faults_in_force

    @property
    def never_struck(self) -> tuple[Fault, ...]:
        """Faults that have befallen nothing up to now: not begun, or nobody called what they would have befallen."""
        return tuple(course.fault for course in self._courses if not course.has_struck)

    @property
    def last_over_us(self) -> int:
        """When the last of those that began was over; of one that goes on without an end, when it began."""
        now_us = self.simulated.kernel.now_us
        return max((_over_us(course, now_us) for course in self._courses), default=0)

    # -- what courses tell --------------------------------------------------------------------------------------------

    def has_begun(self, course: _Course) -> None:
        """From now on `course` is in force."""
        self._set_in_force((*self._in_force, course))

    def is_over(self, course: _Course) -> None:
        """`course` is in force no longer."""
        self._set_in_force(tuple(other for other in self._in_force if other is not course))

    def note(self, fault: Fault) -> None:
        """`fault` strikes now."""
        # Faults that strike in one instant have no order among them: each is a source of its own (see `sim.trace`).
        self.simulated.trace.note(f"fault/{fault.device}.{fault.command}", str(fault))
        self.struck.append((self.simulated.kernel.now_us, fault))
        for tell in self.on_struck:
            tell(fault)

    # -- how ----------------------------------------------------------------------------------------------------------

    def _wire(self, role: str) -> None:
        beamline = self.simulated.beamline
        device: object = getattr(beamline, role, None)
        if device is None or role not in COMMANDS:
            return
        called = partial(self._record, role) if self.record else None
        self.lines[role] = line = Line(device, role, self.simulated.kernel, called)
        setattr(beamline, role, line)

    def _record(self, role: str, command: str, number: int) -> None:
        self.calls.append(Call(role, command, number, self.state()))

    def _expect(self, fault: Fault) -> None:
        course = _Course(fault, self)
        self._courses.append(course)
        line = self.lines.get(fault.device)
        if line is None:
            return  # this beamline lacks the device: it never strikes
        if fault.effect in DEVICE_WIDE:
            for socket in line.sockets.values():
                socket.courses.append(course)
        elif fault.command in line.sockets:
            line.sockets[fault.command].courses.append(course)
        if fault.moment is not None:
            self.moments.add(fault.moment, course.moment_has_come)

    def _set_in_force(self, courses: tuple[_Course, ...]) -> None:
        self._in_force = courses
        self._faults_in_force = tuple(course.fault for course in courses)


def _over_us(course: _Course, now_us: int) -> int:
    if course.began_us is None:
        return 0
    if course.over_us is not None:
        return course.over_us
    # One that lasts for ever, or befell a call that never ends, has done all that it will do when it began.
    lasts_s = course.fault.lasts_s
    return course.began_us if math.isinf(lasts_s) else min(now_us, course.began_us + to_us(lasts_s))
