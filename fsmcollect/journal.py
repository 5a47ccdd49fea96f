"""The durable record of a run: one JSON line an event, in ``events.jsonl``.

Owns that file and when it is on disk. A step counts as done only after `flush` has returned; the lines of a killed
process are whole but for, at most, the last one, which the next run completes with a line end.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

import attrs

from fsmcollect.errors import StorageError
from fsmcollect.events import Event
from fsmcollect.realwork import in_thread
from fsmcollect.storage import make_directories, sync_directory

FILE_NAME = "events.jsonl"


@attrs.define(eq=False)
class Journal:
    """Appends the events of a run to `path`.

    `record` is a listener: it only remembers the line. `flush` hands the remembered lines to the operating system, and
    with ``durable=True`` waits until they are on the disk itself.
    """

    path: Path
    _lines: list[str] = attrs.field(init=False, factory=list[str])
    _lock: threading.Lock = attrs.field(init=False, factory=threading.Lock)
    _checked: bool = attrs.field(init=False, default=False)

    def record(self, event: Event) -> None:
        self._lines.append(event.to_json() + "\n")

    async def flush(self, *, durable: bool = False) -> None:
        """Write what has been recorded since.

        Raises
        ------
        StorageError
            The file cannot be written; the lines are kept for the next attempt.
        """
        if self._lines or durable:
            await in_thread(self._write, durable)

    def _write(self, durable: bool) -> None:
        with self._lock:
            count = len(self._lines)
            data = "".join(self._lines[:count]).encode(errors="backslashreplace")
            try:
                self._append(data, durable)
            except OSError as error:
                raise StorageError(
                    f"{self.path}: cannot write the journal ({error.strerror}); free space or mend the directory, "
                    "then collect the rest with files.skip_existing = true"
                ) from error
            del self._lines[:count]

    def _append(self, data: bytes, durable: bool) -> None:
        # A run that is aborted before it has made its directory has something to tell, too.
        make_directories(self.path.parent)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        try:
            size = os.fstat(descriptor).st_size
            if not self._checked and size and os.pread(descriptor, 1, size - 1) != b"\n":
                data = b"\n" + data
            written = os.write(descriptor, data)
            if written < len(data):
                os.ftruncate(descriptor, size)
                raise OSError(28, "No space left on device")
            self._checked = True
            if durable:
                os.fsync(descriptor)
                if not size:
                    sync_directory(self.path.parent)
        finally:
            os.close(descriptor)
