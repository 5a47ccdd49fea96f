"""What a person sees of a stream while it goes on: counts, speeds and sentences from events alone; bars that fit."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import pytest

from fsmcollect.console.amounts import duration, plain, shortened
from fsmcollect.console.tally import SPEED_OF_S, Tally, sentence
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
)
from fsmcollect.stream.stopping import size_in_words
from tests.cli.commanding import ROOT
from tests.cli.test_terminal import CONTROL, lines_of

PATH = "data/Movies/a.mrc"


def told(*events: Event) -> Tally:
    tally = Tally()
    for event in events:
        tally.note(event)
    return tally


def at(kind: type[Event], t_s: float = 0.0, **fields: Any) -> Event:
    return kind(t_us=round(t_s * 1e6), **fields)


def listed(movies: int = 10, **more: Any) -> Event:
    return at(FilesListed, movies=movies, gains=1, about_bytes=movies * 100, **more)


def arrived(t_s: float, here: int, of: int = 100, path: str = PATH, **more: Any) -> Event:
    return at(BytesArrived, t_s, path=path, bytes=here, of_bytes=of, **more)


def fetching(path: str = PATH, t_s: float = 0.0) -> Event:
    return at(FileMoved, t_s, path=path, source="QUEUED", event="START", dest="FETCHING")


# ---------------------------------------------------------------------------------------------------------------------
# Amounts
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_bytes", "words"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (52_428_800, "52.4 MB"),
        (999_949_999, "999.9 MB"),
        (999_950_000, "1.0 GB"),
        (12e18, "12,000,000.0 TB"),
    ],
)
def test_bytes_are_told_as_the_archive_tells_them(n_bytes: float, words: str) -> None:
    assert size_in_words(n_bytes) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.9, "60 s"),
        (59.96, "1 min"),
        (200, "3 min 20 s"),
        (3600, "1 h"),
        (18_600, "5 h 10 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_times_have_their_two_largest_units(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize("width", range(12))
def test_a_path_is_shortened_in_front_and_never_too_long(width: int) -> None:
    short = shortened("data/a.mrc", width)
    assert len(short) == min(width, len("data/a.mrc"))
    assert "data/a.mrc".endswith(short.removeprefix("..."))


def test_nothing_that_an_archive_writes_is_obeyed_by_a_terminal() -> None:
    assert plain("a\x1b[31m\tb\n\x9bc\udc80 é 結") == "a?[31m b ?c? é 結"


# ---------------------------------------------------------------------------------------------------------------------
# Counts and speeds
# ---------------------------------------------------------------------------------------------------------------------


def test_how_far_it_is_counts_parts_of_files() -> None:
    assert told().fraction is None
    tally = told(listed(), fetching(), arrived(1, 50))
    assert (tally.fraction, tally.wanted, tally.bytes_here) == (0.05, 10, 50)
    tally.note(at(MovieRegistered, movie=1, path=PATH, bytes=100))
    assert (tally.fraction, tally.registered, tally.bytes_here, tally.under_way) == (0.1, 1, 100, {})


def test_the_criterion_that_ends_it_first_counts() -> None:
    registered = at(MovieRegistered, movie=1, path=PATH, bytes=100)
    assert told(listed(limit_movies=2), registered).fraction == 0.5
    assert told(listed(limit_movies=20), registered).wanted == 10
    assert told(listed(limit_movies=4, limit_bytes=200), registered).fraction == 0.5
    assert told(listed(limit_bytes=50), registered).fraction == 1.0
    assert told(listed(movies=0)).fraction == 1.0


def test_a_resumed_stream_begins_where_it_was() -> None:
    tally = told(listed(registered=3, rejected=2, registered_bytes=300))
    assert (tally.fraction, tally.registered, tally.rejected, tally.bytes_here) == (0.5, 3, 2, 300)
    tally.note(at(MovieRegistered, movie=4, path=PATH, bytes=100))
    assert (tally.fraction, tally.registered, tally.rejected) == (0.6, 4, 2)
    tally.note(at(FileRejected, path=PATH, reason="no"))
    assert (tally.fraction, tally.registered, tally.rejected) == (0.7, 4, 3)


def test_what_was_rejected_before_is_not_counted_against_a_limit() -> None:
    assert told(listed(registered=1, rejected=3, limit_movies=5)).fraction == 0.4
    assert told(listed(registered=3, rejected=1, limit_movies=5)).fraction == 0.6


def test_every_end_of_a_file_takes_it_off_the_display() -> None:
    for end in (
        at(FileRejected, path=PATH, reason="no"),
        at(FileGivenUp, path=PATH, reason="no"),
        at(GainArrived, path=PATH, bytes=1),
        at(FileMoved, path=PATH, source="FETCHING", event="CANCELLED", dest="INTERRUPTED"),
        at(StreamEnded, outcome="failed", registered=0, rejected=0, bytes=0),
    ):
        assert told(listed(), fetching(), end).under_way == {}


def test_what_happens_to_a_file_is_told() -> None:
    tally = told(fetching())
    assert tally.under_way[PATH].doing == "fetching"
    tally.note(at(FileMoved, path=PATH, source="FETCHING", event="FETCH_FAILED", dest="BACKING_OFF"))
    assert tally.under_way[PATH].doing == "backing off"


def test_the_speed_is_that_of_the_last_seconds() -> None:
    tally = told(listed(), fetching())
    assert tally.bytes_per_s(0) == 0
    for second in range(1, 31):
        tally.note(arrived(second, second * (10 if second <= 10 else 1) + (0 if second <= 10 else 90), of=1000))
    assert tally.bytes_per_s(30) == pytest.approx(1, rel=0.01)
    assert tally.remaining_s(30) == pytest.approx(1000 - 120, rel=0.01)


def test_a_stall_shows() -> None:
    tally = told(listed(), fetching(), arrived(1, 50))
    assert tally.bytes_per_s(1) == 50
    assert tally.bytes_per_s(5) == 10
    assert tally.bytes_per_s(2 * SPEED_OF_S) == 0
    assert tally.remaining_s(2 * SPEED_OF_S) is None


def test_bytes_that_were_there_do_not_make_it_fast() -> None:
    """Neither those of an earlier run nor a beginning afresh count as fetched now."""
    assert told(fetching(), arrived(1, 80, kept_bytes=70)).bytes_per_s(1) == 10
    assert told(fetching(), arrived(1, 80), arrived(2, 20)).bytes_per_s(2) == 50


def test_what_is_left_is_reckoned_from_the_limits() -> None:
    flowing = (fetching(), arrived(1, 50))
    assert told(listed(), *flowing).remaining_s(1) == pytest.approx(19)
    assert told(listed(limit_movies=2), *flowing).remaining_s(1) == pytest.approx(3)
    assert told(listed(limit_bytes=100), *flowing).remaining_s(1) == pytest.approx(1)


def test_the_state_is_that_of_the_stream_and_at_last_its_outcome() -> None:
    moved = at(Moved, machine="stream", source="IDLE", event="START", dest="DESCRIBING")
    other = at(Moved, machine="transfer", source="QUEUED", event="START", dest="FETCHING")
    assert told(moved, other).state == "describing"
    ended = told(moved, at(StreamEnded, outcome="aborted", registered=0, rejected=0, bytes=0))
    assert (ended.state, ended.is_over) == ("aborted", True)


def test_the_sentences() -> None:
    tally = told(listed(limit_movies=5))
    said = {
        "3 movies, about 300 bytes, and 1 gain reference or defect map": listed(3),
        "5 movies, about 500 bytes, and 1 gain reference or defect map; already 3 registered and 2 rejected": (
            listed(5, registered=3, rejected=2)
        ),
        "2 movies, about 200 bytes, and 1 gain reference or defect map; already 1 rejected": listed(2, rejected=1),
        "EMPIAR-1: a ?title": at(EntryDescribed, entry="EMPIAR-1", title="a \x1btitle"),
        "holding (hold)": at(Moved, machine="stream", source="STREAMING", event="HOLD", dest="HOLDING"),
        f"movie 2 of 5: {PATH}, 5.0 MB": at(MovieRegistered, movie=2, path=PATH, bytes=5_000_000),
        f"movie 7: {PATH}, 5.0 MB": at(MovieRegistered, movie=7, path=PATH, bytes=5_000_000),
        f"gain: {PATH}, 100 bytes": at(GainArrived, path=PATH, bytes=100),
        f"{PATH}: reset; again in 2.0 s": at(FileRetried, path=PATH, reason="reset", wait_s=2.0),
        f"rejected: {PATH}: wrong": at(FileRejected, path=PATH, reason="wrong"),
        f"given up: {PATH}: gone": at(FileGivenUp, path=PATH, reason="gone"),
        "note: hello": at(Noticed, message="hello"),
    }
    assert [sentence(event, tally) for event in said.values()] == list(said)
    assert sentence(arrived(0, 1), tally) is None
    assert sentence(at(Moved, machine="stream", source="CLOSING", event="STOP", dest="CLOSING"), tally) is None


# ---------------------------------------------------------------------------------------------------------------------
# On a terminal, and elsewhere
# ---------------------------------------------------------------------------------------------------------------------

#: A program that shows a made-up stream of 12 movies, 3 at once; at `pause` it waits until a file appears.
SHOW = """
import sys, time
from pathlib import Path
from fsmcollect import events as e
from fsmcollect.console.following import following

