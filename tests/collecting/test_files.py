"""What lies on the disk: taking only what is missing, refusing what is another's, and disks that refuse."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from random import Random

import attrs
import pytest

from fsmcollect import images
from fsmcollect.errors import InvalidRequest
from fsmcollect.events import ImagesTaken, WedgeStarted
from fsmcollect.request import Request
from fsmcollect.sim.beamline import ROLES
from tests.collecting.rehearsing import INVERSE, LONG_WEDGE, SECOND_US, WAYS, Play, adapt, ask, simulate
from tests.collecting.test_abort import check_the_rest_is_taken

SMALL_FILES = ask(sweep={"images": 24, "wedge_images": 4})


def skipping(request: Request) -> Request:
    return attrs.evolve(request, files=attrs.evolve(request.files, skip_existing=True))


def data_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*_data_*.h5"))


@pytest.mark.parametrize("seed", range(4))
def test_exactly_the_images_that_are_missing_are_taken(seed: int, tmp_path: Path) -> None:
    """Image by image, wherever the holes are: also where a wedge's first file is there and another is not."""
    request = INVERSE if seed % 2 else SMALL_FILES
    first = Play(request, directory=tmp_path).run()
    first.check("done")
    before = {path: path.stat().st_mtime_ns for path in data_files(first.folder)}
    lost = Random(seed).sample(data_files(first.folder), k=2)
    for path in lost:
        path.unlink()
    left = first.on_disk
    play = Play(skipping(request), directory=tmp_path).run()
    assert play.outcome == "done"
    play.check_files()
    assert play.reported == [image for image in play.planned if image not in left]
    assert play.on_disk == play.planned
    assert {
        path: path.stat().st_mtime_ns for path in data_files(play.folder) if path not in lost
    }.items() <= before.items()


def test_holes_within_a_wedge_are_filled_at_their_own_angles(tmp_path: Path) -> None:
    """A wedge that was interrupted twice lies in three files; the middle one is lost."""
    play = Play(LONG_WEDGE, directory=tmp_path)
    for second in (1, 2):
        play.when(WedgeStarted, play.collection.hold, after_us=second * SECOND_US + 400_000, count=second)
        play.enters("HOLDING", play.collection.resume, after_us=SECOND_US, count=second)
    play.run()
    play.check("done")
    files = data_files(play.folder)
    assert len(files) > 3
    files[1].unlink()
    again = Play(skipping(LONG_WEDGE), directory=tmp_path).run()
    assert again.outcome == "done"
    again.check_files()
    assert again.on_disk == again.planned
    first = again.of(ImagesTaken)[0]
    wedge = again.collection.plan.wedges[0]
    assert first.omega_recorded_deg == pytest.approx(float(wedge.image_start_deg(first.first_image)), abs=1e-6)


def test_where_every_image_exists_nothing_moves_and_the_run_is_skipped(tmp_path: Path) -> None:
    Play(INVERSE, directory=tmp_path).run().check("done")
    play = Play(skipping(INVERSE), directory=tmp_path).run()
    play.check("skipped")
    assert play.states == ["MOUNTING", "CLOSING", "IDLE"]
    assert play.reported == []
    noted = {text for _, (source, text) in play.lines if source in set(ROLES)}
    assert noted == {"close", "stop", "disarm", "to closed", "to out"}, "all is commanded to be safe, and nothing else"


def test_what_exists_is_refused_before_anything_moves_unless_it_may_be_skipped(tmp_path: Path) -> None:
    Play(INVERSE, directory=tmp_path).run()
    with pytest.raises(InvalidRequest, match=r"files\.run_number = 1: .*exist already.*files\.skip_existing = true"):
        Play(INVERSE, directory=tmp_path)


@pytest.mark.parametrize(
    "other",
    [
        {"omega_start_deg": 1.0},
        {"image_width_deg": 0.25},
        {"images": 10},
        {"first_image": 5},
        {"image_width_deg": -0.5},
    ],
    ids=str,
)
def test_images_of_another_plan_are_refused_in_words_and_left_alone(other: dict[str, object], tmp_path: Path) -> None:
    first = Play(INVERSE, directory=tmp_path).run()
    before = {path.name: path.read_bytes() for path in first.folder.glob("*.h5")}
    play = Play(
        skipping(ask(sweep={"images": 20, **other}, inverse_beam={"wedge_images": 10})), directory=tmp_path
    ).run()
    assert play.outcome == "failed"
    assert play.result.safe
    assert play.violations == []
    assert "lyso_1" in play.result.failures[0]
    assert "move the file away or choose another prefix or run number" in play.result.failures[0]
    assert play.of(WedgeStarted) == []
    assert "load 1:5" not in [text for _, text in play.commands("sample_changer")]
    assert {path.name: path.read_bytes() for path in first.folder.glob("*.h5")} == before


def test_a_file_that_is_none_of_ours_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    stranger = tmp_path / "data" / "lyso_1_data_000001.h5"
    stranger.write_bytes(b"not an image")
    play = Play(skipping(ask()), directory=tmp_path).run()
    assert play.outcome == "failed"
    assert stranger.name in play.result.failures[0]
    assert stranger.read_bytes() == b"not an image"


