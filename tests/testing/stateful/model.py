"""What a run of the collection machine must be like, worked out from its table and from what was asked of it.

Owns the expectation: which answer a request gets, which transition may follow it, how a run may end. Knows the table
and the events, and neither the driver nor a device. What it finds wrong it keeps as sentences: an observer that raises
is only dropped.
"""

from __future__ import annotations

import attrs

from fsmcollect.events import Event as Told
from fsmcollect.events import ImagesTaken, Moved, RunEnded
from fsmcollect.machines.collection import COLLECTION, Event, State
from fsmcollect.machines.table import Outcome
from fsmcollect.wedges import Plan

#: The most urgent first; the table says so.
_URGENCY = list(COLLECTION.urgent)
#: Where a run is decided: who cancels it then does not change how it ends.
_DECIDED = (State.CLOSING, State.FAULT, State.IDLE, State.ABANDONED)


@attrs.define(eq=False)
class Model:
    """Hears the events of one run and is told what was asked of it."""

    plan: Plan
    state: State = State.IDLE
    #: The run has begun, and has not ended.
    is_running: bool = False
    has_ended: bool = False
    #: It must not end better than this any more.
    at_least: Outcome = Outcome.DONE
    #: What may have made it fail, for a reader.
    troubles: list[str] = attrs.field(factory=list[str])
    wrong: list[str] = attrs.field(factory=list[str])
    ended: RunEnded | None = None
    #: Accepted requests that wait for the present activity to unwind.
    _pending: list[Event] = attrs.field(factory=list[Event])
    _images: list[tuple[str, int]] = attrs.field(factory=list[tuple[str, int]])
    _planned: set[tuple[str, int]] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        wedges = self.plan.wedges
        self._planned = {(w.series.name, w.first_image + index) for w in wedges for index in range(w.images)}

    # -- requests -----------------------------------------------------------------------------------------------------

    def would_accept(self, event: Event) -> bool:
        """Whether the table has a row for it now; before the run, whether the first state has to answer it."""
        if self.has_ended:
            return False
        if not self.is_running:
            return State.MOUNTING in COLLECTION.urgent.get(event, ())
        return COLLECTION.row(self.state, event) is not None

    def asked(self, event: Event, *, accepted: bool) -> None:
        """A request was made and answered so."""
        if accepted is not self.would_accept(event):
            self._say(f"{event.name} in {self.state.name} was {'accepted' if accepted else 'refused'}")
        if not accepted:
            return
        row = COLLECTION.row(self.state, event) if self.is_running else COLLECTION.row(State.MOUNTING, event)
        if row is not None and row.outcome is not None and self._is_certain(event):
            self.at_least = max(self.at_least, row.outcome)
        if row is not None and not row.stays:
            self._pending.append(event)

    def _is_certain(self, event: Event) -> bool:
        """A request that is outdone by a more urgent one of the same instant has no say in how the run ends."""
        return not any(_rank(other) < _rank(event) for other in self._pending)

    def cancelled(self) -> None:
        """The program around the run is leaving. Of the requests of the same instant only an abort outdoes that."""
        self.troubles.append("cancelled")

    @property
    def is_decided(self) -> bool:
        """On its way out, or out."""
        return self.has_ended or (self.is_running and self.state in _DECIDED)

    # -- events -------------------------------------------------------------------------------------------------------

    def hear(self, told: Told) -> None:
        if self.ended is not None:
            self._say(f"something was told after the end: {told}")
        if isinstance(told, Moved) and told.machine == COLLECTION.name:
            self._moved(told)
        elif isinstance(told, ImagesTaken):
            self._taken(told)
        elif isinstance(told, RunEnded):
            self.ended = told

    def _moved(self, moved: Moved) -> None:
        source, event, dest = State[moved.source], Event[moved.event], State[moved.dest]
        row = COLLECTION.row(source, event)
        if source is not self.state or row is None or row.dest is not dest:
            self._say(f"{moved.source} went by {moved.event} to {moved.dest}, from {self.state.name}")
        self.is_running = True
        if event is Event.CANCELLED and row is not None and row.outcome is not None:
            self.at_least = max(self.at_least, row.outcome)
        if row is not None and row.stays and event in (Event.ABORT, Event.HOLD):
            return  # heard at once: it answers none of those that wait
        if self._pending and event not in (Event.START, Event.CRASHED):
            outdoes = event is Event.CANCELLED and Event.ABORT not in self._pending
            if not outdoes and _rank(event) > min(map(_rank, self._pending)):
                waiting = ", ".join(pending.name for pending in self._pending)
                self._say(f"{event.name} came before {waiting} in {source.name}")
            self._pending.clear()
        self.state = dest
        if dest in COLLECTION.final:
            self.is_running, self.has_ended = False, True

    def _taken(self, told: ImagesTaken) -> None:
        images = [(told.series, told.first_image + index) for index in range(told.images)]
        for image in images:
            if image in self._images:
                self._say(f"{image} was reported twice")
            if image not in self._planned:
                self._say(f"{image} was never asked for")
        self._images += images

    # -- the end ------------------------------------------------------------------------------------------------------

    def verdict(self, outcome: Outcome, *, images: int, failures: tuple[str, ...]) -> list[str]:
        """Everything that is wrong with how the run went and ended."""
        ended = self.ended
        if ended is None:
            self._say("its end was never told")
        elif (ended.outcome, ended.images) != (str(outcome), images):
            self._say(f"its end was told as {ended}, and its result is {outcome} with {images} images")
        if images != len(self._images):
            self._say(f"{len(self._images)} images were reported and {images} counted")
        if outcome < self.at_least:
            self._say(f"it ended as {outcome}, and was {self.at_least} by request")
        if outcome > self.at_least and not self.troubles:
            self._say(f"nothing went wrong and it ended as {outcome}: {failures}")
        if outcome is Outcome.DONE and (set(self._images) != self._planned or failures):
            self._say(f"done with {len(self._images)} of {len(self._planned)} images, and {failures}")
        if outcome is Outcome.FAILED and not failures:
            self._say("it failed and does not say why")
        return self.wrong

    def _say(self, sentence: str) -> None:
        self.wrong.append(sentence)


def _rank(event: Event) -> int:
    return _URGENCY.index(event) if event in _URGENCY else len(_URGENCY)
