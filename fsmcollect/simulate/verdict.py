"""What must hold of how a run ended: outcomes, declared endings, expectations.

Owns the sentences. What must hold while it runs is `sim.checkers`'.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from fsmcollect.collecting.collection import Collection, Result
from fsmcollect.errors import Problem
from fsmcollect.machines.collection import State as S
from fsmcollect.machines.table import Outcome
from fsmcollect.sim.faults.declared import Ending
from fsmcollect.sim.faults.line import AdapterBug
from fsmcollect.sim.faults.survival import Struck, judge
from fsmcollect.sim.scenario.values import Does, Expectation, Scenario, Strike
from fsmcollect.simulate.collecting import Simulation


def ended_in(simulation: Simulation) -> str:
    """``IDLE`` where the beamline was verified safe, else ``FAULT``."""
    return S.IDLE.name if simulation.safe else S.FAULT.name


def broken_outcomes(
    results: Mapping[Collection, Result], at_least: Mapping[Collection, Outcome], raised: Sequence[BaseException]
) -> Iterator[str]:
    """A run that was stopped never ends better than that; done is done; only an adapter may have bugs."""
    for error in raised:
        if not isinstance(error, AdapterBug):
            yield f"the run raised {error!r}"
    for collection, result in results.items():
        least = at_least.get(collection, Outcome.DONE)
        if result.outcome < least:
            yield f"the run {result.run!r} ended as {result.outcome}, and it was {least} by request"
        planned = collection.plan.images
        if result.outcome is Outcome.DONE and (result.images != planned or result.failures):
            told = "".join(f"; {failure}" for failure in result.failures)
            yield f"the run {result.run!r} ended as done with {result.images} of {planned} images{told}"


def undeclared_ending(
    scenario: Scenario, simulation: Simulation, struck: Sequence[Struck], *, stopped: bool
) -> Iterator[str]:
    """Without an expectation of its own, a run must end as its faults are declared to end.

    Struck by a sweep, or with something added to it, it may also end as it does undisturbed.
    """
    for ends in (scenario.expect, scenario.undisturbed):
        if ends.outcome is not None or ends.ends_in is not None:
            is_so = ends.outcome in (None, str(simulation.outcome)) and ends.ends_in in (None, ended_in(simulation))
            if is_so or (ends is scenario.expect and scenario.strike == Strike()):
                return
    ending = Ending.FAILED if simulation.failures or simulation.outcome is Outcome.FAILED else Ending.DONE
    if not simulation.safe:
        ending = Ending.FAULT
    answers_himself = any(deed.does in (Does.CONFIRM, Does.REJECT) for deed in scenario.operator)
    if ending is Ending.FAILED and (scenario.happenings or scenario.answers or answers_himself):
        return  # an open hutch, a no, or no answer at all makes it fail, whatever else is survived
    setup = scenario.beamline
    others = (scenario.operator, scenario.happenings, scenario.answers, setup.settings, setup.bare_pins)
    if sentence := judge(struck, ending, stopped=stopped or any(others)):
        yield sentence
    if ending is Ending.FAULT and not struck:
        yield "nothing has failed, and the beamline could not be verified safe"


def unmet(
    expect: Expectation, simulation: Simulation, visited: Sequence[str], raised: Sequence[BaseException]
) -> Iterator[Problem]:
    """Each expectation that has not come true; `visited` are the states in order, `raised` what bugs have raised."""

    def problem(key: str, value: str, allowed: str) -> Problem:
        return Problem(field=f"expect.{key}", value=value, allowed=allowed, where=expect.places.get(key, ""))

    there = {"outcome": str(simulation.outcome), "ends_in": ended_in(simulation), "images": simulation.images}
    for key, was in there.items():
        wanted = getattr(expect, key)
        if wanted is not None and wanted != was:
            yield problem(key, str(wanted), f"it was {was}")
    told = " | ".join([*simulation.failures, *(f"a bug: {error!r}" for error in raised)])
    if expect.failure is not None and expect.failure not in told:
        yield problem("failure", expect.failure, f"it was {told}" if told else "nothing was told to have failed")
    ahead = iter(visited)
    for state in expect.visits:
        if state not in ahead:
            yield problem("visits", state, f"not in this order: {' '.join(visited)}")
            return
