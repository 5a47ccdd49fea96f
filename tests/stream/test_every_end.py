"""A stream that is stopped, or that has a bug, in each of its states and in each state of a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
import trio

from fsmcollect.errors import StorageError
from fsmcollect.events import Event, FileMoved, Moved
from fsmcollect.machines.table import Outcome
from fsmcollect.observers import Observers
from fsmcollect.sim.archive import Archive, Fault, FaultKind
from fsmcollect.sim.kernel import Kernel
from fsmcollect.stream.keeping.registry import Registry
from fsmcollect.stream.keeping.workspace import Workspace
from fsmcollect.stream.listing.survey import Surveyor
from fsmcollect.stream.patience import Policy
from fsmcollect.stream.pipeline import Stream
from fsmcollect.stream.result import StreamResult
from fsmcollect.stream.settings import Settings
from tests.stream.rehearsing import SMALL, check, registered, stream


@attrs.define(eq=False)
class Played:
    """A stream in which something is done when it enters a state."""

    archive: Archive
    directory: Path
    resume: bool = False
    scope: trio.CancelScope = attrs.field(init=False, factory=trio.CancelScope)
    events: list[Event] = attrs.field(init=False, factory=list[Event])
    deeds: dict[str, Callable[[Stream], object]] = attrs.field(
        init=False, factory=dict[str, Callable[[Stream], object]]
    )
    _stream: Stream = attrs.field(init=False)
    result: StreamResult = attrs.field(init=False)
    raised: BaseException | None = attrs.field(init=False, default=None)

    def enters(self, state: str, deed: Callable[[Stream], object]) -> Played:
        """Have `deed` done as the stream enters that state for the first time."""
        self.deeds[state] = deed
        return self

    def run(self) -> Played:
        archive = self.archive
        settings = Settings(accession=archive.entry, api_url=archive.api_url, data_url=archive.data_url)

        async def body() -> None:
            async with trio.open_nursery() as nursery:
                self._stream = Stream(
                    settings=settings,
                    directory=self.directory,
                    resume=self.resume,
                    observers=Observers([self._hear]),
                    network=archive.network(nursery),
                    policy=Policy(),
                )
                try:
                    with self.scope:
                        await self._stream.run()
                except Exception as error:
                    self.raised = error
                self.result = self._stream.result()
                nursery.cancel_scope.cancel()

        Kernel().run(body)
        return self

    def _hear(self, event: Event) -> None:
        self.events.append(event)
        entered = isinstance(event, Moved) and event.machine == "stream" and event.source != event.dest
        if isinstance(event, Moved) and entered and event.dest in self.deeds:
            self.deeds.pop(event.dest)(self._stream)

    def moves(self, of: str = "stream") -> list[tuple[str, str]]:
        """Source and event of every row of the stream that fired; of every file's, with ``transfer``."""
        if of == "transfer":
            return [(event.source, event.event) for event in self.events if isinstance(event, FileMoved)]
        return [(event.source, event.event) for event in self.events if isinstance(event, Moved)]


def check_ended(play: Played, outcome: Outcome, *, closed: bool = True) -> None:
    """It has ended like that; the sets are closed where there are any; the rest comes with a resume."""
    assert play.result.outcome is outcome
    assert play.moves()[-1][0] == "CLOSING"
    there = (play.directory / "journal.sqlite").exists()
    if there and (play.directory / "movies.sqlite").exists():
        check(play.directory, play.archive, closed=closed)
    mended = Archive(movies=len(play.archive.paths), **SMALL)
    stream(mended, play.directory, resume=there)
    assert sorted(registered(play.directory)) == sorted(mended.paths)
    check(play.directory, mended)


def stopping(play: Played, how: str) -> tuple[Callable[[Stream], object], Outcome]:
    deeds: dict[str, tuple[Callable[[Stream], object], Outcome]] = {
        "abort": (Stream.abort, Outcome.ABORTED),
        "stop": (Stream.stop, Outcome.DONE),
        "cancel": (lambda _: play.scope.cancel(), Outcome.ABORTED),
    }
    return deeds[how]


@pytest.mark.parametrize("how", ["abort", "stop", "cancel"])
@pytest.mark.parametrize("state", ["DESCRIBING", "LISTING", "STREAMING", "HOLDING"])
def test_stopped_in_any_state_it_closes_and_a_resume_completes_it(state: str, how: str, tmp_path: Path) -> None:
    play = Played(Archive(movies=3, **SMALL), tmp_path / "out")
    deed, outcome = stopping(play, how)
    if state == "HOLDING":
        play.enters("STREAMING", Stream.hold)
    play.enters(state, deed).run()
    assert (state, how.upper() if how != "cancel" else "CANCELLED") in play.moves()
    check_ended(play, outcome)


