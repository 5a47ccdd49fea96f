"""Every fault does what it says, to the request that it is for, and to no other."""

from __future__ import annotations

import hashlib
import re
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsmcollect.sim.archive import Archive, Fault, FaultKind, answers
from fsmcollect.sim.archive.answers import BLOCK_BYTES
from tests.sim.archive.asking import Client, Got, asking, one, several

FIRST = "data/Movies/grid1_000001_frames.mrc"
SECOND = "data/Movies/grid1_000002_frames.mrc"
SIZE = 1024 + 256 * 256 * 4 * 2
HALF = SIZE // 2


def faulty(kind: FaultKind, **how: object) -> Archive:
    return Archive(movies=3, faults=[Fault(kind, **how)])  # type: ignore[arg-type]


def right(archive: Archive, got: Got, path: str = FIRST) -> bool:
    return got.error == "" and hashlib.sha256(got.body).hexdigest() == archive.sha256(path)


@pytest.mark.parametrize("kind", [kind for kind in FaultKind if kind is not FaultKind.CORRUPT])
def test_a_fault_that_is_over_leaves_nothing_behind(kind: FaultKind) -> None:
    archive = faulty(kind)

    async def body(client: Client) -> Got:
        await client.data("data/Movies/", most_bytes=1_000_000)
        await client.data(FIRST, most_bytes=1_000_000)
        await client.data(FIRST, most_bytes=1_000_000, headers={"range": "bytes=5-"})
        return await client.data(FIRST)

    assert right(archive, asking(archive, body))
    assert [request.fault for request in archive.requests].count(kind.value) == 1


@pytest.mark.parametrize(
    "kind, error",
    [(FaultKind.TRUNCATION, "RemoteProtocolError"), (FaultKind.RESET, "ReadError")],
)
@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.9999])
def test_a_connection_ends_in_the_middle(kind: FaultKind, error: str, fraction: float) -> None:
    archive = faulty(kind, at_fraction=fraction)
    got = one(archive, FIRST)
    assert (got.status, got.error) == (200, error)
    assert got.body == archive.file(FIRST).read(0, int(SIZE * fraction))
    assert got.headers["content-length"] == str(SIZE)


def test_a_stall_is_silence_and_then_goes_on() -> None:
    impatient = one(faulty(FaultKind.STALL, delay_s=60.0), FIRST)
    assert (impatient.error, len(impatient.body)) == ("ReadTimeout", HALF)
    archive = faulty(FaultKind.STALL, delay_s=20.0)
    patient = one(archive, FIRST)
    assert right(archive, patient)
    assert 20.0 < patient.at_s < 20.2


@pytest.mark.parametrize("fraction", [0.0, 1.0])
def test_a_stall_can_come_before_or_after_all_bytes(fraction: float) -> None:
    archive = faulty(FaultKind.STALL, delay_s=20.0, at_fraction=fraction)
    got = one(archive, FIRST)
    assert got.error == ""
    assert (got.at_s > 20.0) == (fraction == 0.0)


def test_a_trickle_never_lets_a_read_time_out() -> None:
    archive = faulty(FaultKind.TRICKLE, delay_s=10.0, at_fraction=1 - 20 / SIZE)
    got = one(archive, FIRST)
    assert right(archive, got)
    assert got.at_s == pytest.approx(200.0, abs=11.0)


@pytest.mark.parametrize("extra", [-100, 100])
def test_the_length_is_not_what_comes(extra: int) -> None:
    archive = faulty(FaultKind.WRONG_LENGTH, extra_bytes=extra)
    got = one(archive, FIRST)
    assert got.headers["content-length"] == str(SIZE + extra)
    assert got.body == archive.file(FIRST).read(0, min(SIZE, SIZE + extra))
    assert bool(got.error) == (extra > 0)


def test_too_many_bytes_after_a_length_do_not_come_with_the_next_answer() -> None:
    archive = faulty(FaultKind.WRONG_LENGTH, extra_bytes=-100)
    assert right(archive, several(archive, FIRST, FIRST)[1])


def test_an_endless_body_goes_on_after_the_file() -> None:
    archive = faulty(FaultKind.ENDLESS)
    got = one(archive, FIRST, most_bytes=20_000_000)
    assert "content-length" not in got.headers
    assert len(got.body) >= 20_000_000
    assert got.body[:SIZE] == archive.file(FIRST).read(0, SIZE)


