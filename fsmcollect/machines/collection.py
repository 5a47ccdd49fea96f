"""The collection machine: one crystal, from an idle beamline back to an idle beamline.

Owns the rows. What is done in each state is in `fsmcollect.collecting`; how the beamline is made safe, in
`fsmcollect.safing`.
"""

from __future__ import annotations

import enum

from fsmcollect.machines.table import Name, Outcome, Row, Table, from_each


class State(Name):
    """What a collection is doing, in words its user would choose."""

    IDLE = enum.auto()
    MOUNTING = enum.auto()
    CENTRING = enum.auto()
    OSCILLATING = enum.auto()
    HOLDING = enum.auto()
    HOLDING_FOR_BEAM = enum.auto()
    CLOSING = enum.auto()
    FAULT = enum.auto()
    ABANDONED = enum.auto()


class Event(Name):
    """Facts that activities return (participles) and requests from outside (imperatives)."""

    START = enum.auto()
    MOUNTED = enum.auto()
    NOTHING_MISSING = enum.auto()
    CENTRED = enum.auto()
    COLLECTED = enum.auto()
    FAILED = enum.auto()
    BEAM_LOST = enum.auto()
    BEAM_BACK = enum.auto()
    SAFE = enum.auto()
    UNVERIFIED = enum.auto()
    ABORT = enum.auto()
    SKIP = enum.auto()
    HOLD = enum.auto()
    RESUME = enum.auto()
    ACKNOWLEDGE = enum.auto()
    CANCELLED = enum.auto()
    CRASHED = enum.auto()


_WORKING = (State.MOUNTING, State.CENTRING, State.OSCILLATING, State.HOLDING, State.HOLDING_FOR_BEAM)
_RUNNING = frozenset({*_WORKING, State.CLOSING, State.FAULT})

COLLECTION = Table(
    name="collection",
    initial=State.IDLE,
    start=Event.START,
    final=frozenset({State.IDLE, State.ABANDONED}),
    safety=State.CLOSING,
    urgent={
        Event.ABORT: _RUNNING,
        Event.SKIP: frozenset(_WORKING),
        Event.FAILED: frozenset({State.OSCILLATING}),
        Event.BEAM_LOST: frozenset({State.OSCILLATING}),
        Event.HOLD: frozenset({State.OSCILLATING, State.HOLDING, State.HOLDING_FOR_BEAM}),
    },
    cancelled=Event.CANCELLED,
    crashed=Event.CRASHED,
    rows=(
        Row(
            State.IDLE,
            Event.START,
            State.MOUNTING,
            guard="beamline_claimed",
            why="a checked request, and this run owns the beamline: no other does and no fault is latched on it",
        ),
        Row(State.MOUNTING, Event.MOUNTED, State.CENTRING, why="the sample asked for is on the goniometer"),
        Row(
            State.MOUNTING,
            Event.NOTHING_MISSING,
            State.CLOSING,
            outcome=Outcome.SKIPPED,
            why="every image asked for exists already and existing ones are skipped",
        ),
        Row(State.CENTRING, Event.CENTRED, State.OSCILLATING, why="the crystal is on the rotation axis, in the beam"),
        Row(
            State.OSCILLATING,
            Event.COLLECTED,
            State.CLOSING,
            outcome=Outcome.DONE,
            why="every image asked for is on disk",
        ),
        Row(State.OSCILLATING, Event.HOLD, State.HOLDING, why="a person asked for a pause: the beam goes off first"),
        Row(State.HOLDING, Event.HOLD, State.HOLDING, why="a hold may be repeated"),
        Row(
            State.HOLDING_FOR_BEAM,
            Event.HOLD,
            State.HOLDING,
            why="a person asked for a pause: the beam's return alone must not end it",
        ),
        Row(
            State.HOLDING,
            Event.RESUME,
            State.OSCILLATING,
            why="the person lets it go on: with the first image that is missing",
        ),
        Row(
            State.OSCILLATING,
            Event.BEAM_LOST,
            State.HOLDING_FOR_BEAM,
            why="no beam: images taken now would be empty, and the crystal must not be hit when it returns",
        ),
        Row(
            State.HOLDING_FOR_BEAM,
            Event.BEAM_BACK,
            State.OSCILLATING,
            why="the beam is back: it goes on with the first image that is missing",
        ),
        *from_each(
            _WORKING,
            Event.FAILED,
            State.CLOSING,
            outcome=Outcome.FAILED,
            why="a device, the disk or a time limit made it impossible to go on",
        ),
        *from_each(
            _WORKING, Event.ABORT, State.CLOSING, outcome=Outcome.ABORTED, why="somebody stopped it: the beam goes off"
        ),
        *from_each(
            _WORKING,
            Event.SKIP,
            State.CLOSING,
            outcome=Outcome.SKIPPED,
            why="somebody wants the next sample: what was taken of this one is kept",
        ),
        *from_each(
            _WORKING,
            Event.CANCELLED,
            State.CLOSING,
            outcome=Outcome.ABORTED,
            why="the program around the collection is leaving: the beamline is made safe first",
        ),
        *from_each(
            _WORKING,
            Event.CRASHED,
            State.CLOSING,
            outcome=Outcome.FAILED,
            why="a bug in an activity or an adapter: the beamline is made safe before the bug is shown",
        ),
        Row(State.CLOSING, Event.SAFE, State.IDLE, why="every safing step was carried out and read back"),
        Row(
            State.CLOSING,
            Event.UNVERIFIED,
            State.FAULT,
            outcome=Outcome.FAILED,
            why="a safing step failed or could not be read back: somebody has to look",
        ),
        Row(
            State.CLOSING,
            Event.ABORT,
            State.CLOSING,
            outcome=Outcome.ABORTED,
            why="a stop may be repeated and changes nothing until safe, but a run that was stopped never ends as done",
        ),
        Row(
            State.CLOSING,
            Event.CRASHED,
            State.FAULT,
            outcome=Outcome.FAILED,
            why="a bug while making safe: nothing is known to be safe",
        ),
        Row(
            State.CLOSING,
            Event.CANCELLED,
            State.CLOSING,
            why="closing is shielded: should a cancellation reach it all the same, it is carried out again",
        ),
        Row(State.FAULT, Event.ACKNOWLEDGE, State.CLOSING, why="somebody has looked: make safe again and verify"),
        Row(
            State.FAULT,
            Event.ABORT,
            State.FAULT,
            outcome=Outcome.ABORTED,
            why="a stop may be repeated; only an acknowledgement ends a fault",
        ),
        Row(
            State.FAULT,
            Event.CANCELLED,
            State.ABANDONED,
            why="the program is leaving while the fault is latched: the beamline stays refused to the next run",
        ),
        Row(
            State.FAULT,
            Event.CRASHED,
            State.ABANDONED,
            why="a bug while waiting for the acknowledgement: the beamline stays refused to the next run",
        ),
    ),
)
