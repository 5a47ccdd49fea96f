"""Several device operations at once, failing as one; and one that must answer in time."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Generator
from typing import TypeVar

import trio

from fsmcollect.errors import DeviceError, FsmCollectError

T = TypeVar("T")

#: Longest wait for a device that is only asked how it stands. Assumed: a healthy one answers at once.
READ_LIMIT_S = 10.0


async def answered(role: str, limit_s: float, operation: Awaitable[T]) -> T:
    """What the operation returns, if it ends in time.

    Raises
    ------
    DeviceError
        `role` has not answered within `limit_s`.
    """
    with trio.move_on_after(limit_s):
        return await operation
    raise DeviceError(role, f"no answer within {limit_s:g} s")


async def together(first: Callable[[], Awaitable[None]], *others: Callable[[], Awaitable[None]]) -> None:
    """Run the operations in parallel; return when all have ended.

    The first expected failure cancels the others and is raised as itself; further ones become its notes. A bug stays
    in the group that trio raises.
    """
    try:
        async with trio.open_nursery() as nursery:
            for operation in others:
                nursery.start_soon(operation)
            await first()
    except BaseExceptionGroup as group:
        expected, unexpected = group.split(FsmCollectError)
        if unexpected is not None or expected is None:
            raise
        failure, *later = _leaves(expected)
        for other in later:
            failure.add_note(f"at the same time: {other}")
        raise failure from None


def _leaves(group: BaseExceptionGroup[FsmCollectError]) -> list[FsmCollectError]:
    leaves: list[FsmCollectError] = []
    for error in group.exceptions:
        leaves += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return leaves


@contextlib.contextmanager
def one_failure_as_itself() -> Generator[None, None, None]:
    """Raise the one failure of a nursery as itself; a group stays a group only where it holds several."""
    try:
        yield
    except BaseExceptionGroup as group:
        failures = list(group.exceptions)
        if len(failures) > 1:
            raise
        # Groups nest where nurseries do; what is inside the innermost of one is the failure itself.
        with one_failure_as_itself():
            raise failures[0] from None
