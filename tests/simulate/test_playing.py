"""Playing scenarios: what is told of a run, and what is a violation whatever the scenario says."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
import trio

from fsmcollect import safing
from fsmcollect.collecting.collection import Collection
from fsmcollect.errors import FsmCollectError
from fsmcollect.events import Event, Moved, RunEnded
from fsmcollect.machines.table import Outcome
from fsmcollect.request import CentringMethod, Request, Sample
from fsmcollect.sim.faults.values import FOR_EVER_S, Effect, Fault
from fsmcollect.sim.moments import Moment
from fsmcollect.sim.ring import Ring
from fsmcollect.sim.scenario import library
from fsmcollect.sim.scenario.values import Deed, Does, Expectation, Happening, Scenario, Strike, What
from fsmcollect.simulate import schedules
from fsmcollect.simulate.filed import FilesMatchEvents
from fsmcollect.simulate.played import Played
from fsmcollect.simulate.playing import LIVENESS_S, play
from fsmcollect.simulate.schedules import repeatable_schedule

NOTHING = Expectation()


def short(**changes: Any) -> Scenario:
    return attrs.evolve(library.read("short"), **{"expect": NOTHING, **changes})


def fault(device: str, command: str, effect: Effect, **more: Any) -> Fault:
    return Fault(**{"device": device, "command": command, "effect": effect, "call": 1, **more})


# -- what is told -----------------------------------------------------------------------------------------------------


def test_an_undisturbed_run_tells_how_it_was_and_has_nothing_to_complain_of() -> None:
    played = play(library.read("short"), record_calls=True, count_checkpoints=True)
    assert (played.outcome, played.ended_in, played.safe, played.images) == (Outcome.DONE, "IDLE", True, 2)
    assert played.as_expected
    assert played.events == len(played.event_states) > 20
    assert played.checkpoints == len(played.checkpoint_states) > 50
    assert ("collection", "CLOSING", "SAFE") in played.rows
    assert [call.number for call in played.calls if (call.device, call.command) == ("fast_shutter", "close")] == [1, 2]
    assert played.pairs == frozenset()


# -- what is mounted when it begins -----------------------------------------------------------------------------------


def mounted(scenario: Scenario, method: CentringMethod, **more: Any) -> Request:
    """The scenario's request, for a sample that is on the goniometer already."""
    asked = scenario.requests[0]
    return attrs.evolve(
        asked, sample=Sample(mounted=True), centring=attrs.evolve(asked.centring, method=method), **more
    )


def numbered(request: Request, run_number: int) -> Request:
    return attrs.evolve(request, files=attrs.evolve(request.files, run_number=run_number))


@pytest.mark.parametrize("lacks_robot", [True, False], ids=["no robot", "robot"])
@pytest.mark.parametrize("positions", [{}, {"x_mm": 0.4, "z_mm": -0.25}], ids=["where it stands", "where it was"])
def test_what_is_mounted_and_not_to_be_centred_lies_in_the_beam(positions: dict[str, float], lacks_robot: bool) -> None:
    setup = short().beamline
    without = setup.without | {"sample_changer"} if lacks_robot else setup.without
    asked = mounted(short(), CentringMethod.NONE, positions=positions)
    played = play(short(requests=(asked,), beamline=attrs.evolve(setup, without=without)))
    assert (played.outcome, played.violations) == (Outcome.DONE, ())
    assert played.exposed_s == pytest.approx(0.2, abs=0.05)


@pytest.mark.parametrize("name", ["inverse_beam", "mounted_by_hand"])
def test_what_is_mounted_is_seen_and_centred_as_asked(name: str) -> None:
    scenario = library.read(name)
    asked = mounted(scenario, CentringMethod.AUTO)
    played = play(attrs.evolve(scenario, requests=(asked,)))
    assert (played.outcome, played.failures, played.violations) == (Outcome.DONE, (), ())
    assert played.exposed_s > 0 < played.photons


