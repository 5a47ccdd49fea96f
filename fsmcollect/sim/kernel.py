"""The discrete-event kernel: one owner of simulated time, in integer microseconds.

Simulated devices never sleep: they ask the kernel to call them back. When every task of the program waits, the kernel
goes to the next due instant and fires its callbacks one by one in (time, priority, device, sequence) order, letting
the program come to rest in between; so a simulation does not depend on the order in which trio runs tasks that wake
together. The kernel is trio's clock too: a ``trio.fail_after(120)`` in the sequencer is 120 simulated seconds.

Three speeds, the same devices: jumping from instant to instant as fast as the program allows (`speed` None), or paced
at a multiple of real time (1, 10, ...). Real work (a thread, a disk) holds the clock with `KernelClock.hold`.

Only public parts of trio are used: a Clock, ``wait_all_tasks_blocked`` and the task tree.
"""

from __future__ import annotations

import contextlib
import heapq
import math
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

import attrs
import trio
from trio.testing import wait_all_tasks_blocked

from fsmcollect.errors import FsmCollectError

T = TypeVar("T")
Action = Callable[[], None]
US_PER_S = 1_000_000
_FOREVER_S = 86_400.0


def to_us(seconds: float) -> int:
    """Seconds to whole microseconds, to the nearest."""
    return round(seconds * US_PER_S)


class Deadlock(FsmCollectError):
    """Every task waits and nothing is due: the simulated program would wait for ever.

    Attributes
    ----------
    waiting : tuple of str
        What each task waits for, innermost line last.
    """

    def __init__(self, now_us: int, waiting: tuple[str, ...]) -> None:
        self.waiting = waiting
        tasks = "\n".join(f"  {line}" for line in waiting)
        super().__init__(f"deadlock at {now_us / US_PER_S:.6f} s: nothing is due and these tasks wait:\n{tasks}")


@attrs.define(eq=False, order=False)
class Scheduled:
    """A callback that is due; `cancel` takes it back."""

    when_us: int
    action: Action | None

    def cancel(self) -> None:
        self.action = None


