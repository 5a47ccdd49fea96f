"""What is registered, in which order it is told, and what files, outputs, disks and threads can do to it."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fsmcollect.errors import StorageError
from fsmcollect.stream.keeping.registry import StreamClosed
from fsmcollect.stream.outputs import Output
from fsmcollect.stream.values import Kind, Movie, SetFacts
from tests.stream.keeping.disks import mounted, remount
from tests.stream.keeping.registering import (
    FACTS,
    MOVIES,
    SENT,
    Desk,
    Lines,
    Sent,
    desk,
    picture,
    stream,
    two_files_of_lines,
)

A, B, C = MOVIES
WRONG = next(sent for sent in SENT if sent.wrong)
GAIN = SENT[0]


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def begun(directory: Path) -> Iterator[Desk]:
    with desk(directory, two_files_of_lines) as opened:
        opened.registry.begin(FACTS)
        yield opened


# ---------------------------------------------------------------------------------------------------------------------
# What is registered
# ---------------------------------------------------------------------------------------------------------------------


def test_a_movie_has_its_name_its_row_and_its_place_in_every_output(begun: Desk, directory: Path) -> None:
    begun.journal.note_part(A.path, A.remote)
    movie = begun.register(A)
    assert movie == Movie(
        number=1,
        file=f"movies/{A.path}",
        path=A.path,
        size_bytes=96,
        sha256=A.sha256,
        header=A.verified.header,  # type: ignore[arg-type]
        imageset="movies",
        pixel_size_a=1.06,
        registered_at="2026-11-21T12:00:00Z",
    )
    assert list(begun.journal.movies()) == [movie]
    assert (directory / movie.file).read_bytes() == A.content
    assert not begun.part(A).exists()
    assert not begun.journal.is_part(A.path)
    assert lines(directory / "lines.txt") == lines(directory / "more.txt") == [FACTS.title, str(movie)]
    assert (begun.registry.registered, begun.registry.registered_bytes) == (1, 96)


def test_gains_are_registered_before_the_sets_are_begun_and_no_output_is_told(directory: Path) -> None:
    with desk(directory, two_files_of_lines) as opened:
        assert opened.register(GAIN) is None
        assert opened.registry.gains == 1
        assert not (directory / "lines.txt").exists()
        assert [gain.file for gain in opened.journal.gains()] == [f"gain/{GAIN.path}"]
        opened.registry.begin(FACTS)
    assert lines(directory / "lines.txt") == [FACTS.title]
    assert (directory / "gain" / GAIN.path).read_bytes() == GAIN.content


def test_files_of_one_name_in_two_folders_are_two_movies(begun: Desk, directory: Path) -> None:
    assert [begun.register(sent).number for sent in (A, B)] == [1, 2]  # type: ignore[union-attr]
    assert Path(A.path).name == Path(B.path).name
    assert (directory / "movies" / B.path).read_bytes() == B.content


def test_a_rejected_file_lies_aside_with_its_reason_and_is_known(begun: Desk, directory: Path) -> None:
    part = begun.fetch(WRONG)
    place = begun.registry.reject(WRONG.path, part, "it is\udcff wrong", 96, None)
    assert place == directory / "rejected" / WRONG.path
    assert place.read_bytes() == WRONG.content
    assert place.with_name("b.mrc.reason.txt").read_text() == "it is\\udcff wrong\n"
    assert not part.exists()
    assert begun.registry.rejected == 1
    assert begun.journal.is_known(WRONG.path)
    assert lines(directory / "lines.txt") == [FACTS.title]


def test_two_rejected_files_with_the_longest_names_keep_a_reason_each(begun: Desk, directory: Path) -> None:
    for last in "ab":
        sent = Sent("data/" + "é" * 122 + f"{last}.mrc")  # with `.` before it and `.part` behind: 255 bytes
        begun.registry.reject(sent.path, begun.fetch(sent), f"reason {last}", 96, None)
    reasons = (directory / "rejected" / "data").glob("*.reason.txt")
    assert sorted(path.read_text() for path in reasons) == ["reason a\n", "reason b\n"]


def test_what_is_known_already_is_not_registered_again(begun: Desk) -> None:
    begun.register(A)
    begun.registry.reject(WRONG.path, begun.fetch(WRONG), "wrong", 96, None)
    for sent in (A, WRONG):
        with pytest.raises(ValueError, match="registered or rejected already"):
            begun.register(sent)
        with pytest.raises(ValueError, match="registered or rejected already"):
            begun.registry.reject(sent.path, begun.part(sent), "wrong", 96, None)
    assert begun.registry.registered == 1


def test_a_movie_before_the_sets_are_begun_is_a_bug_of_the_caller(directory: Path) -> None:
    with desk(directory) as opened, pytest.raises(ValueError, match="before the sets were begun"):
        opened.register(A)


def test_a_file_that_is_no_partial_file_of_its_place_is_a_bug_of_the_caller(begun: Desk) -> None:
    with pytest.raises(ValueError, match="is not the partial file of"):
        begun.registry.register(A.verified, begun.fetch(B))


def test_eight_threads_register_each_movie_once(begun: Desk, directory: Path) -> None:
    sent = [Sent(f"data/Part{index % 3}/{index}.mrc") for index in range(80)]
    with ThreadPoolExecutor(8) as pool:
        movies = [movie for movie in pool.map(begun.register, sent) if movie]
    assert sorted(movie.number for movie in movies) == list(range(1, 81))
    in_order = sorted(movies, key=lambda movie: movie.number)
    assert list(begun.journal.movies()) == in_order
    assert lines(directory / "more.txt") == [FACTS.title, *map(str, in_order)]
    assert begun.registry.registered_bytes == 80 * 96


def test_one_file_waiting_for_the_disk_lets_others_wait_for_it_too(
    begun: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = [begun.fetch(sent) for sent in (A, B)]
    together = threading.Barrier(2, timeout=30)
    real, first = os.fsync, threading.local()

    def slow(descriptor: int) -> None:
        if not hasattr(first, "done"):
            first.done = True
            together.wait()
        real(descriptor)

    monkeypatch.setattr(os, "fsync", slow)
    with ThreadPoolExecutor(2) as pool:
        movies = list(
            pool.map(lambda each: begun.registry.register(*each), zip((A.verified, B.verified), parts, strict=True))
        )
    assert None not in movies


# ---------------------------------------------------------------------------------------------------------------------
# Files that somebody else has to do with
# ---------------------------------------------------------------------------------------------------------------------


def test_a_foreign_file_at_its_place_is_kept_and_nothing_is_registered(begun: Desk, directory: Path) -> None:
    part = begun.fetch(A)
    (directory / "movies" / A.path).write_bytes(b"mine")
    with pytest.raises(StorageError, match=r"^movies/data/Movies/a.mrc exists already and is not of this stream"):
        begun.registry.register(A.verified, part)
    assert (directory / "movies" / A.path).read_bytes() == b"mine"
    assert not begun.journal.is_known(A.path)
    begun.register(B)
    assert begun.registry.registered == 1


def test_a_foreign_file_where_one_is_set_aside_is_kept(begun: Desk) -> None:
    part = begun.fetch(WRONG)
    begun.workspace.rejected_place(WRONG.path).write_bytes(b"mine")
    with pytest.raises(StorageError, match=r"rejected/data/Movies/b.mrc exists already"):
        begun.registry.reject(WRONG.path, part, "wrong", 96, None)
    assert begun.registry.rejected == 0


@pytest.mark.parametrize("content", [b"", b"x" * 95, b"x" * 97])
def test_a_partial_file_of_another_size_than_was_checked_is_not_registered(begun: Desk, content: bytes) -> None:
    part = begun.fetch(A)
    part.write_bytes(content)
    with pytest.raises(StorageError, match=f"has {len(content)} bytes, and 96 were checked"):
        begun.registry.register(A.verified, part)
    assert not begun.journal.is_known(A.path)


def test_a_partial_file_begun_afresh_meanwhile_is_not_registered_for_the_old_one(
    begun: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = begun.fetch(A)
    real = begun.journal.is_known

    def meanwhile(path: str) -> bool:
        os.close(begun.workspace.open_part(part.with_name("a.mrc"), keep=False))
        return real(path)

    monkeypatch.setattr(begun.journal, "is_known", meanwhile)
    with pytest.raises(StorageError, match="is another file than the one that was checked"):
        begun.registry.register(A.verified, part)
    assert begun.registry.registered == 0
    assert part.read_bytes() == b""


def test_a_partial_file_cannot_be_begun_afresh_while_it_gets_its_name(
    begun: Desk, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = begun.fetch(A)
    real, late = os.rename, list[threading.Thread]()

    def rename(*args: Any, **settings: Any) -> None:
        late.append(
            threading.Thread(target=lambda: os.close(begun.workspace.open_part(directory / "movies" / A.path, False)))
        )
        late[0].start()
        late[0].join(0.05)
        assert late[0].is_alive()
        real(*args, **settings)

    monkeypatch.setattr(os, "rename", rename)
    begun.registry.register(A.verified, part)
    late[0].join(30)
    assert (directory / "movies" / A.path).read_bytes() == A.content


def test_a_link_in_place_of_the_partial_file_is_not_followed(begun: Desk, tmp_path: Path) -> None:
    (outside := tmp_path / "outside").write_bytes(A.content)
    part = begun.part(A)
    part.symlink_to(outside)
    with pytest.raises(StorageError):
        begun.registry.register(A.verified, part)
    part.unlink()
    part.hardlink_to(outside)
    with pytest.raises(StorageError, match="another name elsewhere"):
        begun.registry.register(A.verified, part)
    assert begun.registry.registered == 0


def test_a_folder_that_has_become_a_link_is_not_followed(begun: Desk, directory: Path, tmp_path: Path) -> None:
    part = begun.fetch(A)
    (directory / "movies" / "data").rename(tmp_path / "moved")
    (directory / "movies" / "data").symlink_to(tmp_path / "moved")
    with pytest.raises(StorageError, match="movies/data is a symbolic link"):
        begun.registry.register(A.verified, part)
    assert not (tmp_path / "moved" / "Movies" / "a.mrc").exists()


# ---------------------------------------------------------------------------------------------------------------------
# Outputs and disks that refuse
# ---------------------------------------------------------------------------------------------------------------------


class Moody(Lines):
    """An output that refuses when it is told to."""

    def __init__(self, directory: Path, name: str = "lines") -> None:
        super().__init__(directory, name)
        self.refuses: set[str] = set()
        self.opened = 0

    def open(self, facts: SetFacts, movies: Sequence[Movie]) -> None:
        self._refuse("open")
        self.opened += 1
        super().open(facts, movies)

    def append(self, movie: Movie) -> None:
        self._refuse("append")
        super().append(movie)

    def show(self) -> None:
        """Nothing is held back."""

    def close(self, outcome: str) -> None:
        self._refuse("close")
        super().close(outcome)

    def _refuse(self, what: str) -> None:
        if what in self.refuses:
            raise StorageError(f"{self.name} refuses to {what}")


@pytest.fixture
def moody(directory: Path) -> Iterator[tuple[Desk, Moody, Moody]]:
    made: list[Moody] = []

    def outputs(path: Path) -> Sequence[Output]:
        made.extend((Moody(path), Moody(path, "more")))
        return made

    with desk(directory, outputs) as opened:
        opened.registry.begin(FACTS)
        yield opened, made[0], made[1]


MoodyDesk = tuple[Desk, Moody, Moody]


def test_an_output_that_refuses_is_said_the_others_are_told_and_it_is_made_whole_before_the_next(
    moody: MoodyDesk,
) -> None:
    opened, first, second = moody
    first.refuses = {"append"}
    with pytest.raises(StorageError, match=r"^lines refuses to append$"):
        opened.register(A)
    assert (opened.registry.registered, len(lines(first.path)), len(lines(second.path))) == (1, 1, 2)
    first.refuses = {"append", "open"}
    with pytest.raises(StorageError, match=r"^lines refuses to open$"):
        opened.register(B)
    assert opened.registry.registered == 1, "nothing is registered behind what an output lacks"
    first.refuses = set()
    opened.register(B)
    assert lines(first.path) == lines(second.path) == [FACTS.title, *map(str, opened.journal.movies())]
    assert (first.opened, second.opened) == (2, 1)


def test_closing_makes_an_output_whole_first(moody: MoodyDesk) -> None:
    opened, first, _ = moody
    first.refuses = {"append"}
    with pytest.raises(StorageError):
        opened.register(A)
    opened.registry.close("failed")
    assert lines(first.path) == [FACTS.title, str(opened.journal.movies()[0]), "failed"]
    assert (opened.journal.state, opened.journal.outcome) == ("closed", "failed")


def test_every_output_is_closed_though_others_refuse_and_closing_may_be_repeated(moody: MoodyDesk) -> None:
    opened, first, second = moody
    opened.register(A)
    first.refuses = {"close"}
    with pytest.raises(StorageError, match=r"^lines refuses to close$"):
        opened.registry.close("done")
    assert lines(second.path)[-1] == "done"
    assert opened.journal.state == "open"
    second.refuses = {"close"}
    with pytest.raises(StorageError, match=r"^lines refuses to close; more refuses to close$"):
        opened.registry.close("done")
    first.refuses = second.refuses = set()
    opened.registry.close("failed")
    opened.registry.close("failed")
    said = [FACTS.title, str(opened.journal.movies()[0]), "failed"]
    assert lines(first.path) == lines(second.path) == said, "the last outcome, and only that"
    assert opened.journal.outcome == "failed"


def test_an_output_that_a_bug_has_broken_is_made_whole_when_the_sets_are_closed(
    moody: MoodyDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, first, second = moody
    with monkeypatch.context() as patch:
        patch.setattr(first, "append", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            opened.register(A)
    opened.registry.close("failed")
    assert len(lines(first.path)) == len(lines(second.path)) == 3


def test_a_movie_that_could_not_get_its_name_is_told_of_when_it_has_it(
    moody: MoodyDesk, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, first, _ = moody
    opened.register(A)
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", lambda *_, **__: (_ for _ in ()).throw(OSError(errno.EIO, "")))
        for sent in (B, C):
            with pytest.raises(StorageError, match="Input/output error"):
                opened.register(sent)
        assert opened.registry.registered == 2, "the second is, the third is not"
        with pytest.raises(StorageError, match="Input/output error"):
            opened.registry.close("failed")
    assert [line for line in lines(first.path) if "Movie(" in line] == [str(opened.journal.movies()[0])]
    assert lines(first.path)[-1] == "failed"
    opened.registry.close("failed")
    assert (directory / "movies" / B.path).read_bytes() == B.content
    assert [line for line in lines(first.path) if "Movie(" in line] == [str(each) for each in opened.journal.movies()]
    assert lines(first.path)[-1] == "failed"


def test_a_name_that_may_not_be_on_the_disk_yet_is_seen_to_before_anything_else(
    moody: MoodyDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, first, _ = moody
    part = opened.fetch(A)
    real, calls = os.fsync, list[int]()

    def second_fails(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 2:
            raise OSError(errno.EIO, "")
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", second_fails)
        with pytest.raises(StorageError):
            opened.registry.register(A.verified, part)
        opened.part(B)
        calls[2:] = []
        opened.register(B)
        assert len(calls) == 2 + 3, "the folder of the first, the bytes and the folder of the second"
    assert [line for line in lines(first.path) if "Movie(" in line] == [str(each) for each in opened.journal.movies()]


# ---------------------------------------------------------------------------------------------------------------------
# Closed
# ---------------------------------------------------------------------------------------------------------------------


def test_a_thread_that_nobody_waits_for_any_more_comes_too_late(begun: Desk, directory: Path) -> None:
    part, wrong, gain = begun.fetch(A), begun.fetch(WRONG), begun.fetch(GAIN)
    begun.registry.close("aborted")
    before = picture(directory)
    with pytest.raises(StreamClosed, match=r"the stream is closed: data/Movies/a.mrc is not registered any more"):
        begun.registry.register(A.verified, part)
    with pytest.raises(StreamClosed):
        begun.registry.register(GAIN.verified, gain)
    with pytest.raises(StreamClosed):
        begun.registry.reject(WRONG.path, wrong, "wrong", 96, None)
    with pytest.raises(StreamClosed):
        begun.registry.restore(A.path, part, None, 96)
    with pytest.raises(StreamClosed):
        begun.registry.begin(FACTS)
    assert picture(directory) == before


def test_a_thread_that_comes_after_everything_is_closed_touches_nothing(directory: Path) -> None:
    with desk(directory, two_files_of_lines) as opened:
        opened.registry.begin(FACTS)
        part = opened.fetch(A)
    with pytest.raises(StorageError):
        opened.registry.register(A.verified, part)
    assert part.exists()


def test_a_run_that_fails_before_it_begins_closes_what_a_killed_one_left_open(directory: Path) -> None:
    with desk(directory, two_files_of_lines) as opened:
        opened.registry.begin(FACTS)
        movie = opened.register(A)
    with desk(directory, two_files_of_lines) as opened:
        assert opened.journal.state == "open"
        opened.registry.close("failed")
    assert lines(directory / "more.txt") == [FACTS.title, str(movie), "failed"]


def test_a_run_that_fails_before_it_begins_leaves_alone_what_is_closed(directory: Path) -> None:
    stream(directory)
    before = picture(directory)
    with desk(directory, two_files_of_lines) as opened:
        opened.registry.close("failed")
    assert picture(directory) == before


def test_a_stream_that_fails_before_there_are_sets_makes_none(directory: Path) -> None:
    with desk(directory, two_files_of_lines) as opened:
        opened.registry.close("failed")
        assert (opened.journal.state, opened.journal.outcome) == ("closed", "failed")
        opened.registry.close("aborted")
        assert opened.journal.outcome == "aborted"
    assert list(picture(directory)) == ["journal.sqlite"]


# ---------------------------------------------------------------------------------------------------------------------
# A full disk
# ---------------------------------------------------------------------------------------------------------------------


def test_a_disk_that_fills_up_is_said_and_with_more_space_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = [Sent(f"data/{index}.mrc") for index in range(40)]
    done: list[str] = []

    def go_on() -> None:
        with desk(tmp_path / "disk" / "out", two_files_of_lines) as opened:
            opened.registry.begin(FACTS)
            for each in sent:
                if not opened.journal.is_known(each.path):
                    opened.register(each)
                    done.append(each.path)
            opened.registry.close("done")

    with mounted(tmp_path / "disk", "size=128k") as here:
        with monkeypatch.context() as patch:
            if not here:
                patch.setattr(Lines, "append", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "")))
            for _ in range(2):  # trying again on a full disk does no harm
                with pytest.raises((StorageError, OSError), match=r"No space left|refuse"):
                    go_on()
        if here:
            remount(tmp_path / "disk", "size=4m")
        go_on()
        with contextlib.closing(sqlite3.connect(tmp_path / "disk" / "out" / "journal.sqlite")) as connection:
            rows = connection.execute("SELECT number, path FROM movies ORDER BY number").fetchall()
        assert rows == [(number, each.path) for number, each in enumerate(sent, 1)]
        told = lines(tmp_path / "disk" / "out" / "lines.txt")
        assert len(told) == 42
        assert [line.split("path='")[1].split("'")[0] for line in told[1:-1]] == [each.path for each in sent]


def test_kinds_that_are_not_kept_have_no_place(begun: Desk) -> None:
    for kind in (Kind.ARCHIVE, Kind.OTHER):
        with pytest.raises(ValueError, match=kind.value):
            begun.workspace.place(kind, "data/a.tar")