def test_the_robot_puts_back_what_was_mounted_before() -> None:
    told: list[str] = []
    asked = (mounted(short(), CentringMethod.NONE), numbered(short().requests[0], 2))
    played = play(short(requests=asked), followers=[lambda _us, source, text: told.append(f"{source} {text}")])
    assert (played.outcome, played.images, played.failures, played.violations) == (Outcome.DONE, 4, (), ())
    assert [line for line in told if "5:16 " in line or "1:1 " in line] == [
        "sample_changer 5:16 in the gripper",
        "sample_changer 5:16 in the dewar",
        "sample_changer 1:1 in the gripper",
        "sample_changer 1:1 on the goniometer",
    ]


def test_what_a_later_request_calls_mounted_is_what_the_robot_has_left() -> None:
    scenario = library.read("inverse_beam")
    asked = (scenario.requests[0], numbered(mounted(scenario, CentringMethod.AUTO), 2))
    played = play(attrs.evolve(scenario, requests=asked, expect=NOTHING))
    images = play(scenario).images
    assert (played.outcome, played.images, played.failures, played.violations) == (Outcome.DONE, 2 * images, (), ())


# -- what decides the order of a run ----------------------------------------------------------------------------------


def test_what_is_recorded_changes_nothing() -> None:
    hashes = {
        play(short(), record_calls=record, count_checkpoints=count).trace_sha256
        for record in (True, False)
        for count in (True, False)
    }
    assert len(hashes) == 1


@pytest.mark.parametrize("name", ["short", "operator_holds_and_resumes", "two_faults_at_once", "ring_flickers"])
def test_the_order_of_tasks_does_not_matter(name: str) -> None:
    scenario = library.read(name)
    hashes = {play(attrs.evolve(scenario, strike=Strike(schedule=n))).trace_sha256 for n in range(10)}
    assert len(hashes) == 1


def test_the_seed_decides_the_order_of_tasks_where_no_schedule_does() -> None:
    """What ties in one microsecond is decided by it, so the same scenario is the same run, whatever it plans."""
    scenario = library.read("inverse_beam")

    def order(seed: int, schedule: int | None) -> tuple[str, ...]:
        asked = attrs.evolve(scenario, seed=seed, strike=Strike(schedule=schedule))
        return play(asked, count_checkpoints=True).checkpoint_states

    assert {order(3, None) for _ in range(6)} == {order(3, 3)}
    assert len({order(3, schedule) for schedule in range(8)}) > 1


def test_a_trio_that_shuffles_in_a_new_way_is_told_only_to_who_asks_for_an_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(schedules, "trio", SimpleNamespace(__version__="99.0"))
    assert play(short()).violations == ()
    with pytest.raises(FsmCollectError, match=r"cannot be repeated with trio 99\.0"):
        play(short(strike=Strike(schedule=0)))


def test_files_are_kept_where_asked_for_and_none_is_left_open(tmp_path: Path) -> None:
    played = play(library.read("short"), directory=tmp_path)
    assert played.as_expected
    assert [file.name for file in played.files] == ["short_1_master.h5"]
    assert played.trace_sha256 == play(library.read("short")).trace_sha256


def test_expectations_that_are_not_met_are_told_one_by_one() -> None:
    wrong = Expectation(outcome="aborted", ends_in="FAULT", images=3, failure="the beam", visits=("HOLDING",))
    played = play(short(expect=wrong))
    assert [problem.field for problem in played.unmet] == [
        f"expect.{key}" for key in ("outcome", "ends_in", "images", "failure", "visits")
    ]
    assert not played.as_expected


