"""Whether a stream may use a directory, and the lock that says by whom it is used.

Owns `can_open` and the lock; makes and writes nothing else. The lock is the kernel's and ends with the process, however
that ends; its file only says who holds it.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import os
import socket
import stat
from pathlib import Path

from fsmcollect.errors import InvalidRequest, Problem
from fsmcollect.storage import storage_error
from fsmcollect.stream.keeping.journal_file import accession_in

JOURNAL_FILE = "journal.sqlite"
LOCK_FILE = ".fsmcollect.lock"
#: Whoever makes a file of this name ends the stream.
STOP_FILE = "STOP"
FOLDERS = ("movies", "gain", "rejected")
_OUTPUTS = ("movies.sqlite", "movies.star", "movies.jsonl", "SHA256SUMS")
_FIELD = "--out"
_LONGEST_NAME = 255
#: Assumed: with what an archive's path may have below it (`fsmcollect.stream.paths`), less than Linux's 4096.
_LONGEST_PATH = 1000
#: O_NONBLOCK: a pipe or a device in the place of a file is found out, not waited for.
FILE_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_NO_STREAM = "holds no stream to go on with: leave out --resume, or give the directory of one"
_OUTSIDE = "nothing outside {} is touched; move it away, or choose another directory"


def can_open(directory: Path, resume: bool) -> None:
    """Return if `Workspace.open` would succeed now; nothing is made or written.

    Raises
    ------
    InvalidRequest
        As `Workspace.open`.
    StorageError
        The disk refused to be looked at.
    """
    try:
        _refuse_unusable(directory)
        if os.path.lexists(directory):
            root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                _refuse_locked(directory, root)
                refuse_content(directory, root, resume)
            finally:
                os.close(root)
        elif resume:
            raise _invalid(directory, _NO_STREAM)
    except OSError as error:
        raise storage_error("use", directory, error) from error


def foreign(name: str, found: os.stat_result, directory: Path) -> str:
    """What is wrong with a name that is not a file or folder of its own."""
    return f"{name} is {_what(found)}: {_OUTSIDE.format(directory)}"


def _invalid(directory: Path, allowed: str) -> InvalidRequest:
    return InvalidRequest([Problem(field=_FIELD, value=str(directory), allowed=allowed)])


def _what(found: os.stat_result) -> str:
    mode = found.st_mode
    if stat.S_ISREG(mode):
        return "a file that has another name elsewhere" if found.st_nlink > 1 else "a file"
    return "a symbolic link" if stat.S_ISLNK(mode) else "a folder" if stat.S_ISDIR(mode) else "no regular file"


def _refuse_unusable(directory: Path) -> None:
    """No file can be made there."""
    path = directory.absolute()
    if "\0" in str(path):
        raise _invalid(directory, "holds the character NUL, which no path may")
    if (length := len(os.fsencode(path))) > _LONGEST_PATH:
        raise _invalid(directory, f"is a path of {length} bytes; at most {_LONGEST_PATH} are allowed")
    if (longest := max(len(os.fsencode(part)) for part in path.parts)) > _LONGEST_NAME:
        raise _invalid(directory, f"holds a name of {longest} bytes; at most {_LONGEST_NAME} are allowed")
    while not os.path.lexists(path) and path != path.parent:
        path = path.parent
    if not os.path.isdir(path):  # noqa: PTH112 - before Python 3.12 Path.is_dir raises behind a locked directory
        what = "a link that leads to no directory" if path.is_symlink() else "a file"
        raise _invalid(directory, f"{path} is {what}: choose another directory")
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        says = f"{path} is on a disk that is mounted read-only: have it remounted, or choose another directory"
        raise _invalid(directory, says)
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        says = f"{path} cannot be written by this user: make it writable, or choose another directory"
        raise _invalid(directory, says)


def refuse_content(directory: Path, root: int, resume: bool) -> None:
    """Raise InvalidRequest where what is in the directory is not what this stream may find there."""
    found: dict[str, os.stat_result] = {}
    for name in (*FOLDERS, *_OUTPUTS, JOURNAL_FILE, f"{JOURNAL_FILE}-journal", STOP_FILE):
        with contextlib.suppress(FileNotFoundError):
            found[name] = os.stat(name, dir_fd=root, follow_symlinks=False)
    if STOP_FILE in found:
        raise _invalid(directory, f"a file {STOP_FILE} there would end the stream at once: remove it first")
    if resume and JOURNAL_FILE not in found:
        raise _invalid(directory, _NO_STREAM)
    if not resume and JOURNAL_FILE in found:
        accession = accession_in(directory / JOURNAL_FILE) if stat.S_ISREG(found[JOURNAL_FILE].st_mode) else None
        what = "a stream" if accession is None else f"a stream of EMPIAR-{accession}"
        raise _invalid(directory, f"holds {what} already: go on with it by --resume, or choose another directory")
    for name, status in found.items():
        if not resume:
            raise _invalid(directory, f"holds {name} already, which is not of this stream: choose another directory")
        expected = stat.S_ISDIR if name in FOLDERS else stat.S_ISREG
        is_shared = stat.S_ISREG(status.st_mode) and status.st_nlink > 1
        if is_shared or not expected(status.st_mode):
            raise _invalid(directory, foreign(f"{name} there", status, directory))


def take_lock(directory: Path, root: int) -> int:
    """Lock the directory for this process and say so in its file; the descriptor that holds the lock is returned."""
    while True:
        lock = _open_lock(directory, root, os.O_RDWR | os.O_CREAT)
        try:
            _flock(directory, lock, fcntl.LOCK_EX)
            # Whoever had it may have removed it between our two steps: then what we hold is nobody's name any more.
            with contextlib.suppress(FileNotFoundError):
                named = os.stat(LOCK_FILE, dir_fd=root, follow_symlinks=False)
                if os.path.samestat(named, os.fstat(lock)):
                    since = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
                    os.ftruncate(lock, 0)
                    os.pwrite(lock, f"{os.getpid()} {socket.gethostname()} {since}\n".encode(), 0)
                    return lock
        except BaseException:
            os.close(lock)
            raise
        os.close(lock)


def _refuse_locked(directory: Path, root: int) -> None:
    with contextlib.suppress(FileNotFoundError):
        lock = _open_lock(directory, root, os.O_RDONLY)
        try:
            _flock(directory, lock, fcntl.LOCK_SH)
        finally:
            os.close(lock)


def _open_lock(directory: Path, root: int, flags: int) -> int:
    with contextlib.suppress(FileNotFoundError):
        found = os.stat(LOCK_FILE, dir_fd=root, follow_symlinks=False)
        # More than one name: to say in it who we are would be to write into a file elsewhere.
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
            raise _invalid(directory, foreign(f"{LOCK_FILE} there", found, directory))
    return os.open(LOCK_FILE, flags | FILE_FLAGS, 0o666, dir_fd=root)


def _flock(directory: Path, lock: int, kind: int) -> None:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError as error:
        said = os.pread(lock, 200, 0).decode("utf-8", "replace").split()
        who = f"process {said[0]} on {said[1]} since {said[2]}" if len(said) == 3 else "another process"
        says = f"is in use by {who}: wait for it, or choose another directory"
        raise _invalid(directory, "".join(each if each.isprintable() else "?" for each in says)) from error


def drop_lock(root: int) -> None:
    """Remove the file while the lock is still held, so that nobody removes another's."""
    with contextlib.suppress(OSError):
        os.unlink(LOCK_FILE, dir_fd=root)
