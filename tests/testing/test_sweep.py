"""Sweeps: which points there are, what is wrong with how one ends, what is reported; with a pretended player."""

from __future__ import annotations

import json
import signal
import time
from random import Random

import attrs
import pytest

from fsmcollect.errors import FsmCollectError, InvalidRequest, Problem
from fsmcollect.machines.collection import COLLECTION
from fsmcollect.machines.table import Outcome
from fsmcollect.machines.wedge import WEDGE
from fsmcollect.sim.faults.commands import every_fault_at
from fsmcollect.sim.faults.values import Effect, Fault
from fsmcollect.sim.moments import Moment
from fsmcollect.sim.scenario.values import Scenario, Strike
from fsmcollect.simulate.played import Played
from fsmcollect.testing.sweeping import engine
from fsmcollect.testing.sweeping.engine import Sweep, sweep
from fsmcollect.testing.sweeping.patience import within
from fsmcollect.testing.sweeping.points import Kind, Point, Wanted, drawn, every_point, pairs_of
from fsmcollect.testing.sweeping.report import Report, Violation, coverage, gist, without_repetitions
from fsmcollect.testing.sweeping.trying import Base, Player, Undisturbed, Wrong, try_points
from tests.testing.pretending import (
    BASE,
    CALLS,
    deaf_while_exposing,
    dies,
    played,
    well_behaved,
)

SINGLES = list(every_fault_at(CALLS))


def swept(
    player: Player = well_behaved,
    *,
    scenario: Scenario = BASE,
    schedules: int = 1,
    jobs: int = 1,
    called: str = "pretended",
    recording: Player = well_behaved,
    **wanted: object,
) -> Report:
    return Sweep(
        scenario=scenario,
        called=called,
        wanted=Wanted(**wanted),  # type: ignore[arg-type]
        schedules=schedules,
        jobs=jobs,
        player=player,
        recording_player=recording,
    ).run()


# -- points -----------------------------------------------------------------------------------------------------------


def test_every_checkpoint_event_and_fault_of_each_schedule_is_a_point() -> None:
    points = every_point([played(BASE), played(BASE)], Wanted(pairs=5))
    assert [(p.kind, p.schedule, p.at) for p in points if p.kind in (Kind.CANCEL, Kind.ABORT)] == [
        (kind, schedule, at) for kind in (Kind.CANCEL, Kind.ABORT) for schedule in (0, 1) for at in range(1, 8)
    ]
    for schedule in (0, 1):
        assert [p.faults for p in points if p.kind is Kind.FAULT and p.schedule == schedule] == [(f,) for f in SINGLES]
    assert sum(p.kind is Kind.PAIR for p in points) == 10


@pytest.mark.parametrize(
    "wanted, kinds",
    [
        (Wanted(faults=False), {Kind.CANCEL, Kind.ABORT}),
        (Wanted(cancel=False), {Kind.FAULT}),
        (Wanted(cancel=False, faults=False, pairs=3), {Kind.PAIR}),
    ],
)
def test_only_what_is_asked_for_is_a_point(wanted: Wanted, kinds: set[Kind]) -> None:
    assert {point.kind for point in every_point([played(BASE)], wanted)} == kinds


def test_a_point_is_the_scenario_with_something_added() -> None:
    fault = SINGLES[0]
    base = attrs.evolve(BASE, faults=(SINGLES[-1],), strike=Strike(abort_at=3))
    assert Point(kind=Kind.CANCEL, schedule=4, at=9).of(BASE).strike == Strike(cancel_at=9, schedule=4)
    assert Point(kind=Kind.ABORT, schedule=4, at=9).of(BASE).strike == Strike(abort_at=9, schedule=4)
    disturbed = Point(kind=Kind.FAULT, schedule=4, faults=(fault,)).of(base)
    assert disturbed == attrs.evolve(base, faults=(SINGLES[-1], fault), strike=Strike(schedule=4)), (
        "its own strike is one point of many"
    )


def test_the_two_of_a_pair_begin_at_different_calls_and_equal_seeds_draw_equal_pairs() -> None:
    pairs = list(pairs_of(SINGLES, 500, Random("some")))
    assert len(pairs) == 500
    assert all((a.device, a.command, a.call, a.moment) != (b.device, b.command, b.call, b.moment) for a, b in pairs)
    assert pairs == list(pairs_of(SINGLES, 500, Random("some")))
    assert len(set(map(str, pairs))) > 100
    assert list(pairs_of([f for f in SINGLES if f.call == SINGLES[0].call][:1], 500, Random("some"))) == []


