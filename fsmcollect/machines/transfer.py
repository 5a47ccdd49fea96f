"""The transfer machine: the life of one file, from the listing to the live sets. A child of STREAMING.

A child closes nothing by itself: whatever stops it ends it and leaves what has arrived in the partial file.
"""

from __future__ import annotations

import enum

from fsmcollect.machines.table import Name, Row, Table, from_each


class State(Name):
    """Where a file is in its life."""

    QUEUED = enum.auto()
    FETCHING = enum.auto()
    BACKING_OFF = enum.auto()
    VERIFYING = enum.auto()
    REGISTERING = enum.auto()
    REGISTERED = enum.auto()
    REJECTED = enum.auto()
    GIVEN_UP = enum.auto()
    INTERRUPTED = enum.auto()


class Event(Name):
    """What an activity of a transfer can report, and what can end it from outside."""

    START = enum.auto()
    FETCHED = enum.auto()
    FETCH_FAILED = enum.auto()
    WAITED = enum.auto()
    EXHAUSTED = enum.auto()
    VERIFIED = enum.auto()
    DOUBTFUL = enum.auto()
    WRONG = enum.auto()
    RECORDED = enum.auto()
    DISK_REFUSED = enum.auto()
    CANCELLED = enum.auto()
    CRASHED = enum.auto()


_ACTIVE = (State.FETCHING, State.BACKING_OFF, State.VERIFYING, State.REGISTERING)

TRANSFER = Table(
    name="transfer",
    initial=State.QUEUED,
    start=Event.START,
    final=frozenset({State.REGISTERED, State.REJECTED, State.GIVEN_UP, State.INTERRUPTED}),
    urgent={},
    cancelled=Event.CANCELLED,
    crashed=Event.CRASHED,
    rows=(
        Row(State.QUEUED, Event.START, State.FETCHING, why="its turn in the listing, and one of the jobs is free"),
        Row(
            State.FETCHING,
            Event.FETCHED,
            State.VERIFYING,
            why="exactly as many bytes as the server said the file has are in the partial file",
        ),
        Row(
            State.FETCHING,
            Event.FETCH_FAILED,
            State.BACKING_OFF,
            why="the server or the network failed: asking again later may help",
        ),
        Row(State.BACKING_OFF, Event.WAITED, State.FETCHING, why="the wait is over: go on behind what has arrived"),
        Row(
            State.VERIFYING,
            Event.VERIFIED,
            State.REGISTERING,
            why="the file's header agrees with its size, and the bytes are on the disk",
        ),
        Row(
            State.VERIFYING,
            Event.DOUBTFUL,
            State.BACKING_OFF,
            why="it is not what its name says: a server can answer wrongly once, so it is fetched afresh once",
        ),
        Row(
            State.VERIFYING,
            Event.WRONG,
            State.REJECTED,
            why="a second copy is just as wrong: the archive's file is; it is set aside with the reason",
        ),
        Row(
            State.REGISTERING,
            Event.RECORDED,
            State.REGISTERED,
            why="the journal has it, it has its name, and every live set holds it once",
        ),
        *from_each(
            (State.FETCHING, State.VERIFYING, State.REGISTERING),
            Event.EXHAUSTED,
            State.GIVEN_UP,
            why="it has failed as often as is allowed, or asking again cannot help: the other files go on",
        ),
        *from_each(
            (State.FETCHING, State.VERIFYING, State.REGISTERING),
            Event.DISK_REFUSED,
            State.INTERRUPTED,
            why="no file can be kept now: the stream ends, and what has arrived waits for a resume",
        ),
        *from_each(
            _ACTIVE, Event.CANCELLED, State.INTERRUPTED, why="the stream left STREAMING: what has arrived is kept"
        ),
        *from_each(_ACTIVE, Event.CRASHED, State.GIVEN_UP, why="a bug: the stream closes its sets before it is shown"),
    ),
)
