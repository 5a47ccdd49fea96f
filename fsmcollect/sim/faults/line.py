"""The line between the sequencer and one simulated device: what goes wrong on it, and how often each command went over.

Owns what each effect makes of a call. Owns neither when a fault is in force (`injector`) nor what it does to the device
itself (`hardware`). Where no fault befalls a call, the device's own coroutine is handed on as it is: with and without
the line the same happens in the same instants.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

import attrs

from fsmcollect.errors import DeviceError
from fsmcollect.sim.faults.commands import COMMANDS, Kind
from fsmcollect.sim.faults.misreading import wrong
from fsmcollect.sim.faults.values import Effect, Fault
from fsmcollect.sim.kernel import Action, Kernel, to_us

#: Sends the command to the device and waits for its answer.
Send = Callable[[], Awaitable[object]]
_COMMANDS = (Kind.ACT, Kind.MAKE_SAFE)
#: To the end of the line and back: what is not the device's own answer takes so long. Assumed; with none at all, what
#: else is told in that instant would be told or not as tasks happen to run.
_ROUND_TRIP_US = 1_000


class AdapterBug(RuntimeError):
    """What a faulty adapter raises: anything but the `DeviceError` that it should."""


class Course(Protocol):
    """One fault in the course of a run, as far as its line goes."""

    fault: Fault

    def befalls(self, number: int) -> bool:
        """Whether it befalls the `number`-th call of its command, which is being made now."""
        ...

    def strike(self) -> None:
        """It befalls a call: from now on it is in force."""

    def leave(self) -> None:
        """The call that it befell has ended."""

    async def over(self) -> None:
        """Returns when it is over: never, where it lasts for ever or the call that it befell is all there is of it."""

    def before_sending(self) -> Action:
        """The command is about to be sent: have the hardware do to it what it will. Returns what to do at its end."""
        ...


@attrs.define(eq=False)
class Socket:
    """Where one command goes over the line.

    Attributes
    ----------
    count : int
        Calls up to now.
    courses : list of Course
        Faults that may befall it.
    """

    command: str
    kind: Kind
    method: Callable[..., Awaitable[object]]
    count: int = 0
    courses: list[Course] = attrs.field(factory=list[Course])


class Line:
    """Stands for a device on `Beamline`: the role's commands go over it, everything else is the device's.

    Parameters
    ----------
    device : object
        The simulated device.
    role : str
    kernel : Kernel
    called : callable, optional
        Told of each call: command and number.
    """

    def __init__(
        self, device: object, role: str, kernel: Kernel, called: Callable[[str, int], None] | None = None
    ) -> None:
        self._device = device
        self._role = role
        self._kernel = kernel
        self._called = called
        self._mends: list[Action] = []
        kinds = COMMANDS[role]
        #: What only reads is never commanded: its next command is whatever it is asked next.
        self._is_read_only = not any(kind in _COMMANDS for kind in kinds.values())
        self.sockets: Mapping[str, Socket] = {
            command: Socket(command, kind, getattr(device, command)) for command, kind in kinds.items()
        }
        for command, socket in self.sockets.items():
            self.__dict__[command] = functools.partial(self._call, socket)

    def __getattr__(self, name: str) -> object:
        return getattr(self._device, name)

    def mend_at_next_command(self, mend: Action) -> None:
        """Have `mend` done just before the device is told something again; of one that is only read, just after."""
        self._mends.append(mend)

    def _call(self, socket: Socket, *args: object, **kwargs: object) -> Awaitable[object]:
        socket.count += 1
        if self._called is not None:
            self._called(socket.command, socket.count)
        if self._mends and socket.kind in _COMMANDS:
            self._mend()
        befalling = [course for course in socket.courses if course.befalls(socket.count)] if socket.courses else ()
        mends_after = bool(self._mends) and self._is_read_only
        if not befalling and not mends_after:
            return socket.method(*args, **kwargs)
        send: Send = functools.partial(socket.method, *args, **kwargs)
        return self._befallen(socket, befalling, send, mends_after=mends_after)

    def _mend(self) -> None:
        mends, self._mends = self._mends, []
        for mend in mends:
            mend()

    async def _befallen(self, socket: Socket, befalling: Sequence[Course], send: Send, *, mends_after: bool) -> object:
        """The call with every fault that befalls it, the first one nearest to the sequencer."""
        for course in reversed(befalling):
            way = _Way(self._role, socket.command, self._kernel, course)
            send = functools.partial(_EFFECTS[course.fault.effect], way, send)
        for course in befalling:
            course.strike()
        try:
            return await send()
        finally:
            for course in befalling:
                course.leave()
            if mends_after:
                self._mend()


# -- effects: what becomes of a call whose way to the device is `send` ------------------------------------------------


@attrs.frozen
class _Way:
    role: str
    command: str
    kernel: Kernel
    course: Course


async def _refuses(way: _Way, send: Send) -> object:
    await way.kernel.wait(_ROUND_TRIP_US, by="fault")
    raise DeviceError(way.role, f"refuses to {way.command}")


async def _raises(way: _Way, send: Send) -> object:
    await way.kernel.wait(_ROUND_TRIP_US, by="fault")
    raise AdapterBug(f"{way.role}.{way.command}: list index out of range")


async def _hangs(way: _Way, send: Send) -> object:
    await way.course.over()
    return await send()


async def _is_late(way: _Way, send: Send) -> object:
    await way.kernel.wait(to_us(way.course.fault.delay_s), by="fault")
    return await send()


async def _reads_back_wrong(way: _Way, send: Send) -> object:
    return wrong(way.command, await send())


async def _loses_its_answer(way: _Way, send: Send) -> object:
    refusal: DeviceError | None = None
    answer: object = None
    try:
        answer = await send()
    except DeviceError as error:
        refusal = error  # that it could not do it is an answer too
    await way.course.over()
    if refusal is not None:
        raise refusal
    return answer


async def _is_not_done(way: _Way, send: Send) -> object:
    await way.kernel.wait(_ROUND_TRIP_US, by="fault")
    return None


async def _stops_half_way(way: _Way, send: Send) -> object:
    answered = way.course.before_sending()
    try:
        return await send()
    finally:
        answered()


async def _finds_nobody(way: _Way, send: Send) -> object:
    await way.kernel.wait(_ROUND_TRIP_US, by="fault")
    raise DeviceError(way.role, f"cannot {way.command}: its controller is starting afresh")


_EFFECTS: Mapping[Effect, Callable[[_Way, Send], Awaitable[object]]] = {
    Effect.REFUSES: _refuses,
    Effect.RAISES: _raises,
    Effect.HANGS: _hangs,
    Effect.DELAYED: _is_late,
    Effect.WRONG_READ_BACK: _reads_back_wrong,
    Effect.ANSWER_LOST: _loses_its_answer,
    Effect.NO_ACTION: _is_not_done,
    Effect.STOPS_HALF_WAY: _stops_half_way,
    Effect.RESETS: _finds_nobody,
}
