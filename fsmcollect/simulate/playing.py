"""Playing a scenario: requests, faults, people and events around one simulated beamline, and what came of it.

Owns the meeting of all of them in one run, and liveness. Owns no rule of physics (those are `sim.checkers`), none of
endings (`verdict`), no effect of a fault (`sim.faults`) and no collection. What is played twice is the same twice.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import attrs
import trio

from fsmcollect.collecting.collection import Collection
from fsmcollect.errors import Problem
from fsmcollect.events import Event, Moved
from fsmcollect.machines.collection import COLLECTION
from fsmcollect.machines.collection import State as S
from fsmcollect.machines.table import Outcome
from fsmcollect.machines.wedge import WEDGE
from fsmcollect.observers import Listener
from fsmcollect.sim.beamline import SimulatedBeamline
from fsmcollect.sim.checkers import RunRules
from fsmcollect.sim.faults.injector import Injector
from fsmcollect.sim.faults.survival import Struck, is_excused
from fsmcollect.sim.faults.values import Fault
from fsmcollect.sim.kernel import US_PER_S, Deadlock, Scheduled, to_us
from fsmcollect.sim.moments import Moments
from fsmcollect.sim.person import NEVER, USUAL_ANSWERS
from fsmcollect.sim.scenario.surroundings import built
from fsmcollect.sim.scenario.values import Does, Scenario
from fsmcollect.sim.trace import Line
from fsmcollect.simulate import verdict
from fsmcollect.simulate.around import WORKING, Around
from fsmcollect.simulate.collecting import Rehearsal, Simulation
from fsmcollect.simulate.filed import FilesMatchEvents
from fsmcollect.simulate.played import Played
from fsmcollect.simulate.promptness import BeamOffAtOnce
from fsmcollect.simulate.schedules import repeatable_schedule
from fsmcollect.simulate.striking import Checkpoints
from fsmcollect.timing import predicted_duration_s

#: After the last fault is over, the last deed done and the last thing has happened, a run has so long to reach IDLE or
#: FAULT, besides what its plan takes. Every wait of a collection has a limit; the longest possible sum of them (robot
#: 300 s, centring, optics, arming 120 s, draining 120 s, closing with its stragglers 300 s, ...) is about half of this.
LIVENESS_S = 3600.0
TraceListener = Callable[[int, list[Line]], None]
Follower = Callable[[int, str, str], None]
_WEDGE_ACTIVE = frozenset(state.name for state in WEDGE.active)
_OVER = (S.IDLE, S.ABANDONED)
_DECIDED = (S.CLOSING, S.FAULT, *_OVER)
#: Whatever leads there, and before anything else is done there.
_BEAM_OFF_FIRST = frozenset({S.CLOSING.name, S.HOLDING.name, S.HOLDING_FOR_BEAM.name})


def beamline_of(scenario: Scenario, speed: float | None = None) -> SimulatedBeamline:
    """The simulated beamline that a scenario describes."""
    simulated = built(scenario.beamline, scenario.seed, speed)
    answers_himself = any(deed.does in (Does.CONFIRM, Does.REJECT) for deed in scenario.operator)
    usual = dict.fromkeys(USUAL_ANSWERS, NEVER) if answers_himself else dict(USUAL_ANSWERS)
    simulated.person.answers = {**usual, **scenario.answers}
    return simulated


def play(
    scenario: Scenario,
    *,
    directory: Path | None = None,
    record_calls: bool = False,
    count_checkpoints: bool = False,
    listeners: Sequence[Listener] = (),
    trace_listeners: Sequence[TraceListener] = (),
    followers: Sequence[Follower] = (),
    heed_signals: bool = False,
    speed: float | None = None,
) -> Played:
    """Play `scenario` to its end.

    Parameters
    ----------
    directory : Path or None
        Where the requests' directories are; None keeps no files.
    record_calls, count_checkpoints : bool
        Fill in what a sweep needs to know; it costs time.
    listeners, trace_listeners
        Told of every event of the run, and of what every device did.
    followers
        Told of what every device did at once, in the order in which it was done (see `Trace`).
    heed_signals : bool
        Take SIGINT and SIGTERM for an abort; only in the main thread.

    Raises
    ------
    InvalidRequest
        The beamline or the directory refuses a request; nothing has happened.
    """
    simulated = beamline_of(scenario, speed)
    simulated.trace.listeners.extend(trace_listeners)
    simulated.trace.followers.extend(followers)
    asked = scenario.strike.schedule
    seed = scenario.seed if asked is None else asked
    with repeatable_schedule(seed, is_asked=asked is not None) as shuffle_anew:
        player = _Player(scenario, simulated, directory, record_calls, count_checkpoints, listeners, shuffle_anew)
        return player.play(heed_signals=heed_signals)


@attrs.define(eq=False, repr=False)
class _Player:
    scenario: Scenario
    simulated: SimulatedBeamline
    directory: Path | None
    record_calls: bool
    count_checkpoints: bool
    listeners: Sequence[Listener]
    shuffle_anew: Callable[[], None]
    rehearsal: Rehearsal = attrs.field(init=False)
    injector: Injector = attrs.field(init=False)
    moments: Moments = attrs.field(init=False)
    around: Around = attrs.field(init=False)
    beam_off: BeamOffAtOnce = attrs.field(init=False)
    run_rules: RunRules = attrs.field(init=False)
    checkpoints: Checkpoints = attrs.field(init=False)
    filed: FilesMatchEvents | None = attrs.field(init=False, default=None)
    scope: trio.CancelScope = attrs.field(init=False, factory=trio.CancelScope)
    rows: set[tuple[str, str, str]] = attrs.field(init=False, factory=set[tuple[str, str, str]])
    pairs: set[tuple[str, str]] = attrs.field(init=False, factory=set[tuple[str, str]])
    struck: list[Struck] = attrs.field(init=False, factory=list[Struck])
    events: int = attrs.field(init=False, default=0)
    event_states: list[str] = attrs.field(init=False, factory=list[str])
    visited: list[str] = attrs.field(init=False, factory=list[str])
    violations: list[str] = attrs.field(init=False, factory=list[str])
    struck_in: str = attrs.field(init=False, default="")
    raised: list[BaseException] = attrs.field(init=False, factory=list[BaseException])
    _wedge: str = attrs.field(init=False, default="")
    _end_due: Scheduled | None = attrs.field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        scenario, simulated = self.scenario, self.simulated
        self.run_rules = RunRules()
        self.moments = Moments(simulated.kernel)
        if self.directory is not None:
            self.filed = FilesMatchEvents(self.directory, lambda: self.rehearsal.current)
        self.checkpoints = Checkpoints(
            self._cancel, at=scenario.strike.cancel_at, state=self._state if self.count_checkpoints else None
        )
        self.beam_off = BeamOffAtOnce(simulated.kernel, simulated.trace, self._shutter_fails)
        self.around = Around(
            scenario, simulated, self.moments, lambda: self.rehearsal.current, self._state, self.beam_off.asked
        )
        self.injector = Injector(simulated, scenario.faults, self.moments, record=self.record_calls, state=self._state)
        self.injector.on_struck.append(self._fault_struck)
        simulated.checkers.excused = self._is_excused
        self.rehearsal = Rehearsal(
            requests=scenario.requests,
            simulated=simulated,
            directory=self.directory,
            listeners=[self._hear, *([] if self.filed is None else [self.filed.hear]), *self.listeners],
            before=lambda _: self._begin(),
            collect=self._collect,
            gives_up_in_fault=self.around.nobody_will_acknowledge,
        )

    # -- playing ------------------------------------------------------------------------------------------------------

    def play(self, *, heed_signals: bool) -> Played:
        began_s = time.perf_counter()
        files_before = _open_files() if self.directory is not None else 0
        simulation = self._run(heed_signals)
        if self.directory is not None and (left := _open_files() - files_before) > 0:
            self.violations.append(f"when all was over, {left} files were left open")
        if self.filed is not None:
            self.violations.extend(self.filed.differences(self.rehearsal.results))
        self._judge(simulation)
        expect = self.scenario.expect
        return Played(
            scenario=self.scenario,
            outcome=simulation.outcome,
            ended_in=verdict.ended_in(simulation),
            safe=simulation.safe,
            images=simulation.images,
            exposed_s=self.simulated.dose.exposed_us / US_PER_S,
            photons=self.simulated.dose.photons,
            simulated_s=simulation.simulated_s,
            wall_s=time.perf_counter() - began_s,
            trace_sha256=simulation.trace_sha256,
            files=simulation.files,
            failures=simulation.failures,
            raised="; ".join(map(repr, self.raised)),
            violations=tuple(self.violations),
            excused=tuple(self.simulated.checkers.excused_sentences),
            unmet=tuple(verdict.unmet(expect, simulation, self.visited, self.raised)),
            never=tuple(self._never()),
            events=self.events,
            event_states=tuple(self.event_states),
            checkpoints=self.checkpoints.seen,
            checkpoint_states=tuple(self.checkpoints.states),
            calls=tuple(self.injector.calls),
            rows=frozenset(self.rows),
            pairs=frozenset(self.pairs),
            struck_in=self.struck_in,
        )

    def _run(self, heed_signals: bool) -> Simulation:
        instruments = [self.checkpoints] if self.checkpoints.is_wanted else []
        try:
            return self.rehearsal.run(heed_signals=heed_signals, instruments=instruments, scope=self.scope)
        except Deadlock as deadlock:
            self.violations.append(f"liveness: {deadlock}")
            return self.rehearsal.ended()

    def _begin(self) -> None:
        """Inside the simulation, before the first collection."""
        # Who listens for signals or makes images has had its turn by now: the run is the same with and without.
        self.shuffle_anew()
        self.checkpoints.begin()
        self.around.begin()

    def _judge(self, simulation: Simulation) -> None:
        at_least = self.around.at_least
        self.run_rules.ended()
        self.violations += [
            *self.simulated.checkers.violations,
            *self.run_rules.sentences,
            *self.beam_off.sentences,
            *verdict.broken_outcomes(self.rehearsal.results, at_least, self.raised),
            *verdict.undeclared_ending(
                self.scenario, simulation, self.struck, stopped=bool(at_least) or self.scope.cancel_called
            ),
        ]

    def _never(self) -> Iterator[Problem]:
        """What the scenario plans and what has never come to pass."""
        never_struck = list(map(id, self.injector.never_struck))
        for index, fault in enumerate(self.scenario.faults):
            if id(fault) in never_struck:
                yield Problem(field=f"faults[{index}]", value=str(fault), allowed="never triggered", where=fault.where)
        strike = self.scenario.strike
        for key, at, seen, what in (
            ("cancel_at", strike.cancel_at, self.checkpoints.seen, "checkpoints"),
            ("abort_at", strike.abort_at, self.events, "events"),
        ):
            if at is not None and at > seen:
                allowed, where = f"never came: the run had {seen:,} {what}", strike.places.get(key, "")
                yield Problem(field=f"strike.{key}", value=str(at), allowed=allowed, where=where)
        yield from self.around.never()

    def _patience_us(self) -> int:
        """How long the collection under way may take with nothing in its way."""
        return to_us(LIVENESS_S + predicted_duration_s(self.rehearsal.current.plan, self.simulated.timings))

    def _expect_end(self, when_us: int) -> None:
        self._end_due = self.simulated.kernel.at(when_us, self._look_whether_it_lives, by="liveness")

    def _look_whether_it_lives(self) -> None:
        """Not later than promised; else the run is cancelled, and what it does then is looked at all the same."""
        now_us = self.simulated.kernel.now_us
        promised_us = max(self.around.last_us, self.injector.last_over_us) + self._patience_us()
        if now_us < promised_us:
            self._expect_end(promised_us)
            return
        if self.rehearsal.current.state is S.FAULT:  # reached, and whoever was to acknowledge it does not come
            self._expect_end(now_us + self._patience_us())
            self.scope.cancel()
            return
        if self._waits_rightly():
            self.simulated.trace.note("operator", "abort")
            self.rehearsal.current.abort()
            self.around.accept(Outcome.ABORTED)
            self.around.last_us = now_us
            self._expect_end(now_us + self._patience_us())
            return
        self.violations.append(
            f"at {now_us / US_PER_S:.6f} s: liveness: still in {self._state()}, {LIVENESS_S:g} s and more "
            "after the last fault was over and the last thing had happened"
        )
        self._expect_end(now_us + self._patience_us())
        self.scope.cancel()

    def _waits_rightly(self) -> bool:
        """Held for a beam that does not come back, or of which nobody is told: a person would stop it now."""
        is_untold = any(fault.command == "wait_for_beam" for fault in self.injector.in_force())
        is_held = self.rehearsal.current.state is S.HOLDING_FOR_BEAM
        return is_held and (is_untold or not self.simulated.ring.has_beam())

    async def _collect(self, collection: Collection) -> None:
        """Run one collection; what an adapter's bug raises is kept."""
        tasks = _tasks_beside_this()
        self.around.last_us = self.simulated.kernel.now_us
        self._expect_end(self.around.last_us + self._patience_us())
        try:
            await collection.run()
        except Exception as error:  # noqa: BLE001  (whatever a bug raises: it is judged)
            self.raised.append(error)
        finally:
            if self._end_due is not None:
                self._end_due.cancel()
        if _tasks_beside_this() > tasks:
            self.violations.append(f"the run {collection.name!r} has ended and has left tasks")

    # -- what happens -------------------------------------------------------------------------------------------------

    def _state(self) -> str:
        return f"wedge.{self._wedge}" if self._wedge else self.rehearsal.current.state.name

    def _hear(self, event: Event) -> None:
        self.events += 1
        if type(event) is Moved:
            self._moved(event)
        if self.record_calls:
            self.event_states.append(self._state())
        self.simulated.checkers.hear(event)
        self.run_rules.hear(event)
        self.moments.hear(event)
        if self.events == self.scenario.strike.abort_at:
            self.struck_in = self._state()
            self.simulated.trace.note("sweep", f"abort at event {self.events:,}")
            # Whatever it answers: until it is over, an abort is one.
            is_over = self.rehearsal.current.state in _OVER
            if self.rehearsal.current.state in WORKING:
                self.beam_off.asked()
            if self.rehearsal.current.abort() or not is_over:
                self.around.accept(Outcome.ABORTED)

    def _moved(self, event: Moved) -> None:
        self.rows.add((event.machine, event.source, event.event))
        if event.machine == WEDGE.name:
            self._wedge = event.dest if event.dest in _WEDGE_ACTIVE else ""
        elif event.machine == COLLECTION.name:
            self.visited.append(event.dest)
            if event.dest in _BEAM_OFF_FIRST and event.source != event.dest:
                self.beam_off.asked()
        for fault in self.injector.in_force():
            self.pairs.add((fault.effect.value, self._state()))

    def _shutter_fails(self) -> bool:
        return any(hit.fault.device == "fast_shutter" for hit in self.struck)

    def _is_excused(self, rule: str) -> bool:
        fault = self.simulated.beamline.fault
        return is_excused(rule, self.struck, () if fault is None else fault.failures)

    def _fault_struck(self, fault: Fault) -> None:
        state = self._state()
        self.struck.append(Struck(fault, state))
        self.struck_in = self.struck_in or state
        self.pairs.add((fault.effect.value, state))

    def _cancel(self) -> None:
        """The checkpoint of the scenario's strike has come."""
        self.struck_in = self._state()
        self.simulated.trace.note("sweep", f"cancel at checkpoint {self.checkpoints.seen:,}")
        # What somebody asked for before is carried out: the cancellation comes while that unwinds.
        if self.rehearsal.current.state not in _DECIDED and self.rehearsal.current not in self.around.at_least:
            self.around.accept(Outcome.ABORTED)
            if self.rehearsal.current.state in WORKING:
                self.beam_off.asked()
        self.scope.cancel()


def _tasks_beside_this() -> int:
    """How many tasks the run has besides the one that calls."""
    root = trio.lowlevel.current_root_task()
    tasks = [] if root is None else [root]
    count = 0
    while tasks:
        task = tasks.pop()
        count += 1
        tasks += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return count


def _open_files() -> int:
    """How many files this process has open; 0 where the system does not tell."""
    for directory in ("/proc/self/fd", "/dev/fd"):
        try:
            return len(os.listdir(directory))  # noqa: PTH208  (no Path for each: only how many)
        except OSError:
            continue
    return 0
