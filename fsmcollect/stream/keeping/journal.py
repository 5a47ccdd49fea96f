"""The truth about a stream: what is registered, in ``journal.sqlite``.

Owns that file, its schema and when a row is on the disk. A movie is registered at the moment its row is committed, and
every output can be made again from the rows. Owns no other file: what lies where is the registry's business.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import attrs

from fsmcollect.stream.keeping import journal_file
from fsmcollect.stream.values import Header, Kind, Movie, Optics, Remote, SetFacts, Verified

#: Rows read at a time: 100,000 movies are never in memory at once.
_BLOCK = 500
_COLUMNS = ("number", "file", "path", "size_bytes", "sha256", "header", "imageset", "pixel_size_a", "registered_at")
_MOVIE = ", ".join(_COLUMNS)
_ADD_MOVIE = f"INSERT INTO movies ({_MOVIE}) VALUES (:{', :'.join(_COLUMNS)})"


@attrs.frozen(kw_only=True)
class Gain:
    """A registered gain reference or defect map."""

    kind: Kind
    #: Where it lies below the output directory: ``gain/data/Movies/CountRef.mrc``.
    file: str
    path: str
    size_bytes: int
    sha256: str | None


@attrs.frozen(kw_only=True)
class SetAside:
    """A file that is not what its name says.

    Attributes
    ----------
    part : str
        The partial file it was, below the output directory.
    file : str
        Where it lies now, below the output directory: ``rejected/data/Movies/a.mrc``.
    """

    path: str
    part: str
    file: str
    reason: str
    size_bytes: int
    sha256: str | None


def boot() -> str:
    """What names this start of the machine; empty where the system does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


class Movies(Sequence[Movie]):
    """The first `length` movies of a journal, read from the disk when they are looked at."""

    __slots__ = ("_journal", "_length")

    def __init__(self, journal: Journal, length: int) -> None:
        self._journal = journal
        self._length = length

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Movie]:
        return self._journal.read_movies(1, self._length + 1)

    @overload
    def __getitem__(self, index: int) -> Movie: ...
    @overload
    def __getitem__(self, index: slice) -> list[Movie]: ...
    def __getitem__(self, index: int | slice) -> Movie | list[Movie]:
        # Movie number n is movies[n - 1]: numbers have no gaps.
        if isinstance(index, slice):
            start, stop, step = index.indices(self._length)
            if step != 1:
                return [self[each] for each in range(start, stop, step)]
            return list(self._journal.read_movies(start + 1, stop + 1))
        number = range(1, self._length + 1)[index]
        return next(self._journal.read_movies(number, number + 1))


