"""Connections: real sockets on loopback, their failures, TLS, and the transport as httpx itself uses it."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import subprocess
from pathlib import Path

import httpcore
import httpx
import pytest
import trio

from fsmcollect.stream.sources import SourceError
from fsmcollect.stream.sources.http import Http, HttpSource
from fsmcollect.stream.sources.network import BUFFER_BYTES, TRICKLE_BYTES, Flow, Transport
from fsmcollect.stream.values import Remote
from tests.stream.sources.scripted import ETAG, MemoryNetwork, Server, Sink, head, in_pieces, ok, scene, then_closes

#: Several buffers, and not a multiple of one.
DATA = bytes(range(251)) * (3 * BUFFER_BYTES // 251)
SIZE = len(DATA)
PATH = "data/a.mrc"


async def test_a_large_body_comes_whole_over_a_socket_and_the_connection_is_kept() -> None:
    async with scene(ok(DATA), ok(b"{}"), over="tcp") as there:
        sink = Sink()
        await there.source.download(PATH, Remote(SIZE, ETAG), 0, sink)
        assert bytes(sink.data) == DATA
        assert await there.http.read(there.url, 10) == b"{}"
    assert there.server.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        then_closes(head(200, etag=ETAG) + DATA),
        head(200, etag=ETAG, transfer_encoding="chunked") + in_pieces(DATA[:100_000], DATA[100_000:]),
    ],
)
async def test_a_body_of_unknown_length_comes_whole_over_a_socket(answer: bytes) -> None:
    async with scene(answer, over="tcp") as there:
        sink = Sink()
        await there.source.download(PATH, Remote(SIZE, ETAG), 0, sink)
    assert bytes(sink.data) == DATA


async def test_an_early_end_over_a_socket_leaves_what_has_come() -> None:
    async with scene(then_closes(ok(DATA[:100_000], content_length=SIZE)), over="tcp") as there:
        sink = Sink()
        with pytest.raises(SourceError, match="ended early"):
            await there.source.download(PATH, Remote(SIZE, ETAG), 0, sink)
    assert bytes(sink.data) == DATA[:100_000]


async def resets(stream: trio.abc.Stream) -> None:
    assert isinstance(stream, trio.SocketStream)
    await stream.send_all(ok(DATA[:100_000], content_length=SIZE))
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await stream.aclose()


async def test_a_reset_is_told_in_words() -> None:
    async with scene(resets, over="tcp") as there:
        with pytest.raises(SourceError, match="was cut off: Connection reset by peer"):
            await there.source.download(PATH, Remote(SIZE, ETAG), 0, Sink())


async def test_silence_on_a_socket_is_a_failure() -> None:
    async def silent(stream: trio.abc.Stream) -> None:
        await stream.send_all(ok(DATA[:100_000], content_length=SIZE))
        await trio.sleep_forever()

    async with scene(silent, over="tcp", stall_s=0.05) as there:
        sink = Sink()
        with pytest.raises(SourceError, match="has fallen silent"):
            await there.source.download(PATH, Remote(SIZE, ETAG), 0, sink)
    assert bytes(sink.data) == DATA[:100_000]


async def test_a_connection_over_a_socket_that_was_closed_meanwhile_is_replaced() -> None:
    async with scene(then_closes(ok(b"one")), ok(b"two"), over="tcp") as there:
        assert await there.http.read(there.url, 10) == b"one"
        await trio.testing.wait_all_tasks_blocked()
        assert await there.http.read(there.url, 10) == b"two"


async def test_a_port_where_nobody_listens_is_told_in_words() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with Http() as http:
        with pytest.raises(SourceError, match=r"cannot be reached: Connection refused$"):
            await http.read(f"http://127.0.0.1:{port}/", 10)
        # Several addresses were tried: the first one's reason is told.
        with pytest.raises(SourceError, match=r"cannot be reached: Connection refused$"):
            await http.read(f"http://localhost:{port}/", 10)


async def test_a_host_that_is_not_known_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(trio.socket, "getaddrinfo", fails)
    async with Http() as http:
        with pytest.raises(SourceError, match=r"http://archive.test/ cannot be reached: Name or service not known$"):
            await http.read("http://archive.test/", 10)


async def test_a_connection_that_takes_too_long_is_told_in_words() -> None:
    class Nowhere(httpcore.AsyncNetworkBackend):
        async def connect_tcp(self, *_: object, **__: object) -> httpcore.AsyncNetworkStream:
            raise httpcore.ConnectTimeout

    async with Http(network=Nowhere()) as http:
        with pytest.raises(SourceError, match="cannot be reached: nobody answers"):
            await http.read("http://archive.test/", 10)


# -- TLS --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for localhost that nobody has signed, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return certificate, key


async def over_tls(certificate: tuple[Path, Path], server: Server, ask: object) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    async with trio.open_nursery() as nursery:

        async def serve(stream: trio.SocketStream) -> None:
            tls = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
            with contextlib.suppress(trio.BrokenResourceError):
                await server.serve(tls)

        listeners = await nursery.start(trio.serve_tcp, serve, 0)
        await ask(f"https://localhost:{listeners[0].socket.getsockname()[1]}/")  # type: ignore[operator]
        nursery.cancel_scope.cancel()


async def test_a_file_comes_whole_over_tls(certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    server = Server([ok(DATA), ok(b"{}")])

    async def ask(url: str) -> None:
        async with Http() as http:
            sink = Sink()
            await HttpSource(http, url).download(PATH, Remote(SIZE, ETAG), 0, sink)
            assert bytes(sink.data) == DATA
            assert await http.read(url, 10) == b"{}"

    await over_tls(certificate, server, ask)
    assert server.connections == 1


async def test_failures_under_tls_are_told_in_the_same_words(
    certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    half = ok(DATA[:100_000], content_length=SIZE)

    async def silent(stream: trio.abc.Stream) -> None:
        await stream.send_all(half)
        await trio.sleep_forever()

    async def garbles(stream: trio.abc.Stream) -> None:
        assert isinstance(stream, trio.SSLStream)
        await stream.send_all(half)
        await stream.transport_stream.send_all(b"no record of TLS at all")
        await trio.sleep_forever()

    async def resets_below(stream: trio.abc.Stream) -> None:
        assert isinstance(stream, trio.SSLStream)
        await resets(stream.transport_stream)

    server = Server([then_closes(half), silent, garbles, resets_below])

    async def ask(url: str) -> None:
        async with Http(stall_s=0.2) as http:
            for said in ("ended early", "has fallen silent", r"was cut off: TLS failed \(.*\)$", "was cut off"):
                sink = Sink()
                with pytest.raises(SourceError, match=said):
                    await HttpSource(http, url).download(PATH, Remote(SIZE, ETAG), 0, sink)
                assert DATA.startswith(bytes(sink.data))

    await over_tls(certificate, server, ask)


async def test_a_server_that_never_agrees_on_keys_is_told_in_words() -> None:
    async def silent(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, silent, 0)
        async with Http(stall_s=0.05) as http:
            with pytest.raises(SourceError, match="nobody answers"):
                await http.read(f"https://localhost:{listeners[0].socket.getsockname()[1]}/", 10)
        nursery.cancel_scope.cancel()


async def test_a_certificate_that_nobody_has_signed_is_not_accepted(certificate: tuple[Path, Path]) -> None:
    async def ask(url: str) -> None:
        async with Http() as http:
            with pytest.raises(SourceError, match="its certificate is not valid"):
                await http.read(url, 10)

    await over_tls(certificate, Server([]), ask)


async def test_a_server_that_speaks_no_tls_is_told_in_words() -> None:
    async def blurts(stream: trio.SocketStream) -> None:
        await stream.send_all(head(400))
        await stream.receive_some()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, blurts, 0)
        async with Http() as http:
            with pytest.raises(SourceError, match=r"cannot be reached: TLS failed \(.*\)$"):
                await http.read(f"https://localhost:{listeners[0].socket.getsockname()[1]}/", 10)
        nursery.cancel_scope.cancel()


# -- as httpx uses it -------------------------------------------------------------------------------------------------


async def test_an_httpx_client_gets_whole_bodies_that_stay_what_they_are() -> None:
    async with scene(ok(DATA), ok(b"two"), ok(b"", content_length=9), over="tcp") as there:
        async with httpx.AsyncClient(transport=Transport()) as client:
            first = await client.get(there.url)
            second = await client.get(there.url)
            third = await client.head(there.url)
        assert (first.content, second.content, third.headers["content-length"]) == (DATA, b"two", "9")
    assert there.server.connections == 1


async def test_a_request_of_another_protocol_is_not_for_it() -> None:
    async with httpx.AsyncClient(transport=Transport()) as client:
        with pytest.raises(httpx.UnsupportedProtocol):
            await client.get("ftp://archive.test/")


async def test_a_header_that_cannot_be_sent_is_not_sent() -> None:
    server = Server([])
    async with trio.open_nursery() as nursery:
        async with httpx.AsyncClient(transport=Transport(MemoryNetwork(nursery, server))) as client:
            with pytest.raises(httpx.LocalProtocolError):
                await client.get("http://archive.test/", headers={"x": "a\r\nb: c"})
        nursery.cancel_scope.cancel()
    assert server.asked == []


# -- how much is enough -----------------------------------------------------------------------------------------------


def test_only_waiting_for_the_server_counts() -> None:
    flow = Flow(stall_s=30)
    assert all(flow.goes_on(1, waited_s=0.001) for _ in range(10_000))
    assert flow.goes_on(TRICKLE_BYTES, waited_s=59)
    assert not flow.goes_on(1, waited_s=60)
