"""The archive in memory speaks HTTP as a good server does: content, connections, limits, time."""

from __future__ import annotations

import hashlib
import json
import math
import random
from urllib.parse import quote

import httpcore
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from fsmcollect.sim.archive import LAYOUTS, Archive, Fault, FaultKind
from fsmcollect.sim.archive.line import Line
from fsmcollect.sim.archive.network import WINDOW_BYTES, MemoryStream
from fsmcollect.sim.kernel import Kernel
from tests.sim.archive.asking import Client, Got, asking, one, several

FIRST = "data/Movies/grid1_000001_frames.mrc"


def small(**more: object) -> Archive:
    given_: dict[str, object] = {"movies": 3, "width_px": 64, "height_px": 64}
    return Archive(**(given_ | more))  # type: ignore[arg-type]


# -- content -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rest", ["10200", "10200/", "EMPIAR-10200", "EMPIAR-10200/"])
def test_the_api_describes_the_entry(rest: str) -> None:
    archive = small()
    got = asking(archive, lambda client: client.get(archive.api_url + rest))
    assert (got.status, got.headers["content-type"]) == (200, "application/json")
    assert list(json.loads(got.body)) == ["EMPIAR-10200"]


@pytest.mark.parametrize("rest", ["10201/", "EMPIAR-99999", "", "10200/more"])
def test_another_entry_is_unknown(rest: str) -> None:
    archive = small()
    assert asking(archive, lambda client: client.get(archive.api_url + rest)).status == 404


def test_the_api_can_be_made_to_say_anything() -> None:
    archive = small(metadata=b"[]")
    assert asking(archive, lambda client: client.get(archive.api_url + "10200")).body == b"[]"


def test_a_file_comes_whole_with_its_validators() -> None:
    archive = small()
    got = one(archive, FIRST)
    assert got.status == 200
    assert hashlib.sha256(got.body).hexdigest() == archive.sha256(FIRST)
    assert got.headers["content-length"] == str(archive.size_bytes(FIRST))
    assert got.headers["accept-ranges"] == "bytes"
    assert got.etag.startswith('"')
    assert got.headers["last-modified"].endswith("GMT")


def test_head_says_what_get_says_and_sends_nothing() -> None:
    archive = small()
    head, get = one(archive, FIRST, "HEAD"), one(archive, FIRST)
    assert head.body == b""
    assert (head.status, head.headers) == (get.status, get.headers)


@given(st.integers(0, 33_000), st.integers(0, 33_000))
@settings(max_examples=30)
def test_any_range_is_that_part_of_the_file(start: int, length: int) -> None:
    archive = small()
    got = one(archive, FIRST, headers={"range": f"bytes={start}-{start + length}"})
    assert got.status == 206
    assert got.body == archive.file(FIRST).read(start, start + length + 1)


def test_a_download_goes_on_where_it_was_cut_if_the_file_is_still_the_same() -> None:
    archive = small(faults=[Fault(FaultKind.TRUNCATION)])

    async def body(client: Client) -> tuple[Got, Got, Got]:
        head = await client.data(FIRST, "HEAD")
        begun = await client.data(FIRST)
        rest = await client.data(FIRST, headers={"range": f"bytes={len(begun.body)}-", "if-range": head.etag})
        return head, begun, rest

    _, begun, rest = asking(archive, body)
    assert begun.error
    assert rest.status == 206
    assert hashlib.sha256(begun.body + rest.body).hexdigest() == archive.sha256(FIRST)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_file_can_be_had_under_its_encoded_name(layout: str) -> None:
    archive = small(layout=layout, movies=4)
    paths = [*archive.paths, *archive.gain_paths, *archive.other_paths]
    gots = several(archive, *(quote(path) for path in paths))
    assert [got.status for got in gots] == [200] * len(paths)
    assert [hashlib.sha256(got.body).hexdigest() for got in gots] == [archive.sha256(path) for path in paths]


@pytest.mark.parametrize(
    "path",
    [
        "data/Movies/none.mrc",
        "data/none/",
        "data%2FMovies/",
        "data/%ff%fe.mrc",
        "../10201/",
        "..",
        "data/../10200.xml",
        "data//Movies/",
        FIRST + "/",
        FIRST + "%00",
    ],
)
def test_what_is_not_there_is_404(path: str) -> None:
    assert one(small(), path).status == 404


