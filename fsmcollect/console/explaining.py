"""The story of a simulated scenario: what happened, when and why, as a person reads it.

Fed by the events of the run and the notes of the simulator, each in the order in which it came. Owns what is gathered
and what is folded; the words for each thing are in `telling`, how it is printed in `timeline`. Judges nothing:
violations are told where they happened, by whoever found them.
"""

from __future__ import annotations

import itertools
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

import attrs

from fsmcollect.console.amounts import count, plain
from fsmcollect.console.telling import Kind, Told, images, meaning, numbers, of_event, of_note, safing
from fsmcollect.events import Event, ImagesTaken, Moved, RunStarted, SafingStep, StepDone, WedgeStarted
from fsmcollect.machines.wedge import WEDGE, State
from fsmcollect.machines.wedge import Event as Row

if TYPE_CHECKING:
    from fsmcollect.sim.faults.values import Fault

#: How many of a stretch of wedges that went alike are told before it is folded; the last one is told too.
_TOLD_FIRST = 3
_WHEN = re.compile(r"at (\d+(?:\.\d+)?) s: (.*)", re.DOTALL)
_OVER = frozenset(state.name for state in WEDGE.final)
_EXPOSED, _AT_SPEED = Row.IMAGE_EXPOSED.name, Row.AT_SPEED.name


@attrs.frozen
class Note:
    """What a device did, in the simulator's words."""

    source: str
    text: str


@attrs.define
class _Entry:
    t_us: int
    what: Event | Note | Told | None


@attrs.define(eq=False)
class Story:
    """Gathers what happens while a scenario is played; afterwards `told` tells it.

    Attributes
    ----------
    faults : sequence of Fault
        Those of the scenario: what they mean is told where they strike.
    """

    faults: Sequence[Fault] = ()
    _entries: list[_Entry] = attrs.field(init=False, factory=list[_Entry])
    #: Entries whose event is noted in the trace, which comes first, and not yet told.
    _untold: deque[_Entry] = attrs.field(init=False, factory=deque[_Entry])
    _now_us: int = attrs.field(init=False, default=0)

    def follow(self, t_us: int, source: str, text: str) -> None:
        """A note of the simulator's trace, the moment that it is made."""
        self._now_us = t_us
        entry = _Entry(t_us, Note(source, text))
        if text.startswith('{"event":'):  # the note of an event keeps its place, at the time of the whole story
            entry.what = None
            self._untold.append(entry)
        self._entries.append(entry)

    def hear(self, event: Event) -> None:
        """An event of the run."""
        if self._untold:
            self._untold.popleft().what = event
        else:
            self._entries.append(_Entry(max(self._now_us, event.t_us), event))

    def told(self, violations: Sequence[str] = (), excused: Sequence[str] = ()) -> list[Told]:
        """The story, long repetitions folded; what was violated or excused stands where it says that it happened."""
        entries = list(self._entries)
        _put_in(entries, "violation", Kind.TROUBLE, violations)
        _put_in(entries, "excused", Kind.STEP, excused)
        told = _Teller({str(fault): fault for fault in self.faults}).tell(entries)
        return list(_runs_folded(_wedges_folded(told)))


def _put_in(entries: list[_Entry], title: str, kind: Kind, sentences: Sequence[str]) -> None:
    """Put sentences at their times; those without one at the end."""
    for sentence in sentences:
        when = _WHEN.fullmatch(sentence)
        last_us = entries[-1].t_us if entries else 0
        at_us = round(float(when[1]) * 1e6) if when else last_us
        told = Told(t_us=at_us, kind=kind, title=title, text=plain(when[2] if when else sentence))
        place = next((index for index, entry in enumerate(entries) if entry.t_us > at_us), len(entries))
        entries.insert(place, _Entry(at_us, told))


# ---------------------------------------------------------------------------------------------------------------------
# Telling
# ---------------------------------------------------------------------------------------------------------------------


