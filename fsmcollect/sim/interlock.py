"""The hutch's personal safety system.

Owns whether the hutch is searched and locked. Whoever must act when that ends (the safety shutter) registers for it;
the interlock asks nobody's leave.
"""

from __future__ import annotations

import attrs

from fsmcollect.sim.kernel import Action
from fsmcollect.sim.trace import Trace


@attrs.define(eq=False)
class Interlock:
    """A hutch with one door.

    Attributes
    ----------
    searched : bool
        Searched and locked: the beam may enter.
    broken : list of callables
        Called at once when somebody opens the door of a searched hutch.
    """

    trace: Trace
    searched: bool = True
    broken: list[Action] = attrs.field(factory=list[Action])
    _opened_us: int = attrs.field(init=False, default=0)

    @property
    def open_for_us(self) -> int:
        """Time since the search became void; 0 while it holds."""
        return 0 if self.searched else self.trace.kernel.now_us - self._opened_us

    async def is_searched(self) -> bool:
        """See `fsmcollect.beamline.Interlock`."""
        return self.searched

    def open_door(self) -> None:
        """Somebody opens the door: the search is void."""
        if self.searched:
            self.searched, self._opened_us = False, self.trace.kernel.now_us
            self.trace.note("interlock", "broken")
            for act in self.broken:
                act()

    def search(self) -> None:
        """Somebody searches and locks the hutch."""
        if not self.searched:
            self.searched = True
            self.trace.note("interlock", "searched")
