"""kill -9 at random moments, a resume each time: in the end everything is as if nothing had happened."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

from fsmcollect.sim.archive import Archive
from tests.stream.rehearsing import check, in_lines, in_star, journalled

#: A stream of these takes about two seconds, half of them until the first byte.
MOVIES: dict[str, Any] = {"movies": 12, "width_px": 512, "height_px": 256, "frames": 4}
BYTES_PER_S = 6e6
#: So many kills strike behind the first byte; the others while the command starts, describes and lists.
LATE = 0.8


@attrs.frozen
class Served:
    archive: Archive
    urls: tuple[str, ...]


@contextmanager
def served() -> Generator[Served]:
    """The pretend archive as a process of its own, on loopback."""
    code = (
        "import trio\n"
        "from fsmcollect.sim.archive import Archive\n"
        "async def main():\n"
        f"    archive = Archive(bandwidth_bytes_per_s={BYTES_PER_S}, latency_s=0.01, **{MOVIES!r})\n"
        "    async with trio.open_nursery() as nursery:\n"
        "        print(await nursery.start(archive.listen), flush=True)\n"
        "trio.run(main)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        root = f"http://127.0.0.1:{port}/empiar"
        urls = ("--api-url", f"{root}/api/entry/", "--data-url", f"{root}/world_availability/")
        yield Served(Archive(**MOVIES), urls)
    finally:
        process.terminate()
        process.wait(10)
        assert process.stdout is not None
        process.stdout.close()


def command(directory: Path, urls: tuple[str, ...], jobs: int) -> list[str]:
    started = [sys.executable, "-m", "fsmcollect", "stream", "--json"]
    if (directory / "journal.sqlite").exists():
        return [*started, "--resume", str(directory)]
    return [*started, "10200", "--out", str(directory), "--jobs", str(jobs), *urls]


def finish(directory: Path, urls: tuple[str, ...], jobs: int) -> None:
    done = subprocess.run(command(directory, urls, jobs), capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr


@attrs.frozen
class Moments:
    """When an undisturbed run began to fetch, and when it was over."""

    first_byte_s: float
    end_s: float

    def draw(self, chance: random.Random) -> float:
        if chance.random() < LATE:
            return chance.uniform(self.first_byte_s, self.end_s)
        return chance.uniform(0.0, self.first_byte_s)


def finish_by_the_clock(directory: Path, urls: tuple[str, ...], jobs: int) -> Moments:
    """As `finish`; the journal appears just before the first byte is asked for."""
    began = time.perf_counter()
    process = subprocess.Popen(
        command(directory, urls, jobs), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    while process.poll() is None and not (directory / "journal.sqlite").exists():
        time.sleep(0.002)
    first_byte_s = time.perf_counter() - began
    _, said = process.communicate(timeout=120)
    assert (process.returncode, said) == (0, ""), said
    return Moments(first_byte_s, time.perf_counter() - began)


def registered(directory: Path) -> int:
    """Movies in the journal that a killed stream has left; in a copy, so that the resume has it as it was left."""
    if not (directory / "journal.sqlite").exists():
        return 0
    with tempfile.TemporaryDirectory() as copy:
        for file in directory.glob("journal.sqlite*"):
            shutil.copy(file, copy)
        return len(journalled(Path(copy)))


def killed(directory: Path, urls: tuple[str, ...], jobs: int, after_s: float) -> bool:
    """Whether it was killed before it ended by itself."""
    process = subprocess.Popen(
        command(directory, urls, jobs), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        process.wait(after_s)
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGKILL)
    _, said = process.communicate(timeout=60)
    assert process.returncode in (0, -signal.SIGKILL), said
    return process.returncode != 0


def in_scipion(directory: Path) -> list[str]:
    """Everything in the Scipion file but when a row was made, with the directory left out."""
    with sqlite3.connect(directory / "movies.sqlite") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        names = [row[1] for row in database.execute("PRAGMA table_info(Objects)") if row[1] != "creation"]
        rows = list(database.execute(f"SELECT {', '.join(names)} FROM Objects ORDER BY id"))
        rows += list(database.execute("SELECT * FROM Classes ORDER BY id"))
        rows += list(database.execute("SELECT key, value FROM Properties ORDER BY key"))
    return [repr(row).replace(str(directory), "DIR") for row in rows]


def the_same(directory: Path, undisturbed: Path, *, in_order: bool) -> None:
    """Equal outputs, byte for byte where movies were registered in the same order."""
    leftovers = [path for path in directory.rglob(".*") if path.name != ".fsmcollect.lock"]
    assert leftovers == []
    if in_order:
        for name in ("movies.star", "movies.jsonl", "SHA256SUMS"):
            assert (directory / name).read_bytes() == (undisturbed / name).read_bytes(), name
        assert in_scipion(directory) == in_scipion(undisturbed)
        assert journalled(directory) == journalled(undisturbed)
        return
    assert sorted(journalled(directory)) == sorted(journalled(undisturbed))
    assert sorted(in_star(directory)) == sorted(in_star(undisturbed))
    lines, other = ([{**line, "movie": 0} for line in in_lines(d)[0]] for d in (directory, undisturbed))
    assert sorted(lines, key=str) == sorted(other, key=str)
    sums, expected = ((d / "SHA256SUMS").read_text().splitlines() for d in (directory, undisturbed))
    assert sorted(sums) == sorted(expected)


def prove(tmp_path: Path, *, kills: int, jobs: int, seed: int) -> list[int]:
    """How many movies the journal had at each kill."""
    chance = random.Random(seed)
    found: list[int] = []
    with served() as there:
        undisturbed = tmp_path / "undisturbed" / "out"
        moments = finish_by_the_clock(undisturbed, there.urls, jobs)
        directory, number = tmp_path / "0" / "out", 0
        while len(found) < kills:
            if killed(directory, there.urls, jobs, moments.draw(chance)):
                found.append(registered(directory))
                continue
            check(directory, there.archive)
            the_same(directory, undisturbed, in_order=jobs == 1)
            number += 1
            directory = tmp_path / str(number) / "out"
        finish(directory, there.urls, jobs)
        check(directory, there.archive)
        the_same(directory, undisturbed, in_order=jobs == 1)
    return found


@pytest.mark.parametrize("jobs", [1, 4])
def test_a_few_kills_lose_nothing(tmp_path: Path, jobs: int) -> None:
    prove(tmp_path, kills=4, jobs=jobs, seed=7)


@pytest.mark.long
@pytest.mark.parametrize("jobs", [1, 4])
def test_200_kills_at_random_moments_leave_what_an_undisturbed_run_leaves(tmp_path: Path, jobs: int) -> None:
    found = prove(tmp_path, kills=100, jobs=jobs, seed=jobs)
    in_the_middle = sum(0 < movies < MOVIES["movies"] for movies in found)
    assert in_the_middle >= 0.4 * len(found), f"movies in the journal at each kill: {found}"
