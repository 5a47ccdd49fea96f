"""Whatever is asked for, whatever fails, whoever does what and in whatever order tasks run: every rule holds.

What Hypothesis finds is kept as a scenario that a person can read; put into ``tests/testing/regressions`` it is played
by every run of the tests from then on.
"""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
from hypothesis import given, settings

from fsmcollect.events import Event, RunEnded
from fsmcollect.sim.scenario.reading import parse_scenario
from fsmcollect.sim.scenario.values import Scenario
from fsmcollect.simulate.played import Played
from fsmcollect.simulate.playing import play
from fsmcollect.testing import strategies, sweep

REGRESSIONS = sorted((Path(__file__).parent / "regressions").glob("*.toml"))
ANY = strategies.scenarios(max_images=8, max_requests=2, max_faults=2, max_deeds=3, max_happenings=2)


def check(scenario: Scenario) -> Played:
    """Every rule holds, each run ends exactly once, and it is the same again."""
    events: list[Event] = []
    played = play(scenario, listeners=[events.append])
    assert played.violations == ()
    assert played.ended_in in ("IDLE", "FAULT")
    endings = [event for event in events if isinstance(event, RunEnded)]
    assert 1 <= len(endings) <= len(scenario.requests)
    assert isinstance(events[-1], RunEnded)
    assert sum(ended.images for ended in endings) == played.images
    assert play(scenario).trace_sha256 == played.trace_sha256, "it is another run each time"
    for schedule in (1, 2):
        again = play(in_order(scenario, schedule))
        assert again.violations == ()
        if not may_tie(scenario):
            assert again.trace_sha256 == played.trace_sha256, "it depends on the order of tasks"
    return played


def in_order(scenario: Scenario, schedule: int) -> Scenario:
    """The same with another order of tasks that wake together."""
    return attrs.evolve(scenario, strike=attrs.evolve(scenario.strike, schedule=schedule))


def may_tie(scenario: Scenario) -> bool:
    """In another order of tasks it may be another run (in the same order, which its seed decides, it never is).

    It is struck at a checkpoint or an event, whose number means another one there; or something fails, changes or is
    done by somebody in the very microsecond in which the sequencer goes on, and which of the two comes first is a tie.
    """
    strike = scenario.strike
    return bool(strike.cancel_at or strike.abort_at or scenario.faults or scenario.happenings or scenario.operator)


@settings(max_examples=150)
@given(ANY)
def test_any_scenario_holds(scenario: Scenario) -> None:
    with strategies.kept(scenario):
        check(scenario)


@pytest.mark.long
@settings(max_examples=10_000)
@given(ANY)
def test_any_of_ten_thousand_scenarios_holds(scenario: Scenario) -> None:
    with strategies.kept(scenario):
        check(scenario)


@pytest.mark.parametrize("path", REGRESSIONS, ids=lambda path: path.stem)
def test_what_was_found_once_holds(path: Path) -> None:
    scenario = parse_scenario(path.read_text(encoding="utf-8"), path.name, name=path.stem)
    played = check(scenario)
    assert played.unmet == ()
    if scenario.strike.cancel_at is None:
        orders = (in_order(scenario, schedule) for schedule in range(20))
        assert {play(order).trace_sha256 for order in orders} == {played.trace_sha256}


@pytest.mark.parametrize("path", REGRESSIONS, ids=lambda path: path.stem)
def test_what_was_found_once_holds_wherever_it_is_stopped(path: Path) -> None:
    """A checkpoint's number means another one as soon as the sequencer has more of them, or fewer."""
    report = sweep(parse_scenario(path.read_text(encoding="utf-8"), path.name, name=path.stem), faults=False, jobs=1)
    assert report.violations == ()
    assert report.cancel_points > 20
