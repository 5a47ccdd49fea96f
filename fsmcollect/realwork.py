"""Real work (a disk, a library that blocks) in a thread, with simulated time standing still meanwhile."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar, TypeVarTuple, runtime_checkable

import trio

T = TypeVar("T")
Args = TypeVarTuple("Args")


@runtime_checkable
class HoldableClock(Protocol):
    """A clock that can be made to wait for real work. A real clock cannot, and need not."""

    def hold(self) -> AbstractContextManager[None]: ...


async def in_thread(work: Callable[[*Args], T], *args: *Args) -> T:
    """Run blocking `work` in a thread.

    Cancelling does not wait for the thread: an abort must never wait for a disk. So `work` has to be such that it does
    no harm when it ends later, unheeded (atomic files, a lock around shared state).
    """
    with _clock_held():
        return await trio.to_thread.run_sync(work, *args, abandon_on_cancel=True)


async def to_the_end_in_thread(work: Callable[[*Args], T], *args: *Args) -> T:
    """Run blocking `work` in a thread; once begun it is seen to its end and its result heeded, cancelled or not."""
    with _clock_held():
        return await trio.to_thread.run_sync(work, *args, abandon_on_cancel=False)


def _clock_held() -> AbstractContextManager[None]:
    clock = trio.lowlevel.current_clock()
    return clock.hold() if isinstance(clock, HoldableClock) else contextlib.nullcontext()
