"""Several device operations at once, failing as one; one that must answer in time; one that is asked twice."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import TypeVar, cast

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


async def asked(role: str, read: Callable[[], Awaitable[T]]) -> T:
    """What a device reads back; where the first answer is an error or does not come, asked a second time.

    To ask again changes nothing about a device, and one lost answer must not cost a collection.

    Raises
    ------
    DeviceError
        The second answer was no better.
    """
    try:
        return await answered(role, READ_LIMIT_S / 2, read())
    except DeviceError as first:
        try:
            return await answered(role, READ_LIMIT_S / 2, read())
        except DeviceError as second:
            raise second from first


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
        leaves = _leaves(group)
        expected = [leaf for leaf in leaves if isinstance(leaf, FsmCollectError)]
        if len(expected) < len(leaves):
            raise
        failure = _first_of(expected)
        raise failure from failure.__cause__


@contextlib.contextmanager
def expected_failure_as_itself() -> Generator[None, None, None]:
    """Raise the first expected failure of a nursery as itself, whatever else failed as expected in the same tick.

    Further ones become its notes, and a cancellation that is in the group too is left to the next checkpoint: so no
    group of expected failures leaves. A bug is never folded into one of them: alone it is raised as itself, else the
    group is.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        leaves = [leaf for leaf in _leaves(group) if not isinstance(leaf, trio.Cancelled)]
        expected = [leaf for leaf in leaves if isinstance(leaf, FsmCollectError)]
        if not leaves or (len(leaves) > 1 and len(expected) < len(leaves)):
            raise
        failure = _first_of(expected) if expected else leaves[0]
        raise failure from failure.__cause__


def _first_of(failures: Sequence[FsmCollectError]) -> FsmCollectError:
    """The first, with the others as its notes."""
    first, *later = failures
    for other in later:
        first.add_note(f"at the same time: {other}")
    return first


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    leaves: list[BaseException] = []
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            leaves += _leaves(cast("BaseExceptionGroup[BaseException]", error))
        else:
            leaves.append(error)
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
