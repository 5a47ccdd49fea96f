"""Registered exactly once, though the process is killed at any step and files are lost."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fsmcollect.errors import StorageError
from fsmcollect.stream.outputs import Output
from fsmcollect.stream.outputs.checksums import Checksums
from fsmcollect.stream.outputs.jsonl import JsonLines
from fsmcollect.stream.outputs.relion import Relion
from fsmcollect.stream.outputs.scipion import Scipion
from tests.stream.keeping.registering import (
    FACTS,
    MOVIES,
    SENT,
    Crash,
    Outputs,
    Steps,
    check_after_a_kill,
    desk,
    killed,
    picture,
    stream,
    two_files_of_lines,
)

A, B, _ = MOVIES
GAIN = SENT[0]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "out"


# ---------------------------------------------------------------------------------------------------------------------
# Killed
# ---------------------------------------------------------------------------------------------------------------------


def steps_of(directory: Path, last: int | None = None, outputs: Outputs = two_files_of_lines) -> Steps:
    steps = Steps(last)
    with contextlib.suppress(Crash), steps.watched():
        stream(directory, outputs)
    return steps


def undisturbed(directory: Path, outputs: Outputs = two_files_of_lines) -> tuple[dict[str, Any], int]:
    steps = steps_of(directory, outputs=outputs)
    return picture(directory), len(steps.taken)


def test_killed_before_any_step_a_resume_comes_to_what_an_undisturbed_stream_comes_to(tmp_path: Path) -> None:
    expected, count = undisturbed(tmp_path / "undisturbed")
    assert count > 100
    for last in range(count):
        directory = tmp_path / str(last)
        assert steps_of(directory, last).is_dead
        check_after_a_kill(directory)
        steps_of(directory)
        assert picture(directory) == expected, last


def test_killed_again_while_it_recovers_it_comes_to_the_same(tmp_path: Path) -> None:
    expected, count = undisturbed(tmp_path / "undisturbed")
    for last in range(0, count, 3):
        directory = tmp_path / str(last)
        steps_of(directory, last)
        for again in range(1, 40, 4):
            if not steps_of(directory, again).is_dead:
                break
            check_after_a_kill(directory)
        steps_of(directory)
        assert picture(directory) == expected, last


@pytest.mark.parametrize("moment", range(5, 150, 16))
def test_a_process_that_is_really_killed_is_gone_on_with(directory: Path, tmp_path: Path, moment: int) -> None:
    expected, _ = undisturbed(tmp_path / "undisturbed")
    assert killed(directory, moment) == -9
    check_after_a_kill(directory)
    stream(directory)
    assert picture(directory) == expected


def test_a_stream_that_ended_is_gone_on_with_and_nothing_changes(directory: Path) -> None:
    stream(directory)
    before = picture(directory)
    stream(directory)
    assert picture(directory) == before


@pytest.mark.parametrize("stride", [pytest.param(7, id="some"), pytest.param(1, id="every", marks=pytest.mark.long)])
def test_killed_with_the_outputs_that_users_have_each_comes_to_the_same(directory: Path, stride: int) -> None:
    expected, count = undisturbed(directory, every_real_output)
    assert {"movies.sqlite", "movies.star", "movies.jsonl", "SHA256SUMS"} < expected.keys()
    for last in range(0, count, stride):
        shutil.rmtree(directory)  # the outputs name the directory: it has to be the same one
        assert steps_of(directory, last, every_real_output).is_dead
        check_after_a_kill(directory)
        steps_of(directory, outputs=every_real_output)
        assert picture(directory) == expected, last


def every_real_output(directory: Path) -> Sequence[Output]:
    return Scipion(directory), Relion(directory), JsonLines(directory), Checksums(directory)


def test_bytes_are_on_the_disk_before_the_row_the_row_before_the_name_and_the_name_before_anybody_is_told(
    directory: Path,
) -> None:
    steps = Steps()
    with steps.watched(), desk(directory, two_files_of_lines) as opened:
        opened.registry.begin(FACTS)
        part = opened.fetch(A)
        steps.taken.clear()
        opened.registry.register(A.verified, part)
        taken = [step for step in steps.taken if not step.startswith("mkdir")]
    assert taken == [
        "fsync",
        *("BEGIN", "INSERT", "DELETE", "COMMIT"),
        "rename .a.mrc.part",
        "fsync",
        *("create lines.txt", "write", "write"),
        *("create more.txt", "write", "write"),
    ]


# ---------------------------------------------------------------------------------------------------------------------
# Files that were lost
# ---------------------------------------------------------------------------------------------------------------------


def test_a_lost_movie_is_missing_and_is_put_back(directory: Path) -> None:
    stream(directory)
    before = picture(directory)
    (directory / "movies" / A.path).unlink()
    with desk(directory, two_files_of_lines) as opened:
        opened.registry.begin(FACTS)
        assert [movie.path for movie in opened.registry.missing] == [A.path]
        assert opened.journal.is_known(A.path)
        part = opened.fetch(A)
        opened.registry.restore(A.path, part, None, 96)
        assert opened.registry.missing == []
        assert opened.registry.registered == len(MOVIES)
        with pytest.raises(ValueError, match="not missing"):
            opened.registry.restore(A.path, opened.fetch(A), None, 96)
        opened.part(A).unlink()
        opened.registry.close("done")
    assert {name: content for name, content in picture(directory).items() if name != "journal.sqlite"} == {
        name: content for name, content in before.items() if name != "journal.sqlite"
    }


@pytest.mark.parametrize("sha256", [None, "0" * 64])
def test_another_file_than_the_lost_one_is_not_put_back(directory: Path, sha256: str | None) -> None:
    stream(directory)
    (directory / "movies" / A.path).unlink()
    with desk(directory) as opened:
        opened.registry.begin(FACTS)
        part = opened.fetch(A, content=b"x" * 96)
        with pytest.raises(StorageError, match="now is not what was registered: registered were 96 bytes, SHA-256"):
            opened.registry.restore(A.path, part, sha256, 96)
        with pytest.raises(StorageError, match="now its header is wrong"):
            opened.registry.reject(A.path, part, "its header is wrong", 96, None)
        assert [movie.path for movie in opened.registry.missing] == [A.path]
    assert not (directory / "movies" / A.path).exists()


@pytest.mark.parametrize("dropped", [False, True])
def test_what_was_fetched_for_a_lost_movie_is_not_trusted_before_it_was_checked(directory: Path, dropped: bool) -> None:
    stream(directory)
    (directory / "movies" / A.path).unlink()
    with desk(directory) as opened:
        opened.registry.begin(FACTS)
        opened.fetch(A, content=b"x" * 96)
        if dropped:
            opened.journal.drop_part(A.path)
    with desk(directory) as opened:
        opened.registry.begin(FACTS)
        assert [movie.path for movie in opened.registry.missing] == [A.path]
    assert not (directory / "movies" / A.path).exists()


def test_killed_at_any_step_of_putting_back_it_is_put_back(tmp_path: Path) -> None:
    stream(tmp_path / "undisturbed")
    expected = picture(tmp_path / "undisturbed")
    last, is_dead = 0, True
    while is_dead:
        directory = shutil.copytree(tmp_path / "undisturbed", tmp_path / str(last))
        (directory / "movies" / A.path).unlink()
        (directory / "movies" / B.path).unlink()
        is_dead = steps_of(directory, last).is_dead
        check_after_a_kill(directory)
        steps_of(directory)
        assert picture(directory) == expected
        last += 1
    assert last > 20


def test_a_lost_gain_is_forgotten_and_fetched_again(directory: Path) -> None:
    stream(directory)
    (directory / "gain" / GAIN.path).unlink()
    with desk(directory) as opened:
        opened.registry.recover()
        assert not opened.journal.is_known(GAIN.path)
        assert opened.registry.gains == 1
        opened.register(GAIN)
    assert (directory / "gain" / GAIN.path).read_bytes() == GAIN.content


def test_a_rejected_file_that_a_person_has_removed_stays_removed(directory: Path) -> None:
    stream(directory)
    for path in (directory / "rejected").rglob("b.mrc*"):
        path.unlink()
    stream(directory)
    assert [path for path in (directory / "rejected").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("way", ["longer", "link"])
def test_a_registered_movie_that_was_replaced_stops_the_resume(directory: Path, tmp_path: Path, way: str) -> None:
    stream(directory)
    path = directory / "movies" / A.path
    if way == "longer":
        path.write_bytes(A.content + b"x")
    else:
        path.rename(tmp_path / "moved.mrc")
        path.symlink_to(tmp_path / "moved.mrc")
    with desk(directory) as opened, pytest.raises(StorageError, match=f"^movies/{A.path} is not the file of 96 bytes"):
        opened.registry.begin(FACTS)
