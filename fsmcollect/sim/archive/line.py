"""The line to the pretend archive: latency, a bandwidth that all share, and one order for what happens at once.

Owns when a request is answered and when a block of it has arrived. Under a simulated clock this does not depend on the
order in which trio runs tasks that wake together: what asks for its turn with the same due instant is put into the
order of its own words, and no two turns come in the same microsecond.
"""

from __future__ import annotations

import attrs
import trio

US_PER_S = 1_000_000


@attrs.define(eq=False)
class _Turn:
    words: tuple[str, int]
    size_bytes: int
    when_us: int | None = None


@attrs.define(eq=False)
class Line:
    """What lies between the archive and everybody who asks it.

    Attributes
    ----------
    latency_s : float
        From a request to the beginning of its answer; and to connect.
    bandwidth_bytes_per_s : float or None
        Of all connections together; None for as fast as it goes.
    """

    latency_s: float
    bandwidth_bytes_per_s: float | None
    #: Who gets a turn when an instant has come.
    _due: dict[int, list[_Turn]] = attrs.field(init=False, factory=dict[int, list[_Turn]])
    _busy_until_us: int = attrs.field(init=False, default=0)
    #: The microseconds to come that are somebody's.
    _taken_us: set[int] = attrs.field(init=False, factory=set[int])

    async def ask(self, words: str) -> None:
        """A request has come in: wait until it is to be answered."""
        if self.latency_s or self.bandwidth_bytes_per_s is not None:
            await self._turn(_Turn((words, -1), 0), round(self.latency_s * US_PER_S))
        else:
            await trio.lowlevel.checkpoint()

    async def carry(self, words: str, offset: int, size_bytes: int) -> None:
        """Wait until so many bytes have gone over the line."""
        if self.bandwidth_bytes_per_s is not None:
            await self._turn(_Turn((words, offset), size_bytes), 0)

    async def _turn(self, turn: _Turn, delay_us: int) -> None:
        due_us = now_us() + max(delay_us, 1)
        waiting = self._due.setdefault(due_us, [])
        waiting.append(turn)
        try:
            await sleep_until(due_us)
            if turn.when_us is None:
                self._put_in_order(due_us)
            if turn.when_us is not None:
                await sleep_until(turn.when_us)
        finally:
            if turn.when_us is not None:
                self._taken_us.discard(turn.when_us)
            else:  # cancelled before its instant had come
                waiting.remove(turn)
                if not waiting:
                    del self._due[due_us]

    def _put_in_order(self, due_us: int) -> None:
        """The first of an instant to wake says when each of that instant gets its turn."""
        for turn in sorted(self._due.pop(due_us), key=_words):
            if turn.size_bytes and self.bandwidth_bytes_per_s is not None:
                on_the_way_us = round(turn.size_bytes / self.bandwidth_bytes_per_s * US_PER_S)
                self._busy_until_us = max(self._busy_until_us, due_us) + max(on_the_way_us, 1)
                turn.when_us = self._free_from(self._busy_until_us)
            else:
                turn.when_us = self._free_from(due_us + 1)

    def _free_from(self, instant_us: int) -> int:
        while instant_us in self._taken_us:
            instant_us += 1
        self._taken_us.add(instant_us)
        return instant_us


def now_us() -> int:
    """By trio's clock, whichever it is."""
    return round(trio.current_time() * US_PER_S)


async def sleep_until(instant_us: int) -> None:
    """Wake in that very microsecond of a simulated clock: a deadline a little before it is rounded up to it."""
    await trio.sleep_until((instant_us - 0.4) / US_PER_S)


def _words(turn: _Turn) -> tuple[str, int]:
    return turn.words
