"""Where no file can be made it is said before anything moves: exit code 2, nothing touched, whoever runs the tests."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.cli.commanding import SMALL, Command, Ran, mxcube, tree

#: The user that root becomes to meet a permission: nobody.
NOBODY = 65534


@pytest.fixture
def request_file(work: Path) -> Path:
    path = work / "r.toml"
    path.write_text(SMALL, encoding="utf-8")
    return path


@contextmanager
def as_a_user() -> Iterator[None]:
    """Root may write everywhere: it becomes nobody for a while. Anybody else is a user already."""
    if os.getuid():
        yield
        return
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


@contextmanager
def mounted(directory: Path, options: str) -> Iterator[bool]:
    """A small disk of its own, where this user may mount one; yields whether it is there."""
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory)]
    here = os.getuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        yield here
    finally:
        if here:
            subprocess.run(["umount", str(directory)], check=True)


def refuses(command: Command, out: Path, *arguments: str) -> Ran:
    before = tree(Path.cwd())
    ran = command("simulate", "r.toml", "--out", out, "--json", *arguments)
    assert (ran.code, ran.out) == (2, ""), ran
    assert ran.err.startswith("fsmcollect: files.")
    assert tree(Path.cwd()) == before
    return ran


def test_a_directory_that_the_user_cannot_write(command: Command, work: Path, request_file: Path) -> None:
    command("plan", "r.toml")  # imported as root: a user may not be able to read this Python
    locked = work / "locked"
    locked.mkdir(mode=0o555)
    for parent in (work, *work.parents):
        if os.getuid() == 0 and parent.stat().st_mode & 0o777 == 0o700:  # pytest keeps its directories to their owner
            parent.chmod(0o755)
    try:
        with as_a_user():
            ran = refuses(command, locked)
    finally:
        locked.chmod(0o755)
    says = (
        f'files.directory = "data/lyso": {locked} cannot be written by this user: make it writable, or choose another'
    )
    assert says in ran.err
    assert "(r.toml, line 7)" in ran.err


def test_a_disk_that_is_mounted_read_only(
    command: Command, work: Path, request_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (disk := work / "disk").mkdir()
    with mounted(disk, "ro") as here:
        if not here:
            monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_flag=os.ST_RDONLY))
        ran = refuses(command, disk)
    assert f"{disk} is on a disk that is mounted read-only: have it remounted, or choose another" in ran.err


def test_a_full_disk(command: Command, work: Path, request_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (disk := work / "disk").mkdir()
    with mounted(disk, "size=1m") as here:
        if not here:
            monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000_000))
        ran = refuses(command, disk)
    assert f"the disk of {disk}/data/lyso has 1 MB free, and 8 images may take " in ran.err
    assert "free space, or choose another disk (r.toml, line 7)" in ran.err


def test_a_directory_where_the_system_keeps_no_files(command: Command, request_file: Path) -> None:
    assert "the disk of /proc/fsmcollect/data/lyso has 0 MB free" in refuses(command, Path("/proc/fsmcollect")).err


def test_a_directory_under_a_file(command: Command, work: Path, request_file: Path) -> None:
    assert f"{request_file} is a file: choose another directory" in refuses(command, request_file / "out").err


def test_links_that_go_round_in_a_circle(command: Command, work: Path, request_file: Path) -> None:
    (work / "circle").symlink_to("circle")
    assert f"{work}/circle is a link that leads to no directory" in refuses(command, Path("circle")).err


def test_a_link_that_leads_out_of_the_output_directory(command: Command, work: Path, request_file: Path) -> None:
    (work / "out").mkdir()
    (work / "elsewhere").mkdir()
    (work / "out" / "data").symlink_to(work / "elsewhere")
    ran = refuses(command, Path("out"))
    assert f'files.directory = "data/lyso": leads out of the output directory out to {work}/elsewhere/lyso' in ran.err


def test_a_name_that_no_disk_holds(command: Command, work: Path, request_file: Path) -> None:
    request_file.write_text(SMALL.replace("data/lyso", "d" * 256), encoding="utf-8")
    assert "holds a name of 256 bytes; at most 255 are allowed (r.toml, line 7)" in refuses(command, Path("out")).err


def test_the_longest_prefix_leaves_room_for_the_longest_file_name(
    command: Command, work: Path, request_file: Path
) -> None:
    text = SMALL.replace('prefix = "lyso"', f'prefix = "{"é" * 100}"').replace("run_number = 1", "run_number = 1000000")
    request_file.write_text(text, encoding="utf-8")
    ran = command("simulate", "r.toml", "--out", "out", "--json")
    assert (ran.code, ran.json["images"]) == (0, 8)


def test_files_that_exist_already(command: Command, work: Path, request_file: Path) -> None:
    assert command("simulate", "r.toml", "--out", "out").code == 0
    before = tree(work)
    ran = command("simulate", "r.toml", "--out", "out", "--json")
    assert (ran.code, ran.out) == (2, "")
    assert "files.run_number = 1: lyso_1_data_000001.h5 and 5 more exist already in" in ran.err
    assert "choose another run number or prefix, or set files.skip_existing = true" in ran.err
    assert "(r.toml, line 9)" in ran.err
    assert tree(work) == before


def test_what_a_disk_refuses_of_mxcubes_is_told_in_its_words(command: Command, work: Path) -> None:
    (work / "m.json").write_text(json.dumps(mxcube(skip_images=False)), encoding="utf-8")
    assert command("simulate", "m.json", "--out", "out").code == 0
    ran = command("simulate", "m.json", "--out", "out")
    assert (ran.code, ran.out) == (2, "")
    assert "fsmcollect: fileinfo.run_number = 1: lyso_1_data_000001.h5 and 1 more exist already" in ran.err
    assert "set skip_images = true" in ran.err


def test_existing_files_of_another_plan_are_left_alone(command: Command, work: Path, request_file: Path) -> None:
    """What is missing of one series is not taken where the other one's images are not those that are asked for."""
    assert command("simulate", "r.toml", "--out", "out").code == 0
    for path in (work / "out" / "data" / "lyso").glob("lyso_1_[dm]*.h5"):
        path.unlink()
    kept = {name: found for name, found in tree(work / "out").items() if name.endswith(".h5")}
    text = SMALL.replace("image_width_deg = 0.1", "image_width_deg = 0.2")
    request_file.write_text(text.replace("run_number = 1", "skip_existing = true"), encoding="utf-8")
    ran = command("simulate", "r.toml", "--out", "out", "--json")
    assert (ran.code, ran.json["outcome"], ran.json["images"]) == (1, "failed", 0)
    assert "taken from omega 180.0 deg in steps of 0.1 deg; asked for are 180.0 deg and 0.2 deg: move" in ran.err
    assert ran.err.count("\n") == 1
    assert {name: found for name, found in tree(work / "out").items() if name.endswith(".h5")} == kept
