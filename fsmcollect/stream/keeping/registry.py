"""Exactly once: the one place where a file becomes a registered movie, and every output is told.

Owns the order of the steps, and what has to be done after a run that was killed between any two of them::

    1  the partial file's bytes are on the disk
    2  its row is committed to the journal: from here on it is registered, whatever happens
    3  it gets its name
    4  every output is told

A kill before 2 leaves a partial file; a kill behind it leaves what `Registry.recover` rolls forward. Owns no format of
an output, and no decision about which file is next.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVarTuple

from fsmcollect.errors import FsmCollectError, StorageError
from fsmcollect.storage import temporary_path
from fsmcollect.stream.keeping.journal import Journal, SetAside
from fsmcollect.stream.keeping.workspace import Workspace
from fsmcollect.stream.outputs import Output
from fsmcollect.stream.values import Kind, Movie, SetFacts, Verified

_LONGEST_NAME = 255
_REASON = ".reason.txt"
_SECONDS = "%Y-%m-%dT%H:%M:%SZ"

Args = TypeVarTuple("Args")


class OtherFile(StorageError):
    """What is to take the place of a lost movie is another file than the one that was registered."""


class StreamClosed(FsmCollectError):
    """The stream's sets are closed: a thread that nobody waits for any more came too late, and did nothing."""


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


