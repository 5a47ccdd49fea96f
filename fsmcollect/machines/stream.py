"""The stream machine: one entry of the archive, from its number to closed sets.

Owns the rows. What is done in each state is in `fsmcollect.stream.pipeline`; a file's own life is the transfer machine.
"""

from __future__ import annotations

import enum

from fsmcollect.machines.table import Name, Outcome, Row, Table, from_each


class State(Name):
    """What a stream is doing, in words its user would choose."""

    IDLE = enum.auto()
    DESCRIBING = enum.auto()
    LISTING = enum.auto()
    STREAMING = enum.auto()
    HOLDING = enum.auto()
    CLOSING = enum.auto()


class Event(Name):
    """Facts that activities return (participles) and requests from outside (imperatives)."""

    START = enum.auto()
    DESCRIBED = enum.auto()
    LISTED = enum.auto()
    STREAMED = enum.auto()
    FAILED = enum.auto()
    CLOSED = enum.auto()
    UNCLOSED = enum.auto()
    INCOMPLETE = enum.auto()
    ABORT = enum.auto()
    STOP = enum.auto()
    HOLD = enum.auto()
    RESUME = enum.auto()
    CANCELLED = enum.auto()
    CRASHED = enum.auto()


_WORKING = (State.DESCRIBING, State.LISTING, State.STREAMING, State.HOLDING)
_RUNNING = frozenset({*_WORKING, State.CLOSING})

STREAM = Table(
    name="stream",
    initial=State.IDLE,
    start=Event.START,
    final=frozenset({State.IDLE}),
    safety=State.CLOSING,
    urgent={
        Event.ABORT: _RUNNING,
        Event.STOP: _RUNNING,
        Event.HOLD: frozenset({State.STREAMING, State.HOLDING}),
    },
    cancelled=Event.CANCELLED,
    crashed=Event.CRASHED,
    rows=(
        Row(State.IDLE, Event.START, State.DESCRIBING, why="checked settings, and a directory that this run may use"),
        Row(
            State.DESCRIBING,
            Event.DESCRIBED,
            State.LISTING,
            why="the archive's description of the entry was read and names imagesets with movies",
        ),
        Row(
            State.LISTING,
            Event.LISTED,
            State.STREAMING,
            why="which files there are is known: the movies, and what belongs to them",
        ),
        Row(
            State.STREAMING,
            Event.STREAMED,
            State.CLOSING,
            outcome=Outcome.DONE,
            why="a stopping criterion is met, or every movie is registered or rejected",
        ),
        Row(
            State.STREAMING,
            Event.HOLD,
            State.HOLDING,
            why="a person asked for a pause: transfers stop where they are, what they have is kept",
        ),
        Row(State.HOLDING, Event.HOLD, State.HOLDING, why="a hold may be repeated"),
        Row(
            State.HOLDING, Event.RESUME, State.STREAMING, why="the person lets it go on: files continue where they were"
        ),
        *from_each(
            _WORKING,
            Event.FAILED,
            State.CLOSING,
            outcome=Outcome.FAILED,
            why="the archive, the network or the disk made it impossible to go on",
        ),
        *from_each(
            _WORKING,
            Event.STOP,
            State.CLOSING,
            outcome=Outcome.DONE,
            why="a stopping criterion from outside (the STOP file): what was asked for is what there is now",
        ),
        *from_each(
            _WORKING,
            Event.ABORT,
            State.CLOSING,
            outcome=Outcome.ABORTED,
            why="somebody stopped it: nothing more is finished, what is registered is kept",
        ),
        *from_each(
            _WORKING,
            Event.CANCELLED,
            State.CLOSING,
            outcome=Outcome.ABORTED,
            why="the program around the stream is leaving: the sets are closed first",
        ),
        *from_each(
            _WORKING,
            Event.CRASHED,
            State.CLOSING,
            outcome=Outcome.FAILED,
            why="a bug: the sets are closed before it is shown",
        ),
        Row(
            State.CLOSING,
            Event.CLOSED,
            State.IDLE,
            why="every output holds what the journal holds, and says it is closed",
        ),
        Row(
            State.CLOSING,
            Event.UNCLOSED,
            State.IDLE,
            outcome=Outcome.FAILED,
            why="an output could not be closed: the journal has what it lacks, and a resume completes it",
        ),
        Row(
            State.CLOSING,
            Event.INCOMPLETE,
            State.IDLE,
            outcome=Outcome.FAILED,
            why="the sets are closed, but they name movies whose files are gone and could not be fetched again",
        ),
        Row(
            State.CLOSING,
            Event.ABORT,
            State.CLOSING,
            outcome=Outcome.ABORTED,
            why="a stop may be repeated and disturbs no closing, but a run that was stopped never ends as done",
        ),
        Row(State.CLOSING, Event.STOP, State.CLOSING, why="it is stopping already"),
        Row(
            State.CLOSING,
            Event.CRASHED,
            State.IDLE,
            outcome=Outcome.FAILED,
            why="a bug while closing: the journal is whole, and a resume closes the outputs",
        ),
        Row(
            State.CLOSING,
            Event.CANCELLED,
            State.CLOSING,
            why="closing is shielded: should a cancellation reach it all the same, it is carried out again",
        ),
    ),
)