def test_a_limit_draws_evenly_and_without_repetition() -> None:
    values = list(range(1000))
    some = drawn(values, 10, Random("some"))
    assert [value // 100 for value in some] == list(range(10))
    assert some == drawn(values, 10, Random("some")) != drawn(values, 10, Random("other"))
    assert drawn(values, 1000, Random("some")) == drawn(values, None, Random("some")) == values
    assert len(set(drawn(values, 999, Random("some")))) == 999


def test_a_limit_is_of_each_kind() -> None:
    report = swept(limit=3, pairs=50, schedules=2)
    counts = (report.cancel_points, report.abort_points, report.fault_points, report.pair_points)
    assert counts == (3, 3, 3, 3)
    assert report.runs == 2 + 12


# -- judging ----------------------------------------------------------------------------------------------------------


def test_a_sequencer_that_behaves_is_not_blamed() -> None:
    report = swept(pairs=20, schedules=2)
    assert report.violations == ()
    assert (report.cancel_points, report.abort_points, report.pair_points, report.schedules) == (14, 14, 40, 2)
    assert report.fault_points == 2 * len(SINGLES)
    assert report.runs == 2 + 28 + report.fault_points + 40
    assert report.points_by_state["wedge.EXPOSING"] == 8
    assert sum(report.points_by_state.values()) == report.runs - 2


def test_a_stop_that_does_not_stop_is_told_once_with_its_first_replay() -> None:
    report = swept(deaf_while_exposing, faults=False)
    assert [(v.what, v.state, v.times) for v in report.violations] == [
        ("it was stopped in wedge.EXPOSING and ended as done", "wedge.EXPOSING", 4)
    ]
    assert report.violations[0].replay.startswith("fsmcollect simulate pretended --explain --with ")
    assert "cancel_at = 4, schedule = 0" in report.violations[0].replay


def test_an_abort_while_closing_must_be_one_and_a_cancellation_may_come_too_late() -> None:
    def late(scenario: Scenario) -> Played:
        ended = well_behaved(scenario)
        return played(scenario, Outcome.DONE, ended.struck_in) if ended.struck_in == "CLOSING" else ended

    report = swept(late, faults=False)
    assert [violation.state for violation in report.violations] == ["CLOSING"]
    assert "abort_at = 6" in report.violations[0].replay


def test_a_stop_leaves_the_beamline_safe() -> None:
    def unsafe(scenario: Scenario) -> Played:
        ended = well_behaved(scenario)
        return attrs.evolve(ended, safe=ended.struck_in != "CENTRING")

    report = swept(unsafe, faults=False)
    assert [v.what for v in report.violations] == [
        "it was stopped in CENTRING and the beamline could not be verified safe"
    ]
    # Where the scenario has a fault of its own, that may be why.
    fault = Fault(device="ring", effect=Effect.DRIFTS, moment=Moment(at_s=1.0))
    assert swept(unsafe, recording=played, faults=False, scenario=attrs.evolve(BASE, faults=(fault,))).violations == ()


def test_a_point_that_is_not_struck_shows_that_the_run_cannot_be_repeated() -> None:
    def other_run(scenario: Scenario) -> Played:
        return played(scenario)

    told = [violation.what for violation in swept(other_run).violations]
    assert told[0] == "it was never struck, and the undisturbed run has come to this point"
    assert told[1].startswith("the fault never came to pass")


def test_what_a_run_raises_is_a_violation() -> None:
    def broken(scenario: Scenario) -> Played:
        if scenario.strike.cancel_at == 2:
            raise ZeroDivisionError("by zero")
        return well_behaved(scenario)

    assert [v.what for v in swept(broken).violations] == ["the run raised ZeroDivisionError: by zero"]


def test_a_run_that_never_ends_is_interrupted_and_told() -> None:
    def spinning(scenario: Scenario) -> Played:
        while scenario.strike.cancel_at == 2:
            pass
        return well_behaved(scenario)

    base = Base(scenario=BASE, player=spinning, undisturbed={0: Undisturbed(Outcome.DONE, safe=True)})
    points = [Point(kind=Kind.CANCEL, schedule=0, at=at) for at in (1, 2, 3)]
    tried = try_points(base, 10, points, patience_s=0.2)
    assert tried.wrong == (Wrong(11, "the run was not over after 0.2 s of real time", ""),)
    assert tried.states == {"MOUNTING": 1, "": 1, "CENTRING": 1}


def test_an_undisturbed_run_that_never_ends_ends_the_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    def spinning(_: Scenario) -> Played:
        while True:
            pass

    monkeypatch.setattr(engine, "PATIENCE_S", 0.2)
    with pytest.raises(FsmCollectError, match=r"undisturbed, .* not over after 0\.2 s"):
        swept(recording=spinning)
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL, "the alarm is given back"


def test_where_somebody_else_waits_for_the_alarm_it_is_left_to_him() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, _: heard.append(number))
    try:
        within(0.01, lambda: time.sleep(0.05))  # nothing is raised
        assert signal.getsignal(signal.SIGALRM) not in (signal.SIG_DFL, before)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert heard == []


def test_what_the_undisturbed_run_violates_is_said_first_and_not_again_for_each_point() -> None:
    def leaky(scenario: Scenario) -> Played:
        return attrs.evolve(well_behaved(scenario), violations=("at 1.500000 s: light at 3 deg",))

    report = swept(leaky, recording=leaky)
    assert [(v.what, v.state) for v in report.violations] == [("at 1.500000 s: light at 3 deg", "")]
    assert report.violations[0].times == report.runs
    assert "schedule = 0" in report.violations[0].replay
    assert "_at" not in report.violations[0].replay


