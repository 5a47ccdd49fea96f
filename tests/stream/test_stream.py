"""A whole stream, from the entry's number to closed sets, on the pretend archive in simulated time."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from fsmcollect.errors import InvalidRequest
from fsmcollect.events import (
    BytesArrived,
    EntryDescribed,
    FileMoved,
    FileRejected,
    FilesListed,
    GainArrived,
    Moved,
    MovieRegistered,
    StreamEnded,
    StreamStarted,
)
from fsmcollect.machines.table import Outcome
from fsmcollect.sim.archive import Archive, Fault, FaultKind
from fsmcollect.stream.patience import Policy
from fsmcollect.stream.pipeline import Stream
from tests.stream.rehearsing import SMALL, check, in_lines, in_scipion, registered, stream


def states(events: list[Moved]) -> list[str]:
    return [event.dest for event in events if event.machine == "stream"]


def test_every_movie_of_an_entry_is_registered_in_every_set(tmp_path: Path) -> None:
    archive = Archive(movies=6, **SMALL)
    ended = stream(archive, tmp_path / "out")
    result = ended.result
    assert (result.outcome, result.registered, result.rejected, result.errors) == (Outcome.DONE, 6, 0, ())
    assert result.entry == "EMPIAR-10200"
    assert result.title
    assert result.bytes == sum(archive.size_bytes(path) for path in archive.paths)
    assert set(result.outputs) == {"scipion", "relion", "jsonl", "checksums"}
    check(tmp_path / "out", archive)


def test_the_gain_reference_is_fetched_before_any_movie_and_named_in_the_sets(tmp_path: Path) -> None:
    archive = Archive(movies=3, **SMALL)
    ended = stream(archive, tmp_path)
    kinds = [event.kind for event in ended.events if isinstance(event, GainArrived | MovieRegistered)]
    assert kinds == ["gain_arrived"] + 3 * ["movie_registered"]
    (gain,) = archive.gain_paths
    assert (tmp_path / "gain" / gain).stat().st_size == archive.size_bytes(gain)
    assert f"  gain/{gain}" in (tmp_path / "SHA256SUMS").read_text()


def test_the_machines_are_told_and_the_last_event_is_the_one_outcome(tmp_path: Path) -> None:
    ended = stream(Archive(movies=2, gain=False, **SMALL), tmp_path)
    assert isinstance(ended.events[0], StreamStarted)
    assert states(ended.told(Moved)) == ["DESCRIBING", "LISTING", "STREAMING", "CLOSING", "IDLE"]
    assert len(ended.told(EntryDescribed)) == len(ended.told(FilesListed)) == 1
    last = ended.events[-1]
    assert isinstance(last, StreamEnded)
    assert ended.told(StreamEnded) == [last]
    assert (last.outcome, last.registered) == ("done", 2)
    lives = {path: [e.dest for e in ended.told(FileMoved) if e.path == path] for path in registered(tmp_path)}
    assert set(map(tuple, lives.values())) == {("FETCHING", "VERIFYING", "REGISTERING", "REGISTERED")}
    for path in registered(tmp_path):
        arrived = [event for event in ended.told(BytesArrived) if event.path == path]
        assert arrived[-1].bytes == arrived[-1].of_bytes


@pytest.mark.parametrize("jobs", [1, 4, 16])
def test_no_more_movies_are_taken_than_were_asked_for(tmp_path: Path, jobs: int) -> None:
    archive = Archive(movies=30, **SMALL)
    ended = stream(archive, tmp_path, count=5, jobs=jobs)
    assert (ended.result.outcome, ended.result.registered) == (Outcome.DONE, 5)
    begun = {event.path for event in ended.told(FileMoved)} - set(archive.gain_paths)
    assert len(begun) == 5, "nothing was begun that could be one too many"
    check(tmp_path, archive)


def test_a_movie_that_is_rejected_is_made_up_for_by_the_next(tmp_path: Path) -> None:
    archive = Archive(movies=8, faults=[Fault(FaultKind.CORRUPT, times=2)], **SMALL)
    ended = stream(archive, tmp_path, count=5)
    assert (ended.result.outcome, ended.result.registered, ended.result.rejected) == (Outcome.DONE, 5, 2)
    rejected = [event.path for event in ended.told(FileRejected)]
    assert len(rejected) == 2
    for path in rejected:
        assert (tmp_path / "rejected" / path).stat().st_size == archive.size_bytes(path)
        assert "its header says" in (tmp_path / "rejected" / f"{path}.reason.txt").read_text()
        assert any(path in error for error in ended.result.errors)
    check(tmp_path, archive)


def test_fewer_movies_than_asked_for_end_as_done_and_it_is_said(tmp_path: Path) -> None:
    archive = Archive(movies=3, **SMALL)
    ended = stream(archive, tmp_path, count=10)
    assert (ended.result.outcome, ended.result.registered) == (Outcome.DONE, 3)
    assert any("10 movies were asked for, there are 3" in notice for notice in ended.result.notices)
    check(tmp_path, archive)


def test_the_movie_that_reaches_the_size_is_the_last(tmp_path: Path) -> None:
    archive = Archive(movies=20, **SMALL)
    one = archive.size_bytes(archive.paths[0])
    ended = stream(archive, tmp_path, size_bytes=3 * one + 1, jobs=8)
    assert (ended.result.outcome, ended.result.registered) == (Outcome.DONE, 4)
    check(tmp_path, archive)


def test_when_the_time_is_up_what_is_there_is_enough(tmp_path: Path) -> None:
    archive = Archive(movies=50, bandwidth_bytes_per_s=50e3, **SMALL)
    ended = stream(archive, tmp_path, time_s=5.0)
    assert ended.result.outcome is Outcome.DONE
    assert 0 < ended.result.registered < 50
    assert 5.0 <= ended.result.seconds < 6.0
    check(tmp_path, archive)


def test_a_stop_file_ends_the_stream_as_done_and_is_removed(tmp_path: Path) -> None:
    archive = Archive(movies=50, bandwidth_bytes_per_s=50e3, **SMALL)

    def before(made: Stream) -> None:
        made.observers.listeners.append(
            lambda event: (tmp_path / "STOP").touch() if getattr(event, "movie", 0) == 3 else None
        )

    ended = stream(archive, tmp_path, before=before)
    assert ended.result.outcome is Outcome.DONE
    assert 3 <= ended.result.registered < 50
    assert not (tmp_path / "STOP").exists()
    check(tmp_path, archive)


def test_an_abort_finishes_nothing_more_closes_the_sets_and_a_resume_completes_them(tmp_path: Path) -> None:
    archive = Archive(movies=12, width_px=1024, height_px=1024, frames=3, bandwidth_bytes_per_s=1e6)

    def before(made: Stream) -> None:
        def listen(event: object) -> None:
            if isinstance(event, BytesArrived) and 0 < event.bytes < event.of_bytes and len(registered(tmp_path)) >= 4:
                made.abort()

        made.observers.listeners.append(listen)

    aborted = stream(archive, tmp_path, before=before)
    assert aborted.result.outcome is Outcome.ABORTED
    assert 4 <= aborted.result.registered < 12
    check(tmp_path, archive)
    assert in_lines(tmp_path)[1] == {"closed": True, "movies": aborted.result.registered, "outcome": "aborted"}

    resumed = stream(archive, tmp_path, resume=True)
    assert (resumed.result.outcome, resumed.result.registered) == (Outcome.DONE, 12)
    assert resumed.result.resumed_bytes > 0
    assert any(request.range for request in archive.requests)
    check(tmp_path, archive)
    assert in_lines(tmp_path)[1] == {"closed": True, "movies": 12, "outcome": "done"}


def test_a_stream_that_is_complete_can_be_resumed_and_fetches_nothing(tmp_path: Path) -> None:
    archive = Archive(movies=3, **SMALL)
    stream(archive, tmp_path)
    archive.requests.clear()
    again = stream(archive, tmp_path, resume=True)
    assert (again.result.outcome, again.result.registered) == (Outcome.DONE, 3)
    assert not [request for request in archive.requests if request.path.endswith(".mrc")]
    check(tmp_path, archive)


def test_a_closed_stream_goes_on_with_a_larger_limit(tmp_path: Path) -> None:
    archive = Archive(movies=9, **SMALL)
    stream(archive, tmp_path, count=2)
    more = stream(archive, tmp_path, count=7, resume=True)
    assert (more.result.outcome, more.result.registered) == (Outcome.DONE, 7)
    check(tmp_path, archive)


def test_a_registered_movie_that_was_lost_is_put_back_and_not_registered_again(tmp_path: Path) -> None:
    archive = Archive(movies=4, **SMALL)
    stream(archive, tmp_path)
    lost = registered(tmp_path)[2]
    (tmp_path / "movies" / lost).unlink()
    again = stream(archive, tmp_path, resume=True)
    assert (again.result.outcome, again.result.registered) == (Outcome.DONE, 4)
    assert not again.told(MovieRegistered)
    check(tmp_path, archive)


def test_a_hold_stops_transfers_where_they_are_and_they_go_on_from_there(tmp_path: Path) -> None:
    archive = Archive(movies=8, bandwidth_bytes_per_s=100e3, **SMALL)

    def before(made: Stream) -> None:
        def listen(event: object) -> None:
            if isinstance(event, MovieRegistered) and event.movie == 3:
                assert made.hold()
            if isinstance(event, Moved) and event.dest == "HOLDING":
                trio.lowlevel.spawn_system_task(wake)

        async def wake() -> None:
            await trio.sleep(100.0)
            assert made.go_on()

        made.observers.listeners.append(listen)

    ended = stream(archive, tmp_path, before=before)
    assert (ended.result.outcome, ended.result.registered) == (Outcome.DONE, 8)
    assert states(ended.told(Moved)).count("STREAMING") == 2
    assert ended.result.seconds > 100.0
    check(tmp_path, archive)


def test_a_rate_limit_is_kept_by_all_transfers_together(tmp_path: Path) -> None:
    archive = Archive(movies=8, bandwidth_bytes_per_s=None, gain=False, **SMALL)
    total = sum(archive.size_bytes(path) for path in archive.paths)
    ended = stream(archive, tmp_path, rate_bytes_per_s=total / 20)
    assert 18.0 < ended.result.seconds < 25.0


def test_without_checksums_there_are_none_and_all_else_is_the_same(tmp_path: Path) -> None:
    archive = Archive(movies=3, **SMALL)
    ended = stream(archive, tmp_path, checksum=False)
    assert ended.result.registered == 3
    assert not (tmp_path / "SHA256SUMS").exists()
    assert "checksums" not in ended.result.outputs


@pytest.mark.parametrize("name", ["scipion", "relion", "jsonl"])
def test_each_output_can_be_had_alone(tmp_path: Path, name: str) -> None:
    ended = stream(Archive(movies=2, **SMALL), tmp_path, outputs=(name,))
    assert set(ended.result.outputs) == {name, "checksums"}
    files = {"scipion": "movies.sqlite", "relion": "movies.star", "jsonl": "movies.jsonl"}
    assert {f for f in files.values() if (tmp_path / f).exists()} == {files[name]}


@pytest.mark.parametrize("layout", ["Movies", "flat", "nested", "datasets", "deep", "tilt", "awkward"])
@pytest.mark.parametrize("style", ["apache", "nginx"])
def test_any_layout_is_streamed_from_any_listing(tmp_path: Path, layout: str, style: str) -> None:
    archive = Archive(movies=5, layout=layout, style=style, **SMALL)
    ended = stream(archive, tmp_path)
    assert (ended.result.outcome, ended.result.errors) == (Outcome.DONE, ())
    assert sorted(registered(tmp_path)) == sorted(archive.paths)
    check(tmp_path, archive)


@pytest.mark.parametrize("of", ["mrc", "mrcs", "tiff", "bigtiff", "eer"])
def test_any_format_is_verified_and_registered(tmp_path: Path, of: str) -> None:
    archive = Archive(movies=2, format=of, **SMALL)
    ended = stream(archive, tmp_path)
    assert (ended.result.registered, ended.result.errors) == (2, ())
    line = in_lines(tmp_path)[0][0]
    assert (line["width_px"], line["height_px"], line["frames"]) == (128, 64, 3)


def test_two_equal_streams_are_told_in_equal_words(tmp_path: Path) -> None:
    def told(directory: Path) -> list[tuple[int, str]]:
        faults = [Fault(FaultKind.RESET, times=3), Fault(FaultKind.TOO_MANY, times=2, retry_after="7")]
        ended = stream(Archive(seed=5, movies=10, faults=faults, **SMALL), directory)
        # What happens in one instant has no order.
        return sorted((event.t_us, event.to_json(stable=True)) for event in ended.events)

    assert told(tmp_path / "a") == told(tmp_path / "b")


# ---------------------------------------------------------------------------------------------------------------------
# What cannot be streamed
# ---------------------------------------------------------------------------------------------------------------------


def test_an_unknown_entry_is_said_in_a_sentence_and_no_directory_is_made(tmp_path: Path) -> None:
    ended = stream(Archive(movies=1), tmp_path / "out", accession="99999")
    assert ended.result.outcome is Outcome.FAILED
    assert "EMPIAR-99999 is not in the archive" in ended.result.errors[0]
    assert not (tmp_path / "out").exists()


def test_an_entry_without_movies_is_said_and_no_directory_is_made(tmp_path: Path) -> None:
    ended = stream(Archive(layout="no movies"), tmp_path / "out")
    assert ended.result.outcome is Outcome.FAILED
    assert "--imageset" in ended.result.errors[0]
    assert not (tmp_path / "out").exists()


def test_archives_are_reported_and_not_guessed(tmp_path: Path) -> None:
    ended = stream(Archive(layout="archives", movies=3), tmp_path / "out")
    assert ended.result.registered == 0
    assert any(".tar" in said for said in (*ended.result.errors, *ended.result.notices))


def test_a_directory_that_holds_another_stream_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    archive = Archive(movies=2, **SMALL)
    stream(archive, tmp_path)
    archive.requests.clear()
    with pytest.raises(InvalidRequest, match="--resume"):
        stream(archive, tmp_path)
    assert not archive.requests


def test_an_archive_that_has_gone_silent_ends_the_stream_with_closed_sets(tmp_path: Path) -> None:
    faults = [Fault(FaultKind.RESET, times=None, skip=6, at_fraction=0.0)]
    archive = Archive(movies=12, faults=faults, **SMALL)
    ended = stream(archive, tmp_path, policy=Policy(failures_in_a_row=10))
    assert ended.result.outcome is Outcome.FAILED
    assert 0 < ended.result.registered < 12
    assert any("brought nothing" in error for error in ended.result.errors)
    check(tmp_path, archive)
    archive = Archive(movies=12, **SMALL)
    assert stream(archive, tmp_path, resume=True).result.registered == 12
    check(tmp_path, archive)


def test_a_resume_without_network_closes_what_a_killed_run_has_left_open(tmp_path: Path) -> None:
    archive = Archive(movies=3, **SMALL)
    stream(archive, tmp_path)
    from fsmcollect.stream.keeping.journal import Journal
    from fsmcollect.stream.outputs.scipion import Scipion

    with Journal.open(tmp_path / "journal.sqlite") as journal:
        assert journal.facts is not None
        Scipion(tmp_path).open(journal.facts, journal.movies())
        journal.begin(journal.facts)
    assert in_scipion(tmp_path)[1] == "1"
    gone = Archive(movies=3, faults=[Fault(FaultKind.SERVER_ERROR, path="api/*", times=None)], **SMALL)
    ended = stream(gone, tmp_path, resume=True)
    assert ended.result.outcome is Outcome.FAILED
    check(tmp_path, archive)
