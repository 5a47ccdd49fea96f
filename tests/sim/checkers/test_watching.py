"""When rules are looked at, what becomes of what they say, and excuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import attrs
import pytest

from fsmcollect.events import Event, Moved, StepDone
from fsmcollect.sim.beamline import SimulatedBeamline
from fsmcollect.sim.checkers import KEPT, Checkers
from fsmcollect.sim.kernel import Kernel
from fsmcollect.sim.shutter import FastShutter
from fsmcollect.sim.trace import Trace
from tests.sim.checkers.bench import acquisition, do, make_safe, open_up

STEP = StepDone(t_us=0, step="something")


@attrs.define(eq=False)
class Complaint:
    """A rule that says what it is told to."""

    said: str | None = None
    looked_at: int = 0

    def look(self) -> str | None:
        self.looked_at += 1
        return self.said


def make() -> tuple[Checkers, Complaint]:
    kernel = Kernel()
    rule = Complaint()
    return Checkers(kernel, FastShutter(kernel, Trace(kernel)), rules=[rule]), rule


def test_what_a_rule_keeps_saying_is_told_once_until_it_was_silent() -> None:
    checkers, rule = make()
    for rule.said in ("no", "no", "still no", None, "no again"):
        checkers.look()
    assert checkers.violations == ["at 0.000000 s: no", "at 0.000000 s: no again"]
    assert checkers.count == 2


def test_what_one_rule_says_does_not_hush_another() -> None:
    checkers, rule = make()
    other = Complaint("mine")
    checkers.rules.append(other)
    for rule.said in (None, "a", None, "b"):
        checkers.look()
    assert [said.partition(": ")[2] for said in checkers.violations] == ["mine", "a", "b"]


def test_rules_are_looked_at_at_every_event_and_at_the_end_of_every_instant() -> None:
    checkers, rule = make()

    async def body() -> None:
        checkers.hear(STEP)
        checkers.hear(STEP)
        await checkers.kernel.wait(10)

    checkers.kernel.run(body)
    assert rule.looked_at == 4


def test_all_violations_are_counted_and_some_are_kept() -> None:
    checkers = SimulatedBeamline().checkers
    for _ in range(KEPT + 50):
        checkers.say("nonsense")
    assert checkers.count == KEPT + 50
    assert len(checkers.violations) == KEPT


def test_what_is_excused_is_noted_once_and_is_no_violation() -> None:
    checkers, rule = make()
    checkers.excused = lambda name: name == "Complaint"
    rule.said = "no"
    checkers.look()
    checkers.look()
    assert (checkers.violations, checkers.count) == ([], 0)
    assert checkers.excused_sentences == ["at 0.000000 s: no"]


def test_what_is_still_so_when_its_excuse_is_over_is_a_violation() -> None:
    checkers, rule = make()
    is_excused = True
    checkers.excused = lambda name: is_excused
    rule.said = "no"
    checkers.look()
    is_excused = False
    checkers.look()
    checkers.look()
    assert checkers.violations == checkers.excused_sentences == ["at 0.000000 s: no"]


def test_what_was_a_violation_is_not_excused_afterwards() -> None:
    checkers, rule = make()
    rule.said = "no"
    checkers.look()
    checkers.excused = lambda name: True
    checkers.look()
    assert (len(checkers.violations), checkers.excused_sentences) == (1, [])


def test_only_some_excused_sentences_are_kept() -> None:
    checkers, _ = make()
    checkers.excused = lambda name: True
    for _ in range(KEPT + 1):
        checkers.say("no", rule="Complaint")
    assert (len(checkers.excused_sentences), checkers.count) == (KEPT, 0)


def test_what_has_no_name_cannot_be_excused() -> None:
    checkers, _ = make()
    checkers.excused = lambda name: True
    checkers.say("no")
    assert checkers.count == 1


@pytest.mark.parametrize("rule", ["FastShutterClosed", "NoTriggerLost", "DetectorAtRest"])
def test_rules_at_rest_and_rules_that_speak_by_themselves_are_excused_by_their_names(rule: str) -> None:
    simulated = SimulatedBeamline()
    checkers = simulated.checkers
    checkers.excused = lambda name: name == rule

    async def body() -> None:
        simulated.detector.trigger()
        await simulated.fast_shutter.open()
        await simulated.detector.arm(acquisition())
        checkers.at_rest()

    simulated.kernel.run(body)
    assert len(checkers.excused_sentences) == 1
    assert len(checkers.violations) == 2


def test_a_hearer_is_told_of_its_kinds_only() -> None:
    @attrs.define
    class Listener:
        kinds: ClassVar[tuple[type[Event], ...]] = (StepDone,)
        heard: list[Event] = attrs.field(factory=list[Event])

        def hear(self, event: Event) -> None:
            self.heard.append(event)

    checkers, _ = make()
    listener = Listener()
    checkers.add(listener)
    checkers.hear(Moved(t_us=0, machine="wedge", source="PLANNED", event="START", dest="ARMING"))
    checkers.hear(STEP)
    assert listener.heard == [STEP]


def test_a_rule_that_raises_at_an_event_is_a_violation_and_not_silence() -> None:
    class Broken:
        def look(self) -> str | None:
            raise ZeroDivisionError

    checkers, _ = make()
    checkers.rules.append(Broken())
    checkers.hear(STEP)
    assert checkers.violations == ["at 0.000000 s: a rule cannot be looked at: ZeroDivisionError()"]


# -- in the middle of an instant --------------------------------------------------------------------------------------


def in_the_middle(
    deed: Callable[[SimulatedBeamline], object], undo: Callable[[SimulatedBeamline], object]
) -> list[str]:
    """What is said at an event between two deeds of one instant."""

    async def body(simulated: SimulatedBeamline) -> None:
        await open_up(simulated)
        deed(simulated)
        simulated.checkers.hear(STEP)
        undo(simulated)
        await simulated.kernel.wait(1_000_000)
        await make_safe(simulated)

    return do(body).names


def test_what_is_wrong_only_between_two_deeds_of_one_instant_is_seen_at_the_event_in_between() -> None:
    assert "BeamOnlyInSweep" in in_the_middle(
        lambda s: s.fast_shutter.gate_open(), lambda s: s.fast_shutter.gate_close()
    )


def test_that_the_beam_is_on_just_when_the_hutch_is_opened_is_no_violation_yet() -> None:
    def exposing(simulated: SimulatedBeamline) -> None:
        simulated.fast_shutter.gate_open()
        simulated.interlock.open_door()

    assert "NoExposureInOpenHutch" not in in_the_middle(exposing, lambda s: s.fast_shutter.gate_close())
    assert "NoExposureInOpenHutch" in in_the_middle(exposing, lambda s: None)


# -- the light's rules and the safety shutter -------------------------------------------------------------------------


def test_behind_a_wholly_closed_safety_shutter_the_rules_of_the_light_are_silent_until_it_begins_to_open() -> None:
    told: list[int] = []

    async def body(simulated: SimulatedBeamline) -> None:
        await simulated.fast_shutter.open()
        await simulated.kernel.wait(1_000_000)
        told.append(simulated.checkers.count)
        await simulated.safety_shutter.open()

    done = do(body)
    assert told == [0]
    assert all(said.startswith("at 1.060000 s: ") for said in done.simulated.checkers.violations)
    assert {*done.names} == {"BeamOnlyOnArmedDetector", "BeamOnlyInSweep", "NothingInTheBeam"}


def test_without_a_safety_shutter_they_are_looked_at_at_once() -> None:
    async def body(simulated: SimulatedBeamline) -> None:
        await simulated.fast_shutter.open()

    assert "BeamOnlyInSweep" in do(body, without=["safety_shutter"]).names


def test_an_open_fast_shutter_behind_a_closed_safety_shutter_is_a_violation_at_rest_and_for_the_robot() -> None:
    async def body(simulated: SimulatedBeamline) -> None:
        await simulated.fast_shutter.open()
        simulated.checkers.at_rest()

    assert do(body).names == ["FastShutterClosed"]
