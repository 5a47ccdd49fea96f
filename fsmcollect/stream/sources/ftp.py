"""The archive over FTP: the fallback where HTTPS does not serve.

Owns sessions with the server: few, kept for the next question, because the archive's front end resets connections where
many run in parallel. Every path is absolute: a folder that is entered stays entered, and the next name is looked for in
it. ``ftplib`` waits in threads; what it has read is handed to the sink outside of them, so a cancelled download never
writes again.

References
----------
RFC 959 (FTP), RFC 3659 (SIZE, MDTM, REST, MLSD).
"""

from __future__ import annotations

import ftplib
import re
import socket
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TypeVar, TypeVarTuple
from urllib.parse import unquote, urlsplit

import trio

from fsmcollect.stream.paths import check_name, check_path
from fsmcollect.stream.sources import REFUSED_KEPT, Changed, NotThere, Refused, Sink, SourceError
from fsmcollect.stream.sources.network import Flow, unused_proxy
from fsmcollect.stream.values import Listed, Remote

T = TypeVar("T")
Args = TypeVarTuple("Args")

#: What is read at once.
BLOCK_BYTES = 1 << 20
#: A longer listing is an attack. Assumed.
MAX_NAMES = 1_000_000
MAX_LISTING_BYTES = 256 << 20
#: A listing may take so many times what counts as silence: one of 100,000 files takes a while. Assumed.
LISTING_STALLS = 20
#: A session that has rested for longer is asked whether it still lives. Assumed.
FRESH_S = 10.0

#: ftplib decodes what it reads and fails on what is no UTF-8; this way it hands on bytes, and `_text` decodes.
_BYTES = "latin-1"
#: Replies: no such file (or no access to it); commands that a server does not have.
_NO_SUCH_FILE = "550"
_UNKNOWN_COMMAND = ("500", "501", "502", "504")

_UNIX_ROW = re.compile(
    r"(?P<kind>[-dl])[-rwxsStTlL]{9}[.+@]? +\d+ +(?:\S+ +){1,2}(?P<size>\d{1,18}) +"
    r"(?:[A-Z][a-z]{2} +\d{1,2} +(?:\d{4}|\d{1,2}:\d\d)|\d{4}-\d\d-\d\d +\d\d:\d\d) (?P<name>.+)",
    re.ASCII,
)


