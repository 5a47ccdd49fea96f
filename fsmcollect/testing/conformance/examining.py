"""The examination of one device: each check in a run of its own, with a fresh device.

Owns what happens around a check, and that none is made with a command that an earlier one has found broken.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Awaitable, Callable, Iterable
from typing import cast

import attrs
import trio

from fsmcollect.testing.conformance import rules, structure
from fsmcollect.testing.conformance.bench import Bench, Findings, GiveUp
from fsmcollect.testing.conformance.calling import Watcher
from fsmcollect.testing.conformance.findings import Examination, LeftOut
from fsmcollect.testing.conformance.planning import Check, Plan
from fsmcollect.testing.conformance.roles import SUBJECTS
from fsmcollect.testing.conformance.running import Run, carry_out
from fsmcollect.testing.conformance.settings import Settings
from fsmcollect.testing.conformance.subjects import Subject
from fsmcollect.together import one_failure_as_itself

Make = Callable[[], object]
OnDevice = Callable[[object, trio.Nursery, Watcher], Awaitable[None]]


@attrs.define(eq=False)
class Examiner:
    """Examines what `make` makes. Used once."""

    make: Make
    run: Run
    settings: Settings
    findings: Findings = attrs.field(init=False)
    role: str = attrs.field(init=False, default="")
    #: What a role remembers from one device to the next.
    _homes: dict[str, float] = attrs.field(init=False, factory=dict[str, float])
    _plan: Plan = attrs.field(init=False)
    _subject: Subject[object] | None = attrs.field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        self.findings = Findings(self.settings)
        self._plan = Plan(self.findings)

    def examine(self, role: str | None) -> Examination:
        """Make every check. Raises what `make` and `run` raise, and ValueError where the role cannot be told."""
        self._look(role)
        if not self.findings.breaches and self._subject is not None:
            self._carry_out(self._plan.properties(self._subject))
            if not self.findings.breaches:
                self._carry_out(self._plan.questions())
                self._carry_out(self._plan.rest())
        if not self._plan.acts_are_known:
            why = f"{', '.join(self.findings.breaches)} must be mended first"
            self.findings.left_out.append(LeftOut(check="most of the others", why=why))
        return Examination(
            role=self.role,
            breaches=tuple(self.findings.breaches.values()),
            made=tuple(self.findings.made),
            left_out=tuple(self.findings.left_out),
        )

    def _look(self, role: str | None) -> None:
        """What can be seen without calling anything."""

        async def look(device: object, _: trio.Nursery, __: Watcher) -> None:
            self.role = structure.role_of(device, self.make, role)
            for lack in structure.lacks(device, self.role):
                self.findings.add(lack.rule, "looked at it", lack.seen, lack.command, "")
            self._subject = self._subject_of(device)

        self._in_a_run("everything is there", look)

    def _carry_out(self, checks: Iterable[Check]) -> None:
        for check in checks:
            broken = sorted(self.findings.broken.intersection(check.uses))
            if broken:
                why = f"{', '.join(broken)} must be mended first"
                self.findings.left_out.append(LeftOut(check=check.title, why=why))
            else:
                self._in_a_run(check.title, self._on_a_bench(check))

    def _on_a_bench(self, check: Check) -> OnDevice:
        async def body(device: object, nursery: trio.Nursery, watcher: Watcher) -> None:
            with contextlib.suppress(GiveUp):
                await check.body(Bench(self._subject_of(device), self.findings, nursery, watcher))

        return body

    def _subject_of(self, device: object) -> Subject[object]:
        return SUBJECTS[self.role](self.role, device, self.settings, self._homes)

    def _in_a_run(self, title: str, check: OnDevice) -> None:
        if self.settings.tell is not None:
            self.settings.tell(title)
        self.findings.made.append(title)

        async def body(watcher: Watcher) -> None:
            with one_failure_as_itself():
                async with contextlib.AsyncExitStack() as stack:
                    device = await self._made(stack)
                    async with trio.open_nursery() as nursery:
                        try:
                            await check(device, nursery, watcher)
                        finally:
                            watcher.check_has_ended = True
                            nursery.cancel_scope.cancel()

        left = carry_out(self.run, body, block_s=self.settings.limit_s, leave_s=self.settings.prompt_s)
        if left is None:
            return
        if left.call is not None:
            seen = f"{left.call.words} let nothing else run for {left.step_s:.1f} s, and was not waited for"
            self.findings.add(rules.BLOCKS_NOBODY, title, seen, left.call.command, "")
        elif left.step_s > 0.0:
            raise TimeoutError(f"{title}: make, or a hook, let nothing else run for {left.step_s:.1f} s")

    async def _made(self, stack: contextlib.AsyncExitStack) -> object:
        made = self.make()
        if inspect.isawaitable(made):
            made = await made
        if isinstance(made, contextlib.AbstractAsyncContextManager):
            context = cast("contextlib.AbstractAsyncContextManager[object]", made)
            return await stack.enter_async_context(context)
        return made
