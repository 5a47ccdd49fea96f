"""A stream and its requests against the real driver and the pretend archive: any request, at any instant.

Owns the rules that drive a simulated stream, what is looked at after each, and what must be true of the directory at
the end and after a resume. Every request is answered as the table of the stream machine says.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from random import Random

import trio
from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fsmcollect.events import Event as Told
from fsmcollect.events import Moved, MovieRegistered, StreamEnded
from fsmcollect.machines.stream import STREAM, Event, State
from fsmcollect.machines.table import Outcome
from fsmcollect.observers import Observers
from fsmcollect.sim.archive import Archive, Fault, FaultKind
from fsmcollect.sim.kernel import US_PER_S, Kernel
from fsmcollect.stream.pipeline import Stream
from fsmcollect.stream.settings import Settings
from fsmcollect.stream.stopping import Criteria
from tests.stream.rehearsing import SMALL, check, registered, stream
from tests.testing.stateful.lockstep import Lockstep, cancelling

REQUESTS = [Event.ABORT, Event.STOP, Event.HOLD, Event.RESUME]
#: What ends a stream is asked for less often: more can be asked before.
OFTEN = [Event.HOLD, Event.RESUME, Event.HOLD, Event.RESUME, Event.STOP, Event.ABORT]
#: Where the rules set in.
BEGINNINGS = ["", "STREAMING", "STREAMING", "LISTING", "STREAMING"]
#: What a stream gets over, given time: with these alone, nobody asking for an end, every movie comes.
PASSING = [
    Fault(FaultKind.TRUNCATION),
    Fault(FaultKind.RESET),
    Fault(FaultKind.STALL),
    Fault(FaultKind.WRONG_LENGTH, extra_bytes=100),
    Fault(FaultKind.SERVER_ERROR),
    Fault(FaultKind.TOO_MANY, retry_after="30"),
    Fault(FaultKind.REDIRECT),
    Fault(FaultKind.GARBAGE),
    Fault(FaultKind.CHANGED),
    Fault(FaultKind.SERVER_ERROR, path="*/", times=2),
    Fault(FaultKind.SERVER_ERROR, path="api/*", times=2),
]
#: These cost what they meet.
LASTING = [
    Fault(FaultKind.MISSING, path="*_0*", times=None),
    Fault(FaultKind.PAGE, times=None),
    Fault(FaultKind.ENDLESS, path="*1.mrc", times=None),
    Fault(FaultKind.FOREIGN_REDIRECT, path="api/*", times=None),
    Fault(FaultKind.CORRUPT, path="*2.mrc"),
]
#: What is waited for: no wait may go on to the stream's end, after which nothing can be asked any more.
AWAITED = ["LISTING", "STREAMING"]
#: After it is let go, a stream is over within so long: two days of simulated time. Assumed: all patience there is.
LET_GO_S = 172_800


class StreamMachine(RuleBasedStateMachine):
    """One stream into a directory, in lock-step with the test; then a second one that completes it."""

    steps: Lockstep | None = None
    has_left = False
    at_least = Outcome.DONE
    #: How often somebody has asked: the program leaves later, so that more can be asked before.
    asked = 0

    @initialize(
        movies=st.integers(1, 4),
        seed=st.integers(0, 3),
        jobs=st.integers(1, 3),
        faults=st.lists(st.sampled_from([*PASSING, *LASTING]), max_size=2),
        schedule=st.integers(0, 99),
        from_=st.sampled_from(BEGINNINGS),
        early=st.one_of(st.just([]), st.just([]), st.lists(st.sampled_from(REQUESTS), max_size=1)),
    )
    def begin(
        self,
        movies: int,
        seed: int,
        jobs: int,
        faults: list[Fault],
        schedule: int,
        from_: str,
        early: list[Event],
    ) -> None:
        self._scratch = tempfile.TemporaryDirectory()
        self.directory = Path(self._scratch.name).resolve() / "out"
        self.faults = list(faults)
        # Slow enough that a movie takes some seconds: time to ask for something.
        self.archive = Archive(seed=seed, movies=movies, faults=self.faults, bandwidth_bytes_per_s=10_000.0, **SMALL)
        self.path: list[State] = [State.IDLE]
        self.told: list[Told] = []
        self.wrong: list[str] = []
        self.jobs, self.scope, kernel = jobs, trio.CancelScope(), Kernel()

        async def run() -> None:
            async with trio.open_nursery() as nursery:
                self.stream = self._made(self.archive.network(nursery))
                self.early = [(event, self._ask(event)) for event in early]
                await self.stream.run()
                nursery.cancel_scope.cancel()

        self.steps = Lockstep(kernel, cancelling(self.scope, run), schedule=schedule)
        self.steps.begin()
        for event, accepted in self.early:
            if accepted is not (State.DESCRIBING in STREAM.urgent.get(event, ())):
                self.wrong.append(f"before the run {event.name} was answered with {accepted}")
            self._accepted(event, accepted, State.DESCRIBING)
        if from_:
            self._steps.until(from_, at_most_us=60 * US_PER_S)

    def _made(self, network: object) -> Stream:
        archive = self.archive
        return Stream(
            settings=Settings(
                accession=archive.entry,
                api_url=archive.api_url,
                data_url=archive.data_url,
                until=Criteria(),
                jobs=self.jobs,
            ),
            directory=self.directory,
            observers=Observers([self._hear]),
            network=network,  # type: ignore[arg-type]  # what the archive gives is what the stream takes
            random=Random(1),
        )

    def _ask(self, event: Event) -> bool:
        stream = self.stream
        return {
            Event.ABORT: stream.abort,
            Event.STOP: stream.stop,
            Event.HOLD: stream.hold,
            Event.RESUME: stream.go_on,
        }[event]()

    def _hear(self, told: Told) -> None:
        if self.told and isinstance(self.told[-1], StreamEnded):
            self.wrong.append(f"something was told after the end: {told}")
        self.told.append(told)
        if isinstance(told, Moved) and told.machine == STREAM.name:
            source, dest = State[told.source], State[told.dest]
            row = STREAM.row(source, Event[told.event])
            if source is not self.path[-1] or row is None or row.dest is not dest:
                self.wrong.append(f"{told.source} went by {told.event} to {told.dest}, from {self.path[-1].name}")
            self.path.append(dest)
            if row is not None and row.outcome is Outcome.ABORTED:
                self.at_least = Outcome.ABORTED
        assert self.steps is not None
        self.steps.hear(told)

    # -- time ---------------------------------------------------------------------------------------------------------

    @rule(by_ms=st.one_of(st.integers(1, 100), st.integers(1, 1_000)))
    def time_passes(self, by_ms: int) -> None:
        self._steps.advance(by_ms * 1000)

    @precondition(lambda self: self.is_under_way)
    @rule(event=st.sampled_from(AWAITED))
    def until_an_event(self, event: str) -> None:
        self._steps.until(event, at_most_us=2 * US_PER_S)

    # -- requests -----------------------------------------------------------------------------------------------------

    @rule(events=st.lists(st.sampled_from(OFTEN), min_size=1, max_size=4), rests=st.booleans())
    @precondition(lambda self: self.is_under_way)
    def somebody_asks(self, events: list[Event], rests: bool) -> None:
        self._ask_at_once(events, rests=rests)

    def _ask_at_once(self, events: list[Event], *, rests: bool) -> None:
        """At one instant, before the program has done anything about the first."""
        self.asked += 1
        for event in events:
            self._asks(event)
        if rests:
            self._steps.rest()

    def _asks(self, event: Event) -> None:
        state = self.path[-1]
        accepted = self._steps.do(lambda: self._ask(event))
        expected = not self._is_over and STREAM.row(state, event) is not None
        if accepted is not expected:
            self.wrong.append(f"{event.name} in {state.name} was answered with {accepted}")
        self._accepted(event, accepted, state)

    def _accepted(self, event: Event, accepted: bool, state: State) -> None:
        row = STREAM.row(state, event)
        # ABORT outdoes whatever is asked at the same instant; nothing else says by itself how the stream ends.
        if accepted and row is not None and event is Event.ABORT:
            self.at_least = Outcome.ABORTED

    @property
    def _is_over(self) -> bool:
        return len(self.path) > 1 and self.path[-1] in STREAM.final

    @rule()
    @precondition(lambda self: self.is_under_way and self.asked > 2 and not self.has_left)
    def the_program_leaves(self) -> None:
        self.has_left = True
        self._steps.do(self.scope.cancel)
        self._steps.rest()
        assert self.path[-1] in (State.CLOSING, State.IDLE), f"still in {self.path[-1].name}, and the program leaves"

    # -- what happens to the archive ----------------------------------------------------------------------------------

    @precondition(lambda self: self.is_under_way)
    @rule(fault=st.sampled_from(PASSING))
    def something_goes_wrong(self, fault: Fault) -> None:
        self._steps.do(lambda: self.faults.append(fault))

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
            assert self.wrong == []
            paths = _paths(self.told)
            assert len(set(paths)) == len(paths), "a movie was registered twice"

    def teardown(self) -> None:
        if self.steps is None:
            return
        try:
            self._let_go()
            self._look_at_the_end()
            if self.directory.exists():
                check(self.directory, self.archive)
                self._complete()
        finally:
            self._scratch.cleanup()

    def _let_go(self) -> None:
        steps = self._steps
        until_us = steps.kernel.now_us + LET_GO_S * US_PER_S
        while not steps.ended:
            if steps.kernel.now_us > until_us:
                self.wrong.append(f"it does not end: still in {self.path[-1].name}")
                steps.do(self.scope.cancel)
                until_us += LET_GO_S * US_PER_S
            if self.path[-1] is State.HOLDING:
                self._asks(Event.RESUME)
            steps.advance(60 * US_PER_S)

    def _look_at_the_end(self) -> None:
        assert self._steps.raised is None
        endings = [told for told in self.told if isinstance(told, StreamEnded)]
        assert len(endings) == 1
        assert self.told[-1] is endings[0]
        outcome = Outcome[endings[0].outcome.upper()]
        note(f"{outcome}, {endings[0].registered} of {len(self.archive.paths)}, {endings[0].message}")
        assert outcome >= self.at_least
        assert outcome is not Outcome.ABORTED or self.at_least is Outcome.ABORTED
        if outcome is Outcome.FAILED:
            assert endings[0].message, "it failed and does not say why"
        assert self.wrong == []
        assert not any(self._ask(event) for event in REQUESTS), "a request is accepted after the end"

    def _complete(self) -> None:
        """The archive is well again: a second run brings what is missing, and nothing twice."""
        before = registered(self.directory)
        well = Archive(seed=self.archive.seed, movies=self.archive.movies, **SMALL)
        # What became another file meanwhile stays so: the archive goes on as it is, but without its faults.
        changed = any(fault.kind in (FaultKind.CHANGED, FaultKind.CORRUPT) for fault in self.faults)
        if changed:
            self.faults[:] = [fault for fault in self.faults if fault.kind is FaultKind.CORRUPT]
        archive = self.archive if changed else well
        ended = stream(archive, self.directory, resume=True)
        check(self.directory, archive)
        after = registered(self.directory)
        assert list(after[: len(before)]) == list(before)
        rejected = [path for path in archive.paths if (self.directory / "rejected" / path).exists()]
        assert sorted([*after, *rejected]) == sorted(archive.paths), ended.result.errors


def _paths(told: Sequence[Told]) -> list[str]:
    return [event.path for event in told if isinstance(event, MovieRegistered)]
