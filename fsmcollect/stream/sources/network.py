"""HTTP/1.1 for large files: h11 reads the heads of answers, bodies go from the socket straight into one buffer.

Owns connections: making them, keeping them for the next request, and the bytes on them. What an answer means is the
business of `http`.

It gives httpx a transport of its own, because httpx's copies every body three times on its way through h11 in pieces of
64 KiB: that costs a third of the speed. The network below it is any backend that httpcore defines (trio's sockets with
TLS, or one in memory).
"""

from __future__ import annotations

import ipaddress
import math
import ssl
import urllib.request
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Protocol, cast
from urllib.parse import urlsplit

import attrs
import h11
import httpcore
import httpx
import trio

from fsmcollect.stream.sources.tls import TlsStream

#: The buffer of a connection. Measured: beyond 1 MiB nothing is gained, 64 KiB costs a quarter more CPU.
BUFFER_BYTES = 1 << 20
#: A head is read in pieces of this size; what of the body comes with it is copied once more.
HEAD_BYTES = 16 << 10
#: What h11 is given at once of a body whose end it has to find.
PIECE_BYTES = 256 << 10
#: A longer head is an attack. Assumed; h11's own limit is 16 KiB.
MAX_HEAD_BYTES = 64 << 10
#: How long a connection is kept for the next request. Assumed; servers keep theirs for 5 s (Apache) to 75 s (nginx),
#: and one that the server has closed meanwhile is found out before or while it is used.
IDLE_S = 30.0
#: Less than this in twice the time that counts as silence is no transfer. Assumed: no link that is in use is that slow.
TRICKLE_BYTES = 64 << 10

#: httpcore's errors by httpx's names for them, the special before the general.
_ERRORS: tuple[tuple[type[Exception], type[httpx.TransportError]], ...] = (
    (httpcore.ConnectTimeout, httpx.ConnectTimeout),
    (httpcore.ReadTimeout, httpx.ReadTimeout),
    (httpcore.WriteTimeout, httpx.WriteTimeout),
    (httpcore.TimeoutException, httpx.TimeoutException),
    (httpcore.ConnectError, httpx.ConnectError),
    (httpcore.ReadError, httpx.ReadError),
    (httpcore.WriteError, httpx.WriteError),
    (httpcore.NetworkError, httpx.NetworkError),
    (httpcore.ProtocolError, httpx.RemoteProtocolError),
)
_NETWORK_ERRORS = (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError)

_Origin = tuple[str, str, int]


class _Stale(Exception):
    """A connection that was kept had been closed by the server before this request: not a byte of an answer came."""


class Transport(httpx.AsyncBaseTransport):
    """Sends the requests of an `httpx.AsyncClient` over connections that it keeps.

    Every answer carries its body a second time as ``extensions["body"]``: a `Body`, whose blocks are not copied.

    Parameters
    ----------
    network : httpcore.AsyncNetworkBackend, optional
        What connects; trio's sockets unless given.
    """

    def __init__(self, network: httpcore.AsyncNetworkBackend | None = None) -> None:
        self._network = network or cast("httpcore.AsyncNetworkBackend", httpcore.TrioBackend())
        self._idle: dict[_Origin, list[_Connection]] = {}
        #: Made with the first https request: reading the certificates takes 20 ms.
        self._tls: ssl.SSLContext | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        if url.scheme not in ("http", "https"):
            raise httpx.UnsupportedProtocol(f"{url.scheme!r} is neither http nor https")
        origin = (url.scheme, url.raw_host.decode("ascii"), url.port or (443 if url.scheme == "https" else 80))
        try:
            while (kept := await self._kept(origin)) is not None:
                try:
                    return await kept.exchange(request, is_kept=True)
                except _Stale:
                    continue
            connection = await self._connect(origin, _timeout_s(request, "connect"))
            return await connection.exchange(request, is_kept=False)
        except h11.LocalProtocolError as error:
            raise httpx.LocalProtocolError("the request cannot be written as HTTP") from error
        except _NETWORK_ERRORS as error:
            raise _as_httpx(error) from error

    async def aclose(self) -> None:
        for connection in [each for kept in self._idle.values() for each in kept]:
            await connection.stream.aclose()
        self._idle.clear()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        # Also when the block was cancelled: closing a socket does not wait.
        with trio.CancelScope(shield=True):
            await self.aclose()

    def keep(self, connection: _Connection) -> None:
        """Take back a connection whose answer has been read to its end."""
        connection.idle_since_s = trio.current_time()
        self._idle.setdefault(connection.origin, []).append(connection)

    async def _kept(self, origin: _Origin) -> _Connection | None:
        kept = self._idle.get(origin, [])
        while kept:
            connection = kept.pop()
            # Readable though nothing was asked: the server has closed it, or says what nobody wants to hear.
            if trio.current_time() - connection.idle_since_s < IDLE_S and not connection.stream.get_extra_info(
                "is_readable"
            ):
                return connection
            await connection.stream.aclose()
        return None

    async def _connect(self, origin: _Origin, timeout_s: float | None) -> _Connection:
        scheme, host, port = origin
        stream = await self._network.connect_tcp(host, port, timeout=timeout_s)
        socket = stream.get_extra_info("socket")
        if not isinstance(socket, trio.socket.SocketType):
            socket = None  # a network in memory
        try:
            if scheme == "http":
                return _Connection(self, origin, stream, None if socket is None else _Plain(socket))
            if self._tls is None:
                self._tls = httpx.create_ssl_context()
                self._tls.set_alpn_protocols(["http/1.1"])
            if socket is None:
                stream = await stream.start_tls(self._tls, server_hostname=host, timeout=timeout_s)
                return _Connection(self, origin, stream, None)
            secure = TlsStream(stream, socket, self._tls, host)
            await secure.handshake(timeout_s)
            return _Connection(self, origin, secure, secure)
        except BaseException:
            with trio.CancelScope(shield=True):
                await stream.aclose()
            raise


