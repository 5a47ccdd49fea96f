"""One answer of a web server: what its head says, its body, and the words for what went wrong.

Owns how statuses, headers and failures read. Which of them matter for a file is the business of `http`.
"""

from __future__ import annotations

import datetime as dt
import email.utils
import http
import os
import re
import ssl
from typing import cast

import attrs
import httpx
import trio

from fsmcollect.stream.sources import NotThere, Refused, SourceError
from fsmcollect.stream.sources.network import Body, Flow

#: 18 digits: a larger number is no size, and Python refuses to read one of 5,000.
_NUMBER = re.compile(r"\d{1,18}", re.ASCII)
_CONTENT_RANGE = re.compile(r"bytes +(?:(\d{1,18})-(\d{1,18})|\*)/(\d{1,18})", re.ASCII)


@attrs.define(eq=False)
class Answer:
    """An answer whose head was accepted; its body comes block by block."""

    #: Where it came from after all redirects, for messages.
    url: str
    response: httpx.Response
    _body: Body
    _flow: Flow

    @property
    def status(self) -> int:
        return self.response.status_code

    def header(self, name: str) -> str | None:
        value = self.response.headers.get(name)
        return value if isinstance(value, str) else None

    @property
    def length_bytes(self) -> int | None:
        """Content-Length; None where there is none, or it is no size."""
        text = self.header("content-length") or ""
        return int(text) if _NUMBER.fullmatch(text) else None

    @property
    def range(self) -> tuple[int | None, int | None, int] | None:
        """First and last byte and the size of the whole file, as Content-Range has them."""
        match = _CONTENT_RANGE.fullmatch(self.header("content-range") or "")
        if match is None:
            return None
        first, last, size = match.groups()
        return (int(first) if first else None, int(last) if last else None, int(size))

    @property
    def validator(self) -> str | None:
        """A strong ETag, else a Last-Modified that is strong; None where there is neither.

        A weak ETag ("W/...") may stay while bytes change. So may a date of the very second of the answer, or of a time
        to come: the file may be written again within that second (RFC 9110, section 8.8.2.2). A server without a clock
        (no Date) is taken at its word.
        """
        etag = self.header("etag") or ""
        if etag.startswith('"'):
            return etag
        text = self.header("last-modified") or ""
        changed, now = _date(text), _date(self.header("date") or "")
        if changed is None or (now is not None and (now - changed).total_seconds() < 1):
            return None
        return text

    @property
    def is_page(self) -> bool:
        kind = (self.header("content-type") or "").partition(";")[0].strip().lower()
        return kind in ("text/html", "application/xhtml+xml")

    async def block(self) -> bytes | memoryview:
        """The next bytes, valid until the next call; empty at the end.

        Raises
        ------
        SourceError
            The connection broke, fell silent, trickles, or ended early.
        """
        began_s = trio.current_time()
        try:
            block = await self._body.receive()
        except httpx.TransportError as error:
            raise SourceError(f"{self.url} {in_words(error)}") from error
        if not self._flow.goes_on(len(block), waited_s=trio.current_time() - began_s):
            raise SourceError(f"{self.url} sends next to nothing: {self._flow}")
        return block


def shown(url: httpx.URL) -> str:
    """A URL for messages: without a password."""
    return str(url.copy_with(userinfo=b""))


def check(url: httpx.URL, response: httpx.Response, wanted: frozenset[int]) -> None:
    """Raise what a status says that is not wanted."""
    status = response.status_code
    if status in wanted:
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("", "identity"):
            raise Refused(f"{shown(url)} is sent as {encoding[:40]!r} though it was asked for as it is: not unpacked")
        return
    try:
        answer = f"{shown(url)} answers {status} ({http.HTTPStatus(status).phrase})"
    except ValueError:
        answer = f"{shown(url)} answers {status}"
    if status in (404, 410):
        raise NotThere(f"{shown(url)} is not there ({status})")
    if status in (401, 403):
        raise SourceError(f"{shown(url)}: the server refuses access ({status})")
    raise SourceError(answer, retry_after_s=_retry_after_s(response) if status in (429, 503) else None)


def _retry_after_s(response: httpx.Response) -> float | None:
    """Seconds, from a number of seconds or a date; None for anything else."""
    text = response.headers.get("retry-after", "").strip()
    if re.fullmatch(r"-?\d{1,9}", text, re.ASCII):
        return max(0.0, float(text))
    until = _date(text)
    # By the server's own clock where it shows one: ours may be wrong, and is not what passes in a simulation.
    now = _date(response.headers.get("date", "")) or dt.datetime.now(dt.UTC)
    return None if until is None else max(0.0, (until - now).total_seconds())


def _date(text: str) -> dt.datetime | None:
    try:
        date = email.utils.parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=dt.UTC)


def in_words(error: httpx.TransportError) -> str:
    """What a person understands; it goes on where a URL has been named."""
    if isinstance(error, httpx.ConnectTimeout):
        return "cannot be reached: nobody answers"
    if isinstance(error, httpx.ReadTimeout):
        return "has fallen silent"
    if isinstance(error, httpx.WriteTimeout):
        return "does not listen"
    if isinstance(error, httpx.ConnectError):
        return f"cannot be reached{_reason(error)}"
    if isinstance(error, httpx.RemoteProtocolError):
        return str(error)
    return f"was cut off{_reason(error)}"


def _reason(error: BaseException) -> str:
    """What the operating system or TLS said, wherever in the chain of causes; empty where nobody said anything."""
    said = ""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ExceptionGroup):  # every address that the name has was tried
            cause = cast("ExceptionGroup[Exception]", cause).exceptions[0]
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f": its certificate is not valid ({cause.verify_message})"
        if isinstance(cause, ssl.SSLError):
            return f": TLS failed ({(cause.reason or 'no reason was given').replace('_', ' ').lower()})"
        if isinstance(cause, OSError) and cause.strerror:
            # A positive number is the system's own; that of a name that is not found is negative.
            number = cause.errno or 0
            said = f": {os.strerror(number) if number > 0 else cause.strerror}"
        cause = cause.__cause__ or cause.__context__
    return said
