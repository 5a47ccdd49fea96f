"""What a check needs to know of a device: how to call it, how to read back, what it must refuse.

Owns the shape that all roles share, so that most checks are written once. What a role's own is, is in `roles`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

import attrs

from fsmcollect.testing.conformance.calling import Operation
from fsmcollect.testing.conformance.settings import Settings

if TYPE_CHECKING:
    from fsmcollect.testing.conformance.bench import Bench

D_co = TypeVar("D_co", covariant=True)

#: Empty where all is well, else what is wrong.
Verdict = Callable[[object], str]


@attrs.frozen(kw_only=True)
class Read:
    """A method that only asks.

    Attributes
    ----------
    verdict : callable
        What is wrong with an answer; empty where it can be.
    may_refuse : bool
        A DeviceError is an answer too, while something is under way.
    """

    command: str
    call: Operation
    verdict: Verdict
    may_refuse: bool = False


@attrs.frozen(kw_only=True)
class Act:
    """A call that changes something.

    Attributes
    ----------
    words : str
        As a person would write it.
    read : str
        The method that reads back.
    arrived : callable or None
        Asks the device: empty where read-back agrees, else what it says.
    prepare : callable or None
        Awaited before the call, with a bench.
    may_refuse : bool
        A DeviceError is a proper end too: it depends on what the kit cannot bring about.
    arrives_late : bool
        Read-back agrees only at the end: had it agreed all the time, it would be memory.
    moves : bool
        Something moves while it is under way: `is_still` must say so.
    steps : bool
        Read-back tells nothing of that motion before its end: a sample is where it was, or where it goes.
    stays_undone : bool
        Made safe at once, read-back must not agree in the end.
    rival : callable or None
        Another call of the same command, with another end.
    """

    command: str
    words: str
    call: Operation
    read: str = ""
    arrived: Callable[[], Awaitable[str]] | None = None
    prepare: Callable[[Bench], Awaitable[None]] | None = None
    may_refuse: bool = False
    arrives_late: bool = False
    moves: bool = False
    steps: bool = False
    stays_undone: bool = False
    rival: Act | None = None
    #: Further commands that it needs.
    uses: frozenset[str] = frozenset()


@attrs.frozen(kw_only=True)
class Safe:
    """The command that makes safe, and its read-back."""

    command: str
    call: Operation
    read: str
    is_safe: Callable[[], Awaitable[bool]]
    #: What read-back says of a device that is not safe.
    otherwise: str
    #: After any act the device is not safe, and becomes it only at the end of the command.
    arrives_late: bool = False


@attrs.frozen(kw_only=True)
class Refusal:
    """A call that must be refused."""

    #: In `refuses-...`.
    name: str
    command: str
    words: str
    call: Operation
    prepare: Callable[[Bench], Awaitable[None]] | None = None
    #: Further commands that it needs.
    uses: frozenset[str] = frozenset()


@attrs.frozen(kw_only=True)
class OwnCheck:
    """A check that only one role has."""

    title: str
    uses: frozenset[str]
    check: Callable[[Bench], Awaitable[None]]


@attrs.frozen(eq=False)
class Subject(Generic[D_co]):
    """One device under examination. A role overrides what it has.

    Attributes
    ----------
    homes : dict
        What a role wants to remember from one device to the next: where motors stood at first.
    """

    role: str
    device: D_co
    settings: Settings
    homes: dict[str, float] = attrs.field(factory=dict[str, float])

    def wrong_properties(self) -> Sequence[tuple[str, str]]:
        """Property and what is wrong with it."""
        return ()

    def reads(self) -> Sequence[Read]:
        """What can be asked at any time."""
        return ()

    async def acts(self) -> Sequence[Act]:
        """What it can be told, the same in the same order for every fresh device."""
        return ()

    def safe(self) -> Safe | None:
        """What makes it safe."""
        return None

    def waits(self) -> Sequence[Act]:
        """Calls that may wait as long as it takes: all that is tried is cancelling them, with `prepare` before."""
        return ()

    def refusals(self) -> Sequence[Refusal]:
        """What it must refuse."""
        return ()

    def own_checks(self) -> Sequence[OwnCheck]:
        """What is special about the role."""
        return ()

    async def put_back(self, bench: Bench) -> None:
        """Leave the hardware as it was found, as far as the role can."""


def plain_bool(value: object) -> str:
    """A verdict."""
    return "" if value is True or value is False else f"it answered {value!r}: must be True or False"
