"""Which checks are made of a device, in which order.

Owns the order: what is said and read, what is done, what makes safe, two at once, cancelling, what is refused, what is
the role's own. Each check is for a fresh device, so it picks its act or question out of that device's own by its place.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import cast

import attrs

from fsmcollect.testing.conformance import cancelling, checks, rules
from fsmcollect.testing.conformance.bench import Bench, Findings
from fsmcollect.testing.conformance.subjects import Act, Read, Safe, Subject

Body = Callable[[Bench], Awaitable[None]]
ActBody = Callable[[Bench, Act], Awaitable[None]]
SafeBody = Callable[[Bench, Safe, Act], Awaitable[None]]


@attrs.frozen
class Check:
    """One check.

    Attributes
    ----------
    title : str
        In words.
    uses : frozenset of str
        Commands without which it says nothing.
    body : callable
    """

    title: str
    uses: frozenset[str]
    body: Body


@attrs.define(eq=False)
class Plan:
    """The checks of one role, in three parts: each must have been carried out before the next is asked for."""

    findings: Findings
    #: Of the first device; that of every other has the same in the same order.
    subject: Subject[object] = attrs.field(init=False)
    acts: Sequence[Act] = attrs.field(init=False, default=())
    acts_are_known: bool = attrs.field(init=False, default=False)

    def properties(self, subject: Subject[object]) -> Iterator[Check]:
        """What is said without asking. Everything else relies upon it."""
        self.subject = subject
        yield Check("what it says of itself can be", frozenset(), checks.properties_are_sane)

    def questions(self) -> Iterator[Check]:
        """What is read, and then what can be told."""
        subject = self.subject
        for index, read in enumerate(subject.reads()):
            yield Check(f"{read.command}() answers", frozenset({read.command}), _read(index, checks.it_answers))
        yield Check("what it can be told", self._reads(), self._survey)

    def rest(self) -> Iterator[Check]:
        """Everything else; each is made up when its turn comes, because it goes by what was found before."""
        yield from self._each_act("works", checks.act_works)
        for check in self._each_act("while it is asked", checks.looked_at_while_it_works):
            yield from self._again_where_in_doubt(check)
        yield from self._what_makes_safe()
        yield from self._each_act("a second time meanwhile", checks.second_act)
        yield from self._cancelling()
        for index, refusal in enumerate(self.subject.refusals()):
            uses = frozenset({refusal.command, *refusal.uses})
            yield Check(f"{refusal.words} is refused", uses, _refusal(index))
        for index, own in enumerate(self.subject.own_checks()):
            yield Check(own.title, own.uses, _own(index))
        yield Check("putting it back", self._reads(), _put_back)

    # -- how ----------------------------------------------------------------------------------------------------------

    async def _survey(self, bench: Bench) -> None:
        self.acts, self.acts_are_known = await _acts(bench), True

    def _reads(self) -> frozenset[str]:
        return frozenset(read.command for read in self.subject.reads())

    def _uses(self, act: Act) -> frozenset[str]:
        safe = self.subject.safe()
        makes_safe = () if safe is None else (safe.command, safe.read)
        return frozenset({act.command, act.read, *act.uses, *makes_safe})

    def _each_act(self, how: str, body: ActBody) -> Iterator[Check]:
        for index, act in enumerate(self.acts):
            yield Check(f"{act.words} {how}", frozenset({act.command, act.read, *act.uses}), _act(index, body))

    def _what_makes_safe(self) -> Iterator[Check]:
        safe = self.subject.safe()
        if safe is None:
            return
        words = f"{safe.command}()"
        yield Check(f"{words} twice", frozenset({safe.command, safe.read}), _fresh_twice)
        for index, act in enumerate(self.acts):
            yield Check(f"{words} twice after {act.words}", self._uses(act), _safe(index, checks.safe_is_idempotent))
        for index, act in enumerate(self.acts):
            if self.findings.usual.get(act.words) is None:
                continue
            for title, body in _AROUND if index in self._first_of_each() else _AROUND[:1]:
                check = Check(title.format(safe=words, act=act.words), self._uses(act), _safe(index, body))
                yield from self._again_where_in_doubt(check)

    def _again_where_in_doubt(self, check: Check) -> Iterator[Check]:
        """A check, and the same once more where it has seen what may be the fault of a busy machine."""
        doubts = len(self.findings.doubts)
        yield check
        if len(self.findings.doubts) > doubts:
            yield check

    def _first_of_each(self) -> frozenset[int]:
        """One act of each command: another axis of the same device is cancelled in the same way."""
        return frozenset({act.command: index for index, act in reversed(list(enumerate(self.acts)))}.values())

    def _cancelling(self) -> Iterator[Check]:
        for index in sorted(self._first_of_each()):
            act = self.acts[index]
            for point in self._points(act.words, act.command):
                title = f"{act.words} cancelled at {point}"
                yield Check(title, self._uses(act), _act(index, _at(point, cancelling.act_cancelled)))
        safe = self.subject.safe()
        for index in sorted(self._first_of_each()):
            if safe is None:
                break
            act = self.acts[index]
            for point in self._points(f"{safe.command}()", safe.command):
                title = f"{safe.command}() after {act.words}, cancelled at {point}"
                yield Check(title, self._uses(act), _safe(index, _safe_at(point)))
        for index, read in enumerate(self.subject.reads()):
            for point in (0, 1, 2):
                title = f"{read.command}() cancelled at {point}"
                yield Check(title, frozenset({read.command}), _read(index, _read_at(point)))
        for index, wait in enumerate(self.subject.waits()):
            uses = frozenset({wait.command, *wait.uses})
            for when, how in _WAIT_POINTS.items():
                yield Check(f"{wait.words} cancelled {how}", uses, _wait(index, when))

    def _points(self, words: str, command: str) -> Iterator[int]:
        """Checkpoints to strike; one that is not heard ends them, because each further one would be waited for."""
        usual = self.findings.usual.get(words)
        if usual is None:
            return
        deaf = rules.CAN_BE_CANCELLED.named(command, "")
        for point in cancelling.points(usual.yields, self.findings.settings.strikes):
            if deaf not in self.findings.breaches:
                yield point


#: What is tried of an act and what makes safe; the first with every act, the others with one of each command.
_AROUND: tuple[tuple[str, SafeBody], ...] = (
    ("{safe} as soon as {act} is under way", checks.safe_at_once),
    ("{safe} after {act}, cancelled already", checks.safe_leaves_at_once_after),
    ("{safe} during {act}, cancelled already", checks.safe_leaves_at_once_during),
    ("{safe} in the middle of {act}", checks.safe_half_way),
    ("{safe} after {act}, asking meanwhile", checks.looked_at_while_made_safe),
    ("two {safe} after {act}", checks.safe_may_be_joined),
)


#: When a call that waits as long as it takes is cancelled: at a checkpoint, or (None) after it has waited a while.
_WAIT_POINTS: Mapping[int | None, str] = {0: "at 0", 1: "at 1", None: "after a while"}


async def _acts(bench: Bench) -> Sequence[Act]:
    reads = bench.subject.reads()
    asked = reads[0].command if reads else bench.subject.role
    return cast("Sequence[Act]", await bench.ask(asked, bench.subject.acts))


def _act(index: int, body: ActBody) -> Body:
    async def of_this_device(bench: Bench) -> None:
        await body(bench, (await _acts(bench))[index])

    return of_this_device


def _safe(index: int, body: SafeBody) -> Body:
    async def of_this_device(bench: Bench) -> None:
        safe = bench.subject.safe()
        if safe is not None:
            await body(bench, safe, (await _acts(bench))[index])

    return of_this_device


def _read(index: int, body: Callable[[Bench, Read], Awaitable[None]]) -> Body:
    async def of_this_device(bench: Bench) -> None:
        await body(bench, bench.subject.reads()[index])

    return of_this_device


def _wait(index: int, point: int | None) -> Body:
    async def of_this_device(bench: Bench) -> None:
        await cancelling.wait_cancelled(bench, bench.subject.waits()[index], point)

    return of_this_device


def _refusal(index: int) -> Body:
    async def of_this_device(bench: Bench) -> None:
        await checks.it_refuses(bench, bench.subject.refusals()[index])

    return of_this_device


def _own(index: int) -> Body:
    async def of_this_device(bench: Bench) -> None:
        await bench.subject.own_checks()[index].check(bench)

    return of_this_device


async def _fresh_twice(bench: Bench) -> None:
    safe = bench.subject.safe()
    if safe is not None:
        await checks.safe_is_idempotent(bench, safe, None)


async def _put_back(bench: Bench) -> None:
    await bench.subject.put_back(bench)


def _at(point: int, body: Callable[[Bench, Act, int], Awaitable[None]]) -> ActBody:
    async def there(bench: Bench, act: Act) -> None:
        await body(bench, act, point)

    return there


def _safe_at(point: int) -> SafeBody:
    async def there(bench: Bench, safe: Safe, act: Act) -> None:
        await cancelling.safe_cancelled(bench, safe, act, point)

    return there


def _read_at(point: int) -> Callable[[Bench, Read], Awaitable[None]]:
    async def there(bench: Bench, read: Read) -> None:
        await cancelling.read_cancelled(bench, read, point)

    return there
