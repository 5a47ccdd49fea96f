"""The archive over HTTP, against a server that answers what a test wants: in memory, so that silence takes no time."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from email.utils import format_datetime

import httpcore
import pytest
import trio
from hypothesis import example, given
from hypothesis import strategies as st
from trio.testing import MockClock

from fsmcollect import __version__
from fsmcollect.stream.sources import Changed, NotThere, Refused, SourceError
from fsmcollect.stream.sources.http import MAX_REDIRECTS, Http, HttpSource
from fsmcollect.stream.sources.network import unused_proxy
from fsmcollect.stream.values import Listed, Remote
from tests.stream.sources.scripted import (
    ETAG,
    MODIFIED,
    Answer,
    Sink,
    head,
    in_pieces,
    ok,
    part,
    scene,
    slowly,
    then_closes,
    then_silence,
)

DATA = bytes(range(256)) * 40
SIZE = len(DATA)
REMOTE = Remote(SIZE, ETAG)
PATH = "data/a.mrc"
LISTING = b"<title>Index of /</title><a href='a.mrc'>a.mrc</a>"


def in_words(error: BaseException) -> str:
    """The message, which names the URL and no class of any library."""
    said = str(error)
    assert "http://" in said or "https://" in said
    assert re.search(r"[a-z](Error|Exception|Timeout)\b|\bh11|httpx|httpcore|[Ee]rrno|\n", said) is None, said
    return said


async def fetched(*answers: Answer, remote: Remote = REMOTE, offset: int = 0, path: str = PATH) -> Sink:
    """What a download hands over that had `offset` bytes already."""
    sink = Sink(bytearray(DATA[:offset]))
    async with scene(*answers) as there:
        await there.source.download(path, remote, offset, sink)
    return sink


async def failure(
    kind: type[SourceError], *answers: Answer, remote: Remote = REMOTE, offset: int = 0, path: str = PATH
) -> tuple[str, Sink]:
    """How a download fails: the message, and what has been handed over before."""
    sink = Sink(bytearray(DATA[:offset]))
    with pytest.raises(kind) as caught:
        async with scene(*answers) as there:
            await there.source.download(path, remote, offset, sink)
    assert caught.type is kind
    return in_words(caught.value), sink


# -- what is asked ----------------------------------------------------------------------------------------------------


async def test_every_question_asks_for_the_bytes_as_they_are_and_says_who_asks() -> None:
    async with scene(ok(b"", content_length=5), ok(DATA), ok(LISTING), ok(b"{}")) as there:
        await there.source.head(PATH)
        await there.source.download(PATH, REMOTE, 0, Sink())
        await there.source.folder("data")
        await there.http.read(there.url, 100)
    for asked in there.server.asked:
        assert asked.headers["accept-encoding"] == "identity"
        assert asked.headers["user-agent"] == f"fsmcollect/{__version__}"
        assert asked.headers["host"] == "archive.test"
        assert "cookie" not in asked.headers


async def test_every_part_of_a_path_is_encoded_fully() -> None:
    async with scene(ok(b"", content_length=1), ok(LISTING)) as there:
        await there.source.head("data/a b%23&c+ü?#;@.mrc")
        await there.source.folder("data/x&y")
    assert [asked.target for asked in there.server.asked] == [
        "/10200/data/a%20b%2523%26c%2B%C3%BC%3F%23%3B%40.mrc",
        "/10200/data/x%26y/",
    ]


async def test_the_folder_itself_is_asked_for_with_its_slash() -> None:
    async with scene(ok(LISTING)) as there:
        assert await HttpSource(there.http, "http://archive.test/10200").folder("") == [Listed("a.mrc")]
    assert there.server.asked[0].target == "/10200/"


async def test_a_password_in_the_url_is_not_told() -> None:
    async with scene(head(404, content_length=0)) as there:
        source = HttpSource(there.http, "http://me:secret@archive.test/10200/")
        with pytest.raises(NotThere) as caught:
            await source.head(PATH)
    assert "secret" not in in_words(caught.value) + source.url


# -- documents and folders --------------------------------------------------------------------------------------------


async def test_a_document_is_read_whole() -> None:
    async with scene(ok(b"{}"), head(200, transfer_encoding="chunked") + in_pieces(b"{", b"}")) as there:
        assert await there.http.read(there.url, 2) == b"{}"
        assert await there.http.read(there.url, 2) == b"{}"


@pytest.mark.parametrize("answer", [ok(b"x" * 101), head(200, transfer_encoding="chunked") + in_pieces(b"x" * 101)])
async def test_a_document_that_is_too_large_is_refused(answer: bytes) -> None:
    async with scene(answer) as there:
        with pytest.raises(Refused, match="larger than 100 bytes"):
            await there.http.read(there.url, 100)


async def test_unsafe_names_in_listings_are_kept_for_telling() -> None:
    page = LISTING + b"<a href='..%2fb.mrc'>b</a>"
    async with scene(ok(page), ok(page)) as there:
        assert await there.source.folder("data") == [Listed("a.mrc")]
        assert await there.source.folder("") == [Listed("a.mrc")]
        assert list(there.source.refused) == ["data/'../b.mrc'", "'../b.mrc'"]


@pytest.mark.parametrize("page", [b"<h1>We are moving house</h1>", b"{}", b"", b"<a" + b" " * 100_000])
async def test_a_page_that_is_no_listing_may_be_one_the_next_time(page: bytes) -> None:
    async with scene(ok(page)) as there:
        with pytest.raises(SourceError, match="is not a listing of a folder") as caught:
            await there.source.folder("data")
    assert caught.type is SourceError
    assert "http://archive.test/10200/data/" in in_words(caught.value)


async def test_a_listing_of_more_names_than_any_folder_has_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fsmcollect.stream.sources.index.MAX_NAMES", 2)
    async with scene(ok(b"<a href='a'>a</a><a href='b'>b</a><a href='c'>c</a>")) as there:
        with pytest.raises(Refused, match="names more than 2 files") as caught:
            await there.source.folder("data")
    in_words(caught.value)


async def test_a_listing_that_ends_early_is_no_listing() -> None:
    async with scene(then_closes(ok(LISTING, content_length=len(LISTING) + 1))) as there:
        with pytest.raises(SourceError, match="ended early"):
            await there.source.folder("data")


async def test_a_listing_without_an_end_is_refused(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fsmcollect.stream.sources.http.MAX_INDEX_BYTES", 1_000_000)
    endless = slowly(head(200), (b"<a href='%d'>x</a>" % i * 1000 for i in range(10_000_000)), 0.01)
    async with scene(endless) as there:
        with pytest.raises(Refused, match="larger than 1,000,000 bytes"):
            await there.source.folder("data")


# -- size and validator -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers, validator",
    [
        ({"etag": ETAG, "last_modified": MODIFIED}, ETAG),
        ({"etag": f"W/{ETAG}", "last_modified": MODIFIED}, MODIFIED),
        ({"etag": "unquoted", "last_modified": MODIFIED}, MODIFIED),
        ({"etag": f"W/{ETAG}"}, None),
        ({}, None),
    ],
)
async def test_the_validator_is_a_strong_etag_or_else_the_date(headers: dict[str, str], validator: str | None) -> None:
    async with scene(head(200, content_length=7, **headers)) as there:
        assert await there.source.head(PATH) == Remote(7, validator)
    assert there.server.asked[0].method == "HEAD"


@pytest.mark.parametrize(
    "date, validator",
    [
        ("Fri, 20 Nov 2026 12:45:01 GMT", MODIFIED),
        ("Fri, 20 Nov 2026 12:45:00 GMT", None),
        ("Fri, 20 Nov 2026 12:44:59 GMT", None),
        ("whenever", MODIFIED),
        (None, MODIFIED),
    ],
)
async def test_a_date_of_the_very_second_is_no_validator(date: str | None, validator: str | None) -> None:
    """Within that second the file may have been written once more."""
    async with scene(head(200, content_length=7, last_modified=MODIFIED, date=date)) as there:
        assert await there.source.head(PATH) == Remote(7, validator)


async def test_a_strong_etag_is_a_validator_whatever_the_date() -> None:
    async with scene(head(200, content_length=7, etag=ETAG, last_modified=MODIFIED, date=MODIFIED)) as there:
        assert await there.source.head(PATH) == Remote(7, ETAG)


@pytest.mark.parametrize("written", ["yesterday", "0", ""])
async def test_a_date_that_is_none_is_no_validator(written: str) -> None:
    async with scene(head(200, content_length=7, last_modified=written)) as there:
        assert await there.source.head(PATH) == Remote(7, None)


@pytest.mark.parametrize("first", [head(200, etag=ETAG), head(405), head(501), head(200, content_length="9" * 19)])
async def test_where_head_tells_no_size_the_first_byte_does(first: bytes) -> None:
    async with scene(first, part(b"x", 0, 671_089_664)) as there:
        assert await there.source.head(PATH) == Remote(671_089_664, ETAG)
    assert [(asked.method, asked.headers.get("range")) for asked in there.server.asked] == [
        ("HEAD", None), ("GET", "bytes=0-0"),
    ]  # fmt: skip


@pytest.mark.parametrize("kind", [None, "text/html"])
async def test_an_empty_file_has_no_first_byte_and_a_size(kind: str | None) -> None:
    answer = head(416, content_range="bytes */0", content_length=0, content_type=kind)
    async with scene(head(405), answer) as there:
        assert (await there.source.head(PATH)).size_bytes == 0


async def test_a_server_without_ranges_tells_the_size_with_the_file_which_is_not_read(
    autojump_clock: MockClock,
) -> None:
    async with scene(
        head(405), then_silence(ok(b"begins", content_length=10**12)), head(405), part(b"x", 0, 5)
    ) as there:
        assert await there.source.head(PATH) == Remote(10**12, ETAG)
        assert await there.source.head(PATH) == Remote(5, ETAG)
    assert there.server.connections > 1, "the connection with the unread file was used again"


@pytest.mark.parametrize(
    "second",
    [
        head(200, transfer_encoding="chunked") + in_pieces(b"x"),
        head(206, content_range="bytes 0-0/*", content_length=1) + b"x",
        head(206, content_length=1) + b"x",
        head(416, content_length=0),
    ],
)
async def test_a_file_whose_size_nobody_tells_is_refused(second: bytes) -> None:
    async with scene(head(405), second) as there:
        with pytest.raises(Refused, match="tells no size") as caught:
            await there.source.head(PATH)
    in_words(caught.value)


# -- fetching ---------------------------------------------------------------------------------------------------------


async def test_a_file_is_fetched_from_its_beginning_without_a_range() -> None:
    async with scene(ok(DATA)) as there:
        sink = Sink()
        await there.source.download(PATH, REMOTE, 0, sink)
    assert (bytes(sink.data), sink.begun) == (DATA, [0])
    assert {"range", "if-range"}.isdisjoint(there.server.asked[0].headers)


@pytest.mark.parametrize(
    "validator, sent", [(ETAG, {"etag": ETAG}), (MODIFIED, {"etag": None, "last_modified": MODIFIED})]
)
async def test_a_file_goes_on_where_it_stopped_if_it_is_still_the_same(validator: str, sent: dict[str, str]) -> None:
    async with scene(part(DATA[1000:], 1000, SIZE, **sent)) as there:
        sink = Sink(bytearray(DATA[:1000]))
        await there.source.download(PATH, Remote(SIZE, validator), 1000, sink)
    assert (bytes(sink.data), sink.begun) == (DATA, [1000])
    asked = there.server.asked[0].headers
    assert (asked["range"], asked["if-range"]) == ("bytes=1000-", validator)


async def test_an_answer_to_if_range_may_leave_out_the_date_but_not_the_etag() -> None:
    bare = part(DATA[1000:], 1000, SIZE, etag=None)
    assert (await fetched(bare, remote=Remote(SIZE, MODIFIED), offset=1000)).data == DATA
    await failure(Changed, bare, offset=1000)


async def test_without_a_validator_nothing_can_be_continued() -> None:
    async with scene(ok(DATA, etag=None)) as there:
        sink = Sink(bytearray(DATA[:1000]))
        await there.source.download(PATH, Remote(SIZE, None), 1000, sink)
    assert (bytes(sink.data), sink.begun) == (DATA, [0])
    assert "range" not in there.server.asked[0].headers


async def test_a_server_that_passes_over_the_range_sends_the_same_file_whole() -> None:
    sink = await fetched(ok(DATA), offset=1000)
    assert (bytes(sink.data), sink.begun) == (DATA, [0])


async def test_an_empty_file_is_fetched() -> None:
    assert (await fetched(ok(b""), remote=Remote(0, ETAG))).begun == [0]


@pytest.mark.parametrize(
    "answer",
    [
        head(200, etag=ETAG, transfer_encoding="chunked") + in_pieces(DATA[:5], DATA[5:9000], DATA[9000:]),
        then_closes(head(200, etag=ETAG, connection="close") + DATA),
        then_closes(ok(DATA, connection="close")),
        ok(DATA, content_type="application/octet-stream", content_encoding="identity"),
        b"HTTP/1.1 103 Early Hints\r\n\r\n" + ok(DATA),
    ],
)
async def test_a_body_may_end_in_every_way_that_http_knows(answer: Answer) -> None:
    assert (await fetched(answer)).data == DATA


async def test_a_page_is_data_where_the_listing_names_a_page() -> None:
    page = ok(DATA, content_type="text/html; charset=utf-8")
    assert (await fetched(page, path="data/README.html")).data == DATA


# -- it is another file -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        part(DATA[1000:], 1000, SIZE, etag='"other"'),
        part(DATA[999:], 999, SIZE),
        part(DATA[1001:], 1001, SIZE),
        part(DATA[1000:], 1000, SIZE + 5),
        part(DATA[1000:] + b"more", 1000, SIZE),
        part(DATA[1000:], 1000, SIZE, content_range=None),
        part(DATA[1000:], 1000, SIZE, content_range=f"bytes 1000-{SIZE - 1}/*"),
        part(DATA[1000:], 1000, SIZE, content_range=f"bytes 1000-999/{SIZE}"),
        part(DATA[1000:], 1000, SIZE, content_range=f"items 1000-{SIZE - 1}/{SIZE}"),
        head(206, etag=ETAG, content_type="multipart/byteranges; boundary=x", content_length=0),
        head(416, content_range=f"bytes */{SIZE - 5}", content_length=0),
        head(416, content_range=f"bytes */{SIZE - 5}", content_length=0, content_type="text/html"),
        ok(DATA[:-1]),
        ok(DATA + b"x"),
        ok(DATA, etag='"other"'),
    ],
)
async def test_another_file_than_the_one_that_was_begun_is_not_taken(answer: bytes) -> None:
    said, sink = await failure(Changed, answer, offset=1000)
    assert "has changed" in said
    assert (sink.begun, sink.blocks) == ([], 0)


@pytest.mark.parametrize("answer", [ok(DATA, etag='"other"'), ok(DATA + b"x"), part(DATA[5:], 5, SIZE)])
async def test_a_fresh_file_is_compared_as_well(answer: bytes) -> None:
    await failure(Changed, answer)


async def test_the_date_is_compared_where_it_is_the_validator() -> None:
    remote = Remote(SIZE, MODIFIED)
    assert (await fetched(ok(DATA, etag='"any"', last_modified=MODIFIED), remote=remote)).data == DATA
    await failure(Changed, ok(DATA, last_modified="Fri, 20 Nov 2026 12:45:01 GMT"), remote=remote)


async def test_an_answer_without_a_validator_is_whole_by_itself() -> None:
    assert (await fetched(ok(DATA, etag=None))).data == DATA


# -- wrong lengths ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        then_closes(ok(DATA[:5000], content_length=SIZE)),
        then_closes(head(200, etag=ETAG, transfer_encoding="chunked") + in_pieces(DATA[:5000])[:-5]),
        head(200, etag=ETAG, transfer_encoding="chunked") + in_pieces(DATA[:5000]),
        then_closes(head(200, etag=ETAG, connection="close") + DATA[:5000]),
    ],
)
async def test_a_body_that_ends_early_leaves_what_has_come(answer: Answer) -> None:
    said, sink = await failure(SourceError, answer)
    assert "ended early" in said
    assert bytes(sink.data) == DATA[:5000]


async def test_a_part_that_is_shorter_than_asked_for_leaves_what_has_come() -> None:
    said, sink = await failure(SourceError, part(DATA[1000:2000], 1000, SIZE), offset=1000)
    assert f"after 2,000 of {SIZE:,} bytes" in said
    assert bytes(sink.data) == DATA[:2000]


@pytest.mark.parametrize(
    "answer",
    [
        head(200, etag=ETAG, transfer_encoding="chunked") + in_pieces(DATA, b"more"),
        then_closes(head(200, etag=ETAG, connection="close") + DATA + b"x"),
        slowly(head(200, etag=ETAG), iter(lambda: b"x" * 10_000, b""), 0.01),
    ],
)
async def test_more_bytes_than_the_file_has_are_refused_and_not_handed_over(
    autojump_clock: MockClock, answer: Answer
) -> None:
    said, sink = await failure(Refused, answer)
    assert f"more than the {SIZE:,} bytes" in said
    assert len(sink.data) <= SIZE


async def test_what_follows_the_announced_length_is_no_answer_to_anything() -> None:
    async with scene(ok(DATA) + ok(b"smuggled"), ok(b"honest")) as there:
        await there.source.download(PATH, REMOTE, 0, Sink())
        assert await there.http.read(there.url, 100) == b"honest"
    assert there.server.connections == 2


# -- statuses ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "status, kind, said",
    [
        (404, NotThere, "is not there"),
        (410, NotThere, "is not there"),
        (401, SourceError, "refuses access"),
        (403, SourceError, "refuses access"),
        (400, SourceError, r"answers 400 \(Bad Request\)"),
        (204, SourceError, r"answers 204 \(No Content\)"),
        (304, SourceError, "answers 304"),
        (429, SourceError, r"answers 429 \(Too Many Requests\)"),
        (500, SourceError, r"answers 500 \(Internal Server Error\)"),
        (502, SourceError, "answers 502"),
        (599, SourceError, "answers 599"),
        (999, SourceError, "answers 999"),
    ],
)
async def test_a_status_says_who_can_do_what_about_it(status: int, kind: type[SourceError], said: str) -> None:
    async def ask(question: Callable[[HttpSource, Http], object]) -> None:
        async with scene(head(status, content_length=0, retry_after=7 if status == 500 else None)) as there:
            with pytest.raises(kind, match=said) as caught:
                await question(there.source, there.http)  # type: ignore[misc]
        assert caught.type is kind
        assert caught.value.retry_after_s is None
        in_words(caught.value)

    await ask(lambda source, _: source.download(PATH, REMOTE, 0, Sink()))
    await ask(lambda source, _: source.head(PATH))
    await ask(lambda source, _: source.folder("data"))
    await ask(lambda _, http: http.read("http://archive.test/api/", 5))


NOW = dt.datetime(2026, 11, 20, 12, 45, tzinfo=dt.UTC)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    "text, seconds",
    [
        ("7", 7.0), ("0", 0.0), ("-5", 0.0), ("1.5", None), ("soon", None), ("", None), ("9" * 5000, None), ("²", None),
        (format_datetime(NOW + dt.timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOW - dt.timedelta(seconds=90), usegmt=True), 0.0),
        ("Fri, 99 Nov 2026 12:45:00 GMT", None), ("Fri, 20 Nov 99999 12:45:00 GMT", None),
    ],
)  # fmt: skip
async def test_a_server_may_say_how_long_it_wants_to_be_left_alone(
    status: int, text: str, seconds: float | None
) -> None:
    answer = head(status, content_length=0, retry_after=text, date=format_datetime(NOW, usegmt=True))
    async with scene(answer) as there:
        with pytest.raises(SourceError) as caught:
            await there.source.head(PATH)
    assert caught.value.retry_after_s == seconds


async def test_a_date_without_the_servers_own_clock_is_held_against_ours() -> None:
    until = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    async with scene(head(503, content_length=0, retry_after=format_datetime(until, usegmt=True))) as there:
        with pytest.raises(SourceError) as caught:
            await there.source.head(PATH)
    assert caught.value.retry_after_s == pytest.approx(3600, abs=60)


# -- redirects --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "location, target",
    [
        ("/elsewhere/a.mrc", "/elsewhere/a.mrc"),
        ("b.mrc", "/10200/data/b.mrc"),
        ("http://archive.test/x%20y", "/x%20y"),
        ("http://archive.test:80/x", "/x"),
        ("https://archive.test/x", "/x"),
        ("//archive.test/x", "/x"),
    ],
)
async def test_a_redirect_that_stays_with_the_server_is_followed(status: int, location: str, target: str) -> None:
    async with scene(head(status, location=location, content_length=0), part(DATA[5:], 5, SIZE)) as there:
        sink = Sink(bytearray(DATA[:5]))
        await there.source.download(PATH, REMOTE, 5, sink)
    assert bytes(sink.data) == DATA
    assert there.server.asked[1].target == target
    assert there.server.asked[1].headers["range"] == "bytes=5-"
    assert there.places[-1][1] == (443 if location.startswith("https") else 80)


@pytest.mark.parametrize(
    "location",
    [
        "http://other.test/10200/data/a.mrc", "https://other.test/", "//other.test/x", "http://archive.test:8080/x",
        "file:///etc/passwd", "ftp://archive.test/x", "gopher://archive.test/", "http://user:pw@archive.test/x",
        "http://archive.test.other.test/", "http://[::1", "", "javascript:alert(1)", "http://archive.test:99999999/",
        "data:,x", "http://archive.test@other.test/",
    ],
)  # fmt: skip
async def test_a_redirect_to_anywhere_else_is_refused(location: str) -> None:
    said, sink = await failure(Refused, head(302, location=location, content_length=0))
    assert "redirects to" in said
    assert "not followed" in said
    assert sink.begun == []


async def test_a_redirect_without_a_target_is_refused() -> None:
    await failure(Refused, head(302, content_length=0))


async def test_a_redirect_from_https_never_leads_back_to_http() -> None:
    async with scene(
        head(302, location="http://archive.test/x", content_length=0), url="https://archive.test/10200/"
    ) as there:
        with pytest.raises(Refused, match="not followed"):
            await there.source.head(PATH)
    assert there.places == [("archive.test", 443)]


async def test_redirects_in_a_circle_are_left_in_time() -> None:
    said, _ = await failure(Refused, *[head(302, location="a.mrc", content_length=0)] * (MAX_REDIRECTS + 1))
    assert f"more than {MAX_REDIRECTS} times" in said


# -- what must not be trusted -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "x-gzip", "identity, gzip", "aes\xff"])
async def test_an_encoded_body_is_refused_unread(encoding: str) -> None:
    said, sink = await failure(Refused, ok(DATA, content_encoding=encoding))
    assert "not unpacked" in said
    assert sink.begun == []
    async with scene(
        ok(b"", content_length=5, content_encoding=encoding), ok(b"{}", content_encoding=encoding)
    ) as there:
        with pytest.raises(Refused):
            await there.source.head(PATH)
        with pytest.raises(Refused):
            await there.http.read(there.url, 100)


@pytest.mark.parametrize("kind", ["text/html", "Text/HTML; charset=utf-8", "application/xhtml+xml"])
async def test_a_page_instead_of_data_may_be_data_the_next_time(kind: str) -> None:
    said, sink = await failure(SourceError, ok(DATA, content_type=kind))
    assert "a page instead of data" in said
    assert sink.begun == []
    async with scene(ok(b"", content_length=5, content_type=kind)) as there:
        with pytest.raises(SourceError, match="a page instead of data"):
            await there.source.head(PATH)


@pytest.mark.parametrize(
    "answer",
    [
        b"220 an FTP server\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"\x00" * 100_000,
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 50_000,
        b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_told_so(answer: bytes) -> None:
    said, _ = await failure(SourceError, answer)
    assert "something that is not HTTP" in said


@pytest.mark.parametrize("url", ["http://[::1/", "gopher://archive.test/", "file:///etc/passwd", "archive", "http://"])
async def test_a_url_that_cannot_be_asked_is_refused(url: str) -> None:
    async with Http() as http:
        with pytest.raises(Refused):
            await http.read(url, 100)


@given(st.binary(max_size=400), st.booleans())
@example(b'HTTP/1.1 200 OK\r\netag: "7-1"\r\ncontent-length: 10240\r\n\r\n', True)
@example(b"HTTP/1.1 302 x\r\nlocation: http://\xff\xfe:x\r\n\r\n", True)
@example(b"HTTP/1.1 503 x\r\nretry-after: \xff\r\ndate: , 0 \r\n\r\n", True)
def test_whatever_a_server_says_only_a_source_error_comes_of_it(said: bytes, is_http: bool) -> None:
    answer = then_closes(b"HTTP/1.1 206 OK\r\n" + said if is_http else said)

    async def main() -> None:
        with pytest.raises(SourceError):
            async with scene(*[answer] * 9) as there:
                await there.source.download(PATH, REMOTE, 5, Sink(bytearray(5)))

    trio.run(main, clock=MockClock(autojump_threshold=0))


@given(st.text(max_size=30), st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=40))
@example("", "Mon, 00 Jan 0000 99:99:99 +9999")
def test_no_header_however_written_is_more_than_a_source_error(location: str, text: str) -> None:
    where = "".join(character for character in location if character.isprintable()).encode().decode("latin-1").strip()
    where = re.sub(r"[\x00-\x1f\x7f]", "", where)
    answers = [
        head(302, location=where, content_length=0), head(503, retry_after=text.strip(), date=text.strip()),
        head(206, content_range=text.strip(), content_length=text.strip()),
    ]  # fmt: skip

    async def main() -> None:
        for answer in answers:
            with pytest.raises(SourceError):
                async with scene(then_closes(answer), *[then_closes(head(500))] * 9) as there:
                    await there.source.head(PATH)

    trio.run(main, clock=MockClock(autojump_threshold=0))


# -- silence ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("begin", [b"", b"HTTP/1.1 200 OK\r\n", ok(DATA[:5000], content_length=SIZE)])
async def test_a_silent_server_has_failed_after_a_while(autojump_clock: MockClock, begin: bytes) -> None:
    began_s = trio.current_time()
    said, sink = await failure(SourceError, then_silence(begin))
    assert "has fallen silent" in said
    assert trio.current_time() - began_s == pytest.approx(30)
    assert bytes(sink.data) == (DATA[:5000] if len(begin) > 100 else b"")


async def test_a_server_that_trickles_has_failed_as_well(autojump_clock: MockClock) -> None:
    began_s = trio.current_time()
    said, sink = await failure(SourceError, slowly(ok(b"", content_length=SIZE), [b"x"] * SIZE, 20))
    assert "sends next to nothing" in said
    assert trio.current_time() - began_s <= 90
    assert sink.blocks > 0


async def test_a_head_that_trickles_has_failed_as_well(autojump_clock: MockClock) -> None:
    began_s = trio.current_time()
    said, _ = await failure(SourceError, slowly(b"HTTP/1.1 200 OK\r\nx: ", [b"x"] * 1000, 20))
    assert "has not answered within 60 s" in said
    assert trio.current_time() - began_s == pytest.approx(60)


async def test_what_is_done_with_the_bytes_may_take_as_long_as_it_likes(autojump_clock: MockClock) -> None:
    class Slow(Sink):
        async def write(self, block: bytes | bytearray | memoryview) -> None:
            await trio.sleep(100)
            await super().write(block)

    sink = Slow()
    async with scene(
        slowly(ok(b"", content_length=SIZE), [DATA[i : i + 1024] for i in range(0, SIZE, 1024)], 1)
    ) as there:
        await there.source.download(PATH, REMOTE, 0, sink)
    assert bytes(sink.data) == DATA


async def test_a_slow_line_is_not_a_trickle(autojump_clock: MockClock) -> None:
    data = bytes(1 << 20)
    pieces = [data[i : i + 40_000] for i in range(0, len(data), 40_000)]
    sink = await fetched(slowly(ok(b"", content_length=len(data)), pieces, 29), remote=Remote(len(data), ETAG))
    assert bytes(sink.data) == data


# -- connections ------------------------------------------------------------------------------------------------------


async def test_a_connection_is_kept_for_the_next_question() -> None:
    answers = [head(200, content_length=SIZE, etag=ETAG), ok(DATA), ok(LISTING), head(404, content_length=0), head(405)]
    async with scene(*answers, part(b"x", 0, 5), ok(b"{}")) as there:
        await there.source.head(PATH)
        await there.source.download(PATH, REMOTE, 0, Sink())
        await there.source.folder("data")
        with pytest.raises(NotThere):
            await there.source.download(PATH, REMOTE, 0, Sink())
        await there.source.head(PATH)
        await there.http.read(there.url, 10)
    assert there.server.connections == 1


async def test_a_connection_that_the_server_closed_meanwhile_is_replaced_in_silence() -> None:
    async with scene(then_closes(ok(b"one")), then_closes(ok(b"two")), ok(b"three")) as there:
        assert [await there.http.read(there.url, 10) for _ in range(3)] == [b"one", b"two", b"three"]
    assert there.server.connections == 3


async def test_a_connection_that_rested_for_long_is_not_used_again(autojump_clock: MockClock) -> None:
    async with scene(ok(b"one"), ok(b"two")) as there:
        await there.http.read(there.url, 10)
        await trio.sleep(31)
        await there.http.read(there.url, 10)
    assert there.server.connections == 2


@pytest.mark.parametrize("answer", [ok(b"one", connection="close"), ok(b"one").replace(b"/1.1", b"/1.0")])
async def test_a_connection_that_the_server_wants_to_close_is_not_kept(answer: bytes) -> None:
    async with scene(answer, ok(b"two")) as there:
        await there.http.read(there.url, 10)
        await there.http.read(there.url, 10)
    assert there.server.connections == 2


async def test_a_server_that_closes_without_an_answer_is_told() -> None:
    said, _ = await failure(SourceError, then_closes(b""))
    assert "closed the connection without an answer" in said


async def test_there_are_never_more_than_two_questions_beside_the_files(autojump_clock: MockClock) -> None:
    answers = [slowly(ok(b"", content_length=1), [b"x"], 1)] * 30
    async with scene(*answers, jobs=3) as there, trio.open_nursery() as nursery:
        for _ in range(30):
            nursery.start_soon(there.http.read, there.url, 10)
    assert there.server.open_most == 5
    assert there.server.connections == 5


async def test_a_download_that_is_cancelled_leaves_what_has_come_and_no_connection(autojump_clock: MockClock) -> None:
    sink = Sink()
    async with scene(then_silence(ok(DATA[:5000], content_length=SIZE)), ok(b"{}")) as there:
        with trio.move_on_after(10) as scope:
            await there.source.download(PATH, REMOTE, 0, sink)
        assert scope.cancelled_caught
        assert bytes(sink.data) == DATA[:5000]
        assert await there.http.read(there.url, 10) == b"{}"
    assert there.server.connections == 2


async def test_a_failing_sink_ends_the_connection() -> None:
    class Full(Sink):
        async def write(self, block: bytes | bytearray | memoryview) -> None:
            raise OSError(28, "No space left on device")

    async with scene(ok(DATA * 10), ok(b"{}")) as there:
        with pytest.raises(OSError, match="No space"):
            await there.source.download(PATH, Remote(SIZE * 10, ETAG), 0, Full())
        assert await there.http.read(there.url, 10) == b"{}"
    assert there.server.connections == 2


async def test_a_source_has_nothing_of_its_own_to_let_go_of() -> None:
    async with scene(ok(b"{}")) as there:
        await there.source.aclose()
        await there.source.aclose()
        assert await there.http.read(there.url, 10) == b"{}"


# -- proxies ----------------------------------------------------------------------------------------------------------


PROXY = "http://me:secret@proxy.test:3128"


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.usefixtures("no_proxies")
@pytest.mark.parametrize(
    "name, url, said",
    [
        ("HTTPS_PROXY", "https://archive.test/", "HTTPS_PROXY is set and is not used"),
        ("https_proxy", "https://archive.test/", "HTTPS_PROXY is set and is not used"),
        ("HTTP_PROXY", "http://archive.test/", "HTTP_PROXY is set and is not used"),
        ("ALL_PROXY", "https://archive.test/", "ALL_PROXY is set and is not used"),
        ("FTP_PROXY", "ftp://archive.test/", "FTP_PROXY is set and is not used"),
        ("HTTP_PROXY", "https://archive.test/", None),
        ("HTTPS_PROXY", "https://archive.test/", None),
        ("HTTP_PROXY", "http://localhost:8000/", None),
        ("HTTP_PROXY", "http://127.0.0.1:8000/", None),
        ("HTTP_PROXY", "http://[::1]:8000/", None),
        ("HTTP_PROXY", "http://[::1", None),
    ],
)
def test_a_proxy_that_is_set_and_not_used_is_told_without_its_password(
    monkeypatch: pytest.MonkeyPatch, name: str, url: str, said: str | None
) -> None:
    monkeypatch.setenv(name, PROXY)
    if said is None and name == "HTTPS_PROXY":
        monkeypatch.setenv("NO_PROXY", "other.test,archive.test")
    told = unused_proxy(url)
    assert (told or "").partition(":")[0] == (said or "")
    assert "secret" not in (told or "")


@pytest.mark.usefixtures("no_proxies")
async def test_who_cannot_reach_a_server_is_told_of_the_proxy_that_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuses(*_: object, **__: object) -> httpcore.AsyncNetworkStream:
        await trio.lowlevel.checkpoint()
        raise httpcore.ConnectError

    async def said() -> str:
        async with Http() as http:
            with pytest.raises(SourceError) as caught:
                await http.read("https://archive.test/", 100)
            return in_words(caught.value)

    monkeypatch.setattr(httpcore.TrioBackend, "connect_tcp", refuses)
    assert await said() == "https://archive.test/ cannot be reached"
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    assert (await said()).startswith("https://archive.test/ cannot be reached (HTTPS_PROXY is set and is not used: ")
