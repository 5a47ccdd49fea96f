"""What a stream's events add up to: how far it is, how fast, and the sentence for each event that a person hears of.

Owns counts and wording. Owns no terminal (`following`); it knows nothing of a stream but its events.
"""

from __future__ import annotations

from collections import deque

import attrs

from fsmcollect.console import words
from fsmcollect.console.amounts import count, duration, plain
from fsmcollect.events import (
    BytesArrived,
    EntryDescribed,
    Event,
    FileGivenUp,
    FileMoved,
    FileRejected,
    FileRetried,
    FilesListed,
    GainArrived,
    Moved,
    MovieRegistered,
    Noticed,
    StreamEnded,
    StreamStarted,
)
from fsmcollect.machines.stream import STREAM
from fsmcollect.machines.transfer import TRANSFER, State
from fsmcollect.stream.stopping import size_in_words

#: The speed shown is that of so many seconds. Assumed: long enough to be read, short enough to show a change.
SPEED_OF_S = 10.0
#: Arrivals within so many seconds are one point of the speed's curve.
_POINT_S = 0.2

FETCHING = words(State.FETCHING.name)
_OVER = frozenset(state.name for state in TRANSFER.final)


@attrs.define
class UnderWay:
    """A file that is being fetched."""

    path: str
    doing: str = FETCHING
    bytes: int = 0
    of_bytes: int = 0

    @property
    def fraction(self) -> float:
        return min(self.bytes / self.of_bytes, 1.0) if self.of_bytes else 0.0


@attrs.define
class Tally:
    """One stream so far."""

    #: The machine's state, or at last the outcome.
    state: str = "starting"
    is_over: bool = False
    registered: int = 0
    rejected: int = 0
    given_up: int = 0
    retries: int = 0
    #: As listed; None before that.
    movies: int | None = None
    limit_movies: int | None = None
    limit_bytes: int | None = None
    about_bytes: int = 0
    registered_bytes: int = 0
    #: By path, the one that began first first.
    under_way: dict[str, UnderWay] = attrs.field(factory=dict[str, UnderWay])
    now_s: float = 0.0
    _arrived_bytes: int = 0
    _points: deque[tuple[float, int]] = attrs.field(factory=deque[tuple[float, int]])

    @property
    def wanted(self) -> int | None:
        """How many movies there will be at most; None while that is not known."""
        if self.movies is None or self.limit_movies is None:
            return self.movies
        return min(self.movies, self.limit_movies)

    @property
    def bytes_here(self) -> int:
        return self.registered_bytes + sum(file.bytes for file in self.under_way.values())

    @property
    def fraction(self) -> float | None:
        """How much of the stream is done, by the criterion that will end it first; None while that is not known."""
        if self.movies is None:
            return None
        partly = sum(file.fraction for file in self.under_way.values())
        settled = self.registered + self.rejected + self.given_up
        ways = [(settled + partly) / self.movies if self.movies else 1.0]
        if self.limit_movies:
            ways.append((self.registered + partly) / self.limit_movies)
        if self.limit_bytes:
            ways.append(self.bytes_here / self.limit_bytes)
        return min(max(ways), 1.0)

    def bytes_per_s(self, now_s: float) -> float:
        """Of the last `SPEED_OF_S` seconds before `now_s`; what an earlier run or attempt has left does not count."""
        while len(self._points) > 1 and self._points[1][0] <= now_s - SPEED_OF_S:
            self._points.popleft()
        if not self._points or now_s <= self._points[0][0]:
            return 0.0
        then_s, then_bytes = self._points[0]
        then_s = max(then_s, now_s - SPEED_OF_S)
        return (self._arrived_bytes - then_bytes) / (now_s - then_s)

    def remaining_s(self, now_s: float) -> float | None:
        """At the present speed; None where nothing tells."""
        speed, fraction, here = self.bytes_per_s(now_s), self.fraction, self.bytes_here
        if not speed or not self.movies or fraction is None:
            return None
        total = self.about_bytes * (self.wanted or 0) / self.movies
        left = total - here if total > here else here * (1 / fraction - 1) if fraction else 0.0
        if self.limit_bytes is not None:
            left = min(left, max(self.limit_bytes - here, 0))
        return left / speed

    def note(self, event: Event) -> None:
        """Add an event."""
        self.now_s = event.t_us / 1e6
        match event:
            case Moved(machine=STREAM.name):
                self.state = words(event.dest)
            case FilesListed():
                self.movies, self.about_bytes = event.movies, event.about_bytes
                self.limit_movies, self.limit_bytes = event.limit_movies, event.limit_bytes
                self.registered, self.rejected = event.registered, event.rejected
                self.registered_bytes = event.registered_bytes
            case FileMoved():
                self._follow(event)
            case BytesArrived():
                self._count(event)
            case FileRetried():
                self.retries += 1
            case MovieRegistered():
                self.under_way.pop(event.path, None)
                self.registered, self.registered_bytes = event.movie, self.registered_bytes + event.bytes
            case FileRejected():
                self.under_way.pop(event.path, None)
                self.rejected += 1
            case FileGivenUp():
                self.under_way.pop(event.path, None)
                self.given_up += 1
            case GainArrived():
                self.under_way.pop(event.path, None)
            case StreamEnded():
                self.state, self.is_over = event.outcome, True
                self.under_way.clear()
            case _:
                pass

    def _follow(self, event: FileMoved) -> None:
        if event.dest in _OVER:
            self.under_way.pop(event.path, None)
        else:
            self._file(event.path).doing = words(event.dest)

    def _file(self, path: str) -> UnderWay:
        if (file := self.under_way.get(path)) is None:
            file = self.under_way[path] = UnderWay(path)
            if not self._points:
                self._points.append((self.now_s, 0))
        return file

    def _count(self, event: BytesArrived) -> None:
        file = self._file(event.path)
        # What an earlier attempt has left is not fetched now, and a file that begins afresh takes nothing back.
        before = file.bytes if event.bytes >= file.bytes else 0
        self._arrived_bytes += max(event.bytes - max(before, event.kept_bytes), 0)
        file.bytes, file.of_bytes = event.bytes, event.of_bytes
        if len(self._points) > 1 and self.now_s - self._points[-2][0] < _POINT_S:
            self._points.pop()
        self._points.append((self.now_s, self._arrived_bytes))