class FtpSource:
    """One entry's folder on an FTP server.

    Parameters
    ----------
    url : str
        ``ftp://host[:port]/path``; anonymous.
    connections : int
        So many sessions at once; further questions wait.
    stall_s : float
        A server that is silent for so long has failed.
    """

    def __init__(self, url: str, connections: int = 2, stall_s: float = 30.0) -> None:
        try:
            parts = urlsplit(url)
            self._host, self._port = parts.hostname or "", parts.port or ftplib.FTP_PORT
        except ValueError as error:
            raise Refused(f"{url!r} is no URL that can be asked") from error
        self._folder = "/" + unquote(parts.path).strip("/")
        self._server = "ftp://" + parts.netloc.rpartition("@")[2]
        self.url = f"{self._server}{self._folder.rstrip('/')}/"
        self._stall_s = stall_s
        self._places = trio.Semaphore(connections)
        # A thread that was left behind while it connects ends with its own time limit; meanwhile others go on.
        self._threads = trio.CapacityLimiter(4 * connections)
        self._idle: list[_Session] = []
        #: False once the server has said that it does not know MLSD.
        self._has_mlsd = True
        self.refused: dict[str, str] = {}

    async def folder(self, path: str) -> list[Listed]:
        where = self._path(path)
        async with self._session(where) as session:
            lines: list[str] | None = None
            if self._has_mlsd:
                lines = await session.run(session.listing, where, "MLSD", limit_s=LISTING_STALLS * self._stall_s)
                self._has_mlsd = lines is not None
            if lines is not None:
                rows = [row for line in lines if (row := _mlsd_row(line)) is not None]
            else:
                lines = await session.run(session.listing, where, "LIST", limit_s=LISTING_STALLS * self._stall_s)
                rows = _unix_rows(lines or [], session.where)
        named: dict[str, Listed] = {}
        for row in rows:
            if (reason := check_name(row.name)) is None:
                named.setdefault(row.name, row)
                continue
            if len(self.refused) < REFUSED_KEPT:
                quoted = repr(row.name[:100])
                self.refused[f"{path}/{quoted}" if path else quoted] = reason
        return list(named.values())

    async def head(self, path: str) -> Remote:
        where = self._path(path)
        async with self._session(where) as session:
            return await session.run(session.describe, where)

    async def download(self, path: str, remote: Remote, offset: int, sink: Sink) -> None:
        where = self._path(path)
        size_bytes = remote.size_bytes
        if remote.validator is None:
            offset = 0
        async with self._session(where) as session:
            if (now := await session.run(session.describe, where)) != remote:
                raise Changed(f"{session.where} has changed: {now} instead of {remote}")
            position = await session.run(session.open, where, offset)
            await sink.begin(position)
            flow = Flow(stall_s=self._stall_s)
            buffer = memoryview(bytearray(min(BLOCK_BYTES, size_bytes + 1)))
            while True:
                began_s = trio.current_time()
                count = await session.run(session.receive, buffer)
                if count == 0:
                    break
                if not flow.goes_on(count, waited_s=trio.current_time() - began_s):
                    raise SourceError(f"{session.where} sends next to nothing: {flow}")
                if position + count > size_bytes:
                    said = f"{session.where} sends more than the {size_bytes:,} bytes that it has"
                    # A server that passes over REST sends the file from its beginning: so may we begin there.
                    raise Changed(said) if position > count and offset else Refused(said)
                await sink.write(buffer[:count])
                position += count
            if position < size_bytes:
                raise SourceError(f"{session.where} ended early, after {position:,} of {size_bytes:,} bytes")
            await session.run(session.finish)

    async def aclose(self) -> None:
        """Close the sessions that are kept."""
        while self._idle:
            self._idle.pop().end()

    def _path(self, path: str) -> str:
        """Absolute, whatever folder a session was in before."""
        if path and (reason := check_path(path)) is not None:
            raise Refused(f"{path!r} is not asked for: it {reason}")
        return f"{self._folder.rstrip('/')}/{path}" if path else self._folder

    @asynccontextmanager
    async def _session(self, where: str) -> AsyncGenerator[_Session]:
        async with self._places:
            session = await self._ready(self._server + where)
            is_in_step = False
            try:
                yield session
                is_in_step = True
            except NotThere:
                is_in_step = True
                raise
            finally:
                if is_in_step:
                    session.rested_since_s = trio.current_time()
                    self._idle.append(session)
                else:
                    session.end()

    async def _ready(self, where: str) -> _Session:
        """A session that has just answered."""
        while self._idle:
            session = self._idle.pop()
            session.where = where
            if trio.current_time() - session.rested_since_s < FRESH_S:
                return session
            try:
                await session.run(session.noop)
            except SourceError:
                session.end()
            else:
                return session
        session = _Session(self._threads, stall_s=self._stall_s, where=where)
        try:
            await session.run(session.connect, self._host, self._port)
        except BaseException:
            session.end()
            raise
        return session


