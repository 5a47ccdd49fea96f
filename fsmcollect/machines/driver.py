"""The only loop from state to activity: enter a state, await its activity in a cancel scope, fire the event it returns.

Owns: cancel scopes, requests from outside, and the promise that whatever happens (a request, a bug in an activity, a
cancellation from outside, Ctrl-C) a root machine leaves through its safety state. Owns no edge: what a request or a
failure leads to is a row in the table.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Generic

import attrs
import trio

from fsmcollect.machines.engine import Engine
from fsmcollect.machines.table import E, S

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
        Given by a root machine: what must leave at the very instant of an urgent request, before the interrupted
        activity has even begun to unwind. It is repeated and verified in the safety state, so it need not succeed.
    """

    engine: Engine[S, E]
    activities: Mapping[S, Activity[E]]
    beam_off: BeamOff | None = None
    #: Requests that were accepted and wait for the present activity to unwind; never longer than one scheduler pass.
    _pending: list[E] = attrs.field(init=False, factory=list[E])
    #: The scope of the activity under way; None outside of `run`.
    _scope: trio.CancelScope | None = attrs.field(init=False, default=None)
    #: Set by an urgent request; replaced when it has been answered.
    _alarm: trio.Event = attrs.field(init=False, factory=trio.Event)
    #: What to raise once the machine has ended: a bug, or the cancellation that came from outside.
    _leaving: BaseException | None = attrs.field(init=False, default=None)

    def request(self, event: E) -> bool:
        """Ask from outside for `event`. Synchronous; False where the table has no row for it now (nothing happens).

        A row that stays is heard at once and disturbs nothing. Any other cancels the present activity and beats the
        event that the activity may return at the same instant.
        """
        row = self.engine.answers(event)
        if row is None or self._scope is None:
            return False
        if row.stays:
            self.engine.fire(event)
            return True
        self._pending.append(event)
        self._scope.cancel()
        if event in self.engine.table.urgent:
            self._alarm.set()
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
        self.engine.fire(self.engine.table.start)
        if self.beam_off is None:
            await self._loop()
        else:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._stand_by, self.beam_off)
                await self._loop()
                nursery.cancel_scope.cancel()
        if self._leaving is not None:
            raise self._leaving
        return self.engine.current

    async def _loop(self) -> None:
        table = self.engine.table
        while self.engine.current not in table.final:
            state = self.engine.current
            returned: E | None = None
            try:
                with trio.CancelScope() as self._scope:
                    if state is table.safety:
                        with trio.CancelScope(shield=True):
                            returned = await self.activities[state]()
                    else:
                        returned = await self.activities[state]()
            except BaseException as error:
                returned = table.cancelled if _is_cancellation(error) else table.crashed
                self._leave_with(error)
            event = self._pick(returned)
            if event is not None:
                self.engine.fire(event)
        self._scope = None

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
        return min(legal, key=lambda event: urgency.index(event) if event in urgency else len(urgency))

    def _leave_with(self, error: BaseException) -> None:
        """Remember what to raise at the end. A bug outranks a cancellation; of two bugs the later becomes a note."""
        if self._leaving is None or _is_cancellation(self._leaving):
            self._leaving = error
        elif not _is_cancellation(error):
            self._leaving.add_note(f"while leaving because of this, another failure: {error!r}")

    async def _stand_by(self, beam_off: BeamOff) -> None:
        """Turn the beam off at the instant of an urgent request, while the interrupted activity still unwinds."""
        while True:
            try:
                await self._alarm.wait()
            finally:
                if self._alarm.is_set():
                    self._alarm = trio.Event()
                    with trio.CancelScope(shield=True):
                        await beam_off()


def _is_cancellation(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(map(_is_cancellation, error.exceptions))
    return isinstance(error, trio.Cancelled)
