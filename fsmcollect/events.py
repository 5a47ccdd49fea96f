"""What happened: frozen, time-stamped, serialisable values. They are all that an observer ever sees.

Owns the event types and their one-line JSON. Owns no device, no file and no policy. An event never holds an absolute
path or a wall-clock time except `RunStarted.started_at`, so that two equal runs have equal traces.
"""

from __future__ import annotations

import json
import math
from typing import Any, ClassVar

import attrs


@attrs.frozen(kw_only=True)
class Event:
    """Something that has happened, `t_us` microseconds after its run began."""

    t_us: int
    kind: ClassVar[str] = "event"
    #: Fields that differ between two equal runs and so do not count for a trace.
    volatile: ClassVar[frozenset[str]] = frozenset()
    #: Nothing happens in its run after this one.
    ends_run: ClassVar[bool] = False

    def to_json(self, *, stable: bool = False) -> str:
        """One line of JSON without a line end; `stable` leaves out what differs between two equal runs."""
        parts = [f'"{name}":{_json(getattr(self, name))}' for name in _names(type(self), stable)]
        return f'{{"event":"{self.kind}",{",".join(parts)}}}'


#: Field names of each kind, and those that count for a trace: asked for at every event.
_NAMES: dict[tuple[type[Event], bool], tuple[str, ...]] = {}


def _names(kind: type[Event], stable: bool) -> tuple[str, ...]:
    names = _NAMES.get((kind, stable))
    if names is None:
        left_out = kind.volatile if stable else ()
        names = tuple(field.name for field in attrs.fields(kind) if field.name not in left_out)
        _NAMES[kind, stable] = names
    return names


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def _json(value: object) -> str:
    # Setting up an encoder for each of these, which most fields are, costs ten times as much.
    if type(value) is int:
        return repr(value)
    if type(value) is float:  # what a broken device reports must not keep an event out of the record
        return repr(value) if math.isfinite(value) else "null"
    return json.encoder.encode_basestring(value) if type(value) is str else _encode(value)


@attrs.frozen(kw_only=True)
class RunStarted(Event):
    """A collection was accepted. `request` is its canonical dictionary."""

    kind: ClassVar[str] = "run_started"
    volatile: ClassVar[frozenset[str]] = frozenset({"started_at"})
    run: str
    version: str
    started_at: str
    images: int
    wedges: int
    request: dict[str, Any]


@attrs.frozen(kw_only=True)
class Moved(Event):
    """A machine went from one state to another, or heard an event and stayed."""

    kind: ClassVar[str] = "transition"
    machine: str
    source: str
    event: str
    dest: str

    def to_json(self, *, stable: bool = False) -> str:
        # The most frequent event by far, and all its texts are identifiers: nothing to escape.
        return (
            f'{{"event":"transition","t_us":{self.t_us},"machine":"{self.machine}","source":"{self.source}",'
            f'"on":"{self.event}","dest":"{self.dest}"}}'
        )


@attrs.frozen(kw_only=True)
class StepDone(Event):
    """A step of the order of collection is complete: `step` in the vocabulary of the field, `detail` for a reader."""

    kind: ClassVar[str] = "step_done"
    step: str
    detail: str = ""


@attrs.frozen(kw_only=True)
class WedgeStarted(Event):
    """A wedge, or what was missing of it, begins."""

    kind: ClassVar[str] = "wedge_started"
    wedge: int
    series: str
    omega_start_deg: float
    first_image: int
    images: int


@attrs.frozen(kw_only=True)
class ImagesTaken(Event):
    """Consecutive images of a series are complete (and on disk, where the run keeps files)."""

    kind: ClassVar[str] = "images_taken"
    volatile: ClassVar[frozenset[str]] = frozenset({"file"})
    series: str
    first_image: int
    images: int
    omega_recorded_deg: float
    file: str = ""


@attrs.frozen(kw_only=True)
class PersonAsked(Event):
    """A person was asked something."""

    kind: ClassVar[str] = "person_asked"
    question: str


@attrs.frozen(kw_only=True)
class Failure(Event):
    """Something went wrong; the machine's next transition says what follows."""

    kind: ClassVar[str] = "failure"
    what: str
    message: str


