"""The discrete-event kernel: one owner of simulated time, in integer microseconds.

Simulated devices never sleep: they ask the kernel to call them back. When every task of the program waits, the kernel
goes to the next due instant and fires its callbacks one by one in (time, priority, device, sequence) order, letting
the program come to rest in between; so a simulation does not depend on the order in which trio runs tasks that wake
together. The kernel is trio's clock too: a ``trio.fail_after(120)`` in the sequencer is 120 simulated seconds, and
trio itself says when every task waits, for that is when it asks its clock how long to sleep. So the kernel needs no
task of its own, and what happens to the program (a cancellation, Ctrl-C) cannot take the time away from its clean-up.

Three speeds, the same devices: jumping from instant to instant as fast as the program allows (`speed` None), or paced
at a multiple of real time (1, 10, ...). Real work (a thread, a disk) holds the clock with `KernelClock.hold`.

Only public parts of trio are used: its Clock interface and the task tree. ``trio.testing.wait_all_tasks_blocked`` has
no meaning in here: when all tasks wait, time goes on.
"""

from __future__ import annotations

import contextlib
import heapq
import math
import time
from collections.abc import Awaitable, Callable, Generator, Iterator, Sequence
from typing import TypeVar

import attrs
import trio

from fsmcollect.errors import FsmCollectError

T = TypeVar("T")
Action = Callable[[], None]
US_PER_S = 1_000_000
_FOREVER_S = 86_400.0
_NEVER_US = 2**62


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
    quiet: bool = False

    def cancel(self) -> None:
        self.action = None


@attrs.define(eq=False, repr=False)
class Kernel:
    """Simulated time and what is due in it.

    Attributes
    ----------
    speed : float or None
        Simulated seconds per real second; None jumps.
    settled : list of callables
        Called at the end of every instant at which something happened, when the program has come to rest and before
        time goes on: the moment to check invariants.
    now_us : int
        The present instant; only the kernel sets it. It stands still while the program does something, so a slow
        program sees the same instants at every speed, and never passes what is due.
    """

    speed: float | None = None
    settled: list[Action] = attrs.field(factory=list[Action])
    now_us: int = attrs.field(init=False, default=0)
    clock: KernelClock = attrs.field(init=False)
    _queue: list[tuple[int, int, str, int, Scheduled]] = attrs.field(
        init=False, factory=list[tuple[int, int, str, int, Scheduled]]
    )
    _sequence: int = attrs.field(init=False, default=0)
    _holds: int = attrs.field(init=False, default=0)
    #: Some task may have something to do now: time stands still until all have come to rest again.
    _stirred: bool = attrs.field(init=False, default=False)
    _pace: _Pace | None = attrs.field(init=False, default=None)
    #: Paced: until when the program rests, unless something comes from outside. None while it does something.
    _rests_until_us: int | None = attrs.field(init=False, default=None)
    #: Nothing is due, and what has come from outside has been asked for once.
    _has_polled: bool = attrs.field(init=False, default=False)
    #: The body has returned or raised: what is still due does not happen any more.
    _has_ended: bool = attrs.field(init=False, default=False)
    _body: trio.CancelScope = attrs.field(init=False, factory=trio.CancelScope)
    #: What ended the body from here: a deadlock, or the first error of a callback or a check.
    _failure: Exception | None = attrs.field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        self.clock = KernelClock(self)

    # -- what devices use ---------------------------------------------------------------------------------------------

    def at(self, when_us: int, action: Action, *, by: str = "", priority: int = 0, quiet: bool = False) -> Scheduled:
        """Call `action` at `when_us` (not before now). Of one instant, lower priority first, then by device name.

        A `quiet` action promises to wake tasks by `wake` alone, if at all: where it wakes none, time goes on without
        asking trio.
        """
        scheduled = Scheduled(max(when_us, self.now_us), action, quiet)
        heapq.heappush(self._queue, (scheduled.when_us, priority, by, self._sequence, scheduled))
        self._sequence += 1
        return scheduled

    def after(self, delay_us: int, action: Action, *, by: str = "", priority: int = 0) -> Scheduled:
        """Call `action` after `delay_us`."""
        return self.at(self.now_us + delay_us, action, by=by, priority=priority)

    def wake(self, task: trio.lowlevel.Task) -> None:
        """Wake a task that waits in ``trio.lowlevel.wait_task_rescheduled``."""
        self._stirred = True
        trio.lowlevel.reschedule(task)

    async def wait(self, delay_us: int, *, by: str = "") -> None:
        """Wait for `delay_us` of simulated time. Can be cancelled."""
        task = trio.lowlevel.current_task()
        scheduled = self.at(self.now_us + delay_us, lambda: self.wake(task), by=by, quiet=True)

        def abort(_: object) -> trio.lowlevel.Abort:
            scheduled.cancel()
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def begin_hold(self) -> None:
        """Time stands still until as many `end_hold`. Use `KernelClock.hold`."""
        if self._holds == 0 and self._pace is not None:
            self._pace.pause()
        self._holds += 1

    def end_hold(self) -> None:
        """See `begin_hold`."""
        self._holds -= 1
        if self._holds == 0 and self._pace is not None:
            self._pace.go_on()

    # -- running a program --------------------------------------------------------------------------------------------

    def run(self, body: Callable[[], Awaitable[T]], instruments: Sequence[trio.abc.Instrument] = ()) -> T:
        """Run `body` in simulated time, in a trio run of its own that `instruments` look at.

        Raises
        ------
        Deadlock
            Every task waited and nothing was due; the body was cancelled (and left through its own clean-up). Not
            when paced: something may still come from outside.
        Exception
            Whatever a callback or a check raised first; the body was cancelled likewise.
        """
        return trio.run(self._run, body, clock=self.clock, instruments=instruments)

    async def _run(self, body: Callable[[], Awaitable[T]]) -> T:
        self._body, self._failure, self._has_ended = trio.CancelScope(), None, False
        if self.speed is not None:
            self._pace = _Pace(self.speed, self.now_us)
        result: list[T] = []
        failure: BaseException | None = None
        try:
            with self._body:
                result.append(await body())
        except BaseException as error:  # noqa: BLE001  (raised again below)
            failure = error
        self._has_ended = True
        self._settle()
        if self._failure is not None:
            raise self._failure from failure
        if failure is not None:
            raise failure
        return result[0]

    # -- time ---------------------------------------------------------------------------------------------------------

    def time_goes_on(self, deadline_s: float) -> float:
        """Every task waits: let what is due happen, until some task may have something to do.

        Parameters
        ----------
        deadline_s : float
            trio's next deadline, simulated seconds.

        Returns
        -------
        float
            How long trio shall wait for something from outside: real seconds.
        """
        self._rests_until_us = None
        if self._has_ended or deadline_s <= self.now_us / US_PER_S:
            return 0.0
        if self._holds:
            return _FOREVER_S
        deadline_us = _first_us_past(deadline_s)
        self._stirred = False
        while not self._stirred:
            while self._queue and self._queue[0][-1].action is None:
                heapq.heappop(self._queue)
            due_us = self._queue[0][0] if self._queue else None
            next_us = due_us if deadline_us is None or (due_us is not None and due_us <= deadline_us) else deadline_us
            if self._pace is not None and (real_s := self._pace.until_s(next_us)) > 0.0:
                self._settle()
                self._rests_until_us = _NEVER_US if next_us is None else next_us
                return real_s
            if next_us is None:
                return self._nothing_is_due()
            self._has_polled = False
            if next_us > self.now_us:
                self._settle()
                self.now_us = next_us
            if next_us != due_us:
                return 0.0  # the deadline has passed: trio's turn
            self._fire_next()
        return 0.0

    def look_at_the_clock(self) -> None:
        """Paced, while the program rests and something may have come from outside: read how late it is."""
        if self._pace is not None and self._rests_until_us is not None and not self._holds:
            self.now_us = max(self.now_us, min(self._pace.now_us(), self._rests_until_us))

    def _fire_next(self) -> None:
        scheduled = heapq.heappop(self._queue)[-1]
        if scheduled.action is not None:
            self._stirred = self._stirred or not scheduled.quiet
            self._guarded(scheduled.action)

    def _settle(self) -> None:
        for check in self.settled:
            self._guarded(check)

    def _guarded(self, action: Action) -> None:
        """An error in a device or a check is a bug: it ends the body, but not the time that its clean-up needs."""
        try:
            action()
        except Exception as error:  # noqa: BLE001  (kept, and raised by `run`)
            self._fail(error)

    def _nothing_is_due(self) -> float:
        """A deadlock, unless something has come from outside that trio has not looked at yet."""
        if not self._has_polled:
            self._has_polled = True
            return 0.0
        if self._failure is not None:
            return _FOREVER_S  # a clean-up that waits for ever: only the outside can help
        self._fail(Deadlock(self.now_us, tuple(_waiting_tasks())))
        return 0.0

    def _fail(self, failure: Exception) -> None:
        """Cancel the body; time goes on for its clean-up."""
        if self._failure is None:
            self._failure = failure
        self._stirred = True
        self._body.cancel()


