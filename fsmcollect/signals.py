"""SIGINT and SIGTERM as a request to stop, in a program that must end through its clean-up."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from fsmcollect.together import one_failure_as_itself

T = TypeVar("T")


async def heeding_signals(body: Callable[[], Awaitable[T]], stop: Callable[[], object]) -> T:
    """What `body` returns; every SIGINT and SIGTERM meanwhile calls `stop`. Only in the main thread."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals, one_failure_as_itself():
        async with trio.open_nursery() as nursery:

            async def stop_on_signal() -> None:
                async for _ in signals:
                    stop()

            nursery.start_soon(stop_on_signal)
            result = await body()
            nursery.cancel_scope.cancel()
    return result