def test_errors_of_a_server_and_their_retry_after() -> None:
    got = one(faulty(FaultKind.SERVER_ERROR), FIRST)
    assert (got.status, "retry-after" in got.headers) == (503, False)
    got = one(faulty(FaultKind.SERVER_ERROR, status=500, retry_after="Wed, 21 Oct 2026 07:28:00 GMT"), FIRST)
    assert (got.status, got.headers["retry-after"]) == (500, "Wed, 21 Oct 2026 07:28:00 GMT")
    got = one(faulty(FaultKind.TOO_MANY, retry_after="7"), FIRST)
    assert (got.status, got.headers["retry-after"]) == (429, "7")


def test_a_listed_file_is_not_there() -> None:
    assert one(faulty(FaultKind.MISSING), FIRST).status == 404


def test_a_page_comes_instead_of_data() -> None:
    got = one(faulty(FaultKind.PAGE), FIRST)
    assert got.status == 200
    assert got.headers["content-type"].startswith("text/html")
    assert b"<html>" in got.body


def test_a_redirect_leads_to_the_same_file_on_the_same_host() -> None:
    archive = faulty(FaultKind.REDIRECT)

    async def body(client: Client) -> tuple[Got, Got]:
        first = await client.data(FIRST)
        return first, await client.get(f"https://{archive.hosts[0]}{first.headers['location']}")

    first, second = asking(archive, body)
    assert first.status == 302
    assert right(archive, second)


def test_a_redirect_for_ever_goes_to_and_fro() -> None:
    archive = faulty(FaultKind.REDIRECT, times=None)

    async def body(client: Client) -> list[str]:
        url, seen = f"{archive.data_url}10200/{FIRST}", list[str]()
        for _ in range(4):
            location = (await client.get(url)).headers["location"]
            seen.append(location)
            url = f"https://{archive.hosts[0]}{location}"
        return seen

    seen = asking(archive, body)
    assert seen[0] == seen[2] != seen[1] == seen[3]


def test_a_foreign_redirect_leads_where_it_is_told_to() -> None:
    got = one(faulty(FaultKind.FOREIGN_REDIRECT, location="file:///etc/passwd"), FIRST)
    assert (got.status, got.headers["location"]) == (302, "file:///etc/passwd")


def test_a_bomb_is_small_until_it_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "_BOMB_BYTES", 2**24)
    got = one(faulty(FaultKind.BOMB), FIRST)
    assert got.headers["content-encoding"] == "gzip"
    assert len(got.body) < 2**15
    assert zlib.decompress(got.body, wbits=31) == bytes(2**24)


def test_garbage_is_no_http() -> None:
    assert one(faulty(FaultKind.GARBAGE), FIRST).error == "RemoteProtocolError"


def test_a_range_is_ignored() -> None:
    archive = faulty(FaultKind.IGNORED_RANGE)
    got = one(archive, FIRST, headers={"range": "bytes=1000-"})
    assert (got.status, "content-range" in got.headers) == (200, False)
    assert right(archive, got)


def test_another_range_comes_than_was_asked_for() -> None:
    got = one(faulty(FaultKind.WRONG_RANGE), FIRST, headers={"range": "bytes=1000-"})
    assert (got.status, got.headers["content-range"]) == (206, f"bytes 1001-{SIZE}/{SIZE}")


def test_head_does_not_tell_the_length() -> None:
    got = one(faulty(FaultKind.NO_LENGTH, method="HEAD"), FIRST, "HEAD")
    assert (got.status, "content-length" in got.headers) == (200, False)


def test_a_file_that_changes_is_another_one_for_who_goes_on_with_it() -> None:
    archive = faulty(FaultKind.CHANGED, skip=1)
    before = archive.sha256(FIRST)

    async def body(client: Client) -> tuple[Got, Got]:
        first = await client.data(FIRST)
        return first, await client.data(FIRST, headers={"range": "bytes=1000-", "if-range": first.etag})

    first, second = asking(archive, body)
    assert hashlib.sha256(first.body).hexdigest() == before != archive.sha256(FIRST)
    assert second.status == 200
    assert second.etag != first.etag
    assert right(archive, second)


