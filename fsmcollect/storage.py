"""A file appears whole or not at all, and a disk that refuses is a `StorageError` in words.

Owns the hidden temporary name, the order of sync and rename, and the translation of operating-system errors. Owns no
format.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

from fsmcollect.errors import StorageError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

#: What a person can do about an error number, in a collection as in a stream; anything else gets the last sentence.
_ADVICE = {
    errno.ENOSPC: "free space there, then go on",
    errno.EDQUOT: "the disk quota is used up: free space or have it raised, then go on",
    errno.EACCES: "make the directory writable for this user, or choose another",
    errno.EPERM: "make the directory writable for this user, or choose another",
    errno.EROFS: "the disk is mounted read-only: have it remounted, or choose another directory",
    errno.ENOENT: "make the directory, or choose another",
    errno.ENOTDIR: "a part of the path is a file: choose another directory",
    errno.ENAMETOOLONG: "this disk takes no name so long: choose a shorter one, or another disk",
    errno.EFBIG: "it is larger than this disk or this process may write: raise the limit or choose another disk",
}
_OTHERWISE = "mend the disk or choose another directory, then go on"


def storage_error(action: str, path: Path, error: OSError) -> StorageError:
    """What failed, where, why, and what to do: ``cannot write /data/a.h5: No space left on device; free space ...``."""
    number = error.errno or 0
    reason = os.strerror(number) if number else str(error)
    return StorageError(f"cannot {action} {path}: {reason}; {_ADVICE.get(number, _OTHERWISE)}")


class Sink(io.RawIOBase):
    """The temporary file as HDF5 and Pillow see it: a disk on which no write ever fails.

    HDF5 cannot close a file whose disk refused a write: its handles stay open and it tries again at exit. So the
    first refusal is kept in `error` and every later write is swallowed; HDF5 closes in peace, and `replacing` raises
    what was kept. Errors keep their number this way, which HDF5 does not always hand on.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._position = 0
        self._end = 0
        #: The first refusal of the disk; None while all is well.
        self.error: OSError | None = None

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._end}[whence]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def write(self, data: ReadableBuffer, /) -> int:
        view = memoryview(data).cast("B")
        size = len(view)
        position = self._position
        try:
            while self.error is None and view:
                written = os.pwrite(self._descriptor, view, position)
                position += written
                view = view[written:]
        except OSError as error:
            self.error = error
        self._position += size
        self._end = max(self._end, self._position)
        return size

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        data = os.pread(self._descriptor, len(view), self._position)
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def truncate(self, size: int | None = None, /) -> int:
        self._end = self._position if size is None else size
        try:
            if self.error is None:
                os.ftruncate(self._descriptor, self._end)
        except OSError as error:
            self.error = error
        return self._end


def temporary_path(path: Path) -> Path:
    """Where `path` is written before it is complete: hidden, in the same directory so that a rename is atomic."""
    return path.with_name(f".{path.name}.part")


@contextlib.contextmanager
def replacing(path: Path) -> Generator[Sink]:
    """Write `path` so that it appears whole, and durable, when the block ends; or not at all when it raises.

    Yields
    ------
    Sink
        An empty file to write to. What stood at `path` before stays readable until the block has ended.

    Raises
    ------
    StorageError
        The disk refused; nothing is left behind.
    """
    temporary = temporary_path(path)
    descriptor = -1
    try:
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        with Sink(descriptor) as sink:
            try:
                yield sink
            except Exception:
                # What the format's library makes of a refused write is a consequence; the refusal is the cause.
                if sink.error is None:
                    raise
            if sink.error is not None:
                raise sink.error
        # Content before name, name before anybody is told: a file that has its name is complete.
        os.fsync(descriptor)
        temporary.replace(path)
        sync_directory(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise storage_error("write", path, error) from error
        raise
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a file, durably; it is no error when there is none.

    Raises
    ------
    StorageError
        The disk refused.
    """
    try:
        path.unlink(missing_ok=True)
        sync_directory(path.parent)
    except OSError as error:
        raise storage_error("remove", path, error) from error


def make_directories(path: Path) -> None:
    """Make a directory and what is missing above it, each entry on the disk when this returns.

    Raises
    ------
    StorageError
        The disk refused.
    """
    missing: list[Path] = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for directory in reversed(missing):
        try:
            directory.mkdir(exist_ok=True)
            sync_directory(directory.parent)
        except OSError as error:
            raise storage_error("make the directory", directory, error) from error


def names_in(directory: Path) -> list[str]:
    """The names in a directory, sorted; none where there is no directory.

    Raises
    ------
    StorageError
        The directory cannot be read.
    """
    try:
        return sorted(path.name for path in directory.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise storage_error("read", directory, error) from error


def sync_directory(directory: Path) -> None:
    """Have the directory's entries on the disk. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
