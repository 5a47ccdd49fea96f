"""The promise that whatever ends or holds an exposure, the beam goes off in that very instant."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from fsmcollect.sim.kernel import US_PER_S, Kernel
from fsmcollect.sim.trace import Trace


@attrs.define(eq=False)
class BeamOffAtOnce:
    """A stop, a hold, a failure, the last image => the fast shutter is told to close in the same instant.

    Attributes
    ----------
    is_excused : callable
        A fault keeps the command from the shutter.
    sentences : list of str
        Where it was not so.
    """

    kernel: Kernel
    trace: Trace
    is_excused: Callable[[], bool]
    sentences: list[str] = attrs.field(init=False, factory=list[str])
    _asked_us: int | None = attrs.field(init=False, default=None)
    _told_us: int = attrs.field(init=False, default=-1)

    def __attrs_post_init__(self) -> None:
        self.trace.followers.append(self._follow)
        self.kernel.settled.append(self._settle)

    def asked(self) -> None:
        """Somebody stops or holds the run, or something ends or interrupts its exposing, now."""
        self._asked_us = self.kernel.now_us

    def _follow(self, t_us: int, source: str, text: str) -> None:
        if source == "fast_shutter" and text == "close":
            self._told_us = t_us

    def _settle(self) -> None:
        if self._asked_us is None:
            return
        asked_us, self._asked_us = self._asked_us, None
        if self._told_us < asked_us and not self.is_excused():
            self.sentences.append(
                f"at {asked_us / US_PER_S:.6f} s: the run was stopped, held or over, and the fast shutter was "
                "not told to close in the same instant"
            )