def test_what_never_came_to_pass_is_told() -> None:
    scenario = short(
        faults=(fault("fast_shutter", "close", Effect.REFUSES, call=9),),
        operator=(Deed(does=Does.ABORT, moment=Moment(at_s=1e4)), Deed(does=Does.RESUME, moment=Moment(at_s=5.0))),
        happenings=(Happening(what=What.BEAM_LOST, moment=Moment(event="HOLDING")),),
    )
    told = {problem.field: str(problem) for problem in play(scenario).never}
    assert told["faults[0]"] == "faults[0] = fast_shutter.close refuses (call 9, once): never triggered"
    assert told["operator[0]"].startswith("operator[0] = abort at 10000 s: never came: the run ended after ")
    assert told["operator[1]"] == "operator[1] = resume at 5 s: found nothing to do in MOUNTING"
    assert told["happens[0]"].startswith("happens[0] = beam lost at HOLDING: never came: the run ended after ")


def test_of_several_faults_the_one_that_never_struck_is_named() -> None:
    struck, other = (fault("fast_shutter", "close", Effect.DELAYED, call=call, delay_s=0.01) for call in (1, 99))
    assert [problem.field for problem in play(short(faults=(struck, other, struck))).never] == ["faults[1]"]


@pytest.mark.parametrize("what", [What.BEAM_BACK, What.HUTCH_SEARCHED])
def test_what_happens_and_changes_nothing_is_told(what: What) -> None:
    (told,) = play(short(happenings=(Happening(what=what, moment=Moment(at_s=5.0)),))).never
    assert str(told) == f"happens[0] = {what.value} at 5 s: found nothing to do in MOUNTING"


@pytest.mark.parametrize(
    "ends, begins", [(What.BEAM_LOST, What.BEAM_BACK), (What.HUTCH_OPENED, What.HUTCH_SEARCHED)], ids=["beam", "hutch"]
)
def test_what_happens_a_second_time_is_told(ends: What, begins: What) -> None:
    happenings = [Happening(what=what, moment=Moment(at_s=at_s)) for at_s, what in ((1, ends), (2, ends), (3, begins))]
    assert [problem.field for problem in play(short(happenings=tuple(happenings))).never] == ["happens[1]"]


# -- faults -----------------------------------------------------------------------------------------------------------


def test_a_bug_of_an_adapter_is_told_and_is_no_violation_once_all_is_safe() -> None:
    played = play(short(faults=(fault("goniometer", "begin_sweep", Effect.RAISES),)))
    assert (played.outcome, played.safe, played.violations) == (Outcome.FAILED, True, ())
    assert "AdapterBug" in played.raised


def test_what_an_adapters_bug_has_raised_can_be_expected_as_what_went_wrong() -> None:
    broken = short(faults=(fault("goniometer", "begin_sweep", Effect.RAISES),))
    assert play(attrs.evolve(broken, expect=Expectation(failure="AdapterBug"))).unmet == ()
    (problem,) = play(attrs.evolve(broken, expect=Expectation(failure="no such words"))).unmet
    assert "AdapterBug" in str(problem)
    (problem,) = play(attrs.evolve(short(), expect=Expectation(failure="no such words"))).unmet
    assert "nothing was told to have failed" in str(problem)


def test_an_ending_that_no_fault_declares_is_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    from fsmcollect.collecting import optics

    monkeypatch.setattr(optics, "agree", lambda *_: None)  # believes what it is told
    scenario = attrs.evolve(library.read("attenuator_lies"), expect=NOTHING)
    played = play(scenario)
    assert any('must end as "failed' in told or "request says" in told for told in played.violations)


def test_pairs_of_effect_and_state_are_those_in_which_a_fault_was_in_force() -> None:
    hanging = fault("sample_changer", "load", Effect.DELAYED)
    assert play(short(faults=(hanging,))).pairs == {("delayed", "MOUNTING")}
    for_ever = attrs.evolve(hanging, lasts_s=FOR_EVER_S)
    assert ("delayed", "wedge.EXPOSING") in play(short(faults=(for_ever,))).pairs


# -- strikes ----------------------------------------------------------------------------------------------------------


def test_an_abort_within_an_event_ends_as_aborted_wherever_it_falls() -> None:
    reference = play(short(), record_calls=True)
    for number, state in enumerate(reference.event_states, 1):
        played = play(short(strike=Strike(abort_at=number, schedule=0)))
        assert played.violations == ()
        # The last two events are told when the outcome has been decided.
        assert played.outcome is (Outcome.DONE if state == "IDLE" and number > 2 else Outcome.ABORTED), number


