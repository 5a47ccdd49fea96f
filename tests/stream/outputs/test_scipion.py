"""``movies.sqlite`` as a reader sees it. The real pwem reads it in tests/readers_scipion (`make test-scipion`)."""

from __future__ import annotations

import errno
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import tracemalloc
from contextlib import closing
from pathlib import Path

import attrs
import pytest

from fsmcollect.errors import InvalidRequest, StorageError
from fsmcollect.stream.outputs.scipion import Scipion
from fsmcollect.stream.values import Optics
from tests.stream.outputs.registering import BARE, FACTS, movie, movies, unknown

ROOT = Path(__file__).parents[3]


def connected(path: Path) -> closing[sqlite3.Connection]:
    return closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=0))


def properties(path: Path) -> dict[str, str | None]:
    with connected(path) as database:
        return dict(database.execute("SELECT key, value FROM Properties"))


def rows(path: Path) -> list[tuple[object, ...]]:
    with connected(path) as database:
        return database.execute("SELECT * FROM Objects ORDER BY id").fetchall()


def content(path: Path) -> list[str]:
    """Everything in the file but where it lies."""
    with connected(path) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        version = database.execute("PRAGMA user_version").fetchone()[0]
        return [f"version {version}", *(line.replace(str(path.parent), "DIR") for line in database.iterdump())]


def undisturbed(directory: Path, count: int, *, closed: bool) -> list[str]:
    directory.mkdir(exist_ok=True)
    output = Scipion(directory)
    output.open(FACTS, [])
    for one in movies(count):
        output.append(one)
    if closed:
        output.close("done")
    return content(output.path)


@pytest.fixture
def output(tmp_path: Path) -> Scipion:
    directory = tmp_path / "out"
    directory.mkdir()
    return Scipion(directory, patience_s=0.3)


# --------------------------------------------------------------------------------------------------------------- format


def test_the_tables_are_those_of_a_set_that_pwem_writes(output: Scipion) -> None:
    """Taken from a set of two movies that scipion-em 3.11.1 had written."""
    output.open(FACTS, movies(2))
    with connected(output.path) as database:
        assert database.execute("SELECT * FROM Classes ORDER BY id").fetchall() == [
            (1, "self", "c00", "Movie"),
            (2, "_index", "c01", "Integer"),
            (3, "_filename", "c02", "String"),
            (4, "_samplingRate", "c03", "Float"),
            (5, "_acquisition", "c04", "Acquisition"),
            (6, "_acquisition._magnification", "c05", "Float"),
            (7, "_acquisition._voltage", "c06", "Float"),
            (8, "_acquisition._sphericalAberration", "c07", "Float"),
            (9, "_acquisition._amplitudeContrast", "c08", "Float"),
            (10, "_acquisition._doseInitial", "c09", "Float"),
            (11, "_acquisition._dosePerFrame", "c10", "Float"),
            (12, "_acquisition.opticsGroupInfo", "c11", "String"),
            (13, "_micName", "c12", "String"),
            (14, "_framesRange", "c13", "FramesRange"),
        ]
        columns = [(row[1], row[2]) for row in database.execute("PRAGMA table_info(Objects)")]
        text = [f"c{number:02}" for number in (2, 4, 11, 12, 13)]
        assert columns == [
            ("id", "INTEGER"),
            ("enabled", "INTEGER"),
            ("label", "TEXT"),
            ("comment", "TEXT"),
            ("creation", "DATE"),
            ("c01", "INTEGER"),
            *((name, "TEXT" if name in text else "REAL") for name in (f"c{number:02}" for number in range(2, 14))),
        ]
        assert database.execute("PRAGMA user_version").fetchone() == (1,)
        assert database.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    file = f"{output.path.parent}/movies/data/Movies/002.mrc"
    acquisition = (None, None, 300.0, 2.7, 0.1, 0.0, 1.25, None)
    assert rows(output.path)[1] == (
        *(2, 1, "", "", "2026-11-21 03:00:02"),
        *(0, file, 1.06, *acquisition, "002.mrc", "1,10,1"),
    )
    assert list(properties(output.path).items()) == [
        ("self", "SetOfMovies"),
        ("_size", "2"),
        ("_streamState", "1"),
        ("_mapperPath", f"{output.path}, "),
        ("_samplingRate", "1.06"),
        ("_hasCtf", "False"),
        ("_alignment", "None"),
        ("_isPhaseFlipped", "False"),
        ("_isAmplitudeCorrected", "False"),
        ("_acquisition", None),
        ("_acquisition._magnification", None),
        ("_acquisition._voltage", "300.0"),
        ("_acquisition._sphericalAberration", "2.7"),
        ("_acquisition._amplitudeContrast", "0.1"),
        ("_acquisition._doseInitial", "0.0"),
        ("_acquisition._dosePerFrame", "1.25"),
        ("_acquisition.opticsGroupInfo", None),
        ("_firstDim", "4096,3072,10"),
        ("_scannedPixelSize", None),
        ("_gainFile", f"{output.path.parent}/gain/data/Movies/CountRef.mrc"),
        ("_darkFile", None),
        ("_firstFramesRange", "1,10,1"),
    ]


