"""The SQLite file that a journal is: its tables, how it is opened, and what its refusals mean in words.

Owns the schema and its version, and the settings that make a commit durable. Owns no row.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import errno
import json
import os
import sqlite3
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fsmcollect.errors import InvalidRequest, Problem, StorageError
from fsmcollect.storage import storage_error, sync_directory, temporary_path

#: ``PRAGMA user_version``: what the tables below are called.
VERSION = 1
#: ``PRAGMA application_id``, "fsmc": tells our journal from any other SQLite file of that name.
_APPLICATION = 0x66736D63
_FIELD = "--out"
#: How long a person who looks at the journal with another program may hold it, seconds. Assumed.
_BUSY_S = 30.0

_SCHEMA = f"""
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {VERSION};
BEGIN;
CREATE TABLE stream (
    accession TEXT NOT NULL, settings TEXT NOT NULL, facts TEXT,
    state TEXT NOT NULL CHECK (state IN ('open', 'closed')), outcome TEXT, created_at TEXT NOT NULL
);
CREATE TABLE movies (
    number INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, file TEXT NOT NULL, size_bytes INTEGER NOT NULL,
    sha256 TEXT, header TEXT NOT NULL, imageset TEXT NOT NULL, pixel_size_a REAL, registered_at TEXT NOT NULL
);
CREATE TABLE gains (
    number INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, file TEXT NOT NULL,
    size_bytes INTEGER NOT NULL, sha256 TEXT, registered_at TEXT NOT NULL
);
CREATE TABLE rejected (
    number INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, part TEXT NOT NULL, file TEXT NOT NULL,
    reason TEXT NOT NULL, size_bytes INTEGER NOT NULL, sha256 TEXT, rejected_at TEXT NOT NULL
);
CREATE TABLE parts (path TEXT PRIMARY KEY, size_bytes INTEGER NOT NULL, validator TEXT, boot TEXT NOT NULL);
"""
_TABLES = {"stream", "movies", "gains", "rejected", "parts"}


def make(path: Path, accession: str, settings: Mapping[str, Any]) -> None:
    """Make the file with its one row of `stream`; it appears whole or not at all.

    Raises
    ------
    StorageError
        The disk refused, or there is a journal already.
    """
    temporary = temporary_path(path)
    try:
        if os.path.lexists(path):
            raise StorageError(f"{path} exists already: go on with it by --resume, or choose another directory")
        for leftover in (temporary, _rollback_file(temporary)):
            leftover.unlink(missing_ok=True)
        with contextlib.closing(connect(temporary, "rwc")) as connection:
            connection.executescript(_SCHEMA)
            row = (accession, json.dumps(dict(settings)), dt.datetime.now(dt.UTC).isoformat("T", "seconds"))
            connection.execute("INSERT INTO stream VALUES (?, ?, NULL, 'open', NULL, ?)", row)
            connection.execute("COMMIT")
            connection.execute("PRAGMA journal_mode = DELETE").fetchone()
        temporary.rename(path)
        sync_directory(path.parent)
    except sqlite3.Error as error:
        raise refused("make", path, error) from error
    except OSError as error:
        raise storage_error("make", path, error) from error


def refuse_absent(path: Path) -> None:
    """There is no journal, or what has its name is something else."""
    try:
        for name in (path, _rollback_file(path)):
            if not stat.S_ISREG(name.lstat().st_mode):
                raise invalid(path, f"{name.name} there is not a regular file: choose another directory")
    except FileNotFoundError as error:
        if error.filename == str(path):
            raise invalid(path, "holds no stream to go on with: leave out --resume") from error
    except OSError as error:
        raise storage_error("read", path, error) from error


def accession_in(path: Path) -> str | None:
    """Which entry a journal is of, read without a lock and without a write; None where that cannot be told."""
    try:
        # `immutable`: not even a transaction that a kill left behind is rolled back.
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
        try:
            (found,) = connection.execute("SELECT accession FROM stream").fetchone()
        finally:
            connection.close()
    except (sqlite3.Error, TypeError, ValueError):
        return None
    return str(found)


def _rollback_file(path: Path) -> Path:
    return path.with_name(f"{path.name}-journal")


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """Open the file, each commit of which is on the disk when it returns. Raises sqlite3.Error."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=_BUSY_S,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        # Never WAL: it needs memory that the machines of a cluster file system do not share. TRUNCATE rather than
        # DELETE: with FULL, only its end of a transaction is synced, so a power cut cannot take a commit back
        # (https://sqlite.org/pragma.html#pragma_synchronous says so of DELETE, and of EXTRA as the other cure).
        connection.execute("PRAGMA journal_mode = TRUNCATE").fetchone()
        connection.execute("PRAGMA synchronous = FULL")
    except BaseException:
        connection.close()
        raise
    return connection


def check(path: Path, connection: sqlite3.Connection) -> None:
    """Raise what tells that it is not a journal, not one of this version, or damaged (ValueError, sqlite3.Error)."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != _APPLICATION:
        raise invalid(path, f"{path.name} there is not a journal of fsmcollect: choose another directory")
    if version != VERSION:
        says = f"{path.name} there has version {version}, this fsmcollect reads version {VERSION}"
        raise invalid(path, f"{says}: go on with the fsmcollect that made it, or choose another directory")
    (sound,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if sound != "ok":
        raise ValueError(sound)
    found = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if lacking := sorted(_TABLES - found):
        raise ValueError(f"no table {lacking[0]}")
    (rows, last) = connection.execute("SELECT count(*), coalesce(max(number), 0) FROM movies").fetchone()
    if rows != last:
        raise ValueError(f"{rows} movies, the last of which is number {last}")


def invalid(path: Path, allowed: str) -> InvalidRequest:
    """The directory of that journal cannot be gone on with."""
    return InvalidRequest([Problem(field=_FIELD, value=str(path.parent), allowed=allowed)])


def damaged(error: Exception) -> str:
    """Say that something in the journal is not as it was written."""
    reason = " ".join(str(error).split()).rstrip(".")
    return f"journal.sqlite there is damaged ({reason}): choose another directory"


#: SQLite's own words for what the system's numbers say better.
_NUMBERS = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_READONLY: errno.EACCES,
    sqlite3.SQLITE_PERM: errno.EACCES,
}


def refused(action: str, path: Path, error: sqlite3.Error) -> StorageError:
    """What SQLite could not do, in the words of `storage_error`."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StorageError(f"cannot {action} {path}: another program holds it locked; end that program, then resume")
    if code in _NUMBERS:
        return storage_error(action, path, OSError(_NUMBERS[code], ""))
    return storage_error(action, path, OSError(str(error)))