@attrs.define(eq=False)
class _Teller:
    """Goes through the entries once; looks ahead where several make one line."""

    faults: Mapping[str, Fault]
    _width_deg: Fraction = attrs.field(init=False, default=Fraction(0))
    _wedges: int = attrs.field(init=False, default=0)
    _begun: set[int] = attrs.field(init=False, factory=set[int])
    _struck: set[str] = attrs.field(init=False, factory=set[str])

    def tell(self, entries: Sequence[_Entry]) -> Iterator[Told]:
        waiting = deque(entry for entry in entries if self._matters(entry))
        while waiting:
            entry = waiting.popleft()
            t_us, what = entry.t_us, entry.what
            if isinstance(what, WedgeStarted):
                yield from self._wedge(t_us, what, waiting)
            elif isinstance(what, SafingStep):
                yield self._safing(t_us, what, waiting)
            elif isinstance(what, StepDone):
                yield from self._step(t_us, what, waiting)
            elif isinstance(what, ImagesTaken):
                yield self._images(t_us, what, waiting)
            elif isinstance(what, Moved) and what.event == _EXPOSED:
                yield self._one_by_one(t_us, what, waiting)
            elif (told := self._one(t_us, what)) is not None:
                yield self._with_meaning(told)

    def _with_meaning(self, told: Told) -> Told:
        """What a fault does is told when it strikes for the first time."""
        fault = self.faults.get(told.text) if told.title == "fault" else None
        if fault is None:
            return told
        if told.text in self._struck:
            return attrs.evolve(told, text=f"{told.text.partition(' (')[0]}, again")
        self._struck.add(told.text)
        return attrs.evolve(told, text=f"{told.text}: {meaning(fault)}")

    def _matters(self, entry: _Entry) -> bool:
        """Notes that nobody is told must not stand between events that belong together."""
        return entry.what is not None and (
            not isinstance(entry.what, Note) or self._one(entry.t_us, entry.what) is not None
        )

    def _one(self, t_us: int, what: Event | Note | Told | None) -> Told | None:
        if isinstance(what, Told):
            return what
        if isinstance(what, Note):
            return of_note(t_us, what.source, what.text)
        if isinstance(what, RunStarted):
            width = what.request.get("sweep", {}).get("image_width_deg", 0)
            self._width_deg, self._wedges, self._begun = Fraction(str(width)), what.wedges, set()
        return None if what is None else of_event(t_us, what)

    def _safing(self, t_us: int, first: SafingStep, waiting: deque[_Entry]) -> Told:
        """Steps that ended alike."""
        alike = _while(waiting, lambda e: isinstance(e, SafingStep) and e.verified is first.verified)
        return safing(t_us, [first, *(step for step in alike if isinstance(step, SafingStep))])

    def _step(self, t_us: int, step: StepDone, waiting: deque[_Entry]) -> Iterator[Told]:
        """A step, and what else is told of the same step right after it."""
        alike = _while(waiting, lambda e: isinstance(e, StepDone) and e.step == step.step)
        details = [event.detail for event in (step, *alike) if isinstance(event, StepDone) and event.detail]
        yield Told(t_us=t_us, kind=Kind.STEP, text=f"{step.step} {plain(', '.join(details))}".rstrip())

    def _images(self, t_us: int, first: ImagesTaken, waiting: deque[_Entry]) -> Told:
        more = _while(waiting, lambda e: isinstance(e, ImagesTaken) and e.series == first.series)
        number = sum(event.images for event in (first, *more) if isinstance(event, ImagesTaken))
        return images(t_us, first.series, first.first_image, number)

    def _one_by_one(self, t_us: int, first: Moved, waiting: deque[_Entry]) -> Told:
        """In shuttered mode each exposure has a run-up; the first of them was told as in any other wedge."""
        more = _while(waiting, lambda e: isinstance(e, Moved) and e.event in (_EXPOSED, _AT_SPEED))
        number = sum(isinstance(e, Moved) and e.event == _EXPOSED for e in (first, *more))
        text = f"{count(number, 'exposure')} made, and on to the next: each has a run-up of its own"
        return Told(t_us=t_us, kind=Kind.STEP, text=text, depth=2)

    def _wedge(self, t_us: int, started: WedgeStarted, waiting: deque[_Entry]) -> Iterator[Told]:
        """In one line where nothing but the wedge happened until its end; else its beginning."""
        name = f"wedge {started.wedge + 1}"
        if started.wedge in self._begun:
            name += " again"
        self._begun.add(started.wedge)
        start_deg = started.omega_start_deg
        end_deg = start_deg + float(started.images * self._width_deg)
        angles = f"{start_deg:g} to {end_deg:g} deg" if self._width_deg else f"{start_deg:g} deg"
        cells = (name, started.series, angles, numbers(started.first_image, started.images))
        number = started.wedge + 1
        line = Told(t_us=t_us, kind=Kind.WEDGE, title=name, cells=cells, wedge=number, images=started.images)
        smooth = _smooth(waiting)
        if smooth:
            for _ in range(smooth):
                waiting.popleft()
            yield line
            return
        yield attrs.evolve(line, cells=(), text=", ".join(cells[1:]), kind=Kind.STEP)
        if waiting and isinstance(what := waiting[0].what, Moved) and what.event == WEDGE.start.name:
            waiting.popleft()