def test_what_nobody_has_stated_stays_empty(output: Scipion) -> None:
    output.open(BARE, unknown(movies(1)))
    said = properties(output.path)
    assert {key for key, value in said.items() if value is None} == {
        "_samplingRate",
        "_scannedPixelSize",
        "_gainFile",
        "_darkFile",
        *(key for key in said if key.startswith("_acquisition")),
    }
    assert rows(output.path)[0][7:16] == (None,) * 9


def test_a_dose_before_the_first_frame_is_stated_only_with_a_dose(output: Scipion) -> None:
    """Scipion adds the two; without a dose it has nothing to add."""
    output.open(attrs.evolve(FACTS, optics=Optics(voltage_kv=300)), movies(1))
    assert properties(output.path)["_acquisition._doseInitial"] is None


@pytest.mark.parametrize("gains", [(), ("gain/a.mrc", "gain/b.mrc")])
def test_a_gain_reference_is_named_only_where_there_is_exactly_one(output: Scipion, gains: tuple[str, ...]) -> None:
    output.open(attrs.evolve(FACTS, gains=gains), [])
    assert properties(output.path)["_gainFile"] is None


def test_a_set_without_movies_is_open_and_says_so(output: Scipion) -> None:
    output.open(FACTS, [])
    said = properties(output.path)
    assert (said["_size"], said["_streamState"], said["_firstDim"], said["_firstFramesRange"]) == (
        "0",
        "1",
        None,
        "1,0,1",
    )
    output.close("failed")
    assert (properties(output.path)["_size"], properties(output.path)["_streamState"]) == ("0", "2")


@pytest.mark.parametrize("name", ["a,b", "what?", "no#1", "50%", "line\nend"])
def test_a_directory_in_which_scipion_finds_no_set_is_refused_beforehand(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidRequest, match="Scipion reads no set in a directory whose name has"):
        Scipion(tmp_path / name)


# -------------------------------------------------------------------------------------------------------------- growing


def test_a_reader_sees_every_movie_as_soon_as_it_is_appended(output: Scipion) -> None:
    """Also one that keeps its connection; and the time of the file moves, by which pollers decide whether to look."""
    output.open(FACTS, [])
    with connected(output.path) as follower:
        for one in movies(5):
            os.utime(output.path, (1, 1))
            output.append(one)
            assert len(rows(output.path)) == one.number
            assert follower.execute("SELECT count(*) FROM Objects").fetchone() == (one.number,)
            assert properties(output.path)["_size"] == str(one.number)
            assert output.path.stat().st_mtime > 1
    assert properties(output.path)["_firstDim"] == "4096,3072,10"
    assert properties(output.path)["_streamState"] == "1"
    output.close("done")
    assert properties(output.path)["_streamState"] == "2"
    assert [path.name for path in output.path.parent.iterdir()] == ["movies.sqlite"]


def test_closing_may_be_repeated_and_a_closed_set_opened_again(output: Scipion, tmp_path: Path) -> None:
    output.open(FACTS, movies(2))
    output.close("aborted")
    output.close("done")
    with pytest.raises(StorageError, match="is not open"):
        output.append(movie(3))
    output.open(FACTS, movies(2))
    assert properties(output.path)["_streamState"] == "1"
    output.append(movie(3))
    output.close("done")
    assert content(output.path) == undisturbed(tmp_path / "whole", 3, closed=True)


def test_what_was_never_opened_says_so(output: Scipion) -> None:
    with pytest.raises(StorageError, match="is not open"):
        output.close("done")
    assert not output.path.exists()


