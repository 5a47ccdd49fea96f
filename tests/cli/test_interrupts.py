"""Ctrl-C and SIGTERM, sent to a real process: whenever they come, the way out leads through CLOSING and ends in 3."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import fabio
import pytest
import trio

from fsmcollect import images
from fsmcollect.events import Event, RunEnded
from fsmcollect.request import parse_toml
from fsmcollect.sim.beamline import SimulatedBeamline
from fsmcollect.simulate.collecting import Rehearsal
from tests.cli.commanding import LYSO, SMALL, Ran, Running, events, run, tree

#: Exposing takes about six seconds at ten times real time.
LONG = LYSO
FAST_SPEED = ("--speed", "10")


@pytest.fixture
def out(work: Path) -> Path:
    (work / "r.toml").write_text(LONG, encoding="utf-8")
    return work / "out" / "data" / "lyso"


def start(work: Path, *arguments: str) -> Running:
    return Running("simulate", "r.toml", "--out", "out", *FAST_SPEED, *arguments, cwd=work)


def check_aborted(ran: Ran, out: Path) -> None:
    """Aborted and safe, on disk too; every image that counts can be read."""
    assert ran.code == 3, ran.err
    told = events(out)
    assert {"outcome": "aborted", "safe": True}.items() <= told[-1].items()
    assert told[-1]["event"] == "run_ended"
    assert any(event["event"] == "transition" and event["dest"] == "CLOSING" for event in told)
    assert all(event["verified"] for event in told if event["event"] == "safing_step")
    masters = sorted(out.glob("*_master.h5"))
    frames = 0
    for master in masters:
        with fabio.open(str(master)) as image:
            frames += image.nframes
            assert image.data.shape == (1065, 1030)
    assert frames == told[-1]["images"]
    assert not list(out.glob(".*.part")), "an unfinished file was left"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_while_mounting(work: Path, out: Path, number: signal.Signals) -> None:
    running = start(work)
    running.until("mounting")
    running.send(number)
    ran = running.ended()
    check_aborted(ran, out)
    assert ran.out.splitlines()[0] == "outcome     aborted"


def test_while_exposing_and_again_while_closing(work: Path, out: Path) -> None:
    """The second and the third Ctrl-C change nothing until all is safe."""
    running = start(work)
    running.until("images_taken", out / "events.jsonl")
    running.send(signal.SIGINT)
    running.until("closing")
    running.send(signal.SIGINT)
    running.send(signal.SIGTERM)
    ran = running.ended()
    check_aborted(ran, out)
    assert events(out)[-1]["images"] > 0
    assert "can be collected with files.skip_existing = true and --out out" in ran.out
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_while_exposing_with_json(work: Path, out: Path, number: signal.Signals) -> None:
    running = start(work, "--json")
    running.until("images_taken", out / "events.jsonl")
    running.send(number, times=3)
    ran = running.ended()
    check_aborted(ran, out)
    assert (ran.json["outcome"], ran.json["violations"], ran.err) == ("aborted", [], "")
    assert ran.json["images"] == events(out)[-1]["images"]
    assert ran.json["files"] == sorted(map(str, out.glob("*_master.h5")))


def test_while_closing_after_everything_was_collected(work: Path, out: Path) -> None:
    """Nothing more is taken and nothing is lost, but the person who aborted is told that it was aborted."""
    (work / "r.toml").write_text(SMALL, encoding="utf-8")
    running = start(work)
    running.until("closing (collected)")
    running.send(signal.SIGINT)
    ran = running.ended()
    check_aborted(ran, out)
    assert events(out)[-1]["images"] == 8


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_when_everything_has_ended(work: Path, out: Path, number: signal.Signals) -> None:
    """Too late to abort anything: what the shell is told is what became of the run."""
    (work / "r.toml").write_text(SMALL, encoding="utf-8")
    at_exit = f"import atexit, os\natexit.register(os.kill, os.getpid(), {int(number)})"
    ran = run("simulate", "r.toml", "--out", "out", "--json", cwd=work, code=at_exit)
    assert (ran.code, ran.json["outcome"], ran.err) == (0, "done", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("subcommand", ["plan", "simulate"])
def test_before_anything_runs(work: Path, subcommand: str, number: signal.Signals) -> None:
    """The command waits for a request that nobody writes."""
    os.mkfifo(work / "pipe.toml")
    running = Running(subcommand, "pipe.toml", "--json", cwd=work)
    with (work / "pipe.toml").open("w"):  # returns when the command has opened the other end
        before = tree(work)
        running.send(number, times=3)
        ran = running.ended()
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.strip() == "fsmcollect: aborted before anything was running"
    assert tree(work).keys() == before.keys()


def rehearsal(directory: Path, *runs: int, **settings: Any) -> Rehearsal:
    requests = [parse_toml(SMALL.replace("run_number = 1", f"run_number = {number}")) for number in runs]
    return Rehearsal(requests=requests, simulated=SimulatedBeamline(), directory=directory, **settings)


def test_an_abort_before_the_first_collection_begins_is_not_lost(tmp_path: Path) -> None:
    ended = rehearsal(tmp_path, 1, 2, before=Rehearsal.abort).run()
    assert (str(ended.outcome), ended.safe, ended.images, ended.failures) == ("aborted", True, 0, ())
    assert [event["event"] for event in events(tmp_path / "data" / "lyso")].count("run_ended") == 1


def test_an_abort_when_a_collection_has_just_ended_is_the_next_ones(tmp_path: Path) -> None:
    """Nothing of the first one can be aborted any more."""
    running = rehearsal(tmp_path, 1, 2)

    def abort_at_the_end(event: Event) -> None:
        if isinstance(event, RunEnded):
            running.abort()

    for collection in running._collections:
        collection.observers.listeners.append(abort_at_the_end)
    ended = running.run()
    assert (str(ended.outcome), ended.images) == ("aborted", 8)
    assert [event["outcome"] for event in events(tmp_path / "data" / "lyso") if event["event"] == "run_ended"] == [
        "done",
        "aborted",
    ]


def test_no_thread_is_in_the_middle_of_a_file_when_an_aborted_run_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HDF5 would crash the process that ends meanwhile."""
    under_way: list[Path] = []
    write_master = images.write_master

    def write_slowly(series: images.Series, *arguments: Any, **settings: Any) -> None:
        under_way.append(series.master_path)
        aborted.wait(10)
        write_master(series, *arguments, **settings)
        under_way.remove(series.master_path)

    aborted = threading.Event()
    monkeypatch.setattr(images, "write_master", write_slowly)

    def abort_while_opening(rehearsal: Rehearsal) -> None:
        async def abort() -> None:
            while not under_way:
                await trio.lowlevel.checkpoint()
            rehearsal.abort()
            aborted.set()

        trio.lowlevel.spawn_system_task(abort)

    running = rehearsal(tmp_path, 1, before=abort_while_opening)
    ended = running.run()
    assert (str(ended.outcome), under_way) == ("aborted", [])
