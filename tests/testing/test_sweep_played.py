"""Sweeps of real scenarios: that nothing is violated, that the points are real, and that a replay really replays."""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import attrs
import pytest

from fsmcollect.collecting.collection import Collection
from fsmcollect.sim.scenario import library, reading, writing
from fsmcollect.sim.scenario.values import Expectation, Scenario, Strike
from fsmcollect.simulate.played import Played
from fsmcollect.simulate.playing import play
from fsmcollect.testing import Report, sweep
from fsmcollect.testing.sweeping.engine import Sweep
from fsmcollect.testing.sweeping.points import Kind, Point, Wanted, every_point, struck
from fsmcollect.testing.sweeping.replaying import replay

ROOT = Path(__file__).parents[2]


def told(report: Report) -> str:
    """Every violation with its replay, for a person who has to mend it."""
    return "\n".join(f"{violation.what} ({violation.state})\n  {violation.replay}" for violation in report.violations)


def test_a_short_collection_is_safe_wherever_it_is_struck() -> None:
    report = sweep("short", pairs=200, schedules=2, jobs=2)
    assert report.violations == (), told(report)
    assert report.points_by_state.get("", 0) == 0
    assert report.cancel_points > 100
    assert report.abort_points > 50
    assert report.fault_points > 500
    assert report.pair_points == 400


@pytest.mark.long
def test_the_inverse_beam_collection_is_safe_wherever_it_is_struck() -> None:
    report = sweep("inverse_beam", pairs=2000)
    assert report.violations == (), told(report)
    assert report.points_by_state.get("", 0) == 0
    assert (report.cancel_points > 200, report.abort_points > 200, report.fault_points > 2000) == (True, True, True)
    assert report.pair_points == 2000


def test_equal_sweeps_give_equal_reports_whatever_the_number_of_processes() -> None:
    one, other = (sweep("short", pairs=100, limit=30, seed=3, jobs=jobs) for jobs in (1, 2))
    assert attrs.evolve(one, seconds=0.0) == attrs.evolve(other, seconds=0.0)
    assert other.runs == 1 + 4 * 30


def test_one_checkpoint_more_than_there_are_is_never_reached() -> None:
    short = library.read("short")
    reference = play(struck(short, (), Strike(schedule=5)), record_calls=True, count_checkpoints=True)
    assert reference.checkpoints > 50
    beyond = play(struck(short, (), Strike(cancel_at=reference.checkpoints + 1, schedule=5)))
    assert beyond.struck_in == ""
    assert beyond.trace_sha256 == reference.trace_sha256
    last = play(struck(short, (), Strike(cancel_at=reference.checkpoints, schedule=5)))
    assert last.struck_in != ""
    assert play(struck(short, (), Strike(abort_at=reference.events + 1, schedule=5))).struck_in == ""


def points_of(scenario: Scenario) -> list[Point]:
    reference = play(struck(scenario, (), Strike(schedule=0)), record_calls=True, count_checkpoints=True)
    return every_point([reference], Wanted(pairs=40, limit=40))


def test_what_a_replay_adds_to_the_scenario_is_the_very_point() -> None:
    short = library.read("short")
    for point in points_of(short):
        command = shlex.split(replay(short, "short", point.faults, point.strike))
        assert command[:5] == ["fsmcollect", "simulate", "short", "--explain", "--with"]
        assert reading.parse_scenario(library.text("short"), name="short", additions=command[5:]) == point.of(short)


def test_a_replay_of_a_scenario_that_has_no_file_holds_all_of_it() -> None:
    short = attrs.evolve(library.read("short"), name="-", seed=7)
    point = next(point for point in points_of(short) if point.kind is Kind.PAIR)
    first, _, document = replay(short, "", point.faults, point.strike).partition("\n")
    assert first.startswith("fsmcollect simulate - --explain <<")
    text, _, end = document.rpartition("\n")
    assert end in first
    assert reading.parse_scenario(text, name="-") == point.of(short)


def test_what_a_replay_plays_shows_the_same_violation_of_a_defective_sequencer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Collection, "abort", lambda _: False)
    report = sweep("short", faults=False, jobs=1)
    assert report.violations
    assert all("abort_at" in violation.replay for violation in report.violations)
    assert {"MOUNTING", "OSCILLATING", "wedge.EXPOSING", "CLOSING"} <= {each.state for each in report.violations}
    for violation in report.violations:
        additions = shlex.split(violation.replay)[5:]
        again = play(reading.parse_scenario(library.text("short"), name="short", additions=additions))
        assert violation.state == again.struck_in
        if not violation.what.startswith("it was stopped"):  # which the sweep alone has said
            assert violation.what in again.violations
    assert any("by request" in violation.what for violation in report.violations)


def replayed(command: str) -> subprocess.CompletedProcess[str]:
    """What a shell says to it, with the command of this very interpreter."""
    assert command.startswith("fsmcollect ")
    own = f"{shlex.quote(sys.executable)} -m {command}"
    return subprocess.run(["sh", "-c", own], capture_output=True, text=True, timeout=120, check=False, cwd=ROOT)


@pytest.mark.parametrize("in_a_file", [True, False], ids=["of a file", "of a scenario that has no file"])
def test_a_replay_really_shows_the_violation(in_a_file: bool, tmp_path: Path) -> None:
    wrong = attrs.evolve(library.read("short"), expect=Expectation(outcome="failed"))
    path = tmp_path / "it fails.toml"
    path.write_text(writing.to_toml(wrong), encoding="utf-8")
    report = sweep(str(path) if in_a_file else wrong, limit=1, jobs=1)
    first = report.violations[0]
    assert first.what.startswith("undisturbed, it does not end as expected: expect.outcome")
    shown = replayed(first.replay)
    assert shown.returncode == 1, shown.stderr
    assert "expect.outcome" in shown.stdout + shown.stderr


@pytest.mark.parametrize("name", ["two_faults_at_once", "inverse_beam"])
def test_whoever_listens_for_signals_the_point_is_the_same_run(name: str) -> None:
    """The command that replays a point listens for Ctrl-C, and the sweep that found it did not."""
    scenario = library.read(name)
    reference = play(struck(scenario, (), Strike(schedule=1)), count_checkpoints=True)
    for number in range(1, reference.checkpoints, max(1, reference.checkpoints // 25)):
        point = struck(scenario, (), Strike(cancel_at=number, schedule=1))
        swept, shown = play(point), play(point, heed_signals=True)
        assert (shown.trace_sha256, shown.struck_in) == (swept.trace_sha256, swept.struck_in)


@pytest.mark.long
@pytest.mark.parametrize("name", library.names())
def test_every_bundled_scenario_is_safe_wherever_it_is_struck(name: str) -> None:
    report = sweep(name, pairs=300, schedules=2, limit=300)
    assert report.violations == ()
    assert report.never == ()


@pytest.mark.long
@pytest.mark.parametrize("name", ["operator_holds_and_resumes", "shuttered_passes_with_a_lost_beam"])
def test_struck_anywhere_the_files_are_what_was_told(name: str) -> None:
    """Sweeps keep no files: here each point does, and is looked at as a reader would."""

    def with_files(scenario: Scenario) -> Played:
        with tempfile.TemporaryDirectory() as directory:
            return play(scenario, directory=Path(directory))

    report = Sweep(
        scenario=library.read(name),
        wanted=Wanted(cancel=True, limit=60),
        player=with_files,
        recording_player=lambda scenario: play(scenario, record_calls=True),
    ).run()
    assert report.violations == ()
    assert report.abort_points == report.fault_points == 60
