"""A motor controller that lives in real time, a few milliseconds for a move."""

from __future__ import annotations

import math
import time

import attrs
import trio


@attrs.define(eq=False)
class Controller:
    """Takes lines at once, answers a little later."""

    position: float = 500.0
    speed: float = 400.0
    answers_in_s: float = 0.0002
    lines: list[str] = attrs.field(factory=list[str])
    _from: float = attrs.field(init=False, default=500.0)
    _target: float = attrs.field(init=False, default=500.0)
    _since_s: float = attrs.field(init=False, default=0.0)

    def send(self, line: str) -> None:
        self.lines.append(line)
        here = self._position()
        command, _, target = line.partition(" ")
        self._from, self._since_s = here, time.perf_counter()
        self._target = float(target) if command == "move" else here

    async def ask(self, question: str) -> str:
        await trio.sleep(self.answers_in_s)
        position = self._position()
        return f"{position:.6f}" if question == "position" else ("no" if position == self._target else "yes")

    def _position(self) -> float:
        way = self._target - self._from
        gone = (time.perf_counter() - self._since_s) * self.speed
        return self._target if gone >= abs(way) else self._from + math.copysign(gone, way)
