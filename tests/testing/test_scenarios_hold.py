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
    if has_an_order_of_its_own(scenario) and scenario.strike.schedule is None:
        scenario = attrs.evolve(scenario, strike=attrs.evolve(scenario.strike, schedule=0))
    played = play(scenario, listeners=[events.append])
    assert played.violations == ()
    assert played.ended_in in ("IDLE", "FAULT")
    endings = [event for event in events if isinstance(event, RunEnded)]
    assert 1 <= len(endings) <= len(scenario.requests)
    assert isinstance(events[-1], RunEnded)
    assert sum(ended.images for ended in endings) == played.images
    assert in_order(scenario, 1) == in_order(scenario, 2) == played.trace_sha256, "it depends on the order of tasks"
    return played


def in_order(scenario: Scenario, schedule: int) -> str:
    """The hash of what happens where tasks that wake together run in another order."""
    if not has_an_order_of_its_own(scenario):
        scenario = attrs.evolve(scenario, strike=attrs.evolve(scenario.strike, schedule=schedule))
    return play(scenario).trace_sha256


def has_an_order_of_its_own(scenario: Scenario) -> bool:
    """In another order of tasks it is another run.

    It is struck at a checkpoint or an event, whose number means another one there; or the ring or the hutch changes in
    the very instant of an event, and whether the sequencer's next step is a part of that instant is a tie.
    """
    strike = scenario.strike
    ties = (happening.moment.event and not happening.moment.after_s for happening in scenario.happenings)
    return strike.cancel_at is not None or strike.abort_at is not None or any(ties)


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
    assert {in_order(scenario, schedule) for schedule in range(20)} == {played.trace_sha256}


@pytest.mark.parametrize("path", REGRESSIONS, ids=lambda path: path.stem)
def test_what_was_found_once_holds_wherever_it_is_stopped(path: Path) -> None:
    """A checkpoint's number means another one as soon as the sequencer has more of them, or fewer."""
    report = sweep(parse_scenario(path.read_text(encoding="utf-8"), path.name, name=path.stem), faults=False, jobs=1)
    assert report.violations == ()
    assert report.cancel_points > 20
