"""Checkpoints of a run: counted, and struck at one of them.

A checkpoint is here where a task of the run has yielded and is not over. Owns the counting; what the strike does is the
caller's.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
import trio


@attrs.define(eq=False)
class Checkpoints(trio.abc.Instrument):
    """Counts the checkpoints of the task that calls `begin` and of all tasks below it.

    Attributes
    ----------
    strike : callable
        Called at the `at`-th checkpoint, from 1; None: at none.
    state : callable or None
        Asked at each checkpoint for `states`; None asks nothing.
    seen : int
    """

    strike: Callable[[], object]
    at: int | None = None
    state: Callable[[], str] | None = None
    seen: int = attrs.field(init=False, default=0)
    states: list[str] = attrs.field(init=False, factory=list[str])
    _mine: dict[trio.lowlevel.Task, bool] = attrs.field(init=False, factory=dict[trio.lowlevel.Task, bool])

    @property
    def is_wanted(self) -> bool:
        """Somebody wants to know, or to strike."""
        return self.at is not None or self.state is not None

    def begin(self) -> None:
        """The calling task and the tasks that it will have from now on are the run; those that it has are not."""
        if self.is_wanted:
            task = trio.lowlevel.current_task()
            self._mine = {child: False for nursery in task.child_nurseries for child in nursery.child_tasks}
            self._mine[task] = True

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if not self._mine or not self._is_mine(task) or task.coro.cr_frame is None:
            return
        self.seen += 1
        if self.state is not None:
            self.states.append(self.state())
        if self.seen == self.at:
            self.strike()

    def task_exited(self, task: trio.lowlevel.Task) -> None:
        self._mine.pop(task, None)

    def _is_mine(self, task: trio.lowlevel.Task) -> bool:
        mine = self._mine.get(task)
        if mine is None:
            nursery = task.parent_nursery
            mine = nursery is not None and self._is_mine(nursery.parent_task)
            self._mine[task] = mine
        return mine