jobs, pause = int(sys.argv[1]), Path(sys.argv[2])
with following(jobs) as tell:
    now_us = 0
    def say(kind, **fields):
        global now_us
        now_us += 10_000
        tell(kind(t_us=now_us, **fields))
    say(e.Moved, machine="stream", source="IDLE", event="START", dest="DESCRIBING")
    say(e.EntryDescribed, entry="EMPIAR-10200", title="Synthetic")
    say(e.FilesListed, movies=12, gains=0, about_bytes=12 * 50_000_000)
    say(e.Moved, machine="stream", source="LISTING", event="LISTED", dest="STREAMING")
    for first in range(0, 12, 3):
        paths = [f"data/Movies/a folder with quite a long name/grid_{n:05d}.mrc" for n in range(first, first + 3)]
        for path in paths:
            say(e.FileMoved, path=path, source="QUEUED", event="START", dest="FETCHING")
            say(e.BytesArrived, path=path, bytes=20_000_000, of_bytes=50_000_000)
        if first == 6:
            say(e.FileRetried, path=paths[0], reason="the server fell silent", wait_s=1.5)
            say(e.FileRejected, path="data/x.mrc", reason="it is no movie")
            say(e.Noticed, message="the count disagrees")
            while not pause.exists():
                time.sleep(0.01)
        for n, path in enumerate(paths, first + 1):
            say(e.MovieRegistered, movie=n, path=path, bytes=50_000_000)
    say(e.StreamEnded, outcome="done", registered=12, rejected=1, bytes=600_000_000)
