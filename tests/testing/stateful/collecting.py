"""A collection and its requests against the real driver: any request, at any instant, or within any event.

Owns the rules that drive a simulated collection and what is looked at after each. What is expected is the model's; what
may be of the beamline while something fails is declared in `fsmcollect.sim.faults.survival`.
"""

from __future__ import annotations

import attrs
import trio
from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fsmcollect.collecting.collection import Collection
from fsmcollect.machines.collection import Event, State
from fsmcollect.observers import Observers
from fsmcollect.request import Request
from fsmcollect.sim.beamline import SimulatedBeamline
from fsmcollect.sim.checkers import RunRules
from fsmcollect.sim.faults.injector import Injector
from fsmcollect.sim.faults.line import AdapterBug
from fsmcollect.sim.faults.survival import Struck, is_excused
from fsmcollect.sim.faults.values import Fault
from fsmcollect.sim.kernel import US_PER_S
from fsmcollect.sim.moments import EVENTS, Moment, Moments
from fsmcollect.sim.shutter import Blade
from fsmcollect.testing import strategies
from tests.testing.stateful.lockstep import Lockstep, cancelling
from tests.testing.stateful.model import Model

REQUESTS = [Event.ABORT, Event.HOLD, Event.RESUME, Event.SKIP, Event.ACKNOWLEDGE]
PAUSING = [Event.HOLD, Event.RESUME, Event.ACKNOWLEDGE]
#: At which of them the beam goes off before anything else is done.
TURNING_OFF = (Event.ABORT, Event.HOLD, Event.SKIP)
#: After it is let go, a run is over within so long. Assumed: several times the longest sum of waits.
LET_GO_S = 7200
AWAITED = ["wedge.EXPOSING", "OSCILLATING", "wedge.ARMING", "wedge.RUNNING_UP", "images_taken", "HOLDING", "CLOSING"]
#: Where the rules set in: most of what is worth asking is asked while something is exposed.
BEGINNINGS = ["", "wedge.EXPOSING", "OSCILLATING", "wedge.EXPOSING", "wedge.ARMING", "CENTRING", "CLOSING"]


