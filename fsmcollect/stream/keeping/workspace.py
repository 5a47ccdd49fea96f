"""The output directory of a stream: whose it is, and that nothing outside it is touched.

Owns every step below the directory: each goes from folder to folder by descriptor and through no symbolic link, whoever
makes one meanwhile. The directory itself may be reached through one. Whether a stream may use it at all is decided in
`fsmcollect.stream.keeping.claim`. Owns no file's content.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import threading
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import TypeVar

from fsmcollect.errors import StorageError
from fsmcollect.storage import make_directories, storage_error
from fsmcollect.stream.keeping.claim import (
    FILE_FLAGS,
    JOURNAL_FILE,
    STOP_FILE,
    can_open,
    drop_lock,
    foreign,
    refuse_content,
    take_lock,
)
from fsmcollect.stream.values import Kind

__all__ = ["JOURNAL_FILE", "STOP_FILE", "Workspace", "can_open"]

_FOLDERS = {Kind.MOVIE: "movies", Kind.GAIN: "gain", Kind.DEFECTS: "gain"}
_REJECTED = "rejected"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

T = TypeVar("T")


class Workspace:
    """One output directory, locked for this process. A context manager; every method may be called from any thread.

    Files are named as they lie below the directory, parts divided by ``/``: ``movies/data/Movies/a.mrc``.

    Attributes
    ----------
    directory : Path
        Absolute.
    resume : bool
        Whether a stream is gone on with.
    journal_path : Path
    """

    def __init__(self, directory: Path, resume: bool, root: int, lock: int) -> None:
        """Not for callers: use `open`."""
        self.directory = directory
        self.resume = resume
        self.journal_path = directory / JOURNAL_FILE
        self._root = root
        self._held = lock
        self._lock = threading.Lock()
        #: Partial files that get their name, or are begun, at this moment.
        self._named: set[str] = set()
        self._changed = threading.Condition()

    @classmethod
    def open(cls, directory: Path, resume: bool) -> Workspace:
        """Make the directory where it is missing, lock it, and look whether this stream may use it.

        Raises
        ------
        InvalidRequest
            Another process uses it (says which), it holds a stream and none is to be gone on with or the other way
            round, something of our names is no file or folder of its own, or no file can be made there.
        StorageError
            The disk refused.
        """
        can_open(directory, resume)
        absolute = Path(os.path.realpath(directory)) if ".." in directory.parts else directory.absolute()
        try:
            make_directories(absolute)
            with contextlib.ExitStack() as undo:
                root = os.open(absolute, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                undo.callback(os.close, root)
                lock = take_lock(directory, root)
                undo.callback(os.close, lock)
                undo.callback(drop_lock, root)
                # Again: before the lock was ours another stream may have begun and ended here.
                refuse_content(directory, root, resume)
                undo.pop_all()
        except OSError as error:
            raise storage_error("use", directory, error) from error
        return cls(absolute, resume, root, lock)

    def close(self) -> None:
        """Give the directory back; may be repeated. Whoever comes later gets a `StorageError`."""
        with self._lock:
            if self._root >= 0:
                drop_lock(self._root)
                os.close(self._held)
                os.close(self._root)
            self._root = self._held = -1

    def __enter__(self) -> Workspace:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---------------------------------------------------------------------------------------------------------- places

    def file_of(self, kind: Kind, path: str) -> str:
        """Where a file of the archive belongs, below the directory."""
        if kind not in _FOLDERS:
            raise ValueError(f"{path}: a file of kind {kind.value} is not kept")
        return f"{_FOLDERS[kind]}/{path}"

    def place(self, kind: Kind, path: str) -> Path:
        """Where a movie, a gain reference or a defect map belongs; its folders exist when this returns.

        Raises
        ------
        ValueError
            A path that no listing may hand on, or a kind that is not kept: a bug of the caller.
        StorageError
            A folder on the way is a symbolic link or no folder, or the disk refused.
        """
        return self._made(self.file_of(kind, path))

    def rejected_file_of(self, path: str) -> str:
        """Where a file is set aside, below the directory."""
        return f"{_REJECTED}/{path}"

    def rejected_place(self, path: str) -> Path:
        """Where a file is set aside; its folders exist when this returns. Raises as `place`."""
        return self._made(self.rejected_file_of(path))

    def _made(self, file: str) -> Path:
        name = file.rpartition("/")[2]
        if name.startswith(".") and name.endswith(".part"):
            raise StorageError(f"{file} cannot be kept: its name is that of a partial file")
        with self._folder(file, make=True, action="make"):
            return self.directory / file

    def file_at(self, path: Path) -> str:
        """The name below the directory of a path that `place` gave."""
        return path.relative_to(self.directory).as_posix()

    # ----------------------------------------------------------------------------------------------------------- files

    def open_part(self, final: Path, keep: bool) -> int:
        """Open the partial file of `final` for reading and writing.

        Parameters
        ----------
        keep : bool
            Go on with the one that is there (or an empty one). Otherwise it is a NEW file: what an abandoned thread
            still writes to the old one ends nowhere.

        Returns
        -------
        int
            A descriptor, which the caller closes.

        Raises
        ------
        StorageError
            What is there is a symbolic link, has a second name, or is no regular file; or the disk refused.
        """
        name = f".{final.name}.part"
        file = self.file_at(final.with_name(name))
        with self.naming(file), self._folder(file, make=True, action="write") as folder:
            with contextlib.suppress(FileNotFoundError):
                self._refuse_foreign(file, os.stat(name, dir_fd=folder, follow_symlinks=False))
                if not keep:
                    os.unlink(name, dir_fd=folder)
            flags = os.O_RDWR | os.O_CREAT | FILE_FLAGS | (0 if keep else os.O_EXCL)
            return os.open(name, flags, 0o666, dir_fd=folder)

    @contextlib.contextmanager
    def naming(self, part: str) -> Generator[None]:
        """While a partial file is looked at for the last time and gets its name, nobody begins it afresh."""
        with self._changed:
            self._changed.wait_for(lambda: part not in self._named)
            self._named.add(part)
        try:
            yield
        finally:
            with self._changed:
                self._named.discard(part)
                self._changed.notify_all()

    def status(self, file: str) -> os.stat_result | None:
        """What is there, of the thing itself where it is a link; None where there is nothing."""
        try:
            with self._folder(file, make=False, action="look at") as folder:
                return os.stat(file.rpartition("/")[2], dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def is_file(self, file: str, size_bytes: int) -> bool:
        """Whether a regular file of exactly that size is there."""
        found = self.status(file)
        return found is not None and stat.S_ISREG(found.st_mode) and found.st_size == size_bytes

    def sizes(self, files: Iterable[str]) -> Generator[int | None]:
        """The size of each; None where no regular file is there. Quick where neighbours lie in one folder."""
        with contextlib.ExitStack() as opened:
            folder, descriptor = "", -1
            for file in files:
                size_bytes = None
                with contextlib.suppress(FileNotFoundError):
                    if file.rpartition("/")[0] != folder or descriptor < 0:
                        opened.close()
                        descriptor = -1
                        descriptor = opened.enter_context(self._folder(file, make=False, action="look at"))
                        folder = file.rpartition("/")[0]
                    found = os.stat(file.rpartition("/")[2], dir_fd=descriptor, follow_symlinks=False)
                    size_bytes = found.st_size if stat.S_ISREG(found.st_mode) else None
                yield size_bytes

    def sync(self, file: str) -> os.stat_result:
        """Have a file's bytes on the disk; returns which file that is, and how large."""
        return self._with_file(file, "write", _synced)

    def sha256(self, file: str) -> str:
        """The checksum of what is on the disk, hexadecimal."""
        return self._with_file(file, "read", _sha256)

    def rename(self, source: str, target: str) -> None:
        """Give a file its name, durably. Look first whether there is something of that name already."""
        with (
            self._folder(source, make=False, action="write") as here,
            self._folder(target, make=True, action="write") as there,
        ):
            os.rename(source.rpartition("/")[2], target.rpartition("/")[2], src_dir_fd=here, dst_dir_fd=there)
            os.fsync(there)
            if source.rpartition("/")[0] != target.rpartition("/")[0]:
                os.fsync(here)

    def sync_folder(self, file: str) -> None:
        """Have the name of a file on the disk."""
        with self._folder(file, make=False, action="write") as folder:
            os.fsync(folder)

    def write_note(self, file: str, text: str) -> None:
        """Write a small text so that it appears whole or not at all."""
        name = file.rpartition("/")[2]
        part = f".{name}.part"
        with self._folder(file, make=True, action="write") as folder:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(part, dir_fd=folder)
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | FILE_FLAGS, 0o666, dir_fd=folder)
            try:
                os.write(descriptor, text.encode(errors="backslashreplace"))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.rename(part, name, src_dir_fd=folder, dst_dir_fd=folder)
            os.fsync(folder)

    # ------------------------------------------------------------------------------------------------------- the whole

    def free_bytes(self) -> int:
        """What this user may still write there."""
        try:
            with self._rooted() as root:
                disk = os.statvfs(root)
        except OSError as error:
            raise storage_error("look at", self.directory, error) from error
        return disk.f_bavail * disk.f_frsize

    def stop_asked(self) -> bool:
        """Whether somebody made `STOP_FILE`."""
        try:
            with self._rooted() as root:
                os.stat(STOP_FILE, dir_fd=root, follow_symlinks=False)
        except OSError:
            return False
        return True

    def answer_stop(self) -> None:
        """Remove `STOP_FILE`: the stream has ended for it."""
        try:
            with self._rooted() as root, contextlib.suppress(FileNotFoundError):
                if stat.S_ISDIR(os.stat(STOP_FILE, dir_fd=root, follow_symlinks=False).st_mode):
                    os.rmdir(STOP_FILE, dir_fd=root)
                else:
                    os.unlink(STOP_FILE, dir_fd=root)
        except OSError as error:
            raise storage_error("remove", self.directory / STOP_FILE, error) from error

    # ---------------------------------------------------------------------------------------------------------- inside

    @contextlib.contextmanager
    def _rooted(self) -> Generator[int]:
        # A copy: a descriptor that `close` gives back meanwhile may be another file's the next moment.
        with self._lock:
            root = os.dup(self._root)
        try:
            yield root
        finally:
            os.close(root)

    @contextlib.contextmanager
    def _folder(self, file: str, *, make: bool, action: str) -> Generator[int]:
        """The folder that a file lies in, as a descriptor; what the disk refuses in the block is said in words."""
        *folders, _ = parts = file.split("/")
        if any(part in ("", ".", "..") or "\0" in part for part in parts):
            raise ValueError(f"{file!r} is not a path below the directory")
        with contextlib.ExitStack() as opened:
            try:
                folder = opened.enter_context(self._rooted())
                for depth, part in enumerate(folders, 1):
                    if make:
                        with contextlib.suppress(FileExistsError):
                            os.mkdir(part, dir_fd=folder)
                            os.fsync(folder)
                    try:
                        below = os.open(part, _FOLDER, dir_fd=folder)
                    except OSError as error:
                        if error.errno in (errno.ELOOP, errno.ENOTDIR):
                            found = os.stat(part, dir_fd=folder, follow_symlinks=False)
                            raise self._foreign("/".join(folders[:depth]), found) from error
                        raise
                    opened.callback(os.close, below)
                    folder = below
                yield folder
            except FileNotFoundError as error:
                if not make:
                    raise
                raise storage_error(action, self.directory / file, error) from error
            except OSError as error:
                raise storage_error(action, self.directory / file, error) from error

    def _with_file(self, file: str, action: str, work: Callable[[int], T]) -> T:
        try:
            with self._folder(file, make=False, action=action) as folder:
                descriptor = os.open(file.rpartition("/")[2], os.O_RDONLY | FILE_FLAGS, dir_fd=folder)
                try:
                    self._refuse_foreign(file, os.fstat(descriptor))
                    return work(descriptor)
                finally:
                    os.close(descriptor)
        except FileNotFoundError as error:
            raise storage_error(action, self.directory / file, error) from error

    def _refuse_foreign(self, file: str, found: os.stat_result) -> None:
        """A file with a second name is not ours alone: to write to it would be to write elsewhere."""
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
            raise self._foreign(file, found)

    def _foreign(self, file: str, found: os.stat_result) -> StorageError:
        return StorageError(foreign(file, found, self.directory))


def _synced(descriptor: int) -> os.stat_result:
    os.fsync(descriptor)
    return os.fstat(descriptor)


def _sha256(descriptor: int) -> str:
    with open(descriptor, "rb", closefd=False) as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
