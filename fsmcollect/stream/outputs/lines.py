"""A text file of one line a movie: it grows by whole lines, and is made whole again after any interruption.

Owns the descriptor, the comparing of what is there with what should be, and the taking back of half a line. What a line
says is the business of `jsonl` and `checksums`.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import attrs

from fsmcollect.errors import StorageError
from fsmcollect.storage import storage_error, sync_directory

_BLOCK_BYTES = 1 << 20


def refuse_link(path: Path) -> None:
    """Never write through a symbolic link, nor to anything that is no file.

    Raises
    ------
    StorageError
        There is something at `path`, and it is no regular file.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise storage_error("read", path, error) from error
    if not stat.S_ISREG(mode):
        what = "a symbolic link" if stat.S_ISLNK(mode) else "a directory" if stat.S_ISDIR(mode) else "no regular file"
        raise StorageError(f"{path} is {what}: nothing is written there; remove it, then resume")


@attrs.define(eq=False)
class LineFile:
    """The file at `path`; holds no line in memory."""

    path: Path
    _descriptor: int = attrs.field(init=False, default=-1)
    _size_bytes: int = attrs.field(init=False, default=0)
    #: It was opened and then closed with everything on the disk; `abandon` alone does not make it so.
    is_closed: bool = attrs.field(init=False, default=False)

    def open(self, lines: Iterable[bytes]) -> None:
        """Hold exactly these lines, each with its line end, and be ready for more.

        What agrees is left alone, so a reader in the middle of the file notices nothing.

        Raises
        ------
        StorageError
            The disk refused.
        """
        self.abandon()
        self.is_closed = False
        refuse_link(self.path)
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            self._descriptor = os.open(self.path, flags, 0o666)
            self._size_bytes, lacking = self._agreeing(lines)
            if os.fstat(self._descriptor).st_size > self._size_bytes:
                os.ftruncate(self._descriptor, self._size_bytes)
            for block in _blocks(lacking):
                self._write(block)
        except OSError as error:
            self.abandon()
            raise storage_error("write", self.path, error) from error

    def append(self, line: bytes) -> None:
        """Add a line at once: a reader sees all of it or, for a moment on a full disk, the beginning of it.

        Raises
        ------
        StorageError
            The disk refused; what it took of the line is taken back.
        """
        try:
            self._write(line)
        except OSError as error:
            raise storage_error("write", self.path, error) from error

    def close(self, line: bytes = b"") -> None:
        """Add a last line and have everything on the disk.

        Raises
        ------
        StorageError
            The disk refused.
        """
        try:
            self._write(line)
            os.fsync(self._descriptor)
            sync_directory(self.path.parent)
        except OSError as error:
            raise storage_error("write", self.path, error) from error
        self.abandon()
        self.is_closed = True

    def abandon(self) -> None:
        """Let go of the file as it is."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _agreeing(self, lines: Iterable[bytes]) -> tuple[int, Iterator[bytes]]:
        """How many bytes of the file are as they should be, up to a line end, and the lines that belong behind them."""
        remaining = iter(lines)
        size_bytes = 0
        with (
            io.FileIO(self._descriptor, closefd=False) as raw,
            io.BufferedReader(raw, _BLOCK_BYTES) as there,
        ):
            for line in remaining:
                if there.read(len(line)) != line:
                    return size_bytes, chain([line], remaining)
                size_bytes += len(line)
        return size_bytes, remaining

    def _write(self, data: bytes) -> None:
        if self._descriptor < 0:
            raise StorageError(f"{self.path} is not open")
        view = memoryview(data)
        try:
            while view:
                # A disk that is almost full takes a part; the next call then says why.
                view = view[os.write(self._descriptor, view) :]
        except OSError:
            try:
                os.ftruncate(self._descriptor, self._size_bytes)
            except OSError:
                # Half a line is left: nothing may come behind it before `open` has mended it.
                self.abandon()
            raise
        self._size_bytes += len(data)


def _blocks(lines: Iterator[bytes]) -> Iterator[bytes]:
    block = bytearray()
    for line in lines:
        block += line
        if len(block) >= _BLOCK_BYTES:
            yield bytes(block)
            block.clear()
    if block:
        yield bytes(block)
