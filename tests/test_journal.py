"""The durable record: whole lines, in order, kept where the disk refuses."""

from __future__ import annotations

import errno
import json
import os
import threading
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from fsmcollect.errors import StorageError
from fsmcollect.events import Event, Failure, StepDone
from fsmcollect.journal import FILE_NAME, Journal


def steps(count: int, start: int = 0) -> list[Event]:
    return [StepDone(t_us=index, step=f"step {index}") for index in range(start, start + count)]


def read(path: Path) -> list[int]:
    return [json.loads(line)["t_us"] for line in path.read_text().splitlines()]


async def write(journal: Journal, events: list[Event], *, durable: bool = False) -> None:
    for event in events:
        journal.record(event)
    await journal.flush(durable=durable)


def test_its_name_is_what_the_manual_says() -> None:
    assert FILE_NAME == "events.jsonl"


async def test_events_are_lines_of_json_in_order(tmp_path: Path) -> None:
    journal = Journal(tmp_path / FILE_NAME)
    await write(journal, steps(3))
    await write(journal, steps(2, 3))
    assert read(journal.path) == [0, 1, 2, 3, 4]


async def test_recording_alone_touches_no_file_and_flushing_nothing_makes_none(tmp_path: Path) -> None:
    journal = Journal(tmp_path / FILE_NAME)
    await journal.flush()
    journal.record(steps(1)[0])
    assert not journal.path.exists()


async def test_a_durable_flush_is_synced_even_where_nothing_is_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    original = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(descriptor)
        original(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    journal = Journal(tmp_path / FILE_NAME)
    await write(journal, steps(2))
    assert synced == []
    await journal.flush(durable=True)
    assert len(synced) == 1


async def test_it_appends_and_ends_a_torn_line_first(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    path.write_bytes(b'{"t_us":7}\n{"t_u')
    await write(Journal(path), steps(2))
    assert path.read_bytes().split(b"\n")[:2] == [b'{"t_us":7}', b'{"t_u']
    assert [json.loads(line)["t_us"] for line in path.read_text().splitlines()[2:]] == [0, 1]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EIO])
async def test_where_the_disk_refuses_the_lines_are_kept_for_the_next_attempt(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path / FILE_NAME)
    await write(journal, steps(1))
    with monkeypatch.context() as patch:

        def refuse(descriptor: int, data: bytes) -> int:
            raise OSError(number, os.strerror(number))

        patch.setattr(os, "write", refuse)
        with pytest.raises(StorageError, match=os.strerror(number)) as refusal:
            await write(journal, steps(2, 1))
        assert str(journal.path) in str(refusal.value)
    await write(journal, steps(1, 3))
    assert read(journal.path) == [0, 1, 2, 3]


async def test_a_line_that_fits_in_part_is_taken_back_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path / FILE_NAME)
    await write(journal, steps(1))
    original = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, data: original(descriptor, data[: len(data) // 2]))
        with pytest.raises(StorageError, match="No space left"):
            await write(journal, steps(2, 1))
    assert read(journal.path) == [0]
    await journal.flush()
    assert read(journal.path) == [0, 1, 2]


async def test_a_directory_that_is_not_there_is_made_and_one_that_cannot_be_is_told(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "new" / "folder" / FILE_NAME)
    await write(journal, steps(1))
    assert read(journal.path) == [0]
    with pytest.raises(StorageError, match=r"File exists|Not a directory"):
        await write(Journal(journal.path / FILE_NAME), steps(1))


async def test_a_flush_that_was_given_up_is_finished_and_written_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An abort does not wait for the disk; the next flush does, and no line comes twice."""
    journal = Journal(tmp_path / FILE_NAME)
    begun, go_on = threading.Event(), threading.Event()
    original = os.write

    def slow(descriptor: int, data: bytes) -> int:
        if data.startswith(b"{"):
            begun.set()
            go_on.wait(10)
        return original(descriptor, data)

    monkeypatch.setattr(os, "write", slow)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(write, journal, steps(2))
        await trio.to_thread.run_sync(begun.wait)
        nursery.cancel_scope.cancel()
    journal.record(steps(1, 2)[0])
    go_on.set()
    await journal.flush(durable=True)
    assert read(journal.path) == [0, 1, 2]


@given(st.text())
def test_whatever_a_message_holds_its_line_is_one_line_that_parses(text: str) -> None:
    event = Failure(t_us=1, what="x", message=text)
    line = event.to_json()
    assert "\n" not in line
    assert json.loads(line)["message"] == text


async def test_a_lone_surrogate_is_written_as_its_escape(tmp_path: Path) -> None:
    journal = Journal(tmp_path / FILE_NAME)
    await write(journal, [Failure(t_us=1, what="x", message="bad \udcff name")])
    assert json.loads(journal.path.read_text())["message"] == "bad \udcff name"
