"""Strike at every checkpoint: run a case again and again, interrupting it at its first, second, ... last yield.

Owns the counting of yields and the repeatable schedule. What is struck (a cancellation from outside, a request) and
what must hold afterwards belongs to the case. Inside the run no time passes but simulated time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from unittest import mock

import attrs
import trio
import trio.testing
from trio._core import _run


@attrs.define(eq=False, kw_only=True)
class Case:
    """One run to be interrupted, made afresh for every strike.

    `verdict` is given what the run raised (None where it returned, or where only the strike's own cancellation ended
    it) and answers with a sentence about what is wrong, or None.
    """

    run: Callable[[], Awaitable[object]]
    verdict: Callable[[BaseException | None], str | None]
    #: What interrupts; None for a cancellation from outside.
    strike: Callable[[], object] | None = None
    #: Whose time it runs in; None for a mock clock that jumps.
    clock: trio.abc.Clock | None = None


@attrs.frozen
class Violation:
    """What was wrong after the strike at the `point`-th yield, and where that was."""

    point: int
    where: str
    what: str


@attrs.frozen
class Sweep:
    """How many yields were struck, and what was wrong after which."""

    points: int
    violations: tuple[Violation, ...]


@attrs.define(eq=False)
class _Striker(trio.abc.Instrument):
    point: int
    strike: Callable[[], object]
    root: trio.lowlevel.Task | None = None
    seen: int = 0
    where: str = ""

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if not self._is_mine(task) or task.coro.cr_frame is None:  # not of the case, or it has ended: no checkpoint
            return
        self.seen += 1
        if self.seen == self.point:
            self.where = " <- ".join(f"{frame.f_code.co_name}:{line}" for frame, line in task.iter_await_frames())
            self.strike()

    def _is_mine(self, task: trio.lowlevel.Task | None) -> bool:
        while task is not None and self.root is not None:
            if task is self.root:
                return True
            task = task.parent_nursery.parent_task if task.parent_nursery is not None else None
        return False


@contextmanager
def repeatable_schedule(seed: int) -> Iterator[None]:
    """trio's own shuffling of tasks, from a seed. The switch is private to trio, so it stays in the testing kit."""
    with mock.patch.object(_run, "_ALLOW_DETERMINISTIC_SCHEDULING", new=True):
        _run._r.seed(seed)
        yield


def at_every_checkpoint(prepare: Callable[[], Case], *, seed: int = 0, limit: int = 10_000) -> Sweep:
    """Run `prepare()`'s case until a run ends before the strike has come to it.

    Raises
    ------
    RuntimeError
        The case yields more than `limit` times: it does not end, or is too long for this.
    """
    violations: list[Violation] = []
    for point in range(1, limit + 1):
        case, scope = prepare(), trio.CancelScope()
        striker = _Striker(point, case.strike or scope.cancel)
        raised = _run_once(case, scope, striker, seed)
        if not striker.where:
            return Sweep(point - 1, tuple(violations))
        what = case.verdict(raised)
        if what is not None:
            violations.append(Violation(point, striker.where, what))
    raise RuntimeError(f"more than {limit} checkpoints")


def _run_once(case: Case, scope: trio.CancelScope, striker: _Striker, seed: int) -> BaseException | None:
    async def main() -> None:
        striker.root = trio.lowlevel.current_task()
        with scope:
            await case.run()
        striker.root = None

    with repeatable_schedule(seed):
        try:
            clock = case.clock or trio.testing.MockClock(autojump_threshold=0)
            trio.run(main, clock=clock, instruments=[striker])
        except Exception as error:
            return error
    return None
