"""What came of a scenario: a value, for people, sweeps and tests alike."""

from __future__ import annotations

from pathlib import Path

import attrs

from fsmcollect.errors import Problem
from fsmcollect.machines.table import Outcome
from fsmcollect.sim.faults.commands import Call
from fsmcollect.sim.scenario.values import Scenario


@attrs.frozen(kw_only=True)
class Played:
    """What came of a scenario.

    Attributes
    ----------
    outcome : Outcome
        Of a list, its worst.
    ended_in : str
        ``IDLE``, or ``FAULT`` where the beamline could not be verified safe.
    raised : str
        The bug that an adapter raised, once all was safe; empty without.
    violations : tuple of str
        What must never be: of physics, of endings, of liveness, and endings that no fault of the run declares.
    excused : tuple of str
        What would be a violation, and is what a fault itself makes of the beamline.
    unmet : tuple of Problem
        Expectations of the scenario that are not met.
    never : tuple of Problem
        Faults, deeds and happenings whose moment never came, or that found nothing to do.
    events : int
        How many events the run's observers were told.
    event_states, checkpoint_states : tuple of str
        The state (``OSCILLATING``, or ``wedge.EXPOSING`` while a wedge runs) in which each fell, where asked for.
    calls : tuple of Call
        Every command that a device was given, where asked for.
    rows : frozenset
        Rows of the tables that fired, as (machine, source, event).
    pairs : frozenset
        Effects and the states in which a fault with that effect was in force.
    struck_in : str
        The state in which the run was struck: by its strike, else by its first fault. Empty if never.
    """

    scenario: Scenario
    outcome: Outcome
    ended_in: str
    safe: bool
    images: int
    #: Time that crystals spent in the beam, and the photons that hit them.
    exposed_s: float
    photons: float
    simulated_s: float
    wall_s: float
    trace_sha256: str
    files: tuple[Path, ...]
    failures: tuple[str, ...]
    raised: str
    violations: tuple[str, ...]
    excused: tuple[str, ...]
    unmet: tuple[Problem, ...]
    never: tuple[Problem, ...]
    events: int
    event_states: tuple[str, ...]
    checkpoints: int
    checkpoint_states: tuple[str, ...]
    calls: tuple[Call, ...]
    rows: frozenset[tuple[str, str, str]]
    pairs: frozenset[tuple[str, str]]
    struck_in: str

    @property
    def as_expected(self) -> bool:
        """Nothing is violated, everything expected came true and everything planned came to pass."""
        return not self.violations and not self.unmet and not self.never
