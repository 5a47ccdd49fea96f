"""The process is killed at any moment of a run with files: what is on the disk, and what can be done with it."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from fsmcollect import images
from tests.collecting.rehearsing import WAYS, Play
from tests.collecting.test_abort import check_the_rest_is_taken


def kill_after(way: str, directory: Path, seconds: float) -> bool:
    """Start a run, kill it so long after it has begun; whether it had ended by then."""
    program = Path(__file__).with_name("kill_me.py")
    command = [sys.executable, str(program), str(directory), way]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begins\n"
        ended = bool(select.select([process.stdout], [], [], seconds)[0])
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return ended


def check_what_is_left(way: str, directory: Path) -> None:
    folder = directory / "data"
    play = Play(WAYS[way])  # knows the plan
    journal = folder / "events.jsonl"
    lines = journal.read_bytes().split(b"\n") if journal.exists() else [b""]
    events = [json.loads(line) for line in lines[:-1]]  # every whole line parses
    named = [event for event in events if event["event"] == "images_taken"]
    for event in named:
        part = next(p for p in images.existing_parts(folder, event["series"]) if p.file == event["file"])
        assert (part.first_image, part.images) == (event["first_image"], event["images"])
    existing = {
        (series.name, number)
        for series in play.collection.plan.series
        for first, stop in images.existing_images(folder, series.name)
        for number in range(first, stop)
    }
    assert {(e["series"], e["first_image"] + i) for e in named for i in range(e["images"])} <= existing
    interrupted = Play(WAYS[way])
    interrupted.directory = directory
    check_the_rest_is_taken(interrupted)
    lines = [line for line in journal.read_bytes().split(b"\n") if line]
    torn = 0
    for line in lines:
        try:
            json.loads(line)
        except ValueError:
            torn += 1
    assert torn <= 1
    assert json.loads(lines[-1])["event"] == "run_ended"


def kill_at_random(way: str, count: int, base: Path) -> None:
    rng = Random(f"kill/{way}")
    for number in range(count):
        directory = base / str(number)
        directory.mkdir()
        # A run takes some 0.1 to 0.3 s here; where it has ended already, the next one is killed sooner.
        kill_after(way, directory, rng.uniform(0.0, 0.2))
        check_what_is_left(way, directory)


@pytest.mark.parametrize("way", ["inverse beam", "long wedge"])
def test_killed_at_any_moment_whatever_is_named_is_whole_and_the_rest_can_be_taken(way: str, tmp_path: Path) -> None:
    kill_at_random(way, 3, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("way", WAYS)
def test_killed_at_any_of_many_moments_nothing_named_is_lost(way: str, tmp_path: Path) -> None:
    kill_at_random(way, 40, tmp_path)


def test_a_torn_last_line_is_ended_and_the_next_run_goes_on_below(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    journal = tmp_path / "data" / "events.jsonl"
    journal.write_bytes(b'{"event":"run_started"}\n{"event":"images_ta')
    Play(WAYS["inverse beam"], directory=tmp_path).run()
    lines = journal.read_text().splitlines()
    assert lines[:2] == ['{"event":"run_started"}', '{"event":"images_ta']
    assert json.loads(lines[2])["event"] == "run_started"
