"""When something of a scenario happens: at a time, or at an event of the run.

Owns the vocabulary of events, the counting and the sentence for a moment that never came. Owns no deed.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from fsmcollect.events import Event, Moved
from fsmcollect.machines.collection import State as CollectionState
from fsmcollect.machines.wedge import State as WedgeState
from fsmcollect.sim.kernel import Kernel, to_us

#: Events by their kinds, and the states that collection (bare) and wedge (``wedge.EXPOSING``) enter.
EVENTS: tuple[str, ...] = (
    *(state.name for state in CollectionState),
    *(f"wedge.{state.name}" for state in WedgeState),
    "run_started",
    "wedge_started",
    "images_taken",
    "step_done",
    "person_asked",
    "failure",
    "safing_step",
    "run_ended",
)
#: Scenarios act after all devices of an instant.
_PRIORITY = 9


@attrs.frozen(kw_only=True)
class Moment:
    """Either `at_s`, or `after_s` after the `count`-th `event`. All seconds are simulated, from the run's begin.

    Attributes
    ----------
    at_s : float or None
    event : str
        One of `EVENTS`; empty with `at_s`.
    count : int
        From 1, over all collections of the run.
    after_s : float
    """

    at_s: float | None = None
    event: str = ""
    count: int = 1
    after_s: float = 0.0

    def __str__(self) -> str:
        if self.at_s is not None:
            return f"at {self.at_s:g} s"
        after = f"{self.after_s:g} s after " if self.after_s else "at "
        return f"{after}{self.event}" + (f" number {self.count}" if self.count > 1 else "")


def name_of(event: Event) -> str:
    """What a moment calls it; a transition is named by the state that it enters."""
    if not isinstance(event, Moved):
        return event.kind
    if event.source == event.dest:
        return ""
    return event.dest if event.machine == "collection" else f"{event.machine}.{event.dest}"


@attrs.define(eq=False)
class _Waiting:
    moment: Moment
    deed: Callable[[], object]
    left: int
    is_due: bool = False
    is_done: bool = False


@attrs.define(eq=False, repr=False)
class Moments:
    """Has deeds done when their moments come: at the very event, not a scheduler's pass later."""

    kernel: Kernel
    _by_event: dict[str, list[_Waiting]] = attrs.field(init=False, factory=dict[str, list[_Waiting]])
    _all: list[_Waiting] = attrs.field(init=False, factory=list[_Waiting])

    def add(self, moment: Moment, deed: Callable[[], object]) -> Callable[[], bool]:
        """Have `deed` done at `moment`. Returns the question whether that has happened."""
        waiting = _Waiting(moment, deed, moment.count)
        self._all.append(waiting)
        if moment.at_s is not None:
            self._at(waiting, to_us(moment.at_s))
        else:
            self._by_event.setdefault(moment.event, []).append(waiting)
        return lambda: waiting.is_done

    def hear(self, event: Event) -> None:
        """Something has happened."""
        if not self._by_event:
            return
        for waiting in self._by_event.get(name_of(event), ()):
            waiting.left -= 1
            if waiting.left == 0:
                if waiting.moment.after_s > 0.0:
                    self._at(waiting, self.kernel.now_us + to_us(waiting.moment.after_s))
                else:
                    self._do(waiting)

    def _at(self, waiting: _Waiting, when_us: int) -> None:
        waiting.is_due = True
        self.kernel.at(when_us, lambda: self._do(waiting), by="scenario", priority=_PRIORITY)

    def _do(self, waiting: _Waiting) -> None:
        waiting.is_done = True
        waiting.deed()