class Registry:
    """Registers the files of one stream. Every method may be called from any thread.

    Parameters
    ----------
    workspace : Workspace
    journal : Journal
    outputs : sequence of Output
    clock : callable
        The time now, in UTC.

    Attributes
    ----------
    missing : list of Movie
        Registered once, and their files are gone: `restore` puts them back. Known from `recover` on.
    registered, registered_bytes : int
        Movies in the journal, and their bytes. Counted with the commit, so never ahead of the journal.
    gains : int
        Gain references and defect maps.
    rejected : int
    """

    def __init__(
        self, workspace: Workspace, journal: Journal, outputs: Sequence[Output], clock: Callable[[], dt.datetime] = _now
    ) -> None:
        self._workspace = workspace
        self._journal = journal
        self._outputs = tuple(outputs)
        self._clock = clock
        self._lock = threading.RLock()
        self.missing: list[Movie] = []
        self.registered = len(journal.movies())
        self.registered_bytes = journal.movies_bytes()
        self.gains = len(journal.gains())
        self.rejected = len(journal.rejected())
        #: Journalled and not at its place yet: (partial file, place). Nothing is registered behind it before it is.
        self._unplaced: tuple[str, str] | None = None
        #: Outputs that have not been told everything: each has to be opened again before it is told more.
        self._behind: set[int] = set(range(len(self._outputs)))
        self._facts: SetFacts | None = None
        self._recovered = False
        self._closing = False
        #: The outcome that sets were to be closed with, and the one that all of them are.
        self._asked: str | None = None
        self._closed_as: str | None = None

    # ------------------------------------------------------------------------------------------------------ beginning

    def recover(self) -> None:
        """Finish what a killed run had begun. Whatever else is called first does this before; once is enough.

        Raises
        ------
        StorageError
            Something else lies where a registered file belongs, or the disk refused.
        """
        with self._lock:
            if self._recovered:
                return
            movies = self._journal.movies()
            with contextlib.closing(self._workspace.sizes(each.file for each in movies)) as sizes:
                missing = [
                    movie
                    for movie, size_bytes in zip(movies, sizes, strict=True)
                    if size_bytes != movie.size_bytes
                    and not self._roll_forward(movie.path, _part_of(movie.file), movie.file, movie.size_bytes)
                ]
            for gain in self._journal.gains():
                if not self._roll_forward(gain.path, _part_of(gain.file), gain.file, gain.size_bytes):
                    self._journal.forget_gain(gain.path)
            for aside in self._journal.rejected():
                self._set_aside(aside)
            self.gains = len(self._journal.gains())
            self.missing = missing
            self._recovered = True

    def begin(self, facts: SetFacts) -> None:
        """Open the sets, with every movie of the journal. Gain references may be registered before, movies after.

        Raises
        ------
        StorageError
            As `recover`, or an output refused.
        """
        with self._lock:
            self._refuse_late("the sets are not opened")
            self.recover()
            self._journal.begin(facts)
            self._facts = facts
            self._behind = set(range(len(self._outputs)))
            self._catch_up()

    # ---------------------------------------------------------------------------------------------------- registering

    def register(self, verified: Verified, part: Path) -> Movie | None:
        """Register a file that is complete and checked; it has its name and every output knows it on return.

        Parameters
        ----------
        part : Path
            Its partial file: `fsmcollect.storage.temporary_path` of what `Workspace.place` gave.

        Returns
        -------
        Movie or None
            None for what is no movie.

        Raises
        ------
        StorageError
            The disk refused, or there is another file at its place. The journal tells whether it is registered.
        StreamClosed
            The sets are closed.
        ValueError
            It is known already, or no movie may be registered yet: a bug of the caller.
        """
        path, size_bytes = verified.path, verified.size_bytes
        file, source = self._places(verified.kind, path, part)
        # Outside the lock: it waits for the disk, and other files need not wait for this one's bytes.
        synced = self._synced(source, size_bytes)
        with self._lock:
            self._refuse_late(f"{path} is not registered any more")
            if verified.kind is Kind.MOVIE and self._facts is None:
                raise ValueError(f"{path}: a movie before the sets were begun")
            self._get_even()
            self._refuse_known(path)
            with self._workspace.naming(source):
                self._refuse_other(source, synced)
                self._refuse_occupied(file)
                movie = self._record(verified, file)
                self._unplaced = source, file
                self._settle()
            if movie is not None:
                self._tell(movie)
            return movie

    def _record(self, verified: Verified, file: str) -> Movie | None:
        at = self._clock().strftime(_SECONDS)
        if verified.kind is not Kind.MOVIE:
            self._journal.add_gain(verified, file, at)
            self.gains += 1
            return None
        movie = self._journal.add_movie(verified, file, at)
        self.registered += 1
        self.registered_bytes += verified.size_bytes
        self._behind = set(range(len(self._outputs)))
        return movie

    def reject(self, path: str, part: Path, reason: str, size_bytes: int, sha256: str | None) -> Path:
        """Set a file aside that is not what its name says, with the reason beside it; returns where it is now.

        Raises as `register`; `StorageError` also for a missing movie, which is registered and cannot be rejected.
        """
        source = self._workspace.file_at(part)
        file = self._workspace.rejected_file_of(path)
        place = self._workspace.rejected_place(path)
        # SQLite keeps no text that UTF-8 cannot say; a reason may quote the file.
        reason = reason.encode(errors="backslashreplace").decode()
        aside = SetAside(path=path, part=source, file=file, reason=reason, size_bytes=size_bytes, sha256=sha256)
        synced = self._synced(source, size_bytes)
        with self._lock:
            self._refuse_late(f"{path} is not set aside any more")
            self._get_even()
            if (movie := self._missing(path)) is not None:
                raise _lost(movie, reason)
            self._refuse_known(path)
            with self._workspace.naming(source):
                self._refuse_other(source, synced)
                self._refuse_occupied(file)
                self._journal.add_rejected(aside, self._clock().strftime(_SECONDS))
                self.rejected += 1
                self._set_aside(aside)
            return place

    def restore(self, path: str, part: Path, sha256: str | None, size_bytes: int) -> Movie:
        """Put a missing movie back, if it is the very file that was registered.

        Parameters
        ----------
        sha256 : str or None
            Of the partial file; None has it read where a checksum was registered.

        Raises
        ------
        OtherFile
            It is another file than the one that was registered; its partial file stays as it is.
        StorageError
            The disk refused.
        """
        file, source = self._places(Kind.MOVIE, path, part)
        synced = self._synced(source, size_bytes)
        with self._lock:
            self._refuse_late(f"{path} is not put back any more")
            self._get_even()
            movie = self._missing(path)
            if movie is None:
                raise ValueError(f"{path}: not missing")
            if movie.sha256 is not None and sha256 is None:
                sha256 = self._workspace.sha256(source)
            if size_bytes != movie.size_bytes or (movie.sha256 is not None and sha256 != movie.sha256):
                raise _lost(movie, f"{size_bytes} bytes, SHA-256 {sha256 or 'unknown'}")
            with self._workspace.naming(source):
                self._refuse_other(source, synced)
                self._refuse_occupied(file)
                # From here on the next run would put it back, too.
                self._journal.trust_part(path)
                self._unplaced = source, file
                self._settle()
            self.missing.remove(movie)
            return movie

    def show(self) -> None:
        """Let readers see what an output holds back for its pace. Call it now and then, also when nothing arrives.

        Raises
        ------
        StorageError
            An output refused; it is made whole with the next movie or at the close.
        """
        with self._lock:
            if self._facts is None or self._closing or self._behind:
                return
            for index, output in enumerate(self._outputs):
                try:
                    output.show()
                except StorageError:
                    self._behind.add(index)
                    raise

    # --------------------------------------------------------------------------------------------------------- ending

    def close(self, outcome: str) -> None:
        """Close every set: each holds what the journal holds, and says that no more will come.

        May be repeated, also with another outcome: the last one counts.

        Whatever is called from now on raises `StreamClosed`. Sets that were never begun are closed all the same where
        an earlier run had left them open.

        Raises
        ------
        StorageError
            All that could not be closed, after all have been tried. The journal stays open then, so that a resume
            completes it; so does another `close`.
        """
        with self._lock:
            self._closing = True
            facts = self._facts if self._facts is not None else self._journal.facts
            never_open = self._asked is None and self._facts is None and self._journal.state == "closed"
            if never_open or self._closed_as == outcome:
                return
            if self._asked not in (None, outcome):  # an output that is closed keeps what it was closed as
                self._behind = set(range(len(self._outputs)))
            self._asked, self._closed_as = outcome, None
            failures: list[str] = []
            _attempt(failures, self.recover)
            _attempt(failures, self._settle)
            for index, output in enumerate(self._outputs if facts is not None else ()):
                _attempt(failures, self._renew, index)
                _attempt(failures, output.close, outcome)
            if not failures:
                _attempt(failures, self._journal.end, outcome)
            if failures:
                raise StorageError("; ".join(dict.fromkeys(failures)))
            self._closed_as = outcome

    # ---------------------------------------------------------------------------------------------------------- inside

    def _missing(self, path: str) -> Movie | None:
        return next((movie for movie in self.missing if movie.path == path), None)

    def _places(self, kind: Kind, path: str, part: Path) -> tuple[str, str]:
        place = self._workspace.place(kind, path)
        if part != temporary_path(place):
            raise ValueError(f"{part} is not the partial file of {place}")
        return self._workspace.file_at(place), self._workspace.file_at(part)

    def _synced(self, source: str, size_bytes: int) -> os.stat_result:
        found = self._workspace.sync(source)
        if found.st_size != size_bytes:
            raise StorageError(f"{source} has {found.st_size} bytes, and {size_bytes} were checked: fetch it again")
        return found

    def _refuse_late(self, consequence: str) -> None:
        if self._closing:
            raise StreamClosed(f"the stream is closed: {consequence}")

    def _refuse_known(self, path: str) -> None:
        if self._journal.is_known(path):
            raise ValueError(f"{path} is registered or rejected already")

    def _refuse_occupied(self, file: str) -> None:
        if self._workspace.status(file) is not None:
            raise StorageError(f"{file} exists already and is not of this stream: move it away, then resume")

    def _refuse_other(self, source: str, synced: os.stat_result) -> None:
        """Somebody has begun the partial file afresh since its bytes were looked at: this call came too late."""
        found = self._workspace.status(source)
        if found is None or not os.path.samestat(found, synced) or found.st_size != synced.st_size:
            raise StorageError(f"{source} is another file than the one that was checked: fetch it again")

    def _get_even(self) -> None:
        """Before anything is registered, all that was registered before is at its place and told."""
        self.recover()
        self._settle()
        if self._facts is not None:
            self._catch_up()

    def _settle(self) -> None:
        if self._unplaced is not None:
            source, file = self._unplaced
            if self._workspace.status(source) is None and self._workspace.status(file) is not None:
                self._workspace.sync_folder(file)
            else:
                self._refuse_occupied(file)
                self._workspace.rename(source, file)
            self._unplaced = None

    def _tell(self, movie: Movie) -> None:
        failures: list[str] = []
        for index, output in enumerate(self._outputs):
            if _attempt(failures, output.append, movie):
                self._behind.discard(index)
        if failures:
            raise StorageError("; ".join(failures))

    def _catch_up(self) -> None:
        for index in range(len(self._outputs)):
            self._renew(index)

    def _renew(self, index: int) -> None:
        """Have an output that is behind hold everything that is at its place."""
        facts = self._facts if self._facts is not None else self._journal.facts
        if index in self._behind and facts is not None:
            movies = self._journal.movies()
            last_is_unplaced = self._unplaced is not None and bool(movies) and movies[-1].file == self._unplaced[1]
            self._outputs[index].open(facts, self._journal.movies(len(movies) - last_is_unplaced))
            if not last_is_unplaced:
                self._behind.discard(index)

    def _roll_forward(self, path: str, part: str, file: str, size_bytes: int) -> bool:
        """Whether the file that the journal names is at its place, now that all has been done to bring it there."""
        if self._workspace.is_file(file, size_bytes):
            return True
        if self._workspace.status(file) is not None:
            raise StorageError(
                f"{file} is not the file of {size_bytes} bytes that was registered: move it away, then resume"
            )
        # A part that is noted as one is being fetched for the second time, and nobody has checked it yet.
        if self._journal.is_part(path) or not self._workspace.is_file(part, size_bytes):
            return False
        self._workspace.rename(part, file)
        return True

    def _set_aside(self, aside: SetAside) -> None:
        if self._roll_forward(aside.path, aside.part, aside.file, aside.size_bytes):
            note = _reason_file(aside.file)
            if self._workspace.status(note) is None:
                self._workspace.write_note(note, aside.reason + "\n")


def _attempt(failures: list[str], work: Callable[[*Args], object], *args: *Args) -> bool:
    try:
        work(*args)
    except StorageError as error:
        failures.append(str(error))
        return False
    return True


def _lost(movie: Movie, now: str) -> OtherFile:
    return OtherFile(
        f"{movie.file} is gone, and what the archive has now is not what was registered: registered were "
        f"{movie.size_bytes} bytes, SHA-256 {movie.sha256 or 'unknown'}; now {now}. Put the file back, or begin again "
        "in another directory"
    )


def _part_of(file: str) -> str:
    folder, _, name = file.rpartition("/")
    return f"{folder}/.{name}.part"


def _reason_file(file: str) -> str:
    """Beside a rejected file; where its name is too long for that, a shorter one of its own."""
    folder, _, name = file.rpartition("/")
    room = _LONGEST_NAME - len(f".{_REASON}.part")
    if len(encoded := name.encode()) > room:
        mark = hashlib.sha256(encoded).hexdigest()[:8]
        name = encoded[: room - len(mark) - 1].decode(errors="ignore") + f"~{mark}"
    return f"{folder}/{name}{_REASON}"
