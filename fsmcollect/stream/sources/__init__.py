"""Where files come from: what a source can do, and how it fails.

A source speaks HTTP or FTP and knows one entry's folder. It owns requests, answers and their interpretation; when to
ask again is the transfer machine's business, and what is written where is the sink's.
"""

from __future__ import annotations

from typing import Protocol

from fsmcollect.errors import FsmCollectError
from fsmcollect.stream.values import Listed, Remote

#: So many names of an entry that no file may have are kept to tell of. Assumed: a person reads no more.
REFUSED_KEPT = 20


class SourceError(FsmCollectError):
    """The server or the network failed: asking again later may help.

    Attributes
    ----------
    retry_after_s : float or None
        How long the server asks to be left alone.
    """

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class NotThere(SourceError):
    """The server says that there is no such file or folder (HTTP 404 and 410, FTP 550)."""


class Changed(SourceError):
    """The remote file is another one than it was: what has arrived of it is worthless, begin afresh."""


class Refused(SourceError):
    """The server answered with something that must not be followed or trusted: asking again cannot help."""


class Sink(Protocol):
    """Where the bytes of one file go."""

    async def begin(self, offset: int) -> None:
        """The next byte is number `offset`, 0 or the offset asked for; 0 discards what was there before."""
        ...

    async def write(self, block: bytes | bytearray | memoryview) -> None:
        """Take the next bytes; slow where a rate limit says so. The block may be reused when this returns."""
        ...


class Source(Protocol):
    """One entry's folder in the archive. Paths are below it, decoded; ``""`` is the folder itself."""

    #: For messages: where this source looks.
    url: str
    #: Names in listings that no file may have, with their folders and quoted for messages, and why: at most
    #: `REFUSED_KEPT` of them. They are left out.
    refused: dict[str, str]

    async def folder(self, path: str) -> list[Listed]:
        """What a folder holds, in the server's order.

        Raises
        ------
        NotThere
            There is no such folder.
        SourceError
            It could not be listed, or the answer is not a listing: a page of maintenance, say.
        Refused
            The answer is larger than any listing.
        """
        ...

    async def head(self, path: str) -> Remote:
        """Exact size and validator of a file. Raises as `folder`; `Refused` where the server tells no size."""
        ...

    async def download(self, path: str, remote: Remote, offset: int, sink: Sink) -> None:
        """Hand bytes `offset` to `remote.size_bytes` to the sink, in order; return when all have arrived.

        `offset` is 0, or less than the size: who has all bytes has nothing to ask for. Without a validator it begins at
        byte 0 whatever is asked. Cancelling it leaves the sink with what has been handed over.

        Raises
        ------
        Changed
            The server's file is no longer the `remote` that was asked for.
        SourceError
            The connection broke, fell silent, or ended early; the server wants to be left alone for a while; or it
            answered with a page of HTML where the listing names data.
        Refused
            More bytes than the file has, a Content-Encoding, a redirect to another host.
        """
        ...

    async def aclose(self) -> None:
        """Let go of what connections it keeps for itself. May be repeated."""
        ...
