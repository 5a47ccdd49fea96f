"""What the pretend archive answers to a request, and what a fault makes of it.

Owns status, headers, ranges and which bytes follow, as HTTP has them (RFC 9110: 13 and 14 for conditions and ranges).
Owns no connection and no clock: an `Answer` says what is to be sent and how it goes wrong, `server` does it.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping

import attrs

from fsmcollect.sim.archive.faults import Fault, FaultKind

#: What goes over the line at once. Assumed: large enough that the cost of a block is its bytes.
BLOCK_BYTES = 256 * 1024
_BOMB_BYTES = 2**30
#: They need to know how much there is.
_OF_A_LENGTH = frozenset(
    {FaultKind.TRUNCATION, FaultKind.RESET, FaultKind.STALL, FaultKind.TRICKLE, FaultKind.WRONG_LENGTH}
)
_REASONS = {
    301: "Moved Permanently",
    302: "Found",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    416: "Range Not Satisfiable",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}

Headers = tuple[tuple[str, str], ...]
Body = Callable[[], Iterator[bytes]]


@attrs.frozen(kw_only=True)
class Answer:
    """What is sent, and how it goes wrong.

    Attributes
    ----------
    body : callable
        The bytes, made when they are sent.
    length : int or None
        Of the body; None: nobody knows, it is sent in chunks.
    said_length : int or None
        What Content-Length says, where that is not the length.
    cut_at, is_reset : int or None, bool
        After so many bytes of the body the connection is closed, or reset.
    pause_at, pause_s : int or None, float
        After so many bytes of the body the server falls silent for so long.
    trickle_s : float
        Not 0: from `pause_at` on, a byte at a time, with so long in between.
    raw : bytes or None
        Sent instead of all else.
    """

    status: int
    headers: Headers = ()
    body: Body = attrs.field(default=lambda: iter(()))
    length: int | None = 0
    said_length: int | None = None
    cut_at: int | None = None
    is_reset: bool = False
    pause_at: int | None = None
    pause_s: float = 0.0
    trickle_s: float = 0.0
    raw: bytes | None = None

    @property
    def reason(self) -> str:
        return _REASONS.get(self.status, "OK" if self.status < 300 else "Error")


def page(status: int, text: str, *headers: tuple[str, str]) -> Answer:
    """A page of HTML that says one thing."""
    title = f"{status} {_REASONS.get(status, 'OK')}"
    body = f"<html><head>\n<title>{title}</title>\n</head><body>\n<h1>{title}</h1>\n<p>{text}</p>\n</body></html>\n"
    return whole(status, body.encode(), "text/html; charset=iso-8859-1", *headers)


def whole(status: int, body: bytes, content_type: str, *headers: tuple[str, str]) -> Answer:
    """These bytes, with their length."""
    return Answer(
        status=status, headers=(("Content-Type", content_type), *headers), body=lambda: iter((body,)), length=len(body)
    )


def streamed(content_type: str, blocks: Callable[[], Iterator[bytes]]) -> Answer:
    """These blocks, in chunks: nobody knows how long they will be."""
    return Answer(status=200, headers=(("Content-Type", content_type),), body=blocks, length=None)


@attrs.frozen
class Served:
    """A file as HTTP sees it."""

    size_bytes: int
    read: Callable[[int, int], Iterable[bytes]]
    content_type: str
    etag: str
    last_modified: str


def file(served: Served, headers: Mapping[str, str]) -> Answer:
    """The file, or the range of it that is asked for under If-Range (RFC 9110, 13.1.5 and 14)."""
    own: Headers = (
        ("Last-Modified", served.last_modified),
        ("ETag", served.etag),
        ("Accept-Ranges", "bytes"),
        ("Content-Type", served.content_type),
    )
    size = served.size_bytes
    found = asked_range(headers, size)
    condition = headers.get("if-range", served.etag)
    if found is None or condition not in (served.etag, served.last_modified):
        return _part(200, own, served, 0, size)
    start, stop = found
    if start >= stop:
        return attrs.evolve(
            page(416, "The range lies outside the file.", ("Content-Range", f"bytes */{size}")), status=416
        )
    return _part(206, (*own, ("Content-Range", f"bytes {start}-{stop - 1}/{size}")), served, start, stop)


def asked_range(headers: Mapping[str, str], size_bytes: int) -> tuple[int, int] | None:
    """Start and stop (excluded) of the one range that is asked for; None where the header says nothing to follow.

    An empty range is one that cannot be satisfied.
    """
    match = re.fullmatch(r"\s*bytes\s*=\s*([0-9]{0,18})\s*-\s*([0-9]{0,18})\s*", headers.get("range", ""))
    if match is None or match[1] == match[2] == "":
        return None
    if match[1] == "":
        return max(size_bytes - int(match[2]), 0), size_bytes
    start = int(match[1])
    stop = min(int(match[2]) + 1, size_bytes) if match[2] else size_bytes
    if match[2] and int(match[2]) < start:
        return None
    return (start, stop) if start < size_bytes else (size_bytes, size_bytes)


def _part(status: int, headers: Headers, served: Served, start: int, stop: int) -> Answer:
    return Answer(status=status, headers=headers, body=lambda: iter(served.read(start, stop)), length=stop - start)


# -- what goes wrong ---------------------------------------------------------------------------------------------------


def spoilt(answer: Answer, fault: Fault, *, without_range: Callable[[], Answer], elsewhere: str) -> Answer:
    """What the fault makes of an answer.

    Parameters
    ----------
    without_range : callable
        The answer to the same request without its range.
    elsewhere : str
        Another path of this host that serves the same.
    """
    if answer.length is None and fault.kind in _OF_A_LENGTH:
        answer = _measured(answer)
    length = answer.length or 0
    at = int(length * fault.at_fraction)
    match fault.kind:
        case FaultKind.TRUNCATION:
            return attrs.evolve(answer, cut_at=at)
        case FaultKind.RESET:
            return attrs.evolve(answer, cut_at=at, is_reset=True)
        case FaultKind.STALL:
            return attrs.evolve(answer, pause_at=at, pause_s=fault.delay_s)
        case FaultKind.TRICKLE:
            return attrs.evolve(answer, pause_at=at, trickle_s=fault.delay_s)
        case FaultKind.WRONG_LENGTH:
            return attrs.evolve(answer, said_length=max(length + fault.extra_bytes, 0))
        case FaultKind.NO_LENGTH:
            return attrs.evolve(answer, length=None)
        case FaultKind.ENDLESS:
            return attrs.evolve(answer, body=lambda: _endless(answer.body), length=None)
        case FaultKind.BOMB:
            headers = (*answer.headers, ("Content-Encoding", "gzip"))
            return attrs.evolve(answer, headers=headers, body=_bomb, length=None)
        case FaultKind.SERVER_ERROR:
            return page(fault.status, "Please try again later.", *_retry_after(fault))
        case FaultKind.TOO_MANY:
            return page(429, "You have asked too often.", *_retry_after(fault))
        case FaultKind.MISSING:
            return page(404, "The requested URL was not found on this server.")
        case FaultKind.PAGE:
            return attrs.evolve(page(200, "This site is being maintained."), status=200)
        case FaultKind.REDIRECT:
            return page(302, "The document has moved.", ("Location", elsewhere))
        case FaultKind.FOREIGN_REDIRECT:
            return page(302, "The document has moved.", ("Location", fault.location))
        case FaultKind.GARBAGE:
            return attrs.evolve(answer, raw=b"\x00\x16\x03 this is no HTTP\r\n" + b"\xff" * 100)
        case FaultKind.IGNORED_RANGE:
            return without_range()
        case FaultKind.WRONG_RANGE:
            return _one_byte_later(answer)
        case FaultKind.CHANGED | FaultKind.CORRUPT | FaultKind.FLAPPING | FaultKind.HOSTILE_INDEX:
            return answer  # what the archive is, not what it says


def _measured(answer: Answer) -> Answer:
    body = b"".join(answer.body())
    return attrs.evolve(answer, body=lambda: iter((body,)), length=len(body))


def _retry_after(fault: Fault) -> Headers:
    return (("Retry-After", fault.retry_after),) if fault.retry_after else ()


def _one_byte_later(answer: Answer) -> Answer:
    def moved(value: str) -> str:
        start, stop, size = map(int, re.findall(r"[0-9]+", value))
        return f"bytes {start + 1}-{stop + 1}/{size}"

    return attrs.evolve(
        answer, headers=tuple((n, moved(v) if n == "Content-Range" and "*" not in v else v) for n, v in answer.headers)
    )


def _endless(body: Body) -> Iterator[bytes]:
    yield from body()
    more = bytes(BLOCK_BYTES)
    while True:
        yield more


def _bomb() -> Iterator[bytes]:
    """Zeros as gzip (RFC 1952), of pieces that stand each for itself: packed once, sent as often as it takes."""
    packed = zlib.compressobj(9, wbits=31)
    zeros = bytes(1024 * 1024)
    yield packed.compress(zeros) + packed.flush(zlib.Z_FULL_FLUSH)
    piece = packed.compress(zeros) + packed.flush(zlib.Z_FULL_FLUSH)
    count = _BOMB_BYTES // len(zeros)
    for _ in range(count - 1):
        yield piece
    checksum = 0
    for _ in range(count):
        checksum = zlib.crc32(zeros, checksum)
    yield b"\x03\x00" + struct.pack("<II", checksum, _BOMB_BYTES)
