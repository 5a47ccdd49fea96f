"""The only loop from state to activity: enter a state, await its activity in a cancel scope, fire the event it returns.

Owns: cancel scopes, requests from outside, and the promise that whatever happens (a request, a bug in an activity, a
cancellation from outside, Ctrl-C) a root machine leaves through its safety state. Owns no edge: what a request or a
failure leads to is a row in the table.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, cast

import attrs
import trio

from fsmcollect.errors import DeviceError, TableError
from fsmcollect.machines.engine import Engine, IllegalEvent
from fsmcollect.machines.table import E, Outcome, S

Activity = Callable[[], Awaitable[E]]
BeamOff = Callable[[], Awaitable[None]]


@attrs.define(eq=False)
class Driver(Generic[S, E]):
    """Runs one machine once, from its start event to a final state.

    Parameters
    ----------
    engine : Engine
        Keeps the state; its table must be in its initial state.
    activities : mapping of S to Activity
        One for each active state of the table. An activity returns the event that ends it; failures it expects it
        turns into events; what it raises is a bug and is raised again by `run` after the safety state.
    beam_off : BeamOff, optional
        Given by a root machine: what must leave at the very instant of an urgent request or of a cancellation from
        outside, however long the interrupted activity takes to unwind. It is repeated and verified in the safety
        state, so it need not succeed: a DeviceError is ignored, and once the machine has ended it is not waited for.
    """

    engine: Engine[S, E]
    activities: Mapping[S, Activity[E]]
    beam_off: BeamOff | None = None
    #: Given with `beam_off`: everything that makes safe, for when an activity does not unwind within `unwind_limit_s`
    #: (assumed). A well-behaved one unwinds in one pass of the scheduler.
    make_safe: BeamOff | None = None
    unwind_limit_s: float = 2.0
    #: Requests that were accepted and wait for the present activity to unwind.
    _pending: list[E] = attrs.field(init=False, factory=list[E])
    #: The scope of the activity under way; None outside of `run`.
    _scope: trio.CancelScope | None = attrs.field(init=False, default=None)
    #: Set when the activities of the present scope have unwound; the same of the scope that an alarm has interrupted.
    _unwound: trio.Event = attrs.field(init=False, factory=trio.Event)
    _interrupted: trio.Event | None = attrs.field(init=False, default=None)
    #: What the activity under way has returned; None while it has not, or was interrupted.
    _returned: E | None = attrs.field(init=False, default=None)
    #: The scope of a beam-off command under way; None while there is none.
    _beam_off_scope: trio.CancelScope | None = attrs.field(init=False, default=None)
    _has_run: bool = attrs.field(init=False, default=False)
    #: Set by an urgent request; replaced when it has been answered.
    _alarm: trio.Event = attrs.field(init=False, factory=trio.Event)
    #: What to raise once the machine has ended: a bug, or the cancellation that came from outside.
    _leaving: BaseException | None = attrs.field(init=False, default=None)
    #: The beam-off command has shown a bug, and the run has not yet taken notice.
    _beam_off_crashed: bool = attrs.field(init=False, default=False)
    #: The cancellation from outside has interrupted an activity.
    _is_cancelled: bool = attrs.field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        missing = [state.name for state in self.engine.table.active if state not in self.activities]
        if missing:
            raise TableError(f"table {self.engine.table.name!r}: no activity for {', '.join(missing)}")

    def request(self, event: E) -> bool:
        """Ask from outside for `event`. Synchronous; False where the table has no row for it now (nothing happens).

        A row that stays is heard at once and disturbs no activity. Any other cancels the present activity and beats the
        event that the activity may return at the same instant. An urgent one turns the beam off, whatever its row.
        One that comes before `run` is kept where the state after the start must answer it: a stop is never lost.

        Raises
        ------
        RuntimeError
            Called from another thread than trio's: use ``trio.from_thread.run_sync``.
        """
        if self._scope is None:
            return not self._has_run and self._remember(event)
        trio.lowlevel.current_trio_token()  # raises in a foreign thread, before anything has changed
        row = self.engine.answers(event)
        if row is None:
            return False
        if row.stays:
            self.engine.fire(event)
        else:
            self._pending.append(event)
            self._scope.cancel()
        if event in self.engine.table.urgent:
            if not row.stays:
                self._interrupted = self._unwound
            elif not self._alarm.is_set():  # it interrupts nothing: there is nobody to insist with
                self._interrupted = trio.Event()
                self._interrupted.set()
            self._alarm.set()
        return True

    def _remember(self, event: E) -> bool:
        table = self.engine.table
        start = table.row(table.initial, table.start)
        if start is None or start.dest not in table.urgent.get(event, ()):
            return False
        self._pending.append(event)
        return True

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> S:
        """Fire the start event, run to a final state and return it.

        Raises
        ------
        IllegalEvent
            The start event is refused by a guard, or the machine has run before.
        BaseException
            Whatever bug or cancellation ended the run early, after the machine has reached a final state.
        """
        if self._has_run:
            raise IllegalEvent(f"table {self.engine.table.name!r}: this machine has run before")
        # Whoever hears of the start may already have a request: it is kept for the first activity.
        self._scope = trio.CancelScope()
        try:
            self.engine.fire(self.engine.table.start)
            self._has_run = True
            await (self._loop() if self.beam_off is None else self._loop_with_beam_off(self.beam_off))
        finally:
            self._scope = None
        if self._leaving is not None:
            raise self._leaving
        return self.engine.current

    async def _loop_with_beam_off(self, beam_off: BeamOff) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._stand_by, beam_off)
                await self._loop()
                if self._beam_off_scope is not None:
                    self._beam_off_scope.cancel()
                nursery.cancel_scope.cancel()
        except BaseException as error:
            # The cancellation from outside, which the nursery has seen too: a bug that is on its way out outranks it.
            self._leave_with(error)

    async def _loop(self) -> None:
        """Run activity after activity; begin anew whenever a request, a bug or a cancellation has interrupted one."""
        table = self.engine.table
        while self.engine.current not in table.final:
            self._returned = None
            try:
                self._unwound = trio.Event()
                with trio.CancelScope() as self._scope:
                    await self._undisturbed()
            except BaseException as error:
                self._interrupted_by(error)
            self._unwound.set()
            event = self._or_crashed(self._pick(self._returned))
            if event is not None:
                self.engine.fire(event)

    async def _undisturbed(self) -> None:
        """Activity after activity in one scope, until a request has cancelled it: then no other may even begin.

        The event that the last activity returned is left to the caller, for the request may beat it.
        """
        table = self.engine.table
        while not self._is_interrupted():
            state = self.engine.current
            await (self._perform_shielded(state) if state is table.safety else self._perform(state))
            if state is not table.safety and not self._pending and self._is_beaten():
                await trio.lowlevel.checkpoint()  # raises: what the activity returned is beaten by it
            if self._is_interrupted() or (event := self._returned) is None:
                return
            self._returned = None
            if self.engine.fire(event) in table.final:
                return

    def _is_interrupted(self) -> bool:
        """By a request, or by a bug in turning the beam off: no other activity may begin before that is answered."""
        return bool(self._pending) or self._beam_off_crashed

    def _is_beaten(self) -> bool:
        """What the activity has returned, by a cancellation for which it had no checkpoint any more."""
        returned = self._returned
        return returned is not None and _is_being_cancelled() and self._is_worse(self.engine.table.cancelled, returned)

    async def _perform(self, state: S) -> None:
        event = await self.activities[state]()
        if self.engine.answers(event) is None:
            machine = f"table {self.engine.table.name!r}"
            raise IllegalEvent(f"{machine}: the activity of {state.name} returned {event}, which cannot happen there")
        self._returned = event

    async def _perform_shielded(self, state: S) -> None:
        """Carry out the activity in a task of its own: Ctrl-C is thrown into the main task, past every shield."""

        @trio.lowlevel.enable_ki_protection
        async def shielded() -> None:
            with trio.CancelScope(shield=True):
                await self._perform(state)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(shielded)

    def _interrupted_by(self, error: BaseException) -> None:
        """What a bug or the cancellation from outside makes of the activity under way, or of its last word."""
        self._leave_with(error)
        cancelled, crashed = self.engine.table.cancelled, self.engine.table.crashed
        is_cancelled = _is_cancellation(error)
        self._is_cancelled = self._is_cancelled or is_cancelled
        # As an abort does, a cancellation beats what ties with it: a bug, and an outcome.
        is_stopped = is_cancelled or (_is_being_cancelled() and self._is_worse(cancelled, crashed))
        event = cancelled if is_stopped else crashed
        if self._returned is None or (is_stopped and self._is_worse(event, self._returned)):
            self._returned = event

    def _pick(self, returned: E | None) -> E | None:
        """The most urgent accepted request; without one, what the activity returned.

        None where a request interrupted the activity and its row's guard has become false since: the state is
        entered again.
        """
        urgency = list(self.engine.table.urgent)
        legal = [event for event in self._pending if self.engine.answers(event) is not None]
        self._pending.clear()
        if not legal:
            return returned
        if returned in urgency:  # a failure that ties with a lost beam or a hold is not forgotten
            legal.append(returned)
        asked = min(legal, key=lambda event: urgency.index(event) if event in urgency else len(urgency))
        cancelled = self.engine.table.cancelled
        return cancelled if returned is cancelled and self._is_worse(cancelled, asked) else asked

    def _or_crashed(self, event: E | None) -> E | None:
        """In place of `event`, the end of a run whose beam-off command has shown a bug."""
        crashed, has_crashed = self.engine.table.crashed, self._beam_off_crashed
        self._beam_off_crashed = False
        if not has_crashed or self.engine.answers(crashed) is None:
            return event
        return crashed if event is None or self._is_worse(crashed, event) else event

    def _is_worse(self, event: E, other: E) -> bool:
        """Whether the run's outcome would be worse by `event` than by `other`, now."""
        rows = (self.engine.table.row(self.engine.current, each) for each in (event, other))
        outcomes = [Outcome.DONE if row is None or row.outcome is None else row.outcome for row in rows]
        return outcomes[0] > outcomes[1]

    def _leave_with(self, error: BaseException) -> None:
        """Remember what to raise at the end. A bug outranks a cancellation; of two bugs the later becomes a note."""
        error = _plain(error)
        if self._leaving is None or _is_cancellation(self._leaving):
            self._leaving = error
        elif error is not self._leaving and not _is_cancellation(error):
            self._leaving.add_note(f"while leaving because of this, another failure: {error!r}")

    @trio.lowlevel.enable_ki_protection
    async def _stand_by(self, beam_off: BeamOff) -> None:
        """Turn the beam off at the instant of an alarm, while the interrupted activity still unwinds."""
        while True:
            try:
                await self._alarm.wait()
            finally:
                # Without an alarm, this is a cancellation: from outside, unless the machine has ended by itself. One
                # that ends it (in FAULT) may have been answered before this task has its turn: the command leaves all
                # the same.
                if self._alarm.is_set() or self._is_cancelled or not self._has_ended():
                    self._alarm = trio.Event()
                    await self._turn_beam_off(beam_off)

    def _has_ended(self) -> bool:
        return self.engine.current in self.engine.table.final

    async def _insist(self, unwound: trio.Event, make_safe: BeamOff) -> None:
        """Where the interrupted activity does not let go, make safe beside it."""
        with trio.move_on_after(self.unwind_limit_s):
            await unwound.wait()
        if not unwound.is_set():
            await make_safe()

    async def _turn_beam_off(self, beam_off: BeamOff) -> None:
        try:
            with trio.CancelScope(shield=True) as self._beam_off_scope:
                if self._has_ended():
                    self._beam_off_scope.cancel()
                async with trio.open_nursery() as nursery:
                    is_safing = self.engine.current is self.engine.table.safety
                    if self.make_safe is not None and not is_safing and not self._has_ended():
                        # Without a request it is the cancellation from outside that interrupts the present scope.
                        unwound = self._unwound if self._interrupted is None else self._interrupted
                        self._interrupted = None
                        nursery.start_soon(self._insist, unwound, self.make_safe)
                    try:
                        await beam_off()
                    except* DeviceError:
                        pass  # the safety state repeats it, and verifies
        except Exception as error:
            self._leave_with(error)
            # Making safe verifies the shutter, whatever its adapter raises; elsewhere the run does not go on.
            if self._scope is not None and self.engine.current is not self.engine.table.safety:
                self._beam_off_crashed = True
                self._scope.cancel()
        finally:
            self._beam_off_scope = None


def _is_being_cancelled() -> bool:
    """From outside: whoever asks has left his own scopes."""
    return trio.current_effective_deadline() == -math.inf


def _is_cancellation(error: BaseException) -> bool:
    return all(isinstance(leaf, trio.Cancelled) for leaf in _leaves(error))


def _plain(error: BaseException) -> BaseException:
    """Without the groups that trio wraps around: a group only where there really are several failures."""
    failures = [leaf for leaf in _leaves(error) if not isinstance(leaf, trio.Cancelled)]
    if len(failures) > 1:
        return error
    return failures[0] if failures else error


def _leaves(error: BaseException) -> list[BaseException]:
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    group = cast("BaseExceptionGroup[BaseException]", error)
    return [leaf for member in group.exceptions for leaf in _leaves(member)]
