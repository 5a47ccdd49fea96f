"""With lines before every device and no fault in force, a run is the same, instant by instant."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsmcollect.request import Request
from fsmcollect.sim.beamline import SimulatedBeamline
from fsmcollect.sim.faults.injector import Injector
from fsmcollect.sim.faults.values import FOR_EVER_S, Effect, Fault
from fsmcollect.sim.moments import Moments
from fsmcollect.simulate.collecting import Rehearsal
from tests.collecting.rehearsing import INVERSE, WAYS, ask
from tests.sim.faults.faulting import EVERY_COMMAND, at_call, of_device

#: Faults that wait for what never comes, so that nothing of them is ever in force.
WAITING: tuple[Fault, ...] = (
    *(at_call(device, command, Effect.REFUSES, call=10_000) for device, command in EVERY_COMMAND),
    of_device("goniometer", Effect.RESETS, at_s=1e6),
    of_device("detector_stage", Effect.DRIFTS, at_s=1e6, lasts_s=FOR_EVER_S),
)
requests = st.sampled_from(
    [*WAYS.values(), ask(centring={"method": "none"}), ask(snapshots={"count": 2}), ask(sample={"location": None})]
)


def sha256(
    request: Request, *, seed: int = 0, faults: tuple[Fault, ...] = (), record: bool = False, wired: bool = True
) -> str:
    simulated = SimulatedBeamline(seed=seed)
    if wired:
        moments = Moments(simulated.kernel)
        injector = Injector(simulated, faults, moments, record=record)
        result = Rehearsal(requests=[request], simulated=simulated, listeners=[moments.hear]).run()
        assert injector.struck == []
        assert bool(injector.calls) is record
    else:
        result = Rehearsal(requests=[request], simulated=simulated).run()
    return result.trace_sha256


@given(requests, st.integers(0, 1000), st.booleans(), st.sets(st.sampled_from(WAITING)))
def test_the_trace_is_the_same_with_and_without_lines(
    request: Request, seed: int, record: bool, faults: set[Fault]
) -> None:
    bare = sha256(request, seed=seed, wired=False)
    assert sha256(request, seed=seed, faults=tuple(sorted(faults, key=str)), record=record) == bare


@pytest.mark.parametrize("record", [False, True])
def test_every_line_with_a_fault_that_waits_changes_nothing(record: bool) -> None:
    assert sha256(INVERSE, faults=WAITING, record=record) == sha256(INVERSE, wired=False)


def test_the_same_faults_give_the_same_trace_again() -> None:
    faults = (
        at_call("goniometer", "move", Effect.DELAYED, call=2),
        at_call("detector", "arm", Effect.ANSWER_LOST, call=2, lasts_s=3.0),
        at_call("goniometer", "prepare_sweep", Effect.DELAYED, call=2, delay_s=1.0),
        of_device("monochromator", Effect.DRIFTS, at_s=5.0, lasts_s=FOR_EVER_S),
    )

    def once() -> str:
        simulated = SimulatedBeamline()
        moments = Moments(simulated.kernel)
        injector = Injector(simulated, faults, moments)
        result = Rehearsal(requests=[INVERSE], simulated=simulated, listeners=[moments.hear]).run()
        assert injector.never_struck == ()
        return result.trace_sha256

    assert len({once() for _ in range(5)}) == 1