@attrs.define(eq=False)
class _Pace:
    """Simulated microseconds as a multiple of real time, with pauses."""

    speed: float
    _base_us: float = 0.0
    _since: float | None = attrs.field(init=False, factory=time.perf_counter)

    def now_us(self) -> int:
        return int(self._exact_us())

    def until_s(self, when_us: int | None) -> float:
        """Real seconds until `when_us`; not above 0 once it has come."""
        return _FOREVER_S if when_us is None else (when_us - self._exact_us()) / US_PER_S / self.speed

    def _exact_us(self) -> float:
        if self._since is None:
            return self._base_us
        return self._base_us + (time.perf_counter() - self._since) * self.speed * US_PER_S

    def pause(self) -> None:
        self._base_us, self._since = self._exact_us(), None

    def go_on(self) -> None:
        self._since = time.perf_counter()


def _first_us_past(deadline_s: float) -> int | None:
    """The first whole microsecond at which a deadline has passed; None if it never does."""
    if deadline_s == math.inf:
        return None
    when_us = math.ceil(deadline_s * US_PER_S)
    while when_us / US_PER_S < deadline_s:
        when_us += 1
    return when_us


@attrs.define(eq=False, repr=False)
class KernelClock(trio.abc.Clock):
    """trio's view of simulated time: deadlines are simulated seconds."""

    _kernel: Kernel

    def start_clock(self) -> None:
        """Nothing to start: the kernel begins at 0."""

    def current_time(self) -> float:
        self._kernel.look_at_the_clock()
        return self._kernel.now_us / US_PER_S

    def deadline_to_sleep_time(self, deadline: float) -> float:
        return self._kernel.time_goes_on(deadline)

    @contextlib.contextmanager
    def hold(self) -> Generator[None, None, None]:
        """Simulated time stands still inside: real work is being done."""
        self._kernel.begin_hold()
        try:
            yield
        finally:
            self._kernel.end_hold()


def _waiting_tasks() -> Iterator[str]:
    """What each task of the program waits for, but for trio's own tasks."""
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
        if own and not waits_for_children:
            yield f"{task.name}: " + " > ".join(own)
