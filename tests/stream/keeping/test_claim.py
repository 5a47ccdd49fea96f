"""One stream a directory; where that cannot be, it is said before anything is touched."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from fsmcollect.errors import InvalidRequest, StorageError
from fsmcollect.stream.keeping.journal import Journal
from fsmcollect.stream.keeping.workspace import Workspace, can_open
from fsmcollect.stream.values import Kind
from tests.stream.keeping.disks import as_a_user, mounted

ROOT = Path(__file__).parents[2]
OURS = ("movies", "gain", "rejected", "movies.sqlite", "movies.star", "movies.jsonl", "SHA256SUMS")
PATH = "data/Movies/a.mrc"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def workspace(directory: Path) -> Iterator[Workspace]:
    with Workspace.open(directory, resume=False) as opened:
        yield opened


@pytest.fixture
def used(directory: Path) -> Path:
    """A directory that holds a stream."""
    with Workspace.open(directory, resume=False) as workspace:
        Journal.create(workspace.journal_path, "10200", {}).close()
    return directory


def tree(directory: Path) -> dict[str, tuple[int, int, int]]:
    """Everything in and beside a directory, and what would show that it was touched."""
    while not directory.parent.is_dir():
        directory = directory.parent
    paths = (directory.parent, *directory.parent.rglob("*"))
    return {str(path): (path.lstat().st_mode, path.lstat().st_size, path.lstat().st_mtime_ns) for path in paths}


def refusal(directory: Path, *, resume: bool = False) -> str:
    """What is said, and that nothing is touched by saying it; a look says the same as the attempt."""
    before = tree(directory)
    said = []
    for attempt in (can_open, Workspace.open):
        with pytest.raises(InvalidRequest) as refused:
            attempt(directory, resume)
        (problem,) = refused.value.problems
        assert (problem.field, problem.value) == ("--out", str(directory))
        said.append(problem.allowed)
        assert tree(directory) == before
    assert said[0] == said[1]
    return said[0]


# ---------------------------------------------------------------------------------------------------------------------
# Which directory may be used
# ---------------------------------------------------------------------------------------------------------------------


def test_a_directory_is_made_with_those_above_it(tmp_path: Path) -> None:
    directory = tmp_path / "a" / "b"
    can_open(directory, resume=False)
    assert not directory.parent.exists()
    with Workspace.open(directory, resume=False) as workspace:
        assert workspace.directory == directory
        assert workspace.journal_path == directory / "journal.sqlite"
        assert not workspace.resume
    assert list(directory.iterdir()) == []


def test_what_somebody_else_keeps_in_the_directory_is_no_hindrance(directory: Path) -> None:
    directory.mkdir()
    (directory / "notes.txt").write_text("mine")
    with Workspace.open(directory, resume=False):
        pass
    assert (directory / "notes.txt").read_text() == "mine"


def test_the_directory_itself_may_be_reached_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    with Workspace.open(tmp_path / "out", resume=False) as workspace:
        assert workspace.place(Kind.MOVIE, PATH) == tmp_path / "out" / "movies" / PATH
    assert (tmp_path / "disk" / "movies" / "data" / "Movies").is_dir()


def test_a_relative_directory_becomes_absolute_without_dots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for given, found in (("out", tmp_path / "here" / "out"), ("../there", tmp_path / "there")):
        with Workspace.open(Path(given), resume=False) as workspace:
            assert workspace.directory == found


def test_a_directory_with_a_stream_says_of_what_and_how_to_go_on(used: Path) -> None:
    says = "holds a stream of EMPIAR-10200 already: go on with it by --resume, or choose another directory"
    assert refusal(used) == says
    can_open(used, resume=True)
    with Workspace.open(used, resume=True) as workspace:
        assert workspace.resume


@pytest.mark.parametrize("content", [b"", b"not a database" * 100])
def test_a_journal_that_cannot_be_read_is_a_stream_all_the_same(directory: Path, content: bytes) -> None:
    directory.mkdir()
    (directory / "journal.sqlite").write_bytes(content)
    assert refusal(directory).startswith("holds a stream already: go on with it")


@pytest.mark.parametrize("name", OURS)
def test_a_new_stream_wants_none_of_its_names_taken(directory: Path, name: str) -> None:
    (directory / name).mkdir(parents=True)
    says = f"holds {name} already, which is not of this stream: choose another directory"
    assert refusal(directory) == says
    (directory / name).rmdir()
    (directory / name).symlink_to("nowhere")
    assert refusal(directory) == says


def test_there_has_to_be_a_stream_to_be_gone_on_with(directory: Path) -> None:
    says = "holds no stream to go on with: leave out --resume, or give the directory of one"
    assert refusal(directory, resume=True) == says
    assert not directory.exists()
    directory.mkdir()
    assert refusal(directory, resume=True) == says


@pytest.mark.parametrize("resume", [False, True])
def test_a_stop_file_that_was_left_is_not_taken_for_a_new_one(used: Path, directory: Path, resume: bool) -> None:
    if not resume:
        shutil.rmtree(used)
        directory.mkdir()
    (directory / "STOP").touch()
    assert refusal(directory, resume=resume) == "a file STOP there would end the stream at once: remove it first"


@pytest.mark.parametrize("name", [*OURS, "journal.sqlite", "journal.sqlite-journal"])
def test_none_of_our_names_may_be_a_link_to_elsewhere(used: Path, tmp_path: Path, name: str) -> None:
    (outside := tmp_path / "outside").mkdir()
    (used / name).unlink(missing_ok=True)
    (used / name).symlink_to(outside)
    says = (
        f"{name} there is a symbolic link: nothing outside {used} is touched; move it away, or choose another directory"
    )
    assert refusal(used, resume=True) == says


def test_a_folder_where_a_file_belongs_and_a_file_where_a_folder_belongs_are_refused(used: Path) -> None:
    (used / "movies.star").mkdir()
    assert refusal(used, resume=True).startswith("movies.star there is a folder: ")
    (used / "movies.star").rmdir()
    (used / "gain").touch()
    assert refusal(used, resume=True).startswith("gain there is a file: ")


def test_a_directory_that_is_a_file_or_lies_under_one(tmp_path: Path) -> None:
    (file := tmp_path / "file").touch()
    for directory in (file, file / "out"):
        assert refusal(directory) == f"{file} is a file: choose another directory"


def test_links_that_lead_to_no_directory(tmp_path: Path) -> None:
    (circle := tmp_path / "circle").symlink_to("circle")
    (dangling := tmp_path / "dangling").symlink_to("nowhere")
    for link in (circle, dangling, dangling / "out"):
        assert refusal(link).endswith(" is a link that leads to no directory: choose another directory")


def test_a_name_that_no_disk_holds(tmp_path: Path) -> None:
    assert refusal(tmp_path / ("d" * 256)) == "holds a name of 256 bytes; at most 255 are allowed"


def test_a_path_that_leaves_no_room_or_that_no_system_takes(tmp_path: Path) -> None:
    assert refusal(tmp_path / "/".join(["d" * 200] * 5)).endswith(" bytes; at most 1000 are allowed")
    assert refusal(tmp_path / "a\0b") == "holds the character NUL, which no path may"


def test_a_directory_that_this_user_cannot_write(tmp_path: Path) -> None:
    (locked := tmp_path / "locked").mkdir(mode=0o555)
    try:
        with as_a_user(tmp_path):
            for directory in (locked, locked / "out"):
                says = f"{locked} cannot be written by this user: make it writable, or choose another directory"
                assert refusal(directory) == says
    finally:
        locked.chmod(0o755)


def test_a_disk_that_is_mounted_read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with mounted(disk := tmp_path / "disk", "ro") as here:
        if not here:
            monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_flag=os.ST_RDONLY))
        says = f"{disk} is on a disk that is mounted read-only: have it remounted, or choose another directory"
        assert refusal(disk / "out") == says


def test_a_directory_where_the_system_keeps_no_files_is_said_in_words() -> None:
    with pytest.raises(StorageError, match="cannot make the directory /proc/fsmcollect"):
        Workspace.open(Path("/proc/fsmcollect"), resume=False)


# ---------------------------------------------------------------------------------------------------------------------
# The lock
# ---------------------------------------------------------------------------------------------------------------------

HOLDER = """
import sys
from pathlib import Path
from fsmcollect.stream.keeping.workspace import Workspace
with Workspace.open(Path(sys.argv[1]), resume=False):
    print("holds", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(directory: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that uses the directory until it is told to end."""
    program = [sys.executable, "-c", HOLDER, str(directory)]
    with subprocess.Popen(program, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "holds\n"
            yield process
        finally:
            process.kill()


def test_a_directory_in_use_says_by_whom_and_since_when(holder: subprocess.Popen[str], directory: Path) -> None:
    said = refusal(directory)
    assert said.startswith(f"is in use by process {holder.pid} on {socket.gethostname()} since 20")
    assert said.endswith("Z: wait for it, or choose another directory")
    assert refusal(directory, resume=True) == said
    holder.communicate("")
    with Workspace.open(directory, resume=False):
        pass


def test_the_lock_ends_with_the_process_however_that_ends(holder: subprocess.Popen[str], directory: Path) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait(30)
    assert (directory / ".fsmcollect.lock").exists()
    can_open(directory, resume=False)
    with Workspace.open(directory, resume=False):
        assert f"{os.getpid()} " in (directory / ".fsmcollect.lock").read_text()
    assert not (directory / ".fsmcollect.lock").exists()


def test_two_streams_of_one_process_do_not_share_a_directory(workspace: Workspace, directory: Path) -> None:
    assert f"process {os.getpid()} on " in refusal(directory)
    workspace.close()
    workspace.close()
    with Workspace.open(directory, resume=False):
        pass


@pytest.mark.parametrize("content", [b"", b"\x1b[2J\xff garbage", b"1 2 3 4", b"1 h\x1b[2J 2026\n"])
def test_a_lock_file_that_says_nothing_useful_locks_all_the_same(directory: Path, content: bytes) -> None:
    directory.mkdir()
    with (directory / ".fsmcollect.lock").open("wb", buffering=0) as file:
        file.write(content)
        fcntl.flock(file, fcntl.LOCK_EX)
        said = refusal(directory)
    assert said.startswith("is in use by ")
    assert said.isprintable()


def test_a_lock_file_that_goes_away_while_it_is_taken_is_made_again(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, taken = fcntl.flock, list[int]()

    def flock(descriptor: int, operation: int) -> None:
        real(descriptor, operation)
        if not taken:  # its owner removes it, and another stream makes its own
            (directory / ".fsmcollect.lock").unlink()
            (directory / ".fsmcollect.lock").touch()
        taken.append(descriptor)

    monkeypatch.setattr(fcntl, "flock", flock)
    with Workspace.open(directory, resume=False):
        assert len(taken) == 2
        assert (directory / ".fsmcollect.lock").read_text().startswith(f"{os.getpid()} ")


@pytest.mark.parametrize("way", ["link", "dangling", "second name", "pipe", "folder"])
def test_a_lock_file_that_is_none_is_not_written_to(directory: Path, tmp_path: Path, way: str) -> None:
    directory.mkdir()
    (outside := tmp_path / "outside").write_text("mine")
    lock = directory / ".fsmcollect.lock"
    if way == "link":
        lock.symlink_to(outside)
    elif way == "dangling":
        lock.symlink_to(tmp_path / "nowhere")
    elif way == "second name":
        lock.hardlink_to(outside)
    elif way == "pipe":
        os.mkfifo(lock)
    else:
        lock.mkdir()
    assert f"nothing outside {directory} is touched" in refusal(directory)
    assert outside.read_text() == "mine"


def test_a_disk_without_locks_is_said_in_words(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: object) -> None:
        raise OSError(38, "")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(StorageError, match=r"cannot use .*out: Function not implemented"):
        Workspace.open(directory, resume=False)


def test_a_stream_that_began_here_while_this_one_waited_for_the_lock_is_seen(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory.mkdir()
    real = fcntl.flock

    def flock(descriptor: int, operation: int) -> None:
        real(descriptor, operation)
        (directory / "movies").mkdir(exist_ok=True)

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(InvalidRequest, match="holds movies already"):
        Workspace.open(directory, resume=False)
    monkeypatch.undo()
    assert [path.name for path in directory.iterdir()] == ["movies"]
    (directory / "movies").rmdir()
    with Workspace.open(directory, resume=False):
        pass