def test_threads_may_take_turns(output: Scipion) -> None:
    output.open(FACTS, [])
    for one in movies(3):
        thread = threading.Thread(target=output.append, args=(one,))
        thread.start()
        thread.join(30)
    assert len(rows(output.path)) == 3
    output.close("done")


# ------------------------------------------------------------------------------------------------------------- recovery


def test_where_the_file_agrees_nothing_is_written(output: Scipion) -> None:
    output.open(FACTS, movies(3))
    again = Scipion(output.path.parent)
    os.utime(output.path, (1, 1))
    inode = output.path.stat().st_ino
    again.open(FACTS, movies(3))
    assert (output.path.stat().st_mtime, output.path.stat().st_ino) == (1, inode)


@pytest.mark.parametrize("there", [0, 1, 2])
def test_rows_that_a_killed_run_lacks_are_added_to_the_same_file(output: Scipion, tmp_path: Path, there: int) -> None:
    undisturbed(output.path.parent, there, closed=there == 2)
    inode = output.path.stat().st_ino
    output.open(FACTS, movies(3))
    assert output.path.stat().st_ino == inode
    assert content(output.path) == undisturbed(tmp_path / "whole", 3, closed=False)


def test_many_rows_are_added_by_writing_the_file_anew(output: Scipion) -> None:
    """In one transaction they would keep readers out for long."""
    output.open(FACTS, [])
    with connected(output.path) as follower:
        assert follower.execute("SELECT count(*) FROM Objects").fetchone() == (0,)
        inode = output.path.stat().st_ino
        output.open(FACTS, movies(1500))
        assert output.path.stat().st_ino != inode
        assert follower.execute("SELECT count(*) FROM Objects").fetchone() == (0,)
    assert len(rows(output.path)) == 1500


def test_facts_that_have_changed_are_renewed(output: Scipion, tmp_path: Path) -> None:
    """A resume may find the gain reference that was missing, and may be told of the microscope."""
    output.open(BARE, movies(1))
    output.close("failed")
    output.open(FACTS, movies(1))
    output.append(movie(2))
    assert content(output.path) == undisturbed(tmp_path / "whole", 2, closed=False)


DISAGREEMENTS = {
    "a movie too many": "INSERT INTO Objects (id, c02) VALUES (4, 'x.mrc')",
    "a movie missing in the middle": "DELETE FROM Objects WHERE id = 2",
    "another file": "UPDATE Objects SET c02 = '/elsewhere/x.mrc' WHERE id = 2",
    "a property missing": "DELETE FROM Properties WHERE key = '_size'",
    "a property too many": "INSERT INTO Properties VALUES ('_extra', '1')",
    "another class": "UPDATE Classes SET class_name = 'Micrograph' WHERE id = 1",
    "another version": "PRAGMA user_version = 7",
    "a trigger": "CREATE TRIGGER t AFTER INSERT ON Objects BEGIN DELETE FROM Properties; END",
    "a table missing": "DROP TABLE Classes",
    "WAL": "PRAGMA journal_mode = WAL",
    "not text": "UPDATE Properties SET value = CAST(x'ff' AS TEXT) WHERE key = 'self'",
}


@pytest.mark.parametrize("change", DISAGREEMENTS.values(), ids=DISAGREEMENTS)
def test_a_file_that_disagrees_is_made_anew(output: Scipion, tmp_path: Path, change: str) -> None:
    undisturbed(output.path.parent, 3, closed=True)
    with closing(sqlite3.connect(output.path)) as database, database:
        database.execute(change)
    output.open(FACTS, movies(3))
    assert content(output.path) == undisturbed(tmp_path / "whole", 3, closed=False)
    assert [path.name for path in output.path.parent.iterdir()] == ["movies.sqlite"]


@pytest.mark.parametrize("closed", [False, True])
def test_cut_off_anywhere_it_equals_the_undisturbed_one(tmp_path: Path, closed: bool) -> None:
    directory = tmp_path / "out"
    expected = undisturbed(tmp_path / "whole", 3, closed=False)
    undisturbed(directory, 3, closed=closed)
    output = Scipion(directory)
    whole = output.path.read_bytes()
    for end in [*range(120), *range(120, len(whole), 511)]:
        output.path.write_bytes(whole[:end])
        output.open(FACTS, movies(3))
        assert content(output.path) == expected


