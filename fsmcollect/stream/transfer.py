"""The activities of one file's machine: fetch, wait, verify, register.

Owns how often a file is tried and what its failures mean. Owns no rule about which file is next (`crew`), and no
registering: that is the registry's alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
from collections.abc import Callable, Generator
from pathlib import Path
from random import Random
from typing import cast

import attrs
import trio

from fsmcollect.errors import StorageError
from fsmcollect.events import (
    BytesArrived,
    FileGivenUp,
    FileMoved,
    FileRejected,
    FileRetried,
    GainArrived,
    MovieRegistered,
)
from fsmcollect.machines.driver import Driver
from fsmcollect.machines.engine import Engine, Transition
from fsmcollect.machines.transfer import TRANSFER, Event, State
from fsmcollect.observers import Observers
from fsmcollect.realwork import in_thread, to_the_end_in_thread
from fsmcollect.storage import temporary_path
from fsmcollect.stream import movies
from fsmcollect.stream.entry import Imageset
from fsmcollect.stream.fetch import PartialFile, RateLimit
from fsmcollect.stream.keeping.journal import Journal
from fsmcollect.stream.keeping.registry import OtherFile, Registry
from fsmcollect.stream.keeping.workspace import Workspace
from fsmcollect.stream.patience import ATTEMPTS_WHERE_NOT_THERE, Policy
from fsmcollect.stream.sources import Changed, NotThere, Refused, Source, SourceError
from fsmcollect.stream.stopping import size_in_words
from fsmcollect.stream.values import Kind, Remote, RemoteFile, Verified

#: What the sets and the journal may need besides. Assumed: room for ten thousand movies.
ROOM_BYTES = 8 << 20


@attrs.define(eq=False, kw_only=True)
class Workshop:
    """What all transfers of a stream share.

    Attributes
    ----------
    failures_in_a_row : int
        Of all files, since any of them grew.
    resumed_bytes : int
        Bytes of partial files of an earlier run that were not fetched again.
    """

    source: Source
    workspace: Workspace
    journal: Journal
    registry: Registry
    observers: Observers
    policy: Policy
    #: From which each file draws the jitter of its own waits.
    seed: int
    limit: RateLimit
    checksum: bool
    failures_in_a_row: int = attrs.field(init=False, default=0)
    #: What each file under way will still need of the disk, bytes.
    to_come: dict[str, int] = attrs.field(init=False, factory=dict[str, int])
    resumed_bytes: int = attrs.field(init=False, default=0)
    #: The server wants to be left alone until then, whatever the file; by trio's clock.
    not_before_s: float = attrs.field(init=False, default=-math.inf)
    #: Files that this run has begun: what is left of one of them is no earlier run's.
    begun: set[str] = attrs.field(init=False, factory=set[str])

    @property
    def is_hopeless(self) -> bool:
        """Nothing has come from the archive for so many attempts that the stream should end."""
        return self.failures_in_a_row >= self.policy.failures_in_a_row


@attrs.define(eq=False, kw_only=True)
class Transfer:
    """One file, once through its machine.

    Attributes
    ----------
    failure : Exception or None
        Why it is not registered: of the last attempt, or of the disk.
    """

    file: RemoteFile
    imageset: Imageset
    shop: Workshop
    #: A registered movie whose file was lost is put back and not registered again.
    is_restored: bool = False
    #: Told the exact size, once the server has said it.
    sized: Callable[[int], None] = lambda _size_bytes: None
    failure: Exception | None = attrs.field(init=False, default=None)
    size_bytes: int = attrs.field(init=False, default=0)
    #: Since the file last grew by `Policy.progress_bytes` beyond where it had been before.
    _failures: int = attrs.field(init=False, default=0)
    _counted_from: int = attrs.field(init=False, default=0)
    #: How often it was begun anew because it was another file than before, or a wrong one. Nothing takes that back.
    _fresh_starts: int = attrs.field(init=False, default=0)
    #: The file that the last attempt was after, and how much of it that attempt has left, with its checksum.
    _remote: Remote | None = attrs.field(init=False, default=None)
    _so_far: tuple[int, hashlib._Hash] | None = attrs.field(init=False, default=None)
    _doubts: list[str] = attrs.field(init=False, factory=list[str])
    _sha256: str | None = attrs.field(init=False, default=None)
    _verified: Verified | None = attrs.field(init=False, default=None)
    _final: Path = attrs.field(init=False)
    _engine: Engine[State, Event] = attrs.field(init=False)
    _random: Random = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._engine = Engine(TRANSFER, log=self._moved)
        self._random = Random(f"{self.shop.seed}/{self.file.path}")

    @property
    def state(self) -> State:
        return self._engine.current

    async def run(self) -> None:
        """Drive the machine to its end. A bug or a cancellation is raised after it."""
        activities = {
            State.FETCHING: self._fetching,
            State.BACKING_OFF: self._backing_off,
            State.VERIFYING: self._verifying,
            State.REGISTERING: self._registering,
        }
        await Driver(self._engine, activities).run()

    def _moved(self, fired: Transition) -> None:
        row = fired.row
        self.shop.observers.emit(
            FileMoved, path=self.file.path, source=row.source.name, event=row.event.name, dest=row.dest.name
        )

    # -- FETCHING ------------------------------------------------------------------------------------------------------

    async def _fetching(self) -> Event:
        await trio.sleep_until(self.shop.not_before_s)
        try:
            remote = await self.shop.source.head(self.file.path)
            self.size_bytes = remote.size_bytes
            self.sized(remote.size_bytes)
            if self._remote not in (None, remote):
                self._begin_afresh()
            self._remote = remote
            self._final = await in_thread(self.shop.workspace.place, self.file.kind, self.file.path)
            await self._fetch(remote)
        except StorageError as error:
            return self._refused_by_disk(error)
        except SourceError as error:
            return await self._failed(error)
        return Event.FETCHED

    async def _fetch(self, remote: Remote) -> None:
        journal, path = self.shop.journal, self.file.path
        continues = remote.validator is not None and await in_thread(journal.part, path) == remote
        with self._part(keep=continues) as descriptor:
            part = PartialFile(
                path=self._part_path,
                descriptor=descriptor,
                size_bytes=remote.size_bytes,
                checksum=self.shop.checksum,
                limit=self.shop.limit,
                tell=self._arrived,
            )
            # In this order: the journal must never vouch for the bytes of an older file.
            if not continues:
                await in_thread(journal.note_part, path, remote)
            there = os.fstat(descriptor).st_size
            offset = there if there <= remote.size_bytes else 0
            try:
                await self._check_room(remote.size_bytes - offset)
                await part.take_up(offset, self._so_far if continues else None)
                if path not in self.shop.begun:
                    self.shop.begun.add(path)
                    self.shop.resumed_bytes += part.kept
                if part.position < remote.size_bytes:
                    await self.shop.source.download(path, remote, part.position, part)
            finally:
                self._grown(part)
            if part.position != remote.size_bytes:
                raise SourceError(f"{path}: {part.position:,} of {remote.size_bytes:,} bytes came")
            self._sha256 = part.sha256

    async def _check_room(self, size_bytes: int) -> None:
        """Refuse to fill the disk: what is there has to be registered, and the sets have to be closed.

        Raises
        ------
        StorageError
            What this file and those under way need is not free.
        """
        shop, path = self.shop, self.file.path
        shop.to_come[path] = size_bytes
        free_bytes = await in_thread(shop.workspace.free_bytes)
        needed_bytes = sum(shop.to_come.values()) + ROOM_BYTES
        if needed_bytes > free_bytes:
            raise StorageError(
                f"{path} needs {size_in_words(size_bytes)}, with what is under way {size_in_words(needed_bytes)}; in "
                f"{shop.workspace.directory} {size_in_words(free_bytes)} are free: free space there, then resume"
            )

    def _grown(self, part: PartialFile) -> None:
        """Take note of how far an attempt has come."""
        self.shop.to_come.pop(self.file.path, None)
        self._so_far = part.position, part.hash
        if part.position > part.kept:
            self.shop.failures_in_a_row = 0
        if part.position >= self._counted_from + self.shop.policy.progress_bytes:
            self._failures, self._counted_from = 0, part.position

    def _begin_afresh(self) -> None:
        """What has arrived is worthless."""
        self._fresh_starts += 1
        self._counted_from, self._so_far = 0, None

    @property
    def _part_path(self) -> Path:
        return temporary_path(self._final)

    @contextlib.contextmanager
    def _part(self, *, keep: bool) -> Generator[int]:
        descriptor = self.shop.workspace.open_part(self._final, keep=keep)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _arrived(self, position: int, kept: int) -> None:
        self.shop.to_come[self.file.path] = self.size_bytes - position
        if position > kept:
            self.shop.failures_in_a_row = 0
        self.shop.observers.emit(
            BytesArrived, path=self.file.path, bytes=position, of_bytes=self.size_bytes, kept_bytes=kept
        )

    async def _failed(self, error: SourceError) -> Event:
        """Decide whether to try again."""
        shop, policy = self.shop, self.shop.policy
        self.failure = error
        self._failures += 1
        shop.failures_in_a_row += 1
        if error.retry_after_s is not None:
            wait_s = min(error.retry_after_s, policy.longest_retry_after_s)
            shop.not_before_s = max(shop.not_before_s, trio.current_time() + wait_s)
        if isinstance(error, Changed):
            self._begin_afresh()
            try:
                await in_thread(shop.journal.drop_part, self.file.path)
            except StorageError as refusal:
                return self._refused_by_disk(refusal)
        # A balanced front end may know elsewhere a file that it says is not there: it is asked for once more.
        attempts = ATTEMPTS_WHERE_NOT_THERE if isinstance(error, NotThere) else policy.attempts
        is_over = self._failures >= attempts or self._fresh_starts >= policy.attempts
        if isinstance(error, Refused) or is_over or shop.is_hopeless:
            return self._given_up(error)
        return Event.FETCH_FAILED

    def _given_up(self, error: Exception) -> Event:
        self.failure = error
        self.shop.observers.emit(FileGivenUp, path=self.file.path, reason=str(error))
        return Event.EXHAUSTED

    def _refused_by_disk(self, error: StorageError) -> Event:
        self.failure = error
        return Event.DISK_REFUSED

    # -- BACKING_OFF ---------------------------------------------------------------------------------------------------

    async def _backing_off(self) -> Event:
        wait_s = self.shop.policy.wait_s(max(self._failures, 1), self.failure, self._random)
        self.shop.observers.emit(FileRetried, path=self.file.path, reason=str(self.failure), wait_s=wait_s)
        await trio.sleep(wait_s)
        return Event.WAITED

    # -- VERIFYING -----------------------------------------------------------------------------------------------------

    async def _verifying(self) -> Event:
        file, workspace = self.file, self.shop.workspace
        header = None
        try:
            if file.kind is Kind.MOVIE or movies.is_readable(file.path):
                header = await in_thread(movies.check, self._part_path, file.path)
            # Here, where a stop need not wait for it: what remains for the registry's one step is quick.
            await in_thread(workspace.sync, workspace.file_at(self._part_path))
        except movies.WrongFile as error:
            return await self._wrong(error)
        except StorageError as error:
            return self._refused_by_disk(error)
        self._verified = Verified(
            path=file.path,
            kind=file.kind,
            size_bytes=self.size_bytes,
            sha256=self._sha256,
            header=header,
            imageset=self.imageset.name,
            pixel_size_a=self.imageset.pixel_size_a,
        )
        return Event.VERIFIED

    async def _wrong(self, error: movies.WrongFile) -> Event:
        """Fetch it afresh once; what is wrong in the same way twice, or in many ways, is rejected."""
        reason, self.failure = str(error), error
        is_confirmed = reason in self._doubts or len(self._doubts) + 1 >= self.shop.policy.attempts
        self._doubts.append(reason)
        if is_confirmed and self.is_restored:
            return self._given_up(error)
        try:
            if not is_confirmed:
                self._begin_afresh()
                await in_thread(self.shop.journal.drop_part, self.file.path)
                return Event.DOUBTFUL
            await to_the_end_in_thread(
                self.shop.registry.reject, self.file.path, self._part_path, reason, self.size_bytes, self._sha256
            )
        except StorageError as refusal:
            return self._refused_by_disk(refusal)
        self.shop.observers.emit(FileRejected, path=self.file.path, reason=reason)
        return Event.WRONG

    # -- REGISTERING ---------------------------------------------------------------------------------------------------

    async def _registering(self) -> Event:
        # From here on it is one step: a cancellation waits for it, so that what is registered is also told.
        registry, verified = self.shop.registry, cast("Verified", self._verified)
        try:
            if self.is_restored:
                await to_the_end_in_thread(
                    registry.restore, verified.path, self._part_path, verified.sha256, verified.size_bytes
                )
                return Event.RECORDED
            movie = await to_the_end_in_thread(registry.register, verified, self._part_path)
        except OtherFile as error:
            return self._given_up(error)
        except StorageError as error:
            return self._refused_by_disk(error)
        if movie is not None:
            self.shop.observers.emit(MovieRegistered, movie=movie.number, path=movie.path, bytes=movie.size_bytes)
        else:
            self.shop.observers.emit(GainArrived, path=verified.path, bytes=verified.size_bytes)
        return Event.RECORDED
