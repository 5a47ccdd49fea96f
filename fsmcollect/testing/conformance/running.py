"""One run for one check, in a thread of its own: whatever the adapter does, the examination goes on.

Owns when a run is left behind. A run is left behind where its program cannot be brought to an end: a call that shields
itself for ever, or that blocks in a library; its thread then does no further step.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable

import attrs
import trio

from fsmcollect.testing.conformance.calling import Call, Watcher

Body = Callable[[], Awaitable[None]]
#: Runs an async function to its end, as `trio.run` does.
Run = Callable[[Body], object]

#: How often a run is looked at, real seconds. Assumed.
_LOOK_S = 0.05


@attrs.frozen(kw_only=True)
class Left:
    """A run that was left behind while a step of `call` lasted; None where no step did."""

    call: Call | None
    step_s: float


def carry_out(run: Run, check: Callable[[Watcher], Awaitable[None]], *, block_s: float, leave_s: float) -> Left | None:
    """Run a check; return None, or what it was doing when it was left behind.

    Parameters
    ----------
    run : Run
    check : callable
        Says itself what it finds.
    block_s : float
        A single step that lasts so long in real time will never end.
    leave_s : float
        So long may a run last, in real time, after its check has ended.

    Raises
    ------
    Exception
        What the run raised: making the device failed, or the kit has a bug.
    """
    watcher, has_ended, failures = Watcher(), threading.Event(), list[BaseException]()

    async def body() -> None:
        trio.lowlevel.add_instrument(watcher)
        await check(watcher)

    def in_a_thread() -> None:
        try:
            run(body)
        except BaseException as error:  # noqa: BLE001  (raised in the caller's thread)
            failures.append(error)
        finally:
            has_ended.set()

    thread = threading.Thread(target=in_a_thread, name="conformance", daemon=True)
    thread.start()
    try:
        left = _wait(watcher, has_ended, block_s, leave_s)
    finally:
        # Ctrl-C comes to the caller's thread only: the run that it leaves does no further step either.
        watcher.abandoned = thread.is_alive() and not has_ended.is_set()
    if left is None:
        thread.join()
        if failures:
            raise failures[0]
    return left


def _wait(watcher: Watcher, has_ended: threading.Event, block_s: float, leave_s: float) -> Left | None:
    said_s: float | None = None
    while not has_ended.wait(_LOOK_S):
        step_s = watcher.in_step_s()
        if step_s > block_s:
            return Left(call=watcher.who_steps(), step_s=step_s)
        if watcher.check_has_ended:
            said_s = said_s or time.monotonic()
            if time.monotonic() - said_s > leave_s:
                return Left(call=None, step_s=0.0)
    return None
