"""The jobs that fetch files side by side, and what the end of a file's life means for the stream."""

from __future__ import annotations

import attrs
import trio

from fsmcollect.machines.transfer import State
from fsmcollect.stream.entry import Entry
from fsmcollect.stream.queue import Queue
from fsmcollect.stream.result import Told
from fsmcollect.stream.transfer import Transfer, Workshop
from fsmcollect.stream.values import Kind, RemoteFile
from fsmcollect.together import one_failure_as_itself

#: Jobs begin so far apart. Assumed: no server is met by all at once, and which job takes which file and which
#: connection does not depend on the order in which trio happens to run them.
APART_S = 0.01


@attrs.define(eq=False, kw_only=True)
class Crew:
    """So many jobs, each with one file at a time.

    Attributes
    ----------
    fatal : bool
        The disk refused, or the archive has gone silent: the stream must end. Why is among the errors.
    given_up : int
        Movies that could not be fetched.
    """

    entry: Entry
    jobs: int
    shop: Workshop
    errors: Told
    fatal: bool = attrs.field(init=False, default=False)
    given_up: int = attrs.field(init=False, default=0)

    async def fetch_all(self, queue: Queue, *, restoring: bool = False) -> None:
        """Let transfers go on until the queue hands out no more, or the stream must end.

        Cancelled, it leaves what was interrupted in the queue again.
        """
        if self.fatal:
            return
        with one_failure_as_itself():
            async with trio.open_nursery() as nursery:
                for job in range(self.jobs):
                    nursery.start_soon(self._work, job, queue, restoring, nursery.cancel_scope)

    async def _work(self, job: int, queue: Queue, restoring: bool, scope: trio.CancelScope) -> None:
        await trio.sleep(job * APART_S)
        while (file := await queue.next()) is not None:
            imageset = self.entry.imagesets[file.imageset]
            transfer = Transfer(file=file, imageset=imageset, shop=self.shop, is_restored=restoring)
            try:
                await transfer.run()
            finally:
                queue.ended(file, again=transfer.state is State.INTERRUPTED)
            self._account(file, transfer)
            if self.fatal:
                scope.cancel()

    def _account(self, file: RemoteFile, transfer: Transfer) -> None:
        if transfer.state is State.REJECTED:
            self.errors.add(f"{file.path} is set aside in rejected/: {transfer.failure}")
        elif transfer.state is State.INTERRUPTED:
            self.fatal = True
            self.errors.add(str(transfer.failure))
        elif transfer.state is State.GIVEN_UP:
            self.errors.add(f"{file.path} could not be fetched: {transfer.failure}")
            self.given_up += file.kind is Kind.MOVIE
            if self.shop.is_hopeless and not self.fatal:
                self.fatal = True
                self.errors.add(
                    f"{self.shop.source.url}: the last {self.shop.failures_in_a_row} attempts brought nothing; "
                    "a resume goes on where this ended"
                )
