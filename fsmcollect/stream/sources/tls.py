"""TLS for large files: what the socket holds is decrypted at once, straight into the caller's buffer.

Owns the TLS layer of one connection. trio's own hands out one record, at most 16 KiB, at a time: for the files of an
archive that is two and a half times the processor time. Ciphers, certificates and the protocol are OpenSSL's, by the
standard library's `ssl.SSLObject`.
"""

from __future__ import annotations

import math
import ssl
from collections.abc import Callable
from typing import Any, TypeVar, cast

import httpcore
import trio

T = TypeVar("T")

#: What is read from the socket at once: 16 records. Measured: more gains nothing.
CIPHERTEXT_BYTES = 256 << 10


class TlsStream(httpcore.AsyncNetworkStream):
    """TLS over a connected socket, as a client. Not usable until `handshake` has returned.

    Parameters
    ----------
    stream : httpcore.AsyncNetworkStream
        The connection; closed with this.
    socket : trio.socket.SocketType
        That of `stream`.
    """

    def __init__(
        self,
        stream: httpcore.AsyncNetworkStream,
        socket: trio.socket.SocketType,
        context: ssl.SSLContext,
        server_hostname: str,
    ) -> None:
        self._stream = stream
        self._socket = socket
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_hostname)
        self._ciphertext = memoryview(bytearray(CIPHERTEXT_BYTES))

    async def handshake(self, timeout_s: float | None) -> None:
        """Agree on keys and check the server's certificate.

        Raises
        ------
        httpcore.ConnectError, httpcore.ConnectTimeout
            It did not come about.
        """
        try:
            with trio.fail_after(math.inf if timeout_s is None else timeout_s):
                await self._until_done(self._tls.do_handshake)
                await self._send()
        except trio.TooSlowError as error:
            raise httpcore.ConnectTimeout from error
        except OSError as error:  # ssl.SSLError is one
            raise httpcore.ConnectError(str(error)) from error

    async def read_into(self, buffer: memoryview, timeout_s: float | None) -> int:
        """Fill the buffer with what is there; wait only where nothing is. 0 at the end."""

        def decrypt() -> int:
            count = 0
            try:
                while count < len(buffer):
                    # With a buffer it returns how many bytes it wrote there, whatever its types say.
                    size_bytes = cast("int", self._tls.read(len(buffer) - count, buffer[count:]))
                    if size_bytes == 0:
                        break
                    count += size_bytes
            except ssl.SSLWantReadError:
                if count == 0:
                    raise
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                # Servers end without saying so in TLS; whether all has come is known from HTTP, and from the file.
                pass
            return count

        try:
            with trio.fail_after(math.inf if timeout_s is None else timeout_s):
                return await self._until_done(decrypt)
        except trio.TooSlowError as error:
            raise httpcore.ReadTimeout from error
        except OSError as error:
            raise httpcore.ReadError(str(error)) from error

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - httpcore's signature
        buffer = bytearray(max_bytes)
        count = await self.read_into(memoryview(buffer), timeout)
        return bytes(buffer[:count])

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - the same
        try:
            self._tls.write(buffer)
        except ssl.SSLError as error:
            raise httpcore.WriteError(str(error)) from error
        await self._stream.write(self._outgoing.read(), timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    def get_extra_info(self, info: str) -> Any:
        return self._tls if info == "ssl_object" else self._stream.get_extra_info(info)

    async def _until_done(self, work: Callable[[], T]) -> T:
        """Try again with every piece that the server sends."""
        await trio.lowlevel.checkpoint()
        while True:
            try:
                return work()
            except ssl.SSLWantReadError:
                await self._send()
                count = await self._socket.recv_into(self._ciphertext)
                if count == 0:
                    self._incoming.write_eof()
                else:
                    self._incoming.write(self._ciphertext[:count])

    async def _send(self) -> None:
        """Send what TLS has to say by itself."""
        if self._outgoing.pending:
            await self._stream.write(self._outgoing.read())