@attrs.frozen(kw_only=True)
class SafingStep(Event):
    """One step of making the beamline safe ended: carried out and verified, or not."""

    kind: ClassVar[str] = "safing_step"
    step: str
    verified: bool
    message: str = ""


@attrs.frozen(kw_only=True)
class EventsLost(Event):
    """An observer was too slow and lost events of its own; nobody else did."""

    kind: ClassVar[str] = "events_lost"
    count: int


@attrs.frozen(kw_only=True)
class RunEnded(Event):
    """The one outcome of a run."""

    kind: ClassVar[str] = "run_ended"
    ends_run: ClassVar[bool] = True
    outcome: str
    safe: bool
    images: int
    message: str = ""


# ---------------------------------------------------------------------------------------------------------------------
# Streams. A file is named by its path below the entry's folder.
# ---------------------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class StreamStarted(Event):
    """A stream of an entry was accepted. `settings` is their canonical dictionary."""

    kind: ClassVar[str] = "stream_started"
    volatile: ClassVar[frozenset[str]] = frozenset({"started_at"})
    entry: str
    version: str
    started_at: str
    settings: dict[str, Any]


@attrs.frozen(kw_only=True)
class EntryDescribed(Event):
    """The archive's description of the entry was read."""

    kind: ClassVar[str] = "entry_described"
    entry: str
    title: str


@attrs.frozen(kw_only=True)
class FilesListed(Event):
    """It is known which files there are; `about_bytes` of all movies, as near as the listing tells."""

    kind: ClassVar[str] = "files_listed"
    movies: int
    gains: int
    about_bytes: int
    #: What earlier runs have registered and rejected already.
    registered: int = 0
    rejected: int = 0
    registered_bytes: int = 0
    #: How many will be registered at most, and how many bytes end the stream; None where nothing but the list ends it.
    limit_movies: int | None = None
    limit_bytes: int | None = None


@attrs.frozen(kw_only=True)
class FileMoved(Event):
    """The machine of one file went from one state to another."""

    kind: ClassVar[str] = "file_transition"
    path: str
    source: str
    event: str
    dest: str


@attrs.frozen(kw_only=True)
class BytesArrived(Event):
    """So much of a file is here; told a few times a second, and where a transfer begins behind an earlier one."""

    kind: ClassVar[str] = "bytes_arrived"
    path: str
    bytes: int
    of_bytes: int
    #: Of `bytes`, those that an earlier attempt or run has left.
    kept_bytes: int = 0


@attrs.frozen(kw_only=True)
class FileRetried(Event):
    """A transfer failed and will be tried again after `wait_s`."""

    kind: ClassVar[str] = "file_retried"
    path: str
    reason: str
    wait_s: float


@attrs.frozen(kw_only=True)
class MovieRegistered(Event):
    """A movie is in the journal, has its name and is in every live set. `movie` counts from 1."""

    kind: ClassVar[str] = "movie_registered"
    movie: int
    path: str
    bytes: int


@attrs.frozen(kw_only=True)
class GainArrived(Event):
    """A gain reference or a defect map is here."""

    kind: ClassVar[str] = "gain_arrived"
    path: str
    bytes: int


@attrs.frozen(kw_only=True)
class FileRejected(Event):
    """A file is not what it says; it was set aside."""

    kind: ClassVar[str] = "file_rejected"
    path: str
    reason: str


@attrs.frozen(kw_only=True)
class FileGivenUp(Event):
    """A file could not be fetched."""

    kind: ClassVar[str] = "file_given_up"
    path: str
    reason: str


@attrs.frozen(kw_only=True)
class Noticed(Event):
    """Something that a person should know and that ends nothing."""

    kind: ClassVar[str] = "noticed"
    message: str


@attrs.frozen(kw_only=True)
class StreamEnded(Event):
    """The one outcome of a stream."""

    kind: ClassVar[str] = "stream_ended"
    ends_run: ClassVar[bool] = True
    outcome: str
    registered: int
    rejected: int
    bytes: int
    message: str = ""
