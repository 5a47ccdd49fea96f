"""``movies.sqlite``: a Scipion SetOfMovies that grows while Scipion reads it.

Owns that file. Needs no Scipion; `tests/readers_scipion` reads what is written here with the real one.

How a reader looks decides how this writes (pyworkflow 3.11): it polls the time of the file, loads all properties, then
the rows; asking whether the stream is still open it waits 3 s for a lock and takes every failure for "closed". So:

- Journal mode DELETE, never WAL: with WAL the file's time stands still and rows stay invisible.
- A movie is one short transaction, and nothing is synced while readers are locked out: on a busy disk that takes
  seconds. The journal of the run is durable; what a power failure leaves here is compared and made anew by `open`.
- Where a reader holds the file, give way to other readers between attempts.
- The file is made under a hidden name: opened where there is none, pwem makes an empty one, and cannot read that.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from urllib.parse import quote

from fsmcollect.errors import InvalidRequest, Problem, StorageError
from fsmcollect.storage import storage_error, sync_directory, temporary_path
from fsmcollect.stream.outputs.lines import refuse_link
from fsmcollect.stream.values import Movie, Optics, SetFacts

#: How long a reader may hold the file.
PATIENCE_S = 30.0
#: One attempt: while it waits, SQLite lets no new reader in, and those give up after 3 s.
_ATTEMPT_S = 1.0
_GIVE_WAY_S = 0.2
#: More rows than this are added by writing the file anew, so that no transaction keeps readers out for long.
_MAX_ADDED = 1000
_USER_VERSION = 1
_OPEN, _CLOSED = "1", "2"

#: Attributes of a Movie as pwem 3.11 stores them, and their classes; their columns are c01, c02, ...
_ATTRIBUTES = (
    ("_index", "Integer"),
    ("_filename", "String"),
    ("_samplingRate", "Float"),
    ("_acquisition", "Acquisition"),
    ("_acquisition._magnification", "Float"),
    ("_acquisition._voltage", "Float"),
    ("_acquisition._sphericalAberration", "Float"),
    ("_acquisition._amplitudeContrast", "Float"),
    ("_acquisition._doseInitial", "Float"),
    ("_acquisition._dosePerFrame", "Float"),
    ("_acquisition.opticsGroupInfo", "String"),
    ("_micName", "String"),
    ("_framesRange", "FramesRange"),
)
_CLASSES = [
    (number, name, f"c{number - 1:02}", class_name)
    for number, (name, class_name) in enumerate([("self", "Movie"), *_ATTRIBUTES], start=1)
]
_SQL_TYPES = {"Integer": "INTEGER", "Float": "REAL"}
_COLUMNS = ", ".join(f"{row[2]} {_SQL_TYPES.get(row[3], 'TEXT')} DEFAULT NULL" for row in _CLASSES[1:])
_TABLES = {
    "Properties": "CREATE TABLE Properties (key TEXT UNIQUE, value TEXT DEFAULT NULL)",
    "Classes": "CREATE TABLE Classes (id INTEGER PRIMARY KEY AUTOINCREMENT, label_property TEXT UNIQUE, "
    "column_name TEXT UNIQUE, class_name TEXT DEFAULT NULL)",
    "Objects": "CREATE TABLE Objects (id INTEGER PRIMARY KEY, enabled INTEGER DEFAULT 1, label TEXT DEFAULT NULL, "
    f"comment TEXT DEFAULT NULL, creation DATE, {_COLUMNS})",
}
_INSERT_MOVIE = f"INSERT INTO Objects VALUES ({', '.join('?' * (5 + len(_ATTRIBUTES)))})"

_Value = str | int | float | None
_Row = tuple[_Value, ...]
_Change = tuple[str, _Row]


class Scipion:
    """The movies as Scipion's SetOfMovies.

    Parameters
    ----------
    directory : Path
        The output directory, absolute.
    patience_s : float
        How long to wait for a reader that holds the file.

    Raises
    ------
    InvalidRequest
        The directory has a name under which Scipion cannot read a set.
    """

    name = "scipion"

    def __init__(self, directory: Path, patience_s: float = PATIENCE_S) -> None:
        _check_readable(directory)
        self.path = directory / "movies.sqlite"
        self._directory = directory
        self._patience_s = patience_s
        #: Since when another program has kept it locked, and until when that is borne; None while nobody does. One
        #: patience for all who wait: else each of many jobs would bear it anew.
        self._borne_until_s: float | None = None
        self._optics = Optics()
        self._database: sqlite3.Connection | None = None
        self._is_closed = False

    def open(self, facts: SetFacts, movies: Sequence[Movie]) -> None:
        self._disconnect()
        self._is_closed = False
        refuse_link(self.path)
        try:
            with self._storing():
                self._open(facts, movies)
        except BaseException:
            self._disconnect()
            raise

    def _open(self, facts: SetFacts, movies: Sequence[Movie]) -> None:
        known = self._agreeing(facts, movies)
        if known is None or len(movies) - known > _MAX_ADDED:
            self._build(facts, movies)
            known = len(movies)
        self._optics = facts.optics
        self._database = self._connect(self.path, _ATTEMPT_S)
        stored = dict(self._database.execute("SELECT key, value FROM Properties"))
        changes: list[_Change] = [(_INSERT_MOVIE, self._row(movie, facts.optics)) for movie in movies[known:]]
        changes += [_set(key, value) for key, value in self._properties(facts, movies).items() if stored[key] != value]
        if changes:
            self._commit(self._database, changes)

    def append(self, movie: Movie) -> None:
        changes: list[_Change] = [(_INSERT_MOVIE, self._row(movie, self._optics)), _set("_size", str(movie.number))]
        if movie.number == 1:
            changes += [_set(key, value) for key, value in _first(movie).items()]
        with self._storing():
            self._commit(self._opened(), changes)

    def show(self) -> None:
        """Every movie can be seen at once."""

    def close(self, outcome: str) -> None:
        if self._is_closed:
            return
        with self._storing():
            self._commit(self._opened(), [_set("_streamState", _CLOSED)])
            # Closed first: closing any descriptor of a file takes away the locks that SQLite holds on it (POSIX).
            self._disconnect()
            _sync(self.path)
            self._is_closed = True

    # ---------------------------------------------------------------------------------------------------- what is said

    def _row(self, movie: Movie, optics: Optics) -> _Row:
        creation = movie.registered_at.replace("T", " ").removesuffix("Z")
        return (
            *(movie.number, 1, "", "", creation),
            *(0, str(self._directory / movie.file), movie.pixel_size_a),
            *_acquisition(optics),
            *(movie.file.rpartition("/")[2], _frames_range(movie)),
        )

    def _properties(self, facts: SetFacts, movies: Sequence[Movie]) -> dict[str, str | None]:
        """In the order in which pwem stores them; False, None and -None are its texts for these defaults."""
        members = (name for name, _ in _ATTRIBUTES if name.startswith("_acquisition"))
        return {
            "self": "SetOfMovies",
            "_size": str(len(movies)),
            "_streamState": _OPEN,
            "_mapperPath": f"{self.path}, ",
            "_samplingRate": _text(facts.pixel_size_a),
            "_hasCtf": "False",
            "_alignment": "None",
            "_isPhaseFlipped": "False",
            "_isAmplitudeCorrected": "False",
            **dict(zip(members, map(_text, _acquisition(facts.optics)), strict=True)),
            "_firstDim": None,
            "_scannedPixelSize": None,
            # Which of several belongs to which movie is not known here.
            "_gainFile": str(self._directory / facts.gains[0]) if len(facts.gains) == 1 else None,
            "_darkFile": None,
            "_firstFramesRange": "1,0,1",
            **(_first(movies[0]) if movies else {}),
        }

    # ------------------------------------------------------------------------------------------------------ the file

    def _agreeing(self, facts: SetFacts, movies: Sequence[Movie]) -> int | None:
        """How many movies are stored, all of them exactly as they should be; None where the file is to be made anew."""
        if not self.path.exists():
            return None
        try:
            patience_s = self._patience_s if self._borne_until_s is None else self._left_s()
            with contextlib.closing(self._connect(self.path, patience_s)) as database:
                # Only a file that somebody else has changed is not.
                database.execute("PRAGMA journal_mode = DELETE")
                return self._examine(database, facts, movies)
        except sqlite3.Error as error:
            if _is_busy(error):
                raise
            return None

    def _examine(self, database: sqlite3.Connection, facts: SetFacts, movies: Sequence[Movie]) -> int | None:
        tables = dict(database.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
        tables.pop("sqlite_sequence", None)
        if tables != _TABLES or database.execute("PRAGMA user_version").fetchone() != (_USER_VERSION,):
            return None
        if database.execute("PRAGMA integrity_check(1)").fetchone() != ("ok",):
            return None
        if database.execute("SELECT * FROM Classes ORDER BY id").fetchall() != _CLASSES:
            return None
        # Their values may differ: a set that was closed, a gain reference that came later.
        properties = dict(database.execute("SELECT key, value FROM Properties"))
        if properties.keys() != self._properties(facts, movies).keys():
            return None
        known = 0
        for known, row in enumerate(database.execute("SELECT * FROM Objects ORDER BY id"), start=1):
            if known > len(movies) or row != self._row(movies[known - 1], facts.optics):
                return None
        return known

    def _build(self, facts: SetFacts, movies: Sequence[Movie]) -> None:
        temporary = temporary_path(self.path)
        _remove(temporary, temporary.with_name(f"{temporary.name}-journal"))
        # Made here, so that SQLite follows no link.
        os.close(os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
        with contextlib.closing(self._connect(temporary, _ATTEMPT_S)) as database:
            database.execute("PRAGMA journal_mode = OFF")
            database.execute("BEGIN")
            for table in _TABLES.values():
                database.execute(table)
            database.executemany("INSERT INTO Classes VALUES (?, ?, ?, ?)", _CLASSES)
            database.executemany(_INSERT_MOVIE, (self._row(movie, facts.optics) for movie in movies))
            database.executemany("INSERT INTO Properties VALUES (?, ?)", self._properties(facts, movies).items())
            database.execute(f"PRAGMA user_version = {_USER_VERSION}")
            database.execute("COMMIT")
        _sync(temporary)
        # What SQLite had left beside the file that is replaced would be rolled back into the new one.
        _remove(*(self.path.with_name(f"{self.path.name}-{kind}") for kind in ("journal", "wal", "shm")))
        temporary.replace(self.path)
        sync_directory(self.path.parent)

    def _connect(self, path: Path, timeout_s: float) -> sqlite3.Connection:
        """Never makes a file. Threads take turns: the registry calls from whichever has its lock."""
        uri = f"file:{quote(str(path))}?mode=rw"
        database = sqlite3.connect(uri, uri=True, timeout=timeout_s, isolation_level=None, check_same_thread=False)
        database.execute("PRAGMA synchronous = OFF")
        return database

    def _commit(self, database: sqlite3.Connection, changes: Sequence[_Change]) -> None:
        """All of the changes or none, as soon as readers allow it."""
        while True:
            try:
                database.execute("BEGIN IMMEDIATE")
                for statement, values in changes:
                    database.execute(statement, values)
                database.execute("COMMIT")
                self._borne_until_s = None
                return
            except sqlite3.Error as error:
                if database.in_transaction:
                    database.execute("ROLLBACK")
                if not _is_busy(error) or self._left_s() <= 0.0:
                    raise
            time.sleep(_GIVE_WAY_S)

    def _left_s(self) -> float:
        """How long a program that keeps it locked, as it is said to just now, is still waited for."""
        if self._borne_until_s is None:
            self._borne_until_s = time.monotonic() + self._patience_s
        return max(self._borne_until_s - time.monotonic(), 0.0)

    def _opened(self) -> sqlite3.Connection:
        if self._database is None:
            raise StorageError(f"{self.path} is not open")
        return self._database

    def _disconnect(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    @contextlib.contextmanager
    def _storing(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            raise storage_error("write", self.path, error) from error
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL:
                raise storage_error("write", self.path, OSError(errno.ENOSPC, "")) from error
            if _is_busy(error):
                advice = f"another program has kept it locked for {self._patience_s:g} s: end that program, then resume"
            else:
                advice = f"{error}; mend the disk or choose another directory, then resume"
            raise StorageError(f"cannot write {self.path}: {advice}") from error


def _check_readable(directory: Path) -> None:
    """Refuse a directory in which Scipion would not find the set, or take it for closed.

    It keeps the path in a list with commas, and asks for the state by a URI that it does not quote.
    """
    text = str(directory)
    wrong = [character for character in ",?#%" if character in text]
    if wrong or not text.isprintable():
        allowed = "Scipion reads no set in a directory whose name has " + (
            " or ".join(map(repr, wrong)) or "characters that are not printable"
        )
        advice = "choose another directory, or leave out the output scipion"
        raise InvalidRequest([Problem(field="--out", value=ascii(text)[1:-1], allowed=f"{allowed}: {advice}")])


def _acquisition(optics: Optics) -> _Row:
    """Values of ``_acquisition`` and its members; unknown ones are NULL.

    Who states a dose per frame states that counting begins with the first frame: Scipion adds the dose before it to
    that, and cannot add to NULL.
    """
    dose = optics.dose_per_frame_e_per_a2
    dose_before = None if dose is None else 0.0
    microscope = (optics.voltage_kv, optics.spherical_aberration_mm, optics.amplitude_contrast)
    return (None, None, *microscope, dose_before, dose, None)


def _first(movie: Movie) -> dict[str, str | None]:
    """What the set says of its first movie, so that a reader need not open it."""
    header = movie.header
    return {
        "_firstDim": f"{header.width_px},{header.height_px},{header.frames}",
        "_firstFramesRange": _frames_range(movie),
    }


def _frames_range(movie: Movie) -> str:
    """First and last frame, and where in the file the first one is."""
    return f"1,{movie.header.frames},1"


def _text(value: _Value) -> str | None:
    return None if value is None else str(value)


def _set(key: str, value: str | None) -> _Change:
    return "UPDATE Properties SET value = ? WHERE key = ?", (value, key)


def _is_busy(error: sqlite3.Error) -> bool:
    # The low byte is the kind, the rest says more about it.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _remove(*paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
