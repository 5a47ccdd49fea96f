"""``movies.jsonl`` and ``SHA256SUMS``: what they say, and that they are whole again after any interruption."""

from __future__ import annotations

import json
import os
import subprocess
import tracemalloc
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsmcollect.errors import StorageError
from fsmcollect.stream.outputs.checksums import Checksums
from fsmcollect.stream.outputs.jsonl import JsonLines
from fsmcollect.stream.outputs.lines import LineFile
from tests.stream.outputs.registering import FACTS, movie, movies

GAINS = [("gain/data/Movies/CountRef.mrc", "a" * 64)]
Make = Callable[[Path], JsonLines | Checksums]


def checksums(directory: Path) -> Checksums:
    return Checksums(directory, lambda: GAINS)


each_output = pytest.mark.parametrize("make", [JsonLines, checksums], ids=["jsonl", "checksums"])


def undisturbed(directory: Path, make: Make, count: int, *, closed: bool) -> bytes:
    """What a run that nothing disturbs leaves after so many movies."""
    directory.mkdir()
    output = make(directory)
    output.open(FACTS, [])
    for one in movies(count):
        output.append(one)
    if closed:
        output.close("done")
    return output.path.read_bytes()


def test_a_json_line_says_what_is_known_and_the_last_one_that_it_is_closed(tmp_path: Path) -> None:
    output = JsonLines(tmp_path)
    output.open(FACTS, [])
    output.append(movie(1, "Größe 1.mrc"))
    assert json.loads(output.path.read_text(encoding="utf-8")) == {
        "movie": 1,
        "file": "movies/data/Movies/Größe 1.mrc",
        "path": "data/Movies/Größe 1.mrc",
        "bytes": 125830144,
        "sha256": f"{1:064x}",
        "format": "MRC",
        "width_px": 4096,
        "height_px": 3072,
        "frames": 10,
        "mode": "uint8",
        "pixel_size_a": 1.06,
        "imageset": "Movies",
    }
    output.append(movie(2, sha256=None))
    output.close("aborted")
    second, last = map(json.loads, output.path.read_text(encoding="utf-8").splitlines()[1:])
    assert second["sha256"] is None
    assert last == {"closed": True, "movies": 2, "outcome": "aborted"}


def test_sha256sum_agrees_with_what_is_written(tmp_path: Path) -> None:
    """Also for names that coreutils escape, and the gain references come first."""
    names = ["a b.mrc", "back\\slash.mrc", "line\nend.mrc", "carriage\rreturn.mrc", "it's é #1.mrc", "  two.mrc"]
    several = [movie(number, name, sha256=sha256(name.encode()).hexdigest()) for number, name in enumerate(names, 1)]
    gain = tmp_path / "gain/g.mrc"
    gain.parent.mkdir()
    gain.write_bytes(b"gain")
    for one, name in zip(several, names, strict=True):
        (tmp_path / one.file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / one.file).write_bytes(name.encode())
    output = Checksums(tmp_path, lambda: [("gain/g.mrc", sha256(b"gain").hexdigest())])
    output.open(FACTS, several[:3])
    for one in several[3:]:
        output.append(one)
    output.close("done")
    check = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    done = subprocess.run(check, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr, done.stdout.count(": OK\n")) == (0, "", 7)
    ours = b"".join(sorted(output.path.read_bytes().splitlines(keepends=True)))
    theirs = subprocess.run(
        ["sha256sum", "gain/g.mrc", *(one.file for one in several)],
        cwd=tmp_path,
        capture_output=True,
        check=True,
        timeout=60,
    ).stdout
    assert ours == b"".join(sorted(theirs.splitlines(keepends=True)))
    (tmp_path / several[0].file).write_bytes(b"other")
    assert subprocess.run(check, cwd=tmp_path, capture_output=True, check=False, timeout=60).returncode == 1


def test_without_checksums_asked_for_there_are_none(tmp_path: Path) -> None:
    output = Checksums(tmp_path)
    output.open(FACTS, [movie(1, sha256=None)])
    output.append(movie(2, sha256=None))
    output.close("done")
    assert output.path.read_bytes() == b""


@each_output
def test_the_file_is_there_and_whole_from_the_beginning(tmp_path: Path, make: Make) -> None:
    output = make(tmp_path)
    output.open(FACTS, [])
    assert output.path.exists()
    for one in movies(3):
        output.append(one)
        content = output.path.read_bytes()
        assert content.endswith(b"\n")
        assert content.count(b"\n") == one.number + (len(GAINS) if output.name == "checksums" else 0)