def test_a_corrupt_movie_is_served_as_it_is() -> None:
    archive = faulty(FaultKind.CORRUPT)
    first, second = several(archive, FIRST, SECOND)
    assert right(archive, first)
    assert right(archive, second, SECOND)
    assert [got.body[8:12] for got in (first, second)] == [b"\x05\x00\x00\x00", b"\x04\x00\x00\x00"]
    assert len(first.body) == len(second.body) == SIZE


def movies_in(listing: bytes) -> set[str]:
    return set(re.findall(r'href="(grid1_[0-9]+_frames.mrc)"', listing.decode()))


def test_a_flapping_listing_omits_a_movie_that_is_served() -> None:
    archive = Archive(movies=5, faults=[Fault(FaultKind.FLAPPING, times=2)])
    first, second, third = (movies_in(got.body) for got in several(archive, *["data/Movies/"] * 3))
    assert (len(first), len(second), len(third)) == (4, 4, 5)
    (omitted,) = third - first
    assert one(archive, f"data/Movies/{omitted}").status == 200


@pytest.mark.parametrize("style", ["apache", "nginx"])
def test_a_hostile_listing_has_the_movies_too(style: str) -> None:
    archive = Archive(movies=5, style=style, faults=[Fault(FaultKind.HOSTILE_INDEX, times=None)])
    got = one(archive, "data/Movies/")
    assert len(movies_in(got.body)) == 5
    assert b'href="../../../../../etc/passwd"' in got.body


@pytest.mark.parametrize(
    "kind, status",
    [
        (FaultKind.SERVER_ERROR, 503),
        (FaultKind.PAGE, 200),
        (FaultKind.REDIRECT, 302),
        (FaultKind.TRUNCATION, 200),
    ],
)
def test_listings_and_metadata_can_be_spoilt_where_the_fault_says_so(kind: FaultKind, status: int) -> None:
    archive = Archive(movies=3, faults=[Fault(kind, path="*/"), Fault(kind, path="api/*")])

    async def body(client: Client) -> tuple[list[Got], list[Got]]:
        listings = [await client.data("data/Movies/") for _ in range(2)]
        return listings, [await client.get(archive.api_url + "10200") for _ in range(2)]

    for spoilt, good in asking(archive, body):
        assert spoilt.status == status
        assert (spoilt.error, spoilt.body) != (good.error, good.body)
        assert (good.status, good.error) == (200, "")


ranges = st.none() | st.integers(0, SIZE - 1)
spoiling = st.builds(
    Fault,
    st.sampled_from([kind for kind in FaultKind if kind not in (FaultKind.ENDLESS, FaultKind.TRICKLE)]),
    times=st.integers(1, 2),
    skip=st.integers(0, 2),
    at_fraction=st.floats(0, 1),
    delay_s=st.sampled_from([1.0, 100.0]),
    extra_bytes=st.sampled_from([-BLOCK_BYTES, -1, 1]),
)


@given(st.lists(spoiling, max_size=3), st.lists(ranges, min_size=1, max_size=5))
@settings(max_examples=60)
def test_whatever_is_mixed_an_answer_is_right_or_can_be_told_to_be_wrong(
    faults: list[Fault], starts: list[int | None]
) -> None:
    """By status, type, length, range or ETag: a careful client is never cheated (a corrupt header it must read)."""
    archive = Archive(movies=2, faults=faults)

    async def body(client: Client) -> None:
        for start in starts:
            head = await client.data(FIRST, "HEAD")
            ranged = {} if start is None else {"range": f"bytes={start}-", "if-range": head.etag}
            got = await client.data(FIRST, headers=ranged)
            begin = (start or 0) if got.status == 206 else 0
            looks_right = (
                got.error == ""
                and got.status == (200 if start is None or got.headers.get("etag") != head.etag else 206)
                and got.headers["content-type"] == "application/octet-stream"
                and got.headers.get("etag") == head.etag
                and got.headers.get("content-length") in (None, str(SIZE - begin))
                and len(got.body) == SIZE - begin
                and got.headers.get("content-range", f"bytes {begin}-{SIZE - 1}/{SIZE}").startswith(f"bytes {begin}-")
            )
            if looks_right:
                assert got.body == archive.file(FIRST).read(begin, SIZE)

    asking(archive, body)