class _Session:
    """One control connection. Its methods block: `run` calls them in a thread, one at a time."""

    def __init__(self, threads: trio.CapacityLimiter, *, stall_s: float, where: str) -> None:
        #: What is being asked for, for messages.
        self.where = where
        self.rested_since_s = 0.0
        self._threads = threads
        self._stall_s = stall_s
        self._ftp = ftplib.FTP(timeout=stall_s, encoding=_BYTES)
        self._data: socket.socket | None = None
        self._is_image = False
        # A cancelled caller does not wait for the thread. So it only wakes it, and whoever comes last closes: closing
        # a socket under a thread that reads would have it read from whatever gets the descriptor next.
        self._lock = threading.Lock()
        self._is_busy = False
        self._is_over = False

    async def run(self, work: Callable[[*Args], T], *args: *Args, limit_s: float | None = None) -> T:
        """Do blocking work in a thread; when cancelled, or after `limit_s`, the session is over.

        Raises
        ------
        SourceError
            The server or the network failed, in words.
        """
        limit_s = 2 * self._stall_s if limit_s is None else limit_s
        try:
            with trio.fail_after(limit_s):
                return await trio.to_thread.run_sync(
                    self._work, partial(work, *args), limiter=self._threads, abandon_on_cancel=True
                )
        except trio.Cancelled:
            self.end()
            raise
        except trio.TooSlowError as error:
            self.end()
            raise SourceError(f"{self.where} has not answered within {limit_s:g} s") from error
        except (ftplib.Error, EOFError, OSError, ValueError, OverflowError) as error:
            raise self._in_words(error) from error

    def end(self) -> None:
        """Close it, or have the thread that is at work close it."""
        with self._lock:
            self._is_over = True
            if not self._is_busy:
                self._close()
                return
            for connection in (self._data, self._ftp.sock):
                if connection is not None:
                    with suppress(OSError):
                        connection.shutdown(socket.SHUT_RDWR)

    def _work(self, work: Callable[[], T]) -> T:
        with self._lock:
            self._is_busy = True
        try:
            if self._is_over:
                raise EOFError
            return work()
        finally:
            with self._lock:
                self._is_busy = False
                if self._is_over:
                    self._close()

    def _close(self) -> None:
        if self._data is not None:
            self._data.close()
        self._ftp.close()

    # -- what blocks --------------------------------------------------------------------------------------------------

    def connect(self, host: str, port: int) -> None:
        self._ftp.connect(host, port)
        self._ftp.login()

    def noop(self) -> None:
        self._ftp.voidcmd("NOOP")

    def listing(self, where: str, command: str) -> list[str] | None:
        """The lines of a folder's listing; None where the server does not know the command."""
        lines: list[str] = []
        size_bytes = 0

        def note(line: str) -> None:
            nonlocal size_bytes
            size_bytes += len(line)
            if len(lines) >= MAX_NAMES or size_bytes > MAX_LISTING_BYTES:
                raise Refused(f"{self.where} names more files than any folder of an entry has")
            lines.append(_text(line))

        # Entered, not named: servers expand "*" and "[" in the argument of LIST, and list nothing for what is missing.
        self._ftp.cwd(_wire(where))
        self._is_image = False  # lines are sent as text
        try:
            self._ftp.retrlines(command, note)
        except ftplib.error_perm as error:
            if command != "LIST" and str(error)[:3] in _UNKNOWN_COMMAND:
                return None
            raise
        return lines

    def describe(self, where: str) -> Remote:
        self._image()
        try:
            size = re.match(r"213 +(\d{1,18})\s*$", self._ftp.sendcmd(f"SIZE {_wire(where)}"))
        except ftplib.error_perm as error:
            if str(error)[:3] not in _UNKNOWN_COMMAND:
                raise
            size = None
        if size is None:
            raise Refused(f"{self.where}: the server tells no size")
        try:
            changed = re.match(r"213 +(\d{14}(?:\.\d{1,9})?)\s*$", self._ftp.sendcmd(f"MDTM {_wire(where)}"))
        except ftplib.error_perm:
            changed = None
        return Remote(int(size[1]), changed[1] if changed is not None else None)

    def open(self, where: str, offset: int) -> int:
        """Have the file sent from `offset`, or from 0 where the server cannot; returns from where."""
        self._image()
        try:
            self._data = self._ftp.transfercmd(f"RETR {_wire(where)}", rest=offset or None)
        except ftplib.error_perm as error:
            if not offset or str(error)[:3] not in _UNKNOWN_COMMAND:
                raise
            offset = 0
            self._data = self._ftp.transfercmd(f"RETR {_wire(where)}")
        return offset

    def receive(self, buffer: memoryview) -> int:
        if self._data is None:
            raise EOFError
        return self._data.recv_into(buffer)

    def finish(self) -> None:
        if self._data is not None:
            self._data.close()
            self._data = None
        self._ftp.voidresp()

    def _image(self) -> None:
        """Bytes as they are; sizes, too, are those of text where this was not said."""
        if not self._is_image:
            self._ftp.voidcmd("TYPE I")
            self._is_image = True

    def _in_words(self, error: Exception) -> SourceError:
        said = repr(_text(str(error))[:200])
        if isinstance(error, ftplib.error_perm) and said[1:4] == _NO_SUCH_FILE:
            return NotThere(f"{self.where} is not there ({said})")
        if isinstance(error, ftplib.error_perm) and said[1:3] == "53":
            return SourceError(f"{self.where}: the server refuses access ({said})")
        if isinstance(error, (ftplib.error_perm, ftplib.error_temp)):
            return SourceError(f"{self.where}: the server answers {said}")
        if isinstance(error, (TimeoutError, EOFError)):
            return SourceError(
                f"{self.where} " + ("has fallen silent" if isinstance(error, OSError) else "was cut off")
            )
        if isinstance(error, OSError):
            if self._ftp.sock is not None:
                return SourceError(f"{self.where} was cut off: {error.strerror or error}")
            hint = unused_proxy(self.where)
            said = f"{self.where} cannot be reached: {error.strerror or error}"
            return SourceError(f"{said} ({hint})" if hint else said)
        return SourceError(f"{self.where}: the server does not speak FTP as it should ({said})")


