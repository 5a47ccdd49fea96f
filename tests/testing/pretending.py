"""A pretended player of scenarios for the tests of sweeps: quick, and wrong where a test wants it to be."""

from __future__ import annotations

import os
from pathlib import Path

from fsmcollect.machines.table import Outcome
from fsmcollect.request import parse_toml
from fsmcollect.sim.faults.commands import Call
from fsmcollect.sim.scenario.values import Scenario
from fsmcollect.simulate.played import Played

REQUEST = parse_toml(
    """
[sample]
location = "1:5"
[files]
directory = "data"
prefix = "lyso"
[beam]
energy_ev = 12700
transmission_frac = 0.2
detector_distance_mm = 200.0
[sweep]
image_width_deg = 0.1
images = 4
exposure_s = 0.01
"""
)
BASE = Scenario(name="pretended", requests=(REQUEST,))
#: The states that the checkpoints (and the events) of the pretended run fall in.
STATES = ("MOUNTING", "MOUNTING", "CENTRING", "wedge.EXPOSING", "wedge.EXPOSING", "CLOSING", "IDLE")
CALLS = (
    Call("fast_shutter", "close", 1, "MOUNTING"),
    Call("detector", "arm", 1, "wedge.ARMING"),
    Call("fast_shutter", "close", 2, "CLOSING"),
)


def played(
    scenario: Scenario,
    outcome: Outcome = Outcome.DONE,
    struck_in: str = "",
    violations: tuple[str, ...] = (),
    safe: bool = True,
    pairs: frozenset[tuple[str, str]] = frozenset(),
) -> Played:
    return Played(
        scenario=scenario,
        outcome=outcome,
        ended_in="IDLE" if safe else "FAULT",
        safe=safe,
        images=4,
        exposed_s=0.04,
        photons=1.0,
        simulated_s=1.0,
        wall_s=0.001,
        trace_sha256="",
        files=(),
        failures=(),
        raised="",
        violations=violations,
        excused=(),
        unmet=(),
        never=(),
        events=len(STATES),
        event_states=STATES,
        checkpoints=len(STATES),
        checkpoint_states=STATES,
        calls=CALLS,
        rows=frozenset({("collection", "IDLE", "START"), ("wedge", "RUNNING_UP", "AT_SPEED")}),
        pairs=pairs,
        struck_in=struck_in,
    )


def well_behaved(scenario: Scenario) -> Played:
    """Stopped before CLOSING it is aborted; a fault makes it fail."""
    at = scenario.strike.cancel_at or scenario.strike.abort_at
    if at is not None:
        state = STATES[at - 1]
        is_late = state == "IDLE" or (state == "CLOSING" and scenario.strike.cancel_at is not None)
        return played(scenario, Outcome.DONE if is_late else Outcome.ABORTED, state)
    if scenario.faults:
        pairs = frozenset((fault.effect.value, "MOUNTING") for fault in scenario.faults)
        return played(scenario, Outcome.FAILED, "MOUNTING", pairs=pairs)
    return played(scenario)


def deaf_while_exposing(scenario: Scenario) -> Played:
    """It goes on where it is stopped while it exposes."""
    ended = well_behaved(scenario)
    return played(scenario, Outcome.DONE, ended.struck_in) if ended.struck_in == "wedge.EXPOSING" else ended


def dies(scenario: Scenario) -> Played:
    """The process is gone when it is cancelled at its second checkpoint."""
    if scenario.strike.cancel_at == 2:
        os._exit(7)
    return well_behaved(scenario)


def never_ends(scenario: Scenario) -> Played:
    """Says which process plays, and waits for ever."""
    import time

    (Path(os.environ["PRETENDED_WORKERS"]) / str(os.getpid())).touch()
    time.sleep(600)
    return well_behaved(scenario)
