"""What is told and kept of a run: its events, its journal, and what went wrong."""

from __future__ import annotations

import datetime as dt

import attrs

from fsmcollect import __version__
from fsmcollect.errors import FsmCollectError
from fsmcollect.events import Failure, RunEnded, RunStarted, SafingStep
from fsmcollect.journal import Journal
from fsmcollect.observers import Observers
from fsmcollect.request import Request, to_dict
from fsmcollect.safing import StepEnded
from fsmcollect.together import answered
from fsmcollect.wedges import Plan

#: How long the journal may take on the way out. Assumed: a disk that needs longer hangs.
JOURNAL_DEADLINE_S = 15.0


@attrs.define(eq=False, kw_only=True)
class Record:
    """The record of one run. Without a journal it is told and not kept.

    Attributes
    ----------
    failures : list of str
        What went wrong, in order.
    """

    observers: Observers
    journal: Journal | None
    failures: list[str] = attrs.field(init=False, factory=list[str])

    def begin(self, run: str, request: Request, plan: Plan) -> None:
        """Say what is asked for."""
        self.observers.begin()
        if self.journal is not None:  # the first to be told: what others were told is in the record before
            self.observers.listeners.insert(0, self.journal.record)
        self.observers.emit(
            RunStarted,
            run=run,
            version=__version__,
            started_at=dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds"),
            images=plan.images,
            wedges=len(plan.wedges),
            request=to_dict(request),
        )

    async def commit(self) -> None:
        """What has happened is on disk before the step counts as done. Raises StorageError."""
        if self.journal is not None:
            await self.journal.flush(durable=True)

    async def keep(self, *, durable: bool = False) -> None:
        """Write the journal where a failure to write must stop nothing any more."""
        if self.journal is None:
            return
        try:
            await answered("disk", JOURNAL_DEADLINE_S, self.journal.flush(durable=durable))
        except FsmCollectError as error:
            if str(error) not in self.failures:
                self.failures.append(str(error))

    def note(self, what: str, message: str) -> None:
        """Something went wrong while `what` was done."""
        self.failures.append(f"{what}: {message}")
        self.observers.emit(Failure, what=what, message=message)

    def failed(self, what: str, error: FsmCollectError) -> None:
        """`what` could not be done, with what else failed at the same time."""
        self.note(what, "; ".join([str(error), *getattr(error, "__notes__", ())]))

    def safing_step(self, ended: StepEnded) -> None:
        """A step of safing has ended."""
        message = ended.failure or ended.remark
        self.observers.emit(SafingStep, step=ended.step.name, verified=not ended.failure, message=message)

    async def end(self, *, outcome: str, safe: bool, images: int) -> None:
        """Say how it ended and put that on disk."""
        self.observers.emit(RunEnded, outcome=outcome, safe=safe, images=images, message="; ".join(self.failures))
        await self.keep(durable=True)
        if self.journal is not None and self.journal.record in self.observers.listeners:
            self.observers.listeners.remove(self.journal.record)