@each_output
@pytest.mark.parametrize("closed", [False, True])
def test_cut_off_at_any_byte_it_becomes_equal_to_the_undisturbed_one(tmp_path: Path, make: Make, closed: bool) -> None:
    """`registered` may be ahead of the file: the journal is written first."""
    whole = undisturbed(tmp_path / "whole", make, 3, closed=closed)
    final = undisturbed(tmp_path / "final", make, 4, closed=True)
    directory = tmp_path / "cut"
    directory.mkdir()
    for end in range(len(whole) + 1):
        output = make(directory)
        output.path.write_bytes(whole[:end])
        output.open(FACTS, movies(3))
        assert output.path.read_bytes() == undisturbed_open(whole, closed)
        output.append(movie(4))
        if end % 50 == 0:  # closing waits for the disk
            output.close("done")
            assert output.path.read_bytes() == final


def undisturbed_open(whole: bytes, closed: bool) -> bytes:
    lines = whole.splitlines(keepends=True)
    return b"".join(lines[:-1]) if closed and b"closed" in lines[-1] else whole


@each_output
@given(content=st.binary(max_size=600), count=st.integers(0, 3))
def test_whatever_is_in_the_file_it_holds_exactly_the_movies_afterwards(
    tmp_path_factory: pytest.TempPathFactory, make: Make, content: bytes, count: int
) -> None:
    directory = tmp_path_factory.mktemp("any")
    whole = undisturbed(directory / "whole", make, count, closed=False)
    output = make(directory)
    output.path.write_bytes(content)
    output.open(FACTS, movies(count))
    assert output.path.read_bytes() == whole


@each_output
@pytest.mark.parametrize("surplus", [1, 5])
def test_movies_that_the_journal_does_not_know_are_removed(tmp_path: Path, make: Make, surplus: int) -> None:
    expected = undisturbed(tmp_path / "whole", make, 2, closed=False)
    undisturbed(tmp_path / "more", make, 2 + surplus, closed=True)
    output = make(tmp_path / "more")
    output.open(FACTS, movies(2))
    assert output.path.read_bytes() == expected


@each_output
def test_where_the_file_agrees_nothing_is_written(tmp_path: Path, make: Make) -> None:
    undisturbed(tmp_path / "same", make, 3, closed=False)
    output = make(tmp_path / "same")
    os.utime(output.path, (1, 1))
    before = output.path.stat()
    output.open(FACTS, movies(3))
    after = output.path.stat()
    assert (after.st_mtime, after.st_ino) == (before.st_mtime, before.st_ino)


@each_output
def test_closing_may_be_repeated_and_a_closed_set_opened_again(tmp_path: Path, make: Make) -> None:
    output = make(tmp_path)
    output.open(FACTS, movies(2))
    output.close("aborted")
    closed = output.path.read_bytes()
    output.close("done")
    assert output.path.read_bytes() == closed
    output.open(FACTS, movies(2))
    output.append(movie(3))
    output.close("done")
    assert output.path.read_bytes() == undisturbed(tmp_path / "whole", make, 3, closed=True)


@each_output
def test_what_is_not_open_says_so(tmp_path: Path, make: Make) -> None:
    output = make(tmp_path)
    with pytest.raises(StorageError, match="is not open"):
        output.append(movie(1))
    with pytest.raises(StorageError, match="is not open"):
        output.close("done")
    assert not output.path.exists()


@each_output
@pytest.mark.parametrize("what", ["link", "directory", "pipe"])
def test_nothing_is_written_through_a_link_or_to_what_is_no_file(tmp_path: Path, make: Make, what: str) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"precious")
    directory = tmp_path / "out"
    directory.mkdir()
    output = make(directory)
    match what:
        case "link":
            output.path.symlink_to(outside)
            reason = "is a symbolic link"
        case "directory":
            output.path.mkdir()
            reason = "is a directory"
        case _:
            os.mkfifo(output.path)
            reason = "is no regular file"
    with pytest.raises(StorageError, match=f"{output.path} {reason}: nothing is written there; remove it"):
        output.open(FACTS, movies(2))
    assert outside.read_bytes() == b"precious"


@each_output
def test_a_directory_that_is_gone_is_told(tmp_path: Path, make: Make) -> None:
    with pytest.raises(StorageError, match=r"cannot write .*: No such file or directory; make the directory"):
        make(tmp_path / "gone").open(FACTS, [])


@each_output
def test_a_directory_that_is_a_file_is_told(tmp_path: Path, make: Make) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="Not a directory; a part of the path is a file"):
        make(tmp_path / "file").open(FACTS, [])


