"""Collections that nothing is wrong with say nothing, undisturbed or stopped at any event."""

from __future__ import annotations

import pytest

from fsmcollect.request import Request
from fsmcollect.sim.checkers import RunRules
from tests.collecting.rehearsing import INVERSE, LONG_WEDGE, SHUTTERED, SHUTTERLESS, STILLS, WAYS, Play, simulate


def judged(play: Play) -> list[str]:
    """What any rule says of a run."""
    rules = RunRules()
    play.collection.observers.listeners.append(rules.hear)
    play.run()
    rules.ended()
    return [*play.violations, *rules.sentences]


@pytest.mark.parametrize("way", WAYS)
def test_an_undisturbed_collection_says_nothing(way: str) -> None:
    assert judged(Play(WAYS[way])) == []


@pytest.mark.parametrize("request_", [SHUTTERLESS, INVERSE, STILLS, SHUTTERED, LONG_WEDGE])
@pytest.mark.parametrize("stop", ["abort", "skip", "hold"])
def test_a_collection_that_is_stopped_at_any_event_says_nothing(request_: Request, stop: str) -> None:
    events = len(Play(request_).run().events)
    for number in range(1, events + 1):
        play = Play(request_)
        seen = [0]

        def strike(_: object, play: Play = play, seen: list[int] = seen, number: int = number) -> None:
            seen[0] += 1
            if seen[0] == number:
                getattr(play.collection, stop)()

        play.collection.observers.listeners.append(strike)
        if stop == "hold":
            play.enters("HOLDING", play.collection.resume, after_us=1_000_000)
        assert judged(play) == [], f"{stop} at event {number}"


@pytest.mark.parametrize("axis", ["omega_deg", "kappa_deg"])
def test_a_goniometer_that_is_found_moving_is_stopped_before_the_robot_comes(axis: str) -> None:
    simulated = simulate()
    simulated.goniometer.axes[axis].start(200.0)
    assert judged(Play(SHUTTERLESS, simulated)) == []


def test_without_a_safety_shutter_too_the_beam_goes_off_when_the_hutch_is_opened() -> None:
    play = Play(LONG_WEDGE, simulate(without={"safety_shutter"}))
    play.enters("wedge.EXPOSING", play.simulated.interlock.open_door, after_us=1_000_000)
    assert judged(play) == []
