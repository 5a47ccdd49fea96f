"""A stream: the activities of the stream machine, its requests from outside, and what it came to.

Owns which file is next, when it is enough, and that the sets are closed at every end. What a file goes through is in
`transfer`, what is asked of the archive in `survey`, what is written in `registry`.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections import deque
from pathlib import Path
from random import Random
from typing import cast

import attrs
import httpcore
import trio

from fsmcollect import __version__
from fsmcollect.errors import FsmCollectError, InvalidRequest, StorageError
from fsmcollect.events import EntryDescribed, Failure, FileRetried, FilesListed, Noticed, StreamEnded, StreamStarted
from fsmcollect.machines.driver import Driver
from fsmcollect.machines.engine import Engine
from fsmcollect.machines.stream import STREAM, Event, State
from fsmcollect.machines.table import Outcome
from fsmcollect.observers import Observers
from fsmcollect.realwork import in_thread, to_the_end_in_thread
from fsmcollect.signals import heeding_signals
from fsmcollect.stream.crew import Crew, Queue
from fsmcollect.stream.entry import Entry
from fsmcollect.stream.fetch import RateLimit
from fsmcollect.stream.keeping.holdings import Holdings
from fsmcollect.stream.keeping.registry import Registry
from fsmcollect.stream.keeping.workspace import can_open
from fsmcollect.stream.listing.survey import Inventory, Surveyor
from fsmcollect.stream.patience import Policy
from fsmcollect.stream.result import StreamResult, Told
from fsmcollect.stream.settings import Settings
from fsmcollect.stream.sources import SourceError
from fsmcollect.stream.sources.http import Http
from fsmcollect.stream.stopping import Criteria
from fsmcollect.stream.transfer import Workshop
from fsmcollect.stream.values import Kind, RemoteFile, SetFacts
from fsmcollect.together import expected_failure_as_itself

#: Closing ends after this, on a disk that hangs. Assumed.
CLOSING_DEADLINE_S = 120.0
#: How often the STOP file and the time are looked at, seconds. Assumed: a person does not notice it.
WATCH_EVERY_S = 0.5


@attrs.define(eq=False, kw_only=True)
class Stream:
    """One stream of an entry into a directory, once.

    Building it checks the directory; nothing is made when that raises `InvalidRequest`.

    Parameters
    ----------
    settings : Settings
    directory : Path
    resume : bool
        Go on with what the directory holds.
    observers : Observers
    network : httpcore.AsyncNetworkBackend, optional
        Where connections go instead of to the network.
    policy : Policy
    random : Random
        Draws the jitter of waits.
    """

    settings: Settings
    directory: Path
    resume: bool = False
    observers: Observers = attrs.field(factory=Observers)
    network: httpcore.AsyncNetworkBackend | None = None
    policy: Policy = attrs.field(factory=Policy)
    random: Random = attrs.field(factory=Random)
    _driver: Driver[State, Event] = attrs.field(init=False)
    _surveyor: Surveyor = attrs.field(init=False)
    #: What is on disk; None before the directory is opened.
    _holdings: Holdings | None = attrs.field(init=False, default=None)
    _entry: Entry | None = attrs.field(init=False, default=None)
    _inventory: Inventory | None = attrs.field(init=False, default=None)
    #: None before the files are listed.
    _crew: Crew | None = attrs.field(init=False, default=None)
    _began_s: float = attrs.field(init=False, default=0.0)
    #: The disk has not answered while the sets were closed: a thread may still be writing.
    _is_closing_stuck: bool = attrs.field(init=False, default=False)
    _queue: Queue | None = attrs.field(init=False, default=None)
    #: Gain references that are still to be fetched, and movies that the journal has and the disk has lost.
    _gains: list[RemoteFile] = attrs.field(init=False, factory=list[RemoteFile])
    _lost: Queue | None = attrs.field(init=False, default=None)
    #: Every output holds what the journal holds, and takes more.
    _is_open: bool = attrs.field(init=False, default=False)
    #: What the call has to mend, found out only from the archive.
    _invalid: InvalidRequest | None = attrs.field(init=False, default=None)
    _errors: Told = attrs.field(init=False, factory=Told)
    _notices: Told = attrs.field(init=False, factory=Told)

    def __attrs_post_init__(self) -> None:
        self.directory = self.directory.absolute()
        can_open(self.directory, self.resume)
        self._driver = Driver(
            Engine(STREAM, log=self.observers.transition),
            {
                State.DESCRIBING: self._describing,
                State.LISTING: self._listing,
                State.STREAMING: self._streaming,
                State.HOLDING: trio.sleep_forever,
                State.CLOSING: self._closing,
            },
        )

    # -- requests from outside: synchronous, from trio's thread --------------------------------------------------------

    def abort(self) -> bool:
        """Finish nothing more and close the sets; the stream ends as aborted and can be resumed."""
        return self._driver.request(Event.ABORT)

    def stop(self) -> bool:
        """What there is now is enough: close the sets; the stream ends as done."""
        return self._driver.request(Event.STOP)

    def hold(self) -> bool:
        """Pause: transfers stop where they are. False where there is nothing to pause."""
        return self._driver.request(Event.HOLD)

    def go_on(self) -> bool:
        """End a pause."""
        return self._driver.request(Event.RESUME)

    # -- running -------------------------------------------------------------------------------------------------------

    async def run(self) -> StreamResult:
        """Stream until a criterion is met, everything is there, or it cannot go on. Failures are in the result.

        Raises
        ------
        InvalidRequest
            The settings do not fit the entry (``--imageset``), or the directory is no longer free: nothing was made.
        BaseException
            A bug, or a cancellation from outside; after the sets were closed.
        """
        self._began_s = trio.current_time()
        self.observers.begin()
        self.observers.emit(
            StreamStarted,
            entry=self._name,
            version=__version__,
            started_at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            settings=self.settings.to_dict(),
        )
        try:
            with expected_failure_as_itself():
                async with trio.open_nursery() as nursery, Http(jobs=self.settings.jobs, network=self.network) as http:
                    self._surveyor = Surveyor(
                        settings=self.settings,
                        http=http,
                        has_ftp=self.network is None,
                        policy=self.policy,
                        random=self.random,
                        failed=self._retrying,
                    )
                    nursery.start_soon(self._watch)
                    try:
                        await self._driver.run()
                    finally:
                        await self._surveyor.aclose()
                    nursery.cancel_scope.cancel()
        finally:
            await self._let_go()
            result = self.result()
            self.observers.emit(
                StreamEnded,
                outcome=str(result.outcome),
                registered=result.registered,
                rejected=result.rejected,
                bytes=result.bytes,
                message="; ".join(result.errors[:1]),
            )
        if self._invalid is not None:
            raise self._invalid
        return result

    async def _watch(self) -> None:
        """Beside the machine: the STOP file, the time, and readers who wait for what an output holds back."""
        limit_s = self.settings.until.time_s
        while True:
            await trio.sleep(WATCH_EVERY_S if limit_s is None else min(WATCH_EVERY_S, limit_s))
            if limit_s is not None and trio.current_time() >= self._began_s + limit_s:
                self._notice(f"the time of {limit_s:g} s is up")
                break
            if (holdings := self._holdings) is not None:
                if holdings.workspace.stop_asked():
                    self._notice("a file STOP was found")
                    break
                with contextlib.suppress(StorageError):  # told when it is made whole, or cannot be
                    await in_thread(holdings.registry.show)
        self.stop()

    async def _let_go(self) -> None:
        """Of the directory; but its lock stays with this process where a thread may still be writing there."""
        if self._holdings is not None and not self._is_closing_stuck:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSING_DEADLINE_S):
                await in_thread(self._holdings.close)

    def result(self) -> StreamResult:
        """What there is by now."""
        holdings, outcome = self._holdings, self._driver.engine.outcome
        return StreamResult(
            outcome=Outcome.FAILED if outcome is None else outcome,
            entry=self._name,
            title=self._entry.title if self._entry is not None else "",
            registered=holdings.registry.registered if holdings else 0,
            rejected=holdings.registry.rejected if holdings else 0,
            bytes=holdings.registry.registered_bytes if holdings else 0,
            seconds=trio.current_time() - self._began_s,
            resumed_bytes=self._crew.shop.resumed_bytes if self._crew else 0,
            outputs=holdings.outputs if holdings else {},
            errors=self._errors.all(),
            notices=self._notices.all(),
        )

    @property
    def _name(self) -> str:
        return f"EMPIAR-{self.settings.accession}"

    # -- DESCRIBING ----------------------------------------------------------------------------------------------------

    async def _describing(self) -> Event:
        try:
            if self.resume:
                await self._open()
            self._entry = await self._surveyor.describe()
        except FsmCollectError as error:
            return self._failed("describing", error)
        self.observers.emit(EntryDescribed, entry=self._name, title=self._entry.title)
        return Event.DESCRIBED

    async def _open(self) -> None:
        self._holdings = await to_the_end_in_thread(
            lambda: Holdings.open(self.directory, self.settings, resume=self.resume)
        )

    def _retrying(self, what: str, error: SourceError, wait_s: float) -> None:
        self.observers.emit(FileRetried, path=what, reason=str(error), wait_s=wait_s)

    # -- LISTING -------------------------------------------------------------------------------------------------------

    async def _listing(self) -> Event:
        try:
            self._inventory = await self._surveyor.files(cast("Entry", self._entry))
            if self._holdings is None:
                await self._open()
            for notice in self._inventory.notices:
                self._notice(notice)
            await self._prepare(self._inventory, cast("Holdings", self._holdings))
        except FsmCollectError as error:
            return self._failed("listing", error)
        return Event.LISTED

    async def _prepare(self, inventory: Inventory, holdings: Holdings) -> None:
        chosen, registry, until = inventory.chosen, holdings.registry, self.settings.until
        self._gains = await in_thread(holdings.unsettled, chosen.gains)
        waiting = await in_thread(holdings.unsettled, chosen.movies)
        await in_thread(holdings.keep_settings)
        self._queue = Queue(deque(waiting), until, registry)
        self._crew = Crew(
            entry=cast("Entry", self._entry),
            jobs=self.settings.jobs,
            errors=self._errors,
            shop=Workshop(
                source=inventory.source,
                workspace=holdings.workspace,
                journal=holdings.journal,
                registry=registry,
                observers=self.observers,
                policy=self.policy,
                seed=self.random.getrandbits(64),
                limit=RateLimit(self.settings.rate_bytes_per_s),
                checksum=holdings.settings.checksum,
            ),
        )
        self.observers.emit(
            FilesListed,
            movies=len(chosen.movies),
            gains=len(chosen.gains),
            about_bytes=sum(movie.size_bytes or movie.about_bytes or 0 for movie in chosen.movies),
            registered=registry.registered,
            rejected=registry.rejected,
            registered_bytes=registry.registered_bytes,
            limit_movies=until.count,
            limit_bytes=until.size_bytes,
        )
        if until.count is not None and until.count > len(chosen.movies):
            self._notice(f"{until.count:,} movies were asked for, there are {len(chosen.movies):,}")

    # -- STREAMING -----------------------------------------------------------------------------------------------------

    async def _streaming(self) -> Event:
        queue, crew = cast("Queue", self._queue), cast("Crew", self._crew)
        try:
            await self._stream_files(queue)
        except FsmCollectError as error:
            return self._failed("streaming", error)
        if crew.fatal:
            return Event.FAILED
        again = "a resume tries again"
        if crew.gains_given_up:
            self._errors.add(f"{crew.gains_given_up:,} of the gain references could not be fetched; {again}")
            return Event.FAILED
        registry = cast("Holdings", self._holdings).registry
        if registry.rejected and not registry.registered:
            self._errors.add("none of the movies is what it says, and nothing was registered")
            return Event.FAILED
        if crew.given_up and not queue.is_met:
            self._errors.add(f"{crew.given_up:,} of the movies could not be fetched; {again}")
            return Event.FAILED
        return Event.STREAMED

    async def _stream_files(self, queue: Queue) -> None:
        """First what the sets need to be opened, then what an earlier run had and has lost, then the rest."""
        holdings, crew = cast("Holdings", self._holdings), cast("Crew", self._crew)
        if not self._is_open:
            gains = Queue(deque(self._gains), Criteria(), holdings.registry)
            try:
                await crew.fetch_all(gains)
            finally:
                self._gains = list(gains.waiting)
            if crew.fatal:
                return
            await to_the_end_in_thread(holdings.registry.begin, self._facts(holdings))
            self._is_open = True
            self._lost = Queue(deque(self._files_lost(holdings)), Criteria(), holdings.registry)
        await crew.fetch_all(cast("Queue", self._lost), restoring=True)
        await crew.fetch_all(queue)

    def _facts(self, holdings: Holdings) -> SetFacts:
        entry, inventory = cast("Entry", self._entry), cast("Inventory", self._inventory)
        of_movies = {movie.imageset for movie in inventory.chosen.movies}
        pixel_sizes = (entry.imagesets[index].pixel_size_a for index in inventory.imagesets if index in of_movies)
        first = next((size for size in pixel_sizes if size is not None), None)
        return holdings.facts(self.settings, entry.title, first)

    def _files_lost(self, holdings: Holdings) -> list[RemoteFile]:
        """Movies that were registered once and whose files are gone."""
        entry, imagesets = cast("Entry", self._entry), cast("Inventory", self._inventory).imagesets
        lost = [
            RemoteFile(
                movie.path,
                Kind.MOVIE,
                next((i for i in imagesets if entry.imagesets[i].name == movie.imageset), imagesets[0]),
            )
            for movie in holdings.registry.missing
        ]
        if lost:
            self._notice(
                f"{len(lost):,} registered movies are not in {self.directory} any more: they are fetched again"
            )
        return lost

    # -- CLOSING -------------------------------------------------------------------------------------------------------

    async def _closing(self) -> Event:
        if self._holdings is None:
            return Event.CLOSED
        registry, closed_as = self._holdings.registry, None
        with trio.move_on_after(CLOSING_DEADLINE_S):
            await self._open_empty(self._holdings)
            while closed_as is not (outcome := self._outcome(registry)):  # a stop that comes meanwhile makes it worse
                closed_as = outcome
                try:
                    await in_thread(registry.close, str(outcome))
                except StorageError as error:
                    self._errors.add(str(error))
                    return Event.UNCLOSED
            await self._answer_stop(self._holdings)
            if not registry.missing:
                return Event.CLOSED
            lost = f"{len(registry.missing):,} registered movies"
            self._errors.add(f"{lost} are not in {self.directory} any more and could not be fetched again")
            return Event.INCOMPLETE
        self._is_closing_stuck = True
        self._errors.add(f"{self.directory}: the disk has not answered for {CLOSING_DEADLINE_S:g} s")
        return Event.UNCLOSED

    async def _open_empty(self, holdings: Holdings) -> None:
        """Sets that were never opened are closed all the same: who waits for one is told that nothing will come."""
        if self._entry is None or self._inventory is None or holdings.journal.facts is not None:
            return
        try:
            await in_thread(holdings.registry.begin, self._facts(holdings))
        except StorageError as error:
            self._errors.add(str(error))

    def _outcome(self, registry: Registry) -> Outcome:
        """What the sets are to say: a set that names a file which is gone was not done."""
        outcome = self._driver.engine.outcome or Outcome.DONE
        return max(outcome, Outcome.FAILED) if registry.missing else outcome

    async def _answer_stop(self, holdings: Holdings) -> None:
        try:
            await in_thread(holdings.workspace.answer_stop)
        except StorageError as error:
            self._notice(str(error))

    # -- telling -------------------------------------------------------------------------------------------------------

    def _failed(self, what: str, error: FsmCollectError) -> Event:
        if isinstance(error, InvalidRequest):
            self._invalid = error
        self._errors.add(str(error))
        self.observers.emit(Failure, what=what, message=str(error))
        return Event.FAILED

    def _notice(self, message: str) -> None:
        self._notices.add(message)
        self.observers.emit(Noticed, message=message)


def run_stream(stream: Stream, *, heed_signals: bool = False) -> StreamResult:
    """Stream in a trio run of its own.

    Parameters
    ----------
    heed_signals : bool
        Take SIGINT and SIGTERM for an abort; only in the main thread.

    Raises
    ------
    BaseException
        As `Stream.run`.
    """
    return trio.run(heeding_signals, stream.run, stream.abort) if heed_signals else trio.run(stream.run)