class CollectionMachine(RuleBasedStateMachine):
    """One collection on the simulated beamline, in lock-step with the test."""

    simulated: SimulatedBeamline
    collection: Collection
    model: Model
    injector: Injector
    steps: Lockstep | None = None
    #: Somebody has cancelled the program.
    has_left = False
    #: How often somebody has asked. What ends a run is asked for later: more can be asked before.
    pauses = 0
    #: How many more may strike: what several do together is not declared for each.
    faults_left = 1

    @initialize(
        request=strategies.requests(max_images=6),
        seed=st.integers(0, 9),
        schedule=st.integers(0, 99),
        from_=st.sampled_from(BEGINNINGS),
        early=st.one_of(st.just(()), st.just(()), st.lists(st.sampled_from(REQUESTS), max_size=2).map(tuple)),
    )
    def begin(self, request: Request, seed: int, schedule: int, from_: str, early: tuple[Event, ...]) -> None:
        simulated = self.simulated = SimulatedBeamline(seed=seed)
        self.struck: list[Struck] = []
        self.rules = RunRules()
        moments = Moments(simulated.kernel)
        self.injector = Injector(simulated, (), moments, record=True)
        self.injector.on_struck.append(self._struck)
        simulated.checkers.excused = self._is_excused
        observers = Observers()
        self.collection = Collection(beamline=simulated.beamline, request=request, observers=observers)
        self.model = Model(self.collection.plan)
        self.scope = trio.CancelScope()
        self.steps = Lockstep(simulated.kernel, cancelling(self.scope, self.collection.run), schedule=schedule)
        observers.listeners += [
            self.model.hear,
            simulated.checkers.hear,
            self.rules.hear,
            moments.hear,
            self.steps.hear,
        ]
        for event in early:
            self.model.asked(event, accepted=self._ask(event))
        self.steps.begin()
        if from_:
            self.until_an_event(from_)

    def _struck(self, fault: Fault) -> None:
        self.model.troubles.append(str(fault))
        self.struck.append(Struck(fault, self.collection.state.name))

    def _is_excused(self, rule: str) -> bool:
        latched = self.simulated.beamline.fault
        return is_excused(rule, self.struck, () if latched is None else latched.failures)

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

    @precondition(lambda self: self.is_under_way)
    @rule(event=st.sampled_from(AWAITED))
    def until_an_event(self, event: str) -> None:
        self._steps.until(event, at_most_us=60 * US_PER_S)

    @precondition(lambda self: self.is_under_way)
    @rule(event=st.sampled_from(EVENTS))
    def until_any_event(self, event: str) -> None:
        self._steps.until(event, at_most_us=2 * US_PER_S)

    # -- requests -----------------------------------------------------------------------------------------------------

    @rule(events=st.lists(st.sampled_from(PAUSING), min_size=1, max_size=3), rests=st.booleans())
    @precondition(lambda self: self.is_under_way)
    def somebody_pauses(self, events: list[Event], rests: bool) -> None:
        self._ask_at_once(events, rests=rests)

    @rule(events=st.lists(st.sampled_from(REQUESTS), min_size=1, max_size=3), rests=st.booleans())
    @precondition(lambda self: self.is_under_way and self.pauses > 2)
    def somebody_asks_for_anything(self, events: list[Event], rests: bool) -> None:
        self._ask_at_once(events, rests=rests)

    def _ask_at_once(self, events: list[Event], *, rests: bool) -> None:
        """At one instant, before the program has done anything about the first."""
        self.pauses += 1
        accepted = [event for event in events if self._asks(event)]
        if rests:
            self._steps.rest()
            self._beam_is_off_after(accepted)

    def _asks(self, event: Event) -> bool:
        accepted = self._steps.do(lambda: self._ask(event))
        self.model.asked(event, accepted=accepted)
        return accepted

    def _beam_is_off_after(self, accepted: list[Event]) -> None:
        """The command has left in the same instant; what a shutter makes of it that fails is another matter."""
        fails = any(hit.fault.device == "fast_shutter" for hit in self.struck)
        if any(event in TURNING_OFF for event in accepted) and not fails:
            blade = self.simulated.fast_shutter.blade
            assert blade in (Blade.CLOSED, Blade.CLOSING), f"the shutter is {blade.value} after {accepted}"

    @rule()
    @precondition(lambda self: self.is_under_way and self.pauses > 2 and not self.has_left)
    def the_program_leaves(self) -> None:
        self._leave()
        self._steps.rest()
        assert self.model.is_decided, f"still in {self.model.state.name}, and the program leaves"
        self._beam_is_off_after([Event.ABORT])

    def _leave(self) -> None:
        self.has_left = True
        self.model.cancelled()
        self._steps.do(self.scope.cancel)

    # -- what happens around ------------------------------------------------------------------------------------------

    @precondition(lambda self: self.is_under_way)
    @rule(is_there=st.booleans())
    def the_beam_comes_or_goes(self, is_there: bool) -> None:
        ring = self.simulated.ring
        self._steps.do(ring.restore_beam if is_there else ring.lose_beam)

    @precondition(lambda self: self.is_under_way)
    @rule(is_searched=st.booleans())
    def somebody_is_at_the_hutch(self, is_searched: bool) -> None:
        interlock = self.simulated.interlock
        if not is_searched:
            self.model.troubles.append("hutch opened")
        self._steps.do(interlock.search if is_searched else interlock.open_door)

    @rule(fault=strategies.faults())
    @precondition(lambda self: self.is_under_way and self.faults_left > 0)
    def something_fails(self, fault: Fault) -> None:
        """From now on, or at the next call."""
        self.faults_left -= 1
        now = Moment(at_s=self.simulated.kernel.now_us / US_PER_S)
        self._steps.do(lambda: self.injector._expect(attrs.evolve(fault, call=None, moment=now)))

    # -- what must hold -----------------------------------------------------------------------------------------------

    @property
    def is_under_way(self) -> bool:
        """It has begun and not ended: otherwise nothing is worth doing."""
        return self.steps is not None and not self.steps.ended

    @property
    def _steps(self) -> Lockstep:
        assert self.steps is not None
        return self.steps

    @invariant()
    def all_is_as_it_must_be(self) -> None:
        if self.steps is not None:
            assert self.model.wrong == []
            assert self.rules.sentences == []
            assert self.simulated.checkers.violations == []
            assert self.collection.state is self.model.state

    def teardown(self) -> None:
        if self.steps is None:
            return
        self._let_go()
        result, raised = self.collection.result(), self._steps.raised
        note(f"{result.outcome}, {self.simulated.kernel.now_us / US_PER_S:g} s, {result.failures}, {raised!r}")
        assert raised is None or isinstance(raised, AdapterBug)
        self.rules.ended()
        self.simulated.checkers.at_rest()
        failures = result.failures if raised is None else (*result.failures, repr(raised))
        self.model.verdict(result.outcome, images=result.images, failures=failures)
        self.all_is_as_it_must_be()
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
