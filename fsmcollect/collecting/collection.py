"""One collection: the activities of the collection machine, and `collect`, which runs it.

Owns the order of a collection. Owns no edge (they are rows of `machines.collection`), no device, and no way of its own
to make anything safe (that is `safing`). The same code runs on simulated time, in real time and on real devices.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from pathlib import Path

import attrs
import trio

from fsmcollect import limits, safing
from fsmcollect.beamline import Beamline
from fsmcollect.collecting.exposing import Setting
from fsmcollect.collecting.optics import Optics, OpticsTargets
from fsmcollect.collecting.progress import Progress
from fsmcollect.collecting.readiness import Readiness
from fsmcollect.collecting.record import Record
from fsmcollect.collecting.sample import Sample
from fsmcollect.collecting.storing import Store
from fsmcollect.collecting.watching import hutch_is_opened
from fsmcollect.errors import BeamlineBusy, DeviceError, FsmCollectError, SafingError
from fsmcollect.journal import Journal
from fsmcollect.machines.collection import COLLECTION, Event, State
from fsmcollect.machines.driver import Driver
from fsmcollect.machines.engine import Engine
from fsmcollect.machines.table import Outcome
from fsmcollect.observers import Observers
from fsmcollect.request import Request
from fsmcollect.together import expected_failure_as_itself
from fsmcollect.wedges import Plan, make_plan

#: How long reading out and storing what was complete may take on the way out, and finishing the files after it.
#: Assumed: 100 images a second.
SALVAGE_DEADLINE_S = 60.0


@attrs.frozen(kw_only=True)
class Result:
    """What became of a run.

    Attributes
    ----------
    outcome : Outcome
        Exactly one.
    safe : bool
        The beamline was verified safe; False only where the run was abandoned in FAULT.
    images : int
        Images taken by this run (and on disk, where it keeps files).
    failures : tuple of str
        What went wrong, in order; empty after done.
    files : tuple of Path
        The master file of each series.
    """

    run: str
    outcome: Outcome
    safe: bool
    images: int
    failures: tuple[str, ...]
    files: tuple[Path, ...]


@attrs.define(eq=False, kw_only=True, repr=False)
class Collection:
    """One collection of one crystal, once.

    Building it checks everything that can be checked without moving anything or making a file.

    Parameters
    ----------
    beamline : Beamline
    request : Request
    directory : Path or None
        Where images and journal go; None keeps nothing.
    observers : Observers
        Told of every event.
    first_of_list : bool
        The first collection of a list takes a dark image, as the 2012 design has it.

    Raises
    ------
    InvalidRequest
        The request asks for what this beamline or this directory cannot give.
    """

    beamline: Beamline
    request: Request
    directory: Path | None = None
    observers: Observers = attrs.field(factory=Observers)
    first_of_list: bool = False
    plan: Plan = attrs.field(init=False)
    _store: Store | None = attrs.field(init=False, default=None)
    _driver: Driver[State, Event] = attrs.field(init=False)
    _engine: Engine[State, Event] = attrs.field(init=False)
    _optics: Optics = attrs.field(init=False)
    _sample: Sample = attrs.field(init=False)
    _nursery: trio.Nursery = attrs.field(init=False)
    _readiness: Readiness = attrs.field(init=False)
    _progress: Progress = attrs.field(init=False, factory=Progress)
    _record: Record = attrs.field(init=False)
    #: Set once `run` has claimed the beamline.
    _has_run: bool = attrs.field(init=False, default=False)
    #: The files say what held when the first image began.
    _is_described: bool = attrs.field(init=False, default=False)
    #: It has been exposing, or about to, and no pause since then has done all its work.
    _owes_pause: bool = attrs.field(init=False, default=False)
    #: A bug met while storing what was complete, with the beamline safe already; raised by `run`.
    _bug: Exception | None = attrs.field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        self.plan = make_plan(self.request)
        limits.check(self.request, self.plan, self.beamline)
        if self.directory is not None:
            self._store = Store.checked(self.directory, self.request, self.plan, self.beamline)
        journal = None if self._store is None else Journal(self._store.journal_path)
        self._record = Record(observers=self.observers, journal=journal)
        self._optics = Optics(
            beamline=self.beamline,
            observers=self.observers,
            targets=OpticsTargets(
                distance_mm=limits.target_distance_mm(self.request, self.beamline),
                energy_ev=self.request.beam.energy_ev,
                transmission_frac=self.request.beam.transmission_frac,
                aperture_um=self.request.beam.aperture_um,
            ),
        )
        dark = self.first_of_list or self.request.sweep.dark_image
        self._readiness = Readiness(
            beamline=self.beamline,
            optics=self._optics,
            observers=self.observers,
            dark_exposure_s=self.request.sweep.exposure_s if dark else None,
        )
        self._sample = Sample(beamline=self.beamline, request=self.request, observers=self.observers, store=self._store)
        self._engine = Engine(
            COLLECTION,
            guards={"beamline_claimed": lambda: self.beamline.owner == self.name},
            log=self.observers.transition,
        )
        self._driver = Driver(
            self._engine,
            {
                State.MOUNTING: self._mounting,
                State.CENTRING: self._centring,
                State.OSCILLATING: self._oscillating,
                State.HOLDING: self._holding,
                State.HOLDING_FOR_BEAM: self._holding_for_beam,
                State.CLOSING: self._closing,
                State.FAULT: self._fault,
            },
            beam_off=self._turn_beam_off,
            make_safe=self._make_safe_anyway,
        )

    # -- requests from outside: synchronous, in the thread that trio runs in (elsewhere: trio.from_thread.run_sync) ----

    @property
    def name(self) -> str:
        """What the run is called: the stem of its direct series."""
        return self.plan.series[0].name

    @property
    def state(self) -> State:
        return self._engine.current

    def abort(self) -> bool:
        """Stop and make safe; the beam goes off first. May be repeated; False once the run has ended.

        Before `run` it is kept: the run then ends as aborted before anything has moved.
        """
        return self._driver.request(Event.ABORT)

    def hold(self) -> bool:
        """Pause; the beam goes off first. False unless the collection is exposing or held already."""
        return self._driver.request(Event.HOLD)

    def resume(self) -> bool:
        """Go on after `hold`, from the first missing image. False unless held by a person."""
        return self._driver.request(Event.RESUME)

    def skip(self) -> bool:
        """Leave this sample and keep what was taken."""
        return self._driver.request(Event.SKIP)

    def acknowledge(self) -> bool:
        """Somebody has looked at the fault: make safe again and verify. False unless in FAULT."""
        return self._driver.request(Event.ACKNOWLEDGE)

    # -- the run ------------------------------------------------------------------------------------------------------

    async def run(self) -> Result:
        """Collect, whatever happens, to exactly one outcome.

        Raises
        ------
        BeamlineBusy
            Another run owns the beamline, a fault is latched, or this run has ended already; nothing has happened.
        BaseException
            A bug of an adapter, or the cancellation that ended the run, after the beamline was made safe; `result`
            then says what became of it.
        """
        if self._has_run:
            raise BeamlineBusy(f"the run {self.name!r} has run already: make a new collection")
        self.beamline.claim(self.name)
        try:
            self._has_run = True
            self._record.begin(self.name, self.request, self.plan)
            try:
                with expected_failure_as_itself():  # a bug too, where nothing else has failed
                    # Owns the optics, which outlive a state, and safing steps that cannot be interrupted.
                    async with trio.open_nursery() as self._nursery:
                        await self._driver.run()
                        self._nursery.cancel_scope.cancel()
            finally:
                with trio.CancelScope(shield=True):
                    await self._end()
        finally:
            self.beamline.release()
        if self._bug is not None:
            raise self._bug
        return self.result()

    @property
    def has_ended(self) -> bool:
        """It has run, and `result` says what became of it."""
        return self._has_run and self._engine.outcome is not None and self.state in COLLECTION.final

    def result(self) -> Result:
        """What became of the run; also after `run` has raised.

        Raises
        ------
        BeamlineBusy
            It is still running, or has never run.
        """
        outcome = self._engine.outcome
        if outcome is None or not self.has_ended:
            raise BeamlineBusy(f"the run {self.name!r} has no result yet: it is in {self.state.name}")
        return Result(
            run=self.name,
            outcome=outcome,
            safe=self.state is State.IDLE,
            images=self._progress.images,
            failures=tuple(self._record.failures),
            files=self._store.masters if self._store is not None else (),
        )

    async def _end(self) -> None:
        """The machine has ended: latch what could not be verified, tell, and let the directory go."""
        result = self.result()
        if not result.safe and self.beamline.fault is None:
            self.beamline.fault = SafingError(["a bug ended the closing"])
        await self._record.end(outcome=str(result.outcome), safe=result.safe, images=result.images)
        if self._store is not None:
            self._store.close()

    # -- activities: one for each state -------------------------------------------------------------------------------

    async def _mounting(self) -> Event:
        try:
            self._progress.plan(self.plan.wedges if self._store is None else await self._store.open())
            if self._progress.is_complete:
                return Event.NOTHING_MISSING
            self._require(await safing.clear_the_way(self.beamline, self._record.safing_step, stragglers=self._nursery))
            if await self._sample.needs_robot():
                await self._optics.make_room()
            elif self.request.sample.location is not None:  # it is there already: nobody comes near the detector
                self._optics.room_is_free()
            self._optics.start(self._nursery)
            await self._sample.mount()
            self._optics.room_is_free()
            await self._record.commit()
        except FsmCollectError as error:
            return self._failed("mounting", error)
        return Event.MOUNTED

    async def _centring(self) -> Event:
        try:
            await self._sample.centre()
            await self._record.commit()
        except FsmCollectError as error:
            return self._failed("centring", error)
        return Event.CENTRED

    async def _oscillating(self) -> Event:
        """Expose what is still to be taken, watching the ring; entered again after every hold."""
        try:
            if self._owes_pause:  # resumed before the pause had done its work
                await self._pause()
            self._owes_pause = True
            with expected_failure_as_itself():
                async with trio.open_nursery() as nursery:
                    if (ring := self.beamline.ring) is not None:
                        nursery.start_soon(self._watch, ring.wait_for_loss, Event.BEAM_LOST, "")
                    await self._readiness.get_ready()
                    if self._store is not None and not self._is_described:
                        await self._store.describe()
                        self._is_described = True
                    await self._record.commit()
                    if (shutter := self.beamline.safety_shutter) is not None:
                        complaint = "it closed while images were being taken: was the hutch opened?"
                        nursery.start_soon(self._watch, shutter.wait_while_open, Event.FAILED, complaint)
                    elif (interlock := self.beamline.interlock) is not None:  # nothing closes when the hutch is opened
                        opened = functools.partial(hutch_is_opened, interlock)
                        nursery.start_soon(self._watch, opened, Event.FAILED, "")
                    setting = self._setting()
                    while not self._progress.is_complete:
                        await self._optics.check_transmission()
                        await self._progress.take_next(setting)
                        if setting.commit is not None:
                            await setting.commit()
                    nursery.cancel_scope.cancel()
            if self._store is not None:
                await self._store.finish()
        except FsmCollectError as error:
            return self._failed("exposing", error)
        return Event.COLLECTED

    async def _holding(self) -> Event:
        try:
            await self._pause()
        except FsmCollectError as error:
            return self._failed("holding", error)
        await trio.sleep_forever()
        raise AssertionError("only a request ends a hold")

    async def _holding_for_beam(self) -> Event:
        try:
            await self._pause()
            if self.beamline.ring is not None:
                await self.beamline.ring.wait_for_beam()
        except FsmCollectError as error:
            return self._failed("waiting for the beam", error)
        return Event.BEAM_BACK

    async def _closing(self) -> Event:
        self._optics.stop()
        failures = await safing.make_safe(
            self.beamline, reversed(self._readiness.restore), self._record.safing_step, stragglers=self._nursery
        )
        await self._keep_what_is_complete()
        self.beamline.fault = SafingError(failures) if failures else None
        for failure in failures:
            self._record.note("closing", failure)
        await self._record.keep()
        return Event.UNVERIFIED if failures else Event.SAFE

    async def _fault(self) -> Event:
        await trio.sleep_forever()
        raise AssertionError("only an acknowledgement ends a fault")

    # -- their parts --------------------------------------------------------------------------------------------------

    async def _watch(self, wait: Callable[[], Awaitable[None]], event: Event, complaint: str) -> None:
        """Leave OSCILLATING by `event` when `wait` returns, whatever is being done just then."""
        try:
            await wait()
            if complaint:
                raise DeviceError("safety_shutter", complaint)
        except DeviceError as error:
            self._failed("exposing", error)
            event = Event.FAILED
        self._progress.beam_goes_off()
        self._driver.request(event)

    async def _turn_beam_off(self) -> None:
        """The driver's alarm: the command leaves before the first checkpoint."""
        try:
            self._progress.beam_goes_off()
        finally:  # whatever a detector answers that cannot say how far it is
            if self.beamline.fast_shutter is not None:
                await self.beamline.fast_shutter.close()

    async def _make_safe_anyway(self) -> None:
        """An activity does not let go: CLOSING will repeat this and give the verdict."""
        self._record.note(
            "leaving", f"what was going on in {self.state.name} cannot be interrupted: made safe beside it"
        )
        await safing.make_safe(self.beamline, report=self._record.safing_step, stragglers=self._nursery)

    def _setting(self) -> Setting:
        goniometer, detector = self.beamline.goniometer, self.beamline.detector
        if goniometer is None or detector is None:
            raise DeviceError("beamline", "goniometer and detector are required to expose")
        return Setting(
            goniometer=goniometer,
            detector=detector,
            observers=self.observers,
            energy_ev=limits.target_energy_ev(self.request, self.beamline),
            shutter_opening_s=self.beamline.config.shutter_opening_s,
            shutterless=self.plan.shutterless,
            passes=self.plan.passes,
            sink=self._store,
            commit=None if self._record.journal is None else self._record.journal.flush,
        )

    async def _pause(self) -> None:
        """Beam off and verified, motion stopped, complete images stored, detector ready to be armed again."""
        self._require(await safing.pause(self.beamline, self._record.safing_step, stragglers=self._nursery))
        with trio.move_on_after(SALVAGE_DEADLINE_S) as limit:
            await self._progress.salvage()
            if self._store is not None:
                await self._store.refresh_masters()
        if limit.cancelled_caught:
            raise DeviceError(
                "detector or disk", f"no answer within {SALVAGE_DEADLINE_S:g} s to store what was complete"
            )
        await self._record.commit()
        self._owes_pause = False

    def _require(self, failures: tuple[str, ...]) -> None:
        """Go no further unless every step was verified."""
        if failures:
            raise SafingError(failures)

    async def _keep_what_is_complete(self) -> None:
        """On the way out: images and master files. What fails is told, and stops nothing."""
        await self._keep("storing what was complete", self._progress.salvage)
        if self._store is not None:
            await self._keep("finishing the files", self._store.finish)

    async def _keep(self, what: str, work: Callable[[], Awaitable[None]]) -> None:
        try:
            with trio.move_on_after(SALVAGE_DEADLINE_S) as deadline:
                await work()
            if deadline.cancelled_caught:
                self._record.note("closing", f"{what} took longer than {SALVAGE_DEADLINE_S:g} s")
        except FsmCollectError as error:
            self._record.note(what, str(error))
        except Exception as error:  # noqa: BLE001  (a bug, but the beamline IS safe: raised once the run has ended)
            self._record.note(what, repr(error))
            self._bug = error

    def _failed(self, what: str, error: FsmCollectError) -> Event:
        self._record.failed(what, error)
        return Event.FAILED


async def collect(
    beamline: Beamline,
    request: Request,
    *,
    directory: Path | None = None,
    observers: Observers | None = None,
    first_of_list: bool = False,
    started: Callable[[Collection], None] | None = None,
) -> Result:
    """Collect one crystal: check, run, make safe. See `Collection` for parameters and errors.

    `started` is handed the collection before it runs, for whoever wants to abort, hold or acknowledge it. In FAULT the
    run waits for `Collection.acknowledge`.
    """
    collection = Collection(
        beamline=beamline,
        request=request,
        directory=directory,
        observers=observers or Observers(),
        first_of_list=first_of_list,
    )
    if started is not None:
        started(collection)
    return await collection.run()