def test_a_page_that_never_reached_the_disk_is_noticed(tmp_path: Path) -> None:
    """Nothing is synced before it closes: after a power failure any page may be zeros or of an older state."""
    directory = tmp_path / "out"
    expected = undisturbed(tmp_path / "whole", 3, closed=False)
    undisturbed(directory, 3, closed=True)
    output = Scipion(directory)
    whole = output.path.read_bytes()
    for start in range(0, len(whole), 4096):
        output.path.write_bytes(whole[:start] + bytes(4096) + whole[start + 4096 :])
        output.open(FACTS, movies(3))
        assert content(output.path) == expected


def test_what_a_run_left_that_was_killed_while_it_made_the_file_is_removed(output: Scipion, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("precious")
    hidden = output.path.with_name(".movies.sqlite.part")
    hidden.symlink_to(outside)
    output.path.with_name(".movies.sqlite.part-journal").write_bytes(bytes(600))
    output.open(FACTS, movies(3))
    assert content(output.path) == undisturbed(tmp_path / "whole", 3, closed=False)
    assert [path.name for path in output.path.parent.iterdir()] == ["movies.sqlite"]
    assert outside.read_text() == "precious"


def half_a_transaction(directory: Path) -> bytes:
    """The journal of a transaction that changed the file and was killed before it ended; the file has its changes."""
    path = directory / "movies.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA cache_size = 1")
        database.execute("BEGIN")
        database.execute("UPDATE Objects SET c02 = 'half', label = hex(zeroblob(9000))")
        changed, journal = path.read_bytes(), path.with_name("movies.sqlite-journal").read_bytes()
        database.execute("ROLLBACK")
    path.write_bytes(changed)
    return journal


def test_half_a_transaction_of_a_killed_run_is_taken_back(output: Scipion, tmp_path: Path) -> None:
    expected = undisturbed(tmp_path / "whole", 3, closed=False)
    undisturbed(output.path.parent, 3, closed=False)
    journal = half_a_transaction(output.path.parent)
    output.path.with_name("movies.sqlite-journal").write_bytes(journal)
    output.open(FACTS, movies(3))
    assert content(output.path) == expected


def test_the_journal_of_a_file_that_is_replaced_is_not_rolled_back_into_the_new_one(
    output: Scipion, tmp_path: Path
) -> None:
    expected = undisturbed(tmp_path / "whole", 3, closed=False)
    undisturbed(output.path.parent, 3, closed=False)
    journal = half_a_transaction(output.path.parent)
    output.path.with_name("movies.sqlite-journal").write_bytes(journal)
    output.path.unlink()
    output.open(FACTS, movies(3))
    assert content(output.path) == expected


