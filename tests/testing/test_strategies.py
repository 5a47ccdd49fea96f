"""What the strategies draw: acceptable, applicable, small, and readable once shrunk."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from fsmcollect import limits
from fsmcollect.request import Request
from fsmcollect.sim.beamline import SimulatedBeamline
from fsmcollect.sim.faults.commands import applies
from fsmcollect.sim.faults.values import ONCE_S, Effect, Fault
from fsmcollect.sim.moments import EVENTS, Moment
from fsmcollect.sim.scenario.reading import parse_scenario
from fsmcollect.sim.scenario.values import Deed, Does, Happening, Scenario, Strike, What
from fsmcollect.sim.scenario.writing import to_toml
from fsmcollect.testing import strategies
from fsmcollect.wedges import Plan, make_plan

#: Without the phase that explains: `find` gives what was tried last, and that phase tries what is larger.
QUICKLY = settings(
    max_examples=500, derandomize=True, database=None, phases=[Phase.reuse, Phase.generate, Phase.shrink]
)
#: Whether it is drawn at all: how small it can be does not matter.
SEEKING = settings(QUICKLY, phases=[Phase.generate])


def smallest(strategy: st.SearchStrategy[Scenario]) -> Scenario:
    return find(strategy, lambda _: True, settings=QUICKLY)


# -- requests and plans -----------------------------------------------------------------------------------------------


@given(strategies.requests(max_images=10))
def test_a_request_is_one_that_the_simulated_beamline_collects(request_: Request) -> None:
    limits.check(request_, make_plan(request_), SimulatedBeamline().beamline)
    assert 1 <= make_plan(request_).images <= 10


@given(strategies.requests(without={"monochromator", "detector_stage", "sample_changer", "camera"}))
def test_nothing_is_asked_of_what_a_beamline_lacks(request_: Request) -> None:
    assert request_.beam.energy_ev is None
    assert request_.beam.detector_distance_mm is None
    assert request_.sample.location is None
    assert request_.snapshots.count == 0


@given(strategies.plans(max_images=4))
def test_a_plan_is_that_of_an_acceptable_request(plan: Plan) -> None:
    assert 1 <= plan.images <= 4


@pytest.mark.parametrize(
    "kind, wanted",
    [
        ("inverse beam", lambda request: request.inverse_beam is not None),
        ("stills", lambda request: request.sweep.image_width_deg == 0),
        ("shuttered", lambda request: not request.sweep.shutterless),
        ("several passes", lambda request: request.sweep.passes > 1),
        ("several wedges", lambda request: request.sweep.wedge_images is not None),
        ("overlap", lambda request: request.sweep.overlap_deg != 0),
        ("by hand", lambda request: request.sample.location is None and not request.sample.mounted),
        ("snapshots", lambda request: request.snapshots.count > 0),
        ("validated", lambda request: request.centring.validate),
    ],
)
def test_every_kind_of_collection_is_drawn(kind: str, wanted: object) -> None:
    assert callable(wanted)
    assert find(strategies.requests(), wanted, settings=SEEKING) is not None, kind


# -- faults, deeds, happenings ----------------------------------------------------------------------------------------


@given(strategies.fault_plans(max_faults=4))
def test_a_fault_can_befall_its_command(faults: tuple[Fault, ...]) -> None:
    assert len(faults) <= 4
    for fault in faults:
        assert applies(fault.device, fault.command, fault.effect)
        assert (fault.call is None) is not (fault.moment is None)


@given(strategies.faults(devices={"ring", "detector"}, effects={Effect.HANGS}))
def test_faults_are_those_that_were_asked_for(fault: Fault) -> None:
    assert fault.device in {"ring", "detector"}
    assert fault.effect is Effect.HANGS


def test_asking_for_faults_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="none of these effects can befall"):
        strategies.faults(devices={"person"}, effects={Effect.DRIFTS})


def test_a_fault_shrinks_to_a_refusal_at_the_first_call_once() -> None:
    found = find(strategies.faults(), lambda _: True, settings=QUICKLY)
    assert (found.effect, found.call, found.lasts_s) == (Effect.REFUSES, 1, ONCE_S)


@pytest.mark.parametrize("effect", Effect)
def test_every_effect_is_drawn(effect: Effect) -> None:
    assert find(strategies.faults(), lambda fault: fault.effect is effect, settings=SEEKING).effect is effect


@given(strategies.moments(max_count=2, max_s=10.0))
def test_a_moment_is_at_a_time_or_at_an_event(moment: Moment) -> None:
    if moment.at_s is None:
        assert moment.event in EVENTS
        assert 1 <= moment.count <= 2
        assert 0.0 <= moment.after_s <= 10.0
    else:
        assert 0.0 <= moment.at_s <= 10.0


@given(strategies.operator_actions(sensible=True))
def test_a_sensible_operator_resumes_only_what_is_held(deeds: tuple[Deed, ...]) -> None:
    for deed in deeds:
        if deed.does is Does.RESUME:
            assert deed.moment.event == "HOLDING"
        if deed.does is Does.ACKNOWLEDGE:
            assert deed.moment.event == "FAULT"


def test_operators_also_do_what_makes_no_sense() -> None:
    def resumes_what_nobody_held(deeds: tuple[Deed, ...]) -> bool:
        return any(deed.does is Does.RESUME for deed in deeds) and not any(deed.does is Does.HOLD for deed in deeds)

    assert find(strategies.operator_actions(), resumes_what_nobody_held, settings=SEEKING)
    with pytest.raises(NoSuchExample):
        find(
            strategies.operator_actions(sensible=True),
            lambda deeds: len(deeds) == 1 and deeds[0].does is Does.RESUME,
            settings=settings(QUICKLY, max_examples=200),
        )


@given(strategies.happenings(without={"ring"}))
def test_no_beam_is_lost_where_there_is_no_ring(happened: tuple[Happening, ...]) -> None:
    assert not any(happening.what in (What.BEAM_LOST, What.BEAM_BACK) for happening in happened)


def test_nothing_happens_where_nothing_can() -> None:
    assert find(strategies.happenings(without={"ring", "interlock"}), lambda _: True) == ()


# -- scenarios --------------------------------------------------------------------------------------------------------


def test_the_smallest_scenario_is_one_image_and_nothing_else() -> None:
    found = smallest(strategies.scenarios())
    assert make_plan(found.requests[0]).images == 1
    assert (found.faults, found.operator, found.happenings, found.seed) == ((), (), (), 0)
    assert found.strike.schedule is None
    assert len(to_toml(found).splitlines()) < 40


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(strategies.scenarios(max_requests=3, max_faults=3))
def test_a_scenario_is_written_and_read_back_equal(scenario: Scenario) -> None:
    assert parse_scenario(to_toml(scenario), name=scenario.name) == scenario


@given(strategies.scenarios(max_requests=3, max_images=2))
def test_the_requests_of_a_list_write_no_files_of_the_same_name(scenario: Scenario) -> None:
    plans = [make_plan(request) for request in scenario.requests]
    assert limits.name_clashes(scenario.requests, plans) == []


@given(strategies.scenarios(max_faults=0, max_deeds=0, max_happenings=0))
def test_what_is_left_out_is_not_drawn(scenario: Scenario) -> None:
    assert (scenario.faults, scenario.operator, scenario.happenings) == ((), (), ())


# -- what is kept -----------------------------------------------------------------------------------------------------


def test_a_false_property_leaves_the_smallest_scenario_behind(tmp_path: Path) -> None:
    @settings(QUICKLY)
    @given(strategies.scenarios())
    def nobody_ever_skips(scenario: Scenario) -> None:
        with strategies.kept(scenario, tmp_path, name="nobody_skips"):
            assert all(deed.does is not Does.SKIP for deed in scenario.operator)

    with pytest.raises(AssertionError) as failed:
        nobody_ever_skips()
    path = tmp_path / "nobody_skips.toml"
    kept = parse_scenario(path.read_text(), name="drawn")
    assert [deed.does for deed in kept.operator] == [Does.SKIP]
    assert (kept.faults, kept.happenings, kept.seed, kept.strike.schedule) == ((), (), 0, None)
    notes = "\n".join(failed.value.__notes__)
    assert f"fsmcollect simulate {path} --explain" in notes
    assert path.read_text() in notes
    assert [file.name for file in tmp_path.iterdir()] == ["nobody_skips.toml"]


def test_what_holds_leaves_nothing_behind(tmp_path: Path) -> None:
    with strategies.kept(smallest(strategies.scenarios()), tmp_path / "scenarios") as path:
        assert path.parent == tmp_path / "scenarios"
    assert not list(tmp_path.iterdir())


def test_a_file_is_called_as_the_test_that_has_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ZeroDivisionError), strategies.kept(smallest(strategies.scenarios())):
        raise ZeroDivisionError
    (file,) = (tmp_path / ".hypothesis" / "scenarios").iterdir()
    assert file.name == "test_a_file_is_called_as_the_test_that_has_failed.toml"


def test_without_hypothesis_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    monkeypatch.delitem(sys.modules, "fsmcollect.testing.strategies")
    with pytest.raises(ImportError, match=r'pip install "fsmcollect\[testing\]"'):
        importlib.import_module("fsmcollect.testing.strategies")


@given(strategies.strikes(max_checkpoint=9, max_event=5))
def test_a_cancellation_has_a_schedule_without_which_its_checkpoint_means_nothing(strike: Strike) -> None:
    assert strike.cancel_at is None or strike.schedule is not None
    assert strike.cancel_at is None or strike.abort_at is None
