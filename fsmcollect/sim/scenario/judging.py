"""What the parts of a scenario contradict together, and what its beamline cannot do.

Owns only what is sure beforehand: what a run alone can show (a moment that never comes, an expectation that is not met)
is reported when it has been played.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from fsmcollect import limits
from fsmcollect.errors import InvalidRequest
from fsmcollect.machines.collection import COLLECTION, State
from fsmcollect.machines.table import Outcome
from fsmcollect.sim.faults.values import Fault
from fsmcollect.sim.moments import Moment
from fsmcollect.sim.scenario.surroundings import built
from fsmcollect.sim.scenario.tables import ADDED, Report
from fsmcollect.sim.scenario.values import Does, Scenario, What
from fsmcollect.wedges import Plan, make_plan

_DONE, _SKIPPED, _ABORTED = (str(outcome) for outcome in (Outcome.DONE, Outcome.SKIPPED, Outcome.ABORTED))
_IDLE, _FAULT, _ABANDONED = State.IDLE.name, State.FAULT.name, State.ABANDONED.name
#: Every collection that ends as done comes through these; an abort at the first of them is sure to come.
_ON_THE_WAY = frozenset(
    {"run_started", "MOUNTING", "CENTRING", "OSCILLATING", "CLOSING", "wedge_started", "images_taken", "wedge.ARMING"}
    | {"wedge.RUNNING_UP", "wedge.EXPOSING", "wedge.DRAINING", "wedge.TAKEN"}
)
_ENDS_A_HOLD = (Does.RESUME, Does.SKIP, Does.ABORT)
#: What each happening happens to.
_NEEDS = {
    What.BEAM_LOST: "ring",
    What.BEAM_BACK: "ring",
    What.HUTCH_OPENED: "interlock",
    What.HUTCH_SEARCHED: "interlock",
}

#: Field, its value, and what is wrong with it.
_Refusal = tuple[str, str, str]


def judge(scenario: Scenario, names: Sequence[str], report: Report) -> None:
    """Refuse what cannot be, of a scenario whose every table is well.

    Parameters
    ----------
    names : sequence of str
        What each request is called: ``request``, or ``requests[0]`` and so on.
    """
    for field, value, allowed in (
        *_who_is_there(scenario),
        *_said_twice(scenario),
        *_what_the_beamline_can(scenario, names),
    ):
        report.refuse(field, allowed, value)
    if not report.problems:
        plans = [make_plan(request) for request in scenario.requests]
        for look in (_held_for_ever(scenario), _ending(scenario, plans), _images(scenario, plans), _visits(scenario)):
            for field, value, allowed in look:
                report.refuse(field, allowed, value)


# ---------------------------------------------------------------------------------------------------------------------
# Who is there, and what can be done
# ---------------------------------------------------------------------------------------------------------------------


def _who_is_there(scenario: Scenario) -> Iterator[_Refusal]:
    """What befalls, or is done by, something that the beamline is without."""
    without = scenario.beamline.without
    for index, fault in enumerate(scenario.faults):
        if fault.device in without:
            yield f"faults[{index}].device", f'"{fault.device}"', "is not there: beamline.without names it"
    for index, deed in enumerate(scenario.operator):
        if deed.does in (Does.CONFIRM, Does.REJECT) and "person" in without:
            yield f"operator[{index}].does", f'"{deed.does.value}"', "nobody is asked: beamline.without names person"
    for index, happening in enumerate(scenario.happenings):
        if (needed := _NEEDS[happening.what]) in without:
            allowed = f"nothing hears of it: beamline.without names {needed}"
            yield f"happens[{index}].what", f'"{happening.what.value}"', allowed
    if scenario.answers and "person" in without:
        yield "person", "", "nobody is asked: beamline.without names person"


def _said_twice(scenario: Scenario) -> Iterator[_Refusal]:
    """The same fault once more; a sweep may well add what the scenario has, and its replay must be played."""
    if any(map(_is_written, scenario.strike.places.values())):
        return
    firsts: dict[Fault, int] = {}
    for index, fault in enumerate(scenario.faults):
        if _is_written(fault.where) and (first := firsts.setdefault(fault, index)) != index:
            yield f"faults[{index}]", "", f"is the same as faults[{first}]"


def _is_written(where: str) -> bool:
    """It stands in the scenario itself, and was not added to it."""
    return not where.startswith(ADDED)


def _what_the_beamline_can(scenario: Scenario, names: Sequence[str]) -> Iterator[_Refusal]:
    """What the devices refuse of a request before anything moves."""
    beamline = built(scenario.beamline, scenario.seed).beamline
    for name, request in zip(names, scenario.requests, strict=True):
        try:
            limits.check(request, make_plan(request), beamline)
        except InvalidRequest as refusal:
            for problem in refusal.problems:
                field = problem.field if problem.field == "beamline" else f"{name}.{problem.field}"
                yield field, problem.value, problem.allowed


# ---------------------------------------------------------------------------------------------------------------------
# How it ends
# ---------------------------------------------------------------------------------------------------------------------


def _is_struck(scenario: Scenario) -> bool:
    return scenario.strike.cancel_at is not None or scenario.strike.abort_at is not None


def _held_for_ever(scenario: Scenario) -> Iterator[_Refusal]:
    """A hold after which nobody does anything that ends it."""
    if _is_struck(scenario):
        return
    for index, hold in enumerate(scenario.operator):
        if hold.does is Does.HOLD:
            ends = [deed for deed in scenario.operator if deed.does in _ENDS_A_HOLD]
            if all(_is_before(deed.moment, hold.moment) for deed in ends):
                ways = ", ".join(does.value for does in _ENDS_A_HOLD)
                yield f"operator[{index}].does", '"hold"', f"holds for ever: nobody does one of {ways} after it"


def _is_before(one: Moment, other: Moment) -> bool:
    """Surely; of events nobody knows beforehand when they come."""
    return one.at_s is not None and other.at_s is not None and one.at_s <= other.at_s


def _ending(scenario: Scenario, plans: Sequence[Plan]) -> Iterator[_Refusal]:
    expect, deeds = scenario.expect, [deed.does for deed in scenario.operator]
    outcome, value = expect.outcome, f'"{expect.outcome}"'
    if expect.ends_in == _FAULT and outcome in (_DONE, _SKIPPED):
        yield "expect.ends_in", f'"{_FAULT}"', f"contradicts outcome = {value}: what ends in {_FAULT} has failed"
    if expect.failure is not None and outcome == _DONE:
        yield "expect.failure", f'"{expect.failure}"', f"contradicts outcome = {value}: nothing went wrong then"
    if outcome == _DONE:
        least_s = _least_s(scenario, plans)
        for index, deed in enumerate(scenario.operator):
            if deed.does is Does.ABORT and _is_sure_to_come(deed.moment, least_s):
                yield f"operator[{index}].does", '"abort"', f"contradicts expect.outcome = {value}"
    if outcome == _ABORTED and Does.ABORT not in deeds and not _is_struck(scenario):
        yield "expect.outcome", value, "nobody aborts: give an [[operator]] who does, or another outcome"
    skips_existing = any(request.files.skip_existing for request in scenario.requests)
    if outcome == _SKIPPED and Does.SKIP not in deeds and not skips_existing:
        yield "expect.outcome", value, "nobody skips: give an [[operator]] who does, or another outcome"
    if _FAULT in (expect.ends_in, *expect.visits) and not (scenario.faults or scenario.beamline.settings):
        field = "expect.ends_in" if expect.ends_in == _FAULT else "expect.visits"
        yield field, f'"{_FAULT}"', "nothing fails: give [[faults]], or settings of a device that make it too slow"


def _least_s(scenario: Scenario, plans: Sequence[Plan]) -> float:
    """Surely a run that ends as done is not shorter: it exposes every image that is neither there nor skipped."""
    if any(deed.does is Does.SKIP for deed in scenario.operator):
        return 0.0
    exposed = zip(scenario.requests, plans, strict=True)
    return sum(plan.images * plan.exposure_s for request, plan in exposed if not request.files.skip_existing)


def _is_sure_to_come(moment: Moment, least_s: float) -> bool:
    """Before the end of a collection that ends as done, which takes `least_s` or longer."""
    if moment.at_s is not None:
        return moment.at_s < least_s
    return moment.event in _ON_THE_WAY and moment.count == 1 and moment.after_s == 0.0


def _images(scenario: Scenario, plans: Sequence[Plan]) -> Iterator[_Refusal]:
    images, planned = scenario.expect.images, sum(plan.images for plan in plans)
    if images is None:
        return
    if images > planned:
        yield "expect.images", str(images), f"is more than is asked for: {planned} images"
    is_partial = any(request.files.skip_existing for request in scenario.requests)
    # Of a list, one may be skipped and the whole is done all the same.
    may_be_fewer = is_partial or (len(plans) > 1 and any(deed.does is Does.SKIP for deed in scenario.operator))
    if images < planned and scenario.expect.outcome == _DONE and not may_be_fewer:
        allowed = f'contradicts outcome = "{_DONE}": {planned} images are asked for'
        yield "expect.images", str(images), allowed


# ---------------------------------------------------------------------------------------------------------------------
# Where it comes through
# ---------------------------------------------------------------------------------------------------------------------


def _visits(scenario: Scenario) -> Iterator[_Refusal]:
    visits = scenario.expect.visits
    if State.HOLDING.name in visits and not any(deed.does is Does.HOLD for deed in scenario.operator):
        yield "expect.visits", f'"{State.HOLDING.name}"', "nobody holds: give an [[operator]] who does"
    loses_beam = any(happening.what is What.BEAM_LOST for happening in scenario.happenings)
    if State.HOLDING_FOR_BEAM.name in visits and not (loses_beam or any(f.device == "ring" for f in scenario.faults)):
        allowed = 'the beam is not lost: give [[happens]] with what = "beam lost", or a fault of the ring'
        yield "expect.visits", f'"{State.HOLDING_FOR_BEAM.name}"', allowed
    if _ABANDONED in visits and scenario.expect.ends_in == _IDLE:
        yield "expect.visits", f'"{_ABANDONED}"', f'contradicts ends_in = "{_IDLE}"'
    if _FAULT in visits and scenario.expect.outcome in (_DONE, _SKIPPED):
        allowed = f'contradicts outcome = "{scenario.expect.outcome}": what comes through {_FAULT} has failed'
        yield "expect.visits", f'"{_FAULT}"', allowed
    for here, there in itertools.pairwise(visits):
        if there not in _reached_from(here, once=len(scenario.requests) == 1):
            yield "expect.visits", f'"{there}"', f"no collection comes from {here} to {there}: see the collection table"


def _reached_from(name: str, *, once: bool) -> frozenset[str]:
    """States that a collection (or, unless `once`, a list of them) may enter after `name`."""
    reached: set[State] = set()
    at = [State[name]]
    while at:
        state = at.pop()
        if once and state in COLLECTION.final and (state is not COLLECTION.initial or state in reached):
            continue
        for row in COLLECTION.rows:
            if row.source is state and row.dest not in reached and not row.stays:
                reached.add(row.dest)
                at.append(row.dest)
    return frozenset(state.name for state in reached)
