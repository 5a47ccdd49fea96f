"""Whatever lies in an output directory, nothing outside it is touched."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fsmcollect.errors import InvalidRequest, StorageError
from fsmcollect.stream.keeping.workspace import Workspace
from fsmcollect.stream.values import Kind

PATH = "data/Movies/a.mrc"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def workspace(directory: Path) -> Iterator[Workspace]:
    with Workspace.open(directory, resume=False) as opened:
        yield opened


def tree(directory: Path) -> dict[str, tuple[int, int, int]]:
    """Everything in and beside a directory, and what would show that it was touched."""
    paths = (directory.parent, *directory.parent.rglob("*"))
    return {str(path): (path.lstat().st_mode, path.lstat().st_size, path.lstat().st_mtime_ns) for path in paths}


# ---------------------------------------------------------------------------------------------------------------------
# Places
# ---------------------------------------------------------------------------------------------------------------------


def test_each_kind_has_its_folder_and_nested_folders_are_kept(workspace: Workspace, directory: Path) -> None:
    assert workspace.place(Kind.MOVIE, PATH) == directory / "movies" / PATH
    assert workspace.place(Kind.GAIN, PATH) == directory / "gain" / PATH
    assert workspace.place(Kind.DEFECTS, PATH) == directory / "gain" / PATH
    assert workspace.rejected_place(PATH) == directory / "rejected" / PATH
    for folder in ("movies", "gain", "rejected"):
        assert list((directory / folder / "data" / "Movies").iterdir()) == []
    assert workspace.place(Kind.MOVIE, PATH).exists() is False


@pytest.mark.parametrize("kind", [Kind.ARCHIVE, Kind.OTHER])
def test_what_is_not_kept_has_no_place(workspace: Workspace, kind: Kind) -> None:
    with pytest.raises(ValueError, match=f"kind {kind.value} is not kept"):
        workspace.place(kind, "data/a.tar")


@pytest.mark.parametrize(
    "path", ["", "/etc/a.mrc", "../a.mrc", "data/../../a.mrc", "data//a.mrc", "./a.mrc", "a/", "a\0b"]
)
def test_a_path_that_leads_elsewhere_is_a_bug_of_the_caller(workspace: Workspace, directory: Path, path: str) -> None:
    before = tree(directory)
    with pytest.raises(ValueError, match="is not a path below the directory"):
        workspace.place(Kind.MOVIE, path)
    with pytest.raises(ValueError, match="is not a path below the directory"):
        workspace.rejected_place(path)
    assert tree(directory) == before


def test_a_name_that_is_too_long_for_the_disk_is_said_in_words(workspace: Workspace) -> None:
    with pytest.raises(StorageError, match="File name too long"):
        workspace.place(Kind.MOVIE, "d" * 256 + "/a.mrc")


def test_a_name_like_that_of_a_partial_file_is_not_kept(workspace: Workspace) -> None:
    with pytest.raises(StorageError, match=r"movies/data/\.a\.mrc\.part cannot be kept"):
        workspace.place(Kind.MOVIE, "data/.a.mrc.part")


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("to", ["folder", "nothing"])
def test_a_link_at_any_depth_is_named_and_not_followed(
    workspace: Workspace, directory: Path, tmp_path: Path, depth: int, to: str
) -> None:
    outside = tmp_path / "outside"
    if to == "folder":
        outside.mkdir()
    link = "/".join(["movies", *PATH.split("/")][:depth])
    (directory / link).parent.mkdir(parents=True, exist_ok=True)
    (directory / link).symlink_to(outside)
    says = f"^{link} is a symbolic link: nothing outside {directory} is touched; move it away"
    attempts: list[Callable[[], Any]] = [
        lambda: workspace.place(Kind.MOVIE, PATH),
        lambda: workspace.open_part(directory / "movies" / PATH, keep=False),
        lambda: workspace.open_part(directory / "movies" / PATH, keep=True),
        lambda: workspace.status(f"movies/{PATH}"),
        lambda: workspace.sync(f"movies/{PATH}"),
        lambda: workspace.rename(f"movies/{PATH}", f"movies/{PATH}x"),
        lambda: workspace.write_note(f"movies/{PATH}", "text"),
        lambda: list(workspace.sizes([f"movies/{PATH}"])),
    ]
    for attempt in attempts:
        with pytest.raises(StorageError, match=says):
            attempt()
    assert not outside.exists() or list(outside.iterdir()) == []


def test_a_file_where_a_folder_belongs_is_named(workspace: Workspace, directory: Path) -> None:
    (directory / "movies").mkdir()
    (directory / "movies" / "data").write_text("mine")
    with pytest.raises(StorageError, match=r"^movies/data is a file: "):
        workspace.place(Kind.MOVIE, PATH)
    assert (directory / "movies" / "data").read_text() == "mine"


# ---------------------------------------------------------------------------------------------------------------------
# Partial files
# ---------------------------------------------------------------------------------------------------------------------


def written(workspace: Workspace, final: Path, data: bytes, *, keep: bool) -> os.stat_result:
    descriptor = workspace.open_part(final, keep=keep)
    try:
        assert not os.get_inheritable(descriptor)
        os.pwrite(descriptor, data, os.fstat(descriptor).st_size)
        return os.fstat(descriptor)
    finally:
        os.close(descriptor)


def test_a_partial_file_is_kept_or_begun_as_a_new_file(workspace: Workspace) -> None:
    final = workspace.place(Kind.MOVIE, PATH)
    part = final.with_name(".a.mrc.part")
    first = written(workspace, final, b"abc", keep=True)
    again = written(workspace, final, b"def", keep=True)
    assert part.read_bytes() == b"abcdef"
    assert os.path.samestat(first, again)
    held = workspace.open_part(final, keep=True)
    afresh = written(workspace, final, b"x", keep=False)
    os.pwrite(held, b"too late", 0)
    os.close(held)
    assert part.read_bytes() == b"x"
    assert not os.path.samestat(first, afresh)


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("way", ["link", "dangling", "second name", "pipe", "folder"])
def test_a_partial_file_that_is_none_of_ours_is_refused_and_not_touched(
    workspace: Workspace, tmp_path: Path, way: str, keep: bool
) -> None:
    (outside := tmp_path / "outside").write_text("mine")
    final = workspace.place(Kind.MOVIE, PATH)
    part = final.with_name(".a.mrc.part")
    if way == "second name":
        part.hardlink_to(outside)
    elif way == "pipe":
        os.mkfifo(part)
    elif way == "folder":
        part.mkdir()
    else:
        part.symlink_to(outside if way == "link" else tmp_path / "nowhere")
    with pytest.raises(StorageError, match=r"^movies/data/Movies/\.a\.mrc\.part is .*: nothing outside"):
        workspace.open_part(final, keep=keep)
    assert outside.read_text() == "mine"
    assert os.path.lexists(part)
    assert not (tmp_path / "nowhere").exists()


def test_a_folder_swapped_for_a_link_after_it_was_made_is_not_followed(
    workspace: Workspace, directory: Path, tmp_path: Path
) -> None:
    final = workspace.place(Kind.MOVIE, PATH)
    (outside := tmp_path / "outside").mkdir()
    final.parent.rmdir()
    final.parent.symlink_to(outside)
    with pytest.raises(StorageError, match="movies/data/Movies is a symbolic link"):
        workspace.open_part(final, keep=False)
    assert list(outside.iterdir()) == []


def test_a_link_made_at_the_last_moment_is_not_followed(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    final = workspace.place(Kind.MOVIE, PATH)
    real = os.stat

    def stat(path: Any, **settings: Any) -> os.stat_result:
        if path == ".a.mrc.part":
            final.with_name(path).symlink_to(tmp_path / "outside")
            raise FileNotFoundError
        return real(path, **settings)

    monkeypatch.setattr(os, "stat", stat)
    with pytest.raises(StorageError, match="Too many levels of symbolic links"):
        workspace.open_part(final, keep=True)
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize("folder, syncs", [("movies", 1), ("rejected", 2)])
def test_a_name_is_on_the_disk_in_every_folder_that_it_changes(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, folder: str, syncs: int
) -> None:
    written(workspace, workspace.place(Kind.MOVIE, PATH), b"abc", keep=False)
    workspace.rejected_place(PATH)
    real, synced = os.fsync, list[int]()

    def fsync(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    workspace.rename("movies/data/Movies/.a.mrc.part", f"{folder}/{PATH}")
    assert len(set(synced)) == syncs
    assert workspace.is_file(f"{folder}/{PATH}", 3)


def test_a_note_replaces_what_is_left_of_one_and_follows_no_link(workspace: Workspace, tmp_path: Path) -> None:
    (outside := tmp_path / "outside").write_text("mine")
    place = workspace.rejected_place(PATH)
    (place.parent / ".a.mrc.reason.txt.part").symlink_to(outside)
    workspace.write_note(f"rejected/{PATH}.reason.txt", "why\n")
    assert (place.parent / "a.mrc.reason.txt").read_text() == "why\n"
    assert outside.read_text() == "mine"
    assert [path.name for path in place.parent.iterdir()] == ["a.mrc.reason.txt"]


def test_sizes_are_those_of_regular_files(workspace: Workspace, directory: Path) -> None:
    for name in ("a", "b"):
        (directory / "movies" / name).mkdir(parents=True)
    (directory / "movies" / "a" / "1").write_bytes(b"x" * 10)
    (directory / "movies" / "b" / "1").write_bytes(b"x" * 20)
    (directory / "movies" / "b" / "link").symlink_to("1")
    names = ["a/1", "a/2", "b/1", "c/1", "c/2", "a/1", "b/link", "b"]
    found = list(workspace.sizes(f"movies/{name}" for name in names))
    assert found == [10, None, 20, None, None, 10, None, None]


# ---------------------------------------------------------------------------------------------------------------------
# The whole
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["file", "link", "folder"])
def test_anything_named_stop_asks_for_a_stop_and_is_removed_as_the_answer(
    workspace: Workspace, directory: Path, tmp_path: Path, way: str
) -> None:
    assert not workspace.stop_asked()
    workspace.answer_stop()
    (outside := tmp_path / "outside").touch()
    stop = directory / "STOP"
    if way == "file":
        stop.touch()
    elif way == "link":
        stop.symlink_to(outside)
    else:
        stop.mkdir()
    assert workspace.stop_asked()
    workspace.answer_stop()
    assert not workspace.stop_asked()
    assert outside.exists()


def test_a_stop_that_cannot_be_removed_is_said(workspace: Workspace, directory: Path) -> None:
    (directory / "STOP" / "full").mkdir(parents=True)
    with pytest.raises(StorageError, match=r"cannot remove .*STOP: Directory not empty"):
        workspace.answer_stop()


def test_free_space_is_what_this_user_may_write(workspace: Workspace, directory: Path) -> None:
    disk = os.statvfs(directory)
    assert workspace.free_bytes() == pytest.approx(disk.f_bavail * disk.f_frsize, rel=0.05)


def test_after_it_was_closed_nothing_is_touched_any_more(workspace: Workspace, directory: Path) -> None:
    final = workspace.place(Kind.MOVIE, PATH)
    workspace.close()
    before = tree(directory)
    attempts: list[Callable[[], Any]] = [
        lambda: workspace.place(Kind.GAIN, PATH),
        lambda: workspace.open_part(final, keep=False),
        lambda: workspace.status(f"movies/{PATH}"),
        workspace.answer_stop,
        workspace.free_bytes,
    ]
    for attempt in attempts:
        with pytest.raises(StorageError):
            attempt()
    assert not workspace.stop_asked()
    assert tree(directory) == before


def test_no_descriptor_is_left_open(directory: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    with Workspace.open(directory, resume=False) as workspace:
        final = workspace.place(Kind.MOVIE, PATH)
        written(workspace, final, b"abc", keep=False)
        with pytest.raises(StorageError):
            workspace.sync("movies/x/y")
        with pytest.raises(ValueError, match="not a path"):
            workspace.place(Kind.MOVIE, "..")
        workspace.rename("movies/data/Movies/.a.mrc.part", f"movies/{PATH}")
        assert workspace.is_file(f"movies/{PATH}", 3)
        with pytest.raises(InvalidRequest):
            Workspace.open(directory, resume=False)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
