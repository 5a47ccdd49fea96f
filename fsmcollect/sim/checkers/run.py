"""Rules about the events of runs: what anybody who only listens must be able to rely on.

Owns the order of a run's events, its one outcome and its images as they are reported. Knows no device.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from fsmcollect.events import Event, ImagesTaken, Moved, RunEnded, RunStarted
from fsmcollect.machines.collection import COLLECTION, State
from fsmcollect.machines.table import Outcome
from fsmcollect.machines.wedge import WEDGE
from fsmcollect.sim.checkers.watching import KEPT
from fsmcollect.wedges import ImageRanges

#: Every edge of the machines that a collection is made of: where it leads and what outcome it makes.
_EDGES: dict[tuple[str, str, str], tuple[str, Outcome | None]] = {
    (table.name, row.source.name, row.event.name): (row.dest.name, row.outcome)
    for table in (COLLECTION, WEDGE)
    for row in table.rows
}
_OUTCOMES = frozenset(str(outcome) for outcome in Outcome)
_FINAL = frozenset(state.name for state in COLLECTION.final)
_NONE = ImageRanges()


@attrs.define(eq=False, repr=False)
class RunRules:
    """One collection at a time; each with one beginning, one outcome and one end, and nothing after it.

    Also: every transition is a row of its table and begins where the one before has ended; the outcome is the worst of
    the rows that fired; `safe` says that the machine is back in IDLE; times do not run backwards; every image, and
    every file, is reported once, and the number at the end is that of the images reported.

    Attributes
    ----------
    sentences : list of str
        What was wrong: the first of it, with the events' times.
    """

    sentences: list[str] = attrs.field(init=False, factory=list[str])
    #: The run that is under way; empty between two of them.
    _run: str = attrs.field(init=False, default="")
    _last: str = attrs.field(init=False, default="")
    _t_us: int = attrs.field(init=False, default=0)
    _state: str = attrs.field(init=False, default=State.IDLE.name)
    _outcome: Outcome | None = attrs.field(init=False, default=None)
    #: Images that are asked for, and whether some may be there already.
    _asked: int = attrs.field(init=False, default=0)
    _skips_existing: bool = attrs.field(init=False, default=False)
    _images: int = attrs.field(init=False, default=0)
    _reported: dict[str, ImageRanges] = attrs.field(init=False, factory=dict[str, ImageRanges])
    _files: set[str] = attrs.field(init=False, factory=set[str])
    _by_kind: dict[type[Event], Callable[[Event], None]] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._by_kind = {Moved: self._moved, ImagesTaken: self._images_taken, RunEnded: self._run_ended}

    def hear(self, event: Event) -> None:
        """Something has happened."""
        if isinstance(event, RunStarted):
            self._run_started(event)
            return
        if not self._run:
            after = f"after the run {self._last!r} had ended" if self._last else "before any run had begun"
            self._say(event, f"{event.kind} was told {after}")
            return
        if event.t_us < self._t_us:
            self._say(event, f"{event.kind} was told after something of {self._t_us} us")
        self._t_us = event.t_us
        if (hear := self._by_kind.get(type(event))) is not None:
            hear(event)

    def ended(self) -> None:
        """All is over."""
        if self._run:
            self.sentences.append(f"the run {self._run!r} has begun and its end was never told")

    def _run_started(self, event: RunStarted) -> None:
        if self._run:
            self._say(event, f"the run {event.run!r} began while {self._run!r} was under way")
        self._run, self._t_us, self._state, self._outcome = event.run, event.t_us, State.IDLE.name, None
        self._asked, self._images = event.images, 0
        self._skips_existing = bool(event.request.get("files", {}).get("skip_existing"))
        self._reported.clear()
        self._files.clear()

    def _moved(self, event: Event) -> None:
        if not isinstance(event, Moved):
            return
        edge = _EDGES.get((event.machine, event.source, event.event))
        if edge is None or edge[0] != event.dest:
            self._say(event, f"{event.machine}: no row leads from {event.source} by {event.event} to {event.dest}")
            return
        if event.machine != COLLECTION.name:
            return
        if event.source != self._state or (self._state in _FINAL and self._outcome is not None):
            self._say(event, f"a transition from {event.source} was told and the machine was in {self._state}")
        self._state, outcome = event.dest, edge[1]
        if outcome is not None and (self._outcome is None or outcome > self._outcome):
            self._outcome = outcome

    def _images_taken(self, event: Event) -> None:
        if not isinstance(event, ImagesTaken):
            return
        start, stop = event.first_image, event.first_image + event.images
        # They come in order: one look-up tells that all of them are new, but where a part of the series was there.
        known = self._reported.get(event.series, _NONE)
        if known.ranges and start < known.ranges[-1][1]:
            new = sum(end - first for first, end in known.gaps(start, stop))
            if new != event.images:
                self._say(event, f"some of the images {start} to {stop - 1} of {event.series} were reported before")
        self._reported[event.series] = known.add(start, stop)
        self._images += event.images
        if event.file:
            if event.file in self._files:
                self._say(event, f"the file {event.file} was reported before")
            self._files.add(event.file)

    def _run_ended(self, event: Event) -> None:
        if not isinstance(event, RunEnded):
            return
        if event.outcome not in _OUTCOMES:
            self._say(event, f"the run ended as {event.outcome!r}, which is no outcome")
        elif event.outcome != str(self._outcome):
            self._say(event, f"the run ended as {event.outcome} and its transitions say {self._outcome}")
        if self._state not in _FINAL:
            self._say(event, f"the run ended in {self._state}")
        elif event.safe != (self._state == State.IDLE.name):
            self._say(event, f"the run ended in {self._state} with safe = {event.safe}")
        if event.images != self._images:
            self._say(event, f"the run ended with {event.images} images and {self._images} were reported")
        if event.outcome == str(Outcome.DONE) and self._images != self._asked and not self._skips_existing:
            self._say(event, f"the run ended as done with {self._images} of {self._asked} images")
        self._run, self._last = "", self._run

    def _say(self, event: Event, sentence: str) -> None:
        if len(self.sentences) < KEPT:
            name = self._run or self._last
            self.sentences.append(f"{event.t_us / 1e6:.6f} s after {name!r} began: {sentence}")
