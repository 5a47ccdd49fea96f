"""``fsmcollect sweep``: the table, the JSON, the exit codes, and how it is interrupted."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, as_completed
from pathlib import Path
from typing import Any

import pytest

from fsmcollect import testing
from fsmcollect.console.sweeping import Count, show_report
from fsmcollect.testing.sweeping.report import Coverage, Covered, Report, Violation
from tests.cli.commanding import SMALL, Command, Running, tree
from tests.cli.test_terminal import lines_of, on_a_terminal

#: A sweep that takes seconds: few points, one process.
FEW = ("--limit", "3", "--jobs", "1")


def report(*violations: Violation, missed: tuple[str, ...] = ()) -> Report:
    states = Covered(2 - len({name.rpartition(" in ")[2] for name in missed}), 2, ())
    return Report(
        scenario="short",
        cancel_points=1200,
        abort_points=30,
        fault_points=0,
        pair_points=0,
        schedules=2,
        violations=violations,
        points_by_state={"": 1, "CLOSING": 29, "MOUNTING": 1000, "wedge.EXPOSING": 200},
        coverage=Coverage(states=states, rows=Covered(3, 3, ()), fault_x_state=Covered(4 - len(missed), 4, missed)),
        seconds=3.0,
        runs=1232,
    )


OPEN = Violation("fsmcollect simulate short --explain --with 'strike = {cancel_at = 12}'", "at 3 s: open", "CLOSING", 7)


def test_it_says_how_many_points_were_tried_in_which_state(command: Command) -> None:
    ran = command("sweep", "short", *FEW)
    lines = ran.out.splitlines()
    assert (ran.code, ran.err) == (0, "")
    assert lines[:6] == [
        "point                      tried",
        "cancelled at a checkpoint      3",
        "aborted at an event            3",
        "one fault                      3",
        "all                            9",
        "",
    ]
    assert lines[6].split() == ["struck", "in", "tried"]
    assert sum(int(line.split()[-1]) for line in lines[7 : lines.index("", 7) - 1]) == 9
    assert "violations  0" in lines


def test_json_is_the_report_and_nothing_else(command: Command) -> None:
    ran = command("sweep", "short", *FEW, "--json")
    assert (ran.code, ran.err) == (0, "")
    assert {"cancel_points", "fault_points", "schedules", "violations", "coverage"} <= ran.json.keys()
    assert set(ran.json["coverage"]) == {"states", "rows", "fault_x_state"}
    assert (ran.json["cancel_points"], ran.json["fault_points"], ran.json["violations"]) == (3, 3, [])


@pytest.mark.parametrize(
    "options, kinds",
    [
        (("--cancel",), (3, 3, 0, 0)),
        (("--faults",), (0, 0, 3, 0)),
        (("--faults", "--cancel"), (3, 3, 3, 0)),
        (("--faults", "--pairs", "2"), (0, 0, 3, 2)),
    ],
    ids=["cancel", "faults", "both", "pairs"],
)
def test_what_is_tried_can_be_chosen(command: Command, options: tuple[str, ...], kinds: tuple[int, ...]) -> None:
    told = command("sweep", "short", *FEW, *options, "--json").json
    assert tuple(told[f"{kind}_points"] for kind in ("cancel", "abort", "fault", "pair")) == kinds


def test_another_seed_draws_other_pairs(command: Command) -> None:
    drawn = [
        command("sweep", "short", "--faults", "--limit", "8", "--pairs", "8", "--seed", seed, "--json").json
        for seed in ("0", "0", "1")
    ]
    coverage = [(each["points_by_state"], each["coverage"]) for each in drawn]
    assert coverage[0] == coverage[1] != coverage[2]


def test_a_request_can_be_swept_as_it_is(command: Command, work: Path) -> None:
    (work / "r.toml").write_text(SMALL, encoding="utf-8")
    before = tree(work)
    ran = command("sweep", "r.toml", *FEW, "--json")
    assert (ran.code, ran.json["violations"]) == (0, [])
    assert tree(work) == before, "a sweep makes no files"


def test_a_violation_is_told_with_the_command_that_replays_it(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(testing, "sweep", lambda *_, **__: report(OPEN), raising=False)
    ran = command("sweep", "short")
    assert ran.code == 1
    assert "violations  1\n\nviolated    CLOSING: at 3 s: open (7 times)\n" in ran.out
    assert f"replay      {OPEN.replay}\n" in ran.out
    told = command("sweep", "short", "--json")
    assert (told.code, told.json["violations"][0]["replay"]) == (1, OPEN.replay)


def test_the_command_that_replays_is_one_that_can_be_given(
    command: Command, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the sweep would give it: the name that was asked for, or the file."""
    asked: list[Any] = []

    def sweep(scenario: object, **_: object) -> Report:
        asked.append(scenario)
        return report()

    monkeypatch.setattr(testing, "sweep", sweep, raising=False)
    text = command("scenarios", "short").out
    (work / "mine.toml").write_text(text, encoding="utf-8")
    (work / "inverse_beam").write_text(text, encoding="utf-8")
    for name in ("Short.toml", "mine.toml", "inverse_beam", str(work / "mine.toml")):
        assert command("sweep", name).code == 0
    assert asked == ["short", "./mine.toml", "./inverse_beam", str(work / "mine.toml")]


