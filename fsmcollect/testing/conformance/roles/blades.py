"""What is open or closed, in or out: shutters, cover, backlight; and the interlock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import attrs

from fsmcollect.beamline import Backlight, DetectorCover, FastShutter, Interlock, SafetyShutter
from fsmcollect.testing.conformance import rules
from fsmcollect.testing.conformance.bench import Bench, GiveUp
from fsmcollect.testing.conformance.checks import waits_until
from fsmcollect.testing.conformance.subjects import Act, OwnCheck, Read, Refusal, Safe, Subject, plain_bool

B_co = TypeVar("B_co", bound="FastShutter | SafetyShutter | DetectorCover", covariant=True)


@attrs.frozen(eq=False)
class BladeSubject(Subject[B_co]):
    """Opens; closing makes safe. Read-back says closed or not: a blade on its way is not closed."""

    def reads(self) -> Sequence[Read]:
        """See `Subject`."""
        return (Read(command="is_closed", call=self.device.is_closed, verdict=plain_bool),)

    async def acts(self) -> Sequence[Act]:
        """See `Subject`."""

        async def is_open() -> str:
            return "is_closed says closed" if await self.device.is_closed() else ""

        return (Act(command="open", words="open()", call=self.device.open, read="is_closed", arrived=is_open),)

    def safe(self) -> Safe:
        """See `Subject`."""
        return Safe(
            command="close",
            call=self.device.close,
            read="is_closed",
            is_safe=self.device.is_closed,
            otherwise="is_closed says not closed",
            arrives_late=True,
        )

    async def put_back(self, bench: Bench) -> None:
        """Closed."""
        await bench.make_safe(self.safe())


@attrs.frozen(eq=False)
class FastShutterSubject(BladeSubject[FastShutter]):
    """Nothing more without a gate; with one, see the goniometer."""


@attrs.frozen(eq=False)
class CoverSubject(BladeSubject[DetectorCover]):
    """Nothing more."""


@attrs.frozen(eq=False)
class SafetyShutterSubject(BladeSubject[SafetyShutter]):
    """Tells when it is no longer open; the interlock may refuse it, and closes it."""

    def waits(self) -> Sequence[Act]:
        """See `Subject`."""
        return (
            Act(
                command="wait_while_open",
                words="wait_while_open()",
                call=self.device.wait_while_open,
                prepare=_open,
                uses=frozenset({"open", "is_closed"}),
            ),
        )

    def refusals(self) -> Sequence[Refusal]:
        """See `Subject`."""
        if self.settings.open_hutch is None:
            return ()
        return (
            Refusal(
                name="open-of-a-hutch-that-is-not-searched",
                command="open",
                words="open()",
                call=self.device.open,
                prepare=_hutch_is_opened,
            ),
        )

    def own_checks(self) -> Sequence[OwnCheck]:
        """See `Subject`."""
        uses = frozenset({"open", "close", "is_closed", "wait_while_open"})
        checks = [
            OwnCheck(title="wait_while_open() of a closed shutter", uses=uses, check=self._returns_at_once),
            OwnCheck(title="wait_while_open() until it is closed", uses=uses, check=self._notices),
        ]
        if self.settings.open_hutch is not None:
            checks.append(OwnCheck(title="the hutch is opened while it is open", uses=uses, check=self._is_dropped))
        return checks

    async def _returns_at_once(self, bench: Bench) -> None:
        await bench.make_safe(self.safe())
        bench.did("wait_while_open()")
        call = bench.begin("wait_while_open", "wait_while_open()", self.device.wait_while_open)
        bench.succeeded(await bench.finish(call, rules.RETURNS_AT_ONCE))

    async def _notices(self, bench: Bench) -> None:
        async def closed(bench: Bench) -> None:
            await bench.make_safe(self.safe())

        await _open(bench)
        await waits_until(bench, "wait_while_open", self.device.wait_while_open, closed)

    async def _is_dropped(self, bench: Bench) -> None:
        await _open(bench)
        await waits_until(bench, "wait_while_open", self.device.wait_while_open, _hutch_is_opened)
        if not await bench.becomes_safe(self.safe()):
            seen = f"{self.settings.limit_s:g} s later is_closed says not closed"
            bench.breach(rules.THE_HUTCH_CLOSES_IT, seen, "is_closed")


@attrs.frozen(eq=False)
class BacklightSubject(Subject[Backlight]):
    """Goes in; out makes safe. On its way it is not in."""

    def reads(self) -> Sequence[Read]:
        """See `Subject`."""
        return (Read(command="is_in", call=self.device.is_in, verdict=plain_bool),)

    async def acts(self) -> Sequence[Act]:
        """See `Subject`."""

        async def is_in() -> str:
            return "" if await self.device.is_in() else "is_in says not in"

        move_in = self.device.move_in
        return (
            Act(
                command="move_in",
                words="move_in()",
                call=move_in,
                read="is_in",
                arrived=is_in,
                arrives_late=True,
                stays_undone=True,
            ),
        )

    def safe(self) -> Safe:
        """See `Subject`."""

        async def is_out() -> bool:
            return await self.device.is_in() is False

        # "Not in" is so from its first step on: it cannot be said too early.
        move_out = self.device.move_out
        return Safe(command="move_out", call=move_out, read="is_in", is_safe=is_out, otherwise="is_in says in")

    async def put_back(self, bench: Bench) -> None:
        """Out."""
        await bench.make_safe(self.safe())


@attrs.frozen(eq=False)
class InterlockSubject(Subject[Interlock]):
    """Only answers; with hooks, answers what is so."""

    def reads(self) -> Sequence[Read]:
        """See `Subject`."""
        return (Read(command="is_searched", call=self.device.is_searched, verdict=plain_bool),)

    def own_checks(self) -> Sequence[OwnCheck]:
        """See `Subject`."""
        if self.settings.open_hutch is None or self.settings.search_hutch is None:
            return ()
        return (
            OwnCheck(title="the hutch is opened and searched", uses=frozenset({"is_searched"}), check=self._follows),
        )

    async def _follows(self, bench: Bench) -> None:
        settings = self.settings
        if settings.open_hutch is None or settings.search_hutch is None:
            return
        (read,) = self.reads()
        for hook, what, searched in (
            (settings.search_hutch, "the hutch was searched", True),
            (settings.open_hutch, "its door was opened", False),
            (settings.search_hutch, "it was searched again", True),
        ):
            await bench.hook(hook, what)

            async def is_so(searched: bool = searched) -> bool:
                return await bench.read(read) is searched

            if not await bench.becomes(is_so):
                seen = f"{settings.limit_s:g} s later is_searched says {not searched}"
                bench.breach(rules.NO_MEMORY, seen, "is_searched")
                raise GiveUp


async def _open(bench: Bench) -> None:
    await bench.act((await bench.subject.acts())[0])


async def _hutch_is_opened(bench: Bench) -> None:
    if bench.settings.open_hutch is not None:
        await bench.hook(bench.settings.open_hutch, "the hutch was opened")
