"""A web server that says what a test has written down, byte for byte, in memory or on a loopback socket."""

# ruff: noqa: ASYNC109 - httpcore's networks take their timeouts as arguments

from __future__ import annotations

import contextlib
import math
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from typing import Any, Literal

import attrs
import httpcore
import trio
import trio.testing

from fsmcollect.stream.sources.http import Http, HttpSource

#: What answers a request: bytes, after which the connection stays open, or what does as it likes with the stream.
Answer = bytes | Callable[[trio.abc.Stream], Awaitable[None]]
Over = Literal["memory", "tcp"]

ETAG = '"7-1"'
MODIFIED = "Fri, 20 Nov 2026 12:45:00 GMT"


def head(status: int = 200, **headers: object) -> bytes:
    """The head of an answer: ``head(206, etag=..., content_range=...)``."""
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items() if value is not None]
    return "\r\n".join([f"HTTP/1.1 {status} whatever", *lines, "", ""]).encode("latin-1")


def ok(body: bytes, **headers: object) -> bytes:
    return head(200, **{"content_length": len(body), "etag": ETAG, **headers}) + body


def part(body: bytes, first: int, size: int, **headers: object) -> bytes:
    """A 206 with what follows byte `first` of a file of `size` bytes."""
    span = f"bytes {first}-{first + len(body) - 1}/{size}"
    return head(206, **{"content_length": len(body), "etag": ETAG, "content_range": span, **headers}) + body


def in_pieces(*pieces: bytes) -> bytes:
    """A body in chunked transfer coding, with its end."""
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (*pieces, b""))


def then_closes(data: bytes) -> Answer:
    async def answer(stream: trio.abc.Stream) -> None:
        await stream.send_all(data)
        await stream.aclose()

    return answer


def then_silence(data: bytes) -> Answer:
    async def answer(stream: trio.abc.Stream) -> None:
        await stream.send_all(data)
        await trio.sleep_forever()

    return answer


def slowly(begin: bytes, pieces: Iterable[bytes], every_s: float) -> Answer:
    async def answer(stream: trio.abc.Stream) -> None:
        await stream.send_all(begin)
        for piece in pieces:
            await trio.sleep(every_s)
            await stream.send_all(piece)

    return answer


@attrs.frozen
class Asked:
    """One request."""

    method: str
    target: str
    headers: dict[str, str]
    #: Which connection it came on: 1, 2, ...
    connection: int


@attrs.define
class Server:
    """Gives each request the next answer."""

    answers: list[Answer]
    asked: list[Asked] = attrs.field(factory=list)
    connections: int = 0
    #: How many connections are open, and how many were at once.
    open_now: int = 0
    open_most: int = 0

    async def serve(self, stream: trio.abc.Stream) -> None:
        self.connections += 1
        self.open_now += 1
        self.open_most = max(self.open_most, self.open_now)
        number = self.connections
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async with stream:
                waiting = bytearray()
                while True:
                    while b"\r\n\r\n" not in waiting:
                        data = await stream.receive_some(65536)
                        if not data:
                            return
                        waiting += data
                    request, _, rest = bytes(waiting).partition(b"\r\n\r\n")
                    waiting = bytearray(rest)
                    first, *lines = request.decode("latin-1").split("\r\n")
                    headers = {line.split(": ", 1)[0].lower(): line.split(": ", 1)[1] for line in lines}
                    method, target, _ = first.split(" ")
                    self.asked.append(Asked(method, target, headers, number))
                    answer = self.answers.pop(0)
                    if isinstance(answer, bytes):
                        await stream.send_all(answer)
                    else:
                        await answer(stream)
        self.open_now -= 1


class MemoryStream(httpcore.AsyncNetworkStream):
    """One end of a pair of trio's streams in memory."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            with trio.fail_after(math.inf if timeout is None else timeout):
                return bytes(await self._stream.receive_some(max_bytes))
        except trio.TooSlowError as error:
            raise httpcore.ReadTimeout from error
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise httpcore.ReadError from error

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        try:
            with trio.fail_after(math.inf if timeout is None else timeout):
                await self._stream.send_all(buffer)
        except trio.TooSlowError as error:
            raise httpcore.WriteTimeout from error
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise httpcore.WriteError from error

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        return self

    def get_extra_info(self, info: str) -> Any:
        return None


@attrs.define(eq=False)
class MemoryNetwork(httpcore.AsyncNetworkBackend):
    """Connects every host and port with one server."""

    nursery: trio.Nursery
    server: Server
    #: Every host and port that was connected to.
    places: list[tuple[str, int]] = attrs.field(factory=list)

    async def connect_tcp(self, host: str, port: int, **_: object) -> httpcore.AsyncNetworkStream:  # type: ignore[override]
        self.places.append((host, port))
        ours, theirs = trio.testing.memory_stream_pair()
        self.nursery.start_soon(self.server.serve, theirs)
        return MemoryStream(ours)


@attrs.frozen
class Scene:
    """A server with its script, and what asks it."""

    server: Server
    http: Http
    url: str
    source: HttpSource
    places: list[tuple[str, int]]


@contextlib.asynccontextmanager
async def scene(
    *answers: Answer,
    over: Over = "memory",
    jobs: int = 4,
    stall_s: float = 30.0,
    url: str = "http://archive.test/10200/",
) -> AsyncGenerator[Scene]:
    """A server that gives these answers, one to each request. What the block raises comes out as itself."""
    server = Server(list(answers))
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        places: list[tuple[str, int]] = []
        if over == "memory":
            network = MemoryNetwork(nursery, server)
            http, places = Http(jobs, network, stall_s), network.places
        else:
            listeners = await nursery.start(trio.serve_tcp, server.serve, 0)
            url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/10200/"
            http = Http(jobs, None, stall_s)
        async with http:
            try:
                yield Scene(server, http, url, HttpSource(http, url), places)
            except Exception as error:
                failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


@attrs.define
class Sink:
    """Keeps what it is given."""

    data: bytearray = attrs.field(factory=bytearray)
    #: Every offset that it was told to begin at.
    begun: list[int] = attrs.field(factory=list)
    blocks: int = 0

    async def begin(self, offset: int) -> None:
        self.begun.append(offset)
        del self.data[offset:]
        assert len(self.data) == offset, "begins behind what there is"

    async def write(self, block: bytes | bytearray | memoryview) -> None:
        self.data += block
        self.blocks += 1
