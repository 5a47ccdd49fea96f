"""HTTP/1.1 over any stream: requests are read, answered one after the other, and spoilt as the answer says.

Owns the connection. Owns no content: it is handed a function from a request to an `Answer`. Whatever comes in, it ends
with an answer of 400 or with the connection's end, never with an error.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator

import attrs
import h11
import trio

from fsmcollect.sim.archive.answers import Answer, page
from fsmcollect.sim.archive.line import Line

_RECEIVED_AT_ONCE_BYTES = 64 * 1024


@attrs.frozen
class Asked:
    """A request, as far as anybody here reads it; the names of headers are in lower case."""

    method: str
    target: str
    headers: dict[str, str]

    @property
    def words(self) -> str:
        """What orders requests of one instant."""
        return f"{self.target} {self.headers.get('range', '')} {self.method}"


Answering = Callable[[Asked], Answer]


async def converse(stream: trio.abc.Stream, line: Line, answering: Answering) -> None:
    """Answer every request that comes over a stream, until either side closes it."""
    try:
        async with stream:
            await _Conversation(stream, line, answering).run()
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass  # the other side has gone


class _Over(Exception):
    """The connection is to end here, as it was meant to."""


@attrs.define(eq=False)
class _Conversation:
    stream: trio.abc.Stream
    line: Line
    answering: Answering
    _http: h11.Connection = attrs.field(init=False, factory=lambda: h11.Connection(h11.SERVER))

    async def run(self) -> None:
        try:
            while (asked := await self._next_request()) is not None:
                await self.line.ask(asked.words)
                await self._send(asked, self.answering(asked))
                if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
                    return
                self._http.start_next_cycle()
        except h11.RemoteProtocolError as error:
            if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                with trio.move_on_after(1):
                    await self._refuse(str(error))
        except _Over:
            return

    async def _next_request(self) -> Asked | None:
        """None when the other side has no more."""
        asked: Asked | None = None
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                if self._http.they_are_waiting_for_100_continue:
                    return asked  # nobody's body is wanted here
                self._http.receive_data(bytes(await self.stream.receive_some(_RECEIVED_AT_ONCE_BYTES)))
            elif isinstance(event, h11.Request):
                headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}
                asked = Asked(event.method.decode("latin-1"), event.target.decode("latin-1"), headers)
            elif isinstance(event, h11.EndOfMessage):
                return asked
            elif not isinstance(event, h11.Data):
                return None

    async def _refuse(self, why: str) -> None:
        answer = page(400, f"Your browser sent a request that this server could not understand: {why!r}")
        await self._begin(answer, ("Connection", "close"))
        for block in answer.body():
            await self.stream.send_all(self._http.send(h11.Data(data=block)) or b"")

    async def _send(self, asked: Asked, answer: Answer) -> None:
        if answer.raw is not None:
            await self.stream.send_all(answer.raw)
            raise _Over
        await self._begin(answer)
        if asked.method == "HEAD":
            await self._end()
            return
        is_framed = answer.cut_at is None and answer.said_length is None
        sent = 0
        for block in _cut(answer):
            await _pause(answer, sent)
            await self.line.carry(asked.words, sent, len(block))
            pieces = self._http.send_with_data_passthrough(h11.Data(data=block)) if is_framed else [block]
            for piece in pieces or ():
                await self.stream.send_all(piece)
            sent += len(block)
        await _pause(answer, sent)
        if not is_framed:
            if answer.is_reset:
                await reset(self.stream)
            raise _Over
        await self._end()

    async def _begin(self, answer: Answer, *more: tuple[str, str]) -> None:
        headers = [("Server", "fsmcollect-pretended"), *answer.headers, *more]
        said = answer.length if answer.said_length is None else answer.said_length
        if said is not None:
            headers.append(("Content-Length", str(said)))
        head = h11.Response(status_code=answer.status, headers=headers, reason=answer.reason)
        await self.stream.send_all(self._http.send(head) or b"")

    async def _end(self) -> None:
        if end := self._http.send(h11.EndOfMessage()):
            await self.stream.send_all(end)


async def _pause(answer: Answer, sent: int) -> None:
    if answer.pause_at is not None and answer.pause_at == sent and answer.pause_s:
        await trio.sleep(answer.pause_s)
    elif answer.pause_at is not None and answer.pause_at <= sent and answer.trickle_s:
        await trio.sleep(answer.trickle_s)


async def reset(stream: trio.abc.Stream) -> None:
    """End a connection as a crash does: the other side's next read fails."""
    if isinstance(stream, trio.SocketStream):
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await trio.aclose_forcefully(stream)
    elif isinstance(stream, Resettable):
        stream.reset()
    else:
        await trio.aclose_forcefully(stream)


class Resettable(trio.abc.Stream):
    """A stream that can end as a crash does."""

    def reset(self) -> None:
        """The other side can still read what has been sent; then its reads fail."""
        raise NotImplementedError


def _cut(answer: Answer) -> Iterator[bytes]:
    """The body's blocks up to where it is cut, with an edge at the pause, and single bytes from there in a trickle."""
    at = 0
    edges = [edge for edge in (answer.pause_at, answer.cut_at) if edge is not None]
    for block in answer.body():
        begin = 0
        while begin < len(block):
            if answer.cut_at is not None and at >= answer.cut_at:
                return
            length = min([len(block) - begin, *(edge - at for edge in edges if edge > at)])
            if answer.trickle_s and answer.pause_at is not None and at >= answer.pause_at:
                length = 1
            yield block if length == len(block) else block[begin : begin + length]
            begin, at = begin + length, at + length