def test_a_cancellation_at_a_checkpoint_ends_as_aborted_unless_all_was_decided() -> None:
    last = play(short(strike=Strike(schedule=0)), count_checkpoints=True).checkpoints
    for number in range(1, last + 1, 3):
        played = play(short(strike=Strike(cancel_at=number, schedule=0)))
        assert played.violations == ()
        assert played.safe
        decided = played.struck_in in ("CLOSING", "IDLE")
        assert played.outcome is (Outcome.DONE if decided else Outcome.ABORTED)


def test_a_list_that_is_cancelled_before_its_last_collection_is_not_done() -> None:
    """The first was done by then: the list is not."""
    scenario = attrs.evolve(library.read("list_of_three_with_one_skipped"), expect=NOTHING, operator=())
    reference = play(attrs.evolve(scenario, strike=Strike(schedule=0)), count_checkpoints=True)
    closing = reference.checkpoint_states.index("CLOSING")
    played = play(attrs.evolve(scenario, strike=Strike(cancel_at=closing + 2, schedule=0)))
    assert played.struck_in == "CLOSING"
    assert played.violations == ()
    assert played.outcome is Outcome.ABORTED


# -- what is a violation whatever the scenario says --------------------------------------------------------------------


def violations_with(monkeypatch: pytest.MonkeyPatch, defect: str, scenario: Scenario) -> str:
    """What is violated once the collection has a defect."""

    async def leaves_a_task(self: Collection) -> object:
        trio.lowlevel.spawn_system_task(trio.sleep_forever)
        return await original(self)

    async def has_a_bug(self: Collection) -> object:
        await original(self)
        raise ZeroDivisionError("not thought of")

    original = Collection.run
    monkeypatch.setattr(Collection, "run", {"task": leaves_a_task, "bug": has_a_bug}[defect])
    return " | ".join(play(scenario).violations)


def test_a_task_that_is_left_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "has left tasks" in violations_with(monkeypatch, "task", short())


def test_a_bug_of_ours_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "ZeroDivisionError" in violations_with(monkeypatch, "bug", short())


def test_an_abort_that_is_accepted_and_ends_as_done_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Collection, "abort", lambda self: True)
    played = play(short(operator=(Deed(does=Does.ABORT, moment=Moment(event="OSCILLATING")),)))
    assert any("ended as done, and it was aborted by request" in told for told in played.violations)


def test_a_run_that_goes_on_for_ever_is_one_and_is_ended_all_the_same() -> None:
    held = Deed(does=Does.HOLD, moment=Moment(event="wedge.EXPOSING"))
    played = play(short(operator=(held,)))
    (told,) = played.violations
    assert "liveness: still in HOLDING" in told
    assert played.simulated_s > LIVENESS_S
    assert (played.outcome, played.safe) == (Outcome.ABORTED, True)


def test_to_wait_for_a_beam_that_nobody_tells_of_is_none() -> None:
    """The ring's adapter hangs: a person would stop it, and that works."""
    scenario = short(
        happenings=(Happening(what=What.BEAM_LOST, moment=Moment(event="wedge.EXPOSING")),),
        faults=(fault("ring", "wait_for_beam", Effect.HANGS, lasts_s=FOR_EVER_S),),
    )
    played: Played = play(scenario)
    assert (played.outcome, played.safe, played.violations) == (Outcome.ABORTED, True, ())


