"""What goes from one setting to another in a fixed time: a cover, a backlight, an aperture, a set of absorbers.

Owns the rules that all of these share, so that they hold everywhere: the last command wins, commanding the same setting
again is joining, cancelling a waiter does not stop the motion, and a jammed actuator stays where it is until its time
limit. Owns no device; where speed and acceleration matter there is `motion.Axis`.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import attrs
import trio

from fsmcollect.errors import DeviceError
from fsmcollect.sim.kernel import Kernel, Scheduled, to_us
from fsmcollect.sim.trace import Trace

T = TypeVar("T")


@attrs.define(eq=False)
class _Travel(Generic[T]):
    """One command under way, and how it ended."""

    target: T
    due: Scheduled | None = None
    #: It should have arrived by now, and was jammed then.
    is_late: bool = False
    ended: trio.Event = attrs.field(factory=trio.Event)
    #: Why it did not arrive; empty when it did.
    failure: str = ""


@attrs.define(eq=False)
class Actuator(Generic[T]):
    """One thing with settings.

    Attributes
    ----------
    name : str
        The role, as errors and the trace name it.
    setting : T or None
        Where it stands; None while it travels, or where it jammed half-way.
    travel_s : float
        From any setting to any other, also after a reversal on the way.
    time_limit_s : float
        A travel that has not arrived so long after its command is a DeviceError.
    jammed : bool
        It hears commands and does not move. Cleared by whoever mends it.
    """

    kernel: Kernel
    trace: Trace
    name: str
    setting: T | None
    travel_s: float
    time_limit_s: float = 30.0  # assumed
    jammed: bool = False
    #: When it came to where it stands.
    stands_since_us: int = attrs.field(init=False, default=0)
    _travel: _Travel[T] | None = attrs.field(init=False, default=None)

    @property
    def is_moving(self) -> bool:
        """A travel is under way, jammed or not."""
        return self._travel is not None

    @property
    def arrives_us(self) -> int | None:
        """When the travel under way will be at its end; None without one."""
        return None if self._travel is None or self._travel.due is None else self._travel.due.when_us

    def reset(self) -> None:
        """Somebody power-cycles its controller: a travel ends where it is, neither here nor there."""
        self.trace.note(self.name, "reset")
        if self._travel is not None:
            self._end(f"started afresh on its way to {self._travel.target}")

    def command(self, target: T) -> None:
        """Send it to `target`, whatever it is doing; never waits."""
        self.trace.note(self.name, f"to {target}")
        if self._travel is not None:
            if self._travel.target == target:
                self._set_out_anew(self._travel)
                return
            self._end(f"was sent to {target} on its way to {self._travel.target}")
        if self.setting == target:
            return
        travel = _Travel(target)
        self._travel = travel
        if not self.jammed:
            self.setting = None
        travel.due = self.kernel.after(to_us(self.travel_s), self._arrive, by=self.name)

    async def go(self, target: T) -> None:
        """Send it to `target` and wait until it is there.

        Raises
        ------
        DeviceError
            It did not arrive in time, or another command sent it elsewhere.
        """
        self.command(target)
        travel = self._travel
        if travel is None:
            await trio.lowlevel.checkpoint()
            return
        await travel.ended.wait()
        if travel.failure:
            raise DeviceError(self.name, travel.failure)

    def _set_out_anew(self, travel: _Travel[T]) -> None:
        """Told the same once more: where it was jammed and is free again, it goes; else it is on its way already."""
        if self.jammed or not travel.is_late:
            return
        travel.is_late = False
        if travel.due is not None:
            travel.due.cancel()
        self.setting = None
        travel.due = self.kernel.after(to_us(self.travel_s), self._arrive, by=self.name)

    def _arrive(self) -> None:
        travel = self._travel
        if travel is None:
            return
        if self.jammed:
            travel.is_late = True
            rest_s = max(0.0, self.time_limit_s - self.travel_s)
            travel.due = self.kernel.after(to_us(rest_s), self._run_out, by=self.name)
            return
        self.setting, self.stands_since_us = travel.target, self.kernel.now_us
        self.trace.note(self.name, f"at {travel.target}")
        self._end("")

    def _run_out(self) -> None:
        travel = self._travel
        if travel is None or not self.jammed:
            self._arrive()
            return
        self._end(f"did not reach {travel.target} within {max(self.time_limit_s, self.travel_s):g} s")

    def _end(self, failure: str) -> None:
        travel = self._travel
        if travel is None:
            return
        self._travel = None
        if travel.due is not None:
            travel.due.cancel()
        travel.failure = failure
        travel.ended.set()