def _while(waiting: deque[_Entry], belongs: Callable[[Event], bool]) -> list[Event]:
    """Take the events that belong to the one before."""
    taken: list[Event] = []
    while waiting and isinstance(event := waiting[0].what, Event) and belongs(event):
        taken.append(event)
        waiting.popleft()
    return taken


def _smooth(waiting: deque[_Entry]) -> int:
    """How many entries there are until the wedge is taken; 0 where anything else comes first."""
    for number, entry in enumerate(waiting, 1):
        what = entry.what
        if isinstance(what, ImagesTaken):
            continue
        if not isinstance(what, Moved) or what.machine != WEDGE.name:
            return 0
        if what.dest in _OVER:
            return number if what.dest == State.TAKEN.name else 0
    return 0


# ---------------------------------------------------------------------------------------------------------------------
# Folding
# ---------------------------------------------------------------------------------------------------------------------


def _wedges_folded(story: Iterable[Told]) -> Iterator[Told]:
    """Of a long stretch of wedges that went alike, the first ones and the last one."""
    for kind, stretch in itertools.groupby(story, key=lambda told: told.kind):
        wedges = list(stretch)
        if kind is not Kind.WEDGE or len(wedges) <= _TOLD_FIRST + 2:
            yield from wedges
            continue
        folded = wedges[_TOLD_FIRST:-1]
        number = sum(wedge.images for wedge in folded)
        text = f"wedges {folded[0].wedge} to {folded[-1].wedge}: as before, {count(number, 'image')}"
        yield from wedges[:_TOLD_FIRST]
        yield Told(t_us=folded[0].t_us, kind=Kind.WEDGE, text=text)
        yield wedges[-1]


def _runs_folded(story: Iterable[Told]) -> Iterator[Told]:
    """Of a list, a run that went as the one before it, and to which nothing happened, in one line."""
    before: list[tuple[Kind, str]] = []
    for run in _runs(story):
        shape: list[tuple[Kind, str]] = [(told.kind, told.title) for told in run[1:] if told.kind is not Kind.WEDGE]
        first, last = run[0], run[-1]
        is_quiet = not any(told.kind in (Kind.TROUBLE, Kind.DEED) for told in run)
        if is_quiet and shape == before and first.kind is Kind.RUN and last.kind is Kind.ENDED:
            yield attrs.evolve(first, text=f"as before; {last.title}, {last.text}")
        else:
            yield from run
        before = shape if is_quiet else []


def _runs(story: Iterable[Told]) -> Iterator[list[Told]]:
    """The story in pieces that each begin with a run; what comes before the first is a piece too."""
    run: list[Told] = []
    for told in story:
        if told.kind is Kind.RUN and run:
            yield run
            run = []
        run.append(told)
    if run:
        yield run
