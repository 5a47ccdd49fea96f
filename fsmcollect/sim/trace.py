"""The simulator's trace: what every device did, instant by instant, and its digest.

Owns the order: the lines of one instant are sorted by who wrote them (each writer's own order is kept), because what
happens in one instant has no order between independent devices. Keeps no line longer than its instant, so memory stays
flat whatever the length of a run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import attrs

from fsmcollect.sim.kernel import Kernel

Line = tuple[str, str]


@attrs.define(eq=False, repr=False)
class Trace:
    """Collects `note`s and hashes them when their instant is over.

    Attributes
    ----------
    listeners : list of callables
        Each is handed the finished lines of an instant as ``(t_us, [(source, text), ...])``.
    followers : list of callables
        Each is told ``(t_us, source, text)`` at once, in the order in which notes are made: for whoever tells a story.
    """

    kernel: Kernel
    listeners: list[Callable[[int, list[Line]], None]] = attrs.field(factory=list[Callable[[int, list[Line]], None]])
    followers: list[Callable[[int, str, str], None]] = attrs.field(factory=list[Callable[[int, str, str], None]])
    _lines: list[Line] = attrs.field(init=False, factory=list[Line])
    _instant_us: int = attrs.field(init=False, default=0)
    _digest: hashlib._Hash = attrs.field(init=False, factory=hashlib.sha256)

    def __attrs_post_init__(self) -> None:
        self.kernel.settled.append(self._finish_instant)

    def note(self, source: str, text: str) -> None:
        """`source` did `text` now. Numbers in the text must be exact or rounded: it is hashed."""
        now_us = self.kernel.now_us
        if now_us != self._instant_us:
            self._finish_instant()
            self._instant_us = now_us
        self._lines.append((source, text))
        for follow in self.followers:
            follow(now_us, source, text)

    def sha256(self) -> str:
        """Digest of everything up to now."""
        self._finish_instant()
        return self._digest.hexdigest()

    def _finish_instant(self) -> None:
        if not self._lines:
            return
        self._lines.sort(key=_source)
        now_us = self._instant_us
        self._digest.update("".join(f"{now_us} {s} {text}\n" for s, text in self._lines).encode())
        for listen in self.listeners:
            listen(now_us, self._lines)
        self._lines = []


def _source(line: Line) -> str:
    return line[0]
