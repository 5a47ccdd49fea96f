"""The jobs that fetch files side by side: which file is next, when it is enough, and what a file's end means.

Owns the files that wait and those under way. The criteria are `stopping`'s, what is registered is the registry's, and
what a file goes through is `transfer`'s.
"""

from __future__ import annotations

import functools
from collections import deque
from typing import Protocol

import attrs
import trio

from fsmcollect.machines.transfer import State
from fsmcollect.stream.entry import Entry
from fsmcollect.stream.result import Told
from fsmcollect.stream.stopping import Criteria
from fsmcollect.stream.transfer import Transfer, Workshop
from fsmcollect.stream.values import Kind, RemoteFile
from fsmcollect.together import expected_failure_as_itself

#: Jobs begin so far apart. Assumed: no server is met by all at once, and which job takes which file and which
#: connection does not depend on the order in which trio happens to run them.
APART_S = 0.01


class Registered(Protocol):
    """What has been registered so far."""

    @property
    def registered(self) -> int: ...

    @property
    def registered_bytes(self) -> int: ...


@attrs.define(eq=False)
class Queue:
    """Hands out files, one by one, while the criteria let another begin.

    No file begins that could be one too many: with five wanted and three registered, two are under way, and where bytes
    are counted the next one begins when the server has said how large those under way are. A job that finds nothing to
    begin waits until one of them has ended, for it may be rejected.
    """

    waiting: deque[RemoteFile]
    criteria: Criteria
    so_far: Registered
    #: Files under way and their sizes, None where the listing's is a guess and the server has not been asked yet.
    _under_way: dict[str, int | None] = attrs.field(init=False, factory=dict[str, int | None])
    _news: trio.Event = attrs.field(init=False, factory=trio.Event)

    async def next(self) -> RemoteFile | None:
        """The next file to begin; None where none will be."""
        while self.waiting and not self.is_met:
            if self._may_begin():
                file = self.waiting.popleft()
                self._under_way[file.path] = file.size_bytes
                return file
            await self._news.wait()
        return None

    def _may_begin(self) -> bool:
        known = [size for size in self._under_way.values() if size is not None]
        if self.criteria.size_bytes is not None and len(known) < len(self._under_way):
            return False
        so_far = self.so_far
        return self.criteria.may_begin(so_far.registered, len(self._under_way), so_far.registered_bytes, sum(known))

    @property
    def is_met(self) -> bool:
        return self.criteria.is_met(self.so_far.registered, self.so_far.registered_bytes)

    def sized(self, path: str, size_bytes: int) -> None:
        """The server has said how large a file under way is."""
        self._under_way[path] = size_bytes
        self._tell()

    def ended(self, file: RemoteFile, *, again: bool = False) -> None:
        """The file is under way no more; `again`: it was interrupted and is the next to begin."""
        del self._under_way[file.path]
        if again:
            self.waiting.appendleft(file)
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()


@attrs.define(eq=False, kw_only=True)
class Crew:
    """So many jobs, each with one file at a time.

    Attributes
    ----------
    fatal : bool
        The disk refused, or the archive has gone silent: the stream must end. Why is among the errors.
    given_up, gains_given_up : int
        Movies, and what belongs to them, that could not be fetched.
    """

    entry: Entry
    jobs: int
    shop: Workshop
    errors: Told
    fatal: bool = attrs.field(init=False, default=False)
    given_up: int = attrs.field(init=False, default=0)
    gains_given_up: int = attrs.field(init=False, default=0)

    async def fetch_all(self, queue: Queue, *, restoring: bool = False) -> None:
        """Let transfers go on until the queue hands out no more, or the stream must end.

        Cancelled, it leaves what was interrupted in the queue again.
        """
        if self.fatal or not queue.waiting:
            return
        with expected_failure_as_itself():
            async with trio.open_nursery() as nursery:
                for job in range(self.jobs):
                    nursery.start_soon(self._work, job, queue, restoring, nursery.cancel_scope)

    async def _work(self, job: int, queue: Queue, restoring: bool, scope: trio.CancelScope) -> None:
        await trio.sleep(job * APART_S)
        while (file := await queue.next()) is not None:
            imageset = self.entry.imagesets[file.imageset]
            sized = functools.partial(queue.sized, file.path)
            transfer = Transfer(file=file, imageset=imageset, shop=self.shop, is_restored=restoring, sized=sized)
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
            self.gains_given_up += file.kind is not Kind.MOVIE
            if self.shop.is_hopeless and not self.fatal:
                self.fatal = True
                self.errors.add(
                    f"{self.shop.source.url}: the last {self.shop.failures_in_a_row} attempts brought nothing; "
                    "a resume goes on where this ended"
                )
