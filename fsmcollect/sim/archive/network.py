"""The pretend archive without sockets: what httpcore connects to, and the two ends of a connection in memory.

Owns connections, their windows and their ends. The bytes on them are real HTTP, the timeouts are real; only the
network is missing, so all of it runs under a simulated clock. TLS is only pretended: ``https`` works.
"""

# The names of httpcore's parameters are httpcore's.
# ruff: noqa: ASYNC109

from __future__ import annotations

import math
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Iterable
from contextlib import contextmanager
from typing import Any

import attrs
import httpcore
import trio

from fsmcollect.sim.archive.server import Resettable

#: How much may lie between the two ends before the sender has to wait. Assumed: a socket's usual buffers.
WINDOW_BYTES = 1024 * 1024


@attrs.define(eq=False)
class _Pipe:
    """One direction."""

    blocks: deque[bytes] = attrs.field(factory=deque[bytes])
    bytes_inside: int = 0
    is_ended: bool = False
    is_broken: bool = False
    reader: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)
    writer: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)

    @property
    def has_news(self) -> bool:
        return bool(self.blocks) or self.is_ended or self.is_broken

    def wake(self) -> None:
        self.reader.unpark_all()
        self.writer.unpark_all()

    def end(self) -> None:
        self.is_ended = True
        self.wake()

    def break_off(self) -> None:
        """What lies inside can still be read, as it can from a socket; then reading fails."""
        self.is_broken = True
        self.wake()

    async def put(self, block: bytes) -> None:
        await trio.lowlevel.checkpoint()
        while self.bytes_inside >= WINDOW_BYTES and not self.is_broken and not self.is_ended:
            await self.writer.park()
        if self.is_broken:
            raise trio.BrokenResourceError
        if self.is_ended:
            raise trio.ClosedResourceError
        if block:
            self.blocks.append(block)
            self.bytes_inside += len(block)
            self.reader.unpark_all()

    async def get(self, max_bytes: int) -> bytes:
        await trio.lowlevel.checkpoint()
        while not self.has_news:
            await self.reader.park()
        if not self.blocks and self.is_broken:
            raise trio.BrokenResourceError
        if not self.blocks:
            return b""
        block = self.blocks.popleft()
        if len(block) > max_bytes:
            self.blocks.appendleft(block[max_bytes:])
            block = block[:max_bytes]
        self.bytes_inside -= len(block)
        self.writer.unpark_all()
        return block


@attrs.define(eq=False)
class MemoryStream(Resettable):
    """One end of a connection in memory. What is sent arrives at once; who sends too much has to wait."""

    _inward: _Pipe
    _outward: _Pipe
    _is_closed: bool = attrs.field(init=False, default=False)

    @classmethod
    def pair(cls) -> tuple[MemoryStream, MemoryStream]:
        there, back = _Pipe(), _Pipe()
        return cls(back, there), cls(there, back)

    @property
    def has_news(self) -> bool:
        """A read would not wait: there are bytes, or the other side has closed."""
        return self._inward.has_news

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self._check_open()
        await self._outward.put(bytes(data))

    async def wait_send_all_might_not_block(self) -> None:
        self._check_open()
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        self._check_open()
        return await self._inward.get(max_bytes or WINDOW_BYTES)

    async def aclose(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._outward.end()
            self._inward.break_off()
        await trio.lowlevel.checkpoint()

    def reset(self) -> None:
        """Once the other side has read what is on its way its reads fail, and its writes at once."""
        self._is_closed = True
        self._outward.break_off()
        self._inward.break_off()

    def _check_open(self) -> None:
        if self._is_closed:
            raise trio.ClosedResourceError


@attrs.frozen(eq=False)
class MemoryNetwork(httpcore.AsyncNetworkBackend):
    """Connects to one archive, whatever the port; nobody else is there.

    Parameters
    ----------
    nursery : trio.Nursery
        Where the archive's side of each connection runs.
    serve : callable
        What runs there.
    hosts : sequence of str
        The archive's names.
    connect_s : float
        How long it takes to connect.
    """

    _nursery: trio.Nursery
    _serve: Callable[[trio.abc.Stream], Awaitable[None]]
    _hosts: tuple[str, ...]
    _connect_s: float

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        del local_address, socket_options
        with _as_httpcore(timeout, httpcore.ConnectTimeout, httpcore.ConnectError):
            await trio.sleep(self._connect_s)
        if host not in self._hosts:
            raise httpcore.ConnectError(f"there is nobody at {host}:{port}")
        ours, theirs = MemoryStream.pair()
        self._nursery.start_soon(self._serve, theirs)
        return _ClientStream(ours, (host, port))

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.AsyncNetworkStream:
        raise httpcore.ConnectError(f"there is nobody at {path}")

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)


@attrs.frozen(eq=False)
class _ClientStream(httpcore.AsyncNetworkStream):
    """The client's end, as httpcore wants it."""

    _stream: MemoryStream
    _address: tuple[str, int]

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with _as_httpcore(timeout, httpcore.ReadTimeout, httpcore.ReadError):
            return await self._stream.receive_some(max_bytes)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        with _as_httpcore(timeout, httpcore.WriteTimeout, httpcore.WriteError):
            await self._stream.send_all(buffer)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        return self

    def get_extra_info(self, info: str) -> Any:
        return {"is_readable": self._stream.has_news, "server_addr": self._address}.get(info)


@contextmanager
def _as_httpcore(
    timeout_s: float | None, late: type[Exception], failed: type[Exception]
) -> Generator[None, None, None]:
    """A limit on the time, and errors as httpcore calls them."""
    try:
        with trio.fail_after(math.inf if timeout_s is None else timeout_s):
            yield
    except trio.TooSlowError:
        raise late("timed out") from None
    except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
        raise failed("the connection broke") from error