def sentence(event: Event, tally: Tally) -> str | None:
    """What a person is told of an event that was just added to `tally`; None of most events of a file's life."""
    match event:
        case StreamStarted():
            return f"{event.entry}, by fsmcollect {event.version}"
        case Moved(machine=STREAM.name) if event.source != event.dest:
            return f"{words(event.dest)} ({words(event.event)})"
        case EntryDescribed():
            return plain(f"{event.entry}: {event.title}")
        case FilesListed():
            found = f"{count(event.movies, 'movie')}, about {size_in_words(event.about_bytes)}"
            gains = f", and {count(event.gains, 'gain reference or defect map', 'gain references or defect maps')}"
            counted = ((event.registered, "registered"), (event.rejected, "rejected"))
            before = " and ".join(f"{number:,} {what}" for number, what in counted if number)
            return found + (gains if event.gains else "") + (f"; already {before}" if before else "")
        case MovieRegistered():
            of = f" of {tally.wanted:,}" if tally.wanted is not None and tally.wanted >= event.movie else ""
            return plain(f"movie {event.movie:,}{of}: {event.path}, {size_in_words(event.bytes)}")
        case GainArrived():
            return plain(f"gain: {event.path}, {size_in_words(event.bytes)}")
        case FileRetried():
            return asked_again(event.path, event.reason, event.wait_s)
        case FileRejected():
            return plain(f"rejected: {event.path}: {event.reason}")
        case FileGivenUp():
            return plain(f"given up: {_short(event.path, event.reason)}")
        case Noticed():
            return plain(f"note: {event.message}")
        case _:
            return None


def asked_again(path: str, reason: str, wait_s: float) -> str:
    """What a person is told of a file, or of another address, that failed and will be asked for again."""
    return plain(f"{_short(path, reason)}; again in {duration(wait_s)}")


def _short(path: str, reason: str) -> str:
    """A failure by the path of its file, which is long enough, instead of the URL that the reason begins with."""
    first, _, rest = reason.partition(" ")
    return f"{path} {rest}" if "://" in first else f"{path}: {reason}"