class FullDisk:
    """Takes so many bytes more, then none: also in the middle of a line."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.free_bytes = 10**9
        self.truncates = True
        self.write = os.write
        self.ftruncate = os.ftruncate
        monkeypatch.setattr(os, "write", self.limited)
        monkeypatch.setattr(os, "ftruncate", self.truncate)

    def limited(self, descriptor: int, data: memoryview) -> int:
        if not self.free_bytes:
            raise OSError(28, "No space left on device")
        written = self.write(descriptor, data[: self.free_bytes])
        self.free_bytes -= written
        return written

    def truncate(self, descriptor: int, length: int) -> None:
        if not self.truncates:
            raise OSError(5, "Input/output error")
        self.ftruncate(descriptor, length)


@each_output
@pytest.mark.parametrize("free_bytes", [0, 1, 70])
def test_a_full_disk_leaves_no_half_line_and_the_set_goes_on_when_there_is_room(
    tmp_path: Path, make: Make, free_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = make(tmp_path)
    output.open(FACTS, movies(2))
    before = output.path.read_bytes()
    disk = FullDisk(monkeypatch)
    disk.free_bytes = free_bytes
    with pytest.raises(StorageError, match="No space left on device; free space there"):
        output.append(movie(3))
    assert output.path.read_bytes() == before
    disk.free_bytes = 10**9
    output.open(FACTS, movies(3))
    output.close("failed")
    assert output.path.read_bytes().startswith(before)
    assert f"{3:064x}".encode() in output.path.read_bytes()


def test_a_disk_that_cannot_even_take_back_half_a_line_gets_no_more_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = JsonLines(tmp_path)
    output.open(FACTS, movies(1))
    before = output.path.read_bytes()
    disk = FullDisk(monkeypatch)
    disk.free_bytes, disk.truncates = 10, False
    with pytest.raises(StorageError, match="No space left on device"):
        output.append(movie(2))
    disk.free_bytes, disk.truncates = 10**9, True
    assert len(output.path.read_bytes()) == len(before) + 10
    with pytest.raises(StorageError, match="is not open"):
        output.append(movie(2))
    with pytest.raises(StorageError, match="is not open"):
        output.close("failed")
    output.open(FACTS, movies(2))
    output.close("failed")
    assert [json.loads(line).get("movie") for line in output.path.read_bytes().splitlines()] == [1, 2, None]


@each_output
def test_a_disk_that_is_full_when_it_opens_is_told(tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    FullDisk(monkeypatch).free_bytes = 100
    with pytest.raises(StorageError, match="No space left on device"):
        make(tmp_path).open(FACTS, movies(9))


@each_output
def test_a_disk_that_does_not_sync_leaves_the_set_unclosed(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = make(tmp_path)
    output.open(FACTS, movies(1))

    def refuse(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", refuse)
        with pytest.raises(StorageError, match="Input/output error"):
            output.close("done")
    output.open(FACTS, movies(1))
    output.close("done")
    assert output.path.read_bytes() == undisturbed(tmp_path / "whole", make, 1, closed=True)


def test_a_line_is_handed_over_in_one_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that whoever reads at the same time sees whole lines."""
    output = JsonLines(tmp_path)
    output.open(FACTS, [])
    calls: list[bytes] = []
    write = os.write

    def noted(descriptor: int, data: memoryview) -> int:
        calls.append(bytes(data))
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", noted)
    output.append(movie(1))
    assert [call.count(b"\n") for call in calls] == [1]


@pytest.mark.parametrize("make, count", [(JsonLines, 15_000), (checksums, 60_000)])
def test_a_long_set_costs_no_memory(tmp_path: Path, make: Make, count: int) -> None:
    several = movies(count)
    output = make(tmp_path)
    tracemalloc.start()
    output.open(FACTS, several)
    output.open(FACTS, several)
    output.append(movie(count + 1))
    output.close("done")
    assert tracemalloc.get_traced_memory()[1] < 3.5e6
    tracemalloc.stop()
    assert output.path.stat().st_size > 4.5e6


def test_lines_longer_than_what_is_written_at_once_arrive_whole(tmp_path: Path) -> None:
    lines = [b"x" * 400_000 + b"%d\n" % number for number in range(7)]
    file = LineFile(tmp_path / "lines")
    file.open(iter(lines))
    file.close()
    assert file.path.read_bytes() == b"".join(lines)
    file.open(lines[:3])
    assert file.path.read_bytes() == b"".join(lines[:3])
    assert file.is_closed is False


def test_two_equal_streams_give_equal_files(tmp_path: Path) -> None:
    later = [attrs.evolve(one, registered_at="2027-01-01T00:00:00Z") for one in movies(3)]
    contents: list[bytes] = []
    for directory, several in ((tmp_path / "a", movies(3)), (tmp_path / "b", later)):
        directory.mkdir()
        output = JsonLines(directory)
        output.open(FACTS, several)
        output.close("done")
        contents.append(output.path.read_bytes())
    assert contents[0] == contents[1]
