"""Who is told what happens. Observers get events, never devices, and can never delay the beam.

Owns the time stamps, the listeners and the bounded queues of slow observers. A slow observer loses events of its own
and is told how many; an observer that raises is dropped and reported to the log, and the run goes on.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import contextmanager
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
        for listener in tuple(self.listeners):
            try:
                listener(event)
            except Exception:  # noqa: BLE001  (an observer's bug is not the run's)
                self.listeners.remove(listener)
                _log.exception("an observer raised and is told nothing more")

    @contextmanager
    def subscription(self, room: int = 1000) -> Any:
        """Events for an observer with a pace of its own, at most `room` of them waiting.

        Yields an asynchronous iterator of events. What did not fit is lost to this observer alone; an `EventsLost`
        stands where they would have been.
        """
        queue = _Queue(room)
        self.listeners.append(queue.put)
        try:
            yield queue.events()
        finally:
            if queue.put in self.listeners:
                self.listeners.remove(queue.put)
            queue.close()


@attrs.define(eq=False)
class _Queue:
    room: int
    _lost: int = attrs.field(init=False, default=0)
    _send: trio.MemorySendChannel[Event] = attrs.field(init=False)
    _receive: trio.MemoryReceiveChannel[Event] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel(self.room)

    def put(self, event: Event) -> None:
        try:
            if self._lost:
                self._send.send_nowait(EventsLost(t_us=event.t_us, count=self._lost))
                self._lost = 0
            self._send.send_nowait(event)
        except trio.WouldBlock:
            self._lost += 1

    def close(self) -> None:
        self._send.close()

    async def events(self) -> AsyncIterator[Event]:
        async for event in self._receive:
            yield event
