"""Ranges and conditions are answered as RFC 9110 says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsmcollect.sim.archive.answers import Served, asked_range, file

CONTENT = bytes(range(256)) * 4
ETAG, MODIFIED = '"abc"', "Mon, 05 Jan 2026 00:00:00 GMT"
SERVED = Served(len(CONTENT), lambda start, stop: [CONTENT[start:stop]], "application/octet-stream", ETAG, MODIFIED)


def answered(**headers: str) -> tuple[int, bytes, str]:
    answer = file(SERVED, {name.replace("_", "-"): value for name, value in headers.items()})
    body = b"".join(answer.body())
    assert len(body) == answer.length
    return answer.status, body, dict(answer.headers).get("Content-Range", "")


@pytest.mark.parametrize(
    "asked, start, stop",
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-", 0, 1024),
        ("bytes=100-", 100, 1024),
        ("bytes=100-199", 100, 200),
        ("bytes=1000-99999", 1000, 1024),
        ("bytes=-24", 1000, 1024),
        ("bytes=-99999", 0, 1024),
        ("bytes=1023-1023", 1023, 1024),
    ],
)
def test_a_range_is_that_part_of_the_file(asked: str, start: int, stop: int) -> None:
    assert answered(range=asked) == (206, CONTENT[start:stop], f"bytes {start}-{stop - 1}/1024")


@pytest.mark.parametrize("asked", ["bytes=1024-", "bytes=5000-6000", "bytes=-0"])
def test_a_range_outside_the_file_is_416_and_tells_the_size(asked: str) -> None:
    status, _, content_range = answered(range=asked)
    assert (status, content_range) == (416, "bytes */1024")


@pytest.mark.parametrize("asked", ["", "bytes=-", "bytes=5-4", "bytes=0-1,3-4", "lines=0-1", "bytes=a-b", "bytes 0-1"])
def test_what_is_no_single_range_gets_the_whole_file(asked: str) -> None:
    assert answered(range=asked) == (200, CONTENT, "")


@pytest.mark.parametrize("validator", [ETAG, MODIFIED])
def test_if_range_of_this_file_gets_the_range(validator: str) -> None:
    assert answered(range="bytes=1000-", if_range=validator)[0] == 206


@pytest.mark.parametrize("validator", ['"other"', f"W/{ETAG}", "Mon, 05 Jan 2026 00:00:01 GMT", "nonsense"])
def test_if_range_of_another_file_gets_all_of_this_one(validator: str) -> None:
    assert answered(range="bytes=1000-", if_range=validator) == (200, CONTENT, "")


def test_an_empty_file_has_no_range() -> None:
    empty = Served(0, lambda start, stop: [], "text/plain", ETAG, MODIFIED)
    assert file(empty, {}).status == 200
    assert file(empty, {"range": "bytes=0-"}).status == 416


@given(st.text(max_size=30) | st.from_regex(r"bytes=[0-9]{0,20}-[0-9]{0,20}", fullmatch=True), st.integers(0, 10_000))
def test_any_range_lies_inside_the_file_or_is_none(asked: str, size_bytes: int) -> None:
    found = asked_range({"range": asked}, size_bytes)
    assert found is None or 0 <= found[0] <= found[1] <= size_bytes
