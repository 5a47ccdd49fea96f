"""One attempt to get the rest of one file into its partial file.

Owns the partial file while it grows: what of it may be continued, its checksum, the rate limit, and the telling of
progress. When to ask again is the transfer machine's business, how to ask the source's.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import attrs
import trio

from fsmcollect.realwork import to_the_end_in_thread
from fsmcollect.storage import storage_error

#: Progress is told so often a file, seconds. Assumed: smooth for an eye, nothing for a processor.
TELL_EVERY_S = 0.25
#: What is left of an earlier attempt is hashed in blocks of this size.
_BLOCK_BYTES = 1 << 20
#: A rate limit evens out over this time, seconds. Assumed: shorter than anybody's patience, longer than a block takes.
_BURST_S = 0.25


@attrs.define(eq=False)
class RateLimit:
    """So many bytes a second for all who take from it; None: as many as come."""

    bytes_per_s: float | None
    _due_s: float = attrs.field(init=False, default=0.0)

    async def take(self, count: int) -> None:
        if self.bytes_per_s is None:
            return
        self._due_s = max(self._due_s, trio.current_time() - _BURST_S) + count / self.bytes_per_s
        if self._due_s > trio.current_time():
            await trio.sleep_until(self._due_s)


@attrs.define(eq=False, kw_only=True)
class PartialFile:
    """The sink of one attempt: bytes go to `path` and, where wanted, through a checksum.

    Written in place, without a thread: the page cache takes a block in less time than a thread is told of it.

    Attributes
    ----------
    position : int
        How many bytes are there.
    kept : int
        How many of them this attempt did not fetch.
    """

    path: Path
    descriptor: int
    size_bytes: int
    checksum: bool
    limit: RateLimit
    #: Told `position` and `kept`, a few times a second.
    tell: Callable[[int, int], None]
    position: int = attrs.field(init=False, default=0)
    kept: int = attrs.field(init=False, default=0)
    #: The checksum of the bytes that are there.
    hash: hashlib._Hash = attrs.field(init=False, factory=hashlib.sha256)
    _told_s: float = attrs.field(init=False, default=0.0)

    async def take_up(self, offset: int, so_far: tuple[int, hashlib._Hash] | None = None) -> None:
        """Go on behind the first `offset` bytes of the file as it is.

        Parameters
        ----------
        so_far : (int, hash), optional
            How many bytes an earlier attempt of this process has hashed, and their checksum: then they are not read
            again.

        Raises
        ------
        StorageError
            The disk refused.
        """
        try:
            if so_far is not None and so_far[0] == offset:
                self.hash = so_far[1].copy()
            else:
                self.hash = await self._hashed(offset)
            os.ftruncate(self.descriptor, offset)
        except OSError as error:
            raise storage_error("read", self.path, error) from error
        self.position = self.kept = offset
        self._tell()

    async def _hashed(self, offset: int) -> hashlib._Hash:
        if not (self.checksum and offset):
            return hashlib.sha256()
        return await to_the_end_in_thread(_hash_of, self.descriptor, offset)

    async def begin(self, offset: int) -> None:
        if offset == self.position:
            return
        if offset:
            raise ValueError(f"cannot go on at byte {offset}, {self.position} are there")
        await self.take_up(0)

    async def write(self, block: bytes | bytearray | memoryview) -> None:
        try:
            written = os.pwrite(self.descriptor, block, self.position)
            if written < len(block):  # the disk is full: what fitted stays, the next write says why it did not
                written += os.pwrite(self.descriptor, memoryview(block)[written:], self.position + written)
                if written < len(block):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise storage_error("write", self.path, error) from error
        if self.checksum:
            self.hash.update(block)
        self.position += len(block)
        await self.limit.take(len(block))
        if trio.current_time() - self._told_s >= TELL_EVERY_S or self.position == self.size_bytes:
            self._tell()

    @property
    def sha256(self) -> str | None:
        return self.hash.hexdigest() if self.checksum else None

    def _tell(self) -> None:
        self._told_s = trio.current_time()
        self.tell(self.position, self.kept)


def _hash_of(descriptor: int, size_bytes: int) -> hashlib._Hash:
    """The checksum of the first bytes of a file. Raises OSError where it has fewer. Ends soon when cancelled."""
    sha256 = hashlib.sha256()
    view = memoryview(bytearray(_BLOCK_BYTES))
    position = 0
    while position < size_bytes:
        trio.from_thread.check_cancelled()
        count = os.preadv(descriptor, [view[: min(_BLOCK_BYTES, size_bytes - position)]], position)
        if count == 0:
            raise OSError(errno.EIO, "the partial file has become shorter")
        sha256.update(view[:count])
        position += count
    return sha256
