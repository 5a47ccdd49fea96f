"""The words for what happens in a simulated run: each event, and each note of the simulator that a person cares for.

Owns sentences, one at a time. Owns no order, no folding and no layout (`explaining`), and judges nothing.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import attrs

from fsmcollect.console import words
from fsmcollect.console.amounts import count, plain
from fsmcollect.events import (
    Event,
    Failure,
    ImagesTaken,
    Moved,
    PersonAsked,
    RunEnded,
    RunStarted,
    SafingStep,
    StepDone,
)
from fsmcollect.machines.collection import COLLECTION
from fsmcollect.machines.wedge import WEDGE

if TYPE_CHECKING:
    from fsmcollect.sim.faults.values import Fault


class Kind(enum.Enum):
    """What a line of the story is about."""

    RUN = enum.auto()
    STATE = enum.auto()
    STEP = enum.auto()
    WEDGE = enum.auto()
    #: What a person does, or what happens around the beamline.
    DEED = enum.auto()
    #: A fault, a failure, a violation.
    TROUBLE = enum.auto()
    ENDED = enum.auto()


@attrs.frozen(kw_only=True)
class Told:
    """One line of the story.

    Attributes
    ----------
    t_us : int
        Simulated time since the first run began.
    kind : Kind
    text : str
        What happened; plain words.
    title : str
        What stands before it: a state, "fault". Empty without.
    depth : int
        How far it is set in: 0 for what the collection does, 1 within its states, 2 within a wedge.
    cells : tuple of str
        In place of `text`: what stands in columns below that of other such lines.
    wedge, images : int
        Of a wedge that went as planned: its number, from 1, and how many images it has.
    """

    t_us: int
    kind: Kind
    text: str = ""
    title: str = ""
    depth: int = 1
    cells: tuple[str, ...] = ()
    wedge: int = 0
    images: int = 0


_WHY: Mapping[tuple[str, str, str], str] = {
    (table.name, row.source.name, row.event.name): row.why for table in (COLLECTION, WEDGE) for row in table.rows
}

#: Notes of devices that are part of a story: by source and text. Faults, operator and person are told below.
_AROUND: Mapping[tuple[str, str], str] = {
    ("ring", "no beam"): "the beam is lost",
    ("ring", "beam"): "the beam is back",
    ("interlock", "broken"): "the hutch is opened",
    ("interlock", "searched"): "the hutch is searched and locked",
}
_BY_ITSELF: Mapping[tuple[str, str], str] = {
    ("safety_shutter", "drop"): "the safety shutter drops by itself",
    ("detector", "error"): "the detector is in error",
}


def of_note(t_us: int, source: str, text: str) -> Told | None:
    """A note of the simulator; None for what only devices care for."""
    if source.startswith("fault/"):
        return Told(t_us=t_us, kind=Kind.TROUBLE, title="fault", text=plain(text))
    if source in ("operator", "sweep"):
        return Told(t_us=t_us, kind=Kind.DEED, title=source, text=plain(text))
    if source == "person" and (said := re.fullmatch(r"says (yes|no) to (\w+)", text)):
        return Told(t_us=t_us, kind=Kind.DEED, title="person", text=f"says {said[1]}: {words(said[2])}")
    if source == "person" and text.startswith("could not"):
        return Told(t_us=t_us, kind=Kind.DEED, title="person", text=plain(text))
    if (happened := _AROUND.get((source, text))) is not None:
        return Told(t_us=t_us, kind=Kind.DEED, title="happens", text=happened)
    if (happened := _BY_ITSELF.get((source, text))) is not None:
        return Told(t_us=t_us, kind=Kind.STEP, text=happened)
    return None


def meaning(fault: Fault) -> str:
    """What a fault does, in words."""
    from fsmcollect.sim.faults.values import MEANINGS

    return MEANINGS[fault.effect].replace("`delay_s`", f"{fault.delay_s:g} s")


def of_event(t_us: int, event: Event) -> Told | None:
    """An event by itself; None for what is told in another way."""
    match event:
        case RunStarted():
            text = f"{count(event.images, 'image')} in {count(event.wedges, 'wedge')}"
            return Told(t_us=t_us, kind=Kind.RUN, title=event.run, text=text, depth=0)
        case Moved():
            return _moved(t_us, event)
        case StepDone():
            return Told(t_us=t_us, kind=Kind.STEP, text=f"{event.step} {plain(event.detail)}".rstrip())
        case SafingStep():
            return safing(t_us, [event])
        case ImagesTaken():
            return images(t_us, event.series, event.first_image, event.images)
        case PersonAsked():
            return Told(t_us=t_us, kind=Kind.DEED, title="asked", text=words(event.question))
        case Failure():
            return Told(t_us=t_us, kind=Kind.TROUBLE, title="failure", text=plain(f"{event.what}: {event.message}"))
        case RunEnded():
            safe = "safe" if event.safe else "NOT verified safe"
            text = f"{safe}, {count(event.images, 'image')}"
            return Told(t_us=t_us, kind=Kind.ENDED, title=event.outcome, text=text, depth=0)
        case _:
            return None


def _moved(t_us: int, event: Moved) -> Told:
    why = _WHY.get((event.machine, event.source, event.event), words(event.event))
    is_child = event.machine != COLLECTION.name
    if event.source == event.dest:
        title = f"{event.event} while {event.dest}"
        return Told(t_us=t_us, kind=Kind.STEP, title=title, text=why, depth=2 if is_child else 1)
    kind, depth = (Kind.STEP, 2) if is_child else (Kind.STATE, 0)
    return Told(t_us=t_us, kind=kind, title=event.dest, text=why, depth=depth)


def safing(t_us: int, steps: Iterable[SafingStep]) -> Told:
    """Steps of making safe that ended alike, one after the other."""
    told = list(steps)
    if told[0].verified:
        return Told(t_us=t_us, kind=Kind.STEP, title="verified", text=", ".join(step.step for step in told))
    text = "; ".join(f"{step.step}: {plain(step.message)}" for step in told)
    return Told(t_us=t_us, kind=Kind.TROUBLE, title="NOT verified", text=text)


def images(t_us: int, series: str, first: int, number: int) -> Told:
    """Consecutive images of a series."""
    return Told(t_us=t_us, kind=Kind.STEP, text=f"{numbers(first, number)} of {series} taken", depth=2)


def numbers(first: int, number: int) -> str:
    """``image 3``, ``images 1 to 10``."""
    return f"images {first:,} to {first + number - 1:,}" if number > 1 else f"image {first:,}"