def test_a_folder_without_its_slash_is_elsewhere() -> None:
    got = one(small(), "data/Movies")
    assert (got.status, got.headers["location"]) == (301, "/empiar/world_availability/10200/data/Movies/")


def test_a_listing_comes_in_chunks_whatever_order_it_is_asked_in() -> None:
    archive = small()
    plain, sorted_ = several(archive, "data/Movies/", "data/Movies/?C=S;O=A")
    assert plain.status == 200
    assert plain.headers["transfer-encoding"] == "chunked"
    assert plain.body == sorted_.body
    assert plain.body.count(b"_frames.mrc</a>") == 3


def test_only_reading_is_allowed() -> None:
    got = one(small(), FIRST, "DELETE")
    assert (got.status, got.headers["allow"]) == (405, "GET, HEAD")


def test_the_older_path_serves_the_same() -> None:
    archive = small()
    url = f"https://{archive.hosts[0]}/pub/databases/empiar/archive/10200/{FIRST}"
    assert asking(archive, lambda client: client.get(url)).body == one(archive, FIRST).body


def test_the_log_says_what_was_asked_for_and_how_it_was_answered() -> None:
    archive = small(faults=[Fault(FaultKind.SERVER_ERROR)])
    several(archive, FIRST, FIRST)
    one(archive, FIRST, "HEAD", headers={"range": "bytes=0-1"})
    path = f"/empiar/world_availability/10200/{FIRST}"
    assert [(r.method, r.path, r.range, r.status, r.fault) for r in archive.requests] == [
        ("GET", path, "", 503, "server-error"),
        ("GET", path, "", 200, ""),
        ("HEAD", path, "bytes=0-1", 206, ""),
    ]


# -- connections -------------------------------------------------------------------------------------------------------


def test_one_connection_serves_many_requests() -> None:
    archive = small()

    async def body(client: Client) -> list[str]:
        statuses = []
        for _ in range(20):
            statuses.append((await client.data(FIRST)).status)
            await client.data(FIRST, "HEAD")
        assert statuses == [200] * 20
        return [str(connection) for connection in client.pool.connections]

    assert len(asking(archive, body)) == 1


def test_who_asks_for_it_gets_the_connection_closed() -> None:
    archive = small()

    async def body(client: Client) -> int:
        got = await client.data(FIRST, headers={"connection": "close"})
        assert (got.status, got.headers["connection"]) == (200, "close")
        return len(client.pool.connections)

    assert asking(archive, body) == 0


def test_any_port_of_its_hosts_is_the_archive_and_nobody_else_is_there() -> None:
    archive = small()

    async def body(client: Client) -> list[str | int]:
        root = "/empiar/api/entry/10200"
        gots = [
            await client.get(f"{origin}{root}")
            for origin in ("http://archive.invalid:81", "https://www.ebi.ac.uk", "http://elsewhere.invalid")
        ]
        return [got.error or got.status for got in gots]

    assert asking(archive, body) == [200, 200, "ConnectError"]


def test_a_unix_socket_leads_nowhere() -> None:
    async def body(client: Client) -> None:
        async with trio.open_nursery() as nursery:
            with pytest.raises(httpcore.ConnectError):
                await client.archive.network(nursery).connect_unix_socket("/x")

    asking(small(), body)


def test_a_slow_connection_is_a_connect_timeout() -> None:
    assert one(small(latency_s=31.0), FIRST).error == "ConnectTimeout"


def test_a_slow_answer_is_a_read_timeout_at_its_time() -> None:
    got = one(small(latency_s=20.0, bandwidth_bytes_per_s=100), FIRST)
    assert (got.error, got.status) == ("ReadTimeout", 200)
    assert got.at_s == pytest.approx(70.0, abs=0.1)


