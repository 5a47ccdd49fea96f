"""Which file is next, and when it is enough.

Owns the files that wait and those under way. The criteria are `stopping`'s; what is registered is the registry's.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

import attrs
import trio

from fsmcollect.stream.stopping import Criteria
from fsmcollect.stream.values import RemoteFile


class Registered(Protocol):
    """What has been registered so far."""

    @property
    def registered(self) -> int: ...

    @property
    def registered_bytes(self) -> int: ...


@attrs.define(eq=False)
class Queue:
    """Hands out files, one by one, while the criteria let another begin.

    No file begins that could be one too many: with five wanted and three registered, two are under way. A job that
    finds nothing to begin waits until one of those under way has ended, for it may be rejected.
    """

    waiting: deque[RemoteFile]
    criteria: Criteria
    so_far: Registered
    _under_way: dict[str, int] = attrs.field(init=False, factory=dict[str, int])
    _ended: trio.Event = attrs.field(init=False, factory=trio.Event)

    async def next(self) -> RemoteFile | None:
        """The next file to begin; None where none will be."""
        while self.waiting and not self.is_met:
            if self.criteria.may_begin(
                self.so_far.registered,
                len(self._under_way),
                self.so_far.registered_bytes,
                sum(self._under_way.values()),
            ):
                file = self.waiting.popleft()
                self._under_way[file.path] = file.size_bytes or file.about_bytes or 0
                return file
            await self._ended.wait()
        return None

    @property
    def is_met(self) -> bool:
        return self.criteria.is_met(self.so_far.registered, self.so_far.registered_bytes)

    def ended(self, file: RemoteFile, *, again: bool = False) -> None:
        """The file is under way no more; `again`: it was interrupted and is the next to begin."""
        del self._under_way[file.path]
        if again:
            self.waiting.appendleft(file)
        self._ended.set()
        self._ended = trio.Event()
