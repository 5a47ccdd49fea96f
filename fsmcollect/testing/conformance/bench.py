"""Where one check happens: a fresh device, calls to it that are watched and limited, and what is found.

Owns how a call is made, waited for and judged when it neither returns nor goes away. Owns no check.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping

import attrs
import trio

from fsmcollect.errors import DeviceError
from fsmcollect.testing.conformance import rules
from fsmcollect.testing.conformance.calling import Call, Operation, Watcher, tasks_of_this_run
from fsmcollect.testing.conformance.findings import Breach, LeftOut
from fsmcollect.testing.conformance.rules import Rule
from fsmcollect.testing.conformance.settings import Hook, Settings, through
from fsmcollect.testing.conformance.subjects import Act, Read, Safe, Subject

#: Looks at what is waited for, spread over the longest time that it is waited for. Assumed.
_LOOKS = 200


#: So long a busy machine hardly ever lets a process stand, and not twice in the same command. Assumed.
_STALL_S = 0.1


class GiveUp(Exception):
    """The check cannot go on; what is wrong has been said."""


@attrs.frozen
class Usual:
    """A call that nothing disturbs: its time, its checkpoints, and the tasks that it leaves behind for good."""

    took_s: float = 0.0
    yields: int = 0
    leaves: int = 0


@attrs.define(eq=False)
class Findings:
    """What has been found so far, over all checks of one device.

    Attributes
    ----------
    broken : set of str
        Commands that no further check can rely upon.
    usual : dict
        What each call is like when nothing disturbs it, by its words.
    """

    settings: Settings
    breaches: dict[str, Breach] = attrs.field(factory=dict[str, Breach])
    left_out: list[LeftOut] = attrs.field(factory=list[LeftOut])
    made: list[str] = attrs.field(factory=list[str])
    broken: set[str] = attrs.field(factory=set[str])
    usual: dict[str, Usual] = attrs.field(factory=dict[str, Usual])
    #: How long each question takes while nothing is under way.
    answers_in_s: dict[str, float] = attrs.field(factory=dict[str, float])
    #: What was seen once and may be the fault of a busy machine: it is tried again.
    doubts: set[str] = attrs.field(factory=set[str])

    def seen_before(self, doubt: str) -> bool:
        """Whether this was seen already; it is remembered."""
        before = doubt in self.doubts
        self.doubts.add(doubt)
        return before

    def add(self, rule: Rule, done: str, seen: str, command: str, other: str) -> None:
        """Something is wrong; of each name the first is kept, the others are counted."""
        name = rule.named(command, other)
        if name in self.settings.leave_out:
            accepted = LeftOut(check=name, why="accepted by `leave_out`")
            if accepted not in self.left_out:
                self.left_out.append(accepted)
            return
        if rule.breaks:
            self.broken.add(command)
        known = self.breaches.get(name)
        if known is not None:
            self.breaches[name] = attrs.evolve(known, times=known.times + 1)
            return
        allowed, advice = (rule.in_words(text, command, other) for text in (rule.allowed, rule.advice))
        self.breaches[name] = Breach(name=name, done=done, seen=seen, allowed=allowed, advice=advice)


@attrs.define(eq=False, repr=False)
class Bench:
    """One fresh device, and the means to try it."""

    subject: Subject[object]
    findings: Findings
    nursery: trio.Nursery
    watcher: Watcher
    #: What was done with the device, in words.
    history: list[str] = attrs.field(factory=list[str])

    @property
    def settings(self) -> Settings:
        return self.subject.settings

    # -- saying -------------------------------------------------------------------------------------------------------

    @property
    def done(self) -> str:
        """What was done, as a report tells it."""
        return ", then ".join(self.history) or "looked at it"

    def usual(self, words: str) -> Usual:
        """What a call is like when nothing disturbs it; nothing where it was never made."""
        return self.findings.usual.get(words, Usual())

    def did(self, what: str) -> None:
        """Note a step of the check, in words."""
        self.history.append(what)

    def breach(self, rule: Rule, seen: str, command: str = "", other: str = "", *, done: str = "") -> None:
        """Something is wrong."""
        self.findings.add(rule, done or self.done, seen, command, other)

    # -- calling ------------------------------------------------------------------------------------------------------

    def begin(self, command: str, words: str, operation: Operation, *, strike_at: int | None = None) -> Call:
        """Start a call; it has its own task."""
        call = Call(command, words, operation, strike_at)
        self.watcher.calls.append(call)
        self.nursery.start_soon(call.run, name=words)
        return call

    async def finish(self, call: Call, rule: Rule = rules.WORKS, other: str = "", *, command: str = "") -> Call:
        """Wait for a call's end; one that does not end is told as a breach of `rule`, cancelled and given up.

        `command` names the breach where it is not the call's.

        Raises
        ------
        GiveUp
            It did not end.
        """
        if not await self.ends(call, self.settings.limit_s):
            restless = call.is_restless
            gone = await self.is_gone(call)
            seen = f"{call.words} had not come back after {self.settings.limit_s:g} s"
            if restless:
                seen = f"{call.words} did nothing but come to checkpoints, and let no time go by"
            self.breach(
                rule, seen + ("" if gone else "; cancelled then, it did not go away"), command or call.command, other
            )
            raise GiveUp
        if self._blocks(call):
            self.breach(
                rules.BLOCKS_NOBODY,
                f"{call.words} let nothing else run for {call.blocked_s:.1f} s of real time",
                call.command,
            )
        return call

    def _blocks(self, call: Call) -> bool:
        """It has let nothing else run for too long; or, twice, for most of what it took, in a clock that is real."""
        if call.blocked_s > self.settings.block_s:
            return True
        is_most_of_it = _STALL_S < call.blocked_s <= call.took_s < 2 * call.blocked_s
        return is_most_of_it and self.findings.seen_before(f"{call.command} blocks")

    async def ends(self, call: Call, limit_s: float) -> bool:
        """Whether a call ends within a time."""
        with trio.move_on_after(limit_s):
            await call.settled.wait()
        return call.ended.is_set()

    async def one_ends(self, calls: Iterable[Call]) -> None:
        """Wait until one of several calls has ended, or the limit has passed."""
        with trio.move_on_after(self.settings.limit_s):
            async with trio.open_nursery() as nursery:
                for call in calls:
                    nursery.start_soon(_then_cancel, call, nursery.cancel_scope)

    async def is_gone(self, call: Call) -> bool:
        """Whether a call, cancelled now unless it was before, is gone promptly."""
        call.cancel()
        return await self.ends(call, self.settings.prompt_s)

    async def do(self, command: str, words: str, operation: Operation, *, may_refuse: bool = False) -> Call:
        """Make a call that must do what it is told. Raises GiveUp."""
        self.did(words)
        call = await self.finish(self.begin(command, words, operation))
        self.succeeded(call, may_refuse=may_refuse)
        return call

    async def act(self, act: Act) -> Call:
        """Make an act, with its preparation, and take its time. Raises GiveUp."""
        if act.prepare is not None:
            await act.prepare(self)
        before = self.tasks()
        call = await self.do(act.command, act.words, act.call, may_refuse=act.may_refuse)
        if act.words not in self.findings.usual:
            leaves = len(await self.new_tasks(before))
            self.findings.usual[act.words] = Usual(call.took_s, call.yields, leaves)
        return call

    async def make_safe(self, safe: Safe) -> Call:
        """Make the device safe. Raises GiveUp."""
        was_safe = await self.is_safe(safe)
        self.did(f"{safe.command}()")
        call = await self.finish(self.begin(safe.command, f"{safe.command}()", safe.call))
        if call.error is not None and was_safe:
            seen = f"{call.words} raised {said(call.error)}, and {safe.read} had said that it was safe"
            self.breach(rules.IDEMPOTENT, seen, safe.command)
            raise GiveUp
        self.succeeded(call)
        self.remember(call)
        return call

    def remember(self, call: Call) -> None:
        """A call of what makes safe went well: keep what it is like, the longest there was."""
        if self.usual(call.words).yields < call.yields:
            self.findings.usual[call.words] = Usual(call.took_s, call.yields, 0)

    async def under_way(self, act: Act, part: float = 0.0) -> Call:
        """An act that has begun, `part` of its usual time ago."""
        if act.prepare is not None:
            await act.prepare(self)
        self.did(f"began {act.words}")
        call = self.begin(act.command, act.words, act.call)
        await call.under_way.wait()
        await self.ends(call, part * self.usual(act.words).took_s)
        return call

    def succeeded(self, call: Call, *, may_refuse: bool = False, rule: Rule = rules.WORKS, other: str = "") -> None:
        """Do nothing where a call returned. Raises GiveUp."""
        if call.error is None or (may_refuse and isinstance(call.error, DeviceError)):
            return
        if isinstance(call.error, DeviceError):
            self.breach(rule, f"{call.words} raised {said(call.error)}", call.command, other)
        else:
            self.wrong_error(call)
        raise GiveUp

    def wrong_error(self, call: Call) -> None:
        """A call raised what it must not."""
        if call.error is None:
            return
        self.findings.broken.add(call.command)
        self.breach(rules.ONLY_DEVICE_ERRORS, f"{call.words} raised {said(call.error)}", call.command)

    # -- asking -------------------------------------------------------------------------------------------------------

    async def ask(self, command: str, question: Callable[[], Awaitable[object]]) -> object:
        """What a question about the device gives; it uses the reading `command`. Raises GiveUp."""
        call = await self.finish(self.begin(command, f"{command}()", question), rules.ANSWERS)
        self.succeeded(call, rule=rules.ANSWERS)
        self.watcher.calls.remove(call)
        return call.value

    async def read(self, read: Read, *, meanwhile: bool = False) -> object:
        """An answer, looked at. Raises GiveUp."""
        call = await self.finish(self.begin(read.command, f"{read.command}()", read.call), rules.ANSWERS)
        self.succeeded(call, rule=rules.ANSWERS, may_refuse=meanwhile and read.may_refuse)
        self.watcher.calls.remove(call)
        if not call.returned:
            return None
        wrong = read.verdict(call.value)
        if wrong:
            self.breach(rules.SANE, wrong, read.command)
            raise GiveUp
        return call.value

    async def is_safe(self, safe: Safe) -> bool:
        """What read-back says now. Raises GiveUp."""
        return await self.ask(safe.read, safe.is_safe) is True

    async def becomes_safe(self, safe: Safe) -> bool:
        """Whether read-back says safe within the limit."""

        async def look() -> bool:
            return await self.is_safe(safe)

        return await self.becomes(look)

    async def becomes(self, look: Callable[[], Awaitable[bool]], within_s: float | None = None) -> bool:
        """Whether something comes to be, asked again and again within the limit."""
        limit_s = self.settings.limit_s if within_s is None else within_s
        until_s = trio.current_time() + limit_s
        while not await look():
            if trio.current_time() >= until_s:
                return False
            await trio.sleep(limit_s / _LOOKS)
        return True

    async def why_not_there(self, act: Act) -> str:
        """Empty where read-back says that an act is done, else what it says. Raises GiveUp."""
        return "" if act.arrived is None else str(await self.ask(act.read, act.arrived))

    async def hook(self, hook: Hook, what: str) -> object:
        """Let somebody do something to the device."""
        self.did(what)
        return await through(hook, self.subject.device)

    async def new_tasks(self, before: Mapping[int, trio.lowlevel.Task], at_most: int = 0) -> list[str]:
        """The names of tasks that were not there before, when so many are left at most or they do not go promptly."""
        until_s = trio.current_time() + self.settings.prompt_s
        while True:
            names = sorted(task.name for key, task in self.tasks().items() if key not in before)
            if len(names) <= at_most or trio.current_time() >= until_s:
                return names
            await trio.sleep(self.settings.prompt_s / _LOOKS)

    def tasks(self) -> dict[int, trio.lowlevel.Task]:
        """Every task of the run that is not a call of this bench."""
        own = [call for call in self.watcher.calls if not call.ended.is_set()]
        return {id(task): task for task in tasks_of_this_run() if not any(call.owns(task) for call in own)}


async def _then_cancel(call: Call, scope: trio.CancelScope) -> None:
    await call.settled.wait()
    scope.cancel()


def said(error: Exception) -> str:
    """An exception as a report shows it."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