def test_a_sender_waits_when_nobody_reads() -> None:
    async def run() -> int:
        ours, theirs = MemoryStream.pair()
        sent = 0
        with trio.move_on_after(10):
            while True:
                await ours.send_all(bytes(100_000))
                sent += 100_000
        with pytest.raises(trio.TooSlowError), trio.fail_after(1):
            await ours.send_all(b"more")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ours.send_all, b"end")
            received = 0
            while received < sent + len(b"end"):
                received += len(await theirs.receive_some(30_000))
        return sent

    assert WINDOW_BYTES <= Kernel().run(run) <= WINDOW_BYTES + 100_000


def test_the_ends_of_a_stream_in_memory_are_those_of_a_socket() -> None:
    async def run() -> None:
        ours, theirs = MemoryStream.pair()
        await ours.send_all(b"last words")
        await ours.aclose()
        await ours.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await ours.send_all(b"x")
        with pytest.raises(trio.ClosedResourceError):
            await ours.receive_some()
        assert theirs.has_news
        assert await theirs.receive_some(4) == b"last"
        assert await theirs.receive_some() == b" words"
        assert await theirs.receive_some() == b""
        with pytest.raises(trio.BrokenResourceError):
            await theirs.send_all(b"x")

        ours, theirs = MemoryStream.pair()
        await ours.wait_send_all_might_not_block()
        await ours.send_all(b"last words")
        ours.reset()
        assert await theirs.receive_some() == b"last words"
        with pytest.raises(trio.BrokenResourceError):
            await theirs.receive_some()

    Kernel().run(run)


def test_the_bytes_that_a_client_drops_are_dropped_on_the_servers_side_too() -> None:
    archive = small(width_px=4096, height_px=4096, frames=4)

    async def body(client: Client) -> float:
        got = await client.data(FIRST, most_bytes=1000)
        assert 1000 <= len(got.body) < 1_000_000
        again = await client.data(FIRST, "HEAD")
        assert again.status == 200
        return again.at_s

    assert asking(archive, body) < 1.0  # the whole file would take 2.7 s


# -- garbage -----------------------------------------------------------------------------------------------------------


def talked(sent: bytes) -> bytes:
    """What comes back when these bytes are sent and nothing more."""

    async def run() -> bytes:
        archive = small(latency_s=0.0, bandwidth_bytes_per_s=None)
        ours, theirs = MemoryStream.pair()
        received = b""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(archive.serve, theirs)
            await ours.send_all(sent)
            with trio.move_on_after(5):
                while block := await ours.receive_some():
                    received += block
            await ours.aclose()
        return received

    return Kernel().run(run)


