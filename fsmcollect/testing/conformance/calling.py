"""One call of a device's command, watched from outside: its checkpoints, how it ended, and what it left behind.

Owns the counting of checkpoints and the strike at one of them. Only public parts of trio are used. Owns no verdict.
"""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Awaitable, Callable, Generator, Iterator
from typing import cast

import attrs
import trio

#: Why a call is cancelled here, where trio (from 0.31 on) says why.
_REASON = "fsmcollect.testing looks whether it can be cancelled"
_GIVES_REASONS = "reason" in inspect.signature(trio.CancelScope.cancel).parameters
#: So many checkpoints in one instant of simulated time are no progress. Assumed.
_RESTLESS = 2_000

Operation = Callable[[], Awaitable[object]]


@attrs.define(eq=False, repr=False)
class Call:
    """A command under way, or ended.

    Attributes
    ----------
    command, words : str
        The method's name, and the call as a person would write it.
    strike_at : int or None
        At which of its checkpoints, counted from 1, it is cancelled; 0 before it begins; None never.
    yields : int
        Checkpoints that it has come to, in its own task and in those that it started.
    struck_s, began_s, ended_s : float or None
        When, in the clock of the run.
    returned : bool
        It came back without an exception.
    error : Exception or None
        What it raised, but for its own cancellation.
    was_told : bool
        `trio.Cancelled` was raised inside it.
    blocked_s : float
        Its longest step in real time: while it lasts nothing else runs.
    """

    command: str
    words: str
    operation: Operation
    strike_at: int | None = None
    yields: int = attrs.field(init=False, default=0)
    began_s: float = attrs.field(init=False, default=0.0)
    struck_s: float | None = attrs.field(init=False, default=None)
    ended_s: float | None = attrs.field(init=False, default=None)
    returned: bool = attrs.field(init=False, default=False)
    value: object = attrs.field(init=False, default=None)
    error: Exception | None = attrs.field(init=False, default=None)
    was_told: bool = attrs.field(init=False, default=False)
    blocked_s: float = attrs.field(init=False, default=0.0)
    task: trio.lowlevel.Task | None = attrs.field(init=False, default=None)
    #: It has come to its first checkpoint, or ended.
    under_way: trio.Event = attrs.field(init=False, factory=trio.Event)
    #: It was struck, or ended before.
    struck: trio.Event = attrs.field(init=False, factory=trio.Event)
    ended: trio.Event = attrs.field(init=False, factory=trio.Event)
    #: It has ended, or yields and yields without letting time go on: in simulated time that never ends.
    settled: trio.Event = attrs.field(init=False, factory=trio.Event)
    _instant_s: float = attrs.field(init=False, default=0.0)
    _yields_in_instant: int = attrs.field(init=False, default=0)
    _scope: trio.CancelScope = attrs.field(init=False, factory=trio.CancelScope)

    @property
    def took_s(self) -> float:
        """How long it took, or has taken so far."""
        return (trio.current_time() if self.ended_s is None else self.ended_s) - self.began_s

    def cancel(self) -> None:
        """Strike it now."""
        if self.struck_s is None:
            self.struck_s = trio.current_time()
            if _GIVES_REASONS:
                self._scope.cancel(reason=_REASON)
            else:
                self._scope.cancel()
        self.struck.set()

    async def run(self) -> None:
        """The call itself, in a task of its own."""
        self.task, self.began_s = trio.lowlevel.current_task(), trio.current_time()
        if self.strike_at == 0:
            self.cancel()
        try:
            with self._scope:
                self.value = await _Listening(self)
                self.returned = True
        except Exception as error:  # noqa: BLE001  (whatever an adapter raises is told)
            self.error = error
        finally:
            self.ended_s = trio.current_time()
            self.ended.set()
            self.settled.set()
            self.struck.set()
            self.under_way.set()

    def came_to_a_checkpoint(self) -> None:
        self.yields += 1
        self.under_way.set()
        if self.yields == self.strike_at:
            self.cancel()
        now_s = trio.current_time()
        self._yields_in_instant = self._yields_in_instant + 1 if now_s == self._instant_s else 0
        self._instant_s = now_s
        if self._yields_in_instant > _RESTLESS:
            self.settled.set()
            self.struck.set()

    @property
    def is_restless(self) -> bool:
        """It did not let time go on."""
        return self.settled.is_set() and not self.ended.is_set()

    def owns(self, task: trio.lowlevel.Task | None) -> bool:
        """The task is this call's own, or was started by it."""
        while task is not None and self.task is not None:
            if task is self.task:
                return True
            task = task.parent_nursery.parent_task if task.parent_nursery is not None else None
        return False


@attrs.define(eq=False)
class _Listening:
    """Awaits a call's operation, and notes whether trio raises Cancelled in it after it was struck."""

    call: Call

    def __await__(self) -> Generator[object, object, object]:
        steps = cast("Generator[object, object, object]", self.call.operation().__await__())
        resume = steps.__next__
        while True:
            try:
                trap = resume()
            except StopIteration as stop:
                return cast("object", stop.value)
            try:
                answer = yield trap
            except BaseException as error:  # noqa: BLE001  (handed on)
                resume = _bound(steps.throw, error)
            else:
                # trio hands in what the checkpoint gives: a value, or an error that is raised inside.
                if self.call.struck_s is not None and _is_ours(getattr(answer, "error", None)):
                    self.call.was_told = True
                resume = _bound(steps.send, answer)


def _is_ours(error: object) -> bool:
    """It is the strike, and not a time limit or another scope of the adapter's own: `trio.sleep` has one inside."""
    return isinstance(error, trio.Cancelled) and getattr(error, "reason", _REASON) == _REASON


def _bound(function: Callable[..., object], argument: object) -> Callable[[], object]:
    return lambda: function(argument)


@attrs.define(eq=False)
class Watcher(trio.abc.Instrument):
    """Sees every step of a run; once `abandoned`, lets none begin.

    A call that cannot be ended keeps its run, and the thread that runs it, for ever: that thread then stands still.
    """

    abandoned: bool = False
    #: All has been said; what is still there is only to go away.
    check_has_ended: bool = False
    calls: list[Call] = attrs.field(init=False, factory=list[Call])
    _step_began_s: float | None = attrs.field(init=False, default=None)
    _stepping: trio.lowlevel.Task | None = attrs.field(init=False, default=None)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """See trio."""
        if self.abandoned:
            threading.Event().wait()
        self._stepping, self._step_began_s = task, time.perf_counter()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """See trio."""
        took_s = self.in_step_s()
        self._stepping = self._step_began_s = None
        for call in self.calls:
            # A task whose step ended it has come to no checkpoint.
            if not call.ended.is_set() and call.owns(task):
                call.blocked_s = max(call.blocked_s, took_s)
                if task.coro.cr_frame is not None:
                    call.came_to_a_checkpoint()

    def in_step_s(self) -> float:
        """How long the present step has lasted, real seconds; 0 while trio waits."""
        began_s = self._step_began_s
        return 0.0 if began_s is None else time.perf_counter() - began_s

    def who_steps(self) -> Call | None:
        """The call whose step lasts."""
        task = self._stepping
        return next((call for call in self.calls if call.owns(task)), None)


def tasks_of_this_run() -> Iterator[trio.lowlevel.Task]:
    """Every task of the run but trio's own."""
    root = trio.lowlevel.current_root_task()
    waiting = [root] if root is not None else []
    while waiting:
        task = waiting.pop()
        waiting += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
        if not task.name.startswith("trio."):
            yield task
