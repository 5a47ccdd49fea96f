"""The archive over HTTP: requests, what their answers mean, and in which words that is told.

Owns statuses, redirects, ranges, validators and sizes. Bytes and connections are `network`'s, the pages of folders
`index`'s; when to ask again is decided elsewhere.

References
----------
RFC 9110, HTTP Semantics: https://www.rfc-editor.org/rfc/rfc9110 (sections 8.8 validators, 13.1.5 If-Range, 14 ranges).
"""

from __future__ import annotations

import http
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import NoReturn
from urllib.parse import quote

import httpcore
import httpx
import trio

from fsmcollect import __version__
from fsmcollect.stream.sources import REFUSED_KEPT, Changed, Refused, Sink, SourceError
from fsmcollect.stream.sources.answers import Answer, check, in_words, shown
from fsmcollect.stream.sources.index import IndexParser, NoListing, TooManyNames
from fsmcollect.stream.sources.network import Flow, Transport, unused_proxy
from fsmcollect.stream.values import Listed, Remote

MAX_REDIRECTS = 5
#: A folder's page: 100,000 files make 20 MB. Assumed.
MAX_INDEX_BYTES = 256 << 20
#: A page is read in pieces of this size, so that other files go on meanwhile.
_INDEX_PIECE_BYTES = 64 << 10

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_OK = frozenset({200})
_DATA = frozenset({200, 206, 416})
#: 405 and 501: the server knows no HEAD.
_HEAD = frozenset({200, 405, 501})
_PAGES = (".html", ".htm", ".xhtml")


class Http:
    """Asks servers, never more than `jobs` + 2 questions at once; the connections are kept for the next question.

    Parameters
    ----------
    jobs : int
        How many files are fetched at once; two more questions may be asked beside them.
    network : httpcore.AsyncNetworkBackend, optional
        What connects; trio's sockets unless given.
    stall_s : float
        A server that is silent for so long has failed.
    """

    def __init__(
        self, jobs: int = 4, network: httpcore.AsyncNetworkBackend | None = None, stall_s: float = 30.0
    ) -> None:
        self._transport = Transport(network)
        self._is_in_memory = network is not None
        self._places = trio.Semaphore(jobs + 2)
        self._stall_s = stall_s

    async def __aenter__(self) -> Http:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self._transport.__aexit__(kind, error, traceback)

    def unused_proxy(self, url: str) -> str | None:
        """What a person behind a proxy should know, in words; None where there is none, or no network."""
        return None if self._is_in_memory else unused_proxy(url)

    async def read(self, url: str, max_bytes: int) -> bytes:
        """A whole small document.

        Raises
        ------
        NotThere, SourceError, Refused
            As `Source.folder`; Refused also where it is larger than `max_bytes`.
        """
        data = bytearray()
        async with self.ask(url) as answer:
            while block := await answer.block():
                data += block
                if len(data) > max_bytes:
                    raise Refused(f"{answer.url} is larger than {max_bytes:,} bytes: not read")
        return bytes(data)

    @asynccontextmanager
    async def ask(
        self,
        url: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        wanted: frozenset[int] = _OK,
    ) -> AsyncGenerator[Answer]:
        """Ask, and follow redirects that stay with the server; ends the connection where the body is not read whole.

        Raises
        ------
        NotThere, SourceError, Refused
            The status is not one that is `wanted`, or there was no answer.
        """
        target = _url(url)
        async with self._places:
            for _ in range(MAX_REDIRECTS + 1):
                response = await self._send(method, target, headers or {})
                try:
                    if response.status_code not in _REDIRECTS:
                        check(target, response, wanted)
                        body = response.extensions["body"]
                        yield Answer(shown(target), response, body, Flow(stall_s=self._stall_s))
                        return
                    target = _followed(target, response)
                finally:
                    await response.aclose()
            raise Refused(f"{shown(httpx.URL(url))} redirects more than {MAX_REDIRECTS} times: not followed")

    async def _send(self, method: str, url: httpx.URL, headers: Mapping[str, str]) -> httpx.Response:
        # Not through an httpx.AsyncClient: it would keep cookies and judge redirects before we can.
        request = httpx.Request(
            method,
            url,
            headers={
                "Accept": "*/*",
                # Ranges count the bytes of the file itself, and a bomb needs an encoding.
                "Accept-Encoding": "identity",
                "User-Agent": f"fsmcollect/{__version__}",
                **headers,
            },
            extensions={"timeout": httpx.Timeout(self._stall_s).as_dict()},
        )
        limit_s = 2 * self._stall_s
        try:
            with trio.fail_after(limit_s):
                return await self._transport.handle_async_request(request)
        except trio.TooSlowError as error:
            raise SourceError(f"{shown(url)} has not answered within {limit_s:g} s") from error
        except (httpx.UnsupportedProtocol, httpx.LocalProtocolError) as error:
            raise Refused(f"{shown(url)} cannot be asked: {error}") from error
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            hint = self.unused_proxy(str(url))
            raise SourceError(f"{shown(url)} {in_words(error)}{f' ({hint})' if hint else ''}") from error
        except httpx.TransportError as error:
            raise SourceError(f"{shown(url)} {in_words(error)}") from error


