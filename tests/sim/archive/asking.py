"""A plain client of the pretend archive, for its tests: httpcore over the network in memory, in simulated time."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

import attrs
import httpcore
import trio

from fsmcollect.sim.archive import Archive
from fsmcollect.sim.kernel import Kernel

T = TypeVar("T")
Headers = Mapping[str, str]
TIMEOUT_S = 30.0
#: Never used, but expensive to make: TLS is only pretended.
_TLS = ssl.create_default_context()


@attrs.frozen
class Got:
    """What came of a request."""

    status: int = 0
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str])
    body: bytes = b""
    error: str = ""
    at_s: float = 0.0

    @property
    def etag(self) -> str:
        return self.headers["etag"]


@attrs.frozen
class Client:
    """Asks one archive."""

    archive: Archive
    pool: httpcore.AsyncConnectionPool

    async def data(
        self, path: str = "", method: str = "GET", most_bytes: int = 2**60, headers: Headers | None = None
    ) -> Got:
        """A file or folder of the entry; the path is percent-encoded."""
        return await self.get(f"{self.archive.data_url}{self.archive.entry}/{path}", method, most_bytes, headers)

    async def get(self, url: str, method: str = "GET", most_bytes: int = 2**60, headers: Headers | None = None) -> Got:
        """What came, up to `most_bytes` of it."""
        body = bytearray()
        status, answered = 0, dict[str, str]()
        timeouts = dict.fromkeys(("connect", "read", "write", "pool"), TIMEOUT_S)
        try:
            async with self.pool.stream(
                method,
                url,
                headers=list((headers or {}).items()),
                extensions={"timeout": timeouts},
            ) as response:
                status = response.status
                answered = {name.decode().lower(): value.decode() for name, value in response.headers}
                # Leaving the loop would leave httpcore's generators to the garbage collector; a cancellation ends them.
                with trio.CancelScope() as scope:
                    async for block in response.aiter_stream():
                        if not scope.cancel_called:
                            body += block
                        if len(body) >= most_bytes:
                            scope.cancel()
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError) as error:
            return Got(status, answered, bytes(body), type(error).__name__, trio.current_time())
        return Got(status, answered, bytes(body), "", trio.current_time())


def asking(archive: Archive, body: Callable[[Client], Awaitable[T]], connections: int = 10) -> T:
    """Run `body` with a client of the archive, in simulated time."""

    async def run() -> T:
        async with (
            trio.open_nursery() as nursery,
            httpcore.AsyncConnectionPool(
                ssl_context=_TLS, max_connections=connections, network_backend=archive.network(nursery)
            ) as pool,
        ):
            return await body(Client(archive, pool))

    return Kernel().run(run)


def one(
    archive: Archive, path: str = "", method: str = "GET", most_bytes: int = 2**60, headers: Headers | None = None
) -> Got:
    """One request, in a run of its own."""
    return asking(archive, lambda client: client.data(path, method, most_bytes, headers))


def several(archive: Archive, *paths: str) -> list[Got]:
    """One request after the other."""

    async def body(client: Client) -> list[Got]:
        return [await client.data(path) for path in paths]

    return asking(archive, body)