@attrs.define(eq=False)
class Kernel:
    """Simulated time and what is due in it.

    Attributes
    ----------
    speed : float or None
        Simulated seconds per real second; None jumps.
    settled : list of callables
        Called at the end of every instant at which something happened, when the program has come to rest and before
        time goes on: the moment to check invariants.
    """

    speed: float | None = None
    settled: list[Action] = attrs.field(factory=list[Action])
    clock: KernelClock = attrs.field(init=False)
    _now_us: int = attrs.field(init=False, default=0)
    _queue: list[tuple[int, int, str, int, Scheduled]] = attrs.field(
        init=False, factory=list[tuple[int, int, str, int, Scheduled]]
    )
    _sequence: int = attrs.field(init=False, default=0)
    _holds: int = attrs.field(init=False, default=0)
    #: Wakes the kernel while it waits in real time: a new callback is due, or the last hold has ended.
    _poke: trio.Event = attrs.field(init=False, factory=trio.Event)
    _pace: _Pace | None = attrs.field(init=False, default=None)
    #: Paced: the program waits for real time to pass, or for something from outside.
    _resting: bool = attrs.field(init=False, default=False)
    _body: trio.CancelScope = attrs.field(init=False, factory=trio.CancelScope)
    #: What ended the body from here: a deadlock, or the first error of a callback or a check.
    _failure: Exception | None = attrs.field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        self.clock = KernelClock(self)

    # -- what devices use ---------------------------------------------------------------------------------------------

    @property
    def now_us(self) -> int:
        """The present instant. Paced, it is read off the wall clock while the program rests.

        It never passes what is due, of the kernel's or of trio's, and stands still while that is dealt with: a slow
        program sees the same instants at every speed, and the clock catches up when it rests.
        """
        if self._pace is not None and self._resting:
            elapsed_us = self._pace.now_us()
            if self._queue:
                elapsed_us = min(elapsed_us, self._queue[0][0])
            deadline_us = self.clock.next_deadline_us()
            if deadline_us is not None:
                elapsed_us = min(elapsed_us, deadline_us)
            self._now_us = max(self._now_us, elapsed_us)
        return self._now_us

    def at(self, when_us: int, action: Action, *, by: str = "", priority: int = 0) -> Scheduled:
        """Call `action` at `when_us` (not before now). Of one instant, lower priority first, then by device name."""
        scheduled = Scheduled(max(when_us, self.now_us), action)
        heapq.heappush(self._queue, (scheduled.when_us, priority, by, self._sequence, scheduled))
        self._sequence += 1
        if self._pace is not None:
            self._poke.set()
        return scheduled

    def after(self, delay_us: int, action: Action, *, by: str = "", priority: int = 0) -> Scheduled:
        """Call `action` after `delay_us`."""
        return self.at(self.now_us + delay_us, action, by=by, priority=priority)

    async def wait(self, delay_us: int, *, by: str = "") -> None:
        """Wait for `delay_us` of simulated time. Can be cancelled."""
        task = trio.lowlevel.current_task()
        scheduled = self.after(delay_us, lambda: trio.lowlevel.reschedule(task), by=by)

        def abort(_: object) -> trio.lowlevel.Abort:
            scheduled.cancel()
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    # -- running a program --------------------------------------------------------------------------------------------

    def run(self, body: Callable[[], Awaitable[T]]) -> T:
        """Run `body` in simulated time, in a trio run of its own.

        Raises
        ------
        Deadlock
            Every task waited and nothing was due; the body was cancelled (and left through its own clean-up).
        Exception
            Whatever a callback or a check raised first; the body was cancelled likewise.
        """
        return trio.run(self._run, body, clock=self.clock)

    async def _run(self, body: Callable[[], Awaitable[T]]) -> T:
        self._body, self._failure = trio.CancelScope(), None
        if self.speed is not None:
            self._pace = _Pace(self.speed, self._now_us)
        result: list[T] = []
        failure: BaseException | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._serve)
            try:
                with self._body:
                    result.append(await body())
            except BaseException as error:
                failure = error
            nursery.cancel_scope.cancel()
        self._settle()
        if self._failure is not None:
            raise self._failure from failure
        if failure is not None:
            raise failure
        return result[0]

    @trio.lowlevel.enable_ki_protection
    async def _serve(self) -> None:
        """Own the time until cancelled. Ctrl-C strikes the body, never here: its clean-up still needs the time."""
        while True:
            await wait_all_tasks_blocked()
            if self._holds:
                await self._poked()
            elif self._pace is not None:
                await self._wait_in_real_time()
            elif not self._jump():
                self._report_deadlock()

    def _jump(self) -> bool:
        """Go to the next due instant, of the kernel's or of trio's, and let one thing happen. False if none is due."""
        self._drop_cancelled()
        due_us = self._queue[0][0] if self._queue else None
        deadline_us = self.clock.next_deadline_us()
        if due_us is None and deadline_us is None:
            return False
        if due_us is None or (deadline_us is not None and deadline_us < due_us):
            self._advance_to(deadline_us if deadline_us is not None else self._now_us)
        else:
            self._advance_to(due_us)
            self._fire_next()
        return True

    async def _wait_in_real_time(self) -> None:
        self._resting = True
        self._drop_cancelled()
        if not self._queue:
            await self._poked()
            return
        due_us = self._queue[0][0]
        with trio.move_on_at(due_us / US_PER_S):
            await self._poked()
        if self.now_us >= due_us and self._queue and self._queue[0][0] == due_us:
            self._resting = False
            self._advance_to(due_us)
            self._fire_next()

    async def _poked(self) -> None:
        self._poke = trio.Event()
        await self._poke.wait()

    def _drop_cancelled(self) -> None:
        while self._queue and self._queue[0][-1].action is None:
            heapq.heappop(self._queue)

    def _fire_next(self) -> None:
        action = heapq.heappop(self._queue)[-1].action
        if action is not None:
            self._guarded(action)

    def _advance_to(self, when_us: int) -> None:
        if when_us > self._now_us or self._pace is not None:
            self._settle()
        self._now_us = max(self._now_us, when_us)

    def _settle(self) -> None:
        for check in self.settled:
            self._guarded(check)

    def _guarded(self, action: Action) -> None:
        """An error in a device or a check is a bug: it ends the body, but not the time that its clean-up needs."""
        try:
            action()
        except Exception as error:  # noqa: BLE001  (kept, and raised by `run`)
            self._fail(error)

    def _report_deadlock(self) -> None:
        self._fail(self._failure or Deadlock(self._now_us, tuple(_waiting_tasks())))

    def _fail(self, failure: Exception) -> None:
        """Cancel the body: its own clean-up still needs the kernel, so the kernel serves on."""
        if self._failure is None:
            self._failure = failure
        self._body.cancel()