class Journal:
    """The journal of one stream. Every method may be called from any thread.

    Made by `create` or `open`. What writes has its rows on the disk when it returns; `StorageError` where the disk
    refuses, and then nothing of that call is in the journal.

    Attributes
    ----------
    path : Path
    accession : str
        ``10200``.
    settings : dict
        As they were given to `create`.
    facts : SetFacts or None
        None until the sets are begun.
    state : str
        ``open`` or ``closed``.
    outcome : str or None
        Of the run that closed it.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        """Not for callers: use `create` or `open`."""
        self.path = path
        self._connection = connection
        self._lock = threading.RLock()
        self._boot = boot()
        self._headers: dict[str, Header] = {}
        row = connection.execute("SELECT accession, settings, facts, state, outcome FROM stream").fetchone()
        accession, settings, facts, state, outcome = row
        self.accession: str = accession
        self.state: str = state
        self.outcome: str | None = outcome
        self.settings: dict[str, Any] = dict(json.loads(settings))
        self.facts: SetFacts | None = None if facts is None else _facts(dict(json.loads(facts)))
        (count,) = connection.execute("SELECT count(*) FROM movies").fetchone()
        self._movies: int = count

    @classmethod
    def create(cls, path: Path, accession: str, settings: Mapping[str, Any]) -> Journal:
        """Make the journal of a new stream; it appears whole or not at all.

        Raises
        ------
        StorageError
            The disk refused, or there is a journal already.
        """
        journal_file.make(path, accession, settings)
        try:
            return cls(path, journal_file.connect(path, "rw"))
        except sqlite3.Error as error:
            raise journal_file.refused("read", path, error) from error

    @classmethod
    def open(cls, path: Path) -> Journal:
        """Open the journal of a stream to be gone on with.

        Raises
        ------
        InvalidRequest
            There is none, or it is not one that this fsmcollect can read.
        StorageError
            The disk refused.
        """
        journal_file.refuse_absent(path)
        connection: sqlite3.Connection | None = None
        try:
            connection = journal_file.connect(path, "rw")
            journal_file.check(path, connection)
            return cls(path, connection)
        except BaseException as error:
            if connection is not None:
                connection.close()
            if isinstance(error, sqlite3.OperationalError) and "no such" not in str(error):
                raise journal_file.refused("read", path, error) from error
            if isinstance(error, sqlite3.DatabaseError | ValueError | TypeError | KeyError):
                raise journal_file.invalid(path, journal_file.damaged(error)) from error
            raise

    def close(self) -> None:
        """Let go of the file. Whoever comes later gets a `StorageError`."""
        with self._lock, contextlib.suppress(sqlite3.Error):
            # Takes the empty rollback file away.
            self._connection.execute("PRAGMA journal_mode = DELETE").fetchone()
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def keep_settings(self, settings: Mapping[str, Any]) -> None:
        """From now on the stream is asked for this."""
        with self._writing() as connection:
            connection.execute("UPDATE stream SET settings = ?", (json.dumps(dict(settings)),))
        self.settings = dict(settings)

    # ------------------------------------------------------------------------------------------------- what is there

    def movies(self, upto: int | None = None) -> Movies:
        """The registered movies in their order, or the first `upto` of them: a view that does not grow."""
        return Movies(self, self._movies if upto is None else upto)

    def read_movies(self, start: int, stop: int) -> Iterator[Movie]:
        """Movies number `start` to `stop - 1`, block by block."""
        query = f"SELECT {_MOVIE} FROM movies WHERE number >= ? AND number < ? ORDER BY number"
        for begin in range(start, stop, _BLOCK):
            for row in self._rows(query, begin, min(begin + _BLOCK, stop)):
                yield self._movie(row)

    def movies_bytes(self) -> int:
        return int(self._scalar("SELECT coalesce(sum(size_bytes), 0) FROM movies"))

    def gains(self) -> list[Gain]:
        rows = self._rows("SELECT kind, file, path, size_bytes, sha256 FROM gains ORDER BY number")
        return [Gain(kind=Kind(row[0]), file=row[1], path=row[2], size_bytes=row[3], sha256=row[4]) for row in rows]

    def rejected(self) -> list[SetAside]:
        rows = self._rows("SELECT path, part, file, reason, size_bytes, sha256 FROM rejected ORDER BY number")
        return [
            SetAside(path=path, part=part, file=file, reason=reason, size_bytes=size_bytes, sha256=sha256)
            for path, part, file, reason, size_bytes, sha256 in rows
        ]

    def is_known(self, path: str) -> bool:
        """Whether it is registered or rejected: nothing more is to be done for it."""
        tables = ("movies", "gains", "rejected")
        query = " OR ".join(f"EXISTS (SELECT 1 FROM {table} WHERE path = ?1)" for table in tables)
        return bool(self._scalar(f"SELECT {query}", path))

    # ------------------------------------------------------------------------------------------------- partial files

    def part(self, path: str) -> Remote | None:
        """What the partial file of `path` is a part of; None where it cannot be gone on with.

        A part that was written before the machine was started again is not trusted: bytes that had not reached the
        disk may read as zeros.
        """
        rows = self._rows("SELECT size_bytes, validator, boot FROM parts WHERE path = ?", path)
        if not rows or not self._boot or rows[0][2] != self._boot:
            return None
        return Remote(size_bytes=rows[0][0], validator=rows[0][1])

    def is_part(self, path: str) -> bool:
        """Whether a partial file of `path` was begun and has not become anything yet, whenever that was."""
        return bool(self._scalar("SELECT EXISTS (SELECT 1 FROM parts WHERE path = ?)", path))

    def note_part(self, path: str, remote: Remote) -> None:
        """Call when a partial file is begun, before its first byte is written."""
        row = (path, remote.size_bytes, remote.validator, self._boot)
        with self._writing() as connection:
            connection.execute("INSERT OR REPLACE INTO parts VALUES (?, ?, ?, ?)", row)

    def drop_part(self, path: str) -> None:
        """What has arrived of it is worthless: it cannot be gone on with, and is never taken for a checked file."""
        with self._writing() as connection:
            connection.execute("UPDATE parts SET boot = '' WHERE path = ?", (path,))

    # --------------------------------------------------------------------------------- what only the registry may do

    def add_movie(self, verified: Verified, file: str, registered_at: str) -> Movie:
        """Register a movie: when this returns, it is."""
        if verified.header is None:
            raise ValueError(f"{verified.path}: a movie without a header")
        with self._lock:
            movie = Movie(
                number=self._movies + 1,
                file=file,
                path=verified.path,
                size_bytes=verified.size_bytes,
                sha256=verified.sha256,
                header=verified.header,
                imageset=verified.imageset,
                pixel_size_a=verified.pixel_size_a,
                registered_at=registered_at,
            )
            row = attrs.asdict(movie, recurse=False) | {"header": json.dumps(attrs.asdict(movie.header))}
            with self._writing(done_with=movie.path) as connection:
                connection.execute(_ADD_MOVIE, row)
            self._movies = movie.number
            return movie

    def add_gain(self, verified: Verified, file: str, registered_at: str) -> None:
        row = (verified.path, verified.kind.value, file, verified.size_bytes, verified.sha256, registered_at)
        with self._writing(done_with=verified.path) as connection:
            connection.execute("INSERT INTO gains VALUES (NULL, ?, ?, ?, ?, ?, ?)", row)

    def trust_part(self, path: str) -> None:
        """Say that the partial file of a registered movie is that movie, checked and on the disk."""
        with self._writing(done_with=path):
            pass

    def forget_gain(self, path: str) -> None:
        """Its file is gone: it is to be fetched again."""
        with self._writing() as connection:
            connection.execute("DELETE FROM gains WHERE path = ?", (path,))

    def add_rejected(self, aside: SetAside, rejected_at: str) -> None:
        row = (aside.path, aside.part, aside.file, aside.reason, aside.size_bytes, aside.sha256, rejected_at)
        with self._writing(done_with=aside.path) as connection:
            connection.execute("INSERT INTO rejected VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)", row)

    def begin(self, facts: SetFacts) -> None:
        """The sets are open from now on."""
        with self._writing() as connection:
            text = json.dumps(attrs.asdict(facts))
            connection.execute("UPDATE stream SET facts = ?, state = 'open', outcome = NULL", (text,))
        self.facts, self.state, self.outcome = facts, "open", None

    def end(self, outcome: str) -> None:
        """Every output says that it is closed."""
        with self._writing() as connection:
            connection.execute("UPDATE stream SET state = 'closed', outcome = ?", (outcome,))
        self.state, self.outcome = "closed", outcome

    # ---------------------------------------------------------------------------------------------------------- inside

    @contextlib.contextmanager
    def _writing(self, *, done_with: str | None = None) -> Generator[sqlite3.Connection]:
        """One transaction, on the disk when the block has ended; `done_with` has no part any more."""
        with self._lock:
            connection = self._connection
            try:
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                if done_with is not None:
                    connection.execute("DELETE FROM parts WHERE path = ?", (done_with,))
                connection.execute("COMMIT")
            except BaseException as error:
                with contextlib.suppress(sqlite3.Error):
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                if isinstance(error, sqlite3.Error):
                    raise journal_file.refused("write", self.path, error) from error
                raise

    def _rows(self, query: str, *values: object) -> list[Any]:
        try:
            with self._lock:
                return self._connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise journal_file.refused("read", self.path, error) from error

    def _scalar(self, query: str, *values: object) -> Any:
        return self._rows(query, *values)[0][0]

    def _movie(self, row: tuple[Any, ...]) -> Movie:
        number, file, path, size_bytes, sha256, header, imageset, pixel_size_a, registered_at = row
        # Nearly all movies of an entry have the same header: they share one.
        if header not in self._headers:
            try:
                self._headers[header] = Header(**json.loads(header))
            except (TypeError, ValueError) as error:
                raise journal_file.invalid(self.path, journal_file.damaged(error)) from error
        return Movie(
            number=number,
            file=file,
            path=path,
            size_bytes=size_bytes,
            sha256=sha256,
            header=self._headers[header],
            imageset=imageset,
            pixel_size_a=pixel_size_a,
            registered_at=registered_at,
        )


def _facts(found: dict[str, Any]) -> SetFacts:
    optics, gains = Optics(**found.pop("optics")), tuple(found.pop("gains"))
    return SetFacts(optics=optics, gains=gains, **found)
