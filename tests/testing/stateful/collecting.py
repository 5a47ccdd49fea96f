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
from fsmcollect.sim.scenario.values import Deed, Does, Happening, Scenario, Strike, What
from fsmcollect.sim.shutter import Blade
from fsmcollect.simulate.collecting import find_mounted
from fsmcollect.testing import strategies
from tests.testing.stateful.lockstep import Lockstep, cancelling
from tests.testing.stateful.model import Model

REQUESTS = [Event.ABORT, Event.HOLD, Event.RESUME, Event.SKIP, Event.ACKNOWLEDGE]
PAUSING = [Event.HOLD, Event.RESUME, Event.ACKNOWLEDGE]
#: At which of them the beam goes off before anything else is done.
TURNING_OFF = (Event.ABORT, Event.HOLD, Event.SKIP)
#: In what is kept, the operator gives up so long after the last request. Assumed: later than anything there is.
GIVES_UP_S = 2000.0
#: What is found is kept as a scenario of this name.
KEPT_AS = "a_collection_and_its_requests"
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
    #: What shall fail: one thing. What several do together is not declared for each.
    faults: list[Fault]
    deeds: list[Deed]
    happened: list[Happening]

    @initialize(
        request=strategies.requests(max_images=6),
        seed=st.integers(0, 9),
        schedule=st.integers(0, 99),
        from_=st.sampled_from(BEGINNINGS),
        early=st.one_of(st.just(()), st.just(()), st.lists(st.sampled_from(REQUESTS), max_size=2).map(tuple)),
    )
    def begin(self, request: Request, seed: int, schedule: int, from_: str, early: tuple[Event, ...]) -> None:
        simulated = self.simulated = SimulatedBeamline(seed=seed)
        find_mounted(simulated, [request])
        self.faults, self.deeds, self.happened = [], [], []
        self.asked_for, self.seed, self.schedule = request, seed, schedule
        self.struck: list[Struck] = []
        self.run_rules = RunRules()
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
            self.run_rules.hear,
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
        self.deeds.append(Deed(does=Does[event.name], moment=self._now()))
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
        self.happened.append(Happening(what=What.BEAM_BACK if is_there else What.BEAM_LOST, moment=self._now()))
        self._steps.do(ring.restore_beam if is_there else ring.lose_beam)

    @precondition(lambda self: self.is_under_way)
    @rule(is_searched=st.booleans())
    def somebody_is_at_the_hutch(self, is_searched: bool) -> None:
        interlock = self.simulated.interlock
        if not is_searched:
            if any(fault.device == "safety_shutter" for fault in self.faults):
                return  # a safety shutter that is stuck open lets beam into an open hutch, whoever steers the run
            self.model.troubles.append("hutch opened")
        what = What.HUTCH_SEARCHED if is_searched else What.HUTCH_OPENED
        self.happened.append(Happening(what=what, moment=self._now()))
        self._steps.do(interlock.search if is_searched else interlock.open_door)

    @rule(fault=strategies.faults())
    @precondition(lambda self: self.is_under_way and not self.faults)
    def something_fails(self, fault: Fault) -> None:
        """From now on, or at the next call."""
        if fault.device == "safety_shutter" and not self.simulated.interlock.searched:
            return
        fault = attrs.evolve(fault, call=None, moment=self._now())
        self.faults.append(fault)
        self._steps.do(lambda: self.injector._expect(fault))

    # -- what is kept of it -------------------------------------------------------------------------------------------

    def _now(self) -> Moment:
        return Moment(at_s=self.simulated.kernel.now_us / US_PER_S)

    def _as_scenario(self) -> Scenario:
        """The same as a file; what was asked within an event is asked at the end of its instant."""
        # Nobody holds for ever.
        gives_up = Deed(does=Does.ABORT, moment=Moment(at_s=self.simulated.kernel.now_us / US_PER_S + GIVES_UP_S))
        return Scenario(
            name="asked",
            summary="The program is left too: cancel it by hand." if self.has_left else "",
            requests=(self.asked_for,),
            seed=self.seed,
            faults=tuple(self.faults),
            operator=(*self.deeds, gives_up),
            happenings=tuple(self.happened),
            strike=Strike(schedule=self.schedule),
        )

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
        if self.steps is None:
            return
        with strategies.kept(self._as_scenario(), name=KEPT_AS):
            assert self.model.wrong == []
            assert self.run_rules.sentences == []
            assert self.simulated.checkers.violations == []
            assert self.collection.state is self.model.state

    def teardown(self) -> None:
        if self.steps is None:
            return
        self._let_go()
        with strategies.kept(self._as_scenario(), name=KEPT_AS):
            self._look_at_the_end()

    def _look_at_the_end(self) -> None:
        result, raised = self.collection.result(), self._steps.raised
        note(f"{result.outcome}, {self.simulated.kernel.now_us / US_PER_S:g} s, {result.failures}, {raised!r}")
        assert raised is None or isinstance(raised, AdapterBug)
        self.run_rules.ended()
        self.simulated.checkers.at_rest()
        failures = result.failures if raised is None else (*result.failures, repr(raised))
        self.model.verdict(result.outcome, images=result.images, failures=failures)
        self.all_is_as_it_must_be()
        assert result.safe or self.has_left
        assert not any(self._ask(event) for event in REQUESTS), "a request is accepted after the end"

    def _nobody_is_told_of_the_beam(self) -> bool:
        return any(fault.command == "wait_for_beam" for fault in self.injector.in_force())

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
            elif self.collection.state is State.HOLDING_FOR_BEAM and self._nobody_is_told_of_the_beam():
                self._asks(Event.ABORT)
            elif self.collection.state is State.FAULT:
                if acknowledged < 2:
                    self._asks(Event.ACKNOWLEDGE)
                    acknowledged += 1
                else:
                    self._leave()
            steps.advance(10 * US_PER_S)
