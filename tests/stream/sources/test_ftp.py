"""The archive over FTP, against a real server (pyftpdlib) that does, or does not do, what it should."""

from __future__ import annotations

import socket
import threading
from collections.abc import Generator
from pathlib import Path

import pytest
import trio
from hypothesis import example, given
from hypothesis import strategies as st

from fsmcollect.stream.sources import Changed, NotThere, Refused, SourceError
from fsmcollect.stream.sources import ftp as ftp_source
from fsmcollect.stream.sources.ftp import FtpSource
from fsmcollect.stream.values import Listed, Remote
from tests.stream.sources.scripted import Sink
from tests.stream.sources.serving import Ftp, FTPHandler, ftp, plant

#: Several blocks, and not a multiple of one.
DATA = bytes(range(251)) * 12_000
SIZE = len(DATA)
PATH = "data/Movies/a.mrc"
NAMES = ["a b%23&c;d=.mrc", "ü.mrc", "[1]*.mrc", "-la.mrc", " blank.mrc", "2 -> 3.mrc", "10:45.mrc"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    files = {"10200/data/Movies/a.mrc": DATA, "10200/data/Movies/Case3/a.mrc": b"other", "10200/empty/x/y": b""}
    return plant(tmp_path, files | {f"10200/data/{name}": b"12345" for name in NAMES})


@pytest.fixture(params=["MLSD", "LIST"])
def server(tree: Path, request: pytest.FixtureRequest) -> Generator[Ftp]:
    with ftp(tree, without=["MLSD"] if request.param == "LIST" else []) as running:
        yield running


def source_of(server: Ftp, connections: int = 2, stall_s: float = 30.0) -> FtpSource:
    return FtpSource(server.url + "10200/", connections, stall_s)


async def fetched(server: Ftp, remote: Remote | None = None, offset: int = 0, stall_s: float = 30.0) -> Sink:
    """What a download hands over that had `offset` bytes already."""
    source, sink = source_of(server, stall_s=stall_s), Sink(bytearray(DATA[:offset]))
    try:
        await source.download(PATH, remote or await source.head(PATH), offset, sink)
    finally:
        await source.aclose()
    return sink


async def failure(kind: type[SourceError], server: Ftp, remote: Remote | None = None, offset: int = 0) -> str:
    with pytest.raises(kind) as caught:
        await fetched(server, remote, offset)
    assert caught.type is kind
    assert "ftp://127.0.0.1:" in str(caught.value)
    return str(caught.value)


def by_name(rows: list[Listed]) -> list[Listed]:
    return sorted(rows, key=lambda row: row.name)


# -- folders ----------------------------------------------------------------------------------------------------------


async def test_folders_are_listed_with_exact_sizes(server: Ftp) -> None:
    source = source_of(server)
    assert by_name(await source.folder("")) == [Listed("data", is_folder=True), Listed("empty", is_folder=True)]
    assert by_name(await source.folder("data/Movies")) == [
        Listed("Case3", is_folder=True),
        Listed("a.mrc", size_bytes=SIZE, about_bytes=SIZE),
    ]
    # Deeper, elsewhere, and back: nothing depends on where the session was before.
    assert await source.folder("empty/x") == [Listed("y", size_bytes=0, about_bytes=0)]
    assert (await source.head("data/Movies/Case3/a.mrc")).size_bytes == 5
    assert (await source.head(PATH)).size_bytes == SIZE
    await source.aclose()


async def test_a_name_of_any_kind_is_listed_and_found_again(server: Ftp) -> None:
    source = source_of(server)
    assert {row.name for row in await source.folder("data")} == {"Movies", *NAMES}
    for name in NAMES:
        assert (await source.head(f"data/{name}")).size_bytes == 5
    await source.aclose()


async def test_a_folder_that_is_not_there_is_told(server: Ftp) -> None:
    source = source_of(server)
    with pytest.raises(NotThere, match="data/none is not there"):
        await source.folder("data/none")
    with pytest.raises(NotThere):
        await source.folder(PATH)
    assert await source.folder("empty") == [Listed("x", is_folder=True)]
    await source.aclose()
    assert server.commands.count("USER anonymous") == 1, "a question about what is not there broke the session"


@pytest.mark.parametrize("path", ["../x", "a\r\nDELE b", "/etc/passwd", "a//b", "a/../b"])
async def test_a_path_that_is_not_safe_is_not_asked_for(server: Ftp, path: str) -> None:
    source = source_of(server)
    for ask in (source.folder, source.head):
        with pytest.raises(Refused, match="is not asked for"):
            await ask(path)
    assert server.commands == []


class Sends(FTPHandler):  # type: ignore[misc]
    """Sends a test's own lines as a listing."""

    lines = b""

    def ftp_LIST(self, path: str) -> None:  # noqa: N802 - as pyftpdlib has it
        self.push_dtp_data(self.lines, cmd="LIST")

    ftp_MLSD = ftp_LIST  # noqa: N815


def sending(lines: bytes) -> type[FTPHandler]:
    return type("Sending", (Sends,), {"lines": lines})


UNIX = [
    b"total 12",
    b"drwxr-xr-x   2 ftp      ftp          4096 Nov 20 12:45 .",
    b"drwxr-xr-x   2 ftp      ftp          4096 Nov 20 12:45 Movies",
    b"-rw-r--r--   1 1001     empiar   671089664 Nov 20  2026 a  b.mrc",
    b"-rw-r--r--+  1 ftp        671089665 Nov  2 2025 no group.mrc",
    b"-rw-r--r--   1 ftp      ftp             7 2026-11-20 12:45 iso.mrc",
    b"lrwxrwxrwx   1 ftp      ftp            24 Nov 20 12:45 linked.mrc -> ../../elsewhere.mrc",
    b"-rw-r--r--   1 ftp      ftp             7 Nov 20 12:45 \xfc.mrc",
    b"-rw-r--r--   1 ftp      ftp             7 Nov 20 12:45 up/../../x.mrc",
    b"-rw-r--r--   1 ftp      ftp             7 Nov 20 12:45 ..",
    b"srwxr-xr-x   1 ftp      ftp             7 Nov 20 12:45 socket",
    b"-rw-r--r--   1 ftp      ftp             8 Nov 20 12:45 iso.mrc",
]


async def test_what_other_servers_list_is_understood(tree: Path) -> None:
    with ftp(tree, sending(b"\r\n".join(UNIX) + b"\r\n"), without=["MLSD"]) as server:
        source = source_of(server)
        rows = await source.folder("data")
        await source.aclose()
    assert rows == [
        Listed("Movies", is_folder=True),
        Listed("a  b.mrc", size_bytes=671089664, about_bytes=671089664),
        Listed("no group.mrc", size_bytes=671089665, about_bytes=671089665),
        Listed("iso.mrc", size_bytes=7, about_bytes=7),
        Listed("linked.mrc"),
    ]


MLSD = [
    b"type=cdir;modify=20261120124500; .",
    b"type=pdir;modify=20261120124500; ..",
    b"Type=dir;Modify=20261120124500; Movies",
    b"modify=20261120124500;perm=adfr;size=7;type=file;unique=1; a b.mrc",
    b"type=OS.unix=slink:/elsewhere;size=24; linked.mrc",
    b"type=file;size=many; odd.mrc",
    b"type=file;size=7; \xfc.mrc",
    b"type=file;size=7; up/../x.mrc",
    b"nonsense",
]


async def test_what_machines_list_is_understood(tree: Path) -> None:
    with ftp(tree, sending(b"\r\n".join(MLSD) + b"\r\n")) as server:
        source = source_of(server)
        rows = await source.folder("data")
        await source.aclose()
    assert rows == [
        Listed("Movies", is_folder=True),
        Listed("a b.mrc", size_bytes=7, about_bytes=7),
        Listed("linked.mrc"),
        Listed("odd.mrc"),
    ]


async def test_a_listing_in_an_unknown_form_is_refused(tree: Path) -> None:
    rows = b"11-20-26  12:45PM       <DIR>          Movies\r\n"
    refused = pytest.raises(Refused, match="in a form that is not known")
    with ftp(tree, sending(rows), without=["MLSD"]) as server, refused:
        await source_of(server).folder("data")


async def test_a_listing_without_an_end_is_refused(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ftp_source, "MAX_NAMES", 100)
    refused = pytest.raises(Refused, match="more files than any folder")
    with ftp(tree, sending(b"type=file;size=7; a.mrc\r\n" * 101)) as server, refused:
        await source_of(server).folder("data")


@given(st.binary(max_size=200))
@example(b"-rw-r--r-- 1 ftp ftp 7 Nov 20 12:45 \xff")
@example(b"type=file;size=\xb2; a")
def test_no_line_of_a_listing_however_odd_names_what_is_not_safe(line: bytes) -> None:
    text = ftp_source._text(line.decode("latin-1"))
    row = ftp_source._mlsd_row(text)
    assert row is None or row.size_bytes is None or row.size_bytes >= 0
    try:
        ftp_source._unix_rows([text], "ftp://x/")
    except Refused:
        assert text.strip()


# -- sizes and times --------------------------------------------------------------------------------------------------


async def test_size_and_time_of_a_file(server: Ftp, tree: Path) -> None:
    source = source_of(server)
    remote = await source.head(PATH)
    assert remote.size_bytes == SIZE
    assert remote.validator is not None
    assert len(remote.validator) == 14
    with pytest.raises(NotThere, match=r"data/none\.mrc is not there"):
        await source.head("data/none.mrc")
    await source.aclose()


async def test_without_times_there_is_no_validator_and_nothing_is_continued(tree: Path) -> None:
    with ftp(tree, without=["MDTM"]) as server:
        assert (await fetched(server, Remote(SIZE, None), 1000)).begun == [0]


async def test_a_server_that_tells_no_size_is_refused(tree: Path) -> None:
    with ftp(tree, without=["SIZE"]) as server:
        assert "tells no size" in await failure(Refused, server)


# -- fetching ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [0, 1, 1 << 20, SIZE - 1])
async def test_a_file_comes_whole_from_wherever_it_stopped(server: Ftp, offset: int) -> None:
    sink = await fetched(server, offset=offset)
    assert bytes(sink.data) == DATA
    assert sink.begun == [offset]


async def test_an_empty_file_comes(server: Ftp) -> None:
    source, sink = source_of(server), Sink()
    await source.download("empty/x/y", await source.head("empty/x/y"), 0, sink)
    await source.aclose()
    assert (bytes(sink.data), sink.begun) == (b"", [0])


async def test_a_server_that_cannot_go_on_begins_afresh(tree: Path) -> None:
    with ftp(tree, without=["REST"]) as server:
        sink = await fetched(server, offset=1000)
    assert (bytes(sink.data), sink.begun) == (DATA, [0])


async def test_another_file_than_the_one_that_was_begun_is_not_taken(server: Ftp) -> None:
    source = source_of(server)
    remote = await source.head(PATH)
    await source.aclose()
    for other in (Remote(SIZE + 1, remote.validator), Remote(SIZE, "20200101000000"), Remote(SIZE, '"an etag"')):
        for offset in (0, 1000):
            assert "has changed" in await failure(Changed, server, other, offset)


def claiming(size_bytes: int) -> type[FTPHandler]:
    class Claims(FTPHandler):  # type: ignore[misc]
        def ftp_SIZE(self, path: str) -> None:  # noqa: N802
            self.respond(f"213 {size_bytes}")

    return Claims


async def test_a_file_that_ends_early_leaves_what_has_come(tree: Path) -> None:
    with ftp(tree, claiming(SIZE + 1)) as server:
        assert f"ended early, after {SIZE:,} of {SIZE + 1:,} bytes" in await failure(SourceError, server)


async def test_more_bytes_than_the_file_has_are_refused(tree: Path) -> None:
    with ftp(tree, claiming(SIZE - 1)) as server:
        assert f"more than the {SIZE - 1:,} bytes" in await failure(Refused, server)


async def test_a_server_that_passes_over_where_to_go_on_has_the_file_begun_afresh(tree: Path) -> None:
    class Deaf(FTPHandler):  # type: ignore[misc]
        def ftp_REST(self, line: str) -> None:  # noqa: N802
            self.respond("350 as you like")

    with ftp(tree, Deaf) as server:
        await failure(Changed, server, offset=SIZE // 2)


async def test_a_transfer_that_the_server_takes_back_has_failed(tree: Path) -> None:
    class Regrets(FTPHandler):  # type: ignore[misc]
        def respond(self, resp: str, *args: object, **kwargs: object) -> None:
            super().respond(resp.replace("226 ", "451 "), *args, **kwargs)

    with ftp(tree, Regrets) as server:
        assert "answers '451" in await failure(SourceError, server)


# -- servers that fail ------------------------------------------------------------------------------------------------


def answering(greeting: str = "", size: str = "") -> type[FTPHandler]:
    class Answers(FTPHandler):  # type: ignore[misc]
        def handle(self) -> None:
            if greeting:
                self.push(greeting)
                self.close_when_done()
            else:
                super().handle()

        def ftp_SIZE(self, path: str) -> None:  # noqa: N802
            self.push(size)
            if not size:
                self.close()

    return Answers


@pytest.mark.parametrize(
    "greeting, said",
    [
        ("421 Too many connections.\r\n", "the server answers '421 Too many connections.'"),
        ("530 No anonymous access.\r\n", "refuses access"),
        ("HTTP/1.1 400 Bad Request\r\n", "does not speak FTP as it should"),
        ("220-" + "x" * 9000 + "\r\n", "does not speak FTP as it should"),
        ("\xff\xfe\r\n", "does not speak FTP as it should"),
        ("220-never\r\n", "was cut off"),
    ],
)
async def test_a_greeting_that_is_none_is_told_in_words(tree: Path, greeting: str, said: str) -> None:
    with ftp(tree, answering(greeting=greeting)) as server:
        assert said in await failure(SourceError, server)


@pytest.mark.parametrize(
    "size, kind, said",
    [
        ("450 Not now.\r\n", SourceError, "answers '450 Not now.'"),
        ("553 No.\r\n", SourceError, "answers '553 No.'"),
        ("550 \x1b[2J gone\r\n", NotThere, "is not there"),
        ("213 lots\r\n", Refused, "tells no size"),
        ("213 " + "9" * 5000 + "\r\n", Refused, "tells no size"),
        ("", SourceError, "was cut off"),
    ],
)
async def test_an_answer_that_is_none_is_told_in_words(
    tree: Path, size: str, kind: type[SourceError], said: str
) -> None:
    with ftp(tree, answering(size=size)) as server:
        assert said in (message := await failure(kind, server))
    assert message.isprintable()


async def test_a_port_where_nobody_listens_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(SourceError, match=r"cannot be reached: Connection refused$"):
        await FtpSource(f"ftp://127.0.0.1:{port}/").head(PATH)


async def test_a_server_that_never_greets_has_failed_after_a_while() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        source = FtpSource(f"ftp://127.0.0.1:{silent.getsockname()[1]}/", stall_s=0.05)
        with pytest.raises(SourceError, match=r"has fallen silent|has not answered"):
            await source.head(PATH)


class Silent(FTPHandler):  # type: ignore[misc]
    """Promises a file and sends nothing of it."""

    def ftp_RETR(self, file: str) -> None:  # noqa: N802
        self.respond("150 It comes.")


async def test_a_file_of_which_nothing_comes_has_failed_after_a_while(tree: Path) -> None:
    with ftp(tree, Silent) as server, pytest.raises(SourceError, match="has fallen silent"):
        await fetched(server, stall_s=0.1)


@pytest.mark.parametrize("url", ["ftp://host:port/", "ftp://[::1/"])
async def test_a_url_that_cannot_be_asked_is_refused(url: str) -> None:
    with pytest.raises(Refused, match="is no URL"):
        FtpSource(url)


async def test_who_cannot_reach_the_server_is_told_of_the_proxy_that_is_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ftp_source, "unused_proxy", {"ftp://127.0.0.1:9/10200/a": "FTP_PROXY is set"}.get)
    with pytest.raises(SourceError) as caught:
        await FtpSource("ftp://127.0.0.1:9/10200/").head("a")
    assert str(caught.value) == "ftp://127.0.0.1:9/10200/a cannot be reached: Connection refused (FTP_PROXY is set)"


async def test_a_password_in_the_url_is_not_told() -> None:
    assert FtpSource("ftp://me:secret@archive.test/10200").url == "ftp://archive.test/10200/"


# -- sessions ---------------------------------------------------------------------------------------------------------


async def test_there_are_never_more_sessions_than_allowed_and_they_are_kept(tree: Path) -> None:
    with ftp(tree) as server:
        source = source_of(server, connections=2)
        remote = await source.head(PATH)
        async with trio.open_nursery() as nursery:
            sinks = [Sink() for _ in range(8)]
            for sink in sinks:
                nursery.start_soon(source.download, PATH, remote, 0, sink)
        await source.aclose()
    assert all(bytes(sink.data) == DATA for sink in sinks)
    assert server.commands.count("USER anonymous") == 2


async def test_a_session_that_the_server_has_ended_meanwhile_is_replaced(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Impatient(FTPHandler):  # type: ignore[misc]
        def ftp_MDTM(self, path: str) -> None:  # noqa: N802
            super().ftp_MDTM(path)
            self.close_when_done()

    monkeypatch.setattr(ftp_source, "FRESH_S", 0.0)
    with ftp(tree, Impatient) as server:
        source = source_of(server)
        for _ in range(3):
            assert (await source.head(PATH)).size_bytes == SIZE
        await source.aclose()
    assert server.commands.count("USER anonymous") == 3


async def test_a_session_that_still_lives_is_used_again_after_a_rest(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ftp_source, "FRESH_S", 0.0)
    with ftp(tree) as server:
        source = source_of(server)
        for _ in range(3):
            assert (await source.head(PATH)).size_bytes == SIZE
        await source.aclose()
        await source.aclose()
    assert (server.commands.count("USER anonymous"), server.commands.count("NOOP")) == (1, 2)


async def test_a_download_that_is_cancelled_ends_at_once_and_its_thread_too(tree: Path) -> None:
    class Watched(Silent):
        closed = threading.Event()

        def close(self) -> None:
            super().close()
            self.closed.set()

    promised = trio.Event()

    class Noting(Sink):
        async def begin(self, offset: int) -> None:
            await super().begin(offset)
            promised.set()

    sink = Noting()
    with ftp(tree, Watched) as server:
        source = source_of(server)
        remote = await source.head(PATH)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(source.download, PATH, remote, 0, sink)
            await promised.wait()
            nursery.cancel_scope.cancel()
        # Its socket was closed: the thread that waited on it has ended, long before its own limit of 30 s.
        assert await trio.to_thread.run_sync(Watched.closed.wait, 10)
        assert (await source.head(PATH)) == remote
        await source.aclose()
    assert bytes(sink.data) == b""


async def test_a_failing_sink_ends_the_session(server: Ftp) -> None:
    class Full(Sink):
        async def write(self, block: bytes | bytearray | memoryview) -> None:
            raise OSError(28, "No space left on device")

    source = source_of(server)
    remote = await source.head(PATH)
    with pytest.raises(OSError, match="No space"):
        await source.download(PATH, remote, 0, Full())
    sink = Sink()
    await source.download(PATH, remote, 0, sink)
    await source.aclose()
    assert bytes(sink.data) == DATA


async def dripping(stream: trio.SocketStream) -> None:
    """A greeting that never ends."""
    await stream.send_all(b"220-")
    while True:
        await stream.send_all(b"x")
        await trio.sleep(0.01)


async def test_a_server_that_trickles_its_answers_has_failed_as_well() -> None:
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, dripping, 0)
        source = FtpSource(f"ftp://127.0.0.1:{listeners[0].socket.getsockname()[1]}/", stall_s=0.1)
        with pytest.raises(SourceError, match=r"has not answered within 0\.2 s"):
            await source.head(PATH)
        nursery.cancel_scope.cancel()


async def test_a_file_that_trickles_has_failed_as_well(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    receive = ftp_source._Session.receive
    monkeypatch.setattr(ftp_source._Session, "receive", lambda session, buffer: receive(session, buffer[:1]))
    monkeypatch.setattr(ftp_source, "BLOCK_BYTES", 1)
    with ftp(tree) as server, pytest.raises(SourceError, match="sends next to nothing"):
        await fetched(server, stall_s=0.02)