@pytest.mark.parametrize(("how", "outcome"), [("abort", Outcome.ABORTED), ("stop", Outcome.DONE)])
def test_stopped_while_it_closes_it_goes_on_closing_and_an_abort_is_told(
    how: str, outcome: Outcome, tmp_path: Path
) -> None:
    play = Played(Archive(movies=3, **SMALL), tmp_path / "out")
    play.enters("CLOSING", stopping(play, how)[0]).run()
    assert ("CLOSING", how.upper()) in play.moves()
    check_ended(play, outcome)
    assert sorted(registered(play.directory)) == sorted(play.archive.paths)


def test_a_hold_may_be_repeated_and_is_ended_by_one_resume(tmp_path: Path) -> None:
    play = Played(Archive(movies=3, **SMALL), tmp_path / "out")
    answers: list[bool] = []

    def hold_again_and_go_on(held: Stream) -> None:
        answers.extend([held.hold(), held.hold(), held.go_on()])

    play.enters("STREAMING", Stream.hold).enters("HOLDING", hold_again_and_go_on).run()
    assert answers == [True, True, True]
    assert play.moves().count(("HOLDING", "HOLD")) == 2
    check_ended(play, Outcome.DONE)


# -- bugs --------------------------------------------------------------------------------------------------------------


def _bug(*_: object, **__: object) -> None:
    raise ZeroDivisionError("a bug")


@pytest.mark.parametrize(
    ("state", "owner", "method"),
    [
        ("DESCRIBING", Surveyor, "describe"),
        ("LISTING", Surveyor, "files"),
        ("STREAMING", Registry, "begin"),
        ("CLOSING", Registry, "close"),
    ],
)
def test_a_bug_in_any_state_is_raised_once_all_is_closed(
    state: str, owner: type, method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play = Played(Archive(movies=3, **SMALL), tmp_path / "out")
    with monkeypatch.context() as patched:
        patched.setattr(owner, method, _bug)
        play.run()
    assert isinstance(play.raised, ZeroDivisionError)
    assert (state, "CRASHED") in play.moves()
    check_ended(play, Outcome.FAILED, closed=state != "CLOSING")


@pytest.mark.parametrize(
    ("state", "owner", "method"),
    [
        ("FETCHING", Workspace, "place"),
        ("BACKING_OFF", Policy, "wait_s"),
        ("VERIFYING", Workspace, "sync"),
        ("REGISTERING", Registry, "register"),
    ],
)
def test_a_bug_with_any_file_ends_the_stream_and_is_raised_once_all_is_closed(
    state: str, owner: type, method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play = Played(Archive(movies=3, faults=[Fault(FaultKind.RESET, path="*.mrc")], **SMALL), tmp_path / "out")
    with monkeypatch.context() as patched:
        patched.setattr(owner, method, _bug)
        play.run()
    assert isinstance(play.raised, ZeroDivisionError)
    assert (state, "CRASHED") in play.moves("transfer")
    check_ended(play, Outcome.FAILED)


# -- the disk ----------------------------------------------------------------------------------------------------------


def _refuse(*_: object, **__: object) -> None:
    raise StorageError("the disk has had enough")


@pytest.mark.parametrize(
    ("state", "owner", "method"),
    [
        ("FETCHING", Workspace, "place"),
        ("VERIFYING", Workspace, "sync"),
        ("REGISTERING", Registry, "register"),
    ],
)
def test_a_disk_that_refuses_a_file_in_any_state_ends_the_stream_in_words(
    state: str, owner: type, method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play = Played(Archive(movies=3, **SMALL), tmp_path / "out")
    with monkeypatch.context() as patched:
        patched.setattr(owner, method, _refuse)
        play.run()
    assert play.raised is None
    assert any("the disk has had enough" in error for error in play.result.errors)
    assert (state, "DISK_REFUSED") in play.moves("transfer")
    check_ended(play, Outcome.FAILED)


def test_sets_that_the_disk_does_not_let_be_closed_are_closed_by_a_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play = Played(Archive(movies=3, **SMALL), tmp_path / "out")
    with monkeypatch.context() as patched:
        patched.setattr(Registry, "close", _refuse)
        play.run()
    assert play.raised is None
    assert play.moves()[-1] == ("CLOSING", "UNCLOSED")
    assert play.result.outcome is Outcome.FAILED
    check(play.directory, play.archive, closed=False)
    assert stream(play.archive, play.directory, resume=True).result.outcome is Outcome.DONE
    check(play.directory, play.archive)


# -- what was lost -----------------------------------------------------------------------------------------------------


def test_a_lost_movie_that_comes_back_as_something_else_is_given_up_and_said(tmp_path: Path) -> None:
    directory = tmp_path / "out"
    stream(Archive(movies=3, **SMALL), directory)
    lost = registered(directory)[1]
    (directory / "movies" / lost).unlink()
    corrupt = Archive(movies=3, faults=[Fault(FaultKind.CORRUPT, path=f"*{lost}", times=None)], **SMALL)
    play = Played(corrupt, directory, resume=True).run()
    assert ("VERIFYING", "EXHAUSTED") in play.moves("transfer")
    assert play.result.outcome is Outcome.FAILED
    assert play.moves()[-1] == ("CLOSING", "INCOMPLETE")
    assert any("could not be fetched again" in error for error in play.result.errors)
