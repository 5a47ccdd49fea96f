"""What is declared of faults, and that runs end so: taken from the one table, row by row."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator

import attrs
import pytest

from fsmcollect.console.declaring import faults_page
from fsmcollect.sim.beamline import SimulatedBeamline
from fsmcollect.sim.faults.commands import every_fault_at
from fsmcollect.sim.faults.declared import DECLARED, ENDINGS, Declared, Ending
from fsmcollect.sim.faults.survival import Struck, is_excused, judge, row_for
from fsmcollect.sim.faults.values import FOR_EVER_S, ONCE_S, Effect, Fault
from fsmcollect.sim.scenario import library
from fsmcollect.sim.scenario.values import Expectation, Scenario
from fsmcollect.simulate.played import Played
from fsmcollect.simulate.playing import play

#: Between them they call every command that a collection uses, in every state.
SCENARIOS = (
    *("short", "everything_asked_for", "operator_holds_and_resumes", "beam_lost_while_held", "mounted_by_hand"),
    "shuttered_passes_with_a_lost_beam",
)
#: Faults of each row that the default suite plays in each scenario; `make prove` plays all.
FEW = 2


@functools.cache
def undisturbed(name: str) -> tuple[Scenario, Played]:
    scenario = attrs.evolve(library.read(name), expect=Expectation())
    if name == "everything_asked_for":
        limit = {"config": {"max_sample_temperature_k": 120.0}}
        scenario = attrs.evolve(scenario, beamline=attrs.evolve(scenario.beamline, settings=limit))
    if name == "short":  # the detector as near as the robot's arm lets it
        (request,) = scenario.requests
        beam = attrs.evolve(request.beam, detector_distance_mm=300.0)
        scenario = attrs.evolve(scenario, requests=(attrs.evolve(request, beam=beam),))
    return scenario, play(scenario, record_calls=True)


def faults_of(row: Declared) -> Iterator[tuple[str, Fault]]:
    """Faults to which the row applies, by what it says of the state of their call."""
    for name in SCENARIOS:
        calls = {(c.device, c.command, c.number): c.state for c in undisturbed(name)[1].calls}
        for fault in with_short_delays(every_fault_at(undisturbed(name)[1].calls)):
            state = calls.get((fault.device, fault.command, fault.call or 0), "")
            if fault.moment is not None:
                state = fault.moment.event
            if row_for(fault, state) is row:
                yield name, fault


def with_short_delays(faults: Iterable[Fault]) -> Iterator[Fault]:
    """What comes late may come a little late, too."""
    for fault in faults:
        yield fault
        if fault.effect is Effect.DELAYED:
            yield attrs.evolve(fault, delay_s=0.02)
            yield attrs.evolve(fault, delay_s=1.5)


def spread(found: list[tuple[str, Fault]], count: int) -> list[tuple[str, Fault]]:
    """First, last, and what lies evenly between them, of each scenario."""
    chosen: list[tuple[str, Fault]] = []
    for name in SCENARIOS:
        of_name = [hit for hit in found if hit[0] == name]
        step = max(1, (len(of_name) - 1) // max(1, count - 1))
        chosen += of_name[::step][:count]
    return chosen


def ending(played: Played) -> Ending:
    if not played.safe:
        return Ending.FAULT
    return Ending.FAILED if played.failures or played.raised else Ending.DONE


def ids(row: Declared) -> str:
    effects = "+".join(sorted(effect.value for effect in row.effects)) or "any"
    lasts = {None: "", True: " for ever", False: " once"}[row.for_ever]
    return f"{row.commands.replace(' ', ',')[:40]} {effects}{lasts}"


@pytest.mark.parametrize("row", DECLARED, ids=ids)
def test_a_fault_ends_as_its_row_declares_and_violates_nothing(row: Declared) -> None:
    found = list(faults_of(row))
    assert found, "a row for which there is no fault declares nothing"
    for name, fault in spread(found, FEW):
        played = play(attrs.evolve(undisturbed(name)[0], faults=(fault,)))
        assert played.violations == (), f"{fault} in {name}"


@pytest.mark.long
@pytest.mark.parametrize("row", DECLARED, ids=ids)
def test_every_fault_of_a_row_ends_so_and_every_declared_ending_comes_true(row: Declared) -> None:
    seen: set[Ending] = set()
    for name, fault in faults_of(row):
        played = play(attrs.evolve(undisturbed(name)[0], faults=(fault,)))
        assert played.violations == (), f"{fault} in {name}"
        seen.add(ending(played))
    assert seen >= row.endings, f"never ended as {[ENDINGS[end] for end in row.endings - seen]}"


def test_of_several_rows_none_is_hidden_by_those_before_it() -> None:
    for row in DECLARED:
        assert next(faults_of(row), None) is not None, row


def test_every_rule_that_is_excused_is_one() -> None:
    names = SimulatedBeamline().checkers.names
    assert {rule for row in DECLARED for rule in row.excuses} <= names


CLOSE = Fault(device="fast_shutter", command="close", effect=Effect.REFUSES, call=1)
ARM = Fault(device="detector", command="arm", effect=Effect.REFUSES, call=1)


@pytest.mark.parametrize(
    ("fault", "state", "allowed"),
    [
        (CLOSE, "CLOSING", {Ending.DONE}),
        (attrs.evolve(CLOSE, lasts_s=FOR_EVER_S), "CLOSING", {Ending.FAULT}),
        (attrs.evolve(CLOSE, lasts_s=3.0), "CLOSING", {Ending.DONE, Ending.FAILED, Ending.FAULT}),
        (ARM, "wedge.ARMING", {Ending.FAILED}),
    ],
)
def test_a_fault_must_end_as_declared_and_one_that_lasts_a_while_in_between(
    fault: Fault, state: str, allowed: set[Ending]
) -> None:
    for end in Ending:
        told = judge([Struck(fault, state)], end, stopped=False)
        assert (told == "") is (end in allowed), told
        if told:
            assert ENDINGS[end] in told
            assert str(fault) in told


def test_a_run_without_a_fault_is_done_unless_somebody_stopped_it() -> None:
    assert judge([], Ending.DONE, stopped=False) == ""
    assert 'must end as "done' in judge([], Ending.FAILED, stopped=False)
    assert judge([], Ending.FAILED, stopped=True) == ""


def test_of_several_faults_the_worst_is_the_worst_allowed_and_one_may_hide_another() -> None:
    both = [Struck(ARM, "wedge.ARMING"), Struck(CLOSE, "CLOSING")]
    assert judge(both, Ending.DONE, stopped=False) == judge(both, Ending.FAILED, stopped=False) == ""
    assert judge(both, Ending.FAULT, stopped=False)


def test_that_a_device_is_not_at_rest_is_excused_only_where_the_run_says_so_itself() -> None:
    struck = [Struck(attrs.evolve(CLOSE, lasts_s=FOR_EVER_S), "CLOSING")]
    assert not is_excused("FastShutterClosed", struck)
    assert not is_excused("FastShutterClosed", struck, ("detector idle: no answer within 15 s",))
    assert is_excused("FastShutterClosed", struck, ("fast shutter closed: fast_shutter: refuses to close",))


def test_only_with_neither_shutter_may_the_beam_stay_on_while_the_cover_closes() -> None:
    fast = Struck(attrs.evolve(CLOSE, lasts_s=FOR_EVER_S), "CLOSING")
    safety = Struck(attrs.evolve(CLOSE, device="safety_shutter", lasts_s=FOR_EVER_S), "CLOSING")
    assert is_excused("NothingInTheBeam", [fast, safety])
    assert not is_excused("NothingInTheBeam", [fast])
    assert not is_excused("NothingInTheBeam", [fast, Struck(attrs.evolve(safety.fault, lasts_s=ONCE_S), "CLOSING")])


def test_the_page_has_every_row_and_every_effect() -> None:
    page = faults_page()
    assert all(f"| {effect.value} |" in page for effect in Effect)
    assert page.count("\n| `") + page.count("\n| any command") + page.count("\n| any device") == len(DECLARED)


def test_a_device_that_lies_about_what_it_did_and_about_how_it_stands_cannot_be_found_out() -> None:
    lie = Fault(device="detector", command="disarm", effect=Effect.NO_ACTION, call=1, lasts_s=FOR_EVER_S)
    other = Fault(device="detector", command="is_idle", effect=Effect.WRONG_READ_BACK, call=1, lasts_s=FOR_EVER_S)
    assert is_excused("DetectorAtRest", [Struck(lie, "CLOSING"), Struck(other, "CLOSING")])
    assert not is_excused("DetectorAtRest", [Struck(lie, "CLOSING")])
    assert not is_excused("DetectorAtRest", [Struck(lie, "CLOSING"), Struck(lie, "HOLDING")]), "one lie, twice heard"
    assert not is_excused("FastShutterClosed", [Struck(lie, "CLOSING"), Struck(other, "CLOSING")])


def test_two_faults_of_one_device_may_add_up_and_of_two_devices_may_not() -> None:
    late = Fault(device="attenuator", command="read_transmission_frac", effect=Effect.DELAYED, call=1)
    again = [Struck(late, "MOUNTING"), Struck(attrs.evolve(late, call=2), "MOUNTING")]
    assert judge(again, Ending.FAILED, stopped=False) == ""
    of_two = [Struck(late, "MOUNTING"), Struck(attrs.evolve(CLOSE, call=2), "CLOSING")]
    assert judge(of_two, Ending.FAILED, stopped=False)