@pytest.mark.parametrize(
    "sent",
    [
        b"GET\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n" + b"x: y\r\n" * 20_000,
        b"G\x00T / HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
def test_what_is_no_request_is_400_and_the_end(sent: bytes) -> None:
    assert talked(sent).startswith(b"HTTP/1.1 400 Bad Request")


def test_a_good_request_before_the_garbage_is_answered() -> None:
    answer = talked(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\nnonsense\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 404")
    assert b"HTTP/1.1 400" in answer


def test_requests_may_be_sent_without_waiting_for_answers() -> None:
    request = f"HEAD /empiar/world_availability/10200/{FIRST} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    assert talked(request * 3).count(b"HTTP/1.1 200") == 3


def test_who_wants_to_send_a_body_first_is_told_that_it_is_not_wanted() -> None:
    asked = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n"
    assert talked(asked).startswith(b"HTTP/1.1 405")


def test_an_old_client_gets_an_answer_that_it_understands() -> None:
    answer = talked(b"GET /empiar/world_availability/10200/data/ HTTP/1.0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"chunked" not in answer
    assert answer.endswith(b"</body></html>\n")


START = b"GET /empiar/world_availability/10200/data/ HTTP/1.1\r\nHost: a\r\n"


@given(
    st.binary(max_size=300)
    | st.builds(lambda tail: START + tail, st.binary(max_size=100))
    | st.builds(lambda at, junk: START[:at] + junk + START[at:] + b"\r\n", st.integers(0, 70), st.binary())
)
def test_no_garbage_brings_it_down(sent: bytes) -> None:
    answer = talked(sent)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 ")


# -- time --------------------------------------------------------------------------------------------------------------


def test_one_file_takes_the_latency_and_its_bytes() -> None:
    archive = small(width_px=1024, height_px=1024, frames=25, latency_s=0.2, bandwidth_bytes_per_s=10e6)
    seconds = archive.size_bytes(FIRST) / 10e6
    assert one(archive, FIRST).at_s == pytest.approx(0.2 + 0.2 + seconds, abs=1e-3)


def test_four_at_once_share_the_line() -> None:
    archive = small(width_px=1024, height_px=1024, frames=5, movies=4, bandwidth_bytes_per_s=10e6)

    async def body(client: Client) -> float:
        async with trio.open_nursery() as nursery:
            for path in archive.paths:
                nursery.start_soon(client.data, path)
        return trio.current_time()

    seconds = 4 * archive.size_bytes(FIRST) / 10e6
    assert asking(archive, body) == pytest.approx(0.1 + seconds, abs=1e-3)


def test_without_latency_and_limit_no_time_passes() -> None:
    archive = small(latency_s=0.0, bandwidth_bytes_per_s=None)
    got = one(archive, FIRST)
    assert hashlib.sha256(got.body).hexdigest() == archive.sha256(FIRST)
    assert got.at_s == 0.0


def test_a_second_run_finds_the_line_free() -> None:
    archive = small(width_px=1024, height_px=1024, frames=25, latency_s=0.2, bandwidth_bytes_per_s=10e6)
    assert one(archive, FIRST).at_s == one(archive, FIRST).at_s


def test_who_gives_up_before_its_turn_keeps_nobody_waiting() -> None:
    async def run() -> float:
        line = Line(latency_s=1.0, bandwidth_bytes_per_s=1000.0)
        with trio.move_on_after(0.5):
            await line.ask("gives up")
        with trio.move_on_after(0.5):
            await line.carry("gives up", 0, 1000)
        await line.ask("a")
        await line.carry("a", 0, 1000)
        return trio.current_time()

    assert Kernel().run(run) == pytest.approx(0.5 + 0.5 + 1.0 + 1.0, abs=1e-4)


every_fault = st.builds(
    Fault,
    st.sampled_from([kind for kind in FaultKind if kind not in (FaultKind.ENDLESS, FaultKind.TRICKLE, FaultKind.BOMB)]),
    path=st.sampled_from(["*", "*.mrc", "*/"]),
    times=st.integers(1, 3),
    skip=st.integers(0, 3),
    each=st.booleans(),
    at_fraction=st.floats(0.0, 1.0),
    delay_s=st.sampled_from([0.001, 40.0]),
    extra_bytes=st.sampled_from([-7, 7]),
)


def trace(archive: Archive, tasks: int, shuffle: random.Random) -> list[object]:
    """Everything that is asked and comes back when several tasks ask for all files at once, and when."""

    async def body(client: Client) -> list[object]:
        seen: list[object] = []

        async def one_task(number: int) -> None:
            # No two ask for the same at the same time: which of them meets a fault would be anybody's guess.
            paths = [*archive.paths[number::tasks], *(["data/Movies/"] if number == 0 else [])]
            for attempt in range(3):
                for path in paths:
                    got = await client.data(path, headers={"range": "bytes=1000-"} if attempt == 1 else {})
                    digest = hashlib.sha256(got.body).hexdigest()
                    seen.append((math.floor(got.at_s * 1e6), number, path, got.status, got.error, digest))

        async with trio.open_nursery() as nursery:
            numbers = list(range(tasks))
            shuffle.shuffle(numbers)
            for number in numbers:
                nursery.start_soon(one_task, number)
        return [*sorted(map(str, seen)), *archive.requests]

    return asking(archive, body, connections=20)


@given(st.lists(every_fault, max_size=3), st.integers(1, 5), st.integers(0, 3))
@settings(max_examples=25)
def test_equal_archives_answer_equally_at_equal_times_whatever_the_order_of_tasks(
    faults: list[Fault], tasks: int, seed: int
) -> None:
    def run(order: int) -> list[object]:
        archive = small(movies=6, seed=seed, faults=faults, bandwidth_bytes_per_s=1e6)
        return trace(archive, tasks, random.Random(order))

    assert run(1) == run(2)
