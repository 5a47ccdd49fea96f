"""How often the archive is asked again, and what a stream says of files that it cannot get."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import trio

from fsmcollect.errors import InvalidRequest
from fsmcollect.events import FileRetried, Moved, MovieRegistered
from fsmcollect.machines.table import Outcome
from fsmcollect.observers import Observers
from fsmcollect.sim.archive import Archive, Fault, FaultKind
from fsmcollect.stream import movies
from fsmcollect.stream.keeping.holdings import kept_settings
from fsmcollect.stream.keeping.workspace import Workspace
from fsmcollect.stream.patience import Policy
from fsmcollect.stream.pipeline import Stream
from fsmcollect.stream.settings import Settings
from fsmcollect.stream.values import Header
from tests.stream.rehearsing import SMALL, check, in_lines, in_scipion, registered, stream

LARGE: dict[str, Any] = {"width_px": 1024, "height_px": 1024, "frames": 3}


def test_a_file_that_grows_a_little_with_every_attempt_arrives_whatever_it_takes(tmp_path: Path) -> None:
    faults = [Fault(FaultKind.RESET, path="*_frames.mrc", times=40, at_fraction=0.1)]
    archive = Archive(movies=1, gain=False, faults=faults, bandwidth_bytes_per_s=None, **LARGE)
    policy = Policy(attempts=3, failures_in_a_row=5, progress_bytes=1000)
    ended = stream(archive, tmp_path, policy=policy)
    assert (ended.result.outcome, ended.result.registered) == (Outcome.DONE, 1)
    assert len(ended.told(FileRetried)) == 40
    check(tmp_path, archive)


def test_a_file_that_is_another_one_at_every_attempt_is_given_up(tmp_path: Path) -> None:
    faults = [Fault(FaultKind.CHANGED, path="*_000001_*", times=None)]
    archive = Archive(movies=3, faults=faults, **LARGE)
    ended = stream(archive, tmp_path)
    assert (ended.result.outcome, ended.result.registered) == (Outcome.FAILED, 2)
    assert len([r for r in archive.requests if r.method == "GET" and "_000001_" in r.path]) <= Policy().attempts
    assert any("could not be fetched" in error for error in ended.result.errors)


def test_dead_links_are_asked_twice_and_the_other_movies_go_on(tmp_path: Path) -> None:
    faults = [Fault(FaultKind.MISSING, path=f"*_00000{number}_*", times=None, method="*") for number in range(1, 6)]
    archive = Archive(movies=12, faults=faults, **SMALL)
    ended = stream(archive, tmp_path, jobs=1)
    assert (ended.result.outcome, ended.result.registered) == (Outcome.FAILED, 7)
    assert any("5 of the movies could not be fetched" in error for error in ended.result.errors)
    for number in range(1, 6):
        assert len([r for r in archive.requests if f"_00000{number}_" in r.path]) == 2
    check(tmp_path, archive)


def test_a_gain_reference_that_cannot_be_fetched_is_no_success_and_a_resume_gets_it(tmp_path: Path) -> None:
    archive = Archive(movies=3, faults=[Fault(FaultKind.MISSING, path="CountRef*", times=None, method="*")], **SMALL)
    ended = stream(archive, tmp_path)
    assert (ended.result.outcome, ended.result.registered) == (Outcome.FAILED, 3)
    assert any("gain reference" in error for error in ended.result.errors)
    check(tmp_path, archive)
    resumed = stream(Archive(movies=3, **SMALL), tmp_path, resume=True)
    assert resumed.result.outcome is Outcome.DONE
    assert list((tmp_path / "gain").rglob("CountRef*"))


def test_a_server_that_wants_to_be_left_alone_is_left_alone_by_every_file(tmp_path: Path) -> None:
    faults = [Fault(FaultKind.TOO_MANY, path="*_000001_*", retry_after="600")]
    archive = Archive(movies=6, faults=faults, **SMALL)
    stream(archive, tmp_path, jobs=2)
    refused_us = next(request.at_us for request in archive.requests if request.status == 429)
    later = [r.at_us for r in archive.requests if r.at_us > refused_us + 1_000_000]
    assert min(later) >= refused_us + 600_000_000


@pytest.mark.parametrize("jobs", [1, 3, 8])
def test_bytes_are_counted_exactly_whatever_the_listing_rounds(tmp_path: Path, jobs: int) -> None:
    archive = Archive(movies=16, **LARGE)
    one = archive.size_bytes(archive.paths[0])
    size_bytes = 5 * one - 10
    ended = stream(archive, tmp_path, size_bytes=size_bytes, jobs=jobs)
    assert ended.result.registered == math.ceil(size_bytes / one)


# ---------------------------------------------------------------------------------------------------------------------
# Movies that were registered and are gone
# ---------------------------------------------------------------------------------------------------------------------


def test_a_lost_movie_that_cannot_be_fetched_again_is_no_success(tmp_path: Path) -> None:
    stream(Archive(movies=4, **SMALL), tmp_path, count=2)
    lost = registered(tmp_path)[0]
    (tmp_path / "movies" / lost).unlink()
    gone = Archive(movies=4, faults=[Fault(FaultKind.MISSING, path=lost, times=None, method="*")], **SMALL)
    ended = stream(gone, tmp_path, count=2, resume=True)
    assert ended.result.outcome is Outcome.FAILED
    assert any("1 registered movies are not in" in error for error in ended.result.errors)
    closing = in_lines(tmp_path)[1]
    assert closing is not None
    assert closing["outcome"] == "failed"
    assert stream(Archive(movies=4, **SMALL), tmp_path, count=2, resume=True).result.outcome is Outcome.DONE
    check(tmp_path, Archive(movies=4, **SMALL))


def test_a_lost_movie_that_is_another_one_now_does_not_hold_up_the_others(tmp_path: Path) -> None:
    stream(Archive(movies=6, **SMALL), tmp_path, count=2)
    lost = registered(tmp_path)[0]
    (tmp_path / "movies" / lost).unlink()
    other = Archive(movies=6, seed=99, **SMALL)
    ended = stream(other, tmp_path, count=6, resume=True)
    assert (ended.result.outcome, ended.result.registered) == (Outcome.FAILED, 6)
    assert any("not what was registered" in error for error in ended.result.errors)
    assert not (tmp_path / "movies" / lost).exists()


def test_a_registered_movie_that_was_replaced_is_said_and_the_sets_are_closed(tmp_path: Path) -> None:
    archive = Archive(movies=3, **SMALL)
    stream(archive, tmp_path, count=2)
    replaced = tmp_path / "movies" / registered(tmp_path)[0]
    replaced.write_bytes(b"something else")
    ended = stream(archive, tmp_path, count=3, resume=True)
    assert ended.result.outcome is Outcome.FAILED
    assert any(replaced.name in error for error in ended.result.errors)
    assert replaced.read_bytes() == b"something else"


# ---------------------------------------------------------------------------------------------------------------------
# Options of a resume
# ---------------------------------------------------------------------------------------------------------------------


def test_an_option_that_does_not_fit_the_entry_is_not_kept(tmp_path: Path) -> None:
    archive = Archive(movies=3, **SMALL)
    stream(archive, tmp_path, count=1)
    with pytest.raises(InvalidRequest, match="--imageset"):
        stream(archive, tmp_path, resume=True, imagesets=("nonsense",))
    assert kept_settings(tmp_path).imagesets == ()
    assert stream(archive, tmp_path, resume=True).result.registered == 3


def test_an_output_that_was_begun_goes_on_though_a_resume_leaves_it_out(tmp_path: Path) -> None:
    archive = Archive(movies=4, **SMALL)
    stream(archive, tmp_path, count=2)
    ended = stream(archive, tmp_path, resume=True, outputs=("jsonl",), checksum=False)
    assert ended.result.registered == 4
    assert len(in_scipion(tmp_path)[0]) == 4
    check(tmp_path, archive)


# ---------------------------------------------------------------------------------------------------------------------
# Requests at any time
# ---------------------------------------------------------------------------------------------------------------------


def at_first_movie(made: Stream, action: str) -> None:
    def listen(event: object) -> None:
        if isinstance(event, MovieRegistered) and event.movie == 1:
            getattr(made, action)()

    made.observers.listeners.append(listen)


def test_a_stop_file_is_heeded_while_the_stream_is_held(tmp_path: Path) -> None:
    archive = Archive(movies=20, bandwidth_bytes_per_s=100e3, **SMALL)

    def before(made: Stream) -> None:
        at_first_movie(made, "hold")
        made.observers.listeners.append(
            lambda event: (tmp_path / "STOP").touch() if isinstance(event, Moved) and event.dest == "HOLDING" else None
        )

    ended = stream(archive, tmp_path, before=before)
    assert ended.result.outcome is Outcome.DONE
    assert 1 <= ended.result.registered < 20
    check(tmp_path, archive)


def test_the_time_counts_from_the_beginning_wherever_the_stream_is(tmp_path: Path) -> None:
    archive = Archive(movies=3, faults=[Fault(FaultKind.STALL, path="*/", times=None, delay_s=1e5)], **SMALL)
    ended = stream(archive, tmp_path / "out", time_s=40.0)
    assert ended.result.outcome is Outcome.DONE
    assert 40.0 <= ended.result.seconds < 42.0
    assert any("time of 40 s is up" in notice for notice in ended.result.notices)


def test_a_folder_called_stop_ends_the_stream_and_stays(tmp_path: Path) -> None:
    archive = Archive(movies=20, bandwidth_bytes_per_s=100e3, **SMALL)

    def before(made: Stream) -> None:
        def listen(event: object) -> None:
            if isinstance(event, MovieRegistered) and event.movie == 1:
                (tmp_path / "STOP").mkdir()
                (tmp_path / "STOP" / "kept").touch()

        made.observers.listeners.append(listen)

    ended = stream(archive, tmp_path, before=before)
    assert ended.result.outcome is Outcome.DONE
    assert (tmp_path / "STOP" / "kept").exists()
    check(tmp_path, archive)


def test_an_abort_at_any_event_closes_the_sets_and_a_resume_completes_them(tmp_path: Path) -> None:
    whole = stream(Archive(movies=3, **SMALL), tmp_path / "whole")
    # Up to the last two, which say that it has ended.
    for number in range(0, len(whole.events) - 2, 5):
        archive, directory = Archive(movies=3, **SMALL), tmp_path / str(number)

        def before(made: Stream, number: int = number) -> None:
            told: list[object] = []

            def listen(event: object) -> None:
                told.append(event)
                if len(told) == number + 1:
                    made.abort()

            made.observers.listeners.append(listen)

        ended = stream(archive, directory, before=before)
        assert ended.result.outcome is Outcome.ABORTED, number
        if directory.exists():
            check(directory, archive)
            assert stream(archive, directory, resume=True).result.registered == 3
            check(directory, archive)


def test_a_bug_in_a_transfer_is_raised_after_the_sets_were_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = Archive(movies=6, **SMALL)
    check_header = movies.check

    def buggy(path: Path, name: str) -> Header:
        if "_000004_" in name:
            raise ZeroDivisionError("a bug")
        return check_header(path, name)

    monkeypatch.setattr(movies, "check", buggy)
    with pytest.raises(ZeroDivisionError):
        stream(archive, tmp_path, jobs=2)
    check(tmp_path, archive)
    closing = in_lines(tmp_path)[1]
    assert closing is not None
    assert closing["outcome"] == "failed"


async def test_a_stream_that_is_cancelled_closes_its_sets_first(tmp_path: Path) -> None:
    archive = Archive(movies=12, latency_s=0.0, bandwidth_bytes_per_s=None, **LARGE)
    asked = Settings(
        accession=archive.entry, api_url=archive.api_url, data_url=archive.data_url, rate_bytes_per_s=10_000_000
    )
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            observers = Observers([lambda event: scope.cancel() if isinstance(event, MovieRegistered) else None])
            made = Stream(settings=asked, directory=tmp_path, observers=observers, network=archive.network(nursery))
            scope.deadline = trio.current_time() + 60
            await made.run()
        assert scope.cancelled_caught
        nursery.cancel_scope.cancel()
    assert made.result().outcome is Outcome.ABORTED
    check(tmp_path, archive)


def test_a_disk_is_not_filled_to_the_brim_so_that_the_sets_can_be_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def left_of_40_mb(workspace: Workspace) -> int:
        files = (path for path in workspace.directory.rglob("*") if path.is_file())
        return 40_000_000 - sum(path.stat().st_size for path in files)

    monkeypatch.setattr(Workspace, "free_bytes", left_of_40_mb)
    archive = Archive(movies=12, gain=False, **LARGE)
    ended = stream(archive, tmp_path, jobs=2)
    assert ended.result.outcome is Outcome.FAILED
    assert 0 < ended.result.registered < 12
    assert any("free space there, then resume" in error for error in ended.result.errors)
    check(tmp_path, archive)


def test_movies_none_of_which_is_what_it_says_are_no_success(tmp_path: Path) -> None:
    archive = Archive(movies=3, faults=[Fault(FaultKind.CORRUPT, times=None)], **SMALL)
    ended = stream(archive, tmp_path)
    assert (ended.result.outcome, ended.result.registered, ended.result.rejected) == (Outcome.FAILED, 0, 3)
    again = stream(archive, tmp_path, resume=True)
    assert again.result.outcome is Outcome.FAILED, "nor is a resume that finds nothing more to do"


def test_a_set_that_another_name_shares_is_not_written_to(tmp_path: Path) -> None:
    archive = Archive(movies=3, **SMALL)
    stream(archive, tmp_path / "out", count=1)
    (tmp_path / "snapshot").hardlink_to(tmp_path / "out" / "movies.jsonl")
    before = (tmp_path / "snapshot").read_bytes()
    with pytest.raises(InvalidRequest, match=r"movies\.jsonl"):
        stream(archive, tmp_path / "out", resume=True)
    assert (tmp_path / "snapshot").read_bytes() == before