def test_killed_at_any_moment_no_movie_is_missing_or_doubled(tmp_path: Path) -> None:
    directory = tmp_path / "out"
    directory.mkdir()
    registered = 0
    for patience in (1, 3, 8, 2, 20):
        command = [sys.executable, "-m", "tests.stream.outputs.grow", str(directory), str(registered)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as growing:
            assert growing.stdout is not None
            for _ in range(patience):
                registered = int(growing.stdout.readline())
            growing.send_signal(signal.SIGKILL)
            # What it had appended until the signal came: the journal of a run would know.
            registered = int((growing.stdout.read().split() or [str(registered)])[-1])
            assert growing.wait(30) == -signal.SIGKILL
        there = (
            len(rows(directory / "movies.sqlite")) if not (directory / "movies.sqlite-journal").exists() else registered
        )
        assert there - registered in (0, 1)
    output = Scipion(directory)
    output.open(FACTS, movies(registered))
    output.close("done")
    assert content(output.path) == undisturbed(tmp_path / "whole", registered, closed=True)


# ----------------------------------------------------------------------------------------- readers and disks in the way


def reading(path: Path, timeout_s: float = 0.0) -> sqlite3.Connection:
    """A reader in the middle of its reading: it holds the file until it is closed."""
    reader = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=timeout_s, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM Objects").fetchone()
    return reader


def test_a_reader_that_holds_the_file_is_waited_for_and_meanwhile_others_get_in(
    output: Scipion, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite lets none in while a writer waits, and Scipion takes a stream that it cannot read in 3 s for closed."""
    monkeypatch.setattr("fsmcollect.stream.outputs.scipion._ATTEMPT_S", 0.01)
    patient = Scipion(output.path.parent)
    patient.open(FACTS, movies(1))
    holding = [reading(output.path)]

    def give_way(_: float) -> None:
        assert properties(output.path)["_streamState"] == "1"
        if len(holding) < 4:
            holding.append(reading(output.path))
        else:
            while holding:
                holding.pop().close()

    monkeypatch.setattr("fsmcollect.stream.outputs.scipion.time.sleep", give_way)
    patient.append(movie(2))
    assert holding == []
    assert len(rows(output.path)) == 2


def test_a_reader_that_never_lets_go_is_told_of_and_the_movie_can_be_added_later(output: Scipion) -> None:
    output.open(FACTS, movies(1))
    with closing(reading(output.path)):
        with pytest.raises(StorageError, match=r"another program has kept it locked for 0\.3 s: end that program"):
            output.append(movie(2))
        # Waiting leaves nothing behind that would keep other readers out.
        assert len(rows(output.path)) == 1
    output.append(movie(2))
    output.close("done")
    assert properties(output.path)["_size"] == "2"


def test_the_patience_with_a_reader_is_spent_once_and_is_there_again_for_the_next(output: Scipion) -> None:
    """With many jobs each would wait as long anew, and an abort for all of them."""
    output.open(FACTS, movies(1))
    assert output._borne_until_s is None
    with closing(reading(output.path)):
        for _ in range(2):
            with pytest.raises(StorageError, match="another program has kept it locked"):
                output.append(movie(2))
            assert output._left_s() == 0.0
    output.append(movie(2))
    assert output._borne_until_s is None


def test_another_writer_at_opening_is_told_of(output: Scipion) -> None:
    output.open(FACTS, movies(1))
    again = Scipion(output.path.parent, patience_s=0.1)
    with closing(sqlite3.connect(output.path, isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StorageError, match="another program has kept it locked"):
            again.open(FACTS, movies(1))
    again.open(FACTS, movies(1))


def test_a_full_disk_is_told_and_leaves_the_set_as_it_was(output: Scipion) -> None:
    output.open(FACTS, movies(1))
    database = output._database
    assert database is not None
    (pages,) = database.execute("PRAGMA page_count").fetchone()
    database.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StorageError, match=r"movies\.sqlite: No space left on device; free space there"):
        for number in range(2, 1000):
            output.append(movie(number))
    there = len(rows(output.path))
    assert 1 < there < 998
    assert properties(output.path)["_size"] == str(there)
    database.execute("PRAGMA max_page_count = 1000000")
    output.open(FACTS, movies(there + 1))
    output.close("failed")
    assert properties(output.path)["_size"] == str(there + 1)


def test_a_disk_that_refuses_the_new_file_leaves_nothing_half(output: Scipion, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", refuse)
        with pytest.raises(StorageError, match=r"movies\.sqlite: Input/output error"):
            output.open(FACTS, movies(1))
    assert not output.path.exists()
    output.open(FACTS, movies(1))
    assert len(rows(output.path)) == 1


def test_a_file_that_may_not_be_written_is_told(output: Scipion, monkeypatch: pytest.MonkeyPatch) -> None:
    output.open(FACTS, movies(1))
    assert output._database is not None
    output._database.execute("PRAGMA query_only = ON")
    with pytest.raises(StorageError, match="attempt to write a readonly database; mend the disk"):
        output.append(movie(2))


@pytest.mark.parametrize("what", ["link", "directory"])
def test_nothing_is_written_through_a_link(output: Scipion, tmp_path: Path, what: str) -> None:
    outside = tmp_path / "outside"
    outside.write_text("precious")
    if what == "link":
        output.path.symlink_to(outside)
    else:
        output.path.mkdir()
    with pytest.raises(StorageError, match=r"movies\.sqlite is a (symbolic link|directory): nothing is written there"):
        output.open(FACTS, movies(1))
    assert outside.read_text() == "precious"


def test_a_directory_that_is_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No such file or directory; make the directory"):
        Scipion(tmp_path / "gone").open(FACTS, [])


def test_a_long_set_costs_no_memory(tmp_path: Path) -> None:
    several = movies(40_000)
    output = Scipion(tmp_path)
    tracemalloc.start()
    output.open(FACTS, several)
    output.open(FACTS, several)
    output.append(movie(40_001))
    output.close("done")
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()
    assert output.path.stat().st_size > 7e6