class _ReadsInto(Protocol):
    """A connection whose bytes can be read straight into a buffer."""

    async def read_into(self, buffer: memoryview, timeout_s: float | None) -> int: ...


@attrs.frozen
class _Plain:
    """A socket without TLS."""

    socket: trio.socket.SocketType

    async def read_into(self, buffer: memoryview, timeout_s: float | None) -> int:
        try:
            with trio.fail_after(math.inf if timeout_s is None else timeout_s):
                return await self.socket.recv_into(buffer)
        except trio.TooSlowError as error:
            raise httpcore.ReadTimeout from error
        except OSError as error:
            raise httpcore.ReadError(str(error)) from error


@attrs.define(eq=False)
class _Connection:
    """One connection to a server: one request at a time."""

    transport: Transport
    origin: _Origin
    stream: httpcore.AsyncNetworkStream
    #: The same bytes, read into a buffer; None for what is no socket.
    direct: _ReadsInto | None
    #: Made with the first large body.
    buffer: memoryview | None = None
    idle_since_s: float = 0.0

    async def exchange(self, request: httpx.Request, *, is_kept: bool) -> httpx.Response:
        """Send a request without a body; return when the head of its answer has arrived."""
        try:
            http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
            head = h11.Request(
                method=request.method.encode("ascii"), target=request.url.raw_path, headers=request.headers.raw
            )
            message = (http.send(head) or b"") + (http.send(h11.EndOfMessage()) or b"")
            answer = await self._answer(http, request, message, is_kept=is_kept)
        except BaseException:
            await self.drop()
            raise
        body = Body(self, http, answer, timeout_s=_timeout_s(request, "read"), is_empty=request.method == "HEAD")
        return httpx.Response(
            answer.status_code, headers=answer.headers.raw_items(), stream=body, extensions={"body": body}
        )

    async def _answer(
        self, http: h11.Connection, request: httpx.Request, message: bytes, *, is_kept: bool
    ) -> h11.Response:
        has_heard = False
        try:
            await self.stream.write(message, timeout=_timeout_s(request, "write"))
            while True:
                event = http.next_event()
                if isinstance(event, h11.Response):
                    return event
                if event is h11.NEED_DATA:
                    data = await self.stream.read(HEAD_BYTES, timeout=_timeout_s(request, "read"))
                    if not data:
                        raise httpcore.RemoteProtocolError("closed the connection without an answer")
                    has_heard = True
                    http.receive_data(data)
        except h11.RemoteProtocolError as error:
            raise httpx.RemoteProtocolError("answers with something that is not HTTP") from error
        except (httpcore.NetworkError, httpcore.RemoteProtocolError) as error:
            if is_kept and not has_heard:
                raise _Stale from error
            raise

    async def drop(self) -> None:
        """Close it, also when cancelled."""
        with trio.CancelScope(shield=True):
            await self.stream.aclose()

    async def read(self, limit: int, timeout_s: float | None) -> bytes | memoryview:
        """The next at most `limit` bytes, valid until the next call; empty at the end.

        Raises
        ------
        httpx.TransportError
            The connection broke or fell silent.
        """
        try:
            if self.direct is None:
                return await self.stream.read(min(limit, BUFFER_BYTES), timeout=timeout_s)
            if self.buffer is None:
                self.buffer = memoryview(bytearray(BUFFER_BYTES))
            return self.buffer[: await self.direct.read_into(self.buffer[:limit], timeout_s)]
        except _NETWORK_ERRORS as error:
            raise _as_httpx(error) from error


