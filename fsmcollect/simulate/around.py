"""What people do to a run and what happens around it, at its moments.

Owns carrying that out, what was accepted of it, and what of it never came to pass. Owns neither run nor device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import attrs

from fsmcollect.collecting.collection import Collection
from fsmcollect.errors import Problem
from fsmcollect.machines.collection import State as S
from fsmcollect.machines.table import Outcome
from fsmcollect.sim.beamline import SimulatedBeamline
from fsmcollect.sim.kernel import US_PER_S
from fsmcollect.sim.moments import Moments
from fsmcollect.sim.scenario.values import Deed, Does, Happening, Scenario, What

#: States in which something goes on that a person can interrupt.
WORKING = frozenset({S.MOUNTING, S.CENTRING, S.OSCILLATING})


@attrs.frozen
class _Entry:
    """A deed or a happening, and what the scenario calls it."""

    field: str
    what: str
    thing: Deed | Happening

    def problem(self, allowed: str) -> Problem:
        thing = self.thing
        return Problem(field=self.field, value=f"{self.what} {thing.moment}", allowed=allowed, where=thing.where)


@attrs.define(eq=False, repr=False)
class Around:
    """Deeds and happenings of one run.

    Parameters
    ----------
    scenario : Scenario
    simulated : SimulatedBeamline
    moments : Moments
        Must hear the run's events.
    current : callable
        The collection under way.
    state : callable
        The name of its state.
    interrupts : callable
        Told that somebody has stopped or held a run that was at work.

    Attributes
    ----------
    at_least : dict
        Of each collection what was accepted: it must not end better than that.
    last_us : int
        When somebody last did something, or something last happened.
    """

    scenario: Scenario
    simulated: SimulatedBeamline
    moments: Moments
    current: Callable[[], Collection]
    state: Callable[[], str]
    interrupts: Callable[[], object]
    at_least: dict[Collection, Outcome] = attrs.field(init=False, factory=dict[Collection, Outcome])
    last_us: int = attrs.field(init=False, default=0)
    _refused: list[Problem] = attrs.field(init=False, factory=list[Problem])
    #: With the question whether its moment has come.
    _planned: list[tuple[_Entry, Callable[[], bool]]] = attrs.field(
        init=False, factory=list[tuple[_Entry, Callable[[], bool]]]
    )

    def begin(self) -> None:
        """Inside the simulation, before the first collection: everything has its moment from here on."""
        for index, deed in enumerate(self.scenario.operator):
            self._plan(_Entry(f"operator[{index}]", deed.does.value, deed), partial(self._do, deed))
        for index, happening in enumerate(self.scenario.happenings):
            entry = _Entry(f"happens[{index}]", happening.what.value, happening)
            self._plan(entry, partial(self._let_happen, happening))

    def accept(self, outcome: Outcome) -> None:
        """The collection under way must not end better than this any more."""
        current = self.current()
        self.at_least[current] = max(outcome, self.at_least.get(current, Outcome.DONE))

    def nobody_will_acknowledge(self) -> bool:
        """No acknowledgement is still to come."""
        return all(is_done() for entry, is_done in self._planned if entry.what == Does.ACKNOWLEDGE.value)

    def never(self) -> Iterator[Problem]:
        """What was refused or found nothing to do, and what was planned for moments that did not come."""
        yield from self._refused
        ended_s = self.simulated.kernel.now_us / US_PER_S
        for entry, is_done in self._planned:
            if not is_done():
                yield entry.problem(f"never came: the run ended after {ended_s:g} s")

    def _plan(self, entry: _Entry, carry_out: Callable[[], bool]) -> None:
        """Have it carried out at its moment; what then finds nothing to do is kept."""

        def now() -> None:
            self.last_us = self.simulated.kernel.now_us
            if not carry_out():
                self._refused.append(entry.problem(f"found nothing to do in {self.state()}"))

        self._planned.append((entry, self.moments.add(entry.thing.moment, now)))

    def _do(self, deed: Deed) -> bool:
        """Returns whether there was anything to do."""
        collection, person = self.current(), self.simulated.person
        self.simulated.trace.note("operator", deed.does.value)
        deeds: Mapping[Does, Callable[[], bool]] = {
            Does.ABORT: collection.abort,
            Does.HOLD: collection.hold,
            Does.RESUME: collection.resume,
            Does.SKIP: collection.skip,
            Does.ACKNOWLEDGE: collection.acknowledge,
            Does.CONFIRM: lambda: person.say(True),
            Does.REJECT: lambda: person.say(False),
        }
        worked = collection.state in WORKING
        if not deeds[deed.does]():
            return False
        if worked and deed.does in (Does.ABORT, Does.SKIP, Does.HOLD):
            self.interrupts()
        self.accept({Does.ABORT: Outcome.ABORTED, Does.SKIP: Outcome.SKIPPED}.get(deed.does, Outcome.DONE))
        return True

    def _let_happen(self, happening: Happening) -> bool:
        """Returns whether it has changed anything."""
        before = self._surroundings()
        ring, interlock = self.simulated.ring, self.simulated.interlock
        {
            What.BEAM_LOST: ring.lose_beam,
            What.BEAM_BACK: ring.restore_beam,
            What.HUTCH_OPENED: interlock.open_door,
            What.HUTCH_SEARCHED: interlock.search,
        }[happening.what]()
        return self._surroundings() != before

    def _surroundings(self) -> tuple[bool, bool]:
        """Whether there is beam, and whether the hutch is searched."""
        return self.simulated.ring.has_beam(), self.simulated.interlock.searched
