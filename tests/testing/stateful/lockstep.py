"""A simulated program and a test in lock-step: the program runs in a thread, and stands still while the test thinks.

Owns the meeting of the two. At an instant that the test has chosen, the kernel calls back, and the callback blocks: so
trio's thread stands still, and simulated time with it, while the test looks and sends what is to be done. What it sends
is executed in trio's thread, synchronously, as a request from outside has to be. Owns no expectation.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar, cast

import outcome
import trio

from fsmcollect.events import Event
from fsmcollect.sim.kernel import Kernel, Scheduled
from fsmcollect.sim.moments import name_of
from fsmcollect.simulate.schedules import repeatable_schedule

T = TypeVar("T")
#: Real seconds after which a program that does not come to the next meeting is called stuck. Assumed: an instant takes
#: milliseconds.
PATIENCE_S = 60.0
#: The test meets the program after all devices of an instant, and after what a scenario does in it.
_PRIORITY = 99


class Lockstep:
    """Runs `body` in simulated time, as far as it is told.

    Attributes
    ----------
    ended : bool
        The program is over: from then on deeds are done in the test's own thread.
    raised : BaseException or None
        What the program raised.
    """

    def __init__(self, kernel: Kernel, body: Callable[[], Awaitable[object]], *, schedule: int = 0) -> None:
        self.kernel = kernel
        self.ended = False
        self.raised: BaseException | None = None
        self._orders: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._news: queue.SimpleQueue[outcome.Outcome[object] | None] = queue.SimpleQueue()
        self._next: Scheduled | None = None
        self._when_us = 0
        #: The event within which the program is to be met.
        self._awaited = ""
        self._thread = threading.Thread(target=self._run, args=(body, schedule), daemon=True)

    # -- the test's side ----------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start the program and meet it at its first instant."""
        self._meet_at(self.kernel.now_us)
        self._thread.start()
        self._wait()

    def do(self, deed: Callable[[], T]) -> T:
        """Have `deed` done in the program's thread, now; the program itself stands still meanwhile."""
        if self.ended:
            return deed()
        self._orders.put(deed)
        return cast("T", cast("outcome.Outcome[object]", self._take()).unwrap())

    def rest(self) -> None:
        """Let the program come to rest; time stands still."""
        self.advance(0)

    def advance(self, by_us: int) -> None:
        """Let the program go on for so long."""
        if not self.ended:
            self._go(self.kernel.now_us + by_us)

    def until(self, event: str, *, at_most_us: int) -> None:
        """Let the program go on to the next such event (see `sim.moments`), and meet it within that event."""
        if not self.ended:
            self._awaited = event
            self._go(self.kernel.now_us + at_most_us)
            self._awaited = ""

    def _go(self, when_us: int) -> None:
        self._when_us = when_us
        self._orders.put(None)
        self._wait()

    def _wait(self) -> None:
        """Until the next meeting, or the end."""
        assert self._take() is None
        if self.ended:
            self._thread.join(PATIENCE_S)

    def _take(self) -> outcome.Outcome[object] | None:
        try:
            return self._news.get(timeout=PATIENCE_S)
        except queue.Empty:
            raise TimeoutError(f"the program does not come to the next instant after {self.kernel.now_us} us") from None

    # -- the program's side -------------------------------------------------------------------------------------------

    def hear(self, event: Event) -> None:
        """A listener: the program meets the test within an event that the test waits for."""
        if self._awaited and name_of(event) == self._awaited:
            self._awaited = ""
            self._meet()

    def _run(self, body: Callable[[], Awaitable[object]], schedule: int) -> None:
        try:
            with repeatable_schedule(schedule):
                self.kernel.run(body)
        except BaseException as error:
            self.raised = error
        finally:
            self.ended = True
            self._news.put(None)

    def _meet_at(self, when_us: int) -> None:
        self._next = self.kernel.at(when_us, self._meet, by="test", priority=_PRIORITY)

    def _meet(self) -> None:
        if self._next is not None:
            self._next.cancel()
        self._news.put(None)
        while (order := self._orders.get()) is not None:
            self._news.put(outcome.capture(order))
        self._meet_at(self._when_us)


def cancelling(scope: trio.CancelScope, run: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[None]]:
    """A body that can be cancelled from outside: `scope` swallows what it has brought about."""

    async def body() -> None:
        with scope:
            await run()

    return body
