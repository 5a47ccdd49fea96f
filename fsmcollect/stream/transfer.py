"""The activities of one file's machine: fetch, wait, verify, register.

Owns how often a file is tried and what its failures mean. Owns no rule about which file is next (`pipeline`), and no
registering: that is the registry's alone.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator
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
from fsmcollect.stream.keeping.registry import Registry
from fsmcollect.stream.keeping.workspace import Workspace
from fsmcollect.stream.patience import Policy
from fsmcollect.stream.sources import Changed, Refused, Source, SourceError
from fsmcollect.stream.values import Kind, Remote, RemoteFile, Verified


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
    resumed_bytes: int = attrs.field(init=False, default=0)
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
    failure: Exception | None = attrs.field(init=False, default=None)
    size_bytes: int = attrs.field(init=False, default=0)
    _failures: int = attrs.field(init=False, default=0)
    #: Where the file had got to when its failures were counted from 0.
    _counted_from: int = attrs.field(init=False, default=0)
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
        try:
            remote = await self.shop.source.head(self.file.path)
            self.size_bytes = remote.size_bytes
            self._final = await in_thread(self.shop.workspace.place, self.file.kind, self.file.path)
            await self._fetch(remote)
        except StorageError as error:
            self.failure = error
            return Event.DISK_REFUSED
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
            if not continues:
                await in_thread(journal.note_part, path, remote)
            there = os.fstat(descriptor).st_size
            await part.take_up(there if there <= remote.size_bytes else 0)
            if path not in self.shop.begun:
                self.shop.begun.add(path)
                self.shop.resumed_bytes += part.kept
            if part.position < remote.size_bytes:
                await self.shop.source.download(path, remote, part.position, part)
            if part.position != remote.size_bytes:
                raise SourceError(f"{path}: {part.position:,} of {remote.size_bytes:,} bytes came")
            self._sha256 = part.sha256

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
        if position > kept:
            self.shop.failures_in_a_row = 0
        if position >= self._counted_from + self.shop.policy.progress_bytes:
            self._failures, self._counted_from = 0, position
        self.shop.observers.emit(
            BytesArrived, path=self.file.path, bytes=position, of_bytes=self.size_bytes, kept_bytes=kept
        )

    async def _failed(self, error: SourceError) -> Event:
        """Decide whether to try again."""
        self.failure = error
        self._failures += 1
        self.shop.failures_in_a_row += 1
        if isinstance(error, Changed):
            await in_thread(self.shop.journal.drop_part, self.file.path)
            self._counted_from = 0
        if isinstance(error, Refused) or self._failures >= self.shop.policy.attempts or self.shop.is_hopeless:
            self.shop.observers.emit(FileGivenUp, path=self.file.path, reason=str(error))
            return Event.EXHAUSTED
        return Event.FETCH_FAILED

    # -- BACKING_OFF ---------------------------------------------------------------------------------------------------

    async def _backing_off(self) -> Event:
        wait_s = self.shop.policy.wait_s(max(self._failures, 1), self.failure, self._random)
        self.shop.observers.emit(FileRetried, path=self.file.path, reason=str(self.failure), wait_s=wait_s)
        await trio.sleep(wait_s)
        return Event.WAITED

    # -- VERIFYING -----------------------------------------------------------------------------------------------------

    async def _verifying(self) -> Event:
        file = self.file
        header = None
        try:
            if file.kind is Kind.MOVIE or movies.is_readable(file.path):
                header = await in_thread(movies.check, self._part_path, file.path)
        except movies.WrongFile as error:
            return await self._wrong(error)
        except StorageError as error:
            self.failure = error
            return Event.DISK_REFUSED
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
        confirmed = reason in self._doubts or len(self._doubts) + 1 >= self.shop.policy.attempts
        self._doubts.append(reason)
        try:
            if not confirmed:
                await in_thread(self.shop.journal.drop_part, self.file.path)
                return Event.DOUBTFUL
            await to_the_end_in_thread(
                self.shop.registry.reject, self.file.path, self._part_path, reason, self.size_bytes, self._sha256
            )
        except StorageError as refusal:
            self.failure = refusal
            return Event.DISK_REFUSED
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
        except StorageError as error:
            self.failure = error
            return Event.DISK_REFUSED
        if movie is not None:
            self.shop.observers.emit(MovieRegistered, movie=movie.number, path=movie.path, bytes=movie.size_bytes)
        else:
            self.shop.observers.emit(GainArrived, path=verified.path, bytes=verified.size_bytes)
        return Event.RECORDED
