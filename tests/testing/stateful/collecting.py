"""A collection and its requests against the real driver: any request, at any instant, or within any event.

Owns the rules that drive a simulated collection and what is looked at after each. What is expected is the model's.
"""

from __future__ import annotations

import trio
from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fsmcollect.collecting.collection import Collection
from fsmcollect.machines.collection import Event, State
from fsmcollect.observers import Observers
from fsmcollect.request import Request
from fsmcollect.sim.beamline import SimulatedBeamline
from fsmcollect.sim.kernel import US_PER_S
from fsmcollect.sim.moments import EVENTS
from fsmcollect.sim.shutter import Blade
from fsmcollect.testing import strategies
from tests.testing.stateful.lockstep import Lockstep, cancelling
from tests.testing.stateful.model import Model

REQUESTS = [Event.ABORT, Event.HOLD, Event.RESUME, Event.SKIP, Event.ACKNOWLEDGE]
#: At which of them the beam goes off before anything else is done.
TURNING_OFF = (Event.ABORT, Event.HOLD, Event.SKIP)
#: After it is let go, a run is over within so long. Assumed: several times the longest sum of waits.
LET_GO_S = 7200
AWAITED = ["wedge.EXPOSING", "OSCILLATING", "wedge.ARMING", "wedge.RUNNING_UP", "images_taken", "HOLDING", "CLOSING"]


class CollectionMachine(RuleBasedStateMachine):
    """One collection on the simulated beamline, in lock-step with the test."""

    simulated: SimulatedBeamline
    collection: Collection
    model: Model
    steps: Lockstep | None = None
    #: Somebody has cancelled the program.
    has_left = False

    @initialize(
        request=strategies.requests(max_images=6),
        seed=st.integers(0, 9),
        schedule=st.integers(0, 99),
        early=st.lists(st.sampled_from(REQUESTS), max_size=2),
    )
    def begin(self, request: Request, seed: int, schedule: int, early: list[Event]) -> None:
        self.simulated = SimulatedBeamline(seed=seed)
        observers = Observers()
        self.collection = Collection(beamline=self.simulated.beamline, request=request, observers=observers)
        self.model = Model(self.collection.plan)
        self.scope = trio.CancelScope()
        self.steps = Lockstep(self.simulated.kernel, cancelling(self.scope, self.collection.run), schedule=schedule)
        observers.listeners += [self.model.hear, self.steps.hear]
        for event in early:
            self.model.asked(event, accepted=self._ask(event))
        self.steps.begin()

    def _ask(self, event: Event) -> bool:
        collection = self.collection
        return {
            Event.ABORT: collection.abort,
            Event.HOLD: collection.hold,
            Event.RESUME: collection.resume,
            Event.SKIP: collection.skip,
            Event.ACKNOWLEDGE: collection.acknowledge,
        }[event]()

    # -- time ---------------------------------------------------------------------------------------------------------

    @rule(by_ms=st.one_of(st.integers(1, 200), st.integers(1, 20_000)))
    def time_passes(self, by_ms: int) -> None:
        self._steps.advance(by_ms * 1000)

    @rule(event=st.sampled_from(AWAITED) | st.sampled_from(EVENTS), at_most_s=st.just(300))
    def until_an_event(self, event: str, at_most_s: int) -> None:
        self._steps.until(event, at_most_us=at_most_s * US_PER_S)

    # -- requests -----------------------------------------------------------------------------------------------------

    @rule(events=st.lists(st.sampled_from(REQUESTS), min_size=1, max_size=3), rests=st.booleans())
    def somebody_asks(self, events: list[Event], rests: bool) -> None:
        """At one instant, before the program has done anything about the first."""
        accepted = [event for event in events if self._asks(event)]
        if rests:
            self._steps.rest()
            self._beam_is_off_after(accepted)

    def _asks(self, event: Event) -> bool:
        accepted = self._steps.do(lambda: self._ask(event))
        self.model.asked(event, accepted=accepted)
        return accepted

    def _beam_is_off_after(self, accepted: list[Event]) -> None:
        if any(event in TURNING_OFF for event in accepted):
            blade = self.simulated.fast_shutter.blade
            assert blade in (Blade.CLOSED, Blade.CLOSING), f"the shutter is {blade.value} after {accepted}"

    @rule()
    @precondition(lambda self: self.steps is not None and not self.has_left)
    def the_program_leaves(self) -> None:
        self._leave()

    def _leave(self) -> None:
        self.has_left = True
        self.model.cancelled()
        self._steps.do(self.scope.cancel)

    # -- what happens around ------------------------------------------------------------------------------------------

    @rule(is_there=st.booleans())
    def the_beam_comes_or_goes(self, is_there: bool) -> None:
        ring = self.simulated.ring
        self._steps.do(ring.restore_beam if is_there else ring.lose_beam)

    @rule(is_searched=st.booleans())
    def somebody_is_at_the_hutch(self, is_searched: bool) -> None:
        interlock = self.simulated.interlock
        if not is_searched:
            self.model.troubles.append("hutch opened")
        self._steps.do(interlock.search if is_searched else interlock.open_door)

    # -- what must hold -----------------------------------------------------------------------------------------------

    @property
    def _steps(self) -> Lockstep:
        assert self.steps is not None
        return self.steps

    @invariant()
    def all_is_as_it_must_be(self) -> None:
        if self.steps is not None:
            assert self.model.wrong == []
            assert self.simulated.checkers.violations == []
            assert self.collection.state is self.model.state

    def teardown(self) -> None:
        if self.steps is None:
            return
        self._let_go()
        result = self.collection.result()
        note(f"{result.outcome}, {self.simulated.kernel.now_us / US_PER_S:g} s, {result.failures}")
        assert self._steps.raised is None
        self.simulated.checkers.at_rest()
        assert self.simulated.checkers.violations == []
        wrong = self.model.verdict(result.outcome, images=result.images, failures=result.failures)
        assert wrong == []
        assert result.safe or self.has_left
        assert not any(self._ask(event) for event in REQUESTS), "a request is accepted after the end"

    def _let_go(self) -> None:
        """Everybody helps that the run comes to its end."""
        steps, simulated = self._steps, self.simulated
        until_us = simulated.kernel.now_us + LET_GO_S * US_PER_S
        acknowledged = 0
        while not steps.ended:
            if simulated.kernel.now_us > until_us:
                self.model.wrong.append(f"it does not end: still in {self.collection.state.name}")
                self._leave()
                until_us += LET_GO_S * US_PER_S
            steps.do(simulated.ring.restore_beam)
            steps.do(simulated.interlock.search)
            if self.collection.state is State.HOLDING:
                self._asks(Event.RESUME)
            elif self.collection.state is State.FAULT:
                if acknowledged < 2:
                    self._asks(Event.ACKNOWLEDGE)
                    acknowledged += 1
                else:
                    self._leave()
            steps.advance(10 * US_PER_S)