@attrs.define(eq=False)
class _Pace:
    """Simulated microseconds as a multiple of real time, with pauses."""

    speed: float
    _base_us: float = 0.0
    _since: float | None = attrs.field(init=False, factory=time.perf_counter)

    def now_us(self) -> int:
        return int(self._exact_us())

    def _exact_us(self) -> float:
        if self._since is None:
            return self._base_us
        return self._base_us + (time.perf_counter() - self._since) * self.speed * US_PER_S

    def pause(self) -> None:
        self._base_us, self._since = self._exact_us(), None

    def go_on(self) -> None:
        self._since = time.perf_counter()


@attrs.define(eq=False)
class KernelClock(trio.abc.Clock):
    """trio's view of simulated time: deadlines are simulated seconds."""

    _kernel: Kernel
    #: The deadline trio waits for next, as it said when it last had nothing to do.
    _deadline_s: float = attrs.field(init=False, default=math.inf)

    def start_clock(self) -> None:
        """Nothing to start: the kernel begins at 0."""

    def current_time(self) -> float:
        return self._kernel.now_us / US_PER_S

    def deadline_to_sleep_time(self, deadline: float) -> float:
        self._deadline_s = deadline
        remaining_s = deadline - self.current_time()
        if remaining_s <= 0:
            return 0.0
        speed = self._kernel.speed
        if speed is None or self._kernel._holds:
            return _FOREVER_S
        return remaining_s / speed

    def next_deadline_us(self) -> int | None:
        """The first whole microsecond at which trio's next deadline has passed."""
        if self._deadline_s == math.inf:
            return None
        when_us = math.ceil(self._deadline_s * US_PER_S)
        while when_us / US_PER_S < self._deadline_s:
            when_us += 1
        return when_us

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Simulated time stands still inside: real work is being done."""
        kernel = self._kernel
        if kernel._holds == 0 and kernel._pace is not None:
            kernel._pace.pause()
        kernel._holds += 1
        try:
            yield
        finally:
            kernel._holds -= 1
            if kernel._holds == 0:
                if kernel._pace is not None:
                    kernel._pace.go_on()
                kernel._poke.set()


def _waiting_tasks() -> Iterator[str]:
    """What each task of the program waits for, but for trio's own tasks and the kernel."""
    root = trio.lowlevel.current_root_task()
    if root is None:
        return
    tasks = [root]
    while tasks:
        task = tasks.pop()
        tasks += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
        frames = [(f.f_globals.get("__name__", ""), f.f_code.co_name, line) for f, line in task.iter_await_frames()]
        own = [f"{module}.{name}:{line}" for module, name, line in frames if not module.startswith("trio.")]
        waits_for_children = any(name == "_nested_child_finished" for _, name, _ in frames)
        if own and not waits_for_children and task is not trio.lowlevel.current_task():
            yield f"{task.name}: " + " > ".join(own)