def test_a_long_list_of_what_was_missed_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    show_report(report(missed=("refuses in HOLDING", "hangs in HOLDING", "hangs in FAULT")))
    out = capsys.readouterr().out
    assert "faults      1 of 4; missed: all in HOLDING, hangs in FAULT\n" in out


def test_states_are_told_in_the_order_of_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    show_report(report())
    table = capsys.readouterr().out.split("\n\n")[1].splitlines()
    assert [line.split()[0] for line in table] == ["struck", "MOUNTING", "CLOSING", "wedge.EXPOSING", "(never)", "all"]
    assert table[-1].split() == ["all", "1,230"]


WRONG = {
    "schedules": (("short", "--schedules", "0"), "--schedules = 0: must be a whole number, 1 or more"),
    "jobs": (("short", "--jobs", "-1"), "--jobs = -1: must be a whole number, 1 or more"),
    "limit": (("short", "--limit", "0"), "--limit = 0: must be a whole number, 1 or more"),
    "pairs": (("short", "--pairs", "-2"), "--pairs = -2: must be a whole number, from 0 to 1,000,000"),
    "no number": (("short", "--jobs", "x"), "Invalid value for '--jobs': 'x' is not a valid integer."),
    "no scenario": ((), "Missing argument 'SCENARIO'."),
    "unknown": (("shrot",), "no bundled scenario is called so; did you mean short?"),
    "wrong scenario": (("wrong.toml",), "effect"),
}


@pytest.mark.parametrize("arguments, says", WRONG.values(), ids=WRONG)
def test_a_wrong_call_is_refused_in_a_sentence(
    command: Command, work: Path, arguments: tuple[str, ...], says: str
) -> None:
    text = command("scenarios", "short").out
    wrong = '[[faults]]\ndevice = "detector"\ncommand = "arm"\neffect = "explodes"\ncall = 1\n'
    (work / "wrong.toml").write_text(text + wrong, encoding="utf-8")
    ran = command("sweep", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert says in ran.err
    assert "Traceback" not in ran.err


def test_a_terminal_sees_a_bar_and_no_trace_of_it_afterwards(work: Path) -> None:
    sent = on_a_terminal(work, "sweep", "short", *FEW)
    bars = [line for line in lines_of(sent) if "points" in line and "━" in line]
    assert max(map(len, bars)) <= 77, "^C must fit behind it"


def test_what_is_counted_is_said() -> None:
    assert str(Count()) == "before the first point"
    assert str(Count(1200, 5000)) == "after 1,200 of 5,000 points"


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="the processes of a system without /proc cannot be counted")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("to_all", [False, True], ids=["it alone", "all its processes"])
def test_ctrl_c_ends_it_with_3_and_leaves_no_process(work: Path, number: signal.Signals, to_all: bool) -> None:
    running = Running("sweep", "inverse_beam", "--jobs", "2", cwd=work)
    until = time.monotonic() + 60
    while len(children := children_of(running.process.pid)) < 2:
        assert time.monotonic() < until
        assert running.process.poll() is None, running.err.read_text(encoding="utf-8")
        time.sleep(0.05)
    if to_all:
        running.send_to_all(number)
    else:
        running.send(number, times=3)
    ran = running.ended()
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.startswith("fsmcollect: interrupted ")
    assert ran.err.count("\n") == 1
    for child in children:
        while is_alive(child):
            assert time.monotonic() < until, "a process was left"
            time.sleep(0.05)


@pytest.mark.parametrize("is_waiting", [False, True])
def test_ctrl_c_is_heard_once_and_only_a_wait_for_other_processes_ends_at_once(
    command: Command, monkeypatch: pytest.MonkeyPatch, is_waiting: bool
) -> None:
    steps: list[str] = []

    def wait() -> None:
        never: Future[None] = Future()
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        for _ in as_completed([never], timeout=60):
            pass

    def play() -> None:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGINT)
        steps.append("played")

    def sweep(*_: object, progress: Callable[[int, int], object], **__: object) -> Report:
        progress(0, 1000)
        try:
            if is_waiting:
                wait()
            play()
            progress(25, 1000)
        finally:
            os.kill(os.getpid(), signal.SIGINT)  # once more, while it cleans up
            steps.append("cleaned up")
        return report()

    monkeypatch.setattr(testing, "sweep", sweep, raising=False)
    ran = command("sweep", "short")
    assert (ran.code, ran.out) == (3, "")
    points, expected = (25, ["played", "cleaned up"]) if not is_waiting else (0, ["cleaned up"])
    assert ran.err == f"fsmcollect: interrupted after {points} of 1,000 points; nothing is reported of a part\n"
    assert steps == expected


def children_of(process: int) -> list[int]:
    """The processes that it has begun."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if path.read_text(encoding="utf-8").rpartition(")")[2].split()[1] == str(process):
                found.append(int(path.parent.name))
    return found


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
