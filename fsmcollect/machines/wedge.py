"""The wedge machine: one uninterrupted rotation with the beam on, a child of OSCILLATING.

A child never makes safe by itself: whatever stops it ends it, and the collection machine goes through CLOSING.
"""

from __future__ import annotations

import enum

from fsmcollect.machines.table import Name, Row, Table, from_each


class State(Name):
    """Where a wedge is in its life."""

    PLANNED = enum.auto()
    ARMING = enum.auto()
    RUNNING_UP = enum.auto()
    EXPOSING = enum.auto()
    DRAINING = enum.auto()
    TAKEN = enum.auto()
    BROKEN = enum.auto()
    INTERRUPTED = enum.auto()


class Event(Name):
    """What an activity of a wedge can report, and what can end it from outside."""

    START = enum.auto()
    ARMED = enum.auto()
    AT_SPEED = enum.auto()
    IMAGE_EXPOSED = enum.auto()
    EXPOSED = enum.auto()
    DRAINED = enum.auto()
    FAILED = enum.auto()
    CANCELLED = enum.auto()
    CRASHED = enum.auto()


_ACTIVE = (State.ARMING, State.RUNNING_UP, State.EXPOSING, State.DRAINING)

WEDGE = Table(
    name="wedge",
    initial=State.PLANNED,
    start=Event.START,
    final=frozenset({State.TAKEN, State.BROKEN, State.INTERRUPTED}),
    urgent={},
    cancelled=Event.CANCELLED,
    crashed=Event.CRASHED,
    rows=(
        Row(State.PLANNED, Event.START, State.ARMING, why="its turn in the order of collection"),
        Row(
            State.ARMING,
            Event.ARMED,
            State.RUNNING_UP,
            why="the detector answered that it is armed and omega stands a run-up before the first image",
        ),
        Row(
            State.RUNNING_UP,
            Event.AT_SPEED,
            State.EXPOSING,
            why="omega has its speed (a still stands): the shutter may open at the first image",
        ),
        Row(
            State.EXPOSING,
            Event.IMAGE_EXPOSED,
            State.RUNNING_UP,
            why="shuttered mode: each image and each pass has a run-up and a shutter opening of its own",
        ),
        Row(
            State.EXPOSING,
            Event.EXPOSED,
            State.DRAINING,
            why="omega has passed the end of the last image and the shutter is closed",
        ),
        Row(
            State.DRAINING,
            Event.DRAINED,
            State.TAKEN,
            why="as many images as were asked for have been read out and are on disk",
        ),
        *from_each(
            _ACTIVE, Event.FAILED, State.BROKEN, why="a device or the disk failed: the collection decides what follows"
        ),
        *from_each(
            _ACTIVE, Event.CANCELLED, State.INTERRUPTED, why="the collection left OSCILLATING: abort, hold or lost beam"
        ),
        *from_each(_ACTIVE, Event.CRASHED, State.BROKEN, why="a bug: the collection makes the beamline safe"),
    ),
)