def test_to_wait_for_a_beam_that_does_not_come_back_is_none_but_to_miss_its_return_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def never(self: Ring) -> None:
        await trio.sleep_forever()

    lost = Happening(what=What.BEAM_LOST, moment=Moment(event="wedge.EXPOSING"))
    back = Happening(what=What.BEAM_BACK, moment=Moment(event="HOLDING_FOR_BEAM", after_s=60.0))
    played = play(short(happenings=(lost,)))
    assert (played.outcome, played.safe, played.violations) == (Outcome.ABORTED, True, ())
    assert played.simulated_s > LIVENESS_S
    assert play(short(happenings=(lost, back))).outcome is Outcome.DONE
    monkeypatch.setattr(Ring, "wait_for_beam", never)
    (told,) = play(short(happenings=(lost, back))).violations
    assert "liveness: still in HOLDING_FOR_BEAM" in told


# -- hearing it -------------------------------------------------------------------------------------------------------


def test_listeners_hear_every_event() -> None:
    heard: list[Event] = []
    played = play(short(), listeners=[heard.append])
    assert len(heard) == played.events
    assert sum(isinstance(event, Moved) for event in heard) > 5


def test_a_schedule_is_repeatable_and_leaves_trio_as_it_was() -> None:
    async def order() -> list[int]:
        ran: list[int] = []

        async def run(number: int) -> None:
            ran.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(run, number)
        return ran

    def under(seed: int) -> list[int]:
        with repeatable_schedule(seed):
            return trio.run(order)

    assert under(3) == under(3)
    assert len({tuple(under(seed)) for seed in range(8)}) > 1
    assert len({tuple(trio.run(order)) for _ in range(40)}) > 1


def test_to_wait_for_an_answer_that_is_lost_for_good_ends_too() -> None:
    """Found by a sweep that did not end: a fault that befell one call was in force for as long as that call waited."""
    scenario = short(
        happenings=(Happening(what=What.BEAM_LOST, moment=Moment(event="wedge.EXPOSING")),),
        faults=(fault("ring", "wait_for_beam", Effect.HANGS),),
    )
    played = play(scenario)
    assert (played.outcome, played.safe, played.violations) == (Outcome.ABORTED, True, ())


@pytest.mark.parametrize("how", ["abort", "hold", "skip", "cancel"])
def test_a_beam_that_does_not_go_off_at_once_is_one(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """Both the alarm and the safing step send the command; without either, it is missed whatever else is done."""

    async def later(self: Collection) -> None:
        await trio.sleep(0.0)

    base = attrs.evolve(library.read("inverse_beam"), expect=NOTHING)
    moment = Moment(event="wedge.EXPOSING", after_s=0.1)
    if how == "cancel":
        reference = play(attrs.evolve(base, strike=Strike(schedule=0)), count_checkpoints=True)
        number = reference.checkpoint_states.index("wedge.EXPOSING") + 1
        struck = attrs.evolve(base, strike=Strike(cancel_at=number, schedule=0))
    else:
        deeds = [Deed(does=Does(how), moment=moment)]
        if how == "hold":
            deeds.append(Deed(does=Does.RESUME, moment=Moment(event="HOLDING", after_s=9.0)))
        struck = attrs.evolve(base, operator=tuple(deeds))
    assert play(struck).violations == ()
    monkeypatch.setattr(Collection, "_turn_beam_off", later)
    assert play(struck).violations == (), "the safing step is as prompt where nothing is slow to let go"
    monkeypatch.setattr(safing, "_fast_shutter", lambda beamline: iter(()))
    assert "not told to close in the same instant" in " ".join(play(struck).violations)


# -- files ------------------------------------------------------------------------------------------------------------


def test_an_image_that_was_told_and_is_not_on_disk_is_a_violation(tmp_path: Path) -> None:
    def lose_it(event: Event) -> None:
        if isinstance(event, RunEnded):
            next(tmp_path.rglob("*_data_000001.h5")).unlink()

    played = play(short(), directory=tmp_path, listeners=[lose_it])
    assert played.violations == ("2 images of short_1 were told as taken and are not on disk, first 1",)


def test_an_image_on_disk_that_nobody_was_told_of_is_a_violation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FilesMatchEvents, "hear", lambda *_: None)
    assert play(short(), directory=tmp_path).violations == (
        "2 images of short_1 are on disk and were never told, first 1",
    )
