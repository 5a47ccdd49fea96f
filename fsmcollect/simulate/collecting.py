"""Running collections on the simulated beamline: what the command, the benchmarks and the tests all call.

Owns the meeting of a `Collection` and a `SimulatedBeamline` in simulated time, and Ctrl-C. Owns no device and no rule.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import attrs
import trio

from fsmcollect import limits
from fsmcollect.collecting.collection import Collection, Result
from fsmcollect.errors import InvalidRequest, Problem
from fsmcollect.events import Event, Moved, SafingStep, StepDone
from fsmcollect.images import noise_chunks
from fsmcollect.machines.collection import State
from fsmcollect.machines.table import Outcome
from fsmcollect.observers import Listener, Observers
from fsmcollect.realwork import in_thread
from fsmcollect.request import CentringMethod, Request
from fsmcollect.signals import heeding_signals
from fsmcollect.sim.beamline import SimulatedBeamline

#: Different noisy images that a simulated detector deals out in turn. Assumed: enough that neighbours differ.
NOISE_IMAGES = 16


@attrs.frozen(kw_only=True)
class Simulation:
    """What became of simulated collections, as ``--json`` prints it."""

    outcome: Outcome
    safe: bool
    images: int
    simulated_s: float
    wall_s: float
    trace_sha256: str
    violations: tuple[str, ...]
    files: tuple[Path, ...]
    failures: tuple[str, ...]


@attrs.define(eq=False, kw_only=True, repr=False)
class Rehearsal:
    """Simulated collections, one after the other on one beamline.

    Building it checks every request; nothing has moved and no file was made when that raises `InvalidRequest`. What the
    first request calls mounted is on the goniometer from the beginning; where nobody is to centre it, it lies in the
    beam.

    Parameters
    ----------
    requests : sequence of Request
    simulated : SimulatedBeamline
        Used once.
    directory : Path or None
        Where the requests' directories are; None keeps no files.
    listeners : sequence of Listener
        Told of every event of every collection.
    before : callable, optional
        Called inside the simulation before the first collection begins, with the rehearsal: the place to schedule an
        abort or a fault.
    collect : callable, optional
        Runs one collection, in place of its own `run`: it may look at what that raises.
    gives_up_in_fault : callable
        Asked when a collection enters FAULT: nobody is there to acknowledge it, and the program leaves.
    """

    requests: Sequence[Request]
    simulated: SimulatedBeamline
    directory: Path | None = None
    listeners: Sequence[Listener] = ()
    before: Callable[[Rehearsal], None] | None = None
    collect: Callable[[Collection], Awaitable[object]] = Collection.run
    gives_up_in_fault: Callable[[], bool] = lambda: True
    #: What became of the collections that have ended.
    results: dict[Collection, Result] = attrs.field(init=False, factory=dict[Collection, Result])
    #: The collection under way, the last one once all have ended.
    current: Collection = attrs.field(init=False)
    _collections: list[Collection] = attrs.field(init=False)
    _wall_s: float = attrs.field(init=False, default=0.0)

    def __attrs_post_init__(self) -> None:
        if not self.requests:
            raise InvalidRequest([Problem(field="requests", allowed="holds no collection: ask for at least one")])
        self._collections = [
            Collection(
                beamline=self.simulated.beamline,
                request=request,
                directory=self.directory,
                observers=Observers([self._to_trace, *self.listeners]),
                first_of_list=len(self.requests) > 1 and index == 0,
            )
            for index, request in enumerate(self.requests)
        ]
        plans = [collection.plan for collection in self._collections]
        if self.directory is not None and (clashes := limits.name_clashes(self.requests, plans)):
            raise InvalidRequest([attrs.evolve(p, field=f"[{position}].{p.field}") for position, p in clashes])
        self.current = self._collections[0]
        find_mounted(self.simulated, self.requests)

    def abort(self) -> None:
        """End the list: the collection under way, or, where none is just now, the next one before it has begun."""
        for collection in self._collections:
            collection.abort()

    def run(
        self,
        *,
        heed_signals: bool = False,
        instruments: Sequence[trio.abc.Instrument] = (),
        scope: trio.CancelScope | None = None,
    ) -> Simulation:
        """Collect one request after the other; an abort ends the list.

        Parameters
        ----------
        heed_signals : bool
            Take SIGINT and SIGTERM for an abort; only in the main thread.
        instruments : sequence of Instrument
            Look at trio meanwhile.
        scope : CancelScope, optional
            Cancelling it cancels the program around the collections.
        """
        began_s = time.perf_counter()
        within = trio.CancelScope() if scope is None else scope

        async def body() -> None:
            with within:
                await (self._heeding() if heed_signals else self._collect_all())
            self.simulated.checkers.at_rest()

        try:
            self.simulated.kernel.run(body, instruments)
        finally:
            self._wall_s = time.perf_counter() - began_s
        return self.ended()

    def ended(self) -> Simulation:
        """What became of the collections; also after `run` has raised."""
        results = list(self.results.values())
        safe = all(result.safe for result in results)
        outcomes = [result.outcome for result in results]
        if safe and len(results) < len(self._collections):  # the others have not even begun
            outcomes.append(Outcome.ABORTED)
        return Simulation(
            outcome=_together(outcomes),
            safe=safe,
            images=sum(result.images for result in results),
            simulated_s=self.simulated.kernel.now_us / 1e6,
            wall_s=self._wall_s,
            trace_sha256=self.simulated.trace.sha256(),
            violations=tuple(self.simulated.checkers.violations),
            files=tuple(file for result in results for file in result.files),
            failures=tuple(failure for result in results for failure in result.failures),
        )

    async def _heeding(self) -> None:
        await heeding_signals(self._collect_all, self.abort)

    async def _collect_all(self) -> None:
        if self.directory is not None:
            info = self.simulated.detector.info
            seed = zlib.crc32(str(self.simulated.seed).encode())
            chunks = await in_thread(noise_chunks, seed, info, NOISE_IMAGES)
            self.simulated.detector.frame_source = lambda index: chunks[index % NOISE_IMAGES]
        if self.before is not None:
            self.before(self)
        for collection in self._collections:
            self.current = collection
            result = await self._collect(collection)
            if result.outcome is Outcome.ABORTED or not result.safe:
                break

    async def _collect(self, collection: Collection) -> Result:
        """Run one collection; in FAULT give up where nobody is there to acknowledge it."""
        with trio.CancelScope() as scope:

            def give_up_in_fault(event: Event) -> None:
                if isinstance(event, Moved) and event.dest == State.FAULT.name and self.gives_up_in_fault():
                    scope.cancel()

            collection.observers.listeners.append(give_up_in_fault)
            try:
                await self.collect(collection)
            finally:
                if collection.has_ended:
                    self.results[collection] = collection.result()
        return collection.result()

    def _to_trace(self, event: Event) -> None:
        # Steps that end in one instant have no order among them: each is a source of its own (see `sim.trace`).
        if isinstance(event, Moved):
            source = event.machine
        elif isinstance(event, StepDone | SafingStep):
            source = f"{event.kind}/{event.step}"
        else:
            source = event.kind
        self.simulated.trace.note(source, event.to_json(stable=True))


def find_mounted(simulated: SimulatedBeamline, requests: Sequence[Request]) -> None:
    """Put on the goniometer what the first request calls mounted; in the beam, where nobody is to centre it."""
    first = requests[0]
    if first.sample.mounted:
        is_centred = first.centring.method is CentringMethod.NONE
        asked_for = {request.sample.location for request in requests}
        simulated.find_mounted(besides=asked_for, centred_at_mm=first.positions if is_centred else None)


def _together(outcomes: Sequence[Outcome]) -> Outcome:
    """The outcome of a list: its worst, and skipped only where nothing was done."""
    worst = max(outcomes)
    return Outcome.DONE if worst is Outcome.SKIPPED and Outcome.DONE in outcomes else worst