def _wire(path: str) -> str:
    """A path as ftplib has to be given it, to send its UTF-8."""
    return path.encode().decode(_BYTES)


def _text(line: str) -> str:
    """What ftplib has read, as UTF-8; what is none becomes surrogates, and a name that holds one is refused."""
    return line.encode(_BYTES, "replace").decode("utf-8", "surrogateescape")


def _mlsd_row(line: str) -> Listed | None:
    """``type=file;size=5;modify=20261120124500; a.mrc``; None for the folder itself, its parent, and nonsense."""
    facts, _, name = line.partition(" ")
    values: dict[str, str] = {}
    for fact in facts.lower().split(";"):
        key, _, value = fact.partition("=")
        values[key] = value
    kind, size = values.get("type", ""), values.get("size", "")
    if kind == "dir":
        return Listed(name, is_folder=True)
    # A symbolic link (OS.unix=slink) leads to a file as far as anybody can tell; its own size says nothing.
    if kind != "file" and not kind.startswith("os.unix=s"):
        return None
    size_bytes = int(size) if kind == "file" and re.fullmatch(r"\d{1,18}", size, re.ASCII) else None
    return Listed(name, size_bytes=size_bytes, about_bytes=size_bytes)


def _unix_rows(lines: list[str], where: str) -> list[Listed]:
    """Rows of ``ls -l``, which is what nearly every server without MLSD sends."""
    rows: list[Listed] = []
    strange = 0
    for line in lines:
        match = _UNIX_ROW.fullmatch(line)
        if match is None:
            strange += bool(line.strip()) and not line.startswith("total ")
            continue
        kind, name = match["kind"], match["name"]
        if kind == "l":
            rows.append(Listed(name.partition(" -> ")[0]))
        elif kind == "d":
            rows.append(Listed(name, is_folder=True))
        else:
            rows.append(Listed(name, size_bytes=int(match["size"]), about_bytes=int(match["size"])))
    if strange and not rows:
        raise Refused(f"{where}: the server's listing is in a form that is not known")
    return [row for row in rows if row.name not in (".", "..")]
