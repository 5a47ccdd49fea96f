"""Who is told what happens. Observers get events, never devices.

A listener is called at once, within the run: it must return at once (append, count, set an event). Whoever needs longer
takes a `subscription`, which can never delay the run.

Owns the time stamps, the listeners and the bounded queues of slow observers. A slow observer loses events of its own
and is told how many; an observer that raises is dropped and reported to the log, and the run goes on.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import contextmanager, suppress
from typing import Any

import attrs
import trio

from fsmcollect.events import Event, EventsLost, Moved
from fsmcollect.machines.engine import Transition

Listener = Callable[[Event], None]
_log = logging.getLogger(__name__)


@attrs.define(eq=False)
class Observers:
    """Stamps events with the time since the run began and hands them to every listener, at once and in order."""

    listeners: list[Listener] = attrs.field(factory=list[Listener])
    _began_s: float | None = attrs.field(init=False, default=None)
    _untold: deque[Event] = attrs.field(init=False, factory=deque[Event])
    _is_telling: bool = attrs.field(init=False, default=False)

    def begin(self) -> None:
        """A run begins: its events are stamped from now on."""
        self._began_s = trio.current_time()

    def emit(self, kind: type[Event], **fields: Any) -> None:
        """Tell every listener that an event of this kind has happened now."""
        if self.listeners:
            self._tell(kind(t_us=self._now_us(), **fields))

    def transition(self, fired: Transition) -> None:
        """Tell every listener that a row has fired: the log of an engine."""
        if self.listeners:
            row = fired.row
            self._tell(
                Moved(
                    t_us=self._now_us(),
                    machine=fired.machine,
                    source=row.source.name,
                    event=row.event.name,
                    dest=row.dest.name,
                )
            )

    def _now_us(self) -> int:
        now_s = trio.current_time()
        if self._began_s is None:
            self._began_s = now_s
        return round((now_s - self._began_s) * 1e6)

    def _tell(self, event: Event) -> None:
        """Tell an event after those before it: what a listener brings about, when all have heard of its cause."""
        self._untold.append(event)
        if self._is_telling:
            return
        self._is_telling = True
        try:
            while self._untold:
                self._tell_each(self._untold.popleft())
        finally:
            self._is_telling = False

    def _tell_each(self, event: Event) -> None:
        for listener in tuple(self.listeners):
            try:
                listener(event)
            except Exception:  # noqa: BLE001  (an observer's bug is not the run's)
                with suppress(ValueError):  # it may have gone by itself
                    self.listeners.remove(listener)
                _log.exception("an observer raised and is told nothing more")

    @contextmanager
    def subscription(self, room: int = 1000) -> Generator[AsyncIterator[Event], None, None]:
        """Events for an observer with a pace of its own, at most `room` of them waiting.

        Yields an asynchronous iterator of events. What did not fit is lost to this observer alone; once it has caught
        up with what did, an `EventsLost` says how many, and it is told what happens from then on. Ends with the run.
        """
        queue = _Queue(room)
        self.listeners.append(queue.put)
        try:
            yield queue
        finally:
            if queue.put in self.listeners:
                self.listeners.remove(queue.put)
            queue.close()


@attrs.define(eq=False)
class _Queue:
    """The events that wait for one observer: an asynchronous iterator."""

    room: int
    #: Events that did not fit since the last one that did, and when the last of them happened.
    _lost: int = attrs.field(init=False, default=0)
    _lost_us: int = attrs.field(init=False, default=0)
    _is_over: bool = attrs.field(init=False, default=False)
    _send: trio.MemorySendChannel[Event] = attrs.field(init=False)
    _receive: trio.MemoryReceiveChannel[Event] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel(self.room)

    def put(self, event: Event) -> None:
        if self._is_over:
            return
        self._keep(event)
        if event.ends_run:
            self.close()

    def _keep(self, event: Event) -> None:
        if self._lost:  # all that is waiting came before the loss: who reads it is told of the loss next
            self._lose(event)
            return
        try:
            self._send.send_nowait(event)
        except trio.WouldBlock:
            self._lose(event)

    def close(self) -> None:
        self._is_over = True
        self._send.close()

    def _lose(self, event: Event) -> None:
        self._lost, self._lost_us = self._lost + 1, event.t_us

    def __aiter__(self) -> _Queue:
        return self

    async def __anext__(self) -> Event:
        if self._lost and not self._receive.statistics().current_buffer_used:
            lost, self._lost = self._lost, 0
            return EventsLost(t_us=self._lost_us, count=lost)
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None
