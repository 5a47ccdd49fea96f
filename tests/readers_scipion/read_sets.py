"""The real pwem reads our sets of movies while they grow and after closing: ``make test-scipion``.

Runs in a virtual environment of its own that has scipion-em (it pins an old NumPy, and is GPL: nothing of ours imports
it). The sets are written by `write_set.py`, with the Python that is given as the only argument.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import select
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pwem.objects
from pyworkflow.utils.retry_streaming import safeIsStreamOpen

ROOT = Path(__file__).parents[2]
WRITER = ROOT / "tests/readers_scipion/write_set.py"
#: Whatever hangs ends then.
PATIENCE_S = 120.0


class Writer:
    """The other process; every wait for it is limited."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def ask(self, command: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def has_answered(self, within_s: float) -> bool:
        assert self.process.stdout is not None
        return bool(select.select([self.process.stdout.fileno()], [], [], within_s)[0])

    def answer(self) -> int:
        assert self.process.stdout is not None
        assert self.has_answered(PATIENCE_S), "the writer does not answer"
        return int(self.process.stdout.readline())

    def do(self, command: str) -> int:
        self.ask(command)
        return self.answer()


@contextlib.contextmanager
def writing(directory: Path, *arguments: str) -> Iterator[Writer]:
    command = [sys.argv[1], str(WRITER), str(directory), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            yield Writer(process)
        finally:
            process.kill()


@contextlib.contextmanager
def loaded(directory: Path) -> Iterator[Any]:
    """As Scipion's protocols do it: open, all properties, read, close."""
    movies = pwem.objects.SetOfMovies(filename=str(directory / "movies.sqlite"))
    try:
        movies.loadAllProperties()
        yield movies
    finally:
        movies.close()


def ids(movies: Any) -> list[int]:
    return [movie.getObjId() for movie in movies]


def a_set_without_movies_can_be_read_and_is_open(directory: Path) -> None:
    with writing(directory) as writer:
        writer.do("open 0")
        with loaded(directory) as movies:
            assert (len(movies), ids(movies), movies.getFirstItem()) == (0, [], None)
            assert movies.isStreamOpen()
            assert safeIsStreamOpen(movies)
            assert "open set" in str(movies)
        writer.do("close")
        with loaded(directory) as movies:
            assert movies.isStreamClosed()
            assert not safeIsStreamOpen(movies)


def every_movie_is_seen_as_soon_as_it_is_appended(directory: Path) -> None:
    with writing(directory) as writer:
        writer.do("open 0")
        for number in range(1, 6):
            before = dt.datetime.now() - dt.timedelta(seconds=0.05)  # noqa: DTZ005 - as pyworkflow compares
            assert writer.do("append 1") == number
            with loaded(directory) as movies:
                assert movies.hasChangedSince(before)
                assert (len(movies), ids(movies)) == (number, list(range(1, number + 1)))
                assert movies.isStreamOpen()


def what_it_says_of_the_movies_is_what_we_know(directory: Path) -> None:
    with writing(directory) as writer:
        writer.do("open 1")
        writer.do("append 2")
        writer.do("close")
    with loaded(directory) as movies:
        assert movies.isStreamClosed()
        assert movies.getSamplingRate() == 1.06
        assert movies.getGain() == f"{directory}/gain/data/Movies/CountRef.mrc"
        assert movies.getDark() is None
        assert tuple(movies.getDim()) == (24, 16, 5)
        assert list(movies.getFramesRange()) == [1, 5, 1]
        acquisition = movies.getAcquisition()
        assert (acquisition.getVoltage(), acquisition.getSphericalAberration()) == (300.0, 2.7)
        assert (acquisition.getAmplitudeContrast(), acquisition.getDosePerFrame()) == (0.1, 1.25)
        assert acquisition.getMagnification() is None
        for number, movie in enumerate(movies, start=1):
            assert movie.getFileName() == f"{directory}/movies/data/Movies/{number:03}.mrc"
            assert movie.getMicName() == f"{number:03}.mrc"
            assert movie.getNumberOfFrames() == 5
            # From the file itself, by Scipion's own reader of images.
            assert tuple(movie.getDim()) == (24, 16, 5)
            assert movie.getAcquisition().getVoltage() == 300.0
            assert movie.getObjCreation() == f"2026-11-21 03:00:0{number}"
            assert movie.isEnabled()


def what_nobody_has_stated_is_none(directory: Path) -> None:
    with writing(directory, "bare") as writer:
        writer.do("open 2")
        with loaded(directory) as movies:
            acquisition = movies.getAcquisition()
            assert (acquisition.getVoltage(), acquisition.getDosePerFrame(), acquisition.getDoseInitial()) == (
                None,
            ) * 3
            assert movies.getGain() is None
            assert len(str(movies)) > 10
            assert [movie.getAcquisition().getVoltage() for movie in movies] == [None, None]


def it_is_the_set_that_pwem_itself_writes(directory: Path) -> None:
    with writing(directory) as writer:
        writer.do("open 0")
        writer.do("append 3")
    theirs = directory / "theirs" / "movies.sqlite"
    theirs.parent.mkdir()
    written = pwem.objects.SetOfMovies(filename=str(theirs))
    acquisition = pwem.objects.Acquisition(
        voltage=300.0, sphericalAberration=2.7, amplitudeContrast=0.1, dosePerFrame=1.25
    )
    written.setAcquisition(acquisition)
    written.setSamplingRate(1.06)
    written.setGain(f"{directory}/gain/data/Movies/CountRef.mrc")
    written.setStreamState(written.STREAM_OPEN)
    for number in range(1, 4):
        movie = pwem.objects.Movie(location=f"{directory}/movies/data/Movies/{number:03}.mrc")
        movie.setMicName(f"{number:03}.mrc")
        movie.setSamplingRate(1.06)
        movie.setAcquisition(acquisition)
        movie.setFramesRange([1, 5, 1])
        written.append(movie)
        written.write()
    written.close()
    columns = ", ".join(["id", "enabled", "label", "comment", *(f"c{number:02}" for number in range(1, 14))])
    for query in (
        "SELECT * FROM Classes",
        f"SELECT {columns} FROM Objects",
        "SELECT * FROM Properties WHERE key != '_mapperPath'",
        "PRAGMA table_info(Objects)",
        "PRAGMA table_info(Classes)",
        "PRAGMA table_info(Properties)",
        "PRAGMA user_version",
        "PRAGMA journal_mode",
    ):
        read: list[list[tuple[object, ...]]] = []
        for path in (directory / "movies.sqlite", theirs):
            with contextlib.closing(sqlite3.connect(path)) as database:
                read.append(database.execute(query).fetchall())
        assert read[0] == read[1], query


def a_set_that_grows_as_fast_as_it_can_is_always_whole_and_open(directory: Path) -> None:
    count, looks = 0, 0
    with writing(directory) as writer:
        writer.do("open 0")
        writer.ask("append 2000")
        while not writer.has_answered(0):
            with loaded(directory) as movies:
                seen = ids(movies)
                assert seen == list(range(1, len(seen) + 1))
                assert count <= len(movies) <= len(seen)
                assert movies.isStreamOpen()
                assert safeIsStreamOpen(movies)
                count, looks = len(seen), looks + 1
        assert writer.answer() == 2000
        assert looks > 3, "the writer was too fast to be looked at"
        writer.do("close")
        with loaded(directory) as movies:
            assert (len(ids(movies)), movies.isStreamClosed(), safeIsStreamOpen(movies)) == (2000, True, False)
    sys.stdout.write(f"    looked {looks} times\n")


def a_set_that_is_opened_again_goes_on(directory: Path) -> None:
    with writing(directory) as writer:
        writer.do("open 2")
        writer.do("close")
    with writing(directory) as writer:
        writer.do("open 3")
        writer.do("append 1")
        with loaded(directory) as movies:
            assert (ids(movies), movies.isStreamOpen()) == ([1, 2, 3, 4], True)
        writer.do("close")
        with loaded(directory) as movies:
            assert (ids(movies), movies.isStreamClosed()) == ([1, 2, 3, 4], True)


TESTS: list[Callable[[Path], None]] = [
    a_set_without_movies_can_be_read_and_is_open,
    every_movie_is_seen_as_soon_as_it_is_appended,
    what_it_says_of_the_movies_is_what_we_know,
    what_nobody_has_stated_is_none,
    it_is_the_set_that_pwem_itself_writes,
    a_set_that_grows_as_fast_as_it_can_is_always_whole_and_open,
    a_set_that_is_opened_again_goes_on,
]


def main() -> None:
    begun_s = time.monotonic()
    for test in TESTS:
        with tempfile.TemporaryDirectory() as directory:
            test(Path(directory))
        sys.stdout.write(f"ok  {test.__name__.replace('_', ' ')}\n")
    sys.stdout.write(f"{len(TESTS)} passed in {time.monotonic() - begun_s:.1f} s\n")


if __name__ == "__main__":
    main()