print("after")
"""


class Terminal:
    """A terminal with a program on it."""

    def __init__(self, *arguments: str | Path, columns: int, lines: int = 24, **environment: str) -> None:
        self.master, slave = pty.openpty()
        self.resize(columns, lines)
        inherited = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "COLUMNS", "LINES")}
        self.process = subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            cwd=ROOT,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**inherited, "TERM": "xterm-256color", **environment},
        )
        os.close(slave)
        self.sent = bytearray()

    def resize(self, columns: int, lines: int = 24) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def press_ctrl_c(self) -> None:
        """The terminal shows it; the signal comes from here, for it is not the terminal of a session."""
        os.write(self.master, b"\x03")
        self.process.send_signal(signal.SIGINT)

    def until(self, pattern: str) -> None:
        patience = time.monotonic() + 60
        while not re.search(pattern, CONTROL.sub("", self.sent.decode(errors="replace"))):
            assert time.monotonic() < patience, self.sent
            self.sent += os.read(self.master, 65536)

    def ended(self, code: int = 0) -> str:
        try:
            while chunk := os.read(self.master, 65536):
                self.sent += chunk
        except OSError:  # Linux says so when the other end is closed
            pass
        finally:
            os.close(self.master)
        assert self.process.wait(60) == code, self.sent
        return self.sent.decode()


@pytest.fixture
def show(tmp_path: Path) -> Path:
    path = tmp_path / "show.py"
    path.write_text(SHOW, encoding="utf-8")
    return path


def bars(sent: str) -> list[str]:
    return [line for line in lines_of(sent) if re.search("[━╸╺]", line)]


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_the_bars_fit_and_end_with_the_outcome(show: Path, tmp_path: Path, columns: int) -> None:
    terminal = Terminal(show, "3", tmp_path / "go", columns=columns)
    terminal.until("grid_00008.mrc")
    (tmp_path / "go").touch()
    sent = terminal.ended()
    shown = bars(sent)
    assert max(map(len, shown)) <= columns - 3, "^C must fit behind it"
    assert any(line.startswith("streaming ") and "6/12 movies" in line for line in shown)
    assert any(re.search(r"^  \.*\S*.*grid_00007\.mrc +[━╸╺]+ +40%", line) for line in shown)
    assert shown[-1].startswith("done ")
    assert "12/12 movies" in shown[-1]
    assert sum("of 50.0 MB" in line for line in shown) > 0 if columns >= 80 else True
    assert lines_of(sent)[-3:] == ["12 registered, 1 rejected, 1 retry", "after", ""]
    assert sent.count("\x1b[?25l") == sent.count("\x1b[?25h") == 1, "the cursor is there again"


def test_what_a_person_should_know_stands_above_the_bars_once(show: Path, tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    lines = lines_of(Terminal(show, "3", tmp_path / "go", columns=120).ended())
    for said in ("EMPIAR-10200: Synthetic", "rejected: data/x.mrc: it is no movie", "note: the count disagrees"):
        assert lines.count(said) == 1
    assert sum(line.endswith("fell silent; again in 1.5 s") for line in lines) == 1


def test_there_are_no_more_bars_than_jobs_and_than_lines(show: Path, tmp_path: Path) -> None:
    for jobs, lines, most in ((2, 24, 2), (3, 4, 1), (3, 2, 0)):
        go = tmp_path / f"go{jobs}{lines}"
        terminal = Terminal(show, str(jobs), go, columns=80, lines=lines)
        terminal.until("6 registered")
        go.touch()
        sent = terminal.ended()
        frames = re.split(r"^streaming .*$", "\n".join(lines_of(sent)), flags=re.MULTILINE)
        assert max(len(bars(frame)) for frame in frames[:-1]) <= most


def test_a_terminal_that_becomes_narrower_is_followed(show: Path, tmp_path: Path) -> None:
    terminal = Terminal(show, "3", tmp_path / "go", columns=120)
    terminal.until("grid_00008.mrc")
    terminal.resize(50)
    before = len(terminal.sent)
    time_is_up = time.monotonic() + 1
    while time.monotonic() < time_is_up:
        terminal.sent += os.read(terminal.master, 65536)
    (tmp_path / "go").touch()
    after = terminal.ended().encode()[before:].decode(errors="replace")
    assert max(map(len, bars(after)[4:])) <= 47


def test_a_very_narrow_terminal_has_no_bars(show: Path, tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    sent = Terminal(show, "3", tmp_path / "go", columns=20).ended()
    assert bars(sent) == []
    assert lines_of(sent)[-3:-1] == ["done 12/12 movies", "after"]


def test_a_terminal_that_stands_still_delays_nobody(show: Path, tmp_path: Path) -> None:
    """As after Ctrl-S: the run's side returns at once, whatever becomes of what is shown."""
    code = SHOW.replace("    say(e.StreamEnded", f"    Path({str(tmp_path / 'took')!r}).touch()\n    say(e.StreamEnded")
    show.write_text(code, encoding="utf-8")
    terminal = Terminal(show, "3", tmp_path / "go", columns=80)
    terminal.until("6 registered")
    os.write(terminal.master, b"\x13")
    (tmp_path / "go").touch()
    patience = time.monotonic() + 30
    while not (tmp_path / "took").exists():
        assert time.monotonic() < patience
        time.sleep(0.01)
    os.write(terminal.master, b"\x11")
    assert bars(terminal.ended())[-1].startswith("done ")


@pytest.mark.parametrize("kind", ["pipe", "dumb"])
def test_elsewhere_there_are_lines(show: Path, tmp_path: Path, kind: str) -> None:
    (tmp_path / "go").touch()
    if kind == "dumb":
        sent = Terminal(show, "3", tmp_path / "go", columns=80, TERM="dumb").ended()
    else:
        sent = subprocess.run(
            [sys.executable, show, "3", tmp_path / "go"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stderr
    assert "\x1b" not in sent
    lines = [line for line in sent.splitlines() if " s  " in line]
    assert lines[0] == "       0.010 s  describing (start)"
    assert sum("  movie " in line for line in lines) == 12
    assert lines[-1].endswith("  movie 12 of 12: data/Movies/a folder with quite a long name/grid_00011.mrc, 50.0 MB")
