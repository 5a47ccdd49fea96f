"""The journal keeps what it was told, over kills and full disks, and says what is wrong with one it cannot read."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsmcollect.errors import InvalidRequest, StorageError
from fsmcollect.stream.keeping import journal as journal_module
from fsmcollect.stream.keeping import journal_file
from fsmcollect.stream.keeping.journal import Gain, Journal, SetAside
from fsmcollect.stream.keeping.journal_file import accession_in
from fsmcollect.stream.values import Header, Kind, Movie, Optics, Remote, SetFacts, Verified
from tests.stream.keeping.disks import mounted
from tests.stream.keeping.registering import FACTS, MOVIES, SENT, Sent

ROOT = Path(__file__).parents[2]
SETTINGS = {"until": {"count": 5}, "jobs": 4, "outputs": ["scipion"], "rate": None}
GAIN = SENT[0]
AT = "2026-11-21T12:00:00Z"
PATH = "data/Movies/a.mrc"
REMOTE = Remote(size_bytes=96, validator='"etag"')


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    with Journal.create(path, "10200", SETTINGS) as created:
        yield created


def add(journal: Journal, name: str) -> Movie:
    sent = Sent(f"data/{name}.mrc")
    return journal.add_movie(sent.verified, f"movies/{sent.path}", AT)


# ---------------------------------------------------------------------------------------------------------------------
# What it keeps
# ---------------------------------------------------------------------------------------------------------------------


def test_everything_that_was_told_is_there_when_it_is_opened_again(path: Path) -> None:
    aside = SetAside(
        path="data/b.mrc", part="movies/data/.b.mrc.part", file="rejected/b", reason="no", size_bytes=1, sha256=None
    )
    with Journal.create(path, "10200", SETTINGS) as journal:
        assert (journal.facts, journal.state, journal.outcome) == (None, "open", None)
        journal.add_gain(GAIN.verified, f"gain/{GAIN.path}", AT)
        journal.begin(FACTS)
        movies = [add(journal, name) for name in ("b", "a", "c")]
        journal.add_rejected(aside, AT)
        journal.note_part(PATH, REMOTE)
        journal.end("done")
    with Journal.open(path) as journal:
        assert (journal.accession, journal.settings, journal.facts) == ("10200", SETTINGS, FACTS)
        assert (journal.state, journal.outcome) == ("closed", "done")
        assert list(journal.movies()) == movies
        assert [movie.number for movie in movies] == [1, 2, 3]
        assert journal.movies_bytes() == 3 * 96
        gain = Gain(kind=Kind.GAIN, file=f"gain/{GAIN.path}", path=GAIN.path, size_bytes=96, sha256=GAIN.sha256)
        assert journal.gains() == [gain]
        assert journal.rejected() == [aside]
        assert journal.part(PATH) == REMOTE
        for known in ("data/a.mrc", "data/b.mrc", GAIN.path):
            assert journal.is_known(known)
        assert not journal.is_known(PATH)
        journal.begin(FACTS)
        assert (journal.state, journal.outcome) == ("open", None)
    assert [each.name for each in path.parent.iterdir()] == ["journal.sqlite"]


TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
NUMBER = st.integers(0, 2**62)


@given(
    st.builds(
        Verified,
        path=TEXT,
        kind=st.just(Kind.MOVIE),
        size_bytes=NUMBER,
        sha256=st.none() | TEXT,
        header=st.builds(Header, format=TEXT, width_px=NUMBER, height_px=NUMBER, frames=NUMBER, mode=TEXT),
        imageset=TEXT,
        pixel_size_a=st.none() | st.floats(allow_nan=False),
    ),
    st.builds(
        SetFacts,
        accession=TEXT,
        title=TEXT,
        pixel_size_a=st.none() | st.floats(allow_nan=False),
        optics=st.builds(Optics, voltage_kv=st.none() | st.floats(allow_nan=False)),
        gains=st.lists(TEXT).map(tuple),
    ),
)
def test_every_movie_and_every_set_comes_back_as_it_was(verified: Verified, facts: SetFacts) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "journal.sqlite"
        with Journal.create(path, facts.accession, {}) as journal:
            journal.begin(facts)
            movie = journal.add_movie(verified, verified.path, AT)
        with Journal.open(path) as journal:
            assert list(journal.movies()) == [movie]
            assert journal.facts == facts
            told = attrs.asdict(verified, recurse=False, filter=lambda field, _: field.name != "kind")
            assert told.items() <= attrs.asdict(movie, recurse=False).items()


def test_new_settings_are_kept(path: Path, journal: Journal) -> None:
    journal.keep_settings({"jobs": 2})
    assert journal.settings == {"jobs": 2}
    journal.close()
    with Journal.open(path) as opened:
        assert opened.settings == {"jobs": 2}


def test_the_movies_are_a_view_that_does_not_grow(journal: Journal) -> None:
    movies = [add(journal, str(number)) for number in range(5)]
    view = journal.movies()
    add(journal, "late")
    assert len(view) == 5
    assert list(view) == list(view[:]) == movies
    assert (view[0], view[-1], view[1:3], view[::-2]) == (movies[0], movies[4], movies[1:3], movies[::-2])
    assert movies[2] in view
    assert view[10:] == []
    for index in (5, -6):
        with pytest.raises(IndexError):
            view[index]
    assert list(journal.movies(2)) == movies[:2]
    assert len(journal.movies()) == 6


def test_movies_of_one_camera_share_their_header(journal: Journal) -> None:
    for number in range(3):
        add(journal, str(number))
    assert len({id(movie.header) for movie in journal.movies()}) == 1


def test_a_movie_without_a_header_is_a_bug_of_the_caller(journal: Journal) -> None:
    with pytest.raises(ValueError, match="without a header"):
        journal.add_movie(GAIN.verified, "movies/x", AT)


def test_what_is_refused_leaves_nothing_behind(path: Path, journal: Journal) -> None:
    add(journal, "a")
    journal.note_part("data/a.mrc", REMOTE)
    with pytest.raises(StorageError, match="UNIQUE"):
        add(journal, "a")
    assert journal.is_part("data/a.mrc")
    assert add(journal, "b").number == 2
    assert [movie.path for movie in journal.movies()] == ["data/a.mrc", "data/b.mrc"]


def test_four_threads_may_write_and_read_at_once(journal: Journal) -> None:
    def work(thread: int) -> None:
        for number in range(25):
            movie = add(journal, f"{thread}-{number}")
            assert journal.movies()[movie.number - 1] == movie
            assert journal.is_known(movie.path)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert [movie.number for movie in journal.movies()] == list(range(1, 101))


def test_every_commit_is_on_the_disk_and_no_cluster_file_system_is_asked_for_shared_memory(journal: Journal) -> None:
    connection = journal._connection
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("truncate",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,), "FULL"


def test_after_it_was_closed_it_is_said_that_it_cannot_be_written(journal: Journal) -> None:
    journal.close()
    journal.close()
    attempts: list[Callable[[], Any]] = [
        lambda: add(journal, "a"),
        lambda: journal.part(PATH),
        lambda: journal.note_part(PATH, REMOTE),
        lambda: list(journal.movies(1)),
    ]
    for attempt in attempts:
        with pytest.raises(StorageError):
            attempt()


def test_a_hundred_thousand_movies_are_read_without_holding_them(path: Path, journal: Journal) -> None:
    add(journal, "a")
    copies = """
        WITH RECURSIVE counted(n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM counted WHERE n < 100000)
        INSERT INTO movies
        SELECT n, path || n, file || n, size_bytes, sha256 || n, header, imageset, pixel_size_a, registered_at
        FROM movies, counted WHERE number = 1
    """
    with journal._connection as connection:
        connection.execute("BEGIN")
        connection.execute(copies)
        connection.execute("COMMIT")
    journal.close()
    tracemalloc.start()
    try:
        with Journal.open(path) as opened:
            assert sum(movie.size_bytes for movie in opened.movies()) == opened.movies_bytes() == 9_600_000
            assert opened.movies()[99_999].number == 100_000
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 3_000_000


# ---------------------------------------------------------------------------------------------------------------------
# Partial files
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("remote", [REMOTE, Remote(size_bytes=0, validator=None)])
def test_a_partial_file_is_known_until_it_is_registered_or_worthless(journal: Journal, remote: Remote) -> None:
    assert journal.part("data/a.mrc") is None
    journal.note_part("data/a.mrc", Remote(size_bytes=1, validator="old"))
    journal.note_part("data/a.mrc", remote)
    assert journal.part("data/a.mrc") == remote
    journal.drop_part("data/a.mrc")
    assert journal.part("data/a.mrc") is None
    assert journal.is_part("data/a.mrc"), "what lies there is not a checked file either"
    journal.note_part("data/a.mrc", remote)
    add(journal, "a")
    assert journal.part("data/a.mrc") is None
    assert not journal.is_part("data/a.mrc")
    journal.drop_part("data/never.mrc")
    assert not journal.is_part("data/never.mrc")


@pytest.mark.parametrize("then", ["another boot", ""])
def test_a_partial_file_of_before_the_machine_was_started_again_is_not_trusted(
    path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    journal.note_part(PATH, REMOTE)
    journal.close()
    with Journal.open(path) as opened:
        assert opened.part(PATH) == REMOTE
    monkeypatch.setattr(journal_module, "boot", lambda: then)
    with Journal.open(path) as opened:
        assert opened.part(PATH) is None
        assert opened.is_part(PATH)
        opened.note_part(PATH, REMOTE)
        assert (opened.part(PATH) is not None) == bool(then), "without a name for this start nothing is trusted"


# ---------------------------------------------------------------------------------------------------------------------
# Kills and disks
# ---------------------------------------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
from pathlib import Path
from fsmcollect.stream.keeping.journal import Journal
from tests.stream.keeping.registering import MOVIES
with Journal.open(Path(sys.argv[1])) as journal:
    journal.add_movie(MOVIES[0].verified, "movies/0", "at")
    # Small enough a cache that SQLite writes into the file itself before the end of the transaction.
    journal._connection.execute("PRAGMA cache_size = 1")
    with journal._writing() as connection:
        for number in range(2, 2000):
            row = (number, str(number), "x" * 100, 1, "{}", "i", "at")
            connection.execute("INSERT INTO movies VALUES (?, ?, ?, ?, NULL, ?, ?, NULL, ?)", row)
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_killed_within_a_transaction_leaves_what_was_committed(path: Path, journal: Journal) -> None:
    journal.close()
    empty_bytes = path.stat().st_size
    ended = subprocess.run([sys.executable, "-c", KILLED, str(path)], cwd=ROOT, timeout=60, check=False)
    assert ended.returncode == -9
    assert path.stat().st_size > 2 * empty_bytes, "it was killed while the file was written"
    assert accession_in(path) == "10200"
    with Journal.open(path) as opened:
        assert [movie.path for movie in opened.movies()] == [MOVIES[0].path]
        assert add(opened, "next").number == 2


def test_what_a_killed_creation_left_is_replaced_and_a_link_in_its_place_is_not_followed(
    path: Path, tmp_path: Path
) -> None:
    (outside := tmp_path / "outside").write_text("mine")
    (tmp_path / ".journal.sqlite.part").write_bytes(b"half")
    (tmp_path / ".journal.sqlite.part-journal").symlink_to(outside)
    Journal.create(path, "10200", {}).close()
    assert outside.read_text() == "mine"
    path.unlink()
    (tmp_path / ".journal.sqlite.part").symlink_to(outside)
    Journal.create(path, "10200", {}).close()
    assert outside.read_text() == "mine"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["journal.sqlite", "outside"]


def test_a_journal_is_not_made_over_another(path: Path, journal: Journal) -> None:
    with pytest.raises(StorageError, match="exists already: go on with it by --resume"):
        Journal.create(path, "10200", {})


def test_a_full_disk_is_said_and_what_did_not_fit_is_not_in_the_journal(tmp_path: Path) -> None:
    with mounted(disk := tmp_path / "disk", "size=100k") as here:
        with Journal.create(disk / "journal.sqlite", "10200", {}) as journal:
            if not here:
                pages = journal._connection.execute("PRAGMA page_count").fetchone()[0]
                journal._connection.execute(f"PRAGMA max_page_count = {pages}")
            with pytest.raises(StorageError, match="No space left on device; free space there"):
                for number in range(1000):
                    add(journal, f"{number:0100}")
            kept = list(journal.movies())
            with pytest.raises(StorageError):
                add(journal, "x" * 10_000)
            assert list(journal.movies()) == kept
        with Journal.open(disk / "journal.sqlite") as journal:
            assert list(journal.movies()) == kept
        if here:
            (disk / "full").write_bytes(b"x" * (os.statvfs(disk).f_bavail * 4096))
            with pytest.raises(StorageError, match=r"cannot make .*: (No space left on device|disk I/O error)"):
                Journal.create(disk / "another.sqlite", "10200", {})
            assert not (disk / "another.sqlite").exists()


def test_a_journal_that_another_program_holds_is_said(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_file, "_BUSY_S", 0.0)
    with Journal.create(path, "10200", {}) as journal, contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="another program holds it locked"):
            add(journal, "a")
        other.execute("ROLLBACK")
        add(journal, "a")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StorageError, match="another program holds it locked"):
            Journal.open(path)


def test_a_directory_that_is_not_there_is_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot make "):
        Journal.create(tmp_path / "nowhere" / "journal.sqlite", "10200", {})


# ---------------------------------------------------------------------------------------------------------------------
# Journals that cannot be gone on with
# ---------------------------------------------------------------------------------------------------------------------


def refusal(path: Path) -> str:
    with pytest.raises(InvalidRequest) as refused:
        Journal.open(path)
    (problem,) = refused.value.problems
    assert (problem.field, problem.value) == ("--out", str(path.parent))
    assert "\n" not in problem.allowed
    return problem.allowed


@pytest.mark.parametrize("content", [b"not a database " * 1000, b"\0" * 5000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_what_is_no_database_is_damaged(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert refusal(path).startswith("journal.sqlite there ")


def test_an_empty_file_is_no_journal(path: Path) -> None:
    path.touch()
    assert refusal(path) == "journal.sqlite there is not a journal of fsmcollect: choose another directory"


def test_a_database_of_something_else_is_no_journal(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE stream (accession)")
    assert "is not a journal of fsmcollect" in refusal(path)


def test_no_journal_at_all_is_said(path: Path) -> None:
    assert refusal(path) == "holds no stream to go on with: leave out --resume"


CHANGES = {
    "PRAGMA user_version = 2": "has version 2, this fsmcollect reads version 1: go on with the fsmcollect that made it",
    "DROP TABLE parts": "is damaged (no table parts)",
    "DELETE FROM movies WHERE number = 1": "is damaged (1 movies, the last of which is number 2)",
    "DELETE FROM stream": "is damaged (",
    "UPDATE stream SET settings = '{'": "is damaged (",
    "UPDATE stream SET facts = '{}'": "is damaged (",
    "UPDATE stream SET facts = '7'": "is damaged (",
    "UPDATE stream SET settings = '7'": "is damaged (",
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_journal_that_was_changed_says_what_is_wrong(path: Path, journal: Journal, change: str) -> None:
    for name in ("a", "b"):
        add(journal, name)
    journal.begin(FACTS)
    journal.close()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute(change)
    assert CHANGES[change] in refusal(path)


def test_a_header_that_was_changed_is_said_when_it_is_read(path: Path, journal: Journal) -> None:
    add(journal, "a")
    journal._connection.execute("""UPDATE movies SET header = '{"format": 1}'""")
    with pytest.raises(InvalidRequest, match="is damaged"):
        list(journal.movies())


@pytest.mark.parametrize("kept_bytes", [100, 4096, 9000, 20_000])
def test_a_journal_that_was_cut_short_is_damaged(path: Path, journal: Journal, kept_bytes: int) -> None:
    for number in range(200):
        add(journal, str(number))
    journal.close()
    os.truncate(path, kept_bytes)
    assert refusal(path).startswith("journal.sqlite there is damaged (")


@given(st.data())
def test_no_changed_byte_raises_anything_but_our_own_errors(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "journal.sqlite"
        with Journal.create(path, "10200", SETTINGS) as journal:
            journal.begin(FACTS)
            add(journal, "a")
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 5))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(content)
        with contextlib.suppress(InvalidRequest, StorageError), Journal.open(path) as journal:
            list(journal.movies())
            journal.gains()
            journal.rejected()
            journal.part(PATH)
            add(journal, "b")


@pytest.mark.parametrize("name", ["journal.sqlite", "journal.sqlite-journal"])
@pytest.mark.parametrize("way", ["link", "folder"])
def test_a_journal_that_is_a_link_or_a_folder_is_not_opened(
    path: Path, journal: Journal, tmp_path: Path, name: str, way: str
) -> None:
    journal.close()
    (tmp_path / name).unlink(missing_ok=True)
    if way == "link":
        (tmp_path / name).symlink_to(tmp_path / "outside")
    else:
        (tmp_path / name).mkdir()
    assert refusal(path) == f"{name} there is not a regular file: choose another directory"
    assert not (tmp_path / "outside").exists()


def test_whose_journal_it_is_can_be_told_without_touching_it(path: Path, journal: Journal) -> None:
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN EXCLUSIVE")
        before = path.stat().st_mtime_ns
        assert accession_in(path) == "10200"
    assert path.stat().st_mtime_ns == before
    assert accession_in(path.with_name("nowhere")) is None