class HttpSource:
    """One entry's folder on a web server.

    Attributes
    ----------
    url : str
        Of the folder, with a slash at its end and without a password.
    refused : dict of str to str
        See `Source.refused`.
    """

    def __init__(self, http: Http, url: str) -> None:
        self._http = http
        self._base = url if url.endswith("/") else url + "/"
        self.url = shown(_url(self._base))
        self.refused: dict[str, str] = {}

    async def folder(self, path: str) -> list[Listed]:
        parser = IndexParser()
        size_bytes = 0
        async with self._http.ask(self._url(path) + "/" if path else self._base) as answer:
            try:
                while block := await answer.block():
                    size_bytes += len(block)
                    if size_bytes > MAX_INDEX_BYTES:
                        raise Refused(f"{answer.url} is larger than {MAX_INDEX_BYTES:,} bytes: no folder's listing is")
                    for start in range(0, len(block), _INDEX_PIECE_BYTES):
                        parser.feed(bytes(block[start : start + _INDEX_PIECE_BYTES]))
                        await trio.lowlevel.checkpoint()
                rows = parser.close()
            except NoListing as error:
                raise SourceError(f"{answer.url} {error}") from error
            except TooManyNames as error:
                raise Refused(f"{answer.url} {error}") from error
        for name, reason in list(parser.refused.items())[: REFUSED_KEPT - len(self.refused)]:
            self.refused[f"{path}/{name}" if path else name] = reason
        return rows

    async def head(self, path: str) -> Remote:
        async with self._http.ask(self._url(path), method="HEAD", wanted=_HEAD) as answer:
            if answer.status == http.HTTPStatus.OK:
                _refuse_page(answer, path)
                if answer.length_bytes is not None:
                    return Remote(answer.length_bytes, answer.validator)
        # No HEAD, or no size in its answer: the first byte of a range tells the size as well.
        async with self._http.ask(self._url(path), headers={"Range": "bytes=0-0"}, wanted=_DATA) as answer:
            _refuse_page(answer, path)
            size_bytes = answer.length_bytes if answer.status == http.HTTPStatus.OK else None
            if answer.range is not None and answer.status != http.HTTPStatus.OK:
                size_bytes = answer.range[2]
            if size_bytes is None:
                raise Refused(f"{answer.url}: the server tells no size")
            if answer.length_bytes == 1:
                await answer.block()  # read to its end, the connection serves the next question too
            return Remote(size_bytes, answer.validator)

    async def download(self, path: str, remote: Remote, offset: int, sink: Sink) -> None:
        size_bytes = remote.size_bytes
        if remote.validator is None:
            offset = 0
        headers = {"Range": f"bytes={offset}-", "If-Range": str(remote.validator)} if offset else {}
        async with self._http.ask(self._url(path), headers=headers, wanted=_DATA) as answer:
            _refuse_page(answer, path)
            position = _first_byte(answer, remote, offset)
            await sink.begin(position)
            while block := await answer.block():
                if position + len(block) > size_bytes:
                    raise Refused(f"{answer.url} sends more than the {size_bytes:,} bytes that it has")
                await sink.write(block)
                position += len(block)
            if position < size_bytes:
                raise SourceError(f"{answer.url} ended early, after {position:,} of {size_bytes:,} bytes")

    async def aclose(self) -> None:
        """Nothing to let go of: connections belong to `Http`."""

    def _url(self, path: str) -> str:
        return self._base + "/".join(quote(part, safe="") for part in path.split("/"))


def _url(text: str) -> httpx.URL:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise Refused(f"{text!r} is no URL that can be asked") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise Refused(f"{text!r} is no URL that can be asked")
    return url


def _first_byte(answer: Answer, remote: Remote, offset: int) -> int:
    """Where the body begins that the server answered with.

    Raises
    ------
    Changed
        It is not of the file that `remote` is.
    """
    if answer.status == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        _changed(answer, f"it has no byte {offset:,} any more")
    if remote.validator is not None:
        name = "etag" if remote.validator.startswith('"') else "last-modified"
        validator = answer.header(name)
        # A 206 may leave out Last-Modified, never the ETag (RFC 9110, section 15.3.7).
        must_have = offset > 0 and name == "etag" and answer.status == http.HTTPStatus.PARTIAL_CONTENT
        if validator != remote.validator and (validator is not None or must_have):
            _changed(answer, f"{name} {validator} instead of {remote.validator}")
    if answer.status == http.HTTPStatus.OK:
        size_bytes = answer.length_bytes
        if size_bytes is not None and size_bytes != remote.size_bytes:
            _changed(answer, f"it has {size_bytes:,} bytes instead of {remote.size_bytes:,}")
        return 0
    first, last, size_bytes = answer.range or (None, None, -1)
    if size_bytes != remote.size_bytes or first != offset or last is None or not offset <= last < size_bytes:
        said = answer.header("content-range")
        _changed(answer, f"asked for what follows byte {offset:,} of {remote.size_bytes:,}, it sends {said}")
    return offset


def _changed(answer: Answer, how: str) -> NoReturn:
    raise Changed(f"{answer.url} has changed: {how}")


def _refuse_page(answer: Answer, path: str) -> None:
    # With 416, as with any refusal, a page says in words what the status says.
    is_data = answer.status != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
    if is_data and answer.is_page and not path.lower().endswith(_PAGES):
        raise SourceError(f"{answer.url} answers with a page instead of data")


def _followed(url: httpx.URL, response: httpx.Response) -> httpx.URL:
    """Where a redirect leads.

    Raises
    ------
    Refused
        To another server, or to what is no place on a server.
    """
    location = response.headers.get("location", "")
    try:
        target = url.join(location)
    except (httpx.InvalidURL, ValueError) as error:
        raise Refused(f"{shown(url)} redirects to {location[:200]!r}: not followed") from error
    stays = target.scheme == url.scheme and target.port == url.port
    is_safer = url.scheme == "http" and target.scheme == "https"
    if not location or target.host != url.host or target.userinfo not in (b"", url.userinfo) or not (stays or is_safer):
        raise Refused(f"{shown(url)} redirects to {location[:200]!r}: not followed")
    return target