def test_a_scenario_that_does_not_end_as_it_expects_is_told_first() -> None:
    def surprising(scenario: Scenario) -> Played:
        unmet = Problem(field="expect.outcome", value="failed", allowed="it was done")
        never = Problem(field="operator[0]", value="hold at 9 s", allowed="never came")
        return attrs.evolve(well_behaved(scenario), unmet=(unmet,), never=(never,))

    report = swept(surprising, recording=surprising)
    assert [violation.what for violation in report.violations] == [
        "undisturbed, it does not end as expected: expect.outcome = failed: it was done"
    ]
    assert report.never == ("operator[0] = hold at 9 s: never came",)


# -- report -----------------------------------------------------------------------------------------------------------


def test_two_violations_say_the_same_when_they_differ_in_times_and_numbers_only() -> None:
    assert gist("at 12.5 s: omega is 0.1 deg off") == gist("at 3 s: omega is 12 deg off") != gist("omega stands")
    first = Violation("a", "at 1 s: 2 lost", "MOUNTING")
    others = [Violation("b", "at 2 s: 3 lost", "MOUNTING"), Violation("c", "at 2 s: 3 lost", "CENTRING")]
    assert without_repetitions([first, *others]) == (attrs.evolve(first, times=2), others[1])


def test_an_ending_is_the_same_whichever_faults_it_met() -> None:
    first = Violation("a", "it ended as FAULT, and must end as done: ring drifts (call 1, once) in MOUNTING", "")
    other = attrs.evolve(first, what=f"{first.what}; detector resets (call 1, once) in MOUNTING", state="MOUNTING")
    worse = attrs.evolve(other, what=other.what.replace("as FAULT", "as failed"))
    assert without_repetitions([first, other, worse]) == (attrs.evolve(first, times=2), worse)
    assert gist("it ended as FAULT") == "it ended as FAULT"


def test_coverage_is_of_the_tables() -> None:
    nothing = coverage([], [])
    assert (nothing.states.visited, nothing.states.of) == (0, len(COLLECTION.active) + len(WEDGE.active))
    assert (nothing.rows.visited, nothing.rows.of) == (0, len(COLLECTION.rows) + len(WEDGE.rows))
    assert nothing.fault_x_state.of == len(Effect) * nothing.states.of
    assert "wedge.EXPOSING on FAILED" in nothing.rows.missed
    some = coverage([("collection", "MOUNTING", "MOUNTED")], [("hangs", "wedge.EXPOSING")])
    assert "CENTRING" not in some.states.missed
    assert "MOUNTING on MOUNTED" not in some.rows.missed
    assert (some.states.visited, some.rows.visited, some.fault_x_state.visited) == (1, 1, 1)
    rows = [(t.name, row.source.name, row.event.name) for t in (COLLECTION, WEDGE) for row in t.rows]
    everything = coverage(rows, [])
    assert everything.rows.missed == everything.states.missed == ()


def test_the_report_is_one_json_object_with_the_promised_keys() -> None:
    told = json.loads(json.dumps(swept(deaf_while_exposing).to_json_dict()))
    assert set(told) >= {"cancel_points", "fault_points", "schedules", "violations", "coverage"}
    assert set(told["violations"][0]) >= {"replay", "what"}
    assert set(told["coverage"]) == {"states", "rows", "fault_x_state"}
    assert set(told["coverage"]["rows"]) == {"visited", "of", "missed"}


# -- processes --------------------------------------------------------------------------------------------------------


def without_time(report: Report) -> Report:
    return attrs.evolve(report, seconds=0.0)


def test_several_processes_report_what_one_does() -> None:
    one = swept(deaf_while_exposing, pairs=60)
    assert one.violations
    assert without_time(swept(deaf_while_exposing, pairs=60, jobs=2)) == without_time(one)


def test_a_worker_that_dies_is_told_in_a_sentence() -> None:
    with pytest.raises(FsmCollectError, match=r"a worker of the sweep has died, \d+ of \d+ points were played"):
        swept(dies, pairs=60, jobs=2)


def test_progress_is_told_to_the_end() -> None:
    told: list[tuple[int, int]] = []
    job = Sweep(
        scenario=BASE, wanted=Wanted(faults=False), player=well_behaved, recording_player=well_behaved, called="x"
    )
    job.run(lambda done, of: told.append((done, of)))
    assert told == [(0, 14), (14, 14)]


@pytest.mark.parametrize(
    "numbers, field",
    [
        ({"pairs": -1}, "pairs"),
        ({"schedules": 0}, "schedules"),
        ({"limit": 0}, "limit"),
        ({"limit": 1.5}, "limit"),
        ({"limit": "10"}, "limit"),
        ({"jobs": 0}, "jobs"),
    ],
)
def test_a_number_that_makes_no_sense_is_refused(numbers: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        sweep(BASE, **numbers)  # type: ignore[arg-type]
    assert [problem.field for problem in refusal.value.problems] == [field]


def test_an_unknown_scenario_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="neither a bundled scenario nor a file"):
        sweep("no_such_thing")