def test_what_a_killed_run_was_writing_is_removed(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / ".lyso_1_data_000001.h5.part").write_bytes(b"half")
    Play(skipping(ask()), directory=tmp_path).run().check("done")


# -- disks that refuse -------------------------------------------------------------------------------------------------


def test_a_directory_that_vanishes_ends_the_run_as_failed_and_safe(tmp_path: Path) -> None:
    play = Play(INVERSE, directory=tmp_path)
    play.enters("wedge.EXPOSING", lambda: shutil.rmtree(play.folder), count=2).run()
    assert play.raised is None
    assert (play.outcome, play.result.safe, play.violations) == ("failed", True, [])
    assert "No such file or directory" in " ".join(play.result.failures)
    assert play.result.files == ()
    assert play.reported == play.planned[:10]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EIO, errno.EROFS])
def test_a_disk_that_refuses_an_image_ends_the_run_and_keeps_what_was_stored(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = os.pwrite

    def refuse(descriptor: int, data: bytes, offset: int) -> int:
        raise OSError(number, os.strerror(number))

    play = Play(INVERSE, directory=tmp_path)
    play.enters("wedge.EXPOSING", lambda: monkeypatch.setattr(os, "pwrite", refuse), count=3).run()
    monkeypatch.setattr(os, "pwrite", original)
    assert play.raised is None
    assert (play.outcome, play.result.safe, play.violations) == ("failed", True, [])
    told = " ".join(play.result.failures)
    assert os.strerror(number) in told
    assert "lyso_1_data_000011.h5" in told
    assert play.on_disk == play.reported == play.planned[:20]
    assert play.result.images == 20
    check_the_rest_is_taken(play)


def test_a_file_size_limit_is_such_a_refusal(tmp_path: Path) -> None:
    import resource
    import signal

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    play = Play(INVERSE, directory=tmp_path)
    try:
        # the journal is some kilobytes by then, a data file is more
        play.enters(
            "wedge.EXPOSING", lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (6_000, limits[1])), count=2
        ).run()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert (play.outcome, play.result.safe, play.violations) == ("failed", True, [])
    assert "File too large" in " ".join(play.result.failures)
    assert play.on_disk == play.reported == play.planned[:10]
    check_the_rest_is_taken(play)


@pytest.mark.parametrize("state", ["MOUNTING", "CENTRING", "OSCILLATING", "wedge.EXPOSING"])
def test_a_journal_that_cannot_be_written_ends_the_run(
    state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = os.write
    play = Play(INVERSE, directory=tmp_path)

    def refuse(descriptor: int, data: bytes) -> int:
        if data.startswith(b"{"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(descriptor, data)

    play.enters(state, lambda: monkeypatch.setattr(os, "write", refuse), after_us=1).run()
    monkeypatch.setattr(os, "write", original)
    assert (play.outcome, play.result.safe, play.violations) == ("failed", True, [])
    journal = [failure for failure in play.result.failures if "cannot write the journal" in failure]
    assert journal
    assert len(set(play.result.failures)) == len(play.result.failures)
    assert play.on_disk == play.reported
    check_the_rest_is_taken(play)


def test_a_text_that_is_no_unicode_does_not_stop_the_journal(tmp_path: Path) -> None:
    """Names of files that are not UTF-8 come as lone surrogates in an operating system's message."""
    from fsmcollect.errors import DeviceError

    async def fail(_: float) -> None:
        raise DeviceError("attenuator", "cannot read \udcff.cfg")

    play = Play(ask(), adapt(simulate(), "attenuator", set_transmission=fail), directory=tmp_path).run()
    play.check("failed")
    assert r"\udcff.cfg" in (play.folder / "events.jsonl").read_text()


def test_a_snapshot_that_cannot_be_stored_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fsmcollect.errors import StorageError

    def refuse(*_: object) -> None:
        raise StorageError("no room for a picture")

    monkeypatch.setattr(images, "write_snapshot", refuse)
    play = Play(ask(snapshots={"count": 1}), directory=tmp_path).run()
    play.check("failed")
    assert play.of(WedgeStarted) == []
    assert "no room for a picture" in play.result.failures[0]


def test_some_groups_stored_and_a_later_one_refused_all_stored_ones_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fsmcollect.errors import StorageError

    original, calls = images.write_data_file, [0]

    def refuse_third(*args: object) -> object:
        calls[0] += 1
        if calls[0] >= 3:
            raise StorageError("the disk is full")
        return original(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(images, "write_data_file", refuse_third)
    play = Play(LONG_WEDGE, directory=tmp_path).run()
    play.check("failed")
    assert play.on_disk == play.reported == play.planned[:200]
    assert play.result.images == 200


def test_without_a_directory_no_file_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for request in WAYS.values():
        Play(request).run().check("done")
    assert list(tmp_path.iterdir()) == []