class Body(httpx.AsyncByteStream):
    """The body of one answer, as raw bytes.

    Iterating it, as httpx does, gives copies.
    """

    def __init__(
        self,
        connection: _Connection,
        http: h11.Connection,
        head: h11.Response,
        *,
        timeout_s: float | None,
        is_empty: bool,
    ) -> None:
        self._connection: _Connection | None = connection
        self._http = http
        self._timeout_s = timeout_s
        headers = dict(head.headers)  # h11 has made them lower-case and checked those that frame the body
        #: What came with the head and is not yet handed out.
        self._rest = b""
        #: How many bytes are still to come; None where h11 finds the end (pieces, or until the server closes).
        self._left: int | None = None
        self._can_be_kept = head.http_version == b"1.1" and b"close" not in headers.get(b"connection", b"").lower()
        if is_empty or head.status_code in (204, 304):
            self._left = 0
            self._can_be_kept = self._can_be_kept and not http.trailing_data[0]
        elif b"transfer-encoding" not in headers and b"content-length" in headers:
            self._left = int(headers[b"content-length"])
            self._rest = http.trailing_data[0]
            if len(self._rest) > self._left:
                self._rest, self._can_be_kept = self._rest[: self._left], False

    async def receive(self) -> bytes | memoryview:
        """The next bytes; empty when all have been handed out. They are valid until the next call.

        Raises
        ------
        httpx.TransportError
            The connection broke, fell silent or ended early.
        """
        connection = self._connection
        if connection is None:
            return b""
        if self._left is None:
            return await self._by_h11(connection)
        if self._left == 0:
            await self._end(can_be_kept=self._can_be_kept)
            return b""
        block: bytes | memoryview
        if self._rest:
            block, self._rest = self._rest, b""
        else:
            block = await connection.read(self._left, self._timeout_s)
        if not block:
            raise httpx.RemoteProtocolError("ended early")
        if len(block) > self._left:  # a network that gives more than it was asked for
            block, self._can_be_kept = block[: self._left], False
        self._left -= len(block)
        return block

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while block := bytes(await self.receive()):
            yield block

    async def aclose(self) -> None:
        """Let go of the connection: kept where the body has been read to its end, else closed."""
        if self._connection is not None:
            await self._end(can_be_kept=self._left == 0 and self._can_be_kept)

    async def _by_h11(self, connection: _Connection) -> bytes:
        try:
            while True:
                event = self._http.next_event()
                if isinstance(event, h11.Data) and event.data:
                    return bytes(event.data)
                if event is h11.NEED_DATA:
                    self._http.receive_data(bytes(await connection.read(PIECE_BYTES, self._timeout_s)))
                if isinstance(event, h11.EndOfMessage):
                    is_whole = self._http.their_state is h11.DONE and not self._http.trailing_data[0]
                    await self._end(can_be_kept=self._can_be_kept and is_whole)
                    return b""
        except h11.RemoteProtocolError as error:
            raise httpx.RemoteProtocolError("ended early") from error

    async def _end(self, *, can_be_kept: bool) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if can_be_kept:
            connection.transport.keep(connection)
        else:
            await connection.drop()


@attrs.define(eq=False)
class Flow:
    """Whether enough arrives on a connection. Only waiting for the server counts, not what is done with the bytes.

    Parameters
    ----------
    stall_s : float
        Silence of this length is a failure by itself; in twice as long, `TRICKLE_BYTES` have to come.
    """

    stall_s: float
    _waited_s: float = 0.0
    _bytes: int = 0

    def goes_on(self, size_bytes: int, *, waited_s: float) -> bool:
        """Take note of a block; False when too little has come lately."""
        self._waited_s += waited_s
        self._bytes += size_bytes
        if self._waited_s < 2 * self.stall_s:
            return True
        enough = self._bytes >= TRICKLE_BYTES
        self._waited_s, self._bytes = 0.0, 0
        return enough

    def __str__(self) -> str:
        return f"fewer than {TRICKLE_BYTES >> 10} KiB in {2 * self.stall_s:g} s"


def unused_proxy(url: str) -> str | None:
    """What a person behind a proxy should know who asks for this URL, in words; None where no proxy is set for it."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return None
    proxies = urllib.request.getproxies()
    name = next((name for name in (parts.scheme, "all") if name in proxies), None)
    # Nobody needs a proxy to reach their own machine, though few list it in NO_PROXY.
    if name is None or _is_own(host) or urllib.request.proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    # Its address may hold a password: only its name is told.
    return f"{name.upper()}_PROXY is set and is not used: connections go straight to the archive"


def _is_own(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _as_httpx(error: Exception) -> httpx.TransportError:
    """The error of a network, as httpx calls it."""
    return next(theirs(str(error)) for ours, theirs in _ERRORS if isinstance(error, ours))


def _timeout_s(request: httpx.Request, what: str) -> float | None:
    """What httpx allows for ``connect``, ``read`` or ``write``; None is for ever."""
    return httpx.Timeout(**request.extensions.get("timeout", {"timeout": None})).as_dict()[what]
